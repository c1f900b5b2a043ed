"""Overscan correction and trimming: every method, amplifiers, and sections that cannot be right."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.attributes import Amplifier, FrameAttributes
from recipes.ccd.raw import RawChip, check_alike, effective_method, median_variance
from recipes.errors import UsageError
from recipes.frame import Frame

SECTIONS = {
    "data_section": "[5:24,3:32]",
    "prescan_x": "[1:4,1:36]",
    "overscan_x": "[25:30,1:36]",
    "prescan_y": "[1:30,1:2]",
    "overscan_y": "[1:30,33:36]",
}


def frame(**attributes):
    """A frame whose pixel value is 1000 + row + 100 × column in the data; sections have levels of their own."""
    y, x = np.mgrid[:36, :30].astype(float)
    raw = 1000 + y + 100 * x
    raw[:, :4] = 200 + y[:, :4]
    raw[:, 24:] = 300 + y[:, 24:]
    raw[:2, 4:24] = 400 + x[:2, 4:24]
    raw[32:, 4:24] = 500 + x[32:, 4:24]
    return Frame(raw, attributes=FrameAttributes(**(attributes or SECTIONS)), name="odd.fits")


@pytest.mark.parametrize(
    ("method", "level"),
    [
        (0, lambda y, x: 0),
        (1, lambda y, x: 200 + 17.5),
        (2, lambda y, x: 300 + 17.5),
        (5, lambda y, x: 200 + y),
        (6, lambda y, x: 300 + y),
        (7, lambda y, x: 400 + x),
        (8, lambda y, x: 500 + x),
    ],
)
def test_method_subtracts_its_section(method, level):
    y, x = np.mgrid[2:32, 4:24].astype(float)
    chip = RawChip(frame(), method)
    assert chip.method == method
    np.testing.assert_allclose(chip.whole(), 1000 + y + 100 * x - level(y, x))


@pytest.mark.parametrize(("method", "section"), [(3, "prescan_y"), (4, "overscan_y")])
def test_one_number_of_y_sections_is_their_median(method, section):
    given = frame()
    pixels = given.data[:2] if section == "prescan_y" else given.data[32:]
    difference = RawChip(given, 0).whole() - RawChip(given, method).whole()
    np.testing.assert_allclose(difference, np.median(pixels))


def test_strips_are_the_whole():
    for method in range(9):
        chip = RawChip(frame(), method)
        whole = chip.whole()
        for rows in (1, 7, 30):
            parts = [chip.strip(y0, min(y0 + rows, 30))[0] for y0 in range(0, 30, rows)]
            np.testing.assert_array_equal(np.vstack(parts), whole)


def test_missing_section_falls_back_in_the_same_manner():
    only_prescan = frame(data_section="[5:24,3:32]", prescan_x="[1:4,1:36]")
    assert effective_method(only_prescan, 6) == 5
    assert effective_method(only_prescan, 2) == 1
    assert effective_method(frame(data_section="[5:24,3:32]"), 6) == 0
    assert effective_method(only_prescan, 0) == 0


def test_data_section_is_what_the_overscan_leaves():
    given = frame(overscan_x="[25:30,1:36]", prescan_x="[1:4,1:36]")
    assert RawChip(given, 6).shape == (36, 20)


def test_without_sections_all_is_data():
    given = Frame(np.ones((5, 7)), name="plain.fits")
    assert RawChip(given, 6).shape == (5, 7)
    assert not RawChip(given, 6).has_overscan


def test_amplifiers_get_their_own_overscan_and_are_put_together():
    """Two amplifiers with their overscans in the middle of the chip, as many mosaics have them."""
    raw = np.zeros((10, 28))
    raw[:, :10], raw[:, 10:14], raw[:, 14:18], raw[:, 18:] = 110, 100, 200, 220
    amplifiers = [
        Amplifier(name="A", data_section="[1:10,1:10]", overscan_x="[11:14,1:10]"),
        Amplifier(name="B", data_section="[19:28,1:10]", overscan_x="[15:18,1:10]"),
    ]
    chip = RawChip(Frame(raw, attributes=FrameAttributes(amplifiers=amplifiers)), 6)
    assert chip.shape == (10, 20)
    np.testing.assert_allclose(chip.whole()[:, :10], 10)
    np.testing.assert_allclose(chip.whole()[:, 10:], 20)
    assert [region.amplifier for region in chip.regions] == ["A", "B"]


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"data_section": "[1:31,1:36]"}, "lies outside its 30 × 36 pixels"),
        ({"data_section": "[1:30,1:36]", "overscan_x": "[10:12,1:36]"}, "lies inside the data"),
        ({"overscan_x": "[25:40,1:36]"}, "lies outside"),
    ],
)
def test_sections_that_cannot_be_right_are_refused_by_name(attributes, words):
    with pytest.raises(UsageError, match=words) as caught:
        RawChip(frame(**attributes), 6)
    assert "odd.fits" in caught.value.message
    assert caught.value.hint


def test_overlapping_amplifiers_are_refused():
    amplifiers = [Amplifier(name=name, data_section="[1:10,1:10]") for name in "AB"]
    with pytest.raises(UsageError, match="overlaps"):
        RawChip(frame(amplifiers=amplifiers), 6)


def test_saturated_and_missing_pixels_are_marked_where_they_are():
    raw = np.full((6, 8), 100.0)
    raw[2, 3], raw[4, 5] = 65535, np.nan
    chip = RawChip(Frame(raw, attributes=FrameAttributes(saturation=60000)), 0)
    mask = chip.mask()
    assert mask[2, 3] == 4
    assert mask[4, 5] == 32
    assert np.count_nonzero(mask) == 2


def test_frames_that_differ_are_named():
    one, other = Frame(np.ones((4, 4)), name="a.fits"), Frame(np.ones((4, 5)), name="b.fits")
    with pytest.raises(UsageError, match=r"b\.fits has 5 × 4 pixels, a\.fits has 4 × 4"):
        check_alike([one, other], minimum=2, what="Bias")


@pytest.mark.parametrize("number", [1, 3, 5, 31])
def test_variance_of_a_median(number):
    sample = np.random.default_rng(number).standard_normal((100_000, number))
    # the variance of 1e5 medians is known to sqrt(2e-5) = 0.45 %
    assert median_variance(number) == pytest.approx(np.var(np.median(sample, axis=1)), rel=0.03)
