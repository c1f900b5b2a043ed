"""Cluster managers as jobs of a queueing system, driven through PSI/J. A system is one small file in ``kinds/``.

A queue job is one cluster manager on one node. It takes jobs while there are any and then leaves, so there are queue
jobs only as long as there is work. Its key lies in a file that only its user reads, and which it deletes once the
frontend has taken the key; nothing secret is in the batch script. Batch scripts, keys and logs lie in a directory that
the nodes share with the host of the queue: this one, or a login host that is reached by nothing but ssh (``login``).
From there a relay carries frontend, broker and data server to nodes that have no route out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from processing_units.backend.kind import DRAINED, BringUpError, Check, Directions, Kind, KindSettings, Standing
from processing_units.backend.login_host import LoginHost
from processing_units.backend.psij_queue import PsijQueue, Resources
from processing_units.backend.queue_checks import check_login, check_queue
from processing_units.backend.queue_host import QueueAwayError, QueueHost, ThisHost
from processing_units.backend.queue_settings import QueueSettings
from processing_units.contract import BackendDirections, PlaceState

log = logging.getLogger(__name__)

HURRIED_SECONDS = 1.0
# A job that the system does not know is believed gone when it has not been seen for so long: some show it late.
UNSEEN_SECONDS = 5.0
LONGEST_WORD = 300


class Phase(Enum):
    """How it stands with a queue job."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(frozen=True)
class Seen:
    """What the queueing system says of a job: of one that waits why, of one that has ended how."""

    phase: Phase
    reason: str = ""
    node: str = ""


@dataclass
class QueueJob:
    """A queue job as we know it: its directory, where it reaches the frontend, and when it was last seen."""

    host: QueueHost
    directory: Path
    log_file: Path
    url: str
    seen: Seen
    seen_at: float
    called_back: bool = False


class BatchQueue(Kind):
    """Brings cluster managers up as queue jobs. A handle is the job's number in the queueing system."""

    executor: ClassVar[str]
    submitting: ClassVar[Mapping[str, str]] = {}  # variables of the command that submits
    Settings: ClassVar[type[KindSettings]] = QueueSettings
    look_seconds: ClassVar[float] = 0.5
    key_seconds: ClassVar[int] = 30 * 24 * 3600  # a queue job may wait for long before it runs

    def __init__(self) -> None:
        self._settings = QueueSettings()
        self._hosts: dict[str, QueueHost] = {}
        self._jobs: dict[str, QueueJob] = {}
        self._reach: list[str] | None = None
        self._asked_at = 0.0
        self._put_away_at = 0.0
        self._is_away = ""

    def begin(self, directions: Directions) -> None:
        """Know the queue jobs of the backend before this one again."""
        self._all = directions
        self._state = directions.state / f"{directions.unit}.queue-jobs"
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        for note in self._state.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                self._know(json.loads(note.read_text()))

    def configure(self, settings: QueueSettings) -> None:
        """Take settings; they hold for queue jobs submitted from now on, and those of another login host drain."""
        self._settings = settings
        for handle, job in self._jobs.items():
            if job.host.login != settings.login and not job.called_back:
                self.drain(handle)

    def close(self) -> None:
        """End relays and connections."""
        for host in self._hosts.values():
            host.close()

    def wanted(self, directions: BackendDirections) -> int:
        """Return as many as there is work for, and no more than the unit's settings say."""
        self._reach = [self._all.url, *directions.reach]
        share = math.ceil(directions.slots / max(1, directions.cluster_managers))
        return min(directions.cluster_managers, math.ceil(directions.open_jobs / self.slots(share)))

    def slots(self, share: int) -> int:
        """Return the cores of a queue job."""
        return self._settings.slots or share

    # --------------------------------------------------------------------------------------------------------- submit

    def bring_up(self, directions: Directions) -> str:
        """Submit a queue job; return its number."""
        try:
            return self._submit(directions)
        except (QueueAwayError, OSError) as error:
            raise BringUpError(str(error)) from error

    def _submit(self, directions: Directions) -> str:
        host = self._host_of(self._settings.login)
        root = host.root(self._settings, directions)
        url, worker = host.worker(self._settings, directions, self._reach or [directions.url])
        name = f"{directions.unit}-{directions.number}-{secrets.token_hex(4)}"
        directory = root / name
        host.write(directory / "key", directions.key_file.read_bytes())
        directions.key_file.unlink()
        command = [*worker, *self._options(directions, directory, host)]
        try:
            handle = self._queue(host, root).submit(
                name, command, directory / "log", self._resources(directions.slots), self.submitting
            )
        except QueueAwayError:
            with contextlib.suppress(QueueAwayError):
                host.remove(directory)
            raise
        noted = {"handle": handle, "directory": str(directory), "log_file": str(directions.log_file), "url": url}
        noted["login"] = host.login
        self._know(noted)
        draft = self._state / f"{name}.part"
        draft.write_text(json.dumps(noted))
        draft.replace(self._note_of(handle))
        return handle

    def _options(self, directions: Directions, directory: Path, host: QueueHost) -> list[str]:
        settings = self._settings
        on_node = Path(settings.node_directory or f"/tmp/awportal-node-{host.user_number()}")  # noqa: S108 - on the nodes
        options = ["--key-file", str(directory / "key"), "--delete-key-file", str(directory / "key")]
        options += ["--slots", str(directions.slots)]
        options += ["--cache", str(on_node / "cache"), "--scratch", str(on_node / "scratch")]
        options += ["--walltime", str(60 * settings.walltime_minutes), "--preemptible"]
        options += ["--drain-file", str(directory / "drain"), "--quit-when-idle", str(settings.idle_seconds)]
        return [*options, *directions.arguments]

    def _resources(self, slots: int) -> Resources:
        settings = self._settings
        return Resources(
            queue=settings.queue,
            account=settings.account,
            walltime_seconds=60 * settings.walltime_minutes,
            cores=slots,
            memory_mib=settings.memory_mib,
            attributes=settings.attributes,
            environment=settings.environment,
        )

    def _host_of(self, login: str) -> QueueHost:
        if login not in self._hosts:
            self._hosts[login] = LoginHost(login, self._all) if login else ThisHost()
        return self._hosts[login]

    def _queue(self, host: QueueHost, root: Path) -> PsijQueue:
        return PsijQueue(self.executor, host, root / "batch-scripts", self._state / "psij")

    def _queue_of(self, job: QueueJob) -> PsijQueue:
        return self._queue(job.host, job.directory.parent)

    def _know(self, noted: dict[str, str]) -> None:
        self._jobs[noted["handle"]] = QueueJob(
            host=self._host_of(noted.get("login", "")),
            directory=Path(noted["directory"]),
            log_file=Path(noted["log_file"]),
            url=noted.get("url", ""),
            seen=Seen(Phase.QUEUED, "submitted; the queueing system was not asked since"),
            seen_at=time.monotonic(),
        )

    def _note_of(self, handle: str) -> Path:
        return self._state / f"{handle.replace('/', '_')}.json"

    # --------------------------------------------------------------------------------------------------- how it stands

    def ended(self, handles: Iterable[str]) -> Mapping[str, str]:
        """Return those that are no more, and how each ended."""
        handles = list(handles)
        self._look()
        gone = {}
        for handle in handles:
            job = self._jobs.get(handle)
            if job is None:
                gone[handle] = "is not known here any more"
            elif job.seen.phase is Phase.ENDED and time.monotonic() >= self._put_away_at:
                try:
                    gone[handle] = self._put_away(handle, job)
                except QueueAwayError as error:  # later, then
                    self._put_away_at = time.monotonic() + self._settings.poll_seconds
                    self._has_gone_away(error)
        return gone

    def standing(self, handles: Iterable[str]) -> Mapping[str, Standing]:
        """Return how the others stand, with the queueing system's reasons."""
        states = {Phase.QUEUED: PlaceState.QUEUED, Phase.HELD: PlaceState.HELD}
        standing = {}
        for handle in handles:
            seen = self._jobs[handle].seen if handle in self._jobs else Seen(Phase.RUNNING)
            reason = f"{self._is_away}; before that: {seen.reason}" if self._is_away else seen.reason
            standing[handle] = Standing(states.get(seen.phase, PlaceState.UP), seen.node, reason)
        return standing

    def look(self, queue: PsijQueue, handles: list[str]) -> Mapping[str, Seen]:
        """Ask the queueing system; return what it says of those that it knows.

        This is as much as PSI/J tells of any system; a kind that can tell more does.

        Raises
        ------
        QueueAwayError
            It does not answer.
        """
        return {handle: of_status(status) for handle, (status, _) in queue.states(handles).items()}

    def _look(self) -> None:
        """Ask the queueing system, not more often than it likes."""
        open_jobs = {handle: job for handle, job in self._jobs.items() if job.seen.phase is not Phase.ENDED}
        pause = HURRIED_SECONDS if any(job.called_back for job in open_jobs.values()) else self._settings.poll_seconds
        now = time.monotonic()
        if not open_jobs or now < self._asked_at + pause:
            return
        self._asked_at = now
        for host in {id(job.host): job.host for job in open_jobs.values()}.values():
            of_host = {handle: job for handle, job in open_jobs.items() if job.host is host}
            try:
                self._keep_road(host, of_host)
                seen = self.look(self._queue_of(next(iter(of_host.values()))), list(of_host))
            except QueueAwayError as error:
                self._has_gone_away(error)
                return
            for handle, job in of_host.items():
                if handle in seen:
                    job.seen, job.seen_at = seen[handle], now
                elif now - job.seen_at > UNSEEN_SECONDS:
                    job.seen = Seen(Phase.ENDED, "vanished: the queueing system does not know it any more")
        self._is_away = ""

    def _has_gone_away(self, error: QueueAwayError) -> None:
        if not self._is_away:
            log.warning("%s; what was known before holds", error)
        self._is_away = str(error)[:LONGEST_WORD]

    def _keep_road(self, host: QueueHost, of_host: Mapping[str, QueueJob]) -> None:
        """Keep the way up by which nodes reach us; queue jobs that were given another can only be given up."""
        if host.login != self._settings.login or self._reach is None:
            return
        url = host.road(self._settings, self._all, self._reach)[self._all.url]
        for handle, job in of_host.items():
            if job.url not in ("", url) and not job.called_back:
                log.warning("queue job %s was told %s, where the relay can be no more: given up", handle, job.url)
                self.stop(handle)

    def _put_away(self, handle: str, job: QueueJob) -> str:
        """Return how a queue job ended, keep its log, and remove what belonged to it."""
        queue = self._queue_of(job)
        code, told = queue.exit_code(handle), job.host.read(job.directory / "log") or ""
        how = "was called back before it ran" if job.called_back and code is None else job.seen.reason
        said = _last_line(told)
        if how == DRAINED and code:
            how = _of_exit_code(code)
        elif how.startswith("vanished") and code is not None:
            how = DRAINED if code == 0 else _of_exit_code(code)
        if code and how.startswith("failed") and said:
            how = f"{how}: {said}"
        queue.forget(handle, job.directory)
        with contextlib.suppress(OSError), job.log_file.open("ab") as all_logs:
            all_logs.write(f"---- queue job {handle} {how[:LONGEST_WORD]}; its log:\n{told}".encode())
        self._is_away = ""
        self._note_of(handle).unlink(missing_ok=True)
        del self._jobs[handle]
        return how[:LONGEST_WORD]

    def test(self, directions: Directions) -> list[Check]:
        """Look at the queueing system, and at the login host before it."""
        host = self._host_of(self._settings.login)
        checks: list[Check] = []
        if isinstance(host, LoginHost):
            checks = check_login(host, self._settings, directions, self._reach or [directions.url])
        if all(check.is_well for check in checks[:1]):  # we get in
            checks.append(check_queue(self._queue(host, self._state), self.name, self.look))
        return checks

    # ------------------------------------------------------------------------------------------------------------ end

    def drain(self, handle: str) -> None:
        """Call a job back that waits in the queue; ask a running one by a file in its directory."""
        job = self._jobs.get(handle)
        if job is None:
            return
        if job.seen.phase in (Phase.QUEUED, Phase.HELD):
            self.stop(handle)
            return
        job.called_back = True
        try:
            job.host.write(job.directory / "drain")
        except QueueAwayError as error:
            log.warning("queue job %s could not be asked to drain: %s", handle, error)

    def stop(self, handle: str) -> None:
        """Cancel the queue job; its cluster manager hears SIGTERM, and its jobs go back to the unit's queue."""
        job = self._jobs.get(handle)
        if job is None:
            return
        job.called_back = True
        try:
            self._queue_of(job).cancel(handle)
        except QueueAwayError as error:
            log.warning("queue job %s could not be cancelled: %s", handle, error)

    def kill(self, handle: str) -> None:
        """Cancel once more: the queueing system kills what does not listen."""
        self.stop(handle)


def of_status(status: Any) -> Seen:
    """Return what PSI/J's `JobStatus` means."""
    phases = {"NEW": Phase.QUEUED, "QUEUED": Phase.QUEUED, "STAGE_IN": Phase.QUEUED}
    ends = {"COMPLETED": DRAINED, "FAILED": "failed", "CANCELED": "was cancelled in the queue"}
    state, said = status.state.name, " ".join(str(status.message or "").split())[:LONGEST_WORD]
    if state in ends:
        return Seen(Phase.ENDED, ends[state] + (f" ({said})" if said and ends[state] != DRAINED else ""))
    return Seen(phases.get(state, Phase.RUNNING), said)


def _of_exit_code(code: int) -> str:
    meaning = {
        1: "was stopped with jobs unfinished",
        3: "was refused by the frontend",
        4: "could not start the recipes",
    }.get(code)
    return f"failed: {meaning}" if meaning else f"failed with exit code {code}"


def _last_line(text: str) -> str:
    """Return the last line of a log, or ""."""
    said = [line.strip() for line in text[-2000:].split("\n") if line.strip()]
    return "".join(character for character in said[-1] if character.isprintable())[-200:] if said else ""
