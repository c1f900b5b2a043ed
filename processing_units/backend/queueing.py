"""Cluster managers as jobs of a queueing system, driven through PSI/J. A system is one small file in ``kinds/``.

A queue job is one cluster manager on one node. It takes jobs while there are any and then leaves, so there are queue
jobs only as long as there is work. Its key lies in a file that only its user reads, and which it deletes once the
frontend has taken the key; nothing secret is in the batch script. Batch scripts, keys and logs lie in a directory that
the nodes share with this host.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from processing_units.backend.kind import DRAINED, BringUpError, Directions, Kind, KindSettings, Standing
from processing_units.backend.psij_queue import PsijQueue, QueueAwayError, Resources
from processing_units.contract import BackendDirections, PlaceState

log = logging.getLogger(__name__)

HURRIED_SECONDS = 1.0
# A job that the system does not know is believed gone when it has not been seen for so long: some show it late.
UNSEEN_SECONDS = 5.0
LONGEST_WORD = 300


def _plain(text: str) -> str:
    """Refuse what could end a line of a batch script and begin another."""
    if not text.isprintable():
        raise ValueError("only printable characters are possible")
    return text


Plain = Annotated[str, AfterValidator(_plain), Field(max_length=1000)]
OptionName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]


class QueueSettings(KindSettings):
    """How cluster managers are submitted."""

    queue: Plain = Field(default="", description="queue or partition; empty: the system's default")
    account: Plain = Field(default="", description="account or project that pays")
    walltime_minutes: int = Field(default=60, ge=1, le=60 * 24 * 60, description="of a queue job")
    slots: int = Field(default=0, ge=0, le=1024, description="cores of a queue job, one a slot; 0: as the unit says")
    memory_mib: int = Field(default=0, ge=0, description="of a queue job; 0: the system's default")
    attributes: dict[OptionName, Plain] = Field(
        default_factory=dict, description="more options of the system, as qos or constraint for Slurm"
    )
    environment: dict[VariableName, Plain] = Field(default_factory=dict, description="variables of queue jobs")
    work_directory: Plain = Field(default="", description="on a file system shared with the nodes; empty: the state's")
    node_directory: Plain = Field(default="", description="where nodes keep cache and scratch; empty: below /tmp")
    python: Plain = Field(default="", description="path of the Python with awportal on the nodes; empty: the backend's")
    idle_seconds: int = Field(default=60, ge=1, description="a cluster manager leaves after so long without a job")
    poll_seconds: float = Field(default=10.0, ge=0.5, le=600.0, description="how often the system is asked")


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
    """A queue job as we know it: its directory, and when it was last seen."""

    directory: Path
    log_file: Path
    seen: Seen
    seen_at: float
    called_back: bool = False


class BatchQueue(Kind):
    """Brings cluster managers up as queue jobs. A handle is the job's number in the queueing system."""

    executor: ClassVar[str]
    Settings: ClassVar[type[KindSettings]] = QueueSettings
    look_seconds: ClassVar[float] = 0.5
    key_seconds: ClassVar[int] = 30 * 24 * 3600  # a queue job may wait for long before it runs

    def __init__(self) -> None:
        self._settings = QueueSettings()
        self._state = Path()
        self._jobs: dict[str, QueueJob] = {}
        self._asked_at = 0.0
        self._is_away = ""

    def begin(self, directions: Directions) -> None:
        """Know the queue jobs of the backend before this one again."""
        self._state = directions.state / f"{directions.unit}.queue-jobs"
        self._state.mkdir(mode=0o700, exist_ok=True)
        for note in self._state.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                noted = json.loads(note.read_text())
                self._know(str(noted["handle"]), Path(noted["directory"]), Path(noted["log_file"]))

    def configure(self, settings: QueueSettings) -> None:
        """Take settings; they hold for queue jobs submitted from now on."""
        self._settings = settings

    def wanted(self, directions: BackendDirections) -> int:
        """Return as many as there is work for, and no more than the unit's settings say."""
        share = math.ceil(directions.slots / max(1, directions.cluster_managers))
        return min(directions.cluster_managers, math.ceil(directions.open_jobs / self.slots(share)))

    def slots(self, share: int) -> int:
        """Return the cores of a queue job."""
        return self._settings.slots or share

    # --------------------------------------------------------------------------------------------------------- submit

    def bring_up(self, directions: Directions) -> str:
        """Submit a queue job; return its number."""
        root = Path(self._settings.work_directory or directions.state / "queue")
        name = f"{directions.unit}-{directions.number}-{secrets.token_hex(4)}"
        directory = root / name
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory.mkdir(mode=0o700)
            shutil.copy(directions.key_file, directory / "key")
            (directory / "key").chmod(0o600)
            directions.key_file.unlink()
        except OSError as error:
            raise BringUpError(f"the work directory {root} cannot be used: {error}") from error
        try:
            handle = self._queue(root).submit(
                name, self._command(directions, directory), directory / "log", self._resources(directions.slots)
            )
        except QueueAwayError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise BringUpError(str(error)) from error
        self._know(handle, directory, directions.log_file)
        note = {"handle": handle, "directory": str(directory), "log_file": str(directions.log_file)}
        draft = self._state / f"{name}.part"
        draft.write_text(json.dumps(note))
        draft.replace(self._note_of(handle))
        return handle

    def _command(self, directions: Directions, directory: Path) -> list[str]:
        settings = self._settings
        on_node = Path(settings.node_directory or f"/tmp/awportal-node-{os.getuid()}")  # noqa: S108 - on the nodes
        command = [settings.python or sys.executable, "-m", "processing_units.cluster_manager", directions.url]
        command += ["--key-file", str(directory / "key"), "--delete-key-file", str(directory / "key")]
        command += ["--slots", str(directions.slots)]
        command += ["--cache", str(on_node / "cache"), "--scratch", str(on_node / "scratch")]
        command += ["--walltime", str(60 * settings.walltime_minutes), "--preemptible"]
        command += ["--drain-file", str(directory / "drain"), "--quit-when-idle", str(settings.idle_seconds)]
        return [*command, *directions.arguments]

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

    def _queue(self, root: Path) -> PsijQueue:
        return PsijQueue(self.executor, root / "batch-scripts")

    def _know(self, handle: str, directory: Path, log_file: Path) -> None:
        seen = Seen(Phase.QUEUED, "submitted; the queueing system was not asked since")
        self._jobs[handle] = QueueJob(directory, log_file, seen, time.monotonic())

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
            elif job.seen.phase is Phase.ENDED:
                gone[handle] = self._put_away(handle, job)
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
        try:
            seen = self.look(self._queue(self._state), list(open_jobs))
        except QueueAwayError as error:
            if not self._is_away:
                log.warning("%s; what was known before holds", error)
            self._is_away = str(error)[:LONGEST_WORD]
            return
        self._is_away = ""
        for handle, job in open_jobs.items():
            if handle in seen:
                job.seen, job.seen_at = seen[handle], now
            elif now - job.seen_at > UNSEEN_SECONDS:
                job.seen = Seen(Phase.ENDED, "vanished: the queueing system does not know it any more")

    def _put_away(self, handle: str, job: QueueJob) -> str:
        """Return how a queue job ended, keep its log, and remove what belonged to it."""
        code = self._queue(job.directory.parent).exit_code(handle)
        how = "was called back before it ran" if job.called_back and code is None else job.seen.reason
        said = _last_line(job.directory / "log")
        if how == DRAINED and code:
            how = _of_exit_code(code)
        elif how.startswith("vanished") and code is not None:
            how = DRAINED if code == 0 else _of_exit_code(code)
        if code and how.startswith("failed") and said:
            how = f"{how}: {said}"
        with contextlib.suppress(OSError), job.log_file.open("ab") as all_logs:
            all_logs.write(f"---- queue job {handle} {how[:LONGEST_WORD]}; its log:\n".encode())
            with (job.directory / "log").open("rb") as own:
                shutil.copyfileobj(own, all_logs)
        self._queue(job.directory.parent).forget(handle)
        shutil.rmtree(job.directory, ignore_errors=True)
        self._note_of(handle).unlink(missing_ok=True)
        del self._jobs[handle]
        return how[:LONGEST_WORD]

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
        with contextlib.suppress(OSError):
            (job.directory / "drain").touch()

    def stop(self, handle: str) -> None:
        """Cancel the queue job; its cluster manager hears SIGTERM, and its jobs go back to the unit's queue."""
        job = self._jobs.get(handle)
        if job is None:
            return
        job.called_back = True
        try:
            self._queue(job.directory.parent).cancel(handle)
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


def _last_line(path: Path) -> str:
    """Return the last line of a log, or ""."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 2000))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    said: Any = [line.strip() for line in lines if line.strip()]
    return "".join(character for character in said[-1] if character.isprintable())[-200:] if said else ""
