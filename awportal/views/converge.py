"""What a night has of what it could have, recipe by chip; one button fills the gaps, and then what rests on them."""

from __future__ import annotations

import uuid

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from archive.context import Context, context_of
from awportal.listing import facets, nights_of
from awportal.views.errors import refusals_told
from processing_units.frontend.night_goals import Goal, pursue, survey
from processing_units.nights.gaps import Matrix, Outlook
from recipes.catalogue import all_recipes
from recipes.errors import UsageError
from recipes.kinds import KINDS

_LONGEST = 60
# Outlook: the sign and colour with which it is shown.
_PILLS = {
    Outlook.THERE: "done",
    Outlook.GAP: "waiting",
    Outlook.TO_COME: "unlimited",
    Outlook.NOT_POSSIBLE: "cancelled",
}


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@refusals_told
def converge(request: HttpRequest) -> HttpResponse:
    """Show the matrix of a night, or begin to fill its gaps."""
    context = context_of(request.user)
    if request.method == "POST":
        return redirect("batch", pursue(_goal(request.POST, context), context, request.POST.get("key", "")[:100]).pk)
    goal = _goal(request.GET, context)
    answer: dict[str, object] = {
        "goal": goal,
        "kind": goal.kinds[0] if goal.kinds else "",
        "facets": facets(context),
        "made": [kind for recipe in all_recipes().values() for kind in recipe.outputs],
        "key": uuid.uuid4().hex,
    }
    if "night" in request.GET:
        try:
            matrix, _ = survey(goal, context)
        except UsageError as refused:
            return render(request, "converge.html", {**answer, "error": str(refused)}, status=422)
        answer |= {
            "matrix": matrix,
            "rows": _rows(matrix),
            "gaps": matrix.number(Outlook.GAP),
            "to_come": matrix.number(Outlook.TO_COME),
        }
    return render(request, "converge.html", answer)


def _goal(data: QueryDict, context: Context) -> Goal:
    """Read what is asked for; at first the newest night of which there are raw frames."""
    instrument, night, kind = (data.get(name, "").strip()[:_LONGEST] for name in ("instrument", "night", "kind"))
    if not night:
        found = nights_of(context, tuple(kind.name for kind in KINDS.values() if kind.is_raw))
        if found is not None:
            instrument, night = found[0], found[1].isoformat()
    return Goal(instrument, night, (kind,) if kind else ())


def _rows(matrix: Matrix) -> list[tuple[str, list[list[tuple[str, str]]]]]:
    """Return the recipes with the pills of each chip: state and words."""
    return [
        (
            recipe,
            [
                [
                    (_PILLS[outlook], f"{row[chip][outlook]} {outlook}" if outlook != Outlook.TO_COME else str(outlook))
                    for outlook in Outlook
                    if row[chip][outlook]
                ]
                for chip in matrix.chips
            ],
        )
        for recipe, row in matrix.cells.items()
    ]
