"""The one file with which any machine joins a processing unit."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from processing_units.joining.single_file import NAME, single_file


@require_safe
def awworker(request: HttpRequest) -> HttpResponse:
    """Give ``awworker``; it holds no secret, so everybody may have it."""
    answer = HttpResponse(single_file(), content_type="application/octet-stream")
    answer["Content-Disposition"] = f'attachment; filename="{NAME}"'
    return answer
