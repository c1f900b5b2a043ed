"""FringeFlat against the true fringes of a simulated chip, a filter without any, and the real fringes of XO-1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from observatory.camera import FRINGE_AMPLITUDE
from observatory.night import observe
from observatory.plan import Plan
from recipes.bias import bias
from recipes.ccd.fringe_exposures import FringeExposure, expose
from recipes.ccd.fringe_removal import fit_fringes
from recipes.ccd.sky_stack import stack_sky
from recipes.dark import dark
from recipes.dome_flat import dome_flat
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.fringe_flat import fringe_flat
from recipes.masks import FRINGE_UNTRUSTED, NO_DATA
from recipes.master_flat import master_flat
from recipes.products import Outcome
from recipes.quality import COUNT, UNCERTAIN, judge
from recipes.read_noise import read_noise
from recipes.reduce import reduce
from recipes.values import GainLinearity
from tests.recipes.observed import Observed, as_frame
from tests.recipes.test_reduce_real_frames import raw


def reduced_night(folder: Path, filter_: str) -> tuple[Observed, list[Frame]]:
    """Return a night of one chip in one filter and its science exposures, reduced with the true flat."""
    observe(folder, Plan(chips=1, columns=512, rows=576, seed=21, biases=5, darks=0, dome_flats=0, transfer_times=(),
                         twilight_flats=0, science=8, trails=0, filters=(filter_,)))  # fmt: skip
    night = Observed(folder)
    bias_frame = as_frame(bias([night.raw(note) for note in night.of_type("BIAS")], night.read_noise).products[0])
    frames = []
    for note in night.of_type("SCIENCE"):
        made = reduce(night.raw(note, night="2026-03-14"), bias_frame, night.flat, night.hot, night.cold, night.gain,
                      night.read_noise)  # fmt: skip
        frames.append(as_frame(made.products[0]))
        frames[-1].name = note["file"]
    return night, frames


@pytest.fixture(scope="module")
def with_fringes(tmp_path_factory) -> tuple[Observed, list[Frame]]:
    return reduced_night(tmp_path_factory.mktemp("z"), "z")


@pytest.fixture(scope="module")
def without_fringes(tmp_path_factory) -> list[Frame]:
    return reduced_night(tmp_path_factory.mktemp("r"), "r")[1]


@pytest.fixture(scope="module")
def outcome(with_fringes) -> Outcome:
    return fringe_flat(with_fringes[1])


def values(outcome: Outcome) -> dict[str, float]:
    return {value.name: value.value for value in outcome.products[0].measured}


def flags(outcome: Outcome) -> int:
    return judge("FringeFrame", outcome.products[0].measured, {})[1]


def test_the_map_is_the_true_pattern(with_fringes, outcome):
    content = outcome.products[0].content
    good = content.mask == 0
    truth = FRINGE_AMPLITUDE["z"] * with_fringes[0].truth("FRINGE_Z")
    truth = truth - truth[good].mean()
    left = (content.data - truth)[good]
    assert np.var(left) < 0.03 * np.var(truth)
    assert np.corrcoef(content.data[good], truth[good])[0, 1] > 0.985
    assert abs(content.data[good].mean()) < 1e-3
    # The smoothed map's errors hang together over a fringe, so their scatter is known less well than a pixel's.
    assert np.std(left / np.sqrt(content.variance[good])) == pytest.approx(1, abs=0.3)


def test_amplitude_and_its_significance_are_measured(with_fringes, outcome):
    truth = float(np.std(FRINGE_AMPLITUDE["z"] * with_fringes[0].truth("FRINGE_Z")))
    found = {value.name: value for value in outcome.products[0].measured}
    # Halves that lack the masked pixels lack their part of the power: 6 % of the pixels.
    assert found["fringe_amplitude"].value == pytest.approx(truth, rel=0.08)
    assert found["fringe_amplitude"].error < 0.05 * truth
    assert found["fringe_significance"].value > 20
    assert flags(outcome) & UNCERTAIN == 0
    assert outcome.products[0].attributes.fringe_amplitude == found["fringe_amplitude"].value


def test_what_few_frames_show_is_untrusted_and_filled(with_fringes, outcome):
    content = outcome.products[0].content
    untrusted = content.mask == FRINGE_UNTRUSTED
    assert values(outcome)["untrusted_fraction"] == pytest.approx(untrusted.mean())
    assert 0 < untrusted.mean() < 0.15
    assert np.isfinite(content.data).all()
    assert (content.variance > 0).all()
    assert np.median(content.variance[untrusted]) > 3 * np.median(content.variance[~untrusted])


def test_a_frame_held_out_is_mended(with_fringes):
    night, frames = with_fringes
    content = fringe_flat(frames[:7]).products[0].content
    held, _ = expose(frames[7], 128)
    data, _ = held.strip(0, frames[7].shape[0])
    seen = np.isfinite(data) & (content.mask == 0)
    scale = np.sum((data * content.data)[seen]) / np.sum(content.data[seen] ** 2)
    assert scale == pytest.approx(1, abs=0.06)
    truth = FRINGE_AMPLITUDE["z"] * night.truth("FRINGE_Z")
    before = np.mean((data * truth)[seen])
    after = np.mean(((data - scale * content.data) * truth)[seen])
    assert abs(after) < 0.1 * before
    assert np.std((data - scale * content.data)[seen]) < np.std(data[seen])


def test_a_night_without_fringes_is_flagged(without_fringes):
    outcome = fringe_flat(without_fringes)
    found = {value.name: value for value in outcome.products[0].measured}
    assert found["fringe_amplitude"].value < 4 * found["fringe_amplitude"].error
    assert found["fringe_significance"].value < 5
    assert flags(outcome) & UNCERTAIN
    assert any("no fringes in common" in note for note in outcome.products[0].notes)
    content = outcome.products[0].content
    good = content.mask == 0
    # What noise is in the map is what its variance says.
    assert np.std(content.data[good] / np.sqrt(content.variance[good])) == pytest.approx(1, abs=0.3)


def test_nights_are_not_mixed_and_fringes_not_taken_twice(with_fringes):
    frames = with_fringes[1][:5]
    other = Frame(frames[0].data, attributes=frames[0].attributes.model_copy(update={"night": "2026-03-15"}), name="o")
    with pytest.raises(UsageError, match="o is of the night 2026-03-15"):
        fringe_flat([*frames, other])
    done = Frame(frames[0].data, attributes=frames[0].attributes.model_copy(update={"fringe_scale": 1.1}), name="d")
    with pytest.raises(UsageError, match="fringes of d were subtracted already"):
        fringe_flat([*frames, done])
    with pytest.raises(UsageError, match="at least 5 frames, got 4"):
        fringe_flat(frames[:4])
    with pytest.raises(UsageError, match="look at 1 different place"):
        fringe_flat([frames[0]] * 5)


def test_frames_without_sky_are_left_out_by_name(with_fringes):
    frames = with_fringes[1]
    dark_frame = Frame(np.zeros_like(frames[0].data), attributes=frames[0].attributes, name="no sky")
    lost = Frame(frames[0].data, mask=np.full(frames[0].shape, NO_DATA), attributes=frames[0].attributes, name="lost")
    outcome = fringe_flat([*frames[:5], dark_frame, lost])
    assert {entry.name for entry in outcome.left_out} == {"no sky", "lost"}
    with pytest.raises(UsageError, match="4 of the 5 frames show enough sky"):
        fringe_flat([*frames[:4], lost])


def test_the_map_before_is_compared_with(with_fringes, outcome):
    again = fringe_flat(with_fringes[1][:6], as_frame(outcome.products[0]))
    assert values(again)["correlation_with_previous"] > 0.95


def test_few_pointings_are_flagged(with_fringes):
    frames = with_fringes[1]
    outcome = fringe_flat([frames[0], frames[0], frames[3], frames[6], frames[7]])
    assert values(outcome)["pointings"] <= 4
    assert flags(outcome) & COUNT


class Xo1:
    """The z frames of XO-1, reduced with the night's own calibrations."""

    def __init__(self, folder: Path) -> None:
        frames = {kind: [raw(path, {}) for path in sorted((folder / kind).iterdir())]
                  for kind in ("bias", "dark", "domeflat_z", "science_z")}  # fmt: skip
        gain, noise = GainLinearity(1.340), read_noise(frames["bias"]).products[0].content
        bias_frame = as_frame(bias(frames["bias"]).products[0])
        dark_frame = as_frame(dark(frames["dark"], bias_frame).products[0])
        dome = as_frame(dome_flat(frames["domeflat_z"], bias_frame, None, gain, None, dark_frame).products[0])
        flat = as_frame(master_flat(dome).products[0])
        self.frames = []
        for frame in frames["science_z"]:
            made = reduce(frame, bias_frame, flat, None, None, gain, noise, dark_frame)
            self.frames.append(as_frame(made.products[0]))
            self.frames[-1].name = frame.name


def band(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what lies between Gaussians of 6 and 60 pixels, masked pixels left out."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0).astype(float)
    smooth = [
        gaussian_filter(filled, sigma) / np.maximum(gaussian_filter(known.astype(float), sigma), 1e-3)
        for sigma in (6, 60)
    ]
    return smooth[0] - smooth[1]


def rows_of(exposure: FringeExposure) -> NDArray[np.float32]:
    return exposure.strip(0, exposure.frame.shape[0])[0]


@pytest.fixture(scope="module")
def xo1(real_frames: Path) -> Xo1:
    return Xo1(real_frames / "arcsat_xo1_z_2025")


@pytest.mark.real_frames
def test_xo1_frames_held_out_of_the_map_lose_their_fringes(xo1: Xo1):
    frames = xo1.frames
    exposures = [expose(frame, 128)[0] for frame in frames]
    ratios, worse = [], []
    for held in (1, 6):
        others = [index for index in range(10) if index != held]
        mine, theirs = others[0::2], others[1::2]  # five of the map, four that it is judged by
        content = fringe_flat([frames[index] for index in mine]).products[0].content
        judge_ = stack_sky([exposures[index].strip for index in theirs], frames[0].shape, 3.0).median
        data = rows_of(exposures[held])
        seen = np.isfinite(data) & (content.mask == 0)
        scale = fit_fringes(
            np.array(frames[held].data, np.float32), frames[held].mask != 0, content, 5.0
        )  # as Reduce does
        assert scale.significance > 20
        mended = data - scale.value / exposures[held].level * content.data
        of_map = band(judge_)
        before, after = (float(np.mean((band(image) * of_map)[seen])) for image in (data, mended))
        ratios.append(abs(after) / before)
        worse.append(np.std(mended[seen]) / np.std(data[seen]))
    assert max(ratios) <= 0.2
    assert max(worse) < 1


@pytest.mark.real_frames
def test_xo1_fringes_are_what_its_source_text_says(xo1: Xo1):
    outcome = fringe_flat(xo1.frames)
    found = values(outcome)
    assert found["fringe_significance"] > 10
    content = outcome.products[0].content
    # 0.8 % rms, over the inner part: the edges' response differs.
    inner = (slice(64, -64), slice(64, -64))
    assert np.std(band(content.data)[inner]) == pytest.approx(0.008, abs=0.003)
    assert found["pointings"] >= 5
