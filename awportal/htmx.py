"""Whether a request asks for a part of a page or for all of it."""

from __future__ import annotations

from django.http import HttpRequest


def wants_part(request: HttpRequest) -> bool:
    """Whether htmx asks for the part that changes; when it restores a page for the Back button it needs all of it."""
    return bool(request.htmx) and not request.htmx.history_restore_request  # type: ignore[attr-defined]
