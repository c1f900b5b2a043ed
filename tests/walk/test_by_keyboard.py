"""From the log-in through a submission to a download, with the keyboard alone; one always sees where one is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.walk.conftest import Filled
from tests.walk.looking import HEIGHT, WIDE

pytestmark = [pytest.mark.processes, pytest.mark.browser, pytest.mark.timeout(600)]
MOST_TABS = 250
PATIENCE = 180_000.0  # ms
# The name of what has the focus, and whether it shows it: an outline, and a place in the window.
_FOCUS = """() => {
  const e = document.activeElement;
  const label = e.labels && e.labels.length ? e.labels[0].textContent : "";
  const name = (e.getAttribute("aria-label") || label || e.textContent || e.value || "").trim().replace(/\\s+/g, " ");
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const shape = e.querySelector("rect, circle");  // in a chart its shape is drawn round
  const drawn = shape !== null && parseFloat(getComputedStyle(shape).strokeWidth) >= 2;
  const inside = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  return {name, seen: (ring || drawn) && inside, tag: e.tagName};
}"""


class Keyboard:
    """Somebody without a mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def go_to(self, name: str) -> None:
        """Press Tab until what is so named has the focus; each stop on the way must be seen."""
        passed = []
        for _ in range(MOST_TABS):
            self.page.keyboard.press("Tab")
            focus = self.page.evaluate(_FOCUS)
            if focus["tag"] != "BODY":
                assert focus["seen"], f"the focus on {focus} of {self.page.url} is not seen"
            if re.fullmatch(name, focus["name"]):
                return
            passed.append(focus["name"][:40])
        raise AssertionError(f"no {name!r} on {self.page.url}: {passed}")

    def press(self, name: str, key: str = "Enter") -> None:
        """Go to something and press a key on it."""
        self.go_to(name)
        self.page.keyboard.press(key)


@pytest.fixture
def keyboard(browser: Browser) -> Iterator[Keyboard]:
    """A browser of its own, in which nobody is logged in."""
    context = browser.new_context(viewport={"width": WIDE, "height": HEIGHT})
    yield Keyboard(context.new_page())
    context.close()


def test_from_the_log_in_to_a_download(keyboard: Keyboard, filled: Filled) -> None:
    page = keyboard.page
    page.goto(filled.url)
    keyboard.press("Skip to the content")
    keyboard.press("Log in")
    page.wait_for_function("document.activeElement.name === 'username'")
    page.keyboard.type(filled.told["owner"])
    page.keyboard.press("Tab")
    page.keyboard.type(filled.told["password"])
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("What is going on")
    keyboard.press("Recipes")
    expect(page.locator("h1")).to_have_text("Recipes")
    keyboard.press(r"Run ReadNoise.*|ReadNoise")
    page.wait_for_url("**/recipes/ReadNoise/**")
    if not page.url.endswith("/run/"):
        keyboard.press("Run it…|Run…|Run ReadNoise…?")
        page.wait_for_url("**/recipes/ReadNoise/run/")
    keyboard.press("Tick all shown", "Space")
    keyboard.press("Dry run")
    expect(page.get_by_role("button", name=re.compile("^Run (this|these)"))).to_be_visible(timeout=PATIENCE)
    keyboard.press(r"Run (this|these) .*")
    page.wait_for_url(re.compile(r"/runs/\d+/"), timeout=PATIENCE)
    expect(page.locator("h1 .pill")).to_contain_text("done", timeout=PATIENCE)
    keyboard.press(r"[\d.]+ ?adu ?ReadNoise ?chip ccd\d")
    page.wait_for_url("**/products/**")
    keyboard.go_to("Download.*")
    with page.expect_download(timeout=PATIENCE) as download:
        page.keyboard.press("Enter")
    assert download.value.path().stat().st_size > 1000
