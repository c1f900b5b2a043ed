"""A million products: how long choosing, listing and searching take. ``python tests/bench/archive_million.py [ROWS]``

It makes a database of its own in a temporary folder (SQLite), or fills the empty one that AWPORTAL_DATABASE_URL names.
"""

from __future__ import annotations

import datetime
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

NIGHTS = 1000
CHIPS = 32
FIRST = datetime.datetime(2020, 1, 1, 2, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
CALIBRATIONS = ("BiasFrame", "MasterFlatFrame", "HotPixelMap", "ColdPixelMap", "GainLinearity")


def main() -> None:
    """Fill the database and print a table of times."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as home:
        os.environ["AWPORTAL_HOME"] = home
        os.environ["DJANGO_SETTINGS_MODULE"] = "awportal.settings"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        begun = time.perf_counter()
        _fill(rows)
        print(f"{rows} products made in {time.perf_counter() - begun:.0f} s")
        _measure()


def _fill(rows: int) -> None:
    from django.contrib.auth.models import User
    from django.db import connection, transaction

    from archive.models import Membership, Product, Project

    users = [User.objects.create_user(f"user{number}") for number in range(20)]
    projects = [Project.objects.create(name=f"project{number}") for number in range(5)]
    for number, user in enumerate(users):
        Membership.objects.create(user=user, project=projects[number % 5])
    dice = random.Random(1)
    batch: list[Any] = []
    for fields in _rows(rows, dice):
        batch.append(
            Product(creator=users[fields["number"] % 20], project=projects[fields.pop("number") % 5], **fields)
        )
        if len(batch) == 10_000:
            with transaction.atomic():
                Product.objects.bulk_create(batch, batch_size=2000)
            batch.clear()
    Product.objects.bulk_create(batch, batch_size=2000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _rows(rows: int, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Yield products: of every night and chip a set of calibrations, the rest exposures."""
    around = datetime.timedelta(days=14)
    for number in range(rows):
        night = number * NIGHTS // rows
        moment = FIRST + night * DAY + datetime.timedelta(seconds=dice.randrange(36_000))
        is_calibration = number % 6 == 0
        kind = CALIBRATIONS[number // 6 % 5] if is_calibration else ("RawScience", "ReducedScienceFrame")[number % 2]
        per_filter = kind not in {"BiasFrame", "HotPixelMap", "GainLinearity"}
        ra, dec = dice.uniform(0, 360), dice.uniform(-90, 30)
        yield {
            "number": number,
            "kind": kind,
            "name": f"{kind}_{number}.fits",
            "sha256": f"{number:064x}",
            "file_size": 1,
            "instrument": "mosaic",
            "chip": f"ccd{number // 30 % CHIPS}",
            "filter_name": "V" if per_filter else "",
            "date_obs": moment,
            "night": moment.date() - DAY,
            "ra": None if is_calibration else ra,
            "dec": None if is_calibration else dec,
            "healpix": None if is_calibration else dice.randrange(12 * 4**12),
            "attributes": {"width": 2048, "height": 4096, "pixel_scale": 0.2, "object": "a field somewhere"},
            "overscan_correction": 6,
            "privilege": dice.choice((1, 2, 2, 3, 4)),
            "timestamp_start": moment - around if is_calibration else None,
            "timestamp_end": moment + around if is_calibration else None,
        }


def _measure() -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from archive.calibration import Request, Wanted, choose_many
    from archive.context import VISITOR, Context
    from archive.queries import Selection, select

    context = Context(User.objects.get(username="user3"))
    at = FIRST + NIGHTS // 2 * DAY
    requests = [
        Request((kind,), Wanted("mosaic", f"ccd{number % CHIPS}", "V", overscan_correction=6), at + number * DAY / 4000)
        for number in range(1000)
        for kind in CALIBRATIONS
    ]
    missing = [Request(("DarkFrame",), Wanted("mosaic", f"ccd{number % CHIPS}"), at) for number in range(1000)]
    night = (at - DAY).date().isoformat()
    questions: dict[str, Callable[[], object]] = {
        "calibrations of 1,000 jobs (5 each)": lambda: choose_many(context, requests),
        "the same, none there": lambda: choose_many(context, missing),
        "first page, visitor": lambda: list(select(VISITOR)[:50]),
        "first page, user": lambda: list(select(context)[:50]),
        "a night's science": lambda: list(select(context, Selection.parse({"night": night, "kind": "RawScience"}))),
        "biases of a chip": lambda: list(select(context, Selection.parse({"kind": "BiasFrame", "chip": "ccd3"}))[:50]),
        "a cone of 0.5 degrees": lambda: list(select(context, Selection(cone=(150.0, -20.0, 0.5)))),
        "count of a night": lambda: select(context, Selection.parse({"night": night})).count(),
    }
    for name, ask in questions.items():
        ask()
        with CaptureQueriesContext(
            connection,
        ) as captured:
            begun = time.perf_counter()
            ask()
            seconds = time.perf_counter() - begun
        print(f"{name:40s} {1000 * seconds:9.1f} ms  {len(captured)} queries")


if __name__ == "__main__":
    main()
