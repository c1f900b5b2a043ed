"""What each job gets besides its primary inputs: as its recipe says by validity, sky, job or run, or as the user named.

A product that was named always wins. Each choice is told with its reason and its rivals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from archive.calibration import OVERSCAN_MATTERS, Choice, Request, Wanted, choose_many
from archive.context import Context
from archive.models import Product
from archive.sky_choice import choose_by_sky, sky_request
from processing_units.contract import PlannedCalibration
from processing_units.frontend.companions import add_companions, add_from_run
from processing_units.frontend.named_inputs import refuse_overscan, use_named
from processing_units.frontend.splitting import Piece
from recipes.catalogue import all_recipes
from recipes.recipe import Input, Recipe

Asked = list[tuple[Piece, Input]]


def choose_inputs(
    recipe: Recipe,
    parameters: Mapping[str, Any],
    jobs: Sequence[Piece],
    named: Mapping[str, list[Product]],
    context: Context,
    *,
    explain: bool = False,
) -> None:
    """Give each job its other inputs: those the user named where they fit it, those chosen for it elsewhere."""
    method = parameters.get("overscan_correction")
    asked: dict[str, Asked] = {"validity": [], "sky": [], "job": [], "run": []}
    for piece in jobs:
        for entry in recipe.inputs:
            if entry.primary:
                continue
            if entry.role in named:
                use_named(piece, entry, named[entry.role], _wanted(piece.reference, method))
            else:
                asked[entry.chosen_by].append((piece, entry))
    _choose_by_validity(asked["validity"], method, context, explain=explain)
    _choose_by_sky(asked["sky"], context)
    add_companions(asked["job"], context)
    primaries = primaries_of(jobs)
    add_from_run(recipe, asked["run"], primaries, [told(product) for product in primaries])
    for piece in jobs:
        _check_required(recipe, piece)
        _check_alternatives(recipe, piece)


def primaries_of(jobs: Sequence[Piece]) -> list[Product]:
    """Return the primary inputs of all jobs in order, each once."""
    found = {product.pk: product for piece in jobs for of_role in piece.primary.values() for product in of_role}
    return list(found.values())


def told(product: Product) -> dict[str, Any]:
    """Return what is known of a product, its columns before its attributes."""
    columns = {
        "kind": product.kind,
        "name": product.name,
        "instrument": product.instrument,
        "chip": product.chip,
        "filter": product.filter_name,
        "readout_mode": product.readout_mode,
        "quality_flags": product.quality_flags,
    }
    return {**product.attributes, **columns}


def _choose_by_validity(asked: Asked, method: Any, context: Context, *, explain: bool) -> None:
    rows: list[tuple[Piece, Input, Request]] = []
    for piece, entry in asked:
        wanted = _wanted(piece.reference, method)
        # A sequence may take one of each of its kinds, a single argument the first kind that has one.
        for kinds in [(kind,) for kind in entry.kinds] if entry.many else [entry.kinds]:
            rows.append((piece, entry, Request(kinds, wanted, piece.observed)))
    choices = choose_many(context, [row[2] for row in rows], explain=explain)
    for (piece, entry, request), choice in zip(rows, choices, strict=True):
        _take(piece, entry, choice, request.kinds)
    _refuse_other_overscan(rows, context)


def _choose_by_sky(asked: Asked, context: Context) -> None:
    requests = [sky_request(told(piece.reference), entry.use) for piece, entry in asked]
    for (piece, entry), choice in zip(asked, choose_by_sky(context, requests), strict=True):
        _take(piece, entry, choice, entry.kinds)


def _take(piece: Piece, entry: Input, choice: Choice, kinds: Sequence[str]) -> None:
    product = choice.product
    if product is not None:
        piece.inputs.setdefault(entry.role, []).append(product)
    piece.calibrations.append(
        PlannedCalibration(
            role=entry.role,
            kind=product.kind if product else " or ".join(kinds),
            product=product.pk if product else None,
            name=product.name if product else "",
            quality_flags=product.quality_flags if product else 0,
            reason=choice.reason,
            rivals=choice.rivals,
        )
    )


def _refuse_other_overscan(rows: Sequence[tuple[Piece, Input, Request]], context: Context) -> None:
    """Refuse jobs that would go without a bias only because it went through another overscan method than their frames.

    The archive passes such a bias over; to leave it out in silence would show in the picture at last.
    """
    without = [
        (piece, request)
        for piece, entry, request in rows
        if not piece.inputs.get(entry.role)
        and (entry.preferred or entry.minimum)
        and OVERSCAN_MATTERS.intersection(request.kinds)
        and request.wanted.overscan_correction is not None
    ]
    any_method = [replace(request, wanted=replace(request.wanted, overscan_correction=None)) for _, request in without]
    for (piece, request), choice in zip(without, choose_many(context, any_method), strict=True):
        if choice.product is not None:
            refuse_overscan(piece, choice.product, request.wanted)


def _wanted(product: Product, method: Any) -> Wanted:
    return Wanted.by(told(product), method if isinstance(method, int) else None)


def _check_required(recipe: Recipe, piece: Piece) -> None:
    for entry in recipe.inputs:
        if entry.primary or len(piece.inputs.get(entry.role, [])) >= entry.minimum:
            continue
        reason = next((choice.reason for choice in piece.calibrations if choice.role == entry.role), "there is none")
        piece.refuse(f"no {entry.role} for {piece.reference.name}: {reason}", _how_to_get(entry))


def _check_alternatives(recipe: Recipe, piece: Piece) -> None:
    if recipe.needs_any_of and not any(piece.inputs.get(role) for role in recipe.needs_any_of):
        roles = " or ".join(recipe.needs_any_of)
        makers = [_how_to_get(recipe.input(role)) for role in recipe.needs_any_of]
        piece.refuse(f"{recipe.name} needs {roles} and has none", "; or ".join(makers))


def _how_to_get(entry: Input) -> str:
    makers = [recipe.name for recipe in all_recipes().values() if set(recipe.outputs) & set(entry.kinds)]
    make = f"run {' or '.join(makers)} first, or " if makers else ""
    if entry.chosen_by == "sky":
        make = "ingest one (`awrecipe ingest --catalogue`), or "
    return f"{make}name a {' or '.join(entry.kinds)} as {entry.role}"
