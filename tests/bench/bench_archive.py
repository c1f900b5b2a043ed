"""Pages of the archive at a million products: server time of each, held to the bar of 50 ms.

``python tests/bench/bench_archive.py [ROWS]`` makes a database of its own (SQLite), or fills the empty one that
AWPORTAL_DATABASE_URL names.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if TYPE_CHECKING:
    from archive.context import Context

BAR_MS = 50.0
ROUNDS = 100
LONGEST_SECONDS = 4.0


def main() -> None:
    """Fill the database, ask for the pages, print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as home:
        os.environ["AWPORTAL_HOME"] = home
        os.environ["DJANGO_SETTINGS_MODULE"] = "awportal.settings"
        (Path(home) / "static").mkdir()
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command

        settings.ALLOWED_HOSTS = ["testserver"]
        settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        call_command("migrate", verbosity=0)
        from tests.bench.many_products import fill

        begun = time.perf_counter()
        with _without_indexes():
            fill(rows)
        seconds = time.perf_counter() - begun
        print(f"{rows} products made in {seconds:.0f} s ({rows / seconds:.0f}/s), values taken up among it")
        _measure(rows)


@contextmanager
def _without_indexes() -> Iterator[None]:
    """Let rows be made while the table has no index but its key: indexes of many rows are made quicker at once."""
    from django.db import connection

    from archive.models import Product

    with connection.schema_editor() as editor:
        for index in Product._meta.indexes:
            editor.remove_index(Product, index)
    yield
    with connection.schema_editor() as editor:
        for index in Product._meta.indexes:
            editor.add_index(Product, index)
    if connection.vendor == "postgresql":  # which does this by itself, in time
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")


def _measure(rows: int) -> None:
    from django.contrib.auth.models import User
    from django.core.cache import cache
    from django.db import connection
    from django.test import Client

    from archive.context import context_of
    from awportal.listing import facets
    from tests.bench.many_products import pages

    user = User.objects.get(username="user3")
    browser, visitor = Client(), Client()
    browser.force_login(user)
    table = Table(title=f"the archive at {rows} products, {connection.vendor}: server time, ms; the bar is {BAR_MS:g}")
    for heading in ("page", "p50", "p99", "processor", "queries", ""):
        table.add_column(heading, justify="left" if heading in {"page", ""} else "right")
    asked: dict[str, Callable[[], object]] = {name: _asking(browser, path) for name, path in pages().items()}
    asked["first page, visitor"] = _asking(visitor, "/archive/")

    def afresh() -> None:
        cache.clear()
        facets(context_of(user))

    asked["filters' values, when something is new"] = afresh
    asked |= _choices(context_of(user))
    for name, ask in asked.items():
        p50, p99, busy = _times(ask)
        verdict = "met" if p99 <= BAR_MS else "p50 met" if p50 <= BAR_MS else "missed"
        table.add_row(name, f"{p50:.1f}", f"{p99:.1f}", f"{busy:.1f}", str(_queries(ask)), verdict)
    Console(width=120).print(table)


def _choices(context: Context) -> dict[str, Callable[[], object]]:
    """Return what asks for the calibrations of a thousand jobs: no page, but what every submission does."""
    from archive.calibration import Request, Wanted, choose_many
    from tests.bench.many_products import CALIBRATIONS, CHIPS, DAY, FIRST, NIGHTS

    at = FIRST + NIGHTS // 2 * DAY
    chips = [f"ccd{number % CHIPS}" for number in range(1000)]
    there = [
        Request((kind,), Wanted("mosaic", chip, "V", overscan_correction=6), at + number * DAY / 4000)
        for number, chip in enumerate(chips)
        for kind in CALIBRATIONS
    ]
    missing = [Request(("DarkFrame",), Wanted("mosaic", chip), at) for chip in chips]
    return {
        "(calibrations of 1,000 jobs, 5 each)": lambda: choose_many(context, there),
        "(the same, none there)": lambda: choose_many(context, missing),
    }


def _asking(browser: object, path: str) -> Callable[[], object]:
    def ask() -> object:
        answer = browser.get(path)  # type: ignore[attr-defined]
        if answer.status_code != 200:
            raise SystemExit(f"{path} answered {answer.status_code}")
        return answer

    return ask


def _times(ask: Callable[[], object]) -> tuple[float, float, float]:
    """Return median, 99th percentile and mean of the processor time [ms]; long pages are asked for less often."""
    ask()
    times: list[float] = []
    busy = time.process_time()
    while len(times) < ROUNDS and sum(times) < 1000 * LONGEST_SECONDS:
        begun = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - begun))
    busy = 1000 * (time.process_time() - busy) / len(times)
    times.sort()
    return times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)], busy


def _queries(ask: Callable[[], object]) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        ask()
    return len(captured)


if __name__ == "__main__":
    main()
