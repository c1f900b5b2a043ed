"""A real HTTP server that speaks a unit's frontend for tests, with the real data server below ``/data``.

It keeps jobs in memory by the rules of the contract: one claim at a time, a lease, attempts with tokens, 409 for those
that come too late, one commit a job.
"""

import contextlib
import io
import itertools
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import psutil
from celery import Celery
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from dataserver import service
from dataserver.signing import signed_url
from dataserver.store import Store
from processing_units.contract import (
    BackendDirections,
    BackendReport,
    Claim,
    ClusterManagerDown,
    ClusterManagerUp,
    CodeFile,
    Commit,
    Failure,
    FaultKind,
    Heartbeat,
    HeartbeatReply,
    InputFile,
    JobSpec,
    JobState,
    KeyRequest,
    Limits,
    NewKey,
    Welcome,
)

KEY = "the-key-of-the-unit"
DATA_KEY = b"k" * 32
# What is waited for is told in seconds of a quiet machine.
PATIENCE = 5
NOT_COUNTED = {FaultKind.NODE_LOST, FaultKind.PREEMPTED}


def eventually(condition: Callable[[], object], seconds: float = 30.0, what: object = "") -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + PATIENCE * seconds
    while not condition():
        assert time.monotonic() < until, f"not within {PATIENCE * seconds} s: {what() if callable(what) else what}"
        time.sleep(0.02)


def gone(processes: list[psutil.Process], seconds: float = 5.0) -> bool:
    """Whether all of them end in time; one that only waits to be reaped has ended."""
    until = time.monotonic() + PATIENCE * seconds
    while time.monotonic() < until:
        if not any(_lives(process) for process in processes):
            return True
        time.sleep(0.02)
    return False


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class FakeJob:
    """A job as the fake frontend keeps it."""

    number: int
    parameters: dict
    inputs: list[InputFile]
    limits: Limits
    state: JobState = JobState.QUEUED
    recipe: str = "Fake"
    code: CodeFile | None = None
    attempt: int = 0
    token: str = ""
    lease_until: float = 0.0
    cluster_manager: str = ""
    failures: list[Failure] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    logs: dict[int, bytes] = field(default_factory=dict)
    beats: list[tuple[float, float, str]] = field(default_factory=list)
    claimed_at: float = 0.0
    committed_at: float = 0.0

    @property
    def log(self) -> str:
        return self.logs.get(self.attempt, b"").decode()


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: object) -> None:
        """Say nothing."""

    def run_wsgi(self) -> None:
        """Take it calmly that clients are killed while they talk to us."""
        with contextlib.suppress(OSError):
            super().run_wsgi()

    def handle(self) -> None:
        """Likewise between two requests."""
        with contextlib.suppress(OSError):
            super().handle()


def _closed_at_the_end(body: Iterable[bytes]) -> Iterator[bytes]:
    """Close a body whatever happens: werkzeug's server forgets it when the client hangs up."""
    try:
        yield from body
    finally:
        if hasattr(body, "close"):
            body.close()


class FakeUnit:
    """The unit; ``start`` and ``stop`` its server as the test likes."""

    def __init__(self, store: Path, broker_url: str, lease: float = 2.0, heartbeat: float = 0.4) -> None:
        self.name = "test"
        self.broker_url = broker_url
        self.lease, self.heartbeat = lease, heartbeat
        self.store = Store(store)
        self.data = service.application(self.store, DATA_KEY)
        self.jobs: dict[int, FakeJob] = {}
        self.ups: list[ClusterManagerUp] = []
        self.downs: list[ClusterManagerDown] = []
        self.refused: list[tuple[str, int]] = []
        self.claims = 0
        self.last_claim: Claim | None = None
        self.drain = False
        self.key = KEY
        self.wanted = BackendDirections(unit=self.name, kind="local", cluster_managers=1, slots=2)
        self.reports: list[BackendReport] = []
        self.keys: dict[int, str] = {}
        self.key_numbers = itertools.count(1)
        self.lock = threading.RLock()
        self.port = 0
        self.server = None
        self.celery = Celery(broker=broker_url, set_as_current=False)

    # ------------------------------------------------------------------------------------------------ what tests do

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        # make_server takes over a duplicate of the descriptor; ours is closed so that no socket is left behind
        self.server = make_server(
            "127.0.0.1", self.port, self._application, threaded=True, request_handler=_Handler, fd=listening.fileno()
        )
        listening.close()
        self.server.daemon_threads = True
        self.connections: list[socket.socket] = []
        accept = self.server.get_request

        def remembered():
            connection, address = accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(connection)
            return connection, address

        self.server.get_request = remembered
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Go away: nobody listens, and connections that were open are cut."""
        server, self.server = self.server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def add_file(self, name: str, content: bytes, kind: str = "RawBias") -> InputFile:
        with self.lock:
            path = self.store.root / f".{secrets.token_hex(4)}"
            path.write_bytes(content)
            stored = self.store.put_file(path)
            path.unlink()
            return InputFile(
                role="raw",
                kind=kind,
                product=1,
                name=name,
                sha256=stored.sha256,
                size=stored.size,
                url=signed_url(DATA_KEY, f"{self.url}/data", "GET", f"/files/{stored.sha256}"),
                attributes={"chip": "1"},
            )

    def submit(self, *steps: list, inputs: list[InputFile] = (), hint: bool = True, **limits: int) -> FakeJob:
        with self.lock:
            job = FakeJob(len(self.jobs) + 1, {"steps": list(steps)}, list(inputs), Limits(**limits))
            self.jobs[job.number] = job
        if hint:
            self.hint()
        return job

    def ship(
        self, bundle: bytes | None, recipe: str = "Attack", parameters: dict | None = None,
        inputs: list[InputFile] = (), **limits: int,
    ) -> FakeJob:  # fmt: skip
        """Submit a job of shipped code; of the standard code where there is no bundle."""
        with self.lock:
            code = None
            if bundle is not None:
                stored = self.store.put(io.BytesIO(bundle))
                url = signed_url(DATA_KEY, f"{self.url}/data", "GET", f"/files/{stored.sha256}")
                code = CodeFile(sha256=stored.sha256, size=stored.size, url=url)
            job = FakeJob(
                len(self.jobs) + 1, parameters or {}, list(inputs), Limits(**limits), recipe=recipe, code=code
            )
            self.jobs[job.number] = job
        self.hint()
        return job

    def hint(self, count: int = 1) -> None:
        for _ in range(count):
            self.celery.send_task(
                "processing_units.hint", kwargs={"unit": self.name}, queue=f"unit.{self.name}", ignore_result=True
            )

    def cancel(self, job: FakeJob) -> None:
        with self.lock:
            job.state = JobState.CANCELLED

    # --------------------------------------------------------------------------------------------- what the node sees

    def _application(self, environ: WSGIEnvironment, start_response: StartResponse):
        path = environ["PATH_INFO"]
        if path.startswith("/data/"):
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/data", path.removeprefix("/data")
            return _closed_at_the_end(self.data(environ, start_response))
        request = Request(environ)
        body = request.get_data()
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            with self.lock:
                response = getattr(self, "_" + path.removeprefix("/unit/"))(body, token)
        except HTTPException as error:
            response = Response(status=error.code)
        if response.status_code >= 400:
            self.refused.append((path, response.status_code))
        return response(environ, start_response)

    def _refuse(self, status: int, error: str, hint: str = "") -> Response:
        return Response(json.dumps({"error": error, "hint": hint}), status, content_type="application/json")

    def _backend(self, body: bytes, token: str) -> Response:
        if token != self.key:
            return self._refuse(401, "this is not the unit's key", "ask its process manager for the key file")
        self.reports.append(BackendReport.model_validate_json(body))
        open_jobs = sum(job.state in {JobState.QUEUED, JobState.RUNNING} for job in self.jobs.values())
        return Response(self.wanted.model_copy(update={"open_jobs": open_jobs}).model_dump_json())

    def _keys(self, body: bytes, token: str) -> Response:
        request = KeyRequest.model_validate_json(body)
        for number in request.void:
            del self.keys[number]
        new = NewKey(number=next(self.key_numbers), key=secrets.token_hex(16))
        self.keys[new.number] = new.key
        return Response(new.model_dump_json())

    def _joins(self, token: str) -> bool:
        return token == self.key or token in self.keys.values()

    def _up(self, body: bytes, token: str) -> Response:
        if not self._joins(token):
            return self._refuse(401, "this is not the unit's key", "ask its process manager for the key file")
        self.ups.append(ClusterManagerUp.model_validate_json(body))
        return Response(
            Welcome(
                unit=self.name,
                broker_url=self.broker_url,
                queue=f"unit.{self.name}",
                lease_seconds=self.lease,
                heartbeat_seconds=self.heartbeat,
            ).model_dump_json()
        )

    def _down(self, body: bytes, token: str) -> Response:
        self.downs.append(ClusterManagerDown.model_validate_json(body))
        return Response(status=204)

    def _claim(self, body: bytes, token: str) -> Response:
        claim = self.last_claim = Claim.model_validate_json(body)
        self.claims += 1
        self._reap()
        for job in self.jobs.values():
            if job.state == JobState.QUEUED:
                return Response(self._given(job, claim.cluster_manager).model_dump_json())
        return Response(status=204)

    def _reap(self) -> None:
        for job in self.jobs.values():
            if job.state == JobState.RUNNING and time.monotonic() > job.lease_until:
                job.state = JobState.QUEUED

    def _given(self, job: FakeJob, cluster_manager: str) -> JobSpec:
        job.state = JobState.RUNNING
        job.attempt += 1
        job.token = secrets.token_hex(16)
        job.cluster_manager = cluster_manager
        job.lease_until = time.monotonic() + self.lease
        job.claimed_at = time.time()
        key = f"{job.number}-{job.attempt}-{job.token[:8]}"
        return JobSpec(
            job=job.number,
            label=f"job {job.number}",
            attempt=job.attempt,
            token=job.token,
            recipe=job.recipe,
            recipe_version="1",
            parameters=job.parameters,
            inputs=job.inputs,
            code=job.code,
            code_digest=job.code.sha256 if job.code else "",
            limits=job.limits,
            staging_url=signed_url(DATA_KEY, f"{self.url}/data", "PUT", f"/staging/{key}"),
        )

    def _heartbeat(self, body: bytes, token: str) -> Response:
        if not self._joins(token):
            return self._refuse(401, "this is not the unit's key", "ask its process manager for the key file")
        beat = Heartbeat.model_validate_json(body)
        reply = HeartbeatReply(drain=self.drain)
        for entry in beat.jobs:
            job = self.jobs[entry.job]
            if job.attempt != entry.attempt or job.state not in {JobState.RUNNING, JobState.QUEUED}:
                reply.stop.append((entry.job, entry.attempt))
                continue
            job.state = JobState.RUNNING  # expired, but not claimed anew: it renews
            job.lease_until = time.monotonic() + self.lease
            job.beats.append((time.time(), entry.progress, entry.stage))
            reply.log_offsets[entry.job] = self._logged(job, entry.log_offset, entry.log)
        return Response(reply.model_dump_json())

    def _logged(self, job: FakeJob, offset: int, text: str) -> int:
        known = job.logs.get(job.attempt, b"")
        job.logs[job.attempt] = known[:offset] + text.encode() if offset <= len(known) else known
        return len(job.logs[job.attempt])

    def _of_attempt(self, number: int, attempt: int, token: str) -> FakeJob | None:
        job = self.jobs[number]
        if job.attempt != attempt or job.token != token or job.state != JobState.RUNNING:
            return None
        return job

    def _commit(self, body: bytes, token: str) -> Response:
        commit = Commit.model_validate_json(body)
        job = self._of_attempt(commit.job, commit.attempt, token)
        if job is None:
            return self._refuse(409, "too late")
        key = f"{job.number}-{job.attempt}-{job.token[:8]}"
        self.store.promote(key, [product.sha256 for product in commit.products])
        self._logged(job, commit.log_offset, commit.log)
        job.commits.append(commit)
        job.state = JobState.DONE
        job.committed_at = time.time()
        return Response('{"products": []}')

    def _fail(self, body: bytes, token: str) -> Response:
        failure = Failure.model_validate_json(body)
        job = self._of_attempt(failure.job, failure.attempt, token)
        if job is None:
            return self._refuse(409, "too late")
        self._logged(job, failure.log_offset, failure.log)
        job.failures.append(failure)
        counted = sum(one.fault not in NOT_COUNTED for one in job.failures)
        job.state = JobState.FAILED if counted else JobState.QUEUED
        return Response("{}")
