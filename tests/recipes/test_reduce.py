"""Reduce, held to the simulated observatory's truth."""

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy import ndimage

from recipes.attributes import FrameAttributes
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import COLD, COSMIC_RAY, HOT, SATELLITE, SATURATED
from recipes.reduce import RECIPE, reduce
from recipes.values import GainLinearity, ReadNoise


def measured_of(product):
    return {entry.name: entry.value for entry in product.measured}


def pulls(observed, outcome, note):
    """Return (reduced - truth)/error of the good pixels that no cosmic ray and no trail touched."""
    frame = outcome.products[0].content
    expected = observed.truth("EXPECTED", note) + observed.truth("DARK") * note["exposure_time"] / observed.flat.data
    good = (frame.mask == 0) & ~observed.where("COSMIC", note) & ~observed.where("TRAIL", note)
    return ((frame.data - expected) / np.sqrt(frame.variance))[good], expected[good]


def test_pull_is_of_width_one(observed, reduced) -> None:
    for outcome, note in zip(reduced, observed.of_type("SCIENCE"), strict=True):
        pull, expected = pulls(observed, outcome, note)
        # Poisson noise is taken from the counts themselves, which are low where the noise is low: -1/(2 sqrt N).
        bias = -np.mean(0.5 / np.sqrt(expected))
        # The overscan's level of a row is common to its pixels: 0.3 of a read noise of 6 against a noise of 33.
        of_rows = 0.05 / np.sqrt(frame_rows(outcome))
        assert pull.mean() == pytest.approx(bias, abs=5 * (of_rows + 1 / np.sqrt(pull.size)))
        assert pull.std() == pytest.approx(1.0, abs=0.02)
        assert np.mean(np.abs(pull) > 6) < 1e-5


def frame_rows(outcome) -> int:
    return outcome.products[0].content.shape[0]


def test_most_cosmic_rays_are_masked_and_little_else(observed, reduced) -> None:
    hit, found, false, pixels = 0, 0, 0, 0
    for outcome, note in zip(reduced, observed.of_type("SCIENCE"), strict=True):
        frame = outcome.products[0].content
        electrons = np.zeros(frame.shape)
        table = observed.truth("COSMIC", note)
        electrons[table["Y"], table["X"]] = table["ELECTRON"]
        masked = (frame.mask & COSMIC_RAY) != 0
        otherwise = (frame.mask & ~np.uint16(COSMIC_RAY)) != 0
        noise = np.sqrt(observed.truth("EXPECTED", note))
        strong = (electrons > 8 * noise) & ~otherwise
        hit += strong.sum()
        found += (strong & masked).sum()
        near = ndimage.binary_dilation(electrons > 0, np.ones((3, 3)))
        false += (masked & ~near).sum()
        pixels += masked.size
    assert hit > 300
    assert found / hit > 0.96
    assert false / pixels < 3e-5


def test_the_trail_is_masked_on_the_one_frame_that_has_it(observed, reduced) -> None:
    trails = [measured_of(outcome.products[0])["satellite_trails"] for outcome in reduced]
    assert trails == [0, 1, 0]
    mask = (reduced[1].products[0].content.mask & SATELLITE) != 0
    truth = observed.where("TRAIL", observed.of_type("SCIENCE")[1])  # down to 5 electrons, a sixth of the noise
    assert (mask & truth).sum() > 0.99 * truth.sum()
    assert mask.sum() < 2 * truth.sum()


def test_saturated_pixels_are_masked(observed, reduced) -> None:
    for outcome, note in zip(reduced, observed.of_type("SCIENCE"), strict=True):
        mask = (outcome.products[0].content.mask & SATURATED) != 0
        truth = observed.where("SATURATED", note)
        assert not (truth & ~mask).any()


def test_pixel_maps_are_in_the_mask_and_counted(observed, reduced) -> None:
    product = reduced[0].products[0]
    for bit, table, name in ((HOT, "HOT", "masked_hot"), (COLD, "COLD", "masked_cold")):
        truth = observed.where(table)
        assert np.array_equal((product.content.mask & bit) != 0, truth)
        assert measured_of(product)[name] == truth.sum()


def test_weight_is_the_inverse_variance_and_zero_where_masked(reduced) -> None:
    frame, weight = (product.content for product in reduced[1].products)
    good = frame.mask == 0
    assert np.all(weight.data[~good] == 0)
    assert np.allclose(weight.data[good] * frame.variance[good], 1.0, rtol=1e-6)
    assert weight.unit == "1/electron2"


def test_sky_and_seeing_are_those_of_the_truth(observed, reduced) -> None:
    for outcome, note in zip(reduced, observed.of_type("SCIENCE"), strict=True):
        values = measured_of(outcome.products[0])
        assert values["sky_level"] == pytest.approx(note["sky"], rel=0.005)  # faint sources raise it a little
        assert values["sky_noise"] == pytest.approx(np.sqrt(note["sky"]), rel=0.06)  # and so do read noise and flat
        # A pixel of side 1 widens the profile: its variance is 1/12 in each direction.
        seen = np.hypot(note["fwhm"] / observed.notes["pixel_scale"], 2.355 / np.sqrt(12))
        assert values["psf_fwhm"] == pytest.approx(seen, rel=0.05)


def test_coordinates_are_shifted_by_the_trim(observed, reduced) -> None:
    note = observed.of_type("SCIENCE")[0]
    raw, made = observed.raw(note).wcs, reduced[0].products[0].content.wcs
    assert made["CRPIX1"] == raw["CRPIX1"] - observed.about["prescan"]
    assert made["CRPIX2"] == raw["CRPIX2"]
    corner = np.ravel(WCS({**made}).all_pix2world(0, 0, 0))
    assert corner == pytest.approx(np.ravel(WCS({**raw}).all_pix2world(observed.about["prescan"], 0, 0)), abs=1e-9)


def synthetic(level=30_000.0, shape=(100, 120), seed=0, gain=2.0, read_noise=5.0, pedestal=500.0, flat=None, **more):
    """Return a raw frame of even light [adu] with overscan columns."""
    random = np.random.default_rng(seed)
    light = random.poisson(level * (1 if flat is None else flat) * np.ones(shape)) / gain
    data = np.concatenate([light, np.zeros((shape[0], 40))], axis=1) + pedestal
    data += random.normal(0, read_noise, data.shape)
    sections = {"data_section": f"[1:{shape[1]},1:{shape[0]}]",
                "overscan_x": f"[{shape[1] + 1}:{shape[1] + 40},1:{shape[0]}]"}  # fmt: skip
    attributes = FrameAttributes(instrument="x", chip="1", exposure_time=10.0, **(sections | more))
    return Frame(data.astype(np.float32), attributes=attributes, name="raw")


GAIN, READ_NOISE = GainLinearity(2.0), ReadNoise(5.0)
NO_EVENTS = {"cosmic_sigclip": 90.0, "detection_threshold": 90.0}  # even light has none


def test_errors_of_flat_bias_and_dark_are_carried() -> None:
    shape = (100, 120)
    random = np.random.default_rng(5)
    response = 1 + 0.1 * np.sin(np.arange(120) / 20) * np.ones(shape)
    spread = 0.01
    flat = Frame(response * (1 + spread * random.normal(size=shape)), variance=(spread * response) ** 2, name="flat")
    bias = Frame(7.0 * random.normal(size=shape), variance=np.full(shape, 49.0), name="bias")
    dark = Frame(random.normal(size=shape), variance=np.full(shape, 1.0), name="dark")  # 10 adu in 10 s
    outcome = reduce(
        synthetic(flat=response), bias, flat, gain_linearity=GAIN, read_noise=READ_NOISE, dark_frame=dark, **NO_EVENTS
    )
    frame = outcome.products[0].content
    pull = (frame.data - 30_000.0) / np.sqrt(frame.variance)
    pull = pull[frame.mask == 0]
    assert pull.size > 0.99 * frame.data.size
    # 30 000 electrons: Poisson 173, flat 300, bias 14, dark 20, read noise 10. The flat's own error comes with the
    # pixel's value in its product, which leans by spread**2: 3 electrons in 350.
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * pull.size))
    assert np.median(frame.variance) == pytest.approx(30_000 / 1.0 + 300**2 + 14**2 + 20**2 + 10**2, rel=0.02)


def test_without_gain_it_stays_in_adu_with_noise_from_the_sky() -> None:
    product = reduce(synthetic(), read_noise=READ_NOISE, **NO_EVENTS).products[0]
    assert product.content.unit == "adu"
    assert any("Gain unknown" in note for note in product.notes)
    assert np.median(product.content.data) == pytest.approx(15_000, rel=1e-3)
    assert np.median(product.content.variance) == pytest.approx(15_000 / 2.0, rel=0.05)


def test_read_noise_is_taken_from_the_overscan_where_it_is_not_given() -> None:
    product = reduce(synthetic(level=1000.0), gain_linearity=GAIN, **NO_EVENTS).products[0]
    # 4000 pixels of overscan, less their rows' medians.
    assert product.attributes.read_noise == pytest.approx(5.0, rel=3 / np.sqrt(2 * 4000) + 0.02)
    assert any("from the overscan" in note for note in product.notes)


def test_with_nothing_known_the_noise_is_what_one_sees() -> None:
    """A dark sky below its bias, of a camera of which neither gain nor read noise is known."""
    data = np.random.default_rng(2).normal(-50, 5, (100, 120))
    bias = Frame(np.zeros((100, 120)), name="bias")
    product = reduce(Frame(data, name="raw"), bias).products[0]
    pull = (product.content.data + 50) / np.sqrt(product.content.variance)
    assert pull.std() == pytest.approx(1.0, abs=0.03)
    assert measured_of(product)["masked_cosmic_ray"] == 0
    assert any("scatter of the sky" in note for note in product.notes)


def test_a_dark_of_another_temperature_is_left_out_and_said_so() -> None:
    dark = Frame(np.full((100, 120), 100.0), attributes=FrameAttributes(temperature=-10.0), name="dark")
    outcome = reduce(synthetic(temperature=-20.0), gain_linearity=GAIN, dark_frame=dark, **NO_EVENTS)
    assert "-10" in outcome.left_out[0].reason
    assert "dark_frame" in outcome.products[0].made_without
    assert np.median(outcome.products[0].content.data) == pytest.approx(30_000, rel=1e-3)


def test_a_full_well_saturates_from_its_fraction_on() -> None:
    raw = synthetic()
    data = np.array(raw.data)
    data[50:53, 60:63] = 40_000.0
    frame = Frame(data, attributes=raw.attributes, name="raw")
    product = reduce(frame, gain_linearity=GainLinearity(2.0, full_well=41_000.0), **NO_EVENTS).products[0]
    assert product.attributes.saturation == pytest.approx(0.95 * 41_000)
    saturated = (product.content.mask & SATURATED) != 0
    assert saturated.sum() == 25  # and the neighbours that charge may have run into
    assert saturated[49:54, 59:64].all()


def test_a_converter_that_ends_early_is_seen() -> None:
    raw = synthetic(level=2000.0)
    data = np.array(raw.data)
    data[20:40, 30:34] = 4095.0
    product = reduce(Frame(data, attributes=raw.attributes, name="raw"), gain_linearity=GAIN, **NO_EVENTS).products[0]
    assert ((product.content.mask & SATURATED) != 0)[20:40, 30:34].all()
    assert product.attributes.saturation == 4095.0


def test_no_level_at_all_is_refused() -> None:
    raw = synthetic(data_section=None, overscan_x=None)
    with pytest.raises(UsageError, match="no overscan and no bias"):
        reduce(raw, gain_linearity=GAIN)


@pytest.mark.parametrize(
    ("attributes", "shape", "message"),
    [
        ({"chip": "2"}, (100, 120), "chip '2'"),
        ({"overscan_correction": 2}, (100, 120), "overscan_correction 2"),
        ({}, (100, 121), "121 × 100"),
    ],
)
def test_a_bias_that_does_not_fit_is_refused(attributes, shape, message) -> None:
    bias = Frame(np.zeros(shape), attributes=FrameAttributes(**attributes), name="bias")
    with pytest.raises(UsageError, match=message):
        reduce(synthetic(), bias, gain_linearity=GAIN)


def test_a_flat_of_another_filter_is_refused() -> None:
    flat = Frame(np.ones((100, 120)), attributes=FrameAttributes(filter="B"), name="flat")
    with pytest.raises(UsageError, match="filter 'B'"):
        reduce(synthetic(filter="V"), master_flat=flat, gain_linearity=GAIN)


def test_each_amplifier_has_its_own_gain_and_level() -> None:
    random = np.random.default_rng(1)
    data = np.empty((80, 140))
    for columns, over, gain, level in (
        (slice(0, 60), slice(60, 70), 2.0, 500.0),
        (slice(80, 140), slice(70, 80), 1.0, 800.0),
    ):
        data[:, columns] = random.poisson(10_000, (80, 60)) / gain + level
        data[:, over] = level
    data += random.normal(0, 4, data.shape)
    amplifiers = [{"name": "A", "data_section": "[1:60,1:80]", "overscan_x": "[61:70,1:80]"},
                  {"name": "B", "data_section": "[81:140,1:80]", "overscan_x": "[71:80,1:80]"}]  # fmt: skip
    raw = Frame(data, attributes=FrameAttributes(amplifiers=amplifiers, exposure_time=1.0), name="raw")
    gain = GainLinearity(1.5, amplifiers={"A": 2.0, "B": 1.0})
    product = reduce(raw, gain_linearity=gain, read_noise=ReadNoise(4.0), **NO_EVENTS).products[0]
    for columns in (slice(0, 60), slice(60, 120)):
        assert product.content.data[:, columns].mean() == pytest.approx(10_000, abs=5 * 110 / np.sqrt(80 * 60))
    pull = (product.content.data - 10_000) / np.sqrt(product.content.variance)
    assert pull.std() == pytest.approx(1.0, abs=0.04)


def test_a_flat_that_holds_the_ratio_of_the_gains_does_not_count_it_twice() -> None:
    random = np.random.default_rng(2)
    shape, electrons, gains = (160, 200), 10_000, {"A": 2.0, "B": 1.25}
    # The left amplifier reads two fifths of the chip; the light that reaches its pixels differs as on any chip.
    gain_of_pixel = np.where(np.arange(shape[1]) < 80, gains["A"], gains["B"]) * np.ones(shape)
    response = random.normal(1, 0.02, shape)
    flat = response / gain_of_pixel  # as raw flats are, in adu
    data = random.poisson(electrons * response) / gain_of_pixel + random.normal(0, 4, shape)
    amplifiers = [{"name": "A", "data_section": "[1:80,1:160]"}, {"name": "B", "data_section": "[81:200,1:160]"}]
    raw = Frame(data, attributes=FrameAttributes(amplifiers=amplifiers, exposure_time=1.0), name="raw")
    product = reduce(
        raw, Frame(np.zeros(shape), name="bias"), Frame(flat / flat.mean(), name="flat"),
        gain_linearity=GainLinearity(1.625, amplifiers=gains), read_noise=ReadNoise(4.0), **NO_EVENTS,
    ).products[0]  # fmt: skip
    for columns in (slice(0, 80), slice(80, 200)):
        number = shape[0] * (columns.stop - columns.start)
        # The mean of the response, which is 1 by the flat's norm, is known to 2 % over the root of the pixels.
        assert product.content.data[:, columns].mean() == pytest.approx(electrons, abs=5 * (105 + 200) / number**0.5)
    pull = (product.content.data - electrons) / np.sqrt(product.content.variance)
    assert pull.std() == pytest.approx(1.0, abs=0.03)


def test_declaration_names_what_it_makes() -> None:
    assert RECIPE.outputs == ("ReducedScienceFrame", "WeightFrame")
    assert RECIPE.split_by == ("product",)
    assert {parameter.name: parameter.default for parameter in RECIPE.parameters}["hough_threshold"] == 6.0
    assert all(parameter.description for parameter in RECIPE.parameters)
