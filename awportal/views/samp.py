"""What a page sends to the programs on its reader's screen: addresses of products, as messages of SAMP."""

from __future__ import annotations

from collections.abc import Callable

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from archive.context import context_of, visible
from awportal.samp_messages import MOST_AT_ONCE, messages_for

# Where a hub listens by SAMP's Web Profile (section 5 of the standard): the reader's own machine, this port alone.
HUB = "http://127.0.0.1:21012"

_View = Callable[..., HttpResponse]
may_call_a_hub: Callable[[_View], _View] = csp_update({"connect-src": [HUB]})


@require_safe
@never_cache
def samp_messages(request: HttpRequest) -> HttpResponse:
    """Tell the messages for the products that are named and that one may see."""
    numbers = [int(text) for text in request.GET.getlist("product") if text.isdigit() and len(text) < 19]
    if not numbers or len(set(numbers)) > MOST_AT_ONCE:
        return JsonResponse(
            {"error": f"choose 1 to {MOST_AT_ONCE} products; {len(set(numbers))} were chosen"}, status=422
        )
    found = visible(context_of(request.user)).filter(pk__in=numbers).order_by("pk")
    return JsonResponse({"products": [messages_for(product) for product in found]})
