"""The simulated observatory's own night goes in as its README says."""

from collections import Counter
from pathlib import Path

import pytest

from archive.catalogues.ingest import Directions, ingest_catalogue
from archive.context import Context
from archive.ingest import ingest_many
from archive.instruments.simcam import CAMERA
from archive.models import Product
from dataserver.store import Store
from observatory.night import observe
from observatory.plan import Plan
from observatory.sky import COLOUR_TERM, EXTINCTION, ZEROPOINT


@pytest.mark.parametrize("overscan", [32, 0])
def test_a_simulated_night(tmp_path: Path, context: Context, store: Store, overscan: int) -> None:
    plan = Plan(
        chips=2, columns=64, rows=64, filters=("r",), biases=1, darks=1, dome_flats=1, twilight_flats=1, science=1,
        transfer_times=(), overscan=overscan, prescan=overscan // 4,
    )  # fmt: skip
    files = observe(tmp_path / "night", plan)
    outcomes = list(ingest_many([(path, path.name) for path in files], context, store))
    assert {outcome.state for outcome in outcomes} == {"ingested"}
    assert not any(outcome.notes for outcome in outcomes)
    frames = list(Product.objects.order_by("date_obs", "chip"))
    assert Counter(frame.kind for frame in frames) == dict.fromkeys(
        ("RawBias", "RawDark", "RawDomeFlat", "RawTwilightFlat", "RawScience"), 2
    )
    assert {frame.chip for frame in frames} == {"ccd1", "ccd2"}
    assert {(frame.instrument, frame.readout_mode, frame.night.isoformat()) for frame in frames} == {
        ("simcam", "default", "2026-03-14")}  # fmt: skip
    expected = {"nominal_gain": 1.5, "nominal_read_noise": 4.0, "saturation": 56000.0, "pixel_scale": 0.5}
    if overscan:
        expected |= {"data_section": "[9:72,1:64]", "prescan_x": "[1:8,1:64]", "overscan_x": "[73:104,1:64]"}
    for frame in frames:
        assert {name: frame.attributes.get(name) for name in expected} == expected
        assert ("overscan_x" in frame.attributes) == bool(overscan)
        assert (frame.filter_name == "r") == (frame.kind not in {"RawBias", "RawDark"})
    science = next(frame for frame in frames if frame.kind == "RawScience")
    assert (science.object_name, science.exposure_time) == ("SIMFIELD-1", 120.0)
    assert science.healpix is not None


def test_its_catalogue_goes_in_as_one_for_positions_and_magnitudes(
    tmp_path: Path, context: Context, store: Store
) -> None:
    plan = Plan(chips=1, columns=64, rows=64, biases=1, darks=0, dome_flats=0, twilight_flats=0, science=0,
                transfer_times=())  # fmt: skip
    observe(tmp_path, plan)
    path = tmp_path / "catalogues" / "simcat.fits"
    outcome = ingest_catalogue([(path, path.name)], Directions.parse("SimCat"), context, store)
    assert outcome.state == "ingested"
    about = Product.objects.get(pk=outcome.products[0]).attributes
    assert {name: about[name] for name in ("epoch", "system", "bands", "use", "has_proper_motions")} == {
        "epoch": 2016.0, "system": "AB", "bands": ["g", "r", "i", "z"], "use": ["astrometry", "photometry"],
        "has_proper_motions": True}  # fmt: skip
    assert about["position_error"] < 0.2


def test_its_filters_are_declared_as_they_are_simulated() -> None:
    for name, declared in CAMERA.photometry.items():
        assert (declared.band, declared.system, declared.colour) == (name, "AB", "g-r")
        assert (declared.colour_term, declared.extinction) == (COLOUR_TERM[name], EXTINCTION[name])
    assert set(CAMERA.photometry) == set(ZEROPOINT)
