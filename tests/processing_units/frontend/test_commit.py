"""R5: each job commits exactly once; who comes too late leaves nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib.auth.models import User

from archive.context import Context
from archive.models import Lineage, Measurement, Privilege, Product
from dataserver.store import Store
from processing_units.contract import JobState
from processing_units.frontend import staging
from processing_units.frontend.attempts import staging_key
from processing_units.frontend.cancel import cancel_run
from processing_units.frontend.commit import commit
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.reap import reap_all
from processing_units.frontend.refusals import TooLate
from tests.processing_units.frontend.conftest import Claimed, claimed, expire, in_process, submitted, together

pytestmark = pytest.mark.django_db


def made() -> Any:
    return Product.objects.exclude(kind__startswith="Raw")


def test_it_makes_products_with_lineage_and_ends_the_run(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    run = submitted(context)
    one = claimed(unit)
    staged = one.stage(store, made_without=["dark"])
    message = one.commit_message(staged, log="12:00:00 done\n").model_copy(
        update={"left_out": [{"name": "b", "reason": "r"}]}
    )
    ids = commit(one.attempt, message)
    product = made().get()
    assert ids == [product.pk]
    assert (product.kind, product.sha256, product.creator, product.privilege) == (
        "ReadNoise", staged.sha256, user, Privilege.MYDB,
    )  # fmt: skip
    assert (product.made_by_run, product.made_by_job, product.recipe) == (run.pk, one.spec.job, "ReadNoise")
    assert Measurement.objects.get(product=product).measured == 3.5
    inputs = one.job.inputs.values_list("product", "role", "ordinal")
    assert list(Lineage.objects.filter(product=product).values_list("source", "role", "ordinal")) == list(inputs)
    assert store.has(staged.sha256)
    assert store.staged(staging_key(one.attempt)) == []
    job = one.job
    assert (job.state, job.progress, job.lease_until, job.made_without) == ("done", 1.0, None, ["dark"])
    assert job.left_out == [{"name": "b", "reason": "r"}]
    attempt = one.attempt
    assert (attempt.outcome, attempt.seconds, attempt.peak_memory_mib, attempt.log_bytes) == ("done", 1.5, 100, 14)
    run.refresh_from_db()
    assert run.ended is not None


def test_a_repeated_commit_gives_the_same_products(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context)
    one = claimed(unit)
    message = one.commit_message(one.stage(store))
    assert commit(one.attempt, message) == commit(one.attempt, message)
    assert made().count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_race_of_the_same_commit_makes_one_product(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context)
    one = claimed(unit)
    message = one.commit_message(one.stage(store))
    answers = together(4, lambda _: commit(one.attempt, message))
    assert answers == [[made().get().pk]] * 4


def late_by(how: str, context: Context, unit: ProcessingUnit, one: Claimed) -> None:
    if how == "cancelled":
        cancel_run(one.job.run, context)
        return
    expire(one.job)
    reap_all()
    claimed(unit, node="node2")


@pytest.mark.parametrize("how", ["claimed anew", "cancelled"])
def test_who_comes_too_late_leaves_nothing(context: Context, unit: ProcessingUnit, store: Store, how: str) -> None:
    submitted(context)
    one = claimed(unit)
    staged = one.stage(store)
    late_by(how, context, unit, one)
    with pytest.raises(TooLate, match="not attempt 1's any more"):
        commit(one.attempt, one.commit_message(staged, log="the last words\n"))
    assert made().count() == 0
    assert not store.has(staged.sha256)
    assert store.staged(staging_key(one.attempt)) == []
    assert one.attempt.log_bytes == 15


def test_the_new_attempt_commits_after_the_late_one(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context)
    first = claimed(unit)
    expire(first.job)
    reap_all()
    second = claimed(unit, node="node2")
    assert len(second.commit(store)) == 1
    with pytest.raises(TooLate):
        first.commit(store)
    assert made().count() == 1


def test_a_lease_that_ends_while_files_are_promoted_costs_nothing(
    context: Context, unit: ProcessingUnit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(context)
    one = claimed(unit)
    promote = staging.promote

    def slowly(key: str, sha256s: Any) -> None:
        promote(key, sha256s)
        expire(one.job)
        assert reap_all() == 1

    monkeypatch.setattr(staging, "promote", slowly)
    assert len(one.commit(store)) == 1
    assert (one.job.state, one.job.lost_nodes) == (JobState.DONE, 0)
    assert one.attempt.outcome == "done"


def test_what_was_never_staged_is_not_committed(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context)
    one = claimed(unit)
    staged = one.stage(store)
    store.drop(staging_key(one.attempt))
    with pytest.raises(staging.NothingStaged):
        commit(one.attempt, one.commit_message(staged))
    assert one.job.state == JobState.RUNNING


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"kind": "RawBias"}, "cannot make a product of the kind 'RawBias'"),
        ({"name": "../escape.fits"}, "cannot be a product's name"),
        ({"quality_flags": -1}, "quality flags must be whole numbers"),
        ({"size": 2**70}, "its size and quality flags must be whole numbers"),
    ],
)
def test_a_product_that_cannot_be_is_the_jobs_failure(
    context: Context, unit: ProcessingUnit, store: Store, wrong: dict[str, Any], why: str
) -> None:
    submitted(context)
    one = claimed(unit)
    with pytest.raises(TooLate, match=why):
        commit(one.attempt, one.commit_message(one.stage(store, **wrong)))
    assert (one.job.state, one.job.failures) == ("queued", 1)
    assert "the archive refused its products" in one.job.reason
    assert made().count() == 0


def test_two_products_of_one_name_are_refused(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context)
    one = claimed(unit)
    with pytest.raises(TooLate, match="two of its products have the same name"):
        commit(one.attempt, one.commit_message(one.stage(store, b"1"), one.stage(store, b"2")))
    assert made().count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("point", ["commit.begun", "commit.promoted", "commit.written", "commit.committed"])
def test_a_kill_at_any_point_commits_once(context: Context, unit: ProcessingUnit, store: Store, point: str) -> None:
    run = submitted(context)
    one = claimed(unit)
    staged = one.stage(store)
    code = """
from processing_units.contract import Commit
from processing_units.frontend.attempts import find_attempt
from processing_units.frontend.commit import commit
spec, message = given
message = Commit.model_validate(message)
print(commit(find_attempt(message.job, message.attempt, spec["token"]), message))
"""
    arguments = one.spec.model_dump(mode="json"), one.commit_message(staged).model_dump(mode="json")
    killed = in_process(code, *arguments, AWPORTAL_FAULT=f"{point}:kill")
    assert killed.returncode == -9, killed.stderr
    assert made().count() == (1 if point == "commit.committed" else 0)
    again = in_process(code, *arguments)
    assert again.returncode == 0, again.stderr
    assert again.stdout.strip() == f"[{made().get().pk}]"
    assert one.job.state == JobState.DONE
    assert store.path(staged.sha256).read_bytes() == b"a product"
    from processing_units.frontend.changes import close_ended_runs

    close_ended_runs()
    run.refresh_from_db()
    assert run.ended is not None


def test_a_remote_data_server_is_asked_over_http(
    context: Context, unit: ProcessingUnit, store: Store, settings: Any, live_data_server: str
) -> None:
    settings.DATA_URL = live_data_server
    submitted(context)
    one, other = claimed(unit), None
    staged = one.stage(store)
    assert len(commit(one.attempt, one.commit_message(staged))) == 1
    assert store.has(staged.sha256)
    submitted(context)
    other = claimed(unit)
    lost = other.stage(store, b"nobody wants it")
    cancel_run(other.job.run, context)
    with pytest.raises(TooLate):
        commit(other.attempt, other.commit_message(lost))
    assert store.staged(staging_key(other.attempt)) == []
    settings.DATA_URL = "http://127.0.0.1:1/data"
    submitted(context)
    third = claimed(unit)
    with pytest.raises(staging.DataServerAway):
        third.commit(store)
    assert third.job.state == JobState.RUNNING


def test_equal_bytes_of_two_jobs_are_stored_once(context: Context, unit: ProcessingUnit, store: Store) -> None:
    submitted(context, jobs=2)
    assert [len(claimed(unit).commit(store)) for _ in range(2)] == [1, 1]
    assert made().count() == 2
    assert len(set(made().values_list("sha256", flat=True))) == 1
    assert store.put(io.BytesIO(b"a product")).sha256 == made()[0].sha256
