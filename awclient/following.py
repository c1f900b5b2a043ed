"""Watch a run until it ends: progress, and its logs as they grow."""

from __future__ import annotations

import time

from awclient.client import Portal
from awclient.errors import Lost, RecipeFailed
from awclient.terminal import Progress, out
from processing_units.contract import JobState, RunStatus
from processing_units.wording import counted

_LOOK_EVERY = 1.0
_ENDS = {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


class LogFollower:
    """Writes what is new in the logs of a run's jobs; each byte once."""

    def __init__(self, portal: Portal, run: int, only_job: int | None = None) -> None:
        self._portal = portal
        self._run = run
        self._only = only_job
        self._offsets: dict[int, int] = {}
        self._finished: set[int] = set()
        self._unfinished_line: dict[int, str] = {}
        self._attempts: dict[int, int] = {}

    def catch_up(self, status: RunStatus, *, to_stderr: bool = False) -> None:
        """Write the whole lines that have arrived since the last time, of the jobs that have begun."""
        several = len(status.jobs) > 1 and self._only is None
        for job in status.jobs:
            begun = job.state is not JobState.QUEUED or job.attempt > 0
            if job.number in self._finished or not begun or (self._only is not None and job.number != self._only):
                continue
            if self._attempts.setdefault(job.number, job.attempt) != job.attempt:
                self._write(job.number, several, f"--- attempt {job.attempt} ---\n", to_stderr)
                self._attempts[job.number] = job.attempt
                self._offsets[job.number] = 0
            self._read_to_end(job.number, several, to_stderr)
            if job.state in _ENDS:
                self._write(job.number, several, "\n" if self._unfinished_line.get(job.number) else "", to_stderr)
                self._finished.add(job.number)

    def _read_to_end(self, job: int, several: bool, to_stderr: bool) -> None:
        while True:
            before = self._offsets.get(job, 0)
            piece = self._portal.log(self._run, job, before, self._attempts[job])
            self._offsets[job] = int(piece["next_offset"])
            self._write(job, several, str(piece["text"]), to_stderr)
            if self._offsets[job] == before:
                return

    def _write(self, job: int, several: bool, text: str, to_stderr: bool) -> None:
        *lines, rest = (self._unfinished_line.get(job, "") + text).split("\n")
        self._unfinished_line[job] = rest
        for line in lines:
            marked = f"[{job}] {line}" if several else line
            if to_stderr:
                from awclient.terminal import say

                say(marked)
            else:
                out(marked)


def whole_log(portal: Portal, run: int, job: int) -> str:
    """Return all that a job has logged so far in its last attempt."""
    pieces: list[str] = []
    offset = 0
    while True:
        piece = portal.log(run, job, offset)
        if int(piece["next_offset"]) == offset:
            return "".join(pieces)
        pieces.append(str(piece["text"]))
        offset = int(piece["next_offset"])


def describe(status: RunStatus) -> str:
    """Return in a line how a run stands."""
    total = sum(status.counts.values())
    done = status.counts.get(JobState.DONE, 0)
    parts = [f"{done} of {counted(total, 'job')} done"]
    parts += [f"{count} {state}" for state, count in status.counts.items() if count and state is not JobState.DONE]
    text = f"{status.state}: " + ", ".join(parts)
    return f"{text} ({status.reason})" if status.reason else text


def fraction(status: RunStatus) -> float:
    """Return how much of a run is over, 0 to 1."""
    total = sum(status.counts.values())
    if not total:
        return 0.0
    ended = sum(count for state, count in status.counts.items() if state in _ENDS)
    running = sum(job.progress for job in status.jobs if job.state is JobState.RUNNING)
    return min(1.0, (ended + running) / total)


def follow(
    portal: Portal,
    run: int,
    *,
    logs: bool = False,
    quiet: bool = False,
    timeout: float | None = None,
    logs_to_stderr: bool = False,
) -> RunStatus:
    """Watch a run until it has ended; raise Lost when the time is over (the run goes on)."""
    deadline = None if timeout is None else time.monotonic() + timeout
    follower = LogFollower(portal, run) if logs else None
    status: RunStatus | None = None
    with Progress(quiet=quiet or logs) as progress:
        # A log grows without the state changing, so a followed log is asked for at every turn.
        for status in portal.watch(run, every_turn=logs):
            progress.show(f"run {run} {status.recipe}", fraction(status), describe(status))
            if follower is not None:
                follower.catch_up(status, to_stderr=logs_to_stderr)
            if deadline is not None and time.monotonic() > deadline and status.ended is None:
                break
    if status is None or status.state in {"queued", "running"}:
        raise Lost(
            f"run {run} has not ended after {timeout:.0f} s; it goes on",
            hint=f"`awrecipe status {run} --wait` re-attaches, `awrecipe cancel {run}` ends it",
        )
    return status


def follow_chain(
    portal: Portal,
    run: int,
    *,
    logs: bool = False,
    quiet: bool = False,
    timeout: float | None = None,
    logs_to_stderr: bool = False,
) -> RunStatus:
    """Watch a run and, where it is one of a chain, those that follow it; return the status of the last."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        status = follow(portal, run, logs=logs, quiet=quiet, timeout=left, logs_to_stderr=logs_to_stderr)
        following = _next_run(portal, status, deadline)
        if following is None:
            return portal.run(run) if status.chain else status
        run = following


def _next_run(portal: Portal, status: RunStatus, deadline: float | None) -> int | None:
    """Return the run after this one in its chain, waiting until it is there; None where there is none to come."""
    place = next((place for place, step in enumerate(status.chain) if step.run == status.id), len(status.chain))
    while place + 1 < len(status.chain):
        following = portal.run(status.id).chain[place + 1]
        if following.run is not None:
            return following.run
        if following.state == "not run":
            return None
        if deadline is not None and time.monotonic() > deadline:
            raise Lost(
                f"{following.recipe}, which follows run {status.id}, has not begun; the chain goes on",
                hint=f"`awrecipe status {status.id} --wait` re-attaches",
            )
        time.sleep(_LOOK_EVERY)
    return None


def raise_unless_done(status: RunStatus) -> None:
    """Raise RecipeFailed with the first reason where a run did not end well."""
    if status.state == "done":
        if status.chain_reason:
            raise RecipeFailed(f"the chain ended after run {status.id} {status.recipe}: {status.chain_reason}")
        return
    first = next((job for job in status.jobs if job.state is JobState.FAILED), None)
    what = f": {first.label}: {first.reason}" if first else (f": {status.reason}" if status.reason else "")
    raise RecipeFailed(
        f"run {status.id} {status.recipe} {status.state}{what}",
        hint=f"`awrecipe logs {status.id}` shows the log, `awrecipe retry {status.id}` runs the failed jobs again",
    )
