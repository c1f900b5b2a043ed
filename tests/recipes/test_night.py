"""A night of the simulated observatory from raw frames to sources, every calibration measured by its recipe."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from observatory.night import observe
from observatory.plan import Plan
from recipes.bias import bias
from recipes.cold_pixels import cold_pixels
from recipes.dark import dark
from recipes.dome_flat import dome_flat
from recipes.gain import gain
from recipes.hot_pixels import hot_pixels
from recipes.master_flat import master_flat
from recipes.read_noise import read_noise
from recipes.reduce import reduce
from recipes.source_list import source_list
from recipes.twilight_flat import twilight_flat
from tests.recipes.observed import Observed, as_frame


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Reduce one chip; what each recipe made, by its name."""
    folder = tmp_path_factory.mktemp("night")
    observe(folder, Plan(chips=1, columns=384, rows=512, seed=3, science=2, trails=0))
    chip = Observed(folder)
    raw = {kind: [chip.raw(note) for note in chip.of_type(kind)] for kind in ("BIAS", "DARK", "DOMEFLAT", "TWILIGHT")}

    def made(outcome):
        return as_frame(outcome.products[0])

    n = SimpleNamespace(chip=chip)
    n.read_noise = read_noise(raw["BIAS"]).products[0].content
    n.bias = made(bias(raw["BIAS"], n.read_noise))
    n.gain = gain(raw["DOMEFLAT"], n.bias, n.read_noise).products[0].content
    n.dark = made(dark(raw["DARK"], n.bias, n.gain))
    n.hot = made(hot_pixels(n.bias, n.dark))
    flats = [frame for frame in raw["DOMEFLAT"] if frame.attributes.exposure_time == 8.0]
    n.dome_flat = made(dome_flat(flats, n.bias, n.hot, n.gain))
    n.cold = made(cold_pixels(n.dome_flat))
    n.twilight = twilight_flat(raw["TWILIGHT"], n.bias, n.hot, n.gain, n.cold)
    n.flat = made(master_flat(n.dome_flat, made(n.twilight), n.hot, n.cold))
    science = [chip.raw(note) for note in chip.of_type("SCIENCE")]
    n.reduced = [reduce(frame, n.bias, n.flat, n.hot, n.cold, n.gain, n.read_noise, n.dark) for frame in science]
    n.sources = [source_list(made(outcome)).products[0] for outcome in n.reduced]
    return n


def test_read_noise_and_gain_are_those_of_the_chip(night) -> None:
    about = night.chip.about
    assert night.read_noise.read_noise == pytest.approx(about["read_noise_digitised"], rel=0.01)
    assert night.gain.gain == pytest.approx(about["gain"], rel=0.01)


def test_pixel_maps_hold_the_defects(night) -> None:
    hot = night.chip.truth("HOT")
    glowing = hot[hot["OFFSET"] > 20]  # adu, against 1.6 adu of noise in the master bias
    assert (night.hot.mask[glowing["Y"], glowing["X"]] != 0).mean() > 0.97
    cold = night.chip.truth("COLD")
    plain = cold[(cold["RESPONSE"] < 0.8)]
    assert (night.cold.mask[plain["Y"], plain["X"]] != 0).mean() > 0.97


def test_the_saturated_twilight_is_left_out(night) -> None:
    assert [entry.name for entry in night.twilight.left_out] == [night.chip.of_type("TWILIGHT")[0]["file"]]


def test_the_flat_is_that_of_the_sky(night) -> None:
    good = (night.flat.mask | night.hot.mask | night.cold.mask) == 0
    ratio = (night.flat.data / night.chip.flat.data)[good]
    # Six flats of 35 000 electrons: 0.22 per cent a pixel. The dome alone would be off by 2 per cent across the chip.
    assert ratio.std() < 0.004
    _, columns = np.nonzero(good)
    slope = np.polyfit(columns / night.flat.shape[1], ratio, 1)[0]
    assert abs(slope) < 0.003


def test_pull_of_the_reduced_frames_is_of_width_one(night) -> None:
    for outcome, note in zip(night.reduced, night.chip.of_type("SCIENCE"), strict=True):
        frame = outcome.products[0].content
        expected = night.chip.truth("EXPECTED", note)
        good = (
            (frame.mask == 0) & ~night.chip.where("COSMIC", note) & ~night.chip.where("HOT") & ~night.chip.where("COLD")
        )
        ratio = np.median(frame.data[good] / expected[good])
        # The gain's own error is common to all pixels; so is the flat's mean.
        assert ratio == pytest.approx(1.0, abs=0.01)
        pull = (frame.data - ratio * expected)[good] / np.sqrt(frame.variance[good])
        assert np.mean(np.abs(pull) > 6) < 3e-5
        assert pull[np.abs(pull) < 6].std() == pytest.approx(1.0, abs=0.05)
        assert outcome.left_out == ()
        assert outcome.products[0].made_without == []


def test_sources_agree_between_dithers(night) -> None:
    first, second = (
        {name: column.values for name, column in product.content.columns.items()} for product in night.sources
    )
    assert len(first["NUMBER"]) > 50
    # The same star on other pixels: fluxes agree within the errors, so the flat is right.
    errors = [note["pointing_error"] for note in night.chip.of_type("SCIENCE")]
    dec = np.deg2rad(first["DELTAWIN_J2000"].mean())
    shift = [(errors[0][axis] - errors[1][axis]) / 3600 for axis in (0, 1)]
    east = (first["ALPHAWIN_J2000"][:, None] - second["ALPHAWIN_J2000"]) * np.cos(dec) - shift[0]
    north = first["DELTAWIN_J2000"][:, None] - second["DELTAWIN_J2000"] - shift[1]
    i, j = np.nonzero(3600 * np.hypot(east, north) < 0.5)
    good = (first["FLAGS"][i] == 0) & (second["FLAGS"][j] == 0) & (first["FLUX_AUTO"][i] > 10_000)
    good &= (first["IMAFLAGS_ISO"][i] == 0) & (second["IMAFLAGS_ISO"][j] == 0)
    ratio = first["FLUX_APER"][i, 2][good] / second["FLUX_APER"][j, 2][good]
    assert good.sum() >= 8
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
