"""How flat the sky of real frames is after our reduction, beside ccdproc's plain division by the dome flat."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from recipes.bias import bias
from recipes.ccd.fringe_exposures import expose
from recipes.ccd.sub_windows import sub_window_statistics
from recipes.dark import dark
from recipes.dome_flat import dome_flat
from recipes.frame import Frame
from recipes.master_flat import master_flat
from recipes.night_sky_flat import night_sky_flat
from recipes.read_noise import read_noise
from recipes.reduce import reduce
from recipes.values import GainLinearity
from tests.peers.report import record
from tests.recipes.observed import as_frame
from tests.recipes.test_reduce_real_frames import raw

HELD = (2, 7)  # not in the night-sky flat


@pytest.fixture(scope="module")
def night(real_frames: Path) -> dict[str, list[Frame]]:
    folder = real_frames / "arcsat_xo1_z_2025"
    return {kind: [raw(path, {}) for path in sorted((folder / kind).iterdir())]
            for kind in ("bias", "dark", "domeflat_z", "science_z")}  # fmt: skip


def by_ccdproc(night: dict[str, list[Frame]]) -> list[NDArray[np.float64]]:
    """Return the held-out frames as a ccdproc tutorial reduces them: bias, dark, division by the averaged dome flat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ccdproc
        from astropy import units
        from astropy.nddata import CCDData

        def ccd(frame: Frame) -> CCDData:
            seconds = {"exposure": frame.attributes.exposure_time}
            return CCDData(frame.data.astype(float), unit=units.adu, meta=seconds)

        def combined(frames: list[CCDData], **options: object) -> CCDData:
            return ccdproc.combine(frames, method="average", sigma_clip=True, sigma_clip_low_thresh=5,
                                   sigma_clip_high_thresh=5, **options)  # fmt: skip

        def less_bias(frames: list[Frame]) -> list[CCDData]:
            return [ccdproc.subtract_bias(ccd(frame), zero) for frame in frames]

        def less_dark(frames: list[CCDData]) -> list[CCDData]:
            scaled = {"exposure_time": "exposure", "exposure_unit": units.s, "scale": True}
            return [ccdproc.subtract_dark(frame, dark_current, **scaled) for frame in frames]

        zero = combined([ccd(frame) for frame in night["bias"]])
        dark_current = combined(less_bias(night["dark"]))
        dark_current.meta["exposure"] = night["dark"][0].attributes.exposure_time
        flat = combined(less_dark(less_bias(night["domeflat_z"])), scale=lambda data: 1 / np.median(data))
        science = less_dark(less_bias([night["science_z"][index] for index in HELD]))
        return [np.asarray(ccdproc.flat_correct(frame, flat).data) for frame in science]


def by_us(night: dict[str, list[Frame]]) -> list[Frame]:
    gain, noise = GainLinearity(1.340), read_noise(night["bias"]).products[0].content
    bias_frame = as_frame(bias(night["bias"]).products[0])
    dark_frame = as_frame(dark(night["dark"], bias_frame).products[0])
    dome = as_frame(dome_flat(night["domeflat_z"], bias_frame, None, gain, None, dark_frame).products[0])
    others = [frame for index, frame in enumerate(night["science_z"]) if index not in HELD]
    sky = night_sky_flat(
        others, bias_frame, as_frame(master_flat(dome).products[0]), None, None, gain, noise, dark_frame
    )
    flat = as_frame(master_flat(dome, night_sky_flat=as_frame(sky.products[0])).products[0])
    outcomes = [reduce(night["science_z"][index], bias_frame, flat, None, None, gain, noise, dark_frame)
                for index in HELD]  # fmt: skip
    return [as_frame(outcome.products[0]) for outcome in outcomes]


def flatness(image: NDArray[np.floating], good: NDArray[np.bool_]) -> tuple[float, float]:
    """Return range and scatter of the medians of 32 sub-windows, sources left out, in units of the sky."""
    level = float(np.median(image[good]))
    medians = sub_window_statistics(np.asarray(image / level, np.float32), good).medians
    return float(np.ptp(medians)), float(np.std(medians))


@pytest.mark.real_frames
def test_the_sky_is_flatter_than_after_plain_division(night):
    ours, theirs = by_us(night), by_ccdproc(night)
    for mine, other, name in zip(ours, theirs, ("first", "second"), strict=True):
        exposure, _ = expose(mine, 128)
        good = ~exposure.unusable.rows(0, mine.shape[0])
        (mine_range, mine_scatter), (other_range, other_scatter) = flatness(mine.data, good), flatness(other, good)
        for what, here, there in (("range", mine_range, other_range), ("scatter", mine_scatter, other_scatter)):
            record("MasterFlat", "ccdproc.flat_correct", f"{what} of the sky over 32 sub-windows of XO-1, {name} frame",
                   here, there, "less than the peer", met=here < there)  # fmt: skip
        assert mine_range < other_range
        assert mine_scatter < other_scatter
