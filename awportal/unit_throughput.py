"""What a unit did in the last day, hour by hour, as the bars of a small SVG."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.cache import cache
from django.db.models import Count
from django.db.models.functions import TruncHour

from processing_units.contract import CANARY, JobState
from processing_units.frontend.models import Job, ProcessingUnit

HOURS = 24
_STEP, _WIDTH, _HEIGHT = 20, 16, 60
_KEPT_SECONDS = 60


@dataclass(frozen=True)
class Bar:
    """One hour: what was done and what failed, as heights from the bottom up."""

    x: int
    done_y: int
    done_height: int
    failed_y: int
    failed_height: int
    title: str


@dataclass(frozen=True)
class Throughput:
    """The bars of a day, oldest first, and their sums."""

    bars: list[Bar]
    done: int
    failed: int
    most: int

    @property
    def width(self) -> int:
        """Width of the picture."""
        return HOURS * _STEP

    @property
    def height(self) -> int:
        """Height of the picture."""
        return _HEIGHT


def throughput_of(unit: ProcessingUnit, now: datetime) -> Throughput:
    """Return the last day of a unit; looked up once a minute."""
    name = f"throughput-of-unit-{unit.pk}"
    found: Throughput | None = cache.get(name)
    if found is None:
        found = _looked_up(unit, now)
        cache.set(name, found, _KEPT_SECONDS)
    return found


def _looked_up(unit: ProcessingUnit, now: datetime) -> Throughput:
    last = now.replace(minute=0, second=0, microsecond=0)
    hours = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    ended = Job.objects.filter(unit=unit, ended__gte=hours[0], state__in=[JobState.DONE, JobState.FAILED])
    rows = ended.exclude(run__recipe=CANARY).order_by().annotate(hour=TruncHour("ended")).values_list("hour", "state")
    done: Counter[datetime] = Counter()
    failed: Counter[datetime] = Counter()
    for hour, state, number in rows.annotate(Count("pk")):
        (done if state == JobState.DONE else failed)[hour] = number
    most = max([done[hour] + failed[hour] for hour in hours], default=0)
    bars = [_bar(place, hour, done[hour], failed[hour], most) for place, hour in enumerate(hours)]
    return Throughput(bars, done.total(), failed.total(), most)


def _bar(place: int, hour: datetime, done: int, failed: int, most: int) -> Bar:
    scale = (_HEIGHT - 2) / max(1, most)
    of_done, of_failed = round(done * scale), round(failed * scale)
    title = f"{hour:%H}:00 UT: {done} done" + (f", {failed} failed" if failed else "")
    x = place * _STEP + (_STEP - _WIDTH) // 2
    return Bar(x, _HEIGHT - of_done, of_done, _HEIGHT - of_done - of_failed, of_failed, title)
