"""Reduce on simulated cameras of one and many chips, with and without overscan, against their truth."""

import numpy as np
import pytest
from scipy import ndimage

from observatory.night import observe
from observatory.plan import Plan
from recipes.bias import bias
from recipes.masks import COSMIC_RAY, SATELLITE
from recipes.reduce import reduce
from tests.recipes.observed import Observed, as_frame

CAMERAS = {
    "one chip": {"chips": 1, "columns": 448, "rows": 512, "seed": 31},
    "many chips": {"chips": 2, "columns": 384, "rows": 448, "seed": 32},
    "no overscan": {"chips": 1, "columns": 448, "rows": 512, "seed": 33, "overscan": 0, "prescan": 0},
}


@pytest.fixture(scope="module", params=CAMERAS)
def reductions(request, tmp_path_factory):
    """Return for each chip its truth and its exposures reduced, the second with a satellite."""
    folder = tmp_path_factory.mktemp("camera")
    observe(folder, Plan(**CAMERAS[request.param], biases=7, darks=0, dome_flats=0, transfer_times=(),
                         twilight_flats=0, science=2))  # fmt: skip
    names = [chip["chip"] for chip in Observed(folder).notes["chips"]]
    made = []
    for chip in (Observed(folder, name) for name in names):
        master = bias([chip.raw(note) for note in chip.of_type("BIAS")], chip.read_noise).products[0]
        for note in chip.of_type("SCIENCE"):
            outcome = reduce(chip.raw(note), as_frame(master), chip.flat, chip.hot, chip.cold, chip.gain,
                             chip.read_noise)  # fmt: skip
            made.append((chip, note, outcome.products[0].content))
    return made


def expected_of(chip, note):
    return chip.truth("EXPECTED", note) + chip.truth("DARK") * note["exposure_time"] / chip.flat.data


def untouched(chip, note, frame):
    """Return the good pixels that no cosmic ray and no trail touched."""
    return (frame.mask == 0) & ~chip.where("COSMIC", note) & ~chip.where("TRAIL", note)


def level_error(chip, note, frame):
    """Return by how much the frame's level is off where no overscan tells it: the camera's drifts by 3 adu."""
    if chip.raw(note).attributes.overscan_x:
        return 0.0
    good = untouched(chip, note, frame)
    offset = float(np.median((frame.data - expected_of(chip, note))[good]))
    assert abs(offset) < 5 * 3.0 * np.sqrt(1 + 1 / 7) * chip.about["gain"]
    return offset


def test_pulls_are_of_width_one(reductions) -> None:
    for chip, note, frame in reductions:
        good = untouched(chip, note, frame)
        level = expected_of(chip, note) + level_error(chip, note, frame)
        pull = ((frame.data - level) / np.sqrt(frame.variance))[good]
        assert pull.std() == pytest.approx(1.0, abs=0.05)
        assert abs(np.median(pull)) < 0.05


def test_the_light_of_stars_is_kept(reductions) -> None:
    for chip, note, frame in reductions:
        expected = expected_of(chip, note)
        sky = np.median(expected)
        stars = (expected > 1.5 * sky) & untouched(chip, note, frame)
        light = (expected - sky)[stars].sum()
        lost = (frame.data - expected - level_error(chip, note, frame))[stars].sum()
        # Poisson noise of the same pixels, and a gain that is known to a few thousandths by its digits
        assert abs(lost) < 5 * np.sqrt(frame.variance[stars].sum(dtype=float)) + 0.003 * light


def test_cosmic_rays_are_masked_and_cores_of_stars_are_not(reductions) -> None:
    strong = found = in_cores = cores = 0
    for chip, note, frame in reductions:
        table = chip.truth("COSMIC", note)
        electrons = np.zeros(frame.shape)
        electrons[table["Y"], table["X"]] = table["ELECTRON"]
        expected = expected_of(chip, note)
        hit = (frame.mask & COSMIC_RAY) != 0
        others = (frame.mask & ~np.uint16(COSMIC_RAY)) != 0
        bright = (electrons > 8 * np.sqrt(expected)) & ~others
        strong += bright.sum()
        found += (bright & hit).sum()
        near = ndimage.binary_dilation(electrons > 0, np.ones((3, 3)))
        core = (expected > 3 * np.median(expected)) & ~near & ~others
        cores += core.sum()
        in_cores += (core & hit).sum()
    assert strong > 100
    assert found / strong > 0.95  # of some 300 pixels of 60 hits, whose pixels are lost together
    assert in_cores <= 0.002 * cores


def test_the_trail_is_masked(reductions) -> None:
    for chip, note, frame in reductions:
        masked = (frame.mask & SATELLITE) != 0
        on_trail = chip.where("TRAIL", note)
        if not on_trail.any():
            assert not masked.any()
        elif on_trail.any(axis=1).sum() > 0.5 * frame.shape[0] or on_trail.any(axis=0).sum() > 0.5 * frame.shape[1]:
            assert (masked & on_trail).sum() > 0.97 * on_trail.sum()
