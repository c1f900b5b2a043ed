"""Logs of jobs and runs: stored as they came, made harmless when they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from processing_units.contract import JobState
from processing_units.frontend.models import Attempt, Job, LogChunk, Run

# Largest log of one attempt that is kept; the cluster manager cuts the middle out of longer ones before.
MAXIMUM_LOG_BYTES = 64 * 1024 * 1024

_SHOWN = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_SHOWN |= {0x7F: "\u2421"} | dict.fromkeys(range(0x80, 0xA0), "\ufffd")
# Marks that turn the direction of text around could make a line read as another.
_SHOWN |= dict.fromkeys([0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")


@dataclass(frozen=True)
class LogText:
    """A piece of an attempt's log.

    ``text`` begins at byte ``start``; ``following`` is where to ask for more; ``complete`` says that no more will come.
    """

    attempt: int
    node: str
    start: int
    text: str
    following: int
    complete: bool


def neutralised(text: str) -> str:
    """Return `text` with control characters replaced by visible signs; line ends and tabs stay.

    To be used wherever a log reaches a terminal or a page: an escape sequence then does nothing.
    """
    return text.translate(_SHOWN)


def log_of(job: Job, *, attempt: int | None = None, since: int = 0) -> LogText:
    """Return the log of an attempt of a job (by default the last one) from byte `since` on, as it was stored."""
    attempts = Attempt.objects.filter(job=job)
    found = attempts.filter(ordinal=attempt).first() if attempt is not None else attempts.order_by("-ordinal").first()
    job_ended = job.state not in (JobState.QUEUED, JobState.RUNNING)
    if found is None:
        return LogText(attempt or 0, "", since, "", since, job_ended)
    chunks = LogChunk.objects.filter(attempt=found)
    # The chunk that `since` lies in begins before it.
    first = (
        chunks.filter(first_byte__lte=since).order_by("-first_byte").values_list("first_byte", flat=True).first() or 0
    )
    rows = list(chunks.filter(first_byte__gte=first).order_by("first_byte").values_list("first_byte", "text"))
    text = "".join(part for _, part in rows)
    cut = max(0, since - first) if rows else 0
    if cut:
        text = text.encode()[cut:].decode(errors="replace")
    return LogText(
        found.ordinal, found.node, since, text, max(since, found.log_bytes), job_ended or found.ended is not None
    )


def log_of_run(run: Run) -> Iterator[str]:
    """Yield the logs of all jobs of a run in order, every attempt under a line that names it."""
    for job in run.jobs.order_by("ordinal").iterator(chunk_size=500):
        for attempt in job.attempts.order_by("ordinal"):
            yield f"=== job {run.pk}/{job.ordinal} {job.label}, attempt {attempt.ordinal} on {attempt.node}\n"
            ends_line = True
            for text in attempt.log_chunks.order_by("first_byte").values_list("text", flat=True).iterator():
                yield text
                ends_line = text.endswith("\n") if text else ends_line
            closing = _closing_line(attempt)
            yield ("" if ends_line else "\n") + closing


def _closing_line(attempt: Attempt) -> str:
    if attempt.ended is None:
        return ""
    why = f": {attempt.message}" if attempt.message else ""
    return f"=== {attempt.outcome or 'ended'}{why}\n"
