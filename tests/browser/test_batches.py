"""A batch in a browser: written with the keyboard, planned, made and watched; and 300 frames in four clicks."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from processing_units.frontend.models import Job, Run

pytestmark = pytest.mark.browser
WIDTHS = (1280, 390)


def test_from_an_example_to_a_page_that_lives(portal: Page, live_server: Any) -> None:
    portal.goto(f"{live_server.url}/runs/")
    portal.click("#batches")
    portal.click("#new-batch")
    portal.click("#example-clips")
    expect(portal.locator(".numbers span")).to_have_count(5)
    portal.click("#plan-batch")
    expect(portal.locator("h1")).to_contain_text("6 jobs")
    portal.click("#make")
    expect(portal.locator("#live h1")).to_contain_text("queued")
    assert (Run.objects.count(), Job.objects.count()) == (3, 6)
    Job.objects.update(state="running")
    expect(portal.locator("#live h1")).to_contain_text("running")
    assert portal.complaints == []  # type: ignore[attr-defined]


def test_the_editor_by_keyboard(portal: Page, live_server: Any) -> None:
    portal.goto(f"{live_server.url}/batches/new/")
    text = portal.locator("#text")
    text.fill("")
    text.press_sequentially("for x in [1]:\n")
    text.press_sequentially("y = x\nz = y")
    assert text.input_value() == "for x in [1]:\n    y = x\n    z = y"
    text.press("Shift+Tab")
    text.press("End")
    text.press_sequentially("\nfail(")
    assert text.input_value() == "for x in [1]:\n    y = x\nz = y\nfail("
    expect(portal.locator(".numbers span")).to_have_count(4)
    text.press("Escape")
    text.press("Tab")
    assert portal.evaluate("document.activeElement.id") == "language"
    portal.click("#plan-batch")
    expect(portal.locator(".numbers .wrong")).to_have_text("4")
    assert portal.evaluate("document.activeElement.id") == "text"


def test_pages_of_batches_fit_the_window(portal: Page, live_server: Any) -> None:
    portal.goto(f"{live_server.url}/batches/new/?example=clips")
    portal.click("#plan-batch")
    pages = [portal.url, f"{live_server.url}/batches/", f"{live_server.url}/batches/new/"]
    for width in WIDTHS:
        portal.set_viewport_size({"width": width, "height": 900})
        for address in pages:
            portal.goto(address)
            assert portal.evaluate("document.documentElement.scrollWidth") <= width
