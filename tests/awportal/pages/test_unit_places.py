"""The unit's page tells apart how it stands with the cluster managers that its backend keeps up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from processing_units.contract import BackendReport, PlaceReport, PlaceState
from processing_units.frontend.backends import report
from processing_units.frontend.models import ProcessingUnit
from tests.awportal.pages.test_pages import text_of

PLACES = [
    PlaceReport(number=1, state=PlaceState.UP, handle="17", node="node1"),
    PlaceReport(number=2, state=PlaceState.QUEUED, handle="18", reason="waits for free nodes (Resources)"),
    PlaceReport(number=3, state=PlaceState.HELD, handle="19", reason="held by its user (JobHeldUser)"),
    PlaceReport(number=4, state=PlaceState.WAITING, reason="slurm refuses the queue job: <b>invalid partition</b>"),
    PlaceReport(number=5, state=PlaceState.UP, handle="20", before="12 was pre-empted by the queue\x1b[31m"),
]


@pytest.mark.django_db
def test_states_reasons_and_ends_are_shown(unit: ProcessingUnit, anna: User, browser_of: Callable[..., Client]) -> None:
    browser = browser_of(anna)
    assert "What its backend keeps up" not in text_of(browser.get("/units/local/"))
    report(unit, BackendReport(backend="login:1", kind="slurm", places=PLACES))
    answer = browser.get("/units/local/")
    told = text_of(answer)
    for words in ("slurm on login:1", "Resources", "JobHeldUser", "was pre-empted by the queue", "node1"):
        assert words in told
    for state in ("up", "queued", "held", "waiting"):
        assert f"</i>{state}</span>" in answer.content.decode()
    assert "<b>invalid partition" not in answer.content.decode()
    assert "\x1b" not in answer.content.decode()
