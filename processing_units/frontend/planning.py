"""What a submission comes to: everything checked and chosen, nothing written. The dry run and the submit share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import PermissionDenied

from archive.calibration import OVERSCAN_MATTERS, Request, Wanted, choose_many
from archive.context import Context, visible, with_privilege
from archive.models import Privilege, Product, Profile
from processing_units.contract import Plan, PlannedCalibration, PlannedJob, Submission
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.permissions import user_type
from processing_units.frontend.refusals import NotAllowed
from processing_units.frontend.splitting import Piece, fill_roles, split
from processing_units.frontend.unit_choice import choose_unit
from recipes.catalogue import all_recipes, find_recipe
from recipes.errors import UsageError
from recipes.kinds import KINDS
from recipes.recipe import Input, Recipe

_AT_ONCE = 500


@dataclass(frozen=True)
class Resolved:
    """A submission with everything checked and chosen."""

    recipe: Recipe
    parameters: dict[str, Any]
    context: Context
    unit: ProcessingUnit
    unit_reason: str
    jobs: list[Piece]

    def plan(self) -> Plan:
        """Return it as the message that a dry run shows."""
        return Plan(
            recipe=self.recipe.name,
            version=self.recipe.version,
            parameters=self.parameters,
            unit=self.unit.name,
            unit_reason=self.unit_reason,
            jobs=[_planned(self.recipe, piece) for piece in self.jobs],
        )

    def require_no_problem(self) -> None:
        """Raise UsageError that names the first job with a problem, and how many more have one."""
        bad = [piece for piece in self.jobs if piece.problem]
        if bad:
            others = f" ({len(bad) - 1} more of {len(self.jobs)} jobs have a problem)" if len(bad) > 1 else ""
            raise UsageError(f"job {bad[0].label}: {bad[0].problem}{others}", hint=bad[0].hint)


def resolve(submission: Submission, context: Context) -> Resolved:
    """Check a submission and choose what it leaves open; raises as :func:`processing_units.frontend.submit.submit`."""
    if context.user is None:
        raise NotAllowed("visitors can look, but not run recipes", hint="log in")
    recipe = find_recipe(submission.recipe)
    parameters = _parameters(recipe, submission, context)
    chosen = choose_unit(submission.unit, recipe.name, context)
    try:
        results = with_privilege(context, submission.privilege)
    except (PermissionDenied, ValueError) as error:
        raise NotAllowed(str(error)) from None
    if chosen.unit.owner_id is not None:  # what a user's own unit makes is that user's alone
        results = replace(results, privilege=Privilege.MYDB)
    roles = fill_roles(recipe, submission, context)
    jobs = split(recipe, roles)
    named = {entry.role: roles[entry.role] for entry in recipe.inputs if not entry.primary and entry.role in roles}
    choose_calibrations(recipe, parameters, jobs, named, context)
    for piece in jobs:
        _check_alternatives(recipe, piece)
    return Resolved(recipe, parameters, results, chosen.unit, chosen.reason, jobs)


def choose_calibrations(
    recipe: Recipe,
    parameters: Mapping[str, Any],
    jobs: Sequence[Piece],
    named: Mapping[str, list[Product]],
    context: Context,
) -> None:
    """Give each job its calibrations: those the user named where they fit it, the archive's choice elsewhere."""
    method = parameters.get("overscan_correction")
    asked: list[tuple[Piece, Input, str]] = []
    requests: list[Request] = []
    companions: list[tuple[Piece, Input]] = []
    for piece in jobs:
        wanted = _wanted(piece.reference, method)
        for entry in recipe.inputs:
            if entry.primary:
                continue
            if entry.role in named:
                _use_named(piece, entry, named[entry.role], wanted)
                continue
            if not any(KINDS[kind].is_calibration for kind in entry.kinds):
                companions.append((piece, entry))
                continue
            # A sequence may take one of each of its kinds, a single argument the first kind that has one.
            for kinds in [(kind,) for kind in entry.kinds] if entry.many else [entry.kinds]:
                asked.append((piece, entry, " or ".join(kinds)))
                requests.append(Request(kinds, wanted, piece.observed))
    for (piece, entry, kind), choice in zip(asked, choose_many(context, requests), strict=True):
        product = choice.product
        if product is not None:
            piece.inputs.setdefault(entry.role, []).append(product)
        piece.calibrations.append(
            PlannedCalibration(
                role=entry.role,
                kind=product.kind if product else kind,
                product=product.pk if product else None,
                name=product.name if product else "",
                reason=choice.reason,
                rivals=choice.rivals,
            )
        )
    _add_companions(companions, context)
    _refuse_other_overscan(asked, requests, context)
    for piece in jobs:
        _check_required(recipe, piece)


def _refuse_other_overscan(
    asked: Sequence[tuple[Piece, Input, str]], requests: Sequence[Request], context: Context
) -> None:
    """Refuse jobs that would go without a bias only because it went through another overscan method than their frames.

    The archive passes such a bias over; to leave it out in silence would show in the picture at last.
    """
    without = [
        (piece, entry, request)
        for (piece, entry, _), request in zip(asked, requests, strict=True)
        if not piece.inputs.get(entry.role)
        and (entry.preferred or entry.minimum)
        and OVERSCAN_MATTERS.intersection(request.kinds)
        and request.wanted.overscan_correction is not None
    ]
    any_method = [replace(request, wanted=replace(request.wanted, overscan_correction=None)) for *_, request in without]
    for (piece, _, request), choice in zip(without, choose_many(context, any_method), strict=True):
        if choice.product is not None:
            _refuse_overscan(piece, choice.product, request.wanted)


def _refuse_overscan(piece: Piece, bias: Product, wanted: Wanted) -> None:
    piece.refuse(
        f"{bias.name} was made with overscan method {bias.overscan_correction}, "
        f"{piece.reference.name} would be corrected with method {wanted.overscan_correction}",
        f"set overscan_correction to {bias.overscan_correction}, "
        f"or make a {bias.kind} with {wanted.overscan_correction} first",
    )


def _add_companions(asked: Sequence[tuple[Piece, Input]], context: Context) -> None:
    """Give each job what belongs to its frame and to no other, like its weight: what the same job made beside it.

    Such products have no validity, so the archive's choice among calibrations would take any exposure's.
    """
    kinds = {kind for _, entry in asked for kind in entry.kinds}
    makers = sorted({piece.reference.made_by_job for piece, _ in asked if piece.reference.made_by_job})
    beside: dict[int, list[Product]] = {}
    for begin in range(0, len(makers), _AT_ONCE):
        some = visible(context).filter(made_by_job__in=makers[begin : begin + _AT_ONCE], kind__in=kinds)
        for product in some.defer("parameters").order_by("pk"):
            beside.setdefault(product.made_by_job or 0, []).append(product)
    for piece, entry in asked:
        reference = piece.reference
        found = [
            product
            for product in beside.get(reference.made_by_job or 0, [])
            if product.kind in entry.kinds and product.pk != reference.pk
        ]
        only = found[0] if len(found) == 1 else None
        if only is not None:
            piece.inputs.setdefault(entry.role, []).append(only)
        reason = f"made together with {reference.name}" if only else "only where you name one"
        piece.calibrations.append(
            PlannedCalibration(
                role=entry.role,
                kind=" or ".join(entry.kinds),
                product=only.pk if only else None,
                name=only.name if only else "",
                reason=reason,
            )
        )


def _parameters(recipe: Recipe, submission: Submission, context: Context) -> dict[str, Any]:
    parameters = dict(recipe.parse_parameters(submission.parameters))
    if user_type(context) < Profile.UserType.CHOOSES:
        for parameter in recipe.parameters:
            if parameters[parameter.name] != parameter.default:
                raise NotAllowed(
                    f"{parameter.name}: users of type 1 work with the managers' settings",
                    hint=f"leave it at {parameter.default}; an administrator can change your type",
                )
    return parameters


def _wanted(product: Product, method: Any) -> Wanted:
    columns = {
        "instrument": product.instrument,
        "chip": product.chip,
        "filter": product.filter_name,
        "readout_mode": product.readout_mode,
    }
    return Wanted.by({**product.attributes, **columns}, method if isinstance(method, int) else None)


def _use_named(piece: Piece, entry: Input, products: Sequence[Product], wanted: Wanted) -> None:
    fitting = [product for product in products if not _misfit(product, wanted)]
    if not any(KINDS[kind].is_calibration for kind in entry.kinds):  # of all exposures' weights given, this one's own
        maker = piece.reference.made_by_job
        fitting = [product for product in fitting if maker and product.made_by_job == maker] or fitting
    given = ", ".join(product.name for product in products[:3])
    if not fitting:
        why = _misfit(products[0], wanted)
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
        if product.kind in OVERSCAN_MATTERS and wanted.overscan_correction not in (None, product.overscan_correction):
            _refuse_overscan(piece, product, wanted)
        piece.inputs.setdefault(entry.role, []).append(product)
        piece.calibrations.append(
            PlannedCalibration(
                role=entry.role, kind=product.kind, product=product.pk, name=product.name, reason="you named it"
            )
        )


def _misfit(product: Product, wanted: Wanted) -> str:
    """Return of what else than wanted the product is, or ""."""
    pairs = [
        ("instrument", product.instrument, wanted.instrument),
        ("chip", product.chip, wanted.chip),
        ("readout mode", product.readout_mode, wanted.readout_mode),
    ]
    if KINDS[product.kind].per_filter:
        pairs.append(("filter", product.filter_name, wanted.filter))
    for what, has, wants in pairs:
        if has != wants:
            return f"of {what} {has or 'none'}, not {wants or 'none'}"
    return ""


def _check_required(recipe: Recipe, piece: Piece) -> None:
    for entry in recipe.inputs:
        if entry.primary or len(piece.inputs.get(entry.role, [])) >= entry.minimum:
            continue
        reason = next((choice.reason for choice in piece.calibrations if choice.role == entry.role), "there is none")
        piece.refuse(f"no {entry.role} for {piece.reference.name}: {reason}", _how_to_get(entry))


def _how_to_get(entry: Input) -> str:
    makers = [recipe.name for recipe in all_recipes().values() if set(recipe.outputs) & set(entry.kinds)]
    make = f"run {' or '.join(makers)} first, or " if makers else ""
    return f"{make}name a {' or '.join(entry.kinds)} as {entry.role}"


def _check_alternatives(recipe: Recipe, piece: Piece) -> None:
    if recipe.needs_any_of and not any(piece.inputs.get(role) for role in recipe.needs_any_of):
        roles = " or ".join(recipe.needs_any_of)
        makers = [_how_to_get(recipe.input(role)) for role in recipe.needs_any_of]
        piece.refuse(f"{recipe.name} needs {roles} and has none", "; or ".join(makers))


def _planned(recipe: Recipe, piece: Piece) -> PlannedJob:
    primary = {entry.role for entry in recipe.primary_inputs}
    return PlannedJob(
        label=piece.label,
        inputs={role: [p.pk for p in products] for role, products in piece.inputs.items() if role in primary},
        calibrations=piece.calibrations,
        bytes=sum(product.file_size for products in piece.inputs.values() for product in products),
        problem=piece.problem,
    )
