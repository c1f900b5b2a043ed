"""Reduce with a fringe frame and an illumination correction, and what saturation does, on frames of known truth."""

import numpy as np
import pytest

from recipes.attributes import FrameAttributes
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import FRINGE_UNTRUSTED, NO_DATA, SATURATED
from recipes.reduce import RECIPE, reduce
from recipes.values import GainLinearity, ReadNoise

SHAPE = (256, 320)
SKY, GAIN, READ_NOISE = 2000.0, 2.0, 4.0
NO_EVENTS = {"cosmic_sigclip": 90.0, "detection_threshold": 90.0}
CALIBRATED = {"gain_linearity": GainLinearity(GAIN), "read_noise": ReadNoise(READ_NOISE)}


def waves(period=23.0):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.sin(2 * np.pi * (x + 0.4 * y + 8 * np.sin(y / 60)) / period)


def exposure(light, seed=0, **attributes):
    """Return a raw frame of that many electrons a pixel, with overscan."""
    random = np.random.default_rng(seed)
    raw = np.hstack([random.poisson(light * np.ones(SHAPE)) / GAIN, np.zeros((SHAPE[0], 40))])
    raw += 300 + random.normal(0, READ_NOISE, raw.shape)
    height, width = SHAPE
    sections = {"data_section": f"[1:{width},1:{height}]", "overscan_x": f"[{width + 1}:{width + 40},1:{height}]"}
    known = FrameAttributes(
        instrument="x", chip="1", **({"filter": "z", "exposure_time": 60.0} | sections | attributes)
    )
    return Frame(raw.astype(np.float32), attributes=known, name="raw")


def with_stars(light, seed=3, number=60):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for _ in range(number):
        y0, x0, flux = random.uniform(0, SHAPE[0]), random.uniform(0, SHAPE[1]), 10 ** random.uniform(3, 5.5)
        light = light + flux / (2 * np.pi * 2.25) * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 2.25)
    return light


def pattern(amplitude=0.03, noise=0.0, mask=None, **attributes):
    data = amplitude * waves() + noise * np.random.default_rng(9).normal(size=SHAPE)
    return Frame(data, variance=np.full(SHAPE, noise**2), mask=mask, unit="", name="fringes",
                 attributes=FrameAttributes(instrument="x", chip="1", filter="z", **attributes))  # fmt: skip


def values(outcome):
    return {entry.name: entry for entry in outcome.products[0].measured}


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_fringes_are_scaled_to_the_sky_and_gone(noise) -> None:
    light = with_stars(SKY * (1 + 0.03 * waves()) + np.linspace(0, 300, SHAPE[1]))
    frame = exposure(light)
    outcome = reduce(frame, fringe_frame=pattern(noise=noise), **CALIBRATED, **NO_EVENTS)
    scale = values(outcome)["fringe_scale"]
    # Of the sky's own fringing light; error from 80 000 pixels of noise 46 and a pattern of rms 0.021.
    assert scale.error == pytest.approx(np.sqrt(SKY + 64 + 150) / (0.0212 * np.sqrt(SHAPE[0] * SHAPE[1])), rel=0.35)
    # Noise in the pattern: what leaves least is the part of its power that is fringes.
    part = np.mean((0.03 * waves()) ** 2) / (np.mean((0.03 * waves()) ** 2) + noise**2)
    assert scale.value == pytest.approx(part * SKY, abs=5 * scale.error)
    product = outcome.products[0]
    assert product.attributes.fringe_scale == scale.value
    assert any("Fringes subtracted" in note for note in product.notes)
    before = reduce(frame, **CALIBRATED, **NO_EVENTS).products[0].content
    faint = light < SKY * 1.3
    left = [np.mean(((content.data - light) * waves())[faint]) for content in (before, product.content)]
    expected = -0.03 * part * SKY * np.mean(waves()[faint] ** 2)
    own_noise = 5 * np.sqrt(SKY * 1.2) / np.sqrt(2 * faint.sum())
    assert left[1] == pytest.approx(left[0] + expected, abs=own_noise)
    # Pulls: the sky without fringes is the truth now.
    truth = light - 0.03 * SKY * waves()
    pull = ((product.content.data - truth) / np.sqrt(product.content.variance))[faint & (product.content.mask == 0)]
    assert pull.std() == pytest.approx(1.0, abs=0.05)
    assert pull.mean() == pytest.approx(0.0, abs=0.05)


def test_a_pattern_that_is_not_in_the_sky_is_left_alone_and_said_so() -> None:
    frame = exposure(with_stars(SKY * np.ones(SHAPE)))
    without, given = (reduce(frame, fringe_frame=fringes, **CALIBRATED, **NO_EVENTS) for fringes in (None, pattern()))
    significance = values(given)["fringe_significance"].value
    assert abs(significance) < 5  # of chance
    if significance < 1.5:
        assert "fringe_frame" in given.products[0].made_without
        assert given.left_out[0].name == "fringes"
        assert np.array_equal(without.products[0].content.data, given.products[0].content.data)


def test_a_pattern_of_noise_is_not_applied() -> None:
    frame = exposure(SKY * (1 + 0.03 * waves()))
    outcome = reduce(frame, fringe_frame=pattern(fringe_significance=2.0), **CALIBRATED, **NO_EVENTS)
    assert "significance is 2" in outcome.left_out[0].reason
    assert "fringe_scale" not in values(outcome)


def test_where_the_pattern_is_not_trusted_the_mask_says_so() -> None:
    mask = np.zeros(SHAPE, np.uint16)
    mask[10:20, 30:40] = FRINGE_UNTRUSTED
    light = SKY * (1 + 0.03 * waves())
    product = reduce(exposure(light), fringe_frame=pattern(mask=mask), **CALIBRATED, **NO_EVENTS).products[0]
    assert np.array_equal((product.content.mask & FRINGE_UNTRUSTED) != 0, mask != 0)


def test_a_fringe_frame_of_another_filter_is_refused() -> None:
    with pytest.raises(UsageError, match="filter"):
        reduce(exposure(SKY, filter="i"), fringe_frame=pattern(), **CALIBRATED)


def test_illumination_is_divided_out_with_its_noise() -> None:
    x = np.arange(SHAPE[1]) * np.ones(SHAPE)
    truth = 1 + 0.1 * (x / SHAPE[1] - 0.5)
    spread = 0.02
    measured = truth + spread * np.random.default_rng(7).normal(size=SHAPE)
    measured[0, 0] = np.nan
    illumination = Frame(measured, variance=np.full(SHAPE, spread**2), unit="", name="illumination",
                         attributes=FrameAttributes(instrument="x", chip="1", filter="z"))  # fmt: skip
    product = reduce(exposure(10_000 * truth), illumination_correction=illumination, **CALIBRATED, **NO_EVENTS)
    frame = product.products[0].content
    assert frame.mask[0, 0] & NO_DATA
    good = frame.mask == 0
    pull = (frame.data[good] - 10_000) / np.sqrt(frame.variance[good])
    # Poisson 100, illumination 200, read noise 8.
    assert np.median(frame.variance[good]) == pytest.approx(10_000 + 200**2 + 8**2, rel=0.05)
    assert pull.std() == pytest.approx(1.0, abs=0.03)


def test_both_are_optional_and_chosen_by_validity() -> None:
    for role, preferred in (("fringe_frame", True), ("illumination_correction", False)):
        declared = RECIPE.input(role)
        assert (declared.minimum, declared.preferred, declared.chosen_by) == (0, preferred, "validity")


def test_bleeding_is_masked_beyond_its_ends() -> None:
    raw = exposure(SKY)
    data = np.array(raw.data)
    data[60:160, 100] = 65_535.0
    data[200, 200] = 65_535.0
    product = reduce(Frame(data, attributes=raw.attributes, name="raw"), **CALIBRATED, **NO_EVENTS).products[0]
    saturated = (product.content.mask & SATURATED) != 0
    rows = np.flatnonzero(saturated[:, 100])
    assert (rows[0], rows[-1]) == (60 - 6, 159 + 6)  # one beside, and a twentieth of 100
    assert saturated[59:161, 99:102].all()
    assert saturated.sum() == 3 * 102 + 2 * 5 + 9


def test_each_amplifier_saturates_at_its_own_level() -> None:
    random = np.random.default_rng(1)
    data = 500 + random.normal(0, 4, (80, 140))
    data[:, :60] += 20_000
    data[:, 80:] += 40_000
    bright = 47_000 + np.arange(16.0).reshape(4, 4)
    data[30:34, 10:14] = bright  # of 2 electrons each, above 0.95 x 90 000 electrons
    data[30:34, 100:104] = bright  # of 1 electron each, below
    amplifiers = [{"name": "A", "data_section": "[1:60,1:80]", "overscan_x": "[61:70,1:80]"},
                  {"name": "B", "data_section": "[81:140,1:80]", "overscan_x": "[71:80,1:80]"}]  # fmt: skip
    raw = Frame(data, attributes=FrameAttributes(amplifiers=amplifiers, exposure_time=1.0), name="raw")
    # The chip's full well is 60 000 adu at its mean gain of 1.5.
    gain = GainLinearity(1.5, full_well=60_000.0, amplifiers={"A": 2.0, "B": 1.0})
    product = reduce(raw, gain_linearity=gain, read_noise=ReadNoise(4.0), **NO_EVENTS).products[0]
    saturated = (product.content.mask & SATURATED) != 0
    assert saturated[30:34, 10:14].all()
    assert not saturated[:, 60:].any()
    assert product.attributes.saturation == pytest.approx(0.95 * 60_000 * 1.5 / 2)


def test_the_depth_is_that_of_the_noise_under_a_star() -> None:
    light = with_stars(SKY * np.ones(SHAPE))
    measured = values(reduce(exposure(light), **CALIBRATED))
    # A Gaussian of sigma 1.5, and pixels: 4 pi sigma**2 pixels of sky; the Moffat that is fitted has wings.
    area = 4 * np.pi * (1.5**2 + 1 / 12)
    expected = 5 * np.sqrt(SKY + (GAIN * READ_NOISE) ** 2) * np.sqrt(area)
    assert measured["limiting_flux"].value == pytest.approx(expected, rel=0.15)
