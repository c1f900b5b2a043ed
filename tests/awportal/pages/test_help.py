"""Help where one stands: docs/ inside the portal, no link to nothing, each page of the portal with its section."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.test import Client

from awportal import help_pages
from awportal.api import api
from awportal.help_pages import SECTIONS, anchor, names, page, section_for

TREE = Path(__file__).resolve().parents[3]
TEXTS = [TREE / "README.md", *names().values(), *sorted((TREE / "docs" / "recipes").glob("*.md"))]


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a Markdown file, but for comments in its blocks of code."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    return {anchor(re.sub(r"\]\([^)]*\)|[`*\[]", "", heading)) for heading in re.findall(r"^#+ (.+)$", text, re.M)}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(TREE).as_posix())
def test_no_link_leads_to_nothing(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        parts = urlsplit(link)
        if parts.scheme:
            continue
        there = (path.parent / parts.path).resolve() if parts.path else path
        assert there.exists(), link
        if parts.fragment:
            assert parts.fragment in anchors(there), link


@pytest.mark.django_db
def test_each_page_is_shown_and_its_links_lead_into_the_portal(browser_of: Callable[..., Client]) -> None:
    visitor, links = browser_of(None), set()
    for name in names():
        shown = visitor.get(f"/help/{name}/").content.decode()
        assert page(name).title in shown
        article = shown[shown.index("<article") :]
        assert "style=" not in article, name  # the security policy would drop it
        links |= set(re.findall(r'(?:href|src)="(/[^"#]*)', article))
    answers = {link: visitor.get(link).status_code for link in links}
    assert {link: status for link, status in answers.items() if status != 200} == {}


def test_each_page_of_the_portal_has_its_section() -> None:
    for path, place in SECTIONS.items():
        name, _, at = place.partition("#")
        assert name in names(), path
        assert not at or at in anchors(names()[name]), place
        assert section_for(f"/{path}/") == f"/help/{name}/" + (f"#{at}" if at else "")
    assert section_for("/products/12/impact/") == section_for("/products/3/")
    assert section_for("/nowhere/") == "/help/"


@pytest.mark.django_db
def test_help_is_one_click_away(browser_of: Callable[..., Client]) -> None:
    assert 'href="/help/users/#find"' in browser_of(None).get("/archive/").content.decode()
    assert "users/#log-in" in browser_of(None).get("/login/").content.decode()


def test_words_are_found_in_their_section(browser_of: Callable[..., Client]) -> None:
    shown = browser_of(None).get("/help/", {"q": "ticked SELECTION"}).content.decode()
    assert "/help/users/#" in shown
    assert "<mark>" in shown
    nothing = browser_of(None).get("/help/", {"q": "<script>xyzzy"}).content.decode()
    assert "Nothing with “&lt;script&gt;xyzzy”" in nothing
    assert browser_of(None).get("/help/no-such-page/").status_code == 404
    assert browser_of(None).get("/help/../settings/").status_code == 404
    assert browser_of(None).get("/help/images/..%2fusers.md", follow=True).status_code == 404


def test_html_in_a_text_is_escaped(tmp_path: Path) -> None:
    text = tmp_path / "page.md"
    text.write_text("# A <script>\n\n<b onclick='x()'>bold</b>\n\n| a |\n|-:|\n| 1 |\n")
    body = help_pages._rendered("page", text, 0, "/help/").body
    assert "<script>" not in body
    assert "<b" not in body.replace("<body", "")
    assert 'class="num"' in body


def test_every_operation_of_the_interface_is_told(browser_of: Callable[..., Client]) -> None:
    shown = browser_of(None).get("/help/operations/").content.decode()
    paths = api.get_openapi_schema(path_prefix="/api/v1/")["paths"]
    for path, methods in paths.items():
        for method, told in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in shown
            assert told.get("description"), f"{method} {path} says nothing of itself"
    assert "idempotency_key" in shown


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["x" * 300 + ".png", "..", "%00.png", "viewer.svg"])
def test_what_is_no_picture_is_not_found(name: str, browser_of: Callable[..., Client]) -> None:
    visitor = browser_of(None)
    assert visitor.get(f"/help/images/{name}").status_code == 404
    assert visitor.get("/help/images/viewer.png").status_code == 200
