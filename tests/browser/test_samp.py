"""Products go to a program on the reader's screen, over a real hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from playwright.sync_api import Page, expect

from archive.models import Product
from awportal.stored_files import the_store
from tests.local_servers import eventually, listens, serving_files
from tests.samp_programs import WEB_PORT, loaded, running

pytestmark = pytest.mark.browser


@pytest.fixture
def data_server(settings: Any, portal: Page) -> Iterator[None]:
    """A data server of its own for the programs to fetch from."""
    with serving_files(the_store(), django_settings.DATA_KEY) as url:
        settings.DATA_URL = url
        yield


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Path]:
    """A program with a hub, on the one port that pages know; give the folder that it loads into."""
    folder = tmp_path / "program"
    folder.mkdir()
    eventually(lambda: not listens(WEB_PORT), what=f"another hub holds the port {WEB_PORT}")
    with running(folder, web=True):
        yield folder


def test_without_a_hub_the_page_says_what_to_start(portal: Page, live_server: Any, night: list[Product]) -> None:
    eventually(lambda: not listens(WEB_PORT), what=f"another hub holds the port {WEB_PORT}")
    portal.goto(f"{live_server.url}/products/{night[0].pk}/")
    portal.get_by_role("button", name="Send to DS9").click()
    expect(portal.get_by_text("No hub answers on this computer. Start TOPCAT or Aladin")).to_be_visible()


@pytest.mark.usefixtures("data_server")
def test_products_reach_a_program(portal: Page, live_server: Any, night: list[Product], program: Path) -> None:
    portal.goto(f"{live_server.url}/products/{night[0].pk}/")
    portal.get_by_role("button", name="Send to DS9").click()
    portal.get_by_role("button", name="SAOImage DS9").click()
    expect(portal.get_by_text("SAOImage DS9 has loaded 1 product.")).to_be_visible()
    assert [(each["mtype"], each["name"]) for each in loaded(program)] == [("image.load.fits", night[0].name)]
    assert (program / night[0].name).read_bytes() == the_store().path(night[0].sha256).read_bytes()
    portal.goto(f"{live_server.url}/archive/?chip=ccd2")
    portal.get_by_label("Choose all on this page").check()
    portal.get_by_text("Download or send").click()
    portal.get_by_role("button", name="Send to DS9").focus()
    portal.keyboard.press("Enter")
    expect(portal.get_by_role("button", name="SAOImage DS9")).to_be_focused()
    portal.keyboard.press("Enter")
    expect(portal.get_by_text("SAOImage DS9 has loaded 3 products.")).to_be_visible()
    assert {each["name"] for each in loaded(program)[1:]} == {each.name for each in night if each.chip == "ccd2"}
    assert portal.complaints == []  # type: ignore[attr-defined]
