"""What belongs to a job's own frames: their weights, as the same job made them; and one frame for all of the run.

Such products have no validity, so the archive's choice among calibrations would take any exposure's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from archive.context import Context, visible
from archive.many_numbers import batches
from archive.models import Lineage, Product
from archive.reduced.ingest import BELONGS_TO
from processing_units.contract import PlannedCalibration
from processing_units.frontend.splitting import Piece
from recipes.errors import FatalError
from recipes.recipe import Input, Recipe

# A weight that says nothing is the weight of what Reduce makes beside it.
_USUAL_OWNER = {"WeightFrame": "ReducedScienceFrame"}


def belongs_to(product: Product) -> str:
    """Return the kind of frame that a product like a weight belongs to; "" for one that may belong to any."""
    return str(product.attributes.get("belongs_to") or _USUAL_OWNER.get(product.kind, ""))


def made_beside(product: Product, frame: Product) -> bool:
    """Whether the job that made the frame made the product for it."""
    same_job = frame.made_by_job is not None and product.made_by_job == frame.made_by_job
    return same_job and product.pk != frame.pk and _is_for(product, frame)


def add_companions(asked: Sequence[tuple[Piece, Input]], context: Context) -> None:
    """Give each job what was made together with its frames: of the first, or of each where the role takes several."""
    frames = {frame.pk: frame for piece, entry in asked for frame in _frames_of(piece, entry)}
    beside = _beside(frames, {kind for _, entry in asked for kind in entry.kinds}, context)
    for piece, entry in asked:
        found: list[Product] = []
        for frame in _frames_of(piece, entry):
            own = [product for product in beside.get(frame.pk, []) if product.kind in entry.kinds]
            if len(own) > 1:  # a job that made frames of several chips: what is of the same chip
                own = [product for product in own if (product.chip, product.date_obs) == (frame.chip, frame.date_obs)]
            found += own if len(own) == 1 else []
        if found:
            piece.inputs.setdefault(entry.role, []).extend(found)
        only = found[0] if len(found) == 1 else None
        owner = piece.reference.name if only else f"its {len(found)} frames"
        piece.calibrations.append(
            PlannedCalibration(
                role=entry.role,
                kind=" or ".join(entry.kinds),
                product=only.pk if only else None,
                name=only.name if only else ", ".join(product.name for product in found[:3]),
                reason=f"made together with {owner}" if found else "only where you name one",
            )
        )


def add_from_run(
    recipe: Recipe, asked: Sequence[tuple[Piece, Input]], primaries: Sequence[Product], attributes: Sequence[Any]
) -> None:
    """Give each job the one of the run's frames that the recipe chooses for it by what is known of all of them."""
    if not asked:
        return
    places = recipe.choose_in_run(attributes) if recipe.choose_in_run else [None] * len(primaries)
    if len(places) != len(primaries):
        raise FatalError(f"{recipe.name} chose among {len(places)} frames of a run of {len(primaries)}")
    chosen = {
        frame.pk: primaries[place] if place is not None else None
        for frame, place in zip(primaries, places, strict=True)
    }
    for piece, entry in asked:
        product = chosen.get(piece.reference.pk)
        if product is not None and product.kind not in entry.kinds:
            product = None
        if product is not None:
            piece.inputs.setdefault(entry.role, []).append(product)
        same = product is not None and product.pk == piece.reference.pk
        whose = "the frame itself" if same else f"of the run's {len(primaries)} frames the one to go by"
        piece.calibrations.append(
            PlannedCalibration(
                role=entry.role,
                kind=" or ".join(entry.kinds),
                product=product.pk if product else None,
                name=product.name if product else "",
                reason=whose if product else "none of the run's frames is needed for it",
            )
        )


def _frames_of(piece: Piece, entry: Input) -> list[Product]:
    if not entry.many:
        return [piece.reference]
    return [product for products in piece.primary.values() for product in products]


def _is_for(product: Product, frame: Product) -> bool:
    return belongs_to(product) in {"", frame.kind}


def _beside(frames: Mapping[int, Product], kinds: Iterable[str], context: Context) -> dict[int, list[Product]]:
    """Return by frame what the same job made for it, or what came in with it from elsewhere."""
    makers: dict[int, list[Product]] = defaultdict(list)
    for frame in frames.values():
        if frame.made_by_job is not None:
            makers[frame.made_by_job].append(frame)
    found: dict[int, list[Product]] = defaultdict(list)
    seen = visible(context).filter(kind__in=sorted(kinds)).defer("parameters").order_by("pk")
    for some in batches(sorted(makers)):
        for product in seen.filter(made_by_job__in=some):
            for frame in makers[product.made_by_job or 0]:
                if product.pk != frame.pk and _is_for(product, frame):
                    found[frame.pk].append(product)
    alone = sorted(pk for pk, frame in frames.items() if frame.made_by_job is None)
    for some in batches(alone):
        owners = dict(Lineage.objects.filter(source__in=some, role=BELONGS_TO).values_list("product", "source"))
        for product in seen.filter(pk__in=list(owners)):
            if _is_for(product, frames[owners[product.pk]]):
                found[owners[product.pk]].append(product)
    return found
