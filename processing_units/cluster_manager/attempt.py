"""One attempt of a job on this node, from its spec to its commit, its failure, or nothing at all."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from dataserver.client import stage
from dataserver.store import Stored
from processing_units.cluster_manager.backoff import Backoff
from processing_units.cluster_manager.collecting import check_products, take_over
from processing_units.cluster_manager.confinement import Confinement, make_work_folder
from processing_units.cluster_manager.faults import DroppedError, FaultError, fault_of_os_error
from processing_units.cluster_manager.fork_server import Ended, ForkServer, ForkServerError, JobProcess
from processing_units.cluster_manager.frontend_client import (
    Frontend,
    FrontendAwayError,
    RefusedError,
    TooLateError,
)
from processing_units.cluster_manager.gpus import Gpus, variables
from processing_units.cluster_manager.heartbeat import LOG_BYTES_A_JOB, ActiveAttempts, Heartbeats
from processing_units.cluster_manager.job_log import JobLog
from processing_units.cluster_manager.outcome import Outcome, last_progress, read_outcome
from processing_units.cluster_manager.sandbox import SandboxProcess
from processing_units.cluster_manager.scratch import Scratch, make_directory, note_process, remove_tree
from processing_units.cluster_manager.sentinel import Sentinel
from processing_units.cluster_manager.stage_in import NodeCache, stage_in
from processing_units.cluster_manager.stage_out import stage_out
from processing_units.cluster_manager.walltime import NEARLY_ALL
from processing_units.cluster_manager.watchdog import Watchdog, Watched
from processing_units.contract import Commit, Failure, FaultKind, JobSpec
from processing_units.named_points import reach

log = logging.getLogger(__name__)

LAST_WORD_SECONDS = 3.0
# A queueing system ends all processes of a queue job in one moment; which of them is seen first is chance.
SAME_MOMENT_SECONDS = 0.5


@dataclass(frozen=True)
class Node:
    """What the attempts of a node share."""

    frontend: Frontend
    cache: NodeCache
    scratch: Scratch
    fork_server: ForkServer
    sentinel: Sentinel
    watchdog: Watchdog
    active: ActiveAttempts
    heartbeats: Heartbeats
    threads: int  # the slot's share of the cores
    confinement: Confinement | None = None  # of shipped code; without one it is not taken
    gpus: Gpus = field(default_factory=lambda: Gpus(()))
    send: Callable[[str, str, Path, str], Stored] = stage  # hands a product in


class Stop(Enum):
    """Why an attempt is ended from outside."""

    TAKEN_AWAY = "cancelled, or given to another"
    PREEMPTED = "the cluster manager was stopped"
    TOO_LONG = "it had all the time that the queue allows"


class Attempt:
    """One attempt; ``run`` in a slot's thread, ``take_away`` and ``preempt`` from any."""

    def __init__(self, spec: JobSpec, node: Node) -> None:
        self.spec = spec
        self.key = (spec.job, spec.attempt)
        self._node = node
        self._directory = node.scratch.place(spec.job, spec.attempt)
        self._work = self._directory  # of shipped code: a folder in it, which is all that the job sees of it
        self.log = JobLog(self._directory / "log")
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._stop: Stop | None = None
        self._breach: FaultError | None = None
        self._process: JobProcess | SandboxProcess | None = None
        self.fault: FaultKind | None = None
        self._began = time.monotonic()
        self._gpu = ""

    # ------------------------------------------------------------------------------------------ asked by other threads

    def progress(self) -> tuple[float, str]:
        """How far the job says it is."""
        return last_progress(self._work)

    def take_away(self) -> None:
        """It was cancelled or its lease was lost."""
        self._end(Stop.TAKEN_AWAY)

    def preempt(self, time_at_most: float | None = None) -> None:
        """The cluster manager is stopped.

        Where that is because its walltime is over, of which jobs have `time_at_most` [s], a job that had nearly all of
        it would not end elsewhere either.
        """
        had_all = time_at_most is not None and time.monotonic() - self._began > NEARLY_ALL * time_at_most
        self._end(Stop.TOO_LONG if had_all else Stop.PREEMPTED)

    def _end(self, why: Stop) -> None:
        """Kill the process group at once; ``run`` then cleans up and returns."""
        with self._lock:
            if self._stop is None:
                self._stop = why
            process = self._process
        self._stopped.set()
        if process is not None:
            process.kill()

    def _on_breach(self, breach: FaultError) -> None:
        with self._lock:
            self._breach = breach
            process = self._process
        if process is not None:
            process.kill()

    # ---------------------------------------------------------------------------------------------------- in its slot

    def run(self) -> None:
        """Do all of it; never raises: every end is reported, or is nobody's business any more."""
        self._node.active.add(self)
        try:
            self._run_to_commit()
        except DroppedError:
            log.info("job %d.%d %s", *self.key, "is no longer ours: nothing is left of it")
        except FaultError as fault:
            self._report(fault)
        except OSError as error:
            self._report(fault_of_os_error(error, FaultKind.NODE_LOST, "working on the job"))
        except Exception as error:  # the edge: whatever it is, the frontend hears of it
            log.exception("job %d.%d hit a defect of the cluster manager", *self.key)
            self._report(FaultError(FaultKind.NODE_LOST, f"Defect of the cluster manager: {error!r}"))
        finally:
            self._node.active.discard(self)  # first: what is listed keeps its lease, whatever goes wrong here
            remove_tree(self._directory)

    def _run_to_commit(self) -> None:
        reach("node.claimed")
        began = time.monotonic()
        with ExitStack() as leases:
            try:
                make_directory(self._directory)
                if self.spec.code_digest:
                    self._work = make_work_folder(self._directory)
                job_file = stage_in(self.spec, self._work, self._node.cache, leases, self._pause, self._node.threads)
            except OSError as error:
                raise fault_of_os_error(error, FaultKind.STAGE_IN, "bringing the job's inputs") from error
            size = sum(wanted.size for wanted in self.spec.inputs)
            self.log.say("stage_in", f"{len(self.spec.inputs)} files, {size / 1e6:.1f} MB, {_milliseconds(began)} ms")
            reach("node.staged-in")
            self._gpu = leases.enter_context(self._node.gpus.taken())
            if self._gpu:
                self.log.say("gpu", f"GPU {self._gpu}")
            outcome = self._run_process(job_file, leases)
        began = time.monotonic()
        self._stage_out(outcome)
        self.log.say("stage_out", f"{len(outcome.products)} products, {_milliseconds(began)} ms")
        self._send_log_ahead()
        reach("node.staged-out")
        self._commit(outcome)
        reach("node.committed")

    def _run_process(self, job_file: Path, leases: ExitStack) -> Outcome:
        self._check_stopped()
        began = time.monotonic()
        ended, watched = self._watch_process(job_file, leases)
        reach("node.ended")
        self.log.finish()
        if ended.signal == signal.SIGTERM:
            self._stopped.wait(SAME_MOMENT_SECONDS)
        self._check_stopped()
        if self._breach is not None:
            raise self._breach
        if self.spec.code_digest:
            take_over(self._work, self._directory / "outputs", self.spec.limits.disk_mib << 20)
        outcome = read_outcome(self._directory, ended, watched, self.log.last_line(), self._node.scratch.free_bytes())
        if self.spec.code_digest:
            check_products(outcome.products)
        outcome.seconds = time.monotonic() - began
        return outcome

    def _start(self, job_file: Path) -> tuple[JobProcess, Watched]:
        """Have a job of the standard code forked."""
        limits = self.spec.limits
        try:
            process = self._node.fork_server.run(
                job_file,
                self.log.raw,
                _environment(self.spec, self._directory, self._node.threads, self._gpu),
                limits.memory_mib,
            )
        except ForkServerError as error:
            raise FaultError(FaultKind.NODE_LOST, f"The node could not start the job: {error}") from error
        return process, Watched(process.pid, limits, self.log.raw, self._on_breach)

    def _hold(self, leases: ExitStack) -> tuple[SandboxProcess, Watched, Callable[[], None]]:
        """Set a job of shipped code up in its sandbox; it begins when the callable is called."""
        if self._node.confinement is None or self.spec.code is None:
            raise FaultError(
                FaultKind.NODE_LOST, "This node takes no shipped code: its sandbox does not work, its log says why."
            )
        lease = leases.enter_context(self._node.cache.fetch(self.spec.code, self._pause))
        held = self._node.confinement.start(
            self.spec, self._directory, lease.path, leases, self._node.threads, self._gpu
        )
        watched = Watched(
            held.process.pid,
            self.spec.limits,
            self.log.raw,
            self._on_breach,
            namespace=held.process.namespace,
            also=held.containment.check,
        )
        return held.process, watched, held.begin

    def _watch_process(self, job_file: Path, leases: ExitStack) -> tuple[Ended, Watched]:
        process: JobProcess | SandboxProcess
        begin: Callable[[], None] = lambda: None  # noqa: E731
        if self.spec.code_digest:
            process, watched, begin = self._hold(leases)
        else:
            process, watched = self._start(job_file)
        self._node.sentinel.guard(process.pid)
        with self._lock:
            self._process = process
            doomed = self._stop is not None
        if doomed:
            process.kill()
        note_process(self._directory, process.pid)
        _prefer_for_the_oom_killer(process.pid)
        self._node.watchdog.watch(watched)
        begin()
        reach("node.started")
        try:
            return process.wait(), watched
        except ForkServerError as error:
            self._stopped.wait(SAME_MOMENT_SECONDS)
            self._check_stopped()
            self.log.finish()
            raise self._breach or FaultError(
                FaultKind.NODE_LOST, f"The node lost the job's process: {error}", hint="It is tried again."
            ) from error
        finally:
            self._node.watchdog.forget(watched)
            self._node.sentinel.release(process.pid)

    def _stage_out(self, outcome: Outcome) -> None:
        for path, product in outcome.products:
            try:
                stage_out(
                    path,
                    product,
                    self.spec.staging_url,
                    self._pause,
                    lambda: self._node.heartbeats.frontend_is_away,
                    self._node.send,
                )
            except OSError as error:
                raise fault_of_os_error(error, FaultKind.STAGE_OUT, "handing in the products") from error

    def _commit(self, outcome: Outcome) -> None:
        offset, text = self.log.piece(2 * LOG_BYTES_A_JOB)
        job, attempt = self.key
        message = Commit(
            job=job,
            attempt=attempt,
            products=[product for _, product in outcome.products],
            left_out=outcome.left_out,
            seconds=round(outcome.seconds, 3),
            peak_memory_mib=round(outcome.peak_memory_mib, 1),
            log_offset=offset,
            log=text,
        )
        try:
            self._until_answered(lambda: self._node.frontend.commit(message, self.spec.token))
        except RefusedError as error:
            raise FaultError(
                FaultKind.STAGE_OUT, f"The portal refused the products: {error.message}", hint=error.hint
            ) from error
        log.info("job %d.%d %s", *self.key, f"committed with {len(outcome.products)} products")

    # ------------------------------------------------------------------------------------------------------- reporting

    def _report(self, fault: FaultError) -> None:
        """Tell the frontend of a failure; give up only when the attempt is no longer ours."""
        self.fault = fault.kind
        log.info("job %d.%d %s", *self.key, f"failed ({fault.kind}): {fault.message}")
        self.log.finish()
        job, attempt = self.key
        try:
            if self._stop is None:
                self.log.say("failed", f"{fault.kind}: {fault.message}")
                self._send_log_ahead()
            offset, text = self.log.piece(2 * LOG_BYTES_A_JOB)
            message = Failure(
                job=job,
                attempt=attempt,
                fault=fault.kind,
                message=fault.message,
                hint=fault.hint,
                log_offset=offset,
                log=text,
            )
            if self._stop in {Stop.PREEMPTED, Stop.TOO_LONG}:
                self._node.frontend.fail(message, self.spec.token, timeout=LAST_WORD_SECONDS)
            else:
                self._until_answered(lambda: self._node.frontend.fail(message, self.spec.token))
        except FaultError as preempted:
            self._report(preempted)
        except DroppedError:
            log.info("job %d.%d %s", *self.key, "is no longer ours")
        except (RefusedError, FrontendAwayError) as error:
            log.warning("the end of job %d.%d could not be reported: %s", *self.key, error)

    def _send_log_ahead(self) -> None:
        """Send a long log by heartbeats, so that the last message stays small."""
        backoff = Backoff()
        while (before := self.log.waiting) > LOG_BYTES_A_JOB and not self._node.heartbeats.is_refused:
            if self._node.heartbeats.beat() and self.log.waiting < before:
                backoff.reset()
                self._check_stopped()
            else:
                self._pause(backoff.pause())

    def _until_answered(self, ask: Callable[[], None]) -> None:
        """Ask again and again while the frontend is away: what was done must not be lost."""
        backoff = Backoff()
        while True:
            try:
                return ask()
            except TooLateError as error:
                raise DroppedError from error
            except FrontendAwayError as error:
                log.debug("asked again: %s", error)
            self._pause(backoff.pause())

    def _pause(self, seconds: float) -> None:
        self._stopped.wait(seconds)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self._stop is Stop.TAKEN_AWAY:
            raise DroppedError
        if self._stop is Stop.PREEMPTED:
            raise FaultError(
                FaultKind.PREEMPTED,
                "The cluster manager was stopped while the job ran.",
                hint="It is run again elsewhere.",
            )
        if self._stop is Stop.TOO_LONG:
            raise FaultError(
                FaultKind.OUT_OF_TIME,
                f"The job ran {time.monotonic() - self._began:.0f} s, all that the walltime of the queue allows.",
                hint="Give it fewer inputs, or have the unit's process manager raise the walltime of its queue jobs.",
            )


def _milliseconds(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _environment(spec: JobSpec, directory: Path, share: int, gpu: str) -> dict[str, str]:
    threads = str(max(spec.limits.threads, share))
    return {
        "HOME": str(directory),
        "TMPDIR": str(directory / "tmp"),
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "PYTHONUNBUFFERED": "1",
        **variables(gpu),
    }


def _prefer_for_the_oom_killer(pid: int) -> None:
    """When the node runs out of memory the job is to die, not the cluster manager."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as stream:
        stream.write("800")
