"""The rows of a run's jobs, their inputs and the hint in the outbox, written together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from archive.products import insert_all
from processing_units.frontend import dispatch
from processing_units.frontend.models import Job, JobInput, Outbox, Run
from processing_units.frontend.quotas import take_room


@dataclass(frozen=True)
class JobRow:
    """What a job begins with; inputs are (role, product, place within the role)."""

    label: str
    choices_made: list[dict[str, Any]]
    inputs: list[tuple[str, int, int]] = field(default_factory=list)
    retry_of: Job | None = None
    again_of: int | None = None


def write_jobs(run: Run, rows: Sequence[JobRow], now: datetime, *, counted: bool = True) -> None:
    """Write the jobs of `run` inside the caller's transaction; the unit's queue hears of them when it commits.

    With `counted` they count in what the user may have.

    Raises
    ------
    NotAllowed
        It would be more than the user may have.
    """
    if counted:
        take_room(run.user_id, len(rows))
    jobs = [
        Job(
            run=run,
            unit_id=run.unit_id,
            ordinal=number,
            label=row.label[:200],
            choices_made=row.choices_made,
            created=now,
            retry_of=row.retry_of,
            again_of=row.again_of,
        )
        for number, row in enumerate(rows, 1)
    ]
    insert_all(Job, jobs)
    JobInput.objects.bulk_create(
        [
            JobInput(job=job, product_id=product, role=role, ordinal=place)
            for job, row in zip(jobs, rows, strict=True)
            for role, product, place in row.inputs
        ]
    )
    Outbox.objects.create(unit_id=run.unit_id, hints=len(jobs))
    # robust: whatever goes wrong with the broker, the jobs are there and the sweep follows.
    transaction.on_commit(lambda: dispatch.send_hints(run.unit), robust=True)
