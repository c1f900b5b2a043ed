"""The HTTP interface of a unit: the right key, the right protocol, and an answer that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from archive.context import Context
from dataserver.store import Store
from processing_units.contract import (
    Claim,
    ClusterManagerDown,
    ClusterManagerUp,
    Failure,
    FaultKind,
    Heartbeat,
    HeartbeatReply,
    JobBeat,
    JobSpec,
    Welcome,
)
from processing_units.frontend import unit_api
from processing_units.frontend.attempts import hash_of
from processing_units.frontend.models import ClusterManagerRecord, ProcessingUnit
from tests.processing_units.frontend.conftest import Claimed, submitted

pytestmark = [pytest.mark.django_db, pytest.mark.urls("processing_units.frontend.unit_urls")]

Post = Callable[..., Any]
UP = ClusterManagerUp(cluster_manager="m1", node="node1", slots=2)
CLAIM = Claim(cluster_manager="m1", node="node1")


def test_a_whole_life(context: Context, unit: ProcessingUnit, store: Store, unit_client: Post, settings: Any) -> None:
    welcome = Welcome.model_validate_json(unit_client("up", UP).content)
    assert (welcome.unit, welcome.queue, welcome.broker_url) == ("local", "unit.local", settings.BROKER_URL)
    assert (welcome.lease_seconds, welcome.heartbeat_seconds) == (20.0, 5.0)
    assert unit_client("claim", CLAIM).status_code == 204
    submitted(context, jobs=2)
    spec = JobSpec.model_validate_json(unit_client("claim", CLAIM).content)
    one = Claimed(spec)
    beats = [JobBeat(job=spec.job, attempt=1, progress=0.5, log="half\n"), JobBeat(job=999, attempt=1)]
    message = Heartbeat(cluster_manager="m1", node="node1", slots=2, busy=1, jobs=beats)
    reply = HeartbeatReply.model_validate_json(unit_client("heartbeat", message).content)
    assert (reply.stop, reply.log_offsets) == ([(999, 1)], {spec.job: 5})
    commit = one.commit_message(one.stage(store))
    first, second = (unit_client("commit", commit, spec.token) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert len(first.json()["products"]) == 1
    other = Claimed(JobSpec.model_validate_json(unit_client("claim", CLAIM).content))
    failure = Failure(job=other.spec.job, attempt=1, fault=FaultKind.CRASHED, message="died")
    assert unit_client("fail", failure, other.spec.token).status_code == 200
    assert unit_client("down", ClusterManagerDown(cluster_manager="m1", node="node1")).status_code == 200
    assert ClusterManagerRecord.objects.get().down_at is not None


@pytest.mark.parametrize("path", ["up", "claim", "heartbeat", "down"])
def test_a_wrong_key_opens_nothing(unit: ProcessingUnit, unit_client: Post, path: str) -> None:
    messages = {
        "up": UP,
        "claim": CLAIM,
        "heartbeat": Heartbeat(cluster_manager="m", node="n", slots=1, busy=0),
        "down": ClusterManagerDown(cluster_manager="m", node="n"),
    }
    answer = unit_client(path, messages[path], "wrong")
    assert answer.status_code == 401
    assert answer.json()["error"] == "this is not the unit's key"
    assert ClusterManagerRecord.objects.count() == 0


def test_an_attempts_token_is_good_for_it_alone(context: Context, unit: ProcessingUnit, unit_client: Post) -> None:
    submitted(context, jobs=2)
    first, second = (JobSpec.model_validate_json(unit_client("claim", CLAIM).content) for _ in range(2))
    failure = Failure(job=first.job, attempt=1, fault=FaultKind.USAGE, message="m")
    assert unit_client("fail", failure, second.token).status_code == 401
    assert unit_client("fail", failure).status_code == 401  # the unit's key is no attempt's token
    assert unit_client("claim", CLAIM, first.token).status_code == 401
    assert Claimed(first).job.state == "running"


def test_a_late_attempt_gets_409(context: Context, unit: ProcessingUnit, unit_client: Post, store: Store) -> None:
    submitted(context)
    one = Claimed(JobSpec.model_validate_json(unit_client("claim", CLAIM).content))
    staged = one.stage(store)
    one.job.run.jobs.update(attempt=2)
    answer = unit_client("commit", one.commit_message(staged), one.spec.token)
    assert answer.status_code == 409
    assert "not attempt 1's any more" in answer.json()["error"]


def test_what_is_not_staged_gets_422(context: Context, unit: ProcessingUnit, unit_client: Post, store: Store) -> None:
    submitted(context)
    one = Claimed(JobSpec.model_validate_json(unit_client("claim", CLAIM).content))
    staged = one.stage(store).model_copy(update={"sha256": "0" * 64})
    answer = unit_client("commit", one.commit_message(staged), one.spec.token)
    assert (answer.status_code, answer.json()["hint"]) == (422, "stage the products again, then commit")


def test_a_data_server_that_is_away_gets_503(
    context: Context, unit: ProcessingUnit, unit_client: Post, store: Store, settings: Any
) -> None:
    submitted(context)
    one = Claimed(JobSpec.model_validate_json(unit_client("claim", CLAIM).content))
    staged = one.stage(store)
    settings.DATA_URL = "http://127.0.0.1:1/data"
    assert unit_client("commit", one.commit_message(staged), one.spec.token).status_code == 503


def test_another_protocol_gets_426(unit: ProcessingUnit, unit_client: Post) -> None:
    answer = unit_client("claim", json.dumps({"protocol": 2, "cluster_manager": "m", "node": "n", "new": 1}))
    assert answer.status_code == 426
    assert "protocol 1, the message says 2" in answer.json()["error"]


@pytest.mark.parametrize("body", ["not JSON", "{}", '{"cluster_manager": "m", "node": "n", "slot": "x"}', "[]", "\xff"])
def test_what_cannot_be_understood_gets_400(unit: ProcessingUnit, unit_client: Post, body: str) -> None:
    answer = unit_client("claim", body)
    assert answer.status_code == 400
    assert answer.json()["hint"] == "send a Claim"


def test_a_nul_in_a_message_is_left_out(context: Context, unit: ProcessingUnit, unit_client: Post) -> None:
    submitted(context)
    one = Claimed(JobSpec.model_validate_json(unit_client("claim", CLAIM).content))
    failure = Failure(job=one.spec.job, attempt=1, fault=FaultKind.USAGE, message="a\0b", log="c\0d\n")
    assert unit_client("fail", failure, one.spec.token).status_code == 200
    assert (one.job.state, one.job.reason) == ("failed", "ab")
    assert unit_client("claim", '{"cluster_manager": "\\u0000').status_code == 400
    assert unit_client("claim", '{"cluster_manager": "\\u0000", "slot": ' + "9" * 5000 + "}").status_code == 400
    assert unit_client("claim", b'{"cluster_manager": "\\u0000\xff"}').status_code == 400


def test_a_strange_cluster_manager_is_told_so(unit: ProcessingUnit, unit_client: Post) -> None:
    assert unit_client("up", ClusterManagerUp(cluster_manager="k" * 81, node="n", slots=1)).status_code == 400
    assert unit_client("up", ClusterManagerUp(cluster_manager="k", node="n" * 500, slots=10**30)).status_code == 200
    manager = ClusterManagerRecord.objects.get()
    assert (manager.node, manager.slots) == ("n" * 120, 100_000)


def test_too_large_a_message_gets_413(unit: ProcessingUnit, unit_client: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_api, "MAXIMUM_BODY_BYTES", 1000)
    assert unit_client("claim", " " * 1001).status_code == 413


def test_only_post_is_possible(unit: ProcessingUnit, unit_client: Post, client: Any) -> None:
    assert client.get("/unit/claim").status_code == 405


def test_a_frontend_serves_its_own_unit_alone(unit: ProcessingUnit, unit_client: Post, client: Any) -> None:
    ProcessingUnit.objects.create(name="other", port=8002, key_hash=hash_of("other key"))
    environ = {unit_api.UNIT_SERVED: "other"}
    for key, status in (("other key", 204), ("the-key-of-the-unit", 401)):
        answer = client.post(
            "/unit/claim",
            CLAIM.model_dump_json(),
            content_type="application/json",
            headers={"Authorization": f"Bearer {key}"},
            **environ,
        )
        assert answer.status_code == status
