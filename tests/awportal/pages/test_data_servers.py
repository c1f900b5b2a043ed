"""Caching data servers in the web and by the API: an administrator registers them, a process manager chooses one."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from django.contrib.auth.models import User
from django.test import Client

from processing_units.frontend.models import CachingDataServer, ProcessingUnit
from tests.awportal.pages.test_pages import text_of

Browser = Callable[..., Client]
NOBODY_THERE = "http://127.0.0.1:1"


@pytest.fixture
def administrator(staff: User) -> User:
    return User.objects.create_user("root", is_staff=True, is_superuser=True)


@pytest.fixture
def cache(db: None) -> Iterator[str]:
    """Answer as the caching data server `near` does when all is well; return its address."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    said: dict[str, str] = {}

    def health(_environment: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(said | {"upstream": "answers"}).encode()]

    server = make_server("127.0.0.1", 0, health, handler_class=Quiet)
    address = f"http://127.0.0.1:{server.server_port}"
    said["peer"] = CachingDataServer.objects.create(
        name="near", address=address, peer="near-0a1b2c3d", registered_at="2026-03-14T20:00:00Z"
    ).peer
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield address
    server.shutdown()
    server.server_close()
    thread.join()


def test_one_is_registered_given_a_new_key_and_taken_off(administrator: User, browser_of: Browser) -> None:
    browser = browser_of(administrator)
    assert "None is registered" in text_of(browser.get("/data-servers/"))
    page = browser.post("/data-servers/", {"name": "far", "address": NOBODY_THERE}).content.decode()
    key = re.search(r'<code id="key">(far-[0-9a-f]{8}:\S+)', page)
    assert key
    later = browser.get("/data-servers/?chosen=far")
    assert key[1] not in later.content.decode(), "it is told once"
    assert "away It does not answer: Connection refused; is it up, is the address right?" in text_of(later)
    again = browser.post("/data-servers/", {"name": "far", "address": NOBODY_THERE})
    assert (again.status_code, "is registered already" in text_of(again)) == (422, True)
    first = CachingDataServer.objects.get()
    browser.post("/data-servers/?chosen=far", {"name": "far", "address": NOBODY_THERE})
    assert CachingDataServer.objects.get().peer != first.peer
    assert "far is forgotten" in text_of(browser.post("/data-servers/", {"remove": "far"}, follow=True))
    assert not CachingDataServer.objects.exists()


def test_a_unit_takes_one_that_answers(
    cache: str, unit: ProcessingUnit, administrator: User, staff: User, browser_of: Browser
) -> None:
    CachingDataServer.objects.create(
        name="far", address=NOBODY_THERE, peer="far-0a1b2c3d", registered_at="2026-03-14T20:00:00Z"
    )
    browser = browser_of(staff)
    refused = browser.post("/units/local/settings/", {"data_server": "far"})
    assert refused.status_code == 422
    assert f"far at {NOBODY_THERE}: it does not answer" in text_of(refused)
    assert "data_server empty → near" in text_of(
        browser.post("/units/local/settings/", {"data_server": "near"}, follow=True)
    )
    unit.refresh_from_db()
    assert unit.data_server is not None
    assert unit.data_server.name == "near"
    listed = text_of(browser.get("/data-servers/"))
    assert re.search(rf"far ✕ away .*near ✓ up It answers, and reaches .* {cache} local", listed)
    chosen = browser_of(administrator).get("/data-servers/?chosen=near")
    assert "Nodes of local read from it" in text_of(chosen)
    assert browser_of(administrator).post("/data-servers/", {"remove": "near"}).status_code == 422


def test_the_interface_does_the_same(administrator: User, staff: User, browser_of: Browser) -> None:
    browser, path = browser_of(administrator), "/api/v1/data-servers"

    def send(**given: Any) -> Any:
        return browser.post(f"{path}/far", given, "application/json")

    assert send(address=NOBODY_THERE, anew=True).status_code == 404
    made = send(address=NOBODY_THERE)
    assert (made.status_code, made.json()["key"].partition("-")[0]) == (201, "far")
    assert (send(address=NOBODY_THERE).status_code, send(address="far:1", anew=True).status_code) == (400, 400)
    assert send(address=NOBODY_THERE, anew=True).json()["key"] != made.json()["key"]
    (listed,) = browser_of(staff).get(path).json()["items"]
    assert (listed["name"], listed["is_well"], listed["units"]) == ("far", False, [])
    assert "key" not in listed
    assert browser.delete(f"{path}/far").status_code == 204
    assert browser.delete(f"{path}/far").status_code == 404


@pytest.mark.parametrize(("who", "sees"), [("anna", 403), ("staff", 200)])
def test_keys_are_an_administrators_to_give(
    who: str, sees: int, request: pytest.FixtureRequest, browser_of: Browser
) -> None:
    browser = browser_of(request.getfixturevalue(who))
    assert browser.get("/data-servers/").status_code == sees
    assert browser.get("/api/v1/data-servers").status_code == sees
    wanted = {"name": "far", "address": NOBODY_THERE}
    assert browser.post("/data-servers/", wanted).status_code == 403
    assert browser.post("/data-servers/", {"remove": "far"}).status_code == 403
    made = browser.post("/api/v1/data-servers/far", {"address": NOBODY_THERE}, "application/json")
    assert (made.status_code, browser.delete("/api/v1/data-servers/far").status_code) == (403, 403)
    assert not CachingDataServer.objects.exists()
