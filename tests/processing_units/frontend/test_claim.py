"""A claim takes the next job by fair share, for one slot alone, with all that a node needs."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.utils import timezone

from archive.context import Context, context_of
from archive.models import Product
from archive.quality_limits import Scope, set_limit
from dataserver.signing import peer_key, verify, verify_as_peer
from processing_units.contract import Claim, JobState
from processing_units.frontend.cancel import cancel_run
from processing_units.frontend.claim import claim
from processing_units.frontend.data_servers import is_registered, register
from processing_units.frontend.models import Attempt, ClusterManagerRecord, Job, ProcessingUnit
from recipes.catalogue import find_recipe
from tests.processing_units.frontend.conftest import claimed, in_process, make_user, submitted, together
from tests.processing_units.frontend.test_unit_settings import change

pytestmark = pytest.mark.django_db


def test_the_spec_has_all_that_a_node_needs(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context)
    before = timezone.now()
    spec = claimed(unit).spec
    job = run.jobs.get()
    assert (spec.job, spec.attempt, spec.recipe, spec.recipe_version) == (
        job.pk,
        1,
        "ReadNoise",
        find_recipe("ReadNoise").version,
    )
    assert spec.parameters == run.parameters
    assert (spec.limits.memory_mib, spec.limits.wall_seconds) == (unit.memory_mib, unit.wall_seconds)
    product = Product.objects.order_by("pk").first()
    assert product is not None
    first = spec.inputs[0]
    assert (first.role, first.kind, first.product, first.sha256) == ("raw_bias", "RawBias", product.pk, product.sha256)
    assert first.attributes == product.attributes
    assert job.state == JobState.RUNNING
    assert timedelta(seconds=19) < job.lease_until - before < timedelta(seconds=22)
    attempt = Attempt.objects.get()
    assert (attempt.node, attempt.ordinal) == ("node1", 1)
    assert spec.token not in attempt.token_hash


def test_its_urls_are_signed_for_that_alone(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    spec = claimed(unit).spec
    for url, method in ((spec.inputs[0].url, "GET"), (spec.staging_url, "PUT")):
        assert url.startswith(django_settings.DATA_URL)
        parts = urlsplit(url)
        path = parts.path.removeprefix(urlsplit(django_settings.DATA_URL).path)
        grant = verify([django_settings.DATA_KEY], method, path, parts.query)
        assert grant.expires > time.time() + unit.wall_seconds


def test_a_unit_that_names_a_caching_data_server_reads_there(context: Context, unit: ProcessingUnit) -> None:
    peer = register("near", "http://cache:9000/", None).data_server.peer
    change(unit, data_server="near")
    submitted(context)
    spec = claimed(unit).spec
    assert spec.inputs[0].url.startswith("http://cache:9000/files/")
    parts = urlsplit(spec.inputs[0].url)
    own = peer_key(django_settings.DATA_KEY, peer)
    assert verify_as_peer(own, "GET", parts.path, parts.query, time.time()).expires > time.time() + unit.wall_seconds
    verify([django_settings.DATA_KEY], "GET", parts.path, parts.query, is_peer=is_registered)
    assert spec.staging_url.startswith(f"{django_settings.DATA_URL}/staging/")


def test_nothing_waits_nothing_is_given(context: Context, unit: ProcessingUnit) -> None:
    assert claim(unit, Claim(cluster_manager="m", node="n")) is None
    submitted(context)
    claimed(unit)
    assert claim(unit, Claim(cluster_manager="m", node="n")) is None
    assert Attempt.objects.count() == 1


def test_jobs_of_another_unit_are_not_given(context: Context, unit: ProcessingUnit) -> None:
    other = ProcessingUnit.objects.create(name="other", port=8002, key_hash="x", slots=2)
    submitted(context, unit="local")
    assert claim(other, Claim(cluster_manager="m", node="n")) is None


def test_users_get_their_turns(unit: ProcessingUnit) -> None:
    ann, bob = (context_of(make_user(name)) for name in ("ann", "bob"))
    hers, his = submitted(ann, jobs=4), submitted(bob, jobs=2)
    order = [claimed(unit).job.run_id for _ in range(6)]
    assert order == [hers.pk, his.pk, hers.pk, his.pk, hers.pk, hers.pk]


def test_a_run_is_taken_in_its_order(context: Context, unit: ProcessingUnit) -> None:
    submitted(context, jobs=3)
    assert [claimed(unit).job.ordinal for _ in range(3)] == [1, 2, 3]


def test_among_equals_the_node_gets_what_it_holds(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context, jobs=4)
    held = [entry.product.sha256 for entry in run.jobs.get(ordinal=3).inputs.all()]
    assert claimed(unit, cached=held).job.ordinal == 3
    assert claimed(unit, cached=held).job.ordinal == 1


def test_a_job_that_pauses_waits(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context, jobs=2)
    run.jobs.filter(ordinal=1).update(not_before=timezone.now() + timedelta(seconds=30))
    assert claimed(unit).job.ordinal == 2
    assert claim(unit, Claim(cluster_manager="m", node="n")) is None
    run.jobs.filter(ordinal=1).update(not_before=timezone.now() - timedelta(seconds=1))
    assert claimed(unit).job.ordinal == 1


def test_runs_that_pause_are_not_looked_at_one_by_one(
    context: Context, unit: ProcessingUnit, django_assert_max_num_queries: Any
) -> None:
    for _ in range(10):
        submitted(context)
    Job.objects.update(not_before=timezone.now() + timedelta(minutes=5))
    with django_assert_max_num_queries(8):
        assert claim(unit, Claim(cluster_manager="m", node="n")) is None


def test_a_node_that_drains_gets_nothing(context: Context, unit: ProcessingUnit) -> None:
    submitted(context, jobs=2)
    claimed(unit)
    ClusterManagerRecord.objects.update(drain=True)
    assert claim(unit, Claim(cluster_manager="manager of node1", node="node1")) is None


def test_a_cancelled_run_is_not_claimed(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context)
    cancel_run(run, context)
    assert claim(unit, Claim(cluster_manager="m", node="n")) is None


@pytest.mark.django_db(transaction=True)
def test_a_race_gives_each_job_to_one(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context, jobs=12)
    specs = together(8, lambda place: [claimed(unit, node=f"node{place}").spec.job for _ in range(1 + place % 2)])
    taken = [job for some in specs for job in some]
    assert sorted(taken) == sorted(run.jobs.values_list("pk", flat=True))
    assert Attempt.objects.count() == 12
    assert set(run.jobs.values_list("state", "attempt")) == {("running", 1)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("point", "is_taken"), [("claim.written", False), ("claim.committed", True)])
def test_a_kill_while_claiming_loses_nothing(
    user: User, context: Context, unit: ProcessingUnit, point: str, is_taken: bool
) -> None:
    run = submitted(context)
    code = """
from processing_units.contract import Claim
from processing_units.frontend.claim import claim
from processing_units.frontend.models import ProcessingUnit
claim(ProcessingUnit.objects.get(), Claim(cluster_manager="m", node="n"))
"""
    assert in_process(code, AWPORTAL_FAULT=f"{point}:kill").returncode == -9
    job: Job = run.jobs.get()
    assert (job.state, job.attempt) == (("running", 1) if is_taken else ("queued", 0))
    assert Attempt.objects.count() == (1 if is_taken else 0)
    if is_taken:  # nobody knows of it: its lease counts from the claim
        assert job.lease_until is not None
        assert job.lease_until < timezone.now() + timedelta(seconds=21)


def test_the_limits_of_its_chip_go_with_it(context: Context, unit: ProcessingUnit, user: User) -> None:
    user.is_staff = True
    user.save()
    set_limit(Context(user), "ReadNoise", "read_noise", Scope("camera", "0001"), 3.0, 6.0)
    run = submitted(context, 2)
    first, second = (claimed(unit).spec for _ in range(run.jobs.count()))
    assert first.quality_limits == {"ReadNoise.minimum_read_noise": 3.0, "ReadNoise.maximum_read_noise": 6.0}
    assert first.limit_origins["ReadNoise.read_noise"]["source"] == "set"
    assert (second.quality_limits, second.limit_origins) == ({}, {})
