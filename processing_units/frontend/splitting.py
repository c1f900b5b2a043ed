"""Which inputs go into which job: roles are filled by kind, and jobs are split as the recipe says."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time

from archive.context import Context, visible
from archive.models import Product
from processing_units.contract import PlannedCalibration, Submission
from processing_units.frontend.refusals import NotFound
from recipes.errors import UsageError
from recipes.recipe import Input, Recipe

MAXIMUM_INPUTS = 100_000
_AT_ONCE = 500
_COLUMNS = {"filter": "filter_name", "object": "object_name"}


@dataclass
class Piece:
    """One job in the making: primary inputs, calibrations as they are chosen, and what is in its way."""

    label: str
    inputs: dict[str, list[Product]]
    calibrations: list[PlannedCalibration] = field(default_factory=list)
    problem: str = ""
    hint: str = ""
    again_of: int | None = None  # the job that is done anew
    primary: dict[str, list[Product]] = field(init=False)

    def __post_init__(self) -> None:
        self.primary = dict(self.inputs)

    @property
    def reference(self) -> Product:
        """The product that calibrations must match: the first primary input."""
        return next(product for products in self.inputs.values() for product in products)

    @property
    def observed(self) -> datetime | None:
        """When its first frame was taken; midnight of the night where only that is known."""
        times = [_observed(product) for products in self.inputs.values() for product in products]
        return min((moment for moment in times if moment is not None), default=None)

    def refuse(self, problem: str, hint: str) -> None:
        """Note what is wrong with this job; the first that is found stays."""
        if not self.problem:
            self.problem, self.hint = problem, hint


def fill_roles(recipe: Recipe, submission: Submission, context: Context) -> dict[str, list[Product]]:
    """Return the submitted products by role; those of the role "" go where their kind fits.

    Raises
    ------
    NotFound
        A product does not exist, or this context does not see it: the two look the same.
    UsageError
        A role that the recipe has not, a kind that does not fit, a product given twice.
    """
    number = sum(len(ids) for ids in submission.inputs.values())
    if not number:
        wanted = " or ".join(kind for entry in recipe.primary_inputs for kind in entry.kinds)
        raise UsageError(f"{recipe.name}: no inputs were given", hint=f"pick some {wanted}")
    if number > MAXIMUM_INPUTS:
        raise UsageError(
            f"{number} inputs are more than the {MAXIMUM_INPUTS} a run may have", hint="split them over runs"
        )
    products = _find(context, {pk for ids in submission.inputs.values() for pk in ids})
    roles: dict[str, list[Product]] = defaultdict(list)
    for role, ids in submission.inputs.items():
        entry = recipe.input(role) if role else None
        for pk in ids:
            fitting = entry or _role_of_kind(recipe, products[pk])
            _check_kind(recipe, fitting, products[pk])
            roles[fitting.role].append(products[pk])
    for role, given in roles.items():
        twice = [pk for pk, count in Counter(product.pk for product in given).items() if count > 1]
        if twice:
            raise UsageError(f"{products[twice[0]].name} was given twice as {role}", hint="give each product once")
    return dict(roles)


def split(recipe: Recipe, roles: Mapping[str, Sequence[Product]]) -> list[Piece]:
    """Split the primary inputs over jobs, as ``Recipe.split_by`` says, in an order that the inputs decide."""
    attributes = [name for name in recipe.split_by if name != "product"]
    primary = {entry.role: roles[entry.role] for entry in recipe.primary_inputs if roles.get(entry.role)}
    if not primary:
        wanted = ", ".join(f"{entry.role} ({' or '.join(entry.kinds)})" for entry in recipe.primary_inputs)
        raise UsageError(f"{recipe.name} was given calibrations alone", hint=f"it works on {wanted}")
    groups: dict[tuple[str, ...], dict[str, list[Product]]] = defaultdict(lambda: defaultdict(list))
    for role, products in primary.items():
        for product in sorted(products, key=_order):
            groups[tuple(_value(product, name) for name in attributes)][role].append(product)
    pieces: list[Piece] = []
    told = _attributes_to_tell(attributes, groups)
    for key in sorted(groups):
        filled = dict(groups[key])
        if "product" not in recipe.split_by:
            pieces.append(Piece(" ".join(key[place] for place in told if key[place]) or recipe.name, filled))
            continue
        leading = next(iter(filled))
        pieces += [Piece(product.name, {**filled, leading: [product]}) for product in filled[leading]]
    for piece in pieces:
        check_numbers(recipe, piece)
    return pieces


def _find(context: Context, ids: set[int]) -> dict[int, Product]:
    found: dict[int, Product] = {}
    numbers = sorted(ids)
    for begin in range(0, len(numbers), _AT_ONCE):
        some = visible(context).filter(pk__in=numbers[begin : begin + _AT_ONCE]).defer("parameters")
        found |= {product.pk: product for product in some}
    missing = [pk for pk in numbers if pk not in found]
    if missing:
        others = f" (and {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise NotFound(
            f"there is no product {missing[0]}{others}", hint="`awrecipe products` and the archive's pages list yours"
        )
    return found


def _role_of_kind(recipe: Recipe, product: Product) -> Input:
    for entries in (recipe.primary_inputs, [entry for entry in recipe.inputs if not entry.primary]):
        fitting = [entry for entry in entries if product.kind in entry.kinds]
        if len(fitting) > 1:
            roles = ", ".join(entry.role for entry in fitting)
            raise UsageError(f"{product.name} could be any of {roles} of {recipe.name}", hint="say which by its role")
        if fitting:
            return fitting[0]
    kinds = sorted({kind for entry in recipe.primary_inputs for kind in entry.kinds})
    raise UsageError(
        f"{product.name} is a {product.kind}, which {recipe.name} does not take",
        hint=f"it works on {' or '.join(kinds)}",
    )


def _check_kind(recipe: Recipe, entry: Input, product: Product) -> None:
    if product.kind not in entry.kinds:
        raise UsageError(
            f"{product.name} is a {product.kind}, which cannot be the {entry.role} of {recipe.name}",
            hint=f"it takes {' or '.join(entry.kinds)} there",
        )


def check_numbers(recipe: Recipe, piece: Piece) -> None:
    """Refuse a job that has too few or too many frames in a primary role."""
    for entry in recipe.primary_inputs:
        given = piece.inputs.get(entry.role, [])
        if len(given) < entry.minimum:
            piece.refuse(
                f"{recipe.name} needs at least {entry.minimum} {entry.role} and got {_counted(given)}",
                f"add more {' or '.join(entry.kinds)} of the same {_names(recipe.split_by)}, or leave these out",
            )
        if entry.maximum is not None and len(given) > entry.maximum:
            piece.refuse(
                f"{recipe.name} takes at most {entry.maximum} {entry.role} and got {_counted(given)}",
                f"of these pick {entry.maximum}",
            )


def _counted(products: Sequence[Product]) -> str:
    if not products:
        return "none"
    names = ", ".join(product.name for product in products[:3])
    return f"{len(products)} ({names}{', ...' if len(products) > 3 else ''})"


def _names(split_by: Iterable[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in split_by) or "run"


def _attributes_to_tell(attributes: Sequence[str], groups: Mapping[tuple[str, ...], object]) -> list[int]:
    """Return which parts of the key name a job: chip and filter always, others where they differ within the run."""
    return [
        place
        for place, name in enumerate(attributes)
        if name in {"chip", "filter"} or len({key[place] for key in groups}) > 1
    ]


def _value(product: Product, name: str) -> str:
    column = _COLUMNS.get(name, name)
    value = getattr(product, column) if hasattr(product, column) else product.attributes.get(name)
    return "" if value is None else str(value)


def _observed(product: Product) -> datetime | None:
    if product.date_obs is None and product.night is not None:
        return datetime.combine(product.night, time(23, 59, 59), tzinfo=UTC)
    return product.date_obs


def _order(product: Product) -> tuple[str, str, int]:
    return ("" if product.date_obs is None else product.date_obs.isoformat()), product.name, product.pk
