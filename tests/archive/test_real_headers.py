"""The real sets, whole: every attribute as their SOURCE.txt says."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from archive.context import Context
from archive.ingest import AlreadyThere, Ingested, Refused, ingest_many
from archive.models import Product
from dataserver.store import Store

COMMON = ("instrument", "chip", "readout_mode", "night", "data_section", "overscan_x", "nominal_gain")
pytestmark = [pytest.mark.real_frames, pytest.mark.django_db]


def ingest(folder: Path, context: Context, store: Store, **told: Any) -> list[Ingested | AlreadyThere | Refused]:
    files = sorted(path for path in folder.rglob("*.gz"))
    return list(ingest_many([(path, str(path.relative_to(folder.parent))) for path in files], context, store, **told))


def kinds(user: User) -> Counter[str]:
    return Counter(Product.objects.filter(creator=user).values_list("kind", flat=True))


def shared(products: list[Product], *names: str) -> list[Any]:
    """Return the one value that all products have of each attribute."""
    values = [
        {repr(product.attributes.get(name)): product.attributes.get(name) for product in products} for name in names
    ]
    assert all(len(found) == 1 for found in values), values
    return [next(iter(found.values())) for found in values]


def test_nickel(real_frames: Path, context: Context, alice: User, store: Store) -> None:
    outcomes = ingest(real_frames / "nickel_lick_v_2024", context, store)
    assert {outcome.state for outcome in outcomes} == {"ingested"}
    assert kinds(alice) == {"RawBias": 10, "RawTwilightFlat": 3, "RawScience": 6}
    frames = list(Product.objects.order_by("date_obs"))
    assert shared(frames, *COMMON) == [
        "nickel", "1", "bin2x2", "2024-05-12", "[1:1024,1:1024]", "[1025:1056,1:1024]", None]  # fmt: skip
    assert frames[0].attributes["date_obs"] == "2024-05-13T01:59:58.110"  # DATE-BEG
    assert frames[0].night.isoformat() == "2024-05-12"
    flats = [frame for frame in frames if frame.kind == "RawTwilightFlat"]
    assert {frame.filter_name for frame in flats} == {"V"}
    assert {frame.filter_name for frame in frames if frame.kind == "RawBias"} == {""}  # the wheel stood at B
    objects = {frame.object_name: frame for frame in frames if frame.kind == "RawScience"}
    assert set(objects) == {"PG1323-085", "PG1530+057", "NGC_4147", "NGC_3982", "NGC_6205", "UGC_9837"}
    assert [objects[name].exposure_time for name in ("PG1323-085", "NGC_3982", "UGC_9837")] == [60, 120, 600]
    landolt = objects["PG1323-085"]
    assert (landolt.ra, landolt.dec) == pytest.approx((201.415125, -8.824583), abs=1e-5)
    assert landolt.attributes["pixel_scale"] == pytest.approx(0.370, abs=0.001)
    assert landolt.attributes["airmass"] == pytest.approx(1.594, abs=0.001)
    assert landolt.temperature == pytest.approx(-109.2, abs=0.05)


def test_nickel_would_be_understood_without_its_own_file(real_frames: Path, context: Context, store: Store) -> None:
    folder = real_frames / "nickel_lick_v_2024"
    outcomes = ingest(folder, context, store, instrument="somecamera")
    assert Counter(outcome.kind for outcome in outcomes) == {"RawBias": 10, "RawTwilightFlat": 3, "RawScience": 6}
    frames = list(Product.objects.all())
    assert shared(frames, "night", "overscan_x", "nominal_gain") == ["2024-05-12", "[1025:1056,1:1024]", None]


def test_arcsat(real_frames: Path, context: Context, alice: User, store: Store) -> None:
    outcomes = ingest(real_frames / "arcsat_xo1_z_2025", context, store)
    assert {outcome.state for outcome in outcomes} == {"ingested"}
    assert kinds(alice) == {"RawBias": 5, "RawDark": 3, "RawDomeFlat": 5, "RawScience": 10}
    frames = list(Product.objects.order_by("date_obs"))
    assert shared(frames, *COMMON) == [
        "arcsat", "1", "default", "2025-06-01", None, None, None]  # fmt: skip
    science = [frame for frame in frames if frame.kind == "RawScience"]
    assert {(frame.filter_name, frame.object_name, frame.exposure_time) for frame in science} == {("z", "XO1-b", 60.0)}
    assert {frame.filter_name for frame in frames if frame.kind in {"RawBias", "RawDark"}} == {""}
    assert all(76 <= frame.exposure_time <= 83.5 for frame in frames if frame.kind == "RawDomeFlat")
    assert max(frame.attributes.get("airmass", 0) for frame in science) < 2
    wrong = next(frame for frame in science if frame.name.endswith("060016.fits.gz"))
    assert "airmass" not in wrong.attributes
    assert wrong.attributes["notes"] == ["an airmass of 13.37 cannot be: not used"]
    assert {round(frame.attributes["pixel_scale"], 2) for frame in frames} == {0.67}  # also without a WCS
    assert (science[0].ra, science[0].dec) == pytest.approx((240.549, 28.1696), abs=1e-3)
    assert "1AJSF" not in str([frame.attributes for frame in frames])


def test_sbig_whose_flats_are_called_light_frames(
    real_frames: Path, context: Context, alice: User, store: Store
) -> None:
    folder = real_frames / "sbig_stl1001_cal_2017"
    outcomes = ingest(folder, context, store)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    assert [(outcome.suggested_type, outcome.hint[:25]) for outcome in refused] == [
        ("RawDomeFlat", "tell its type at ingest: ")] * 5  # fmt: skip
    assert kinds(alice) == {"RawBias": 8, "RawDark": 7}
    assert [outcome.state for outcome in ingest(folder / "domeflat", context, store, type="domeflat")] == [
        "ingested"
    ] * 5
    frames = list(Product.objects.order_by("date_obs"))
    assert shared(frames, "instrument", "chip", "overscan_x", "nominal_gain") == ["sbig_stl1001", "1", None, 2.06]
    assert sorted(frame.exposure_time for frame in frames if frame.kind == "RawDark") == [10, 30, 60, 60, 60, 150, 300]
    assert {(frame.exposure_time, frame.filter_name) for frame in frames if frame.kind == "RawDomeFlat"} == {
        (23.0, "Visible")}  # fmt: skip
    colder = [frame.temperature for frame in frames if "Neg10" in frame.name]
    assert len(colder) == 3
    assert all(value == pytest.approx(-10, abs=0.5) for value in colder)
    assert all(frame.temperature == pytest.approx(-5, abs=0.5) for frame in frames if "Neg5" in frame.name)
    assert {frame.night.isoformat() for frame in frames} == {"2017-09-08"}


def test_sbig_with_the_suggestion_accepted(real_frames: Path, context: Context, alice: User, store: Store) -> None:
    folder = real_frames / "sbig_stl1001_cal_2017"
    outcomes = ingest(folder, context, store, type="suggested")
    assert {outcome.state for outcome in outcomes} == {"ingested"}
    assert kinds(alice) == {"RawBias": 8, "RawDark": 7, "RawDomeFlat": 5}


def test_ingesting_twice_adds_nothing_and_the_files_are_as_they_were(
    real_frames: Path, context: Context, store: Store
) -> None:
    folder = real_frames / "nickel_lick_v_2024" / "bias"
    ingest(folder, context, store)
    before = list(Product.objects.values_list("pk", "sha256").order_by("pk"))
    assert {outcome.state for outcome in ingest(folder, context, store)} == {"already_there"}
    assert list(Product.objects.values_list("pk", "sha256").order_by("pk")) == before
    product = Product.objects.get(name="d1001.fits.gz")
    assert store.path(product.sha256).read_bytes() == (folder / "d1001.fits.gz").read_bytes()
