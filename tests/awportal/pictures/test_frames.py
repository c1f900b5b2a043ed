"""Frames are read in strips, believed no further than the file goes, and drawn as they are."""

from __future__ import annotations

import gzip
import io
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from awportal.pictures.frame_file import FrameError, open_frame, read_cards
from awportal.pictures.kept import KeptPictures, Subject
from awportal.pictures.preview import CAUSES, make_preview
from awportal.pictures.shrink import shrink
from awportal.pictures.tables import read_table


def written(path: Path, *units: Any) -> Path:
    """Write a FITS file of these units."""
    fits.HDUList(list(units)).writeto(path)
    return path


@pytest.fixture
def counts() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """16-bit counts, above and below 32768, of an odd shape."""
    return np.random.default_rng(3).integers(0, 65535, (101, 67)).astype(np.uint16)


def test_strips_are_the_image(tmp_path: Path, counts: Any) -> None:
    plain = written(tmp_path / "a.fits", fits.PrimaryHDU(counts))
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    tiled = written(tmp_path / "a.fits.fz", fits.PrimaryHDU(), fits.CompImageHDU(counts))
    for path in (plain, packed, tiled):
        with open_frame(path) as frame:
            hdu = frame.first_image
            assert hdu is not None
            assert hdu.shape == (101, 67)
            strips = list(frame.strips(hdu, 16))
        assert [len(strip) for strip in strips] == [16] * 6 + [5]
        np.testing.assert_array_equal(np.concatenate(strips), counts)


def test_shrinking_is_the_mean_of_blocks_and_the_or_of_masks(tmp_path: Path) -> None:
    science = np.arange(40 * 30, dtype=np.float32).reshape(40, 30)
    mask = np.zeros((40, 30), np.uint16)
    mask[0, 0], mask[1, 1], mask[39, 29] = 1, 8, 64
    path = written(
        tmp_path / "a.fits", fits.PrimaryHDU(), fits.ImageHDU(science, name="SCI"), fits.ImageHDU(mask, name="MASK")
    )
    with open_frame(path) as frame:
        small = shrink(frame, 20)
    assert small.factor == 2
    np.testing.assert_allclose(small.image, science.reshape(20, 2, 15, 2).mean(axis=(1, 3)), rtol=1e-6)
    assert small.mask is not None
    assert (small.mask[0, 0], small.mask[19, 14]) == (9, 64)
    assert small.counts == {1: 1, 8: 1, 64: 1}


def test_each_chip_of_a_mosaic_has_its_own_picture(tmp_path: Path) -> None:
    chips = [fits.ImageHDU(np.full((32, 32), value, np.float32), name=f"ccd{value}") for value in (1, 2)]
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(), *chips)
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        for extension in (1, 2):
            with open_frame(file, extension) as frame:
                assert make_preview(frame, extension=extension).facts.median == extension


def test_a_picture_has_its_first_row_at_the_bottom_and_masks_tinted(tmp_path: Path) -> None:
    science = np.zeros((10, 10), np.float32)
    science[0, :] = 100.0
    mask = np.zeros((10, 10), np.uint16)
    mask[9, 9] = 4
    path = written(
        tmp_path / "a.fits", fits.PrimaryHDU(), fits.ImageHDU(science, name="SCI"), fits.ImageHDU(mask, name="MASK")
    )
    with open_frame(path) as frame:
        made = make_preview(frame)
    picture = np.asarray(Image.open(io.BytesIO(made.page)))
    dark = int(picture[0, 0, 0])
    assert picture[9, 0].tolist() == [255, 255, 255]
    assert dark < 255
    assert picture[0, 9].tolist() == [int(0.25 * dark + 0.75 * part) for part in CAUSES[4][1]]
    assert made.facts.masked == {"saturated": 1}


def test_a_lone_pixel_of_a_mask_is_seen_in_the_small_picture(tmp_path: Path) -> None:
    mask = np.zeros((1024, 1024), np.uint16)
    mask[512, 512] = 2
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(), fits.ImageHDU(mask, name="MASK"))
    with open_frame(path) as frame:
        thumb = np.asarray(Image.open(io.BytesIO(make_preview(frame).thumb)))
    assert (thumb != thumb[0, 0]).any(axis=2).sum() == 1


def test_the_compass_points_north(tmp_path: Path) -> None:
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-4, "CDELT2": 1e-4, "CROTA2": 0.0})
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(np.zeros((400, 400), np.float32), header))
    with open_frame(path) as frame:
        made = make_preview(frame)
    assert made.facts.pixel_scale == pytest.approx(0.36)
    picture = np.asarray(Image.open(io.BytesIO(made.page)).convert("L"))
    length = 400 / 14
    x, y = round(400 - 1.9 * length), round(1.9 * length)
    above, left = picture[y - 20, x - 3 : x + 4], picture[y - 3 : y + 4, x - 20]
    right, below = picture[y - 3 : y + 4, x + 20], picture[y + 20, x - 3 : x + 4]
    assert above.max() == 255, "north is up"
    assert left.max() == 255, "east is left"
    assert (right.max(), below.max()) == (right.min(), below.min())


def header_of(**cards: Any) -> bytes:
    """Return a header block that claims these cards."""
    lines = [f"{name:8}= {value!s:>20}".ljust(80) for name, value in cards.items()]
    return "".join([*lines, "END".ljust(80)]).encode().ljust(2880)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "too short"),
        (b"x" * 6000, "does not begin as FITS"),
        (b"SIMPLE  =" + b" " * 2871 * 2, "within a header|no end|too short"),
        (header_of(SIMPLE="T", BITPIX=-32, NAXIS=2, NAXIS1=1000000, NAXIS2=1000000), "more than the file has"),
        (header_of(SIMPLE="T", BITPIX=7, NAXIS=2, NAXIS1=10, NAXIS2=10), "no such FITS"),
        (header_of(SIMPLE="T", BITPIX=16, NAXIS=2, NAXIS1=-1, NAXIS2=10), "negative"),
        (header_of(SIMPLE="T", BITPIX="'a'", NAXIS=2), "not a whole number"),
        (header_of(SIMPLE="T", BITPIX=8, NAXIS=0), "holds no image"),
        (gzip.compress(b"SIMPLE", mtime=0)[:-6], "decompressed|too short|ends within"),
    ],
)
def test_a_file_that_lies_is_refused_with_a_reason(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(FrameError, match=why), open_frame(path) as frame:
        make_preview(frame)


def test_a_tiny_gzip_that_claims_a_giant_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.fits.gz"
    path.write_bytes(
        gzip.compress(header_of(SIMPLE="T", BITPIX=16, NAXIS=2, NAXIS1=20000, NAXIS2=20000) + bytes(5 << 20))
    )
    with pytest.raises(FrameError, match="more than the file has"), open_frame(path):
        pass


def test_mutated_files_end_in_a_reason(tmp_path: Path, counts: Any) -> None:
    good = written(tmp_path / "a.fits", fits.PrimaryHDU(), fits.CompImageHDU(counts, name="SCI")).read_bytes()
    random = np.random.default_rng(5)
    path = tmp_path / "b.fits"
    reasons: list[str] = []
    for _ in range(150):
        content = bytearray(good)
        for place in random.integers(0, len(content), 8):
            content[place] = random.integers(0, 256)
        path.write_bytes(content[: random.integers(1000, len(content))])
        try:
            with open_frame(path) as frame:
                make_preview(frame)
        except FrameError as reason:
            reasons.append(str(reason))
    assert reasons
    assert all(reasons)


def test_a_large_frame_is_drawn_soon_and_in_little_memory(tmp_path: Path) -> None:
    shape = (4096, 4096)
    path = tmp_path / "large.fits"
    written(path, fits.PrimaryHDU(), fits.ImageHDU(np.ones(shape, np.float32), name="SCI"))
    tracemalloc.start()
    begun = time.process_time()
    with open_frame(path) as frame:
        make_preview(frame)
    seconds, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20, "a frame of 64 MiB is never in memory as a whole"
    assert seconds < 4, "U4 asks for 2 s; tracing and a busy machine are allowed for"


def test_pictures_are_made_once(tmp_path: Path, counts: Any) -> None:
    path = written(tmp_path / "a.fits", fits.PrimaryHDU(counts))
    kept = KeptPictures(tmp_path / "previews")
    subject = Subject("ab" * 32, path)
    first = kept.picture(subject, "page")
    path.unlink()
    assert kept.picture(subject, "page") == first
    assert kept.facts(subject)["rows"] == 101


def test_what_cannot_be_shown_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(b"no")
    kept = KeptPictures(tmp_path / "previews")
    for _ in range(2):
        with pytest.raises(FrameError, match="too short"):
            kept.picture(Subject("cd" * 32, path), "thumb")
        path.unlink(missing_ok=True)


def test_cards_are_read_as_they_stand() -> None:
    lines = [
        "OBJECT  = 'O''Brien / field'    / the field",
        "EXPTIME =                 12.5 / [s] time",
        "HIERARCH ESO DET GAIN = 2.5 / gain",
        "COMMENT  free text = not a value",
    ]
    block = "".join(line.ljust(80) for line in [*lines, "END"]).encode()
    cards = [(card.keyword, card.value, card.comment) for card in read_cards(block)]
    assert cards == [
        ("OBJECT", "O'Brien / field", "the field"),
        ("EXPTIME", "12.5", "[s] time"),
        ("ESO DET GAIN", "2.5", "gain"),
        ("COMMENT", "free text = not a value", ""),
    ]


def test_a_table_gives_its_first_rows(tmp_path: Path) -> None:
    columns = [
        fits.Column("X_IMAGE", "D", unit="pix", array=np.arange(50.0)),
        fits.Column("NAME", "8A", array=["a"] * 50),
    ]
    path = written(tmp_path / "t.fits", fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="SOURCES"))
    table = read_table(path, 3)
    assert table is not None
    assert (table.rows_in_all, table.columns, table.units) == (50, ["X_IMAGE", "NAME"], ["pix", ""])
    assert table.rows == [[0.0, "a"], [1.0, "a"], [2.0, "a"]]
