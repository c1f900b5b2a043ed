"""R7: what is cancelled stays cancelled. U2: what failed is retried alone, and no job's state goes back."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from archive.context import Context, context_of
from archive.models import Membership, Privilege, Profile, Project
from dataserver.store import Store
from processing_units.contract import FaultKind, Heartbeat, JobBeat, JobState
from processing_units.frontend.cancel import cancel_run
from processing_units.frontend.changes import change
from processing_units.frontend.heartbeat import heartbeat
from processing_units.frontend.keeping import finish_cancels
from processing_units.frontend.models import Attempt, Job, ProcessingUnit, Run
from processing_units.frontend.permissions import find_run, visible_runs
from processing_units.frontend.reap import reap_all
from processing_units.frontend.refusals import NotAllowed, NotFound, TooLate
from processing_units.frontend.retry import retry_failed
from tests.processing_units.frontend.conftest import claimed, expire, make_user, submitted, together

pytestmark = pytest.mark.django_db


def test_queued_and_running_jobs_are_cancelled(context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = submitted(context, jobs=3)
    done, running = claimed(unit), claimed(unit)
    done.commit(store)
    assert cancel_run(run, context) == 2
    assert list(run.jobs.order_by("ordinal").values_list("state", flat=True)) == ["done", "cancelled", "cancelled"]
    assert running.attempt.outcome == "cancelled"
    assert running.job.reason == "cancelled by ann"
    run.refresh_from_db()
    assert run.ended is not None
    assert cancel_run(run, context) == 0
    beats = [JobBeat(job=running.spec.job, attempt=1)]
    message = Heartbeat(cluster_manager="manager of node1", node="node1", slots=1, busy=1, jobs=beats)
    assert heartbeat(unit, message).stop == [(running.spec.job, 1)]


def test_a_cancelled_job_never_comes_back(context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = submitted(context)
    one = claimed(unit)
    expire(one.job)
    reap_all()
    cancel_run(run, context)
    with pytest.raises(TooLate):
        one.commit(store)
    with pytest.raises(TooLate):
        one.fail(FaultKind.CRASHED)
    assert one.job.state == "cancelled"


def test_a_cancel_that_was_cut_short_is_finished_by_the_keeper(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context, jobs=2)
    claimed(unit)
    from django.db.models.functions import Now

    Run.objects.filter(pk=run.pk).update(cancel_requested=Now())
    assert finish_cancels() == 2
    assert set(run.jobs.values_list("state", flat=True)) == {"cancelled"}


def test_others_do_not_cancel_and_do_not_see(user: User, context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context)
    bob = context_of(make_user("bob"))
    with pytest.raises(NotAllowed, match=f"run {run.pk} is ann's"):
        cancel_run(run, bob)
    with pytest.raises(NotFound, match=f"there is no run {run.pk}"):
        find_run(run.pk, bob)
    assert list(visible_runs(context)) == [run]
    assert list(visible_runs(Context())) == []
    User.objects.filter(username="bob").update(is_staff=True)
    assert cancel_run(find_run(run.pk, staff := context_of(User.objects.get(username="bob"))), staff) == 1


def test_a_change_that_the_table_does_not_allow_is_a_defect() -> None:
    with pytest.raises(ValueError, match="never goes from done to queued"):
        change(Job.objects.all(), JobState.DONE, JobState.QUEUED)


def test_a_change_that_would_not_be_atomic_is_a_defect(context: Context, unit: ProcessingUnit) -> None:
    jobs = submitted(context).jobs.filter(run__cancel_requested__isnull=True)
    with pytest.raises(ValueError, match="joins another table"):
        change(jobs, JobState.QUEUED, JobState.RUNNING)


def failed_run(context: Context, unit: ProcessingUnit, store: Store) -> Run:
    """Return a run of three jobs of which the first is done."""
    run = submitted(context, jobs=3, parameters={"maximum_iterations": 7})
    claimed(unit).commit(store)
    for _ in range(2):
        claimed(unit).fail(FaultKind.USAGE, "these frames will not do")
    run.refresh_from_db()
    return run


def test_only_what_failed_is_retried(context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = failed_run(context, unit, store)
    again = retry_failed(run, context)
    assert again != run
    assert again.parameters == run.parameters
    assert [(job.ordinal, job.label, job.state) for job in again.jobs.order_by("ordinal")] == [
        (1, "0002", "queued"), (2, "0003", "queued"),
    ]  # fmt: skip
    for job in again.jobs.all():
        assert job.retry_of is not None
        fields = ("role", "product", "ordinal")
        assert list(job.inputs.values_list(*fields)) == list(job.retry_of.inputs.values_list(*fields))
        assert job.choices_made == job.retry_of.choices_made
    assert list(run.jobs.order_by("ordinal").values_list("state", flat=True)) == ["done", "failed", "failed"]
    assert claimed(unit).job.run == again


def test_retried_twice_is_retried_once(context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = failed_run(context, unit, store)
    assert retry_failed(run, context) == retry_failed(run, context)
    assert Run.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_race_of_retries_makes_one_run(context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = failed_run(context, unit, store)
    again = together(4, lambda _: retry_failed(run, context).pk)
    assert len(set(again)) == 1
    assert Run.objects.count() == 2
    assert Attempt.objects.count() == 3


def test_nothing_failed_nothing_to_retry(context: Context, unit: ProcessingUnit) -> None:
    with pytest.raises(TooLate, match="has no failed job to retry"):
        retry_failed(submitted(context), context)


def test_a_retry_can_be_retried(context: Context, unit: ProcessingUnit, store: Store) -> None:
    first = retry_failed(failed_run(context, unit, store), context)
    for _ in range(2):
        claimed(unit).fail(FaultKind.USAGE)
    second = retry_failed(first, context)
    assert second not in (first, first.jobs.first().retry_of.run)
    assert second.jobs.count() == 2


def test_projects_see_the_runs_that_are_theirs(user: User, unit: ProcessingUnit) -> None:
    project = Project.objects.create(name="survey")
    bob = make_user("bob")
    for member in (user, bob):
        Membership.objects.create(user=member, project=project)
    Profile.objects.filter(user=user).update(project=project, privilege=Privilege.PROJECT)
    shared, own = submitted(context_of(user)), submitted(Context(user))
    assert list(visible_runs(context_of(bob))) == [shared]
    assert set(visible_runs(context_of(user))) == {shared, own}
    with pytest.raises(NotAllowed):
        cancel_run(find_run(shared.pk, context_of(bob)), context_of(bob))
