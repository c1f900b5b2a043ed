"""What the templates say in one way everywhere: states, times, coordinates, numbers, hostile text."""

from __future__ import annotations

import datetime
import re
from typing import Any
from urllib.parse import urlencode

from django import template
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from archive.context import context_of
from archive.models import Change, Privilege, Product, Validity
from awportal.help_pages import section_for
from awportal.people.projects import requests_to_answer
from processing_units.frontend.expected import told
from processing_units.frontend.models import CodeBundle
from processing_units.frontend.publishing import PRIVILEGE
from recipes.kinds import KINDS

register = template.Library()

# state: (class, sign). Colour, sign and word go together on every page.
SIGNS = {
    "done": ("ok", "✓"),
    "good": ("ok", "✓"),
    "up": ("ok", "✓"),
    "running": ("run", "◐"),
    "queued": ("wait", "…"),
    "proposed": ("off", "?"),
    "failed": ("bad", "✕"),
    "bad": ("bad", "✕"),
    "down": ("bad", "✕"),
    "expired": ("wait", "!"),
    "warning": ("wait", "!"),
    "cancelled": ("off", "–"),
    "unlimited": ("off", "·"),
    "draining": ("wait", "…"),
    "waiting": ("wait", "…"),
    "held": ("wait", "!"),
}
_TROUBLE = re.compile(r"^[\d:.]* ?(?:\w+ )?(?:failed|error|usage|killed|out of)\b|Traceback|Error:", re.IGNORECASE)
# How lines of a unified diff begin, the longer beginnings first.
_DIFFERENCES = {"+++ ": "place", "--- ": "place", "@@ ": "place", "+": "added", "-": "removed"}
# The pages of what the log of changes tells of.
_PAGES = {
    Change.Subject.PRODUCT: "product", Change.Subject.PROJECT: "project", Change.Subject.UNIT: "unit",
    Change.Subject.CODE: "bundle", Change.Subject.USER: "person",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@register.filter
def clean(text: object) -> str:
    """Show control characters (ESC, bells, direction overrides) as signs: a log's text does nothing in any terminal."""
    return _CONTROL.sub(lambda match: _visible(match.group()), str(text))


def _visible(character: str) -> str:
    code = ord(character)
    return chr(0x2400 + code) if code < 32 else "�"


@register.filter
def marked_log(text: str) -> SafeString:
    """Return a log, harmless, with the lines that tell of a failure marked."""
    lines = clean(text).split("\n")
    return format_html_join("\n", "{}", ((_marked(line),) for line in lines))


def _marked(line: str) -> SafeString | str:
    return format_html('<b class="err">{}</b>', line) if _TROUBLE.search(line) else line


@register.filter
def marked_differences(text: str) -> SafeString:
    """Return a unified diff, harmless, with what it adds and takes away told apart by colour beside the sign."""
    return format_html_join("\n", "{}", ((_marked_difference(line),) for line in clean(text).split("\n")))


def _marked_difference(line: str) -> SafeString | str:
    for beginning, style in _DIFFERENCES.items():
        if line.startswith(beginning):
            return format_html('<span class="{}">{}</span>', style, line)
    return line


@register.simple_tag
def pill(state: object, word: str = "") -> SafeString:
    """Return the pill of a state: colour, sign and word."""
    name = str(getattr(state, "value", state))
    tone, sign = SIGNS.get(name, ("off", "·"))
    return format_html(
        '<span class="pill {}"><i aria-hidden="true">{}</i>{}</span>', tone, sign, word or name.replace("_", " ")
    )


@register.filter
def ut(moment: Any, form: str = "minute") -> SafeString | str:
    """Return a time in UT, to the minute or the second; the local time appears on hover."""
    if isinstance(moment, str):
        try:
            moment = datetime.datetime.fromisoformat(moment)
        except ValueError:
            return clean(moment)
    if not moment:
        return "–"
    if timezone.is_naive(moment):
        moment = moment.replace(tzinfo=datetime.UTC)
    moment = moment.astimezone(datetime.UTC)
    text = {"second": "%Y-%m-%d %H:%M:%S", "time": "%H:%M:%S"}.get(form, "%Y-%m-%d %H:%M")
    return format_html('<time class="num" datetime="{}">{}</time>', moment.isoformat(), moment.strftime(text))


@register.filter
def figure(value: Any, digits: int = 5) -> str:
    """Return a number with as many significant digits as help, or a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return clean(value)


@register.filter
def duration(seconds: float | None) -> str:
    """Return seconds as a person says them."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


@register.filter
def about(seconds: float) -> str:
    """Return a time to come, no finer than it can be known."""
    return told(seconds)


@register.filter
def ra(degrees: float | None) -> str:
    """Return a right ascension in both forms."""
    if degrees is None:
        return "–"
    hundredths = round((degrees % 360) / 15 * 360_000) % 8_640_000
    hours, rest = divmod(hundredths, 360_000)
    minutes, rest = divmod(rest, 6000)
    return f"{hours:02d}h {minutes:02d}m {rest / 100:05.2f}s ({degrees:.5f}°)"


@register.filter
def dec(degrees: float | None) -> str:
    """Return a declination in both forms."""
    if degrees is None:
        return "–"
    sign = "−" if degrees < 0 else "+"
    tenths = round(abs(degrees) * 36_000)
    whole, rest = divmod(tenths, 36_000)
    minutes, rest = divmod(rest, 600)
    return f"{sign}{whole:02d}° {minutes:02d}′ {rest / 10:04.1f}″ ({degrees:+.5f}°)".replace("-", "−")


@register.filter
def numbered_lines(text: str) -> str:
    """Return a script with the numbers of its lines."""
    lines = [clean(line) for line in text.rstrip().split("\n")]
    width = len(str(len(lines)))
    return "\n".join(f"{number:>{width}}  {line}" for number, line in enumerate(lines, 1))


@register.filter
def mib(size: int | None) -> str:
    """Return a number of bytes in the unit that fits."""
    amount = float(size or 0)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


@register.filter
def kind_words(name: str) -> str:
    """Return what a kind of product is, in a sentence."""
    kind = KINDS.get(name)
    return kind.description if kind else ""


@register.filter
def several(kind: str) -> str:
    """Return the plural of a kind of product: a few are one already."""
    return kind if kind.endswith("s") else f"{kind}s"


@register.filter
def split_words(split_by: tuple[str, ...]) -> str:
    """Return along what a recipe is split, without what goes without saying."""
    words = [{"product": "frame"}.get(name, name) for name in split_by if name not in {"instrument", "readout_mode"}]
    return " × ".join(words) or "instrument"


# By kind: others carry the read noise or gain of their chip as well.
_HEADLINES = {
    "ReadNoise": ("read_noise", "adu"),
    "GainLinearity": ("gain", "e⁻/adu"),
    "PhotometricParameters": ("zeropoint", "mag"),
}


@register.filter
def headline(product: Product) -> tuple[str, str] | None:
    """Return the number that a product without a picture is about, with its unit."""
    name, unit = _HEADLINES.get(product.kind, ("", ""))
    value = product.attributes.get(name)
    return (f"{value:.4g}", unit) if isinstance(value, int | float) else None


@register.filter
def privilege_word(level: int | str | None) -> str:
    """Return who sees what has this privilege level."""
    try:
        return Privilege(int(level or 0)).label.split(":")[0]
    except ValueError:
        return "–"


@register.filter
def verdict_word(level: int) -> str:
    """Return a person's verdict on a product."""
    return Validity(level).label


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: object) -> str:
    """Return this page's query string with some values changed; None takes one out, and what is empty goes."""
    request: HttpRequest = context["request"]
    pairs = request.GET.copy()
    for name, value in changes.items():
        if value is None:
            pairs.pop(name, None)
        else:
            pairs[name] = str(value)
    return "?" + urlencode([(name, value) for name, values in pairs.lists() for value in values if value])


@register.inclusion_tag("parts/header.html", takes_context=True)
def site_header(context: template.Context) -> dict[str, object]:
    """Return the head of every page: where one is, and where results go."""
    request = context.get("request")
    user = getattr(request, "user", None)
    signed_in = bool(user and user.is_authenticated)
    user_s = context_of(user) if signed_in else None
    return {
        "request": request,
        "user": user if signed_in else None,
        "help": section_for(getattr(request, "path_info", "/")),
        "context": user_s,
        "to_answer": requests_to_answer(user_s).count() if user_s else 0,
        "section": (getattr(request, "path", "/").strip("/").split("/") or [""])[0],
    }


@register.simple_tag
def shipped_code(digest: str, owner_id: int) -> SafeString:
    """Return the digest of a user's own code, linked to its page."""
    pk = CodeBundle.objects.filter(digest=digest, owner=owner_id).values_list("pk", flat=True).first()
    shown = format_html("<code>{}</code>", digest[:12])
    if pk is None:
        return shown
    return format_html('<a id="shipped-code" href="{}">{}</a>', reverse("bundle", args=[pk]), shown)


@register.simple_tag(takes_context=True)
def change_link(context: template.Context, change: Change) -> SafeString | str:
    """Return the name of what was changed, linked to its page where it has one for who looks."""
    name = clean(change.subject_name)
    page = _PAGES.get(change.subject)
    if page is None or change.subject_number is None:
        return name
    if change.subject == Change.Subject.USER and not context["request"].user.is_superuser:
        return name
    key = change.subject_name if change.subject == Change.Subject.UNIT else change.subject_number
    try:
        return format_html('<a href="{}">{}</a>', reverse(page, args=[key]), name)
    except NoReverseMatch:  # a unit's name of old that no address can hold
        return name


@register.filter
def change_value(value: str, change: Change) -> str:
    """Return a value of the log of changes as people say it: levels are kept as numbers."""
    if change.subject == Change.Subject.PRODUCT and change.what == PRIVILEGE:
        return privilege_word(value)
    return value
