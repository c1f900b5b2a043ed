"""Commit: an attempt is done. Products, lineage and state in one transaction, for exactly one attempt of a job."""

from __future__ import annotations

from collections import Counter

from django.db import DataError, IntegrityError, transaction
from django.db.models.functions import Now

from archive.models import Product
from archive.products import InvalidProduct, MadeBy, UsedInput, register_all
from processing_units.contract import Commit, FaultKind, JobState
from processing_units.frontend import staging
from processing_units.frontend.attempts import DONE, revive, staging_key
from processing_units.frontend.chains import continue_chains
from processing_units.frontend.changes import change, close_ended_runs
from processing_units.frontend.fail import end_with_fault
from processing_units.frontend.heartbeat import keep_log
from processing_units.frontend.models import Attempt, Job
from processing_units.frontend.publishing import results_context
from processing_units.frontend.refusals import TooLate
from processing_units.named_points import reach


class _Lost(Exception):
    """The job is not this attempt's: the transaction is rolled back."""


def commit(attempt: Attempt, message: Commit) -> list[int]:
    """Promote what the attempt staged and register it; return the numbers of the products.

    A repeated commit of the same attempt returns the same products.

    Raises
    ------
    TooLate
        The job was cancelled, given to another attempt, or has ended; what was staged is dropped.
    staging.NothingStaged, staging.DataServerAway
        Nothing was committed; the lease stands.
    """
    key = staging_key(attempt)
    if not _was_running(attempt) and not _is_running(attempt):
        return _too_late_or_repeated(attempt, message, key)
    reach("commit.begun")
    try:
        staging.promote(key, sorted({product.sha256 for product in message.products}))
    except (staging.NothingStaged, staging.DataServerAway):
        if _is_running(attempt):
            raise
        return _too_late_or_repeated(attempt, message, key)  # it came twice: the other was faster, and tidied up
    reach("commit.promoted")
    try:
        with transaction.atomic():
            products = _write(attempt, message)
            reach("commit.written")
    except _Lost:
        return _too_late_or_repeated(attempt, message, key)
    except (InvalidProduct, IntegrityError, DataError, OverflowError) as error:
        what = str(error).strip()
        attempt.refresh_from_db(fields=["log_bytes"])  # what the transaction had kept is gone with it
        keep_log(attempt, message.log_offset, message.log)
        end_with_fault(
            attempt, FaultKind.FATAL, f"the archive refused its products: {what}", "this is a recipe's defect"
        )
        staging.drop(key)
        raise TooLate(what) from error
    reach("commit.committed")
    close_ended_runs([attempt.job.run_id])
    reach("commit.closed")
    staging.drop(key)
    if attempt.job.run.chain_id is not None:  # what fails here the keeper's sweep does again
        continue_chains([attempt.job.run_id])
    return [product.pk for product in products]


def _was_running(attempt: Attempt) -> bool:
    """Whether the attempt had its job when it was read, a moment ago; the update of the job holds it to that."""
    return attempt.job.state == JobState.RUNNING and attempt.job.attempt == attempt.ordinal


def _is_running(attempt: Attempt) -> bool:
    """Whether the attempt has its job; one that expired and was not claimed anew gets it back."""
    held = Job.objects.filter(pk=attempt.job_id, attempt=attempt.ordinal, state=JobState.RUNNING)
    return held.exists() or revive(attempt.job_id, attempt.ordinal)


def _too_late_or_repeated(attempt: Attempt, message: Commit, key: str) -> list[int]:
    keep_log(attempt, message.log_offset, message.log)
    staging.drop(key)
    if Job.objects.filter(pk=attempt.job_id, attempt=attempt.ordinal, state=JobState.DONE).exists():
        made = Product.objects.filter(made_by_job=attempt.job_id)
        return list(made.order_by("pk").values_list("pk", flat=True))
    raise TooLate(f"job {attempt.job} is not attempt {attempt.ordinal}'s any more", hint="nothing of it is kept")


def _write(attempt: Attempt, message: Commit) -> list[Product]:
    job, run = attempt.job, attempt.job.run
    without = dict.fromkeys(name for product in message.products for name in product.made_without)
    mine = Job.objects.filter(pk=job.pk, attempt=attempt.ordinal)
    ended = {"progress": 1.0, "stage": "", "reason": "", "hint": ""}
    ended |= {"left_out": message.left_out, "made_without": list(without)}
    changed = change(mine, JobState.RUNNING, JobState.DONE, **ended)
    if not changed and revive(job.pk, attempt.ordinal):  # its lease ended while the data server promoted
        changed = change(mine, JobState.RUNNING, JobState.DONE, **ended)
    if not changed:
        raise _Lost
    keep_log(attempt, message.log_offset, message.log)  # after the job's row, as everybody locks them
    if any(count > 1 for count in Counter(product.name for product in message.products).values()):
        raise InvalidProduct("two of its products have the same name")
    inputs = [UsedInput(used.product_id, used.role, used.ordinal) for used in job.inputs.all()]
    products = register_all(
        message.products,
        results_context(run, [used.product for used in inputs]),
        MadeBy(run.pk, job.pk, run.recipe, run.recipe_version, run.parameters, run.code_digest),
        inputs,
    )
    Attempt.objects.filter(pk=attempt.pk).update(
        ended=Now(), outcome=DONE, seconds=message.seconds, peak_memory_mib=message.peak_memory_mib
    )
    return products
