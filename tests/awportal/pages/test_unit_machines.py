"""A process manager registers processing machines in the web, and by the API."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from processing_units.frontend.clock import database_now
from processing_units.frontend.models import BackendState, ProcessingUnit
from tests.awportal.pages.test_pages import text_of

Browser = Callable[..., Client]


@pytest.fixture
def lan(unit: ProcessingUnit) -> ProcessingUnit:
    unit.kind = "lan"
    unit.save()
    return unit


def test_a_machine_is_registered_changed_and_taken_off(lan: ProcessingUnit, staff: User, browser_of: Browser) -> None:
    browser = browser_of(staff)
    assert "/units/local/machines/" in browser.get("/units/local/").content.decode()
    assert "No machine is registered yet" in text_of(browser.get("/units/local/machines/"))
    sent = {"name": "dome", "host": "10.0.0.7", "gpus": "0,1", "slots": "2", "data_bytes": "50G", "through": "session"}
    told = text_of(browser.post("/units/local/machines/", sent, follow=True))
    assert "Changed, and in force now: machine dome: host=10.0.0.7 slots=2 gpus=0,1" in told
    assert "dome its backend is silent 10.0.0.7 2 0,1 python3 awportal 50G session" in told
    up = {"number": 1, "state": "up", "handle": "obs@10.0.0.7:22 17 5", "node": "10.0.0.7", "reason": ""}
    BackendState.objects.create(unit=lan, backend="head 3", kind="lan", places=[up], seen_at=database_now())
    assert "dome ✓ up 10.0.0.7" in text_of(browser.get("/units/local/machines/"))
    form = browser.get("/units/local/machines/?machine=dome").content.decode()
    assert re.search(r'name="gpus" value="0,1"', form)
    assert re.search(r'value="session" selected', form)
    refused = browser.post("/units/local/machines/", sent | {"slots": "none"})
    assert refused.status_code == 422
    assert re.search(r'name="slots" value="none"[^>]*aria-invalid="true"', refused.content.decode())
    browser.post("/units/local/machines/", {"remove": "dome"})
    lan.refresh_from_db()
    assert lan.kind_settings["hosts"] == []
    assert re.search(r"staff machine dome host=10.0.0.7", text_of(browser.get("/units/local/")))


def test_the_interface_does_the_same(lan: ProcessingUnit, staff: User, browser_of: Browser) -> None:
    browser = browser_of(staff)
    path = "/api/v1/units/local/machines"
    made = browser.post(f"{path}/dome", {"settings": {"host": "dome"}}, "application/json").json()
    assert made["machine"]["host"] == "dome"
    assert set(browser.get(path).json()["items"]) == {"dome"}
    assert browser.delete(f"{path}/dome").status_code == 204
    assert browser.delete(f"{path}/dome").status_code == 404


def test_they_are_no_business_of_users(lan: ProcessingUnit, anna: User, browser_of: Browser) -> None:
    browser = browser_of(anna)
    assert "/units/local/machines/" not in browser.get("/units/local/").content.decode()
    assert browser.get("/units/local/machines/").status_code == 403
    assert browser.get("/api/v1/units/local/machines").status_code == 403
