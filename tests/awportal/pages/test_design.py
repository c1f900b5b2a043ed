"""The design page shows every component that pages share."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from awportal.templatetags.portal import SIGNS

TEMPLATES = settings.BASE_DIR / "awportal" / "templates"
STYLESHEET = settings.BASE_DIR / "awportal" / "static" / "awportal" / "awportal.css"


def classes_of(html: str) -> set[str]:
    without_tags = re.sub(r"{%.*?%}|{{.*?}}", " ", html)
    return {name for value in re.findall(r'class="([^"]*)"', without_tags) for name in value.split()}


def styled() -> set[str]:
    rules = re.sub(r"/\*.*?\*/|\{[^{}]*\}", " ", STYLESHEET.read_text(), flags=re.DOTALL)
    return set(re.findall(r"\.([a-z][a-z0-9-]*)", rules))


def shared() -> set[str]:
    """Return the classes of the stylesheet that more than one template uses; a component's, not a page's own."""
    files: list[Path] = [path for path in TEMPLATES.rglob("*.html") if path.name != "design.html"]
    counts = Counter(name for path in files for name in classes_of(path.read_text()))
    return {name for name, count in counts.items() if count > 1} & styled()


@pytest.mark.django_db
def test_what_pages_share_is_on_the_design_page() -> None:
    html = Client().get("/design/").content.decode()
    assert shared() - classes_of(html) - {"hidden", "needs-scripts"} == set()  # these two are not seen
    assert all(f"</i>{state}" in html or f"</i>{state.replace('_', ' ')}" in html for state in SIGNS)
