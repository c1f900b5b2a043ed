"""Tiles are the image itself, at full size and shrunk; the sky's grid is the header's coordinates."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from awportal.pictures import tiles
from awportal.pictures.frame_file import Card, FrameError, open_frame, read_cards
from awportal.pictures.tiles import levels_of, plane, planes_of, tile
from awportal.pictures.viewing import described, sky_of

SHAPE = (75, 53)
SMALL = 16


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small frames into several tiles."""
    monkeypatch.setattr(tiles, "TILE", SMALL)


@pytest.fixture
def counts() -> Any:
    """16-bit counts, above and below 32768."""
    return np.random.default_rng(5).integers(0, 65535, SHAPE).astype(np.uint16)


def written(path: Path, *units: Any) -> Path:
    """Write a FITS file of these units."""
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(path)
    return path


def put_together(image: tiles.Plane, level: int) -> Any:
    """Return a whole level from its tiles."""
    side = SMALL << level
    rows, columns = -(-image.shape[0] // side), -(-image.shape[1] // side)
    return np.block([[tile(image, level, column, row) for column in range(columns)] for row in range(rows)])


def blocks(values: Any, factor: int, together: Any) -> Any:
    """Take blocks together one by one, slowly."""
    height, width = values.shape
    return np.array([
        [together(values[y : y + factor, x : x + factor]) for x in range(0, width, factor)]
        for y in range(0, height, factor)
    ])  # fmt: skip


def test_tiles_of_plain_and_packed_files_are_the_image(tmp_path: Path, counts: Any) -> None:
    plain = written(tmp_path / "a.fits", fits.ImageHDU(counts))
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    tiled = written(tmp_path / "a.fits.fz", fits.CompImageHDU(counts))
    for path in (plain, packed, tiled):
        image = plane(path, 1, tmp_path / "unpacked", path.name)
        assert image.shape == SHAPE
        np.testing.assert_array_equal(put_together(image, 0), counts)
        # sums of 16-bit counts are exact in float32; the mean is rounded once
        np.testing.assert_allclose(put_together(image, 2), blocks(counts.astype(float), 4, np.mean), rtol=1e-6)


def test_the_last_level_is_one_tile(counts: Any) -> None:
    assert levels_of(SHAPE) == 4  # 75 pixels: 16 × 8 hold them, 16 × 4 do not
    assert levels_of((SMALL, SMALL)) == 1
    image = tiles.Plane(counts, None, None, is_mask=False)
    assert tile(image, 3, 0, 0).shape == (10, 7)
    for level, column, row in ((4, 0, 0), (0, 4, 0), (0, 0, 5)):
        with pytest.raises(FrameError):
            tile(image, level, column, row)


def test_pixels_without_a_value_leave_the_mean_to_the_others() -> None:
    values = np.arange(64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = values[1, 1] = np.nan
    values[4:6, 4:6] = np.nan
    shrunk = tile(tiles.Plane(values, None, None, is_mask=False), 0, 0, 0)
    np.testing.assert_array_equal(shrunk, values)
    big = np.full((32, 32), np.nan, np.float32)
    big[:8, :8] = values
    shrunk = tile(tiles.Plane(big, None, None, is_mask=False), 1, 0, 0)
    assert shrunk[0, 0] == np.mean([values[0, 1], values[1, 0]])
    assert np.isnan(shrunk[2, 2])
    assert np.isnan(shrunk[10, 10])


def test_a_shrunk_mask_has_all_bits_of_its_block(tmp_path: Path) -> None:
    mask = np.random.default_rng(1).choice([0, 0, 0, 0, 1, 8, 256], SHAPE).astype(np.uint16)
    path = written(tmp_path / "m.fits", fits.ImageHDU(mask, name="MASK"))
    image = plane(path, 1, tmp_path, "m")
    assert image.is_mask
    np.testing.assert_array_equal(
        put_together(image, 2), blocks(mask, 4, lambda each: np.bitwise_or.reduce(each.ravel()))
    )


def test_unpacked_images_do_not_fill_the_disk(tmp_path: Path, counts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "UNPACKED_BYTES", 40_000)  # two of 75 × 53 × 4 bytes and their heads
    path = written(tmp_path / "a.fits.fz", fits.CompImageHDU(counts))
    for name in ("a", "b", "c"):
        np.testing.assert_array_equal(put_together(plane(path, 1, tmp_path / "unpacked", name), 0), counts)
    assert {file.name for file in (tmp_path / "unpacked").iterdir()} == {"b-1.npy", "c-1.npy"}


def test_a_description_tells_planes_cuts_and_causes(tmp_path: Path) -> None:
    science = np.random.default_rng(2).normal(200, 10, SHAPE).astype(np.float32)
    science[0, 0], science[5, 5] = 9000, np.nan
    mask = np.zeros(SHAPE, np.uint16)
    mask[3, 4] = 5
    first, other = fits.ImageHDU(science, fits.Header({"BUNIT": "electron"}), name="SCI"), fits.ImageHDU(science[:9])
    path = written(
        tmp_path / "a.fits", fits.ImageHDU(mask, name="MASK"), fits.ImageHDU(science**2, name="VAR"), first, other
    )
    with open_frame(path) as frame:
        assert planes_of(frame) == [3, 2, 1]
        assert planes_of(frame, extension=4) == [4]
    told = described(path, "a" * 64, None, tmp_path / "kept")
    assert [each["name"] for each in told["planes"]] == ["SCI", "VAR", "MASK"]
    first = told["planes"][0]
    assert (first["unit"], first["largest"]) == ("electron", 9000)
    assert first["least"] == pytest.approx(float(np.nanmin(science)))
    assert first["quantiles"][500] == pytest.approx(float(np.nanmedian(science)), rel=1e-3)
    assert first["low"] < 200 < first["high"] < 300
    assert told["planes"][2]["counts"] == {"1": 1, "4": 1}
    assert told["sky"] is None
    path.unlink()
    assert described(path, "a" * 64, None, tmp_path / "kept") == told  # it was kept


@pytest.mark.parametrize("projection", ["TAN", "TPV", "TAN-SIP"])
def test_the_skys_grid_is_the_headers_coordinates(projection: str) -> None:
    width, height = 4096, 2048
    header = fits.Header({
        "CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", "CRVAL1": 359.99, "CRVAL2": 71.0,
        "CRPIX1": 2000.5, "CRPIX2": 900.0, "CD1_1": -6e-5, "CD1_2": 2e-5, "CD2_1": 2e-5, "CD2_2": 6e-5,
    })  # fmt: skip
    if projection == "TPV":
        header.update({"PV1_1": 1.0, "PV1_7": 0.02, "PV2_1": 1.0, "PV2_7": 0.02})
    if projection == "TAN-SIP":
        header.update({"A_ORDER": 2, "A_2_0": 1e-7, "B_ORDER": 2, "B_0_2": -1e-7})
    sky = sky_of(cards_of(header), width, height)
    assert sky is not None
    nodes = np.array(sky["vectors"]).reshape(sky["nodes"], sky["nodes"], 3)
    x, y = np.random.default_rng(3).uniform(0, [[width - 1], [height - 1]], (2, 500))
    column, s = np.divmod((x - sky["left"]) / sky["dx"], 1)
    row, t = np.divmod((y - sky["bottom"]) / sky["dy"], 1)
    column, row, s, t = column.astype(int), row.astype(int), s[:, None], t[:, None]
    found = (1 - s) * (1 - t) * nodes[row, column] + s * (1 - t) * nodes[row, column + 1]
    found += (1 - s) * t * nodes[row + 1, column] + s * t * nodes[row + 1, column + 1]
    found /= np.linalg.norm(found, axis=1)[:, None]
    true = WCS(header).pixel_to_world(x, y).icrs.cartesian.xyz.value.T
    miss = np.rad2deg(np.linalg.norm(np.cross(found, true), axis=1)) * 3.6e6
    assert miss.max() < 5  # mas: a fiftieth of a pixel of 0.23″


def cards_of(header: Any) -> tuple[Card, ...]:
    """Return the cards of a header as they are read from a file."""
    return read_cards(header.tostring().encode())


@pytest.mark.parametrize(
    "cards",
    [{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": 0.0, "CD2_2": 0.0}, {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC"},
     {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, {"CTYPE1": "RA---TAN"}],
)  # fmt: skip
def test_a_header_without_usable_coordinates_has_no_sky(cards: dict[str, Any]) -> None:
    assert sky_of(cards_of(fits.Header(cards)), 100, 100) is None
