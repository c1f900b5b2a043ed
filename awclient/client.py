"""The portal over HTTP, for scripts and for `awrecipe`: calls are safe to repeat, and repeated while it may help."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx

from awclient.configuration import Configuration
from awclient.errors import ClientError, Lost, error_of_status
from processing_units.contract import BatchPlan, BatchRequest, BatchStatus, Plan, ReprocessPlan, RunStatus, Submission

Json = dict[str, Any]
_API = "/api/v1"
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 8.0
_DEFECT_PATIENCE = 5.0
# Statuses that say "not now": the same request may succeed later.
_PASSING = {429, 500, 502, 503, 504}
_PAGE = 500


class Portal:
    """A portal as one user sees it.

    ``patience`` is for how many seconds a call that is safe to repeat is repeated while the portal is away;
    ``on_wait`` is told (why, seconds to the next try) each time.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        patience: float = 60.0,
        on_wait: Callable[[str, float], None] | None = None,
    ) -> None:
        self.url = configuration.url
        self.patience = patience
        self._on_wait = on_wait or (lambda why, pause: None)
        self.http = httpx.Client(
            headers={"Authorization": f"Bearer {configuration.token}", "User-Agent": "awrecipe/1"},
            timeout=httpx.Timeout(60.0, connect=10.0),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    # ------------------------------------------------------------------------------------------------- the calls

    def whoami(self) -> Json:
        """Return user, context and the portal's version."""
        return self._json("GET", "/whoami")

    def recipes(self) -> list[Json]:
        """Return the recipes in the order in which a night needs them, with inputs and parameters."""
        return list(self._json("GET", "/recipes")["items"])

    def kinds(self) -> list[Json]:
        """Return the kinds of products: name, description, whether raw."""
        return list(self._json("GET", "/kinds")["items"])

    def recipe(self, name: str, code: str = "") -> Json:
        """Return one recipe with its documentation and schema; of one's own code where its digest is given."""
        return self._json("GET", f"/recipes/{_segment(name)}", params={"code": code} if code else None)

    def products(self, limit: int | None = None, **filters: Any) -> Iterator[Json]:
        """Yield the products that match, page by page."""
        offset, given = 0, 0
        while True:
            size = _PAGE if limit is None else min(_PAGE, limit - given)
            if size <= 0:
                return
            wanted = {name: value for name, value in filters.items() if value not in (None, "", [])}
            page = self._json("GET", "/products", params={**wanted, "offset": offset, "limit": size})
            yield from page["items"]
            given += len(page["items"])
            if page["next"] is None:
                return
            offset = page["next"]

    def product(self, number: int) -> Json:
        """Return one product with QC and lineage."""
        return self._json("GET", f"/products/{number}")

    def samp_messages(self, number: int) -> Json:
        """Return a product's name, and the messages of SAMP by which other programs load it."""
        return self._json("GET", f"/products/{number}/samp")

    def nights(self, instrument: str, limit: int) -> list[Json]:
        """Return the nights of which there are raw frames, newest first."""
        return list(self._json("GET", "/nights", params={"instrument": instrument, "limit": limit})["items"])

    def night_log(self, instrument: str, night: str) -> Json:
        """Return the log of a night."""
        return self._json("GET", "/nights/log", params={"instrument": instrument, "night": night})

    def selections(self) -> list[Json]:
        """Return the saved selections, one's own and those of one's projects."""
        return list(self._json("GET", "/selections")["items"])

    def save_selection(self, name: str, filters: dict[str, str], products: Sequence[int], shared: str) -> Json:
        """Keep filters, or products, by a name."""
        asked = {"name": name, "filters": filters, "products": list(products), "shared": shared}
        return self._json("POST", "/selections", json=asked)

    def change_selection(self, name: str, changes: dict[str, str]) -> Json:
        """Rename or share a saved selection."""
        return self._json("POST", f"/selections/{_segment(name)}", json=changes)

    def remove_selection(self, name: str) -> None:
        """Forget a saved selection."""
        response = self.call("DELETE", f"/selections/{_segment(name)}")
        if not response.is_success:
            raise self._error(response)

    def publish(self, numbers: Sequence[int], privilege: int, project: str = "") -> Json:
        """Let more people see products; safe to repeat."""
        asked = {"products": list(numbers), "privilege": privilege, "project": project}
        return self._json("POST", "/products/publish", json=asked)

    def plan(self, submission: Submission, jobs: int | None = None) -> Plan:
        """Return what a submission would do; with `jobs` so many are told one by one."""
        asked = {} if jobs is None else {"jobs": jobs}
        return Plan.model_validate(self._json("POST", "/plan", params=asked, json=submission.model_dump(mode="json")))

    def impact(self, number: int, limit: int) -> Json:
        """Return what was made from a product: counts of all, the nearest one by one."""
        return self._json("GET", f"/products/{number}/impact", params={"limit": limit})

    def judge(self, number: int, verdict: str) -> Json:
        """Call a product good, bad or proposed; safe to repeat."""
        return self._json("POST", f"/products/{number}/verdict", json={"verdict": verdict})

    def reprocess_plan(self, number: int) -> ReprocessPlan:
        """Return what would be made anew of what is stale for a product."""
        return ReprocessPlan.model_validate(self._json("GET", f"/products/{number}/reprocess"))

    def reprocess(self, number: int, plan: str, key: str) -> RunStatus:
        """Run the plan of that fingerprint; with its key it is one run, however often it is sent."""
        asked = {"plan": plan, "idempotency_key": key}
        return RunStatus.model_validate(self._json("POST", f"/products/{number}/reprocess", json=asked))

    def parameter_sets(self, recipe: str = "", name: str = "") -> list[Json]:
        """Return parameter sets: all, those of a recipe, or the one that a name means."""
        wanted = {key: value for key, value in (("recipe", recipe), ("name", name)) if value}
        return list(self._json("GET", "/parameter-sets", params=wanted)["items"])

    def keep_parameter_set(self, recipe: str, name: str, parameters: Json, *, project: bool) -> Json:
        """Keep parameters under a name; safe to repeat."""
        asked = {"recipe": recipe, "name": name, "parameters": parameters, "project": project}
        return self._json("POST", "/parameter-sets", json=asked)

    def remove_parameter_set(self, number: int) -> None:
        """Remove one of one's own."""
        response = self.call("DELETE", f"/parameter-sets/{number}")
        if not response.is_success:
            raise self._error(response)

    def submit(self, submission: Submission) -> RunStatus:
        """Submit; with its idempotency key the same submission, sent twice, is one run."""
        if not submission.idempotency_key:
            raise ValueError("a submission is only sent with an idempotency key")
        return RunStatus.model_validate(self._json("POST", "/runs", json=submission.model_dump(mode="json")))

    def runs(self, **filters: Any) -> list[Json]:
        """Return the user's runs, newest first, without their jobs."""
        wanted = {name: value for name, value in filters.items() if value is not None}
        return list(self._json("GET", "/runs", params=wanted)["items"])

    def run(self, number: int) -> RunStatus:
        """Return how a run stands."""
        return RunStatus.model_validate(self._json("GET", f"/runs/{number}"))

    def watch(self, number: int, pause: float = 1.0, *, every_turn: bool = False) -> Iterator[RunStatus]:
        """Yield how a run stands, at first and at each change (or at every turn), until it has ended.

        It also yields, unchanged, about every 5 s, so that whoever watches can look at a clock.
        """
        tag, status = "", None
        while True:
            headers = {"If-None-Match": tag} if tag else {}
            begin = time.monotonic()
            wait = 0 if every_turn or not tag else 5
            response = self.call("GET", f"/runs/{number}", params={"wait": wait}, headers=headers)
            if status is None or response.status_code != httpx.codes.NOT_MODIFIED:
                status = RunStatus.model_validate(self._decode(response))
                tag = response.headers.get("ETag", "")
            yield status
            if status.state in {"done", "failed", "cancelled"}:
                return
            time.sleep(max(0.0, pause - (time.monotonic() - begin)))

    def log(self, run: int, job: int, offset: int = 0, attempt: int | None = None) -> Json:
        """Return the log of a job's attempt (the last one) from that byte on: ``text``, ``next_offset``, ``ended``."""
        wanted = {"offset": offset} if attempt is None else {"offset": offset, "attempt": attempt}
        return self._json("GET", f"/runs/{run}/jobs/{job}/log", params=wanted)

    def cancel(self, number: int) -> RunStatus:
        """Cancel what has not ended yet."""
        return RunStatus.model_validate(self._json("POST", f"/runs/{number}/cancel"))

    def retry(self, number: int) -> RunStatus:
        """Queue the failed jobs of a run again."""
        return RunStatus.model_validate(self._json("POST", f"/runs/{number}/retry"))

    def plan_batch(self, request: BatchRequest) -> BatchPlan:
        """Return what a batch would do."""
        return BatchPlan.model_validate(self._json("POST", "/batches/plan", json=request.model_dump(mode="json")))

    def draft_batch(self, request: BatchRequest) -> BatchStatus:
        """Let the portal keep a script with its plan; with its idempotency key it is kept once."""
        if not request.idempotency_key:
            raise ValueError("a batch is only sent with an idempotency key")
        return BatchStatus.model_validate(self._json("POST", "/batches", json=request.model_dump(mode="json")))

    def make_batch(self, number: int, digest: str, *, leave_out: bool = False) -> BatchStatus:
        """Make the runs of a plan that was seen; safe to repeat."""
        asked = {"digest": digest, "leave_out": leave_out}
        return BatchStatus.model_validate(self._json("POST", f"/batches/{number}/make", json=asked))

    def batches(self, limit: int = 50) -> list[BatchStatus]:
        """Return the user's batches, newest first, without their runs."""
        return [
            BatchStatus.model_validate(entry)
            for entry in self._json("GET", "/batches", params={"limit": limit})["items"]
        ]

    def batch(self, number: int) -> BatchStatus:
        """Return how a batch stands."""
        return BatchStatus.model_validate(self._json("GET", f"/batches/{number}"))

    def cancel_batch(self, number: int) -> BatchStatus:
        """Cancel all that has not ended of a batch."""
        return BatchStatus.model_validate(self._json("POST", f"/batches/{number}/cancel"))

    def retry_batch(self, number: int) -> BatchStatus:
        """Submit the failed jobs of a batch again."""
        return BatchStatus.model_validate(self._json("POST", f"/batches/{number}/retry"))

    def units(self) -> list[Json]:
        """Return the processing units that the user may use."""
        return list(self._json("GET", "/units")["items"])

    def unit(self, name: str) -> Json:
        """Return one unit with its settings and cluster managers."""
        return self._json("GET", f"/units/{_segment(name)}")

    def set_unit(self, name: str, settings: dict[str, str]) -> Json:
        """Change settings of a unit; ``changed`` has what was before and is now."""
        return self._json("POST", f"/units/{_segment(name)}", json={"settings": settings})

    def unit_history(self, name: str, limit: int) -> list[Json]:
        """Return the changes of a unit's settings, newest first."""
        return list(self._json("GET", f"/units/{_segment(name)}/history", params={"limit": limit})["items"])

    def unit_keys(self, name: str) -> list[Json]:
        """Return the keys that workers may join a unit with, without the keys themselves."""
        return list(self._json("GET", f"/units/{_segment(name)}/keys")["items"])

    def make_unit_key(self, name: str, note: str) -> Json:
        """Make a key that workers may join a unit with; it is told this once."""
        return self._json("POST", f"/units/{_segment(name)}/keys", json={"note": note})

    def revoke_unit_key(self, name: str, number: int) -> None:
        """Make a key of workers void."""
        response = self.call("DELETE", f"/units/{_segment(name)}/keys/{number}")
        if not response.is_success:
            raise self._error(response)

    def machines(self, name: str) -> dict[str, dict[str, str]]:
        """Return the machines that are registered in a unit."""
        return dict(self._json("GET", f"/units/{_segment(name)}/machines")["items"])

    def set_machine(self, name: str, machine: str, settings: dict[str, str]) -> Json:
        """Register a machine, or change what is registered of it."""
        path = f"/units/{_segment(name)}/machines/{_segment(machine)}"
        return self._json("POST", path, json={"settings": settings})

    def remove_machine(self, name: str, machine: str) -> None:
        """Take a machine off."""
        response = self.call("DELETE", f"/units/{_segment(name)}/machines/{_segment(machine)}")
        if not response.is_success:
            raise self._error(response)

    def data_servers(self) -> list[Json]:
        """Return the caching data servers, and how each is now."""
        return list(self._json("GET", "/data-servers")["items"])

    def register_data_server(self, name: str, address: str, *, anew: bool) -> Json:
        """Register a caching data server; the answer tells its key, this once."""
        path = f"/data-servers/{_segment(name)}"
        return self._json("POST", path, json={"address": address, "anew": anew})

    def remove_data_server(self, name: str) -> None:
        """Take a caching data server off."""
        response = self.call("DELETE", f"/data-servers/{_segment(name)}")
        if not response.is_success:
            raise self._error(response)

    def test_unit(self, name: str) -> int:
        """Have the unit's backend look at its hosts; return the number of the test."""
        return int(self._json("POST", f"/units/{_segment(name)}/test")["number"])

    def outcome_of_test(self, name: str, number: int) -> list[Json] | None:
        """Return what a test has found; None while it goes on."""
        found = self._json("GET", f"/units/{_segment(name)}/test/{number}")
        return list(found["checks"]) if found["done"] else None

    def move(self, number: int, unit: str) -> RunStatus:
        """Let what waits of a run wait for another unit."""
        return RunStatus.model_validate(self._json("POST", f"/runs/{number}/move", json={"unit": unit}))

    def quota(self, user: str = "") -> Json:
        """Return what a user (oneself) has and may have."""
        return self._json("GET", f"/quota/{_segment(user)}" if user else "/quota")

    def set_quota(self, user: str, limits: dict[str, str]) -> Json:
        """Give a user limits of their own."""
        return self._json("POST", f"/quota/{_segment(user)}", json={"limits": limits})

    def projects(self) -> list[Json]:
        """Return one's projects, then those that one may ask to join."""
        return list(self._json("GET", "/projects")["items"])

    def project(self, name: str) -> Json:
        """Return a project: to its members with who is in it, and what."""
        return self._json("GET", f"/projects/{_segment(name)}")

    def make_project(self, wanted: Json) -> Json:
        """Make a project."""
        return self._json("POST", "/projects", json=wanted)

    def change_project(self, name: str, what: str, wanted: Json) -> Json | None:
        """Ask to ``join`` a project, ``answer`` who asks, or set the role of one of its ``members``.

        Return the project as it is now, or None where one knows of it no more.
        """
        response = self.call("POST", f"/projects/{_segment(name)}/{what}", json=wanted)
        if not response.is_success:
            raise self._error(response)
        return dict(response.json()) if response.content else None

    def withdraw(self, name: str) -> Json:
        """Take one's request to join a project back; return the project."""
        return self._json("DELETE", f"/projects/{_segment(name)}/join")

    def cancel_all(self, unit: str = "") -> Json:
        """Cancel all one's own runs, or all that is on a unit; return how many runs and jobs."""
        return self._json("POST", f"/units/{_segment(unit)}/cancel" if unit else "/runs/cancel")

    def limits(self, **filters: Any) -> list[Json]:
        """Return the limits of QC values."""
        wanted = {name: value for name, value in filters.items() if value not in (None, "")}
        return list(self._json("GET", "/limits", params=wanted)["items"])

    def change_limits(self, what: str, asked: Json) -> Json:
        """Learn (``learn``), clear (``clear``) or set ("") limits; safe to repeat."""
        return self._json("POST", f"/limits/{what}" if what else "/limits", json=asked)

    def ingest(self, path: Path, fields: dict[str, str], camera: bytes | None = None) -> Json:
        """Upload one raw frame; return its ``outcome`` (ingested, there or refused) and the product or the reason."""

        def send() -> httpx.Response:
            with path.open("rb") as file:
                files: dict[str, Any] = {"file": (path.name, file, "application/octet-stream")}
                if camera is not None:
                    files["camera"] = ("camera.toml", camera, "application/toml")
                # Written slowly onto a slow disk, a large frame takes longer than a question does.
                return self.http.post(self._address("/ingest"), data=fields, files=files, timeout=600.0)

        return self._decode(self._patiently(send))

    def ingest_catalogue(self, paths: Sequence[Path], fields: dict[str, str]) -> Json:
        """Upload a reference catalogue, in parts if it has several; return its ``outcome`` and the product."""

        def send() -> httpx.Response:
            with ExitStack() as opened:
                files = [
                    ("file", (path.name, opened.enter_context(path.open("rb")), "application/octet-stream"))
                    for path in paths
                ]
                return self.http.post(self._address("/ingest/catalogue"), data=fields, files=files, timeout=600.0)

        return self._decode(self._patiently(send))

    def ingest_reduced(self, parts: Mapping[str, Path], fields: dict[str, str]) -> Json:
        """Upload an exposure that others reduced (``image``, ``weight``, ``mask``, ``camera``); return the outcome."""

        def send() -> httpx.Response:
            with ExitStack() as opened:
                files = {
                    part: (path.name, opened.enter_context(path.open("rb")), "application/octet-stream")
                    for part, path in parts.items()
                }
                return self.http.post(self._address("/ingest/reduced"), data=fields, files=files, timeout=600.0)

        return self._decode(self._patiently(send))

    def code(self, digest: str) -> Json | None:
        """Return one's own bundle of that digest, or None if it has to be sent."""
        response = self.call("GET", f"/code/{_segment(digest)}")
        return None if response.status_code == httpx.codes.NOT_FOUND else self._decode(response)

    def send_code(self, content: bytes) -> Json:
        """Send a packed tree; return what the portal made of it."""
        files = {"file": ("code.zip", content, "application/zip")}
        return self._json("POST", "/code", files=files, timeout=600.0)

    # --------------------------------------------------------------------------------------------------- the wire

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a call that is safe to repeat, and repeat it while the portal is away."""
        return self._patiently(lambda: self.http.request(method, self._address(path), **options))

    def _address(self, path: str) -> str:
        return f"{self.url}{_API}{path}"

    def _json(self, method: str, path: str, **options: Any) -> Json:
        return self._decode(self.call(method, path, **options))

    def _patiently(self, send: Callable[[], httpx.Response]) -> httpx.Response:
        begin, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            response: httpx.Response | None = None
            try:
                response = send()
            except httpx.TransportError as problem:
                why = f"{self.url} does not answer ({str(problem) or type(problem).__name__})"
            except httpx.InvalidURL as problem:
                raise Lost(f"{self.url} is not an address: {problem}") from None
            else:
                if response.status_code not in _PASSING:
                    return response
                why = f"{self.url} answered {response.status_code}"
            asked = _asked_pause(response)
            wait = max(asked, pause * random.uniform(0.75, 1.25))  # noqa: S311 - spreads clients, hides nothing
            # A portal that fails at this very request will not mend itself; one that restarts does.
            failed = response is not None and response.status_code == httpx.codes.INTERNAL_SERVER_ERROR
            if time.monotonic() - begin + wait > (min(self.patience, _DEFECT_PATIENCE) if failed else self.patience):
                if response is not None:
                    raise self._error(response)
                raise Lost(
                    f"gave up: {why} for {self.patience:.0f} s", hint="the same command goes on from where it was"
                )
            self._on_wait(why, wait)
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _decode(self, response: httpx.Response) -> Json:
        if not response.is_success:
            raise self._error(response)
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Lost(f"{self.url} is not a portal of this kind: it answered with something else than JSON")
        return content

    def _error(self, response: httpx.Response) -> ClientError:
        if response.is_redirect:
            target = response.headers.get("Location", "")
            return Lost(f"{self.url} sends us on to {target}", hint="log in with that address if it is the right one")
        try:
            content = response.json()
            message, hint = str(content["error"]), str(content.get("hint") or "")
            field = str(content.get("field") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            message, hint, field = f"{self.url} answered {response.status_code} {response.reason_phrase}", "", ""
        return error_of_status(response.status_code, message, hint=hint, field=field)


def _segment(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def _asked_pause(response: httpx.Response | None) -> float:
    """Return the seconds that a Retry-After header asks for, at most half a minute."""
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(text), 30.0) if text.isdigit() else 0.0
