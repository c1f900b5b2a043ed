"""Products that a user names for other roles than the primary ones: each job gets those that fit it."""

from __future__ import annotations

from collections.abc import Sequence

from archive.calibration import OVERSCAN_MATTERS, Wanted
from archive.models import Product
from processing_units.contract import PlannedCalibration
from processing_units.frontend.companions import belongs_to, made_beside
from processing_units.frontend.splitting import Piece
from recipes.kinds import KINDS
from recipes.recipe import Input


def use_named(piece: Piece, entry: Input, products: Sequence[Product], wanted: Wanted) -> None:
    """Give the job those of the named products that fit it; where none does the job is refused with the reason."""
    own = _own(piece, entry, products)
    fitting = own or [product for product in products if not _misfit(product, entry, piece, wanted)]
    given = ", ".join(product.name for product in products[:3])
    if not fitting:
        why = _misfit(products[0], entry, piece, wanted)
        piece.refuse(
            f"none of the {entry.role} given ({given}) fits {piece.reference.name}: {products[0].name} is {why}",
            f"name one that fits, or leave {entry.role} out and the archive chooses",
        )
        return
    if entry.maximum is not None and len(fitting) > entry.maximum:
        names = ", ".join(product.name for product in fitting)
        piece.refuse(
            f"{len(fitting)} products were given as {entry.role} for {piece.reference.name}: {names}",
            f"name {entry.maximum}",
        )
    for product in fitting:
        if product.kind in OVERSCAN_MATTERS and wanted.overscan_correction not in {None, product.overscan_correction}:
            refuse_overscan(piece, product, wanted)
        piece.inputs.setdefault(entry.role, []).append(product)
        piece.calibrations.append(
            PlannedCalibration(
                role=entry.role,
                kind=product.kind,
                product=product.pk,
                name=product.name,
                quality_flags=product.quality_flags,
                reason="you named it",
            )
        )


def refuse_overscan(piece: Piece, bias: Product, wanted: Wanted) -> None:
    """Refuse a job whose frames would be corrected by another overscan method than its bias."""
    piece.refuse(
        f"{bias.name} was made with overscan method {bias.overscan_correction}, "
        f"{piece.reference.name} would be corrected with method {wanted.overscan_correction}",
        f"set overscan_correction to {bias.overscan_correction}, "
        f"or make a {bias.kind} with {wanted.overscan_correction} first",
    )


def _own(piece: Piece, entry: Input, products: Sequence[Product]) -> list[Product]:
    """Return, of all exposures' weights that were named, those that belong to this job's frames."""
    if entry.chosen_by != "job":
        return []
    frames = [product for of_role in piece.primary.values() for product in of_role]
    return [product for product in products if any(made_beside(product, frame) for frame in frames)]


def _misfit(product: Product, entry: Input, piece: Piece, wanted: Wanted) -> str:
    """Return of what else than wanted the product is, or ""."""
    if KINDS[product.kind].by_sky or entry.chosen_by == "run":
        return ""
    pairs = [
        ("instrument", product.instrument, wanted.instrument),
        ("chip", product.chip, wanted.chip),
        ("readout mode", product.readout_mode, wanted.readout_mode),
    ]
    if KINDS[product.kind].per_filter:
        pairs.append(("filter", product.filter_name, wanted.filter))
    if entry.chosen_by == "job" and (frame_kind := belongs_to(product)):
        pairs.append(("a frame that is a", frame_kind, piece.reference.kind))
    for what, has, wants in pairs:
        if has != wants:
            return f"of {what} {has or 'none'}, not {wants or 'none'}"
    return ""
