"""Notices are written in the transaction that ends what they tell of; sending is another matter (`sending.py`)."""

from __future__ import annotations

from datetime import timedelta

from processing_units.contract import JobState
from processing_units.frontend.models import Batch, Job, Notice, NoticeChoice, Run


def of_ended_run(number: int) -> None:
    """Write the notices of a run that ended, inside the caller's transaction."""
    choice = NoticeChoice.objects.filter(user__runs=number).first()
    if choice is None or not choice.ways:
        return
    run = Run.objects.get(pk=number)
    if _wants(choice, run):
        write(choice, f"run {run.pk}", run=run)


def write(choice: NoticeChoice, occasion: str, **of: Run | Batch) -> None:
    """Write a notice for each way that the user has; those of an occasion are there once."""
    for way in choice.ways:  # not in bulk past those that are there: Oracle knows no such insert
        Notice.objects.get_or_create(
            occasion=f"{way} {occasion}", defaults={"user_id": choice.user_id, "way": way, **of}
        )


def _wants(choice: NoticeChoice, run: Run) -> bool:
    """Whether the user wants to hear of this run; of those of a batch not, where they hear of the batch."""
    if choice.runs == NoticeChoice.Runs.NONE or (run.batch_id and choice.batches_since):
        return False
    if choice.runs == NoticeChoice.Runs.ALL or Job.objects.filter(run=run, state=JobState.FAILED).exists():
        return True
    is_long = run.ended is not None and run.ended - run.submitted >= timedelta(minutes=choice.minutes)
    return choice.runs == NoticeChoice.Runs.LONG and is_long
