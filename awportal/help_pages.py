"""The pages of docs/ as help inside the portal, so that it needs no network: rendered, linked, found by section.

The text is our own and is read from the checkout; markdown-it escapes any HTML in it all the same.
"""

# ruff: noqa: S308 - what is marked safe is markdown-it's output, which escapes HTML, or is escaped here.

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

# What a reader looks for, in the order in which a newcomer does. A page that is not named here is found at the end.
GROUPS = {
    "Begin": ("tutorial", "tutorial-own-frames", "users", "glossary", "limits"),
    "Terminal and scripts": ("command-line", "awe", "from-astro-wise", "python", "api", "batches", "code-shipping"),
    "Cameras and frames": ("cameras",),
    "For the managers of machines": (
        "managers", "workers", "lan", "noshare", "queues", "data-servers", "scaling", "reliability",
    ),
    "For who changes the code": ("architecture", "performance"),
}  # fmt: skip
# Where the help of a page of the portal is: by the first part of its address, or of the first two.
SECTIONS = {
    "": "users#the-first-page",
    "login": "users#log-in",
    "account": "users#account-and-tokens",
    "archive": "users#find",
    "archive/upload": "users#bring-frames",
    "products": "users#look",
    "calibrations": "users#calibrations-in-time",
    "nights": "users#nights",
    "selections": "users#selections",
    "recipes": "users#choose-and-run",
    "runs": "users#watch",
    "batches": "batches",
    "converge": "batches#what-a-night-lacks",
    "code": "code-shipping",
    "units": "users#units",
    "data-servers": "data-servers",
    "projects": "users#projects",
    "people": "managers#people",
    "changes": "managers#people",
    "welcome": "users#log-in",
}


@dataclass(frozen=True)
class HelpPage:
    """A page: its title, what it holds as HTML, and its sections as (anchor, heading)."""

    name: str
    title: str
    body: SafeString
    sections: tuple[tuple[str, str], ...]


def folder() -> Path:
    """Return where the texts lie."""
    return Path(settings.BASE_DIR) / "docs"


def names() -> dict[str, Path]:
    """Return the pages that there are."""
    return {path.relative_to(folder()).with_suffix("").as_posix(): path
            for path in sorted([*folder().glob("*.md"), *folder().glob("decisions/*.md")])}  # fmt: skip


def contents() -> list[tuple[str, list[HelpPage]]]:
    """Return all pages in their groups."""
    left = [name for name in names() if not any(name in group for group in GROUPS.values())]
    groups = {**GROUPS, "For who changes the code": (*GROUPS["For who changes the code"], *left)}
    found = names()
    return [(title, [page(name) for name in group if name in found]) for title, group in groups.items()]


def page(name: str) -> HelpPage:
    """Return a page; raise KeyError where there is none of that name."""
    path = names()[name]
    return _rendered(name, path, path.stat().st_mtime_ns, reverse("help"))


def section_for(path: str) -> str:
    """Return the address of the help of a page of the portal, given its own (below the portal's root)."""
    parts = path.strip("/").split("/")
    place = SECTIONS.get("/".join(parts[:2])) or SECTIONS.get(parts[0])
    if place is None:
        return reverse("help")
    name, _, anchor = place.partition("#")
    return reverse("help-page", args=[name]) + (f"#{anchor}" if anchor else "")


@lru_cache(maxsize=64)
def _rendered(name: str, path: Path, changed: int, root: str) -> HelpPage:
    """Render a text; `changed` and `root` are only there that what is kept is made anew when they differ."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(path.read_text(encoding="utf-8"))
    title, sections = name, []
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            heading = _plain(tokens[place + 1])
            token.attrSet("id", anchor(heading))
            if token.tag == "h1":
                title = heading
            elif token.tag == "h2":
                sections.append((anchor(heading), heading))
        _fit(token, name)
    body = reader.renderer.render(tokens, reader.options, {})
    body = body.replace("<pre>", '<pre tabindex="0">')  # what scrolls, scrolls by the keyboard too
    # Wide tables scroll inside their card, as they do everywhere else.
    body = body.replace("<table>", '<div class="card scroll" tabindex="0"><table>').replace(
        "</table>", "</table></div>"
    )
    return HelpPage(name, title, mark_safe(body), tuple(sections))


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as the usual viewers of Markdown make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _plain(token: Token) -> str:
    return "".join(child.content for child in token.children or [])


def _fit(token: Token, name: str) -> None:
    """Let links and pictures lead into the portal, and drop what the portal's security policy does not allow."""
    if token.attrs.pop("style", None):
        token.attrSet("class", "num")
    for child in token.children or []:
        _fit(child, name)
    if token.type == "link_open":
        token.attrSet("href", target(str(token.attrs["href"]), name))
    if token.type == "image":
        token.attrSet("src", target(str(token.attrs["src"]), name))


def target(link: str, name: str) -> str:
    """Return where a link of the page `name` leads inside the portal; others are left as they are."""
    parts = urlsplit(link)
    if parts.scheme or not parts.path:
        return link
    path = (folder() / name).parent.joinpath(parts.path).resolve()
    inside = path.relative_to(folder()).as_posix() if path.is_relative_to(folder()) else ""
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    if inside in {"recipes", "recipes/README.md"}:
        return reverse("recipes")
    if inside.startswith("recipes/"):
        return reverse("recipe", args=[path.stem]) + fragment
    if inside.endswith(".md"):
        return reverse("help-page", args=[inside.removesuffix(".md")]) + fragment
    if inside.startswith("images/"):
        return reverse("help-picture", args=[path.name])
    return reverse("help")


def found(words: str, most: int = 30) -> list[tuple[HelpPage, str, str, SafeString]]:
    """Return the sections in which all words are: page, anchor, heading, and the place with the first word marked."""
    wanted = words.lower().split()
    hits = []
    for name, path in names().items():
        for at, heading, text in _sections_of(path.read_text(encoding="utf-8")):
            whole = f"{heading}\n{text}".lower()
            if wanted and all(word in whole for word in wanted):
                score = sum(whole.count(word) + 20 * (word in heading.lower()) for word in wanted)
                hits.append((score, (page(name), at, heading, _excerpt(text, wanted[0]))))
    return [hit for _, hit in sorted(hits, key=lambda pair: -pair[0])[:most]]


def _sections_of(text: str) -> list[tuple[str, str, str]]:
    """Return (anchor, heading, text) of the sections of a page."""
    parts = re.split(r"^(?:\A#|#{2,3}) (.+)$", text, flags=re.M)
    return [(anchor(_unmarked(heading)), _unmarked(heading), _unmarked(body))
            for heading, body in zip(parts[1::2], parts[2::2], strict=True)]  # fmt: skip


def _unmarked(text: str) -> str:
    return re.sub(r"\]\([^)]*\)|[`*\[]", "", text)


def _excerpt(text: str, word: str, around: int = 90) -> SafeString:
    at = text.lower().find(word)
    if at < 0:
        return mark_safe(escape(text[: 2 * around].strip()))
    before, hit, after = text[max(0, at - around) : at], text[at : at + len(word)], text[at + len(word) :][:around]
    return mark_safe(f"{escape(before)}<mark>{escape(hit)}</mark>{escape(after)}")
