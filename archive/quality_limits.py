"""The limits that QC values are held to: published with the recipes, learned from a chip's history, or set by hand."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from archive.context import Context, visible
from archive.models import LimitSource, Measurement, QualityLimit, Validity
from archive.queries import one_of
from recipes.kinds import KINDS
from recipes.quality import LIMITS, Limit

# A history of fewer products tells no scatter; of longer ones the latest count.
FEWEST, MOST = 5, 100
SIGMAS = 5.0
# sigma of a normal distribution from the median absolute deviation.
_SIGMA_OF_MAD = 1.4826
# Values that hardly ever differ (digits of a header, counts) still may by this share of themselves.
_LEAST_SCATTER = 0.01
# A history that scatters by more than this share of itself gives no limit that would ever find anything.
_ABSURD_SCATTER = 0.5
_LONGEST = {"instrument": 60, "chip": 40, "filter_name": 40}


class BadLimit(ValueError):
    """What was told of a limit cannot be; the message says what is expected."""


@dataclass(frozen=True)
class Scope:
    """What limits hold for: an instrument, one of its chips, one of its filters; "" is any."""

    instrument: str
    chip: str = ""
    filter: str = ""


@dataclass(frozen=True)
class ForJob:
    """Limits as a job gets them: by ``<kind>.minimum_<name>``, and where each comes from by ``<kind>.<name>``."""

    limits: dict[str, float] = field(default_factory=dict)
    origins: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Proposal:
    """What a history gives for one value of one chip: limits, or why there are none."""

    kind: str
    measurement: str
    scope: Scope
    products: int
    minimum: float | None = None
    maximum: float | None = None
    reason: str = ""


def limits_for(kinds: Iterable[str], instrument: str, chip: str, filter_name: str = "") -> ForJob:
    """Return the limits that go before the published ones, for products of these kinds of a chip and filter."""
    wanted = sorted(set(kinds))
    rows = QualityLimit.objects.filter(
        one_of("chip", {"", chip}), one_of("filter_name", {"", filter_name}), instrument=instrument, kind__in=wanted
    )
    found = ForJob()
    best: dict[tuple[str, str], QualityLimit] = {}
    for row in sorted(rows, key=_precision):
        if not row.filter_name or KINDS[row.kind].per_filter:
            best[row.kind, row.measurement] = row
    for (kind, name), row in best.items():
        for word, value in (("minimum", row.minimum), ("maximum", row.maximum)):
            if value is not None:
                found.limits[f"{kind}.{word}_{name}"] = value
        found.origins[f"{kind}.{name}"] = {"source": row.source, "since": row.since.isoformat(timespec="seconds")}
    return found


def _precision(row: QualityLimit) -> tuple[bool, bool]:
    return bool(row.chip), bool(row.filter_name)


def published(kind: str, measurement: str) -> Limit | None:
    """Return the limit that comes with the recipes, None for a value that has none."""
    return LIMITS.get(kind, {}).get(measurement)


def set_limit(
    context: Context, kind: str, measurement: str, scope: Scope, minimum: float | None, maximum: float | None
) -> QualityLimit:
    """Set a limit by hand; it goes before what was published or learned from now on. Raises :class:`BadLimit`."""
    if kind not in LIMITS:
        raise BadLimit(f"{kind[:40]!r} is none of the kinds with limits: {', '.join(sorted(LIMITS))}")
    if measurement not in LIMITS[kind]:
        raise BadLimit(f"{kind} has no {measurement[:60]!r}; it has {', '.join(LIMITS[kind])}")
    if minimum is None and maximum is None:
        raise BadLimit("a limit is a minimum, a maximum, or both")
    if not all(math.isfinite(value) for value in (minimum, maximum) if value is not None):
        raise BadLimit("minimum and maximum are finite numbers")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise BadLimit(f"the minimum {minimum:g} is above the maximum {maximum:g}")
    _check(scope)
    return _write(context, Proposal(kind, measurement, scope, 0, minimum, maximum), LimitSource.SET)


def clear(context: Context, scope: Scope, kind: str = "", measurement: str = "") -> int:
    """Take limits away, so that the published ones hold again; return how many there were."""
    _user(context)
    rows = _of(scope, kind, measurement)
    count: int = rows.count()
    rows.delete()
    return count


def shown(scope: Scope, kind: str = "") -> list[QualityLimit]:
    """Return the limits learned and set, of an instrument, a chip, a filter or a kind where these are told."""
    rows = _of(scope, kind, "").select_related("set_by")
    return list(rows.order_by("instrument", "kind", "measurement", "chip", "pk"))


def learn(
    context: Context, scope: Scope, kind: str = "", sigmas: float = SIGMAS, *, keep: bool = True
) -> list[Proposal]:
    """Learn limits from what the chips of an instrument have made so far: median ± `sigmas` robust sigmas.

    A product counts unless a person called it bad, or it was beyond its limits and nobody called it good. A limit is
    never looser than the published one, set ones are let be, and where the history is too short or scatters too much
    the proposal says so.
    """
    _check(scope)
    if not 2.0 <= sigmas <= 50.0:
        raise BadLimit("sigmas is a number from 2 to 50")
    if keep:
        _user(context)
    if kind and kind not in LIMITS:
        raise BadLimit(f"{kind[:40]!r} is none of the kinds with limits: {', '.join(sorted(LIMITS))}")
    proposals = [
        _proposed(found_kind, name, found_scope, values, sigmas)
        for (found_kind, name, found_scope), values in sorted(
            _histories(context, scope, kind).items(), key=lambda item: (item[0][0], item[0][1], str(item[0][2]))
        )
    ]
    if keep:
        with transaction.atomic():
            for proposal in proposals:
                if not proposal.reason and not _is_set(proposal):
                    _write(context, proposal, LimitSource.LEARNED)
    return proposals


def _histories(context: Context, scope: Scope, kind: str) -> Mapping[tuple[str, str, Scope], list[float]]:
    """Return the latest values by kind, name and chip (and filter, for kinds that belong to one)."""
    kinds = [kind] if kind else sorted(LIMITS)
    good = Q(is_valid=Validity.GOOD) | Q(is_valid=Validity.PROPOSED, quality_flags=0)
    products = visible(context).filter(good, instrument=scope.instrument, kind__in=kinds, code_digest="")
    if scope.chip:
        products = products.filter(chip=scope.chip)
    if scope.filter:
        products = products.filter(filter_name=scope.filter)
    by_chip: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    newest_first = products.order_by("-date_obs", "-pk").values_list("pk", "kind", "chip", "filter_name")
    for pk, found_kind, chip, filter_name in newest_first:
        latest = by_chip[found_kind, chip, filter_name or ""]
        if len(latest) < MOST:
            latest.append(pk)
    histories: dict[tuple[str, str, Scope], list[float]] = defaultdict(list)
    for (found_kind, chip, filter_name), numbers in by_chip.items():
        own = Scope(scope.instrument, chip, filter_name)
        wanted = list(LIMITS[found_kind])
        rows = Measurement.objects.filter(product__in=numbers, name__in=wanted, measured__isnull=False)
        for name, value in rows.order_by("product", "pk").values_list("name", "measured"):
            histories[found_kind, name, own].append(float(value or 0.0))
    return histories


def _proposed(kind: str, name: str, scope: Scope, values: Sequence[float], sigmas: float) -> Proposal:
    if len(values) < FEWEST:
        why = f"{len(values)} products, {FEWEST} are needed"
        return Proposal(kind, name, scope, len(values), reason=why)
    limit = LIMITS[kind][name]
    middle = statistics.median(values)
    sigma = _SIGMA_OF_MAD * statistics.median(abs(value - middle) for value in values)
    bounded = limit.minimum is not None or limit.maximum is not None
    if not bounded and sigma > _ABSURD_SCATTER * abs(middle):
        why = f"its history scatters by {sigma:.3g} about {middle:.3g}: no limit would find anything"
        return Proposal(kind, name, scope, len(values), reason=why)
    width = sigmas * max(sigma, _LEAST_SCATTER * abs(middle))
    if limit.symmetric:
        reach = min(abs(middle) + width, limit.maximum if limit.maximum is not None else math.inf)
        return Proposal(kind, name, scope, len(values), -reach, reach)
    low = middle - width if limit.minimum is not None or not bounded else None
    high = middle + width if limit.maximum is not None or not bounded else None
    if low is not None and limit.minimum is not None:
        low = max(low, limit.minimum)
    if high is not None and limit.maximum is not None:
        high = min(high, limit.maximum)
    return Proposal(kind, name, scope, len(values), low, high)


def _is_set(proposal: Proposal) -> bool:
    return _exactly(proposal).filter(source=LimitSource.SET).exists()


def _write(context: Context, proposal: Proposal, source: LimitSource) -> QualityLimit:
    """Write a limit in the place of the one there is; one that stays the same keeps the day since when it holds."""
    now = timezone.now()
    user = _user(context)
    there = _exactly(proposal).first()
    same = there is not None and (there.minimum, there.maximum, there.source) == (
        proposal.minimum,
        proposal.maximum,
        source,
    )
    row = there or QualityLimit(
        kind=proposal.kind,
        measurement=proposal.measurement,
        instrument=proposal.scope.instrument,
        chip=proposal.scope.chip,
        filter_name=proposal.scope.filter,
    )
    row.minimum, row.maximum, row.source, row.set_by = proposal.minimum, proposal.maximum, source, user
    row.learned_from = proposal.products
    row.since = row.since if same else now
    row.save()
    return row


def _exactly(proposal: Proposal) -> Any:
    return QualityLimit.objects.filter(
        kind=proposal.kind,
        measurement=proposal.measurement,
        instrument=proposal.scope.instrument,
        chip=proposal.scope.chip,
        filter_name=proposal.scope.filter,
    )


def _of(scope: Scope, kind: str, measurement: str) -> Any:
    told = {
        "instrument": scope.instrument,
        "chip": scope.chip,
        "filter_name": scope.filter,
        "kind": kind,
        "measurement": measurement,
    }
    return QualityLimit.objects.filter(**{column: value for column, value in told.items() if value})


def _check(scope: Scope) -> None:
    if not scope.instrument:
        raise BadLimit("say of which instrument")
    for column, value in (("instrument", scope.instrument), ("chip", scope.chip), ("filter_name", scope.filter)):
        if len(value) > _LONGEST[column] or "\0" in value:
            raise BadLimit(f"{value[:60]!r} is no {column.removesuffix('_name')}")


def _user(context: Context) -> Any:
    """Return who may change limits: they hold for everybody, so administrators alone."""
    if not may_change_limits(context):
        raise PermissionDenied("limits hold for everybody: an administrator changes them")
    return context.user


def may_change_limits(context: Context) -> bool:
    """Whether this context may set, learn and clear limits."""
    return context.user is not None and context.user.is_active and (context.user.is_staff or context.user.is_superuser)
