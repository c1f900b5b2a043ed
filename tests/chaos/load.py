"""Users: they submit runs through the portal all the time, cancel some, and remember what they were told."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

OPEN_RUNS = 6
MOST_JOBS = 4
CANCELLED = 0.12
FORGOTTEN = 0.1


@dataclass
class Submitted:
    """One submission as its user knows it."""

    key: str
    jobs: int
    parameter: float
    runs: set[int] = field(default_factory=set)  # what was acknowledged
    cancelled: bool = False
    given_up: bool = False


class Users:
    """Threads that keep some runs open until `stop`."""

    def __init__(self, url: str, token: str, inputs: Sequence[Sequence[int]], seed: int, *, threads: int = 2) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20)
        self._inputs = inputs
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._end = threading.Event()
        self.submitted: list[Submitted] = []
        self.refused: list[str] = []
        self.cancel_next = threading.Event()  # set: the next run is cancelled
        self._threads = [
            threading.Thread(target=self._use, name=f"user {number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; what was begun is acknowledged first."""
        self._end.set()
        for thread in self._threads:
            thread.join(120)
        self._http.close()

    def _use(self) -> None:
        while not self._end.is_set():
            if self._open_runs() >= OPEN_RUNS:
                self._end.wait(0.15)
                continue
            one, inputs, forgets, cancels = self._next()
            number = self._submit(one, inputs, once=forgets)
            if number is not None and (cancels or self.cancel_next.is_set()):
                self.cancel_next.clear()
                self._end.wait(0.3)
                self._cancel(number)
                one.cancelled = True

    def _next(self) -> tuple[Submitted, list[int], bool, bool]:
        with self._lock:
            number = len(self.submitted) + 1
            jobs = self._chance.randint(1, MOST_JOBS)
            one = Submitted(f"chaos-{number}", jobs, 2 + number * 1e-6)
            self.submitted.append(one)
            chips = self._chance.sample(range(len(self._inputs)), jobs)
            forgets, cancels = self._chance.random() < FORGOTTEN, self._chance.random() < CANCELLED
        return one, [frame for chip in chips for frame in self._inputs[chip]], forgets, cancels

    def _submit(self, one: Submitted, inputs: list[int], *, once: bool) -> int | None:
        """Submit until it is acknowledged, or until the first trouble; some ask again though there is no need."""
        body = {"recipe": "ReadNoise", "inputs": {"": inputs}, "idempotency_key": one.key,
                "parameters": {"rejection_threshold": one.parameter}}  # fmt: skip
        while True:
            answer = self._post("/api/v1/runs", body)
            if answer is not None:
                one.runs.add(int(answer["id"]))
                if one.jobs != MOST_JOBS or len(one.runs) > 1:
                    return int(answer["id"])
                second = self._post("/api/v1/runs", body)
                if second is not None:
                    one.runs.add(int(second["id"]))
                return int(answer["id"])
            if once:
                one.given_up = True
                return None
            threading.Event().wait(0.2)

    def _cancel(self, number: int) -> None:
        while self._post(f"/api/v1/runs/{number}/cancel", {}) is None:
            threading.Event().wait(0.2)

    def _open_runs(self) -> int:
        try:
            answer = self._http.get("/api/v1/runs", params={"open": "true"})
            return int(answer.json()["count"]) if answer.status_code == httpx.codes.OK else 0
        except (httpx.HTTPError, ValueError, KeyError):
            return 0

    def _post(self, path: str, body: dict[str, object]) -> dict[str, object] | None:
        """Return the answer, or None where it is not known what became of the request."""
        try:
            answer = self._http.post(path, json=body)
        except httpx.HTTPError:
            return None
        if answer.is_success:
            return dict(answer.json())
        if answer.is_client_error:
            self.refused.append(f"{path} {answer.status_code} {answer.text[:200]}")
            return {"id": 0}
        return None
