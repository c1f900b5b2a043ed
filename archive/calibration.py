"""Which calibration serves a frame: of the valid ones that match the newest, with the reason, and why no rival.

All frames of a run are asked for at once: a fixed number of queries, however many jobs.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet

from archive.context import Context, visible
from archive.models import Product, Validity
from archive.products import parse_time
from archive.queries import one_of
from recipes.kinds import KINDS

# A dark serves within this many degrees of its own temperature (recipes.md, Dark).
TEMPERATURE_TOLERANCE = 2.0
TEMPERATURE_MATTERS = frozenset({"DarkFrame"})
# A frame and the bias it is corrected with have gone through the same overscan method (recipes.md, Conventions).
OVERSCAN_MATTERS = frozenset({"BiasFrame"})
# What only mends a little is worse than nothing where its own quality is in doubt, unless a person called it good.
DOUBT_MATTERS = frozenset({"IlluminationCorrectionFrame", "FringeFrame"})
RIVALS_TOLD = 5
# Which section each overscan method reads (1-4 as one number, 5-8 per line), and what serves in its stead, in order.
_SECTIONS = ("prescan_x", "overscan_x", "prescan_y", "overscan_y")
_INSTEAD = ("overscan_x", "prescan_x", "overscan_y", "prescan_y")
_COLUMNS = (
    "pk", "kind", "name", "instrument", "chip", "filter_name", "readout_mode", "temperature", "overscan_correction",
    "is_valid", "quality_flags", "timestamp_start", "timestamp_end", "created",
    "stale_because",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What a calibration must match; filter and temperature where its kind says so. None is not known."""

    instrument: str
    chip: str
    filter: str = ""
    readout_mode: str = "default"
    temperature: float | None = None
    overscan_correction: int | None = None

    @classmethod
    def by(cls, attributes: Mapping[str, Any], overscan_correction: int | None = None) -> Wanted:
        """Return what a frame with these attributes wants, corrected by that overscan method (None: any)."""
        temperature = attributes.get("temperature")
        return cls(
            instrument=str(attributes.get("instrument") or ""),
            chip=str(attributes.get("chip") or ""),
            filter=str(attributes.get("filter") or ""),
            readout_mode=str(attributes.get("readout_mode") or "default"),
            temperature=float(temperature) if isinstance(temperature, int | float) else None,
            overscan_correction=effective_overscan(overscan_correction, attributes),
        )


@dataclass(frozen=True)
class Request:
    """One question: a calibration of one of `kinds` (the first that has one wins) for `wanted` at a time."""

    kinds: tuple[str, ...]
    wanted: Wanted
    at: datetime.datetime | None


@dataclass(frozen=True)
class Choice:
    """The answer: the product, or None; why; and what the rivals lacked."""

    product: Product | None
    reason: str
    rivals: list[str] = field(default_factory=list)


class Ranked:
    """A calibration beside others that serve at the same time."""

    pk: int
    quality_flags: int
    created: datetime.datetime
    stale_because: int | None

    @property
    def rank(self) -> tuple[bool, bool, datetime.datetime, int]:
        """What decides between those that serve: not stale, no flags, then the newest."""
        return self.stale_because is None, self.quality_flags == 0, self.created, self.pk


@dataclass(frozen=True)
class _Candidate(Ranked):
    pk: int
    kind: str
    name: str
    instrument: str
    chip: str
    filter_name: str
    readout_mode: str
    temperature: float | None
    overscan_correction: int | None
    is_valid: int
    quality_flags: int
    timestamp_start: datetime.datetime | None
    timestamp_end: datetime.datetime | None
    created: datetime.datetime
    stale_because: int | None


_Key = tuple[str, str, str, str]  # kind, instrument, chip, filter


def choose(
    context: Context,
    kinds: str | Sequence[str],
    wanted: Wanted | Mapping[str, Any],
    at: datetime.datetime | str | None,
) -> Choice:
    """Choose one calibration, see :func:`choose_many`; `wanted` may be a frame's attributes."""
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    wanted = wanted if isinstance(wanted, Wanted) else Wanted.by(wanted, wanted.get("overscan_correction"))
    return choose_many(context, [Request(kinds, wanted, parse_time(at))])[0]


def choose_many(context: Context, requests: Sequence[Request], *, explain: bool = False) -> list[Choice]:
    """Answer each request, in their order; with `explain` the rivals of other times are told, too.

    A calibration serves when its validity covers the time, nobody called it bad, and instrument, chip, readout mode
    and, as its kind says, filter, overscan method and temperature match. Those without quality flags come first; of
    several the newest wins; one that rests on a product called bad (stale) stands behind all others. Where none serves
    the choice tells the nearest and what it lacks.
    """
    requests = list(requests)
    times = [request.at for request in requests if request.at is not None]
    candidates: dict[_Key, list[_Candidate]] = defaultdict(list)
    if times:
        for candidate in _read(_valid_between(visible(context), requests, min(times), max(times))):
            candidates[_key_of(candidate)].append(candidate)
    answered: dict[Request, tuple[_Candidate | None, str, list[str]]] = {}
    for request in dict.fromkeys(requests):
        answered[request] = _answer(request, candidates)
    failed = [request for request, (found, _, _) in answered.items() if found is None]
    nearest = _nearest(context, list(answered) if explain else failed) if failed or explain else {}
    if explain:
        for request, (found, reason, rivals) in answered.items():
            if found is not None:
                answered[request] = found, reason, rivals + _of_other_times(request, nearest, candidates)
    for request in failed:
        _, reason, rivals = answered[request]
        answered[request] = (None, reason + _told_nearest(request, nearest, rivals), rivals)
    chosen = {found.pk for found, _, _ in answered.values() if found}
    products = {product.pk: product for product in _in_batches(visible(context), sorted(chosen))}
    return [
        Choice(products.get(found.pk) if found else None, reason, _some(rivals))
        for found, reason, rivals in (answered[request] for request in requests)
    ]


def effective_overscan(method: int | None, attributes: Mapping[str, Any]) -> int | None:
    """Return the overscan method that takes effect on a raw frame, as the recipes do it.

    The one asked for, else the next best section in the same manner, else 0 (``recipes.ccd.raw.effective_method``).
    """
    if method is None or not 1 <= method <= 8:
        return method
    amplifiers = [dict(amplifier) for amplifier in attributes.get("amplifiers") or []]
    wanted = _SECTIONS[(method - 1) % 4]
    for name in (wanted, *_INSTEAD):
        of_chip = bool(attributes.get(name))
        own = [bool(amplifier.get(name)) for amplifier in amplifiers] if name.endswith("_x") else []
        if all(has or of_chip for has in own) if any(own) else of_chip:
            return _SECTIONS.index(name) + 1 + (4 if method > 4 else 0)
    return 0


def _answer(request: Request, candidates: Mapping[_Key, list[_Candidate]]) -> tuple[_Candidate | None, str, list[str]]:
    """Return the candidate that serves, the reason, and what the others lack."""
    wanted_kinds = " or ".join(request.kinds)
    if request.at is None:
        return None, f"no {wanted_kinds}: the time of the observation is not known", []
    losers: list[str] = []
    for kind in request.kinds:
        lacking: list[tuple[_Candidate, str]] = []
        serving: list[_Candidate] = []
        for candidate in candidates.get(_key(kind, request.wanted), []):
            lack = _lack(candidate, request)
            lacking.append((candidate, lack)) if lack else serving.append(candidate)
        serving.sort(key=lambda candidate: candidate.rank, reverse=True)
        lacking.sort(key=lambda pair: pair[0].created, reverse=True)
        told = [f"{candidate.name}: {lack}" for candidate, lack in lacking]
        if serving:
            best = serving[0]
            beaten = [f"{rival.name}: {_why_beaten(rival, best)}" for rival in serving[1:]]
            return best, _why(best, request, len(beaten)), beaten + told + losers
        losers += told
    return None, f"no {wanted_kinds} serves {_described(request)}", losers


def _lack(candidate: _Candidate, request: Request) -> str:
    """Return what the candidate lacks, or "" when it serves."""
    wanted, at = request.wanted, request.at
    if candidate.is_valid == Validity.BAD:
        return "was called bad"
    if candidate.kind in DOUBT_MATTERS and candidate.quality_flags and candidate.is_valid != Validity.GOOD:
        return f"its quality flags are {candidate.quality_flags}: none is better, unless you name it"
    if candidate.readout_mode != wanted.readout_mode:
        return f"readout mode {candidate.readout_mode}, not {wanted.readout_mode}"
    if at is None or not _covers(candidate, at):
        return f"not valid at that time, but {_span(candidate)}"
    if candidate.kind in OVERSCAN_MATTERS and wanted.overscan_correction is not None:
        method = candidate.overscan_correction
        if method != wanted.overscan_correction:
            return f"overscan method {'unknown' if method is None else method}, not {wanted.overscan_correction}"
    if candidate.kind in TEMPERATURE_MATTERS and None not in (candidate.temperature, wanted.temperature):
        difference = abs(float(candidate.temperature or 0) - float(wanted.temperature or 0))
        if difference > TEMPERATURE_TOLERANCE:
            return f"taken at {candidate.temperature:.1f} °C, {difference:.1f} °C away from {wanted.temperature:.1f} °C"
    return ""


def _covers(candidate: _Candidate, at: datetime.datetime) -> bool:
    after_start = candidate.timestamp_start is None or candidate.timestamp_start <= at
    return after_start and (candidate.timestamp_end is None or at <= candidate.timestamp_end)


def _why(best: _Candidate, request: Request, beaten: int) -> str:
    parts = [f"valid {_span(best)}"]
    parts.append(f"the newest of {beaten + 1} that serve" if beaten else "the only one that serves")
    if best.stale_because is not None:
        parts.append("although it is stale, it rests on a product called bad: there is none that does not")
    if best.quality_flags:
        parts.append(f"although its quality flags are {best.quality_flags}: there is none without")
    if best.kind in TEMPERATURE_MATTERS and None in (best.temperature, request.wanted.temperature):
        parts.append("temperature not known, so not compared")
    return "; ".join(parts)


def _why_beaten(rival: _Candidate, best: _Candidate) -> str:
    if rival.stale_because is not None and best.stale_because is None:
        return "stale, it rests on a product called bad"
    if rival.quality_flags and not best.quality_flags:
        return f"quality flags {rival.quality_flags}"
    if rival.created == best.created:
        return "made at the same time, entered earlier"
    return f"older, made {rival.created:%Y-%m-%d %H:%M:%S}"


def _valid_between(
    products: QuerySet[Product], requests: Iterable[Request], first: datetime.datetime, last: datetime.datetime
) -> QuerySet[Product]:
    return products.filter(
        _matching(requests),
        Q(timestamp_start__isnull=True) | Q(timestamp_start__lte=last),
        Q(timestamp_end__isnull=True) | Q(timestamp_end__gte=first),
    )


def _matching(requests: Iterable[Request]) -> Q:
    """Return the filter for kind, instrument, chip and filter: plain ANDs of INs, which the index serves as it is."""
    wanted = [(kind, request.wanted) for request in requests for kind in request.kinds]
    keys = {_key(kind, want) for kind, want in wanted}
    kinds, instruments, chips, filters = (sorted({key[part] for key in keys}) for part in range(4))
    return Q(kind__in=kinds, instrument__in=instruments, chip__in=chips) & one_of("filter_name", filters)


def _nearest(context: Context, failed: Sequence[Request]) -> dict[_Key, list[_Candidate]]:
    """Return, for each kind, chip and filter that failed, the last that ended before and the first that begins after.

    Two short queries on the index for each; a run that lacks a calibration lacks it for a handful of chips.
    """
    found: dict[_Key, list[_Candidate]] = {}
    for request in failed:
        if request.at is None:
            continue
        for kind in request.kinds:
            key = _key(kind, request.wanted)
            if key in found or len(found) >= MAXIMUM_EXPLAINED:
                continue
            alike = visible(context).filter(kind=key[0], instrument=key[1], chip=key[2], filter_name=key[3])
            before = alike.filter(timestamp_end__lt=request.at).order_by("-timestamp_start")
            after = alike.filter(timestamp_start__gt=request.at).order_by("timestamp_start")
            found[key] = [*_read(before[:1]), *_read(after[:1])]
    return found


MAXIMUM_EXPLAINED = 50


def _of_other_times(
    request: Request, nearest: Mapping[_Key, list[_Candidate]], told: Mapping[_Key, list[_Candidate]]
) -> list[str]:
    """Return the calibrations next before and after the time of a request that are not among those `told` already."""
    found = []
    for kind in request.kinds:
        key = _key(kind, request.wanted)
        known = {candidate.pk for candidate in told.get(key, [])}
        others = [candidate for candidate in nearest.get(key, []) if candidate.pk not in known]
        found += [f"{rival.name}: {lack}" for rival in others if (lack := _lack(rival, request))]
    return found


def _told_nearest(request: Request, nearest: Mapping[_Key, list[_Candidate]], rivals: Sequence[str]) -> str:
    """Return the end of the sentence: what comes nearest, and what it lacks."""
    if rivals:
        return f"; nearest is {rivals[0]}"
    near = [
        candidate
        for kind in request.kinds
        for candidate in nearest.get(_key(kind, request.wanted), [])
        if request.at is not None
    ]
    if not near:
        return "; there is none at any time" if request.at else ""
    best = min(near, key=lambda candidate: _days_off(candidate, request.at))
    return f"; nearest is {best.name}, valid {_span(best)}, {_days_off(best, request.at):.1f} days off"


def _days_off(candidate: _Candidate, at: datetime.datetime | None) -> float:
    if at is None:
        return 0.0
    edges = [edge for edge in (candidate.timestamp_start, candidate.timestamp_end) if edge is not None]
    return min(abs((edge - at).total_seconds()) for edge in edges) / 86400 if edges else 0.0


def _described(request: Request) -> str:
    wanted = request.wanted
    per_filter = any(KINDS[kind].per_filter for kind in request.kinds)
    filter_name = f", filter {wanted.filter or 'none'}" if per_filter else ""
    return f"{wanted.instrument} chip {wanted.chip}{filter_name} on {request.at:%Y-%m-%d %H:%M}"


def _span(candidate: _Candidate) -> str:
    start = f"{candidate.timestamp_start:%Y-%m-%d}" if candidate.timestamp_start else "ever"
    end = f"{candidate.timestamp_end:%Y-%m-%d}" if candidate.timestamp_end else "ever"
    return f"{start} to {end}"


def _key(kind: str, wanted: Wanted) -> _Key:
    return kind, wanted.instrument, wanted.chip, wanted.filter if KINDS[kind].per_filter else ""


def _key_of(candidate: _Candidate) -> _Key:
    return candidate.kind, candidate.instrument, candidate.chip, candidate.filter_name


def _read(products: QuerySet[Product]) -> list[_Candidate]:
    return [_Candidate(*row) for row in products.values_list(*_COLUMNS)]


def _some(texts: list[str]) -> list[str]:
    if len(texts) <= RIVALS_TOLD:
        return texts
    return [*texts[:RIVALS_TOLD], f"and {len(texts) - RIVALS_TOLD} more"]


def _in_batches(products: QuerySet[Product], numbers: Sequence[int]) -> Iterable[Product]:
    for start in range(0, len(numbers), 500):
        yield from products.filter(pk__in=numbers[start : start + 500])
