"""What the walk asks of every page: no server error, nothing on the console, no overflow, no serious fault of axe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page

WIDE, NARROW, HEIGHT = 1280, 390, 900
SERIOUS = {"serious", "critical"}
# Rules of axe whose answer another theme or width may change; the others are asked once.
OF_THE_LOOKS = ["color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block"]
# What axe judges by: each element in its parent, with classes, role, whether it has a name and whether it scrolls.
# A page without a new one is not shown to it again.
_PARTS = """() => {
  const word = e => !e ? "" : [e.tagName, e.getAttribute("class"), e.getAttribute("role"),
    (e.getAttribute("aria-label") || e.getAttribute("alt") || "").trim() !== "", e.getAttribute("tabindex"),
    e.scrollWidth > e.clientWidth && getComputedStyle(e).overflowX !== "visible"].join(" ");
  const parts = [...document.querySelectorAll("body, body *")].map(e => word(e) + " < " + word(e.parentElement));
  return [...new Set(parts)];
}"""
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Walker:
    """One browser page on its way; faults are gathered, so that one walk tells them all."""

    def __init__(self, page: Page, url: str, pictures: Path) -> None:
        self.faults: list[str] = []
        self.statuses: dict[str, int] = {}
        self._page, self._url, self._pictures = page, url, pictures
        self._axe = Axe()
        self._seen: set[str] = set()
        self._complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._complaints.append(f"script: {error}"))
        page.on("dialog", self._dialog)

    def log_in_as(self, cookie: str, session: str) -> None:
        """Take the session of somebody, or of nobody."""
        self._page.context.clear_cookies()
        if session:
            self._page.context.add_cookies([{"name": cookie, "value": session, "url": self._url}])
        self.statuses.clear()

    def visit(self, role: str, path: str) -> None:
        """Go to a page, look at it at both widths and in both themes."""
        page = self._page
        page.set_viewport_size({"width": WIDE, "height": HEIGHT})
        page.emulate_media(color_scheme="light")
        self._complaints.clear()
        answer = page.goto(self._url + path)
        status = answer.status if answer else 0
        self.statuses[path] = status
        name = f"{role} {path}"
        if status >= 500 or not status:
            self.faults.append(f"{name}: status {status}")
        if page.locator("h1").count() != 1:
            self.faults.append(f"{name}: {page.locator('h1').count()} h1")
        is_new = self._shows_something_new()
        self._fits(name, WIDE)
        if is_new:
            self._ask_axe(f"{name} light {WIDE}", None)
            self._take(role, path, "light", WIDE)
        page.set_viewport_size({"width": NARROW, "height": HEIGHT})
        self._fits(name, NARROW)
        is_new = self._shows_something_new() or is_new  # what scrolls only where it is narrow
        if is_new:
            page.emulate_media(color_scheme="dark")
            self._ask_axe(f"{name} dark {NARROW}", OF_THE_LOOKS)
            self._take(role, path, "dark", NARROW)
        self.faults += [f"{name}: {said}" for said in self._complaints if not self._of_the_page_itself(said, status)]

    def _shows_something_new(self) -> bool:
        new = set(self._page.evaluate(_PARTS)) - self._seen
        self._seen |= new
        return bool(new)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._complaints.append(f"console: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self._complaints.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()

    @staticmethod
    def _of_the_page_itself(said: str, status: int) -> bool:
        """Whether Chromium only says what the page's own status was."""
        return status >= 400 and f"responded with a status of {status}" in said

    def _fits(self, name: str, width: int) -> None:
        over = self._page.evaluate(_OVERFLOW)
        if over > 0:
            self.faults.append(f"{name}: {over} px wider than {width}")

    def _ask_axe(self, name: str, rules: list[str] | None) -> None:
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = rules
        for violation in self._axe.run(self._page, options=options).response["violations"]:
            if violation["impact"] in SERIOUS:
                nodes = [" ".join(map(str, node["target"])) for node in violation["nodes"][:3]]
                self.faults.append(f"{name}: axe {violation['id']} ({violation['impact']}): {json.dumps(nodes)}")

    def _take(self, role: str, path: str, theme: str, width: int) -> None:
        name = path.strip("/").replace("/", "_").replace("?", "_q_")[:80] or "home"
        file = self._pictures / f"{role.replace(' ', '_')}-{name}-{width}-{theme}.png"
        self._page.screenshot(path=str(file), full_page=True)
