"""R2: a submission is accepted whole or not at all, once for each key, whatever dies and however many come at once."""

from __future__ import annotations

import signal
import time

import pytest
from django.contrib.auth.models import User

from archive.context import Context, context_of
from processing_units.contract import Submission
from processing_units.frontend.models import Job, JobInput, Outbox, ProcessingUnit, Run
from processing_units.frontend.submit import submit
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import Redis, biases, in_process, make_user, submitted, together

SUBMIT = """
from django.contrib.auth.models import User
from archive.context import context_of
from processing_units.contract import Submission
from processing_units.frontend.submit import submit
ids, key = given
run = submit(Submission(recipe="ReadNoise", inputs={"": ids}, idempotency_key=key), context_of(User.objects.get()))
print(run.pk)
"""


@pytest.mark.django_db
def test_the_same_key_gives_the_same_run(user: User, context: Context, unit: ProcessingUnit) -> None:
    ids = biases(user, 2)
    request = Submission(recipe="ReadNoise", inputs={"": ids}, idempotency_key="k1")
    first, second = submit(request, context), submit(request, context)
    assert first == second
    assert Run.objects.count() == Job.objects.count() == 1
    assert submit(request.model_copy(update={"idempotency_key": "k2"}), context) != first


@pytest.mark.django_db
def test_without_a_key_every_submission_is_a_run(user: User, context: Context, unit: ProcessingUnit) -> None:
    request = Submission(recipe="ReadNoise", inputs={"": biases(user, 2)})
    assert submit(request, context) != submit(request, context)


@pytest.mark.django_db
def test_keys_of_two_users_are_apart(user: User, unit: ProcessingUnit) -> None:
    runs = {submitted(context_of(one), idempotency_key="k").pk for one in (user, make_user("bob"))}
    assert len(runs) == 2


@pytest.mark.django_db
def test_a_key_used_for_something_else_is_refused(user: User, context: Context, unit: ProcessingUnit) -> None:
    request = Submission(recipe="ReadNoise", inputs={"": biases(user, 2)}, idempotency_key="k1")
    run = submit(request, context)
    with pytest.raises(UsageError, match=f"was used before, for run {run.pk}, with another request"):
        submit(request.model_copy(update={"comment": "other"}), context)


@pytest.mark.django_db(transaction=True)
def test_a_race_of_the_same_key_gives_one_run(user: User, context: Context, unit: ProcessingUnit) -> None:
    request = Submission(recipe="ReadNoise", inputs={"": biases(user, 2)}, idempotency_key="k1")
    runs = together(6, lambda _: submit(request, context).pk)
    assert set(runs) == {Run.objects.get().pk}
    assert Job.objects.count() == Outbox.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("point", "is_written"),
    [
        ("submit.planned", False),
        ("submit.run-written", False),
        ("submit.written", False),
        ("dispatch.begun", True),
        ("submit.committed", True),
    ],
)
def test_a_kill_at_any_point_leaves_all_or_nothing(
    user: User, unit: ProcessingUnit, point: str, is_written: bool
) -> None:
    ids = biases(user, 2)
    killed = in_process(SUBMIT, ids, "k1", AWPORTAL_FAULT=f"{point}:kill")
    assert killed.returncode == -9, killed.stderr
    rows = 1 if is_written else 0
    assert (Run.objects.count(), Job.objects.count(), JobInput.objects.count()) == (rows, rows, 2 * rows)
    assert Outbox.objects.count() == rows
    again = in_process(SUBMIT, ids, "k1")
    assert again.returncode == 0, again.stderr
    assert int(again.stdout) == Run.objects.get().pk
    assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_does_not_matter(user: User, context: Context, unit: ProcessingUnit) -> None:
    began = time.monotonic()
    runs = [submitted(context) for _ in range(3)]
    assert time.monotonic() - began < 3
    assert [run.jobs.get().state for run in runs] == ["queued"] * 3
    assert Outbox.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_hangs_does_not_matter(user: User, context: Context, unit: ProcessingUnit, redis: Redis) -> None:
    submitted(context)  # the connection is there, then nobody answers any more
    redis.signal(signal.SIGSTOP)
    began = time.monotonic()
    run = submitted(context)
    seconds = time.monotonic() - began
    redis.signal(signal.SIGCONT)
    assert run.jobs.get().state == "queued"
    assert Outbox.objects.count() == 1
    assert seconds < 6


@pytest.mark.django_db(transaction=True)
def test_the_queue_is_topped_up_on_commit(user: User, context: Context, unit: ProcessingUnit, redis: Redis) -> None:
    unit.slots = 2
    unit.save()
    submitted(context, jobs=3)
    assert redis.command("LLEN", "unit.local") == 3
    submitted(context, jobs=9)
    assert redis.command("LLEN", "unit.local") == 2 * unit.slots
    assert Outbox.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_300_jobs_are_submitted_in_a_second(user: User, context: Context, unit: ProcessingUnit) -> None:
    ids = [pk for chip in range(300) for pk in biases(user, 2, attributes={"chip": f"{chip}"})]
    began, began_here = time.perf_counter(), time.process_time()
    run = submit(Submission(recipe="ReadNoise", inputs={"": ids}), context)
    seconds, seconds_here = time.perf_counter() - began, time.process_time() - began_here
    assert run.jobs.count() == 300
    assert JobInput.objects.count() == 600
    # The second is this process's own, whatever else the machine does; L1's three are those that a user waits.
    assert seconds_here < 1.0
    assert seconds < 3.0
