"""Keys that cluster managers join with: one each for those of a backend, one for many workers; void when they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from archive.audit import Subject, changes_of
from processing_units.contract import (
    BackendDirections,
    BackendReport,
    Claim,
    ClusterManagerUp,
    KeyRequest,
    NewKey,
    PlaceReport,
    PlaceState,
)
from processing_units.frontend import join_keys
from processing_units.frontend.models import BackendState, JoinKey, ProcessingUnit
from processing_units.frontend.refusals import NotFound
from tests.processing_units.frontend.conftest import together

pytestmark = [pytest.mark.django_db, pytest.mark.urls("processing_units.frontend.unit_urls")]

Post = Callable[..., Any]


def up(name: str) -> ClusterManagerUp:
    return ClusterManagerUp(cluster_manager=name, node="node1", slots=1)


def new_key(post: Post, **fields: Any) -> NewKey:
    return NewKey.model_validate_json(post("keys", KeyRequest(place=1, **fields)).content)


def test_a_backends_key_is_good_for_the_first_that_presents_it(unit: ProcessingUnit, unit_client: Post) -> None:
    key = new_key(unit_client).key
    assert unit_client("up", up("first"), key).status_code == 200
    assert unit_client("claim", Claim(cluster_manager="first", node="n"), key).status_code == 204
    assert unit_client("up", up("second"), key).status_code == 401
    assert unit_client("up", up("first"), key).status_code == 200  # its connection broke, it asks again


def test_a_key_is_void_when_its_cluster_manager_has_ended(unit: ProcessingUnit, unit_client: Post) -> None:
    old = new_key(unit_client)
    assert unit_client("up", up("first"), old.key).status_code == 200
    other = new_key(unit_client)  # the old one still drains
    assert unit_client("up", up("first"), old.key).status_code == 200
    new_key(unit_client, void=[old.number])
    assert unit_client("up", up("first"), old.key).status_code == 401
    assert unit_client("up", up("second"), other.key).status_code == 200


def test_a_key_that_was_not_presented_in_time_is_void(unit: ProcessingUnit, unit_client: Post) -> None:
    late, used = new_key(unit_client), new_key(unit_client)
    assert unit_client("up", up("first"), used.key).status_code == 200
    JoinKey.objects.update(expires_at=timezone.now())
    assert unit_client("up", up("second"), late.key).status_code == 401
    assert unit_client("up", up("first"), used.key).status_code == 200


def test_a_join_key_asks_for_no_other_key(unit: ProcessingUnit, unit_client: Post) -> None:
    key = new_key(unit_client).key
    report = BackendReport(backend="b", kind="local")
    assert unit_client("keys", KeyRequest(place=2), key).status_code == 401
    assert unit_client("backend", report, key).status_code == 401


def test_workers_share_a_key_until_it_is_revoked(unit: ProcessingUnit, unit_client: Post) -> None:
    manager = User.objects.create(username="manager")
    key = join_keys.make_for_workers(unit, manager, "the lab").key
    other = ProcessingUnit.objects.create(name="other", port=1, key_hash="0" * 64)
    for name in ("one", "two"):
        assert unit_client("up", up(name), key).status_code == 200
    number = JoinKey.objects.get().pk
    new_key(unit_client, void=[number])  # a backend makes only its own void
    assert unit_client("up", up("one"), key).status_code == 200
    with pytest.raises(NotFound):
        join_keys.revoke(other, number, manager)
    join_keys.revoke(unit, number, manager)
    assert unit_client("up", up("one"), key).status_code == 401
    told = changes_of(Subject.UNIT, unit.pk).values_list("who", "what", "value_before", "value_after")
    assert sorted(told) == [
        ("manager", "join key", "", f"{number}: the lab"), ("manager", "join key", f"{number}: the lab", "")
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_gets_the_key(unit: ProcessingUnit, unit_client: Post) -> None:
    key = new_key(unit_client).key
    joined = together(6, lambda number: join_keys.unit_joined(key, f"manager {number}"))
    assert [type(one) for one in joined if one is not None] == [ProcessingUnit]


def test_a_backend_reports_and_learns_what_is_wanted(unit: ProcessingUnit, unit_client: Post) -> None:
    ProcessingUnit.objects.filter(pk=unit.pk).update(cluster_managers_wanted=3, kind_settings={"niceness": 5}, slots=8)
    place = PlaceReport(number=1, state=PlaceState.HELD, handle="77", reason="the user's limit", seconds=5)
    for places in ([], [place]):
        answer = unit_client("backend", BackendReport(backend="host:7", kind="slurm", places=places))
    directions = BackendDirections.model_validate_json(answer.content)
    assert (directions.kind, directions.cluster_managers, directions.slots) == ("local", 3, 8)
    assert (directions.settings, directions.accepting, directions.open_jobs) == ({"niceness": 5}, True, 0)
    state = BackendState.objects.get()
    assert (state.backend, state.kind, state.places[0]["state"]) == ("host:7", "slurm", "held")
