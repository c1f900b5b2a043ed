"""The difference of two frames: its numbers are those of all pixels, whatever the strips; its picture is about zero."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray
from PIL import Image

from awportal.pictures import difference
from awportal.pictures.difference import draw_difference
from awportal.pictures.frame_file import FrameError

SHAPE = (301, 203)


def frame(path: Path, science: NDArray[np.generic], mask: NDArray[np.uint16] | None = None) -> Path:
    units = [fits.PrimaryHDU(), fits.ImageHDU(science, fits.Header({"BUNIT": "electron"}), name="SCI")]
    if mask is not None:
        units.append(fits.ImageHDU(mask, name="MASK"))
    fits.HDUList(units).writeto(path)
    return path


@pytest.mark.parametrize("strip_bytes", [difference.STRIP_BYTES, 20_000])
def test_the_numbers_are_those_of_all_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strip_bytes: int) -> None:
    monkeypatch.setattr(difference, "STRIP_BYTES", strip_bytes)
    random = np.random.default_rng(7)
    first = random.normal(1000, 10, SHAPE).astype(np.float32)
    second = first.copy()
    second[:100] -= random.normal(3, 2, (100, SHAPE[1])).astype(np.float32)
    first[200, 7] = second[200, 7] = np.nan
    masks = [np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.uint16)]
    masks[0][5, 5], masks[1][6, 6] = 1, 4
    second[5, 5] = -1e6  # masked in the first: it counts as differing, and in no other number
    paths = [frame(tmp_path / f"{n}.fits", image, masks[n]) for n, image in enumerate((first, second))]
    page, thumb, found = draw_difference(paths[0], paths[1], (None, None))
    expected = (first.astype(np.float64) - second)[(masks[0] | masks[1]) == 0]
    expected = expected[np.isfinite(expected)]
    assert found["pixels"] == first.size
    assert found["differing"] == np.count_nonzero((first != second) & np.isfinite(first))
    assert (found["compared"], found["masks_differ"]) == (expected.size, 2)
    # The difference is taken in float32: of values near 1000 it is right to 1000 * 2**-24.
    assert found["mean"] == pytest.approx(expected.mean(), abs=1e-4)
    assert found["rms"] == pytest.approx(np.sqrt((expected**2).mean()), abs=1e-4)
    assert found["stdev"] == pytest.approx(expected.std(), abs=1e-4)
    assert (found["minimum"], found["maximum"]) == pytest.approx((expected.min(), expected.max()), abs=1e-4)
    assert found["low"] == -found["high"]
    assert found["unit"] == "electron"
    with Image.open(io.BytesIO(page)) as picture, Image.open(io.BytesIO(thumb)) as small:
        assert picture.size == (SHAPE[1], SHAPE[0])
        assert max(small.size) <= 160
        grey = np.asarray(picture)[::-1]
    assert np.all(np.abs(grey[250, :50].astype(int) - 127) <= 1), "no difference is the middle grey"
    assert grey[:100].mean() > grey[150:].mean()


def test_what_is_the_same_differs_nowhere(tmp_path: Path) -> None:
    counts = np.arange(SHAPE[0] * SHAPE[1], dtype=np.int32).reshape(SHAPE)
    path = frame(tmp_path / "a.fits", counts)
    _, _, found = draw_difference(path, path, (None, None))
    assert (found["differing"], found["minimum"], found["maximum"], found["rms"]) == (0, 0.0, 0.0, 0.0)
    assert found["masks_differ"] is None


def test_frames_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    first = frame(tmp_path / "a.fits", np.zeros((20, 30), np.float32))
    other = frame(tmp_path / "b.fits", np.zeros((20, 31), np.float32))
    with pytest.raises(FrameError, match=r"not of the same size \(30 × 20 and 31 × 20 pixels\)"):
        draw_difference(first, other, (None, None))
    broken = tmp_path / "c.fits"
    broken.write_bytes(first.read_bytes()[:3000])
    with pytest.raises(FrameError):
        draw_difference(first, broken, (None, None))
    empty = tmp_path / "d.fits"
    fits.PrimaryHDU().writeto(empty)
    with pytest.raises(FrameError, match="holds no image"):
        draw_difference(first, empty, (None, None))
