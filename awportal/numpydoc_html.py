"""A recipe's docstring (numpydoc) as HTML: the documentation page is the source's own text."""

# ruff: noqa: S308 - the text is a docstring of our own code, and every piece of it is escaped here.

from __future__ import annotations

import re
from dataclasses import dataclass, field

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ", "kappa": "κ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ",
    "psi": "ψ", "omega": "ω", "Delta": "Δ", "Sigma": "Σ", "Omega": "Ω",
}  # fmt: skip
_SIGNS = {
    "times": "×", "cdot": "·", "pm": "±", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "approx": "≈", "sum": "Σ",
    "sqrt": "√", "infty": "∞", "propto": "∝", "in": "∈", "ne": "≠", "ll": "≪", "gg": "≫", "left": "", "right": "",
    "mathrm": "", "text": "", "rm": "", "quad": " ", ",": " ", ";": " ", "!": "", "langle": "⟨", "rangle": "⟩",
}  # fmt: skip
_INLINE = re.compile(
    r"``(?P<code>.+?)``|:math:`(?P<math>.+?)`|:\w+:`~?(?P<role>[^`]+)`|`(?P<name>[^`<]+?)\s*<(?P<url>https?://[^>]+)>`_"
    r"|`(?P<word>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|\*(?P<stress>[^*\s][^*]*)\*",
    re.S,
)


@dataclass
class Section:
    """A titled part of a docstring: paragraphs, and entries (name, type, text)."""

    title: str
    paragraphs: list[SafeString] = field(default_factory=list)
    entries: list[tuple[str, str, SafeString]] = field(default_factory=list)


def sections(docstring: str) -> list[Section]:
    """Return the parts of a numpydoc docstring; the first, without a title, is what stands before the first heading."""
    lines = docstring.splitlines()
    found: list[tuple[str, list[str]]] = [("", [])]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if re.fullmatch(r"-{3,}", following.strip()) and line.strip():
            found.append((line.strip(), []))
        elif not re.fullmatch(r"-{3,}", line.strip()):
            found[-1][1].append(line)
    with_entries = {"Parameters", "Other Parameters", "Returns", "Raises", "Yields", "Attributes"}
    return [_section(title, body, title in with_entries) for title, body in found]


def _section(title: str, body: list[str], has_entries: bool) -> Section:
    section = Section(title)
    if not has_entries:
        blocks = re.split(r"\n\s*\n", "\n".join(body).strip("\n"))
        section.paragraphs = [_block(block) for block in blocks if block.strip()]
        return section
    for line in body:
        if line.strip() and not line[0].isspace():
            name, _, kind = line.partition(" : ")
            section.entries.append((name.strip(), kind.strip(), mark_safe("")))
        elif line.strip() and section.entries:
            name, kind, text = section.entries[-1]
            section.entries[-1] = (name, kind, mark_safe(f"{text} {inline(line.strip())}".strip()))
    return section


def _block(block: str) -> SafeString:
    stripped = block.strip()
    if stripped.startswith(".. math::"):
        return mark_safe(f'<p class="math">{_math(stripped.removeprefix(".. math::").strip())}</p>')
    items = re.split(r"^\s*(?:[-*]|\.\. \[\d+\]|\d+\.)\s+", stripped, flags=re.M)
    if len(items) > 1 and not items[0].strip():
        return mark_safe("<ul>" + "".join(f"<li>{inline(_flowed(item))}</li>" for item in items[1:]) + "</ul>")
    if all(line.startswith("    ") for line in block.splitlines() if line.strip()):
        return mark_safe(f"<pre>{escape(block)}</pre>")
    return mark_safe(f"<p>{inline(_flowed(stripped))}</p>")


def _flowed(text: str) -> str:
    return " ".join(text.split())


def inline(text: str) -> SafeString:
    """Return a line of reStructuredText as HTML: code, mathematics, links; everything else escaped."""
    parts, last = [], 0
    for match in _INLINE.finditer(text):
        parts.append(escape(text[last : match.start()]))
        parts.append(_marked(match))
        last = match.end()
    parts.append(escape(text[last:]))
    return mark_safe("".join(parts))


def _marked(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    if kind == "math":
        return f'<span class="math">{_math(match["math"])}</span>'
    if kind == "url":
        return f'<a href="{escape(match["url"])}" rel="noreferrer">{escape(match["name"])}</a>'
    tag = {"strong": "b", "stress": "i"}.get(kind, "code")
    return f"<{tag}>{escape(match[kind].rsplit('.', 1)[-1] if kind == 'role' else match[kind])}</{tag}>"


def _math(tex: str) -> str:
    """Return simple TeX (Greek, signs, indices, fractions) as HTML."""
    text = re.sub(r"\\d?frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", _flowed(tex))
    text = re.sub(r"\\([A-Za-z]+|[,;!])", lambda found: _GREEK.get(found[1], _SIGNS.get(found[1], found[1])), text)
    text = escape(text)
    text = re.sub(r"_\{([^{}]*)\}|_(\w)", lambda found: f"<sub>{found[1] or found[2]}</sub>", text)
    text = re.sub(r"\^\{([^{}]*)\}|\^(\w)", lambda found: f"<sup>{found[1] or found[2]}</sup>", text)
    return text.replace("{", "").replace("}", "")
