"""Plan, submit once, watch, read logs, cancel and retry over the interface."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from processing_units.contract import JobState
from processing_units.frontend.models import Attempt, Job, LogChunk, ProcessingUnit, Run
from recipes.catalogue import find_recipe

from .conftest import TokenClient
from .frames import ingest_biases


@pytest.fixture
def unit(db: None) -> ProcessingUnit:
    """A unit with nobody behind it: jobs stay queued."""
    return ProcessingUnit.objects.create(name="local", port=1, key_hash="0" * 64)


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send no hints: there is no Redis here, and a hint that is lost is swept later."""
    monkeypatch.setattr("processing_units.frontend.dispatch.send_hints", lambda unit: None)


def post(client: Client, path: str, content: Any = None) -> Any:
    return client.post(f"/api/v1{path}", content, content_type="application/json")


@pytest.fixture
def submission(client: Client, unit: ProcessingUnit) -> dict[str, Any]:
    """A submission of Bias on three frames."""
    return {"recipe": "Bias", "inputs": {"": ingest_biases(client, 3)}, "idempotency_key": "k"}


def test_a_plan_makes_nothing_and_says_why(client: Client, submission: dict[str, Any]) -> None:
    plan = post(client, "/plan", submission).json()
    assert (plan["unit"], plan["parameters"]["sigma_clip"]) == ("local", 3.0)
    (job,) = plan["jobs"]
    assert (job["inputs"], job["problem"]) == ({"raw_bias": submission["inputs"][""]}, "")
    assert {choice["role"]: bool(choice["reason"]) for choice in job["calibrations"]} == {
        "read_noise": True,
        "previous": True,
    }
    assert not Run.objects.exists()


def test_the_same_key_is_the_same_run(client: Client, submission: dict[str, Any]) -> None:
    first, again = post(client, "/runs", submission), post(client, "/runs", submission)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert (Run.objects.count(), Job.objects.count()) == (1, 1)
    other = post(client, "/runs", {**submission, "parameters": {"sigma_clip": 4}})
    assert other.status_code == 400
    assert "idempotency key" in other.json()["error"]


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"recipe": "Sofa"}, 400, "Sofa"),
        ({"parameters": {"sigma_clip": "x"}}, 400, "sigma_clip"),
        ({"parameters": {"colour": 1}}, 400, "colour"),
        ({"inputs": {"": [999999]}}, 404, "999999"),
        ({"inputs": {"": [10**30]}}, 404, "1000000"),
        ({"inputs": {"": []}}, 400, "no inputs"),
        ({"unit": "nowhere"}, 404, "nowhere"),
        ({"sofa": 1}, 400, "sofa"),
        ({"privilege": 9}, 400, "privilege"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    client: Client, submission: dict[str, Any], change: dict[str, Any], status: int, word: str
) -> None:
    answer = post(client, "/runs", {**submission, **change})
    assert (answer.status_code, word in answer.content.decode()) == (status, True)
    assert set(answer.json()) == {"error", "hint", "field"}
    assert not Run.objects.exists()


def test_too_few_frames_are_a_problem_of_the_job(client: Client, submission: dict[str, Any]) -> None:
    two = {**submission, "inputs": {"": submission["inputs"][""][:2]}}
    assert "at least 3" in post(client, "/plan", two).json()["jobs"][0]["problem"]
    assert post(client, "/runs", two).status_code == 400


def test_a_run_is_its_user_s(client: Client, submission: dict[str, Any], ben: User) -> None:
    number = post(client, "/runs", submission).json()["id"]
    other = TokenClient(ben)
    for method, path in (("get", ""), ("get", "/jobs/1/log"), ("post", "/cancel"), ("post", "/retry")):
        answer = getattr(other, method)(f"/api/v1/runs/{number}{path}")
        assert answer.status_code == 404
    assert other.get("/api/v1/runs").json()["items"] == []
    listed = client.get("/api/v1/runs?open=true").json()["items"]
    assert [(run["id"], run["state"], run["counts"]["queued"]) for run in listed] == [(number, "queued", 1)]


def test_an_unchanged_run_is_304_and_a_change_is_told(client: Client, submission: dict[str, Any]) -> None:
    number = post(client, "/runs", submission).json()["id"]
    first = client.get(f"/api/v1/runs/{number}")
    assert first.json()["jobs"][0]["reason"].startswith("waiting: ")
    mark = {"If-None-Match": first["ETag"]}
    assert client.get(f"/api/v1/runs/{number}", headers=mark).status_code == 304
    begin = time.monotonic()
    assert client.get(f"/api/v1/runs/{number}?wait=1", headers=mark).status_code == 304
    assert 0.9 < time.monotonic() - begin < 30
    Job.objects.update(state=JobState.RUNNING, progress=0.5, started=timezone.now())
    changed = client.get(f"/api/v1/runs/{number}?wait=10", headers=mark)
    assert (changed.status_code, changed.json()["jobs"][0]["progress"]) == (200, 0.5)


def test_a_log_is_read_from_where_one_was(client: Client, submission: dict[str, Any]) -> None:
    number = post(client, "/runs", submission).json()["id"]
    path = f"/api/v1/runs/{number}/jobs/1/log"
    assert client.get(path).json() == {
        "attempt": 0, "node": "", "offset": 0, "next_offset": 0, "text": "", "ended": False,
    }  # fmt: skip
    job = Job.objects.get()
    attempt = Attempt.objects.create(
        job=job, ordinal=1, node="n1", token_hash="x", started=timezone.now(), log_bytes=13
    )
    LogChunk.objects.create(attempt=attempt, first_byte=0, text="first\n")
    LogChunk.objects.create(attempt=attempt, first_byte=6, text="second\n")
    assert client.get(path).json()["text"] == "first\nsecond\n"
    piece = client.get(f"{path}?offset=6&attempt=1").json()
    assert (piece["text"], piece["next_offset"], piece["ended"]) == ("second\n", 13, False)
    Job.objects.update(state=JobState.DONE, attempt=1)
    assert client.get(f"{path}?offset=13").json()["ended"] is True
    assert client.get(f"/api/v1/runs/{number}/jobs/2/log").status_code == 404


def test_cancel_twice_is_cancel_once(client: Client, submission: dict[str, Any]) -> None:
    number = post(client, "/runs", submission).json()["id"]
    for _ in range(2):
        answer = post(client, f"/runs/{number}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert answer.json()["jobs"][0]["reason"] == "cancelled by anna"


def test_retry_is_a_run_of_the_failed_jobs_and_once(client: Client, submission: dict[str, Any]) -> None:
    number = post(client, "/runs", submission).json()["id"]
    assert post(client, f"/runs/{number}/retry").status_code == 409
    Job.objects.update(state=JobState.FAILED, reason="no", ended=timezone.now())
    again = post(client, f"/runs/{number}/retry").json()
    assert again["id"] != number
    assert again["counts"]["queued"] == 1
    assert post(client, f"/runs/{number}/retry").json()["id"] == again["id"]


def test_units_are_listed_with_their_state(client: Client, unit: ProcessingUnit) -> None:
    (item,) = client.get("/api/v1/units").json()["items"]
    assert (item["name"], item["state"]) == ("local", "down")
    assert "has not been started" in item["reason"]


def test_recipes_tell_inputs_parameters_and_schema(client: Client) -> None:
    bias = client.get("/api/v1/recipes/bias").json()
    assert bias["name"] == "Bias"
    declared = find_recipe("Bias").input("raw_bias")
    assert bias["inputs"][0] == {**asdict(declared), "kinds": list(declared.kinds)}
    assert "RawBias" in declared.kinds
    clip = next(entry for entry in bias["parameters"] if entry["name"] == "sigma_clip")
    assert (clip["type"], clip["default"], clip["unit"]) == ("float", 3.0, "sigma")
    assert bias["schema"]["properties"]["sigma_clip"]["default"] == 3.0
    assert "Returns" in bias["documentation"]
    assert client.get("/api/v1/recipes/sofa").status_code == 404
