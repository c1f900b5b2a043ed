"""An archive of many products, and the pages that people ask of it: for the bench, and small for a test."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.db import connection, transaction

from archive.facets import gather
from archive.models import Membership, Product, Profile, Project

NIGHTS = 1000
CHIPS = 32
FIRST = datetime.datetime(2020, 1, 1, 2, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
VALID = datetime.timedelta(days=14)
CALIBRATIONS = ("BiasFrame", "MasterFlatFrame", "HotPixelMap", "ColdPixelMap", "GainLinearity")
INSTRUMENTS = ("mosaic", "wide", "imager")
FILTERS = ("U", "B", "V", "R", "I")
FIELDS = 5000
# What all of them have. They came in long ago: what came in a moment ago is not in the table of values yet.
_ALIKE = {
    "readout_mode": "default", "temperature": None, "overscan_correction": 6, "parameters": "{}", "made_without": "[]",
    "attributes": '{"width": 2048, "height": 4096, "pixel_scale": 0.2}', "created": FIRST + 2 * NIGHTS * DAY,
    "recipe_version": "", "code_digest": "", "made_by_run": None, "made_by_job": None, "identity": None,
}  # fmt: skip
_BATCH = 10_000


def fill(rows: int) -> None:
    """Make `rows` products of 20 users in 5 projects: a sixth calibrations, 2 % flagged, 0.2 % called bad."""
    users = [User.objects.create_user(f"user{number}") for number in range(20)]
    projects = [Project.objects.create(name=f"project{number}") for number in range(5)]
    for number, user in enumerate(users):
        Membership.objects.create(user=user, project=projects[number % 5])
        Profile.objects.create(user=user, project=projects[number % 5])
    columns = [field for field in Product._meta.concrete_fields if not field.primary_key]
    defaults = [(field.attname, field.get_default()) for field in columns]
    names = ", ".join(f'"{field.column}"' for field in columns)
    # Past Django's own way, which takes five times as long; the names are its own.
    statement = f'INSERT INTO "{Product._meta.db_table}" ({names}) VALUES ({", ".join(["%s"] * len(columns))})'  # noqa: S608
    with transaction.atomic(), connection.cursor() as cursor:
        for batch in batched(_rows(rows, users, projects), _BATCH):
            cursor.executemany(statement, [[_stored(row.get(*of)) for of in defaults] for row in batch])
    gather(rows)


def batched(rows: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield lists of at most `size` rows."""
    waiting = iter(rows)
    while batch := list(islice(waiting, size)):
        yield batch


def _stored(value: Any) -> Any:
    """Return a value as the database takes it."""
    if isinstance(value, datetime.datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return connection.ops.adapt_datefield_value(value) if isinstance(value, datetime.date) else value


def _rows(rows: int, users: list[User], projects: list[Project]) -> Iterator[dict[str, Any]]:
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    dice = random.Random(1)
    fields = [(dice.uniform(0, 360), dice.uniform(-60, 30)) for _ in range(FIELDS)]
    spots = np.array(fields)
    healpix = lonlat_to_healpix(spots[:, 0] * units.deg, spots[:, 1] * units.deg, 2**12, order="nested")
    for number in range(rows):
        night = number * NIGHTS // rows
        moment = FIRST + night * DAY + datetime.timedelta(seconds=dice.randrange(36_000))
        is_calibration = number % 6 == 0
        kind = CALIBRATIONS[number // 6 % 5] if is_calibration else ("RawScience", "ReducedScienceFrame")[number % 2]
        field = dice.randrange(FIELDS)
        yield {
            **_ALIKE,
            "creator_id": users[number % 20].pk,
            "project_id": projects[number % 5].pk,
            "kind": kind,
            "name": f"{kind}_{number:07d}.fits",
            "sha256": f"{number:064x}",
            "file_size": 1,
            "instrument": INSTRUMENTS[min(dice.randrange(10) // 4, 2)],
            "chip": f"ccd{number // 30 % CHIPS}",
            "filter_name": dice.choice(FILTERS) if kind not in {"BiasFrame", "HotPixelMap", "GainLinearity"} else "",
            "date_obs": moment,
            "night": moment.date() - DAY,
            "exposure_time": dice.choice((0.0, 5.0, 30.0, 60.0, 120.0, 300.0, 600.0)),
            "object_name": "" if is_calibration else f"field {field:04d}",
            "ra": None if is_calibration else fields[field][0],
            "dec": None if is_calibration else fields[field][1],
            "healpix": None if is_calibration else int(healpix[field]),
            "privilege": dice.choice((1, 2, 2, 3, 4)),
            "is_valid": 0 if dice.random() < 0.002 else 2,
            "quality_flags": 4 if dice.random() < 0.02 else 0,
            "timestamp_start": moment - VALID if is_calibration else None,
            "timestamp_end": moment + VALID if is_calibration else None,
            "recipe": "" if kind == "RawScience" else "Made",
        }


def pages() -> dict[str, str]:
    """Return the pages that people ask for, by what they are: paths with their query."""
    middle = (FIRST + NIGHTS // 2 * DAY).date()
    week = f"night_from={middle}&night_to={middle + 7 * DAY}"
    queries = {
        "first page": "",
        "instrument": "instrument=imager",
        "a night": f"night={middle}",
        "a week": week,
        "nights from": f"night_from={middle}",
        "filter": "filter=V",
        "chip": "chip=ccd3",
        "kind": "kind=BiasFrame",
        "object": "object=field+0123",
        "part of many objects": "object=eld+0",
        "object that is not there": "object=nothing",
        "project": "project=project3",
        "quality: passed": "quality=passed",
        "quality: flagged": "quality=flagged",
        "quality: bad": "quality=bad",
        "validity: valid now": "validity=valid",
        "validity: not valid now": "validity=invalid",
        "calibrations valid then": f"kind={','.join(CALIBRATIONS)}&valid_at={middle}",
        "cone 0.1°": "ra=150&dec=-20&radius=0.1",
        "cone 1°": "ra=10:00:00&dec=-20:00:00&radius=1",
        "cone 10°": "ra=150&dec=-20&radius=10",
        "instrument, filter, chip": "instrument=imager&filter=V&chip=ccd3",
        "kind, chip, week": f"kind=RawScience&chip=ccd3&{week}",
        "kind, quality": "kind=ReducedScienceFrame&quality=flagged",
        "what cannot be together": "kind=BiasFrame&filter=V",
        "page 20": "page=20",
        "page 20 of a filter": "filter=V&page=20",
        "last page that is numbered": "page=200",
    }
    for order in ("name", "kind", "instrument", "chip", "filter", "date_obs", "exposure_time", "object", "-name"):
        queries[f"sorted by {order}"] = f"order={order}"
    queries["kind, sorted by name"] = "kind=RawScience&order=name"
    found = {name: f"/archive/?{query}" for name, query in queries.items()}
    found["nights"] = "/nights/"
    found["nights of one instrument, page 3"] = "/nights/?instrument=imager&page=3"
    some = Product.objects.filter(kind="RawScience", night__gte=middle).order_by("night", "date_obs", "pk")[0]
    found["log of a night"] = f"/nights/{some.instrument}/{some.night}/"
    found["calibration timestamps"] = "/calibrations/"
    found["calibration timestamps of a kind"] = "/calibrations/?instrument=imager&chip=ccd3&kind=BiasFrame"
    found["API: 100 products"] = "/api/v1/products?limit=100"
    found["API: a kind and chip"] = "/api/v1/products?kind=RawScience&chip=ccd3&limit=100"
    return found
