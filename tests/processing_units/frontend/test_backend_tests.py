"""A process manager has the unit's backend look at its hosts: asked, made, told, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from processing_units.contract import BackendDirections, BackendReport, CheckReport
from processing_units.frontend.backends import ask_for_test, outcome_of_test
from processing_units.frontend.data_servers import register
from processing_units.frontend.models import BackendState, ProcessingUnit
from recipes.errors import UsageError

pytestmark = [pytest.mark.django_db, pytest.mark.urls("processing_units.frontend.unit_urls")]

Post = Callable[..., Any]
WELL = CheckReport(where="dome", what="key", is_well=True, says="we get in")


def report(post: Post, **fields: Any) -> BackendDirections:
    answer = post("backend", BackendReport(backend="hpc:1", kind="lan", **fields))
    return BackendDirections.model_validate_json(answer.content)


def test_it_is_asked_made_and_told(unit: ProcessingUnit, unit_client: Post) -> None:
    assert report(unit_client).test == 0
    number = ask_for_test(unit)
    assert report(unit_client).test == number
    assert outcome_of_test(unit, number) is None
    assert report(unit_client, tested=number, checks=[WELL]).test == 0
    assert outcome_of_test(unit, number) == [WELL]
    again = ask_for_test(unit)
    assert again == number + 1
    assert outcome_of_test(unit, again) is None
    report(unit_client, tested=number, checks=[])  # the old one, told late
    assert outcome_of_test(unit, number) == [WELL]
    assert report(unit_client).test == again


def test_a_backend_that_only_asks_gets_no_test_and_leaves_nothing(unit: ProcessingUnit, unit_client: Post) -> None:
    report(unit_client)
    ask_for_test(unit)
    BackendState.objects.update(backend="hpc:2")
    assert report(unit_client, only_asks=True).test == 0
    assert BackendState.objects.get().backend == "hpc:2"


def test_without_a_backend_nobody_could_look(unit: ProcessingUnit, unit_client: Post) -> None:
    with pytest.raises(UsageError, match="no backend of unit local is running"):
        ask_for_test(unit)
    report(unit_client)
    BackendState.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    with pytest.raises(UsageError, match="no backend of unit local is running"):
        ask_for_test(unit)


def test_a_backend_is_told_what_its_nodes_must_reach(unit: ProcessingUnit, unit_client: Post, settings: Any) -> None:
    settings.BROKER_URL = "redis://:secret@broker:6380/0"
    settings.DATA_URL = "http://portal:8000/data"
    unit.data_server = register("near", "http://[fd00::7]:9000", None).data_server
    unit.save()
    directions = report(unit_client)
    assert directions.reach == ["redis://broker:6380", "http://portal:8000", "http://[fd00::7]:9000"]
    assert "secret" not in json.dumps(directions.model_dump(mode="json"))
