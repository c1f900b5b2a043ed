"""Reading: every way in which a camera may store its pixels, and every way in which a file may lie."""

from __future__ import annotations

import gzip
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from recipes.attributes import FrameAttributes
from recipes.errors import UsageError, is_of_the_machine
from recipes.fits_header import number, parse_header, wcs_cards
from recipes.fits_reading import attributes_in, open_fits, read_product_frame, read_raw_frame, read_table

PIXELS = np.arange(12 * 17).reshape(12, 17)


def read(path, tmp_path, **attributes):
    with open_fits(path, path.name, tmp_path) as opened:
        frame = read_raw_frame(opened, FrameAttributes(**attributes), tmp_path)
        parts = [strip.data for strip in frame.strips(5)]
        assert np.array_equal(np.vstack(parts), frame.data, equal_nan=True)
        return frame.data.copy(), frame.mask.copy()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_pixel_type_is_read(tmp_path, dtype):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(PIXELS.astype(dtype)).writeto(path)
    data, mask = read(path, tmp_path)
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, PIXELS)
    assert not mask.any()


@pytest.mark.parametrize("suffix", [".fits.gz", ".fits.fz", ".FIT"])
def test_compressed_files_are_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    pixels = (1000 + PIXELS).astype("u2")
    if suffix == ".fits.fz":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, compression_type="RICE_1")]).writeto(path)
    elif suffix == ".fits.gz":
        fits.PrimaryHDU(pixels).writeto(path)
    else:  # gzip without saying so
        plain = tmp_path / "plain.fits"
        fits.PrimaryHDU(pixels).writeto(plain)
        path.write_bytes(gzip.compress(plain.read_bytes()))
    data, _ = read(path, tmp_path)
    np.testing.assert_array_equal(data, pixels)


def test_a_full_disk_is_no_fault_of_the_file(tmp_path, monkeypatch):
    path = tmp_path / "x.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((30, 40), np.int16))]).writeto(path)
    with Path("/dev/full").open("wb", buffering=0) as full, open_fits(path, "x") as opened:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
        with pytest.raises(OSError, match="No space left") as caught:
            read_raw_frame(opened, FrameAttributes())
    assert is_of_the_machine(caught.value)


def test_blank_and_not_a_number_are_no_data(tmp_path):
    whole = fits.PrimaryHDU(PIXELS.astype("i2"))
    whole.header["BLANK"] = 7
    whole.writeto(tmp_path / "i.fits")
    data, mask = read(tmp_path / "i.fits", tmp_path)
    assert np.isnan(data[0, 7])
    assert mask[0, 7] == 32
    assert np.count_nonzero(mask) == 1


def test_numbers_written_as_strings_are_understood(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(PIXELS.astype("i2")).writeto(path)
    raw = path.read_bytes()
    card = b"BZERO   = '32768   '".ljust(80)
    path.write_bytes(raw.replace(b"END".ljust(160), card + b"END".ljust(80), 1))
    data, _ = read(path, tmp_path)
    np.testing.assert_array_equal(data, PIXELS + 32768)


def test_the_named_extension_is_read(tmp_path):
    path = tmp_path / "mosaic.fits"
    images = [fits.ImageHDU(np.full((4, 5), value, "f4"), name=f"CCD{value}") for value in (1, 2, 3)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path)
    assert read(path, tmp_path)[0][0, 0] == 1
    assert read(path, tmp_path, extension="ccd3")[0][0, 0] == 3
    assert read(path, tmp_path, extension=2)[0][0, 0] == 2
    with pytest.raises(UsageError, match=r"mosaic\.fits has no image 'CCD9'") as caught:
        read(path, tmp_path, extension="CCD9")
    assert "CCD2 5×4" in caught.value.hint


@pytest.mark.parametrize(
    ("pixels", "words"),
    [(np.zeros((3, 4, 5), "i2"), "5 × 4 × 3"), (np.zeros(9, "i2"), "holds no image"), (None, "holds no image")],
)
def test_what_is_no_plane_is_refused(tmp_path, pixels, words):
    path = tmp_path / "odd.fits"
    fits.PrimaryHDU(pixels).writeto(path)
    with pytest.raises(UsageError, match=words):
        read(path, tmp_path)


def test_a_third_axis_of_length_one_is_no_matter(tmp_path):
    path = tmp_path / "cube.fits"
    fits.PrimaryHDU(PIXELS.astype("i2")[np.newaxis]).writeto(path)
    np.testing.assert_array_equal(read(path, tmp_path)[0], PIXELS)


def lying_header(claim):
    cards = ["SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    2",
             f"NAXIS1  = {claim:20d}", f"NAXIS2  = {claim:20d}", "END"]  # fmt: skip
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode()


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_claims_too_much_is_refused_before_anything_is_read(tmp_path, packed):
    path = tmp_path / "huge.fits"
    content = lying_header(1_000_000) + bytes(2880)
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"huge\.fits: .*(claims|more than)"):
        read(path, tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_claims(tmp_path):
    path = tmp_path / "bomb.fits.gz"
    path.write_bytes(gzip.compress(lying_header(10) + bytes(200_000_000), 1))
    with open_fits(path, "bomb", tmp_path) as opened:
        opened.file.seek(0, 2)
        assert opened.file.tell() <= 3 * 2880


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x89PNG" + bytes(5000), "is not a FITS file"),
        (lying_header(100)[:2000], "header is cut off"),
        (lying_header(100) + bytes(100), "claims 20000 bytes of data"),
        (b"SIMPLE  = T".ljust(2880), "header is cut off"),
        (gzip.compress(lying_header(30) + bytes(2880), mtime=0)[:60], "gzip file is damaged"),
    ],
)
def test_broken_files_are_refused_by_name(tmp_path, content, words):
    path = tmp_path / "broken.fits"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        read(path, tmp_path)
    assert "broken.fits" in caught.value.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"night/b1\.fits cannot be read"), open_fits(tmp_path / "x", "night/b1.fits"):
        pass


def test_a_mask_that_does_not_say_what_it_means_is_refused(tmp_path):
    mask = fits.ImageHDU(np.array([[0, 1], [1, 0]], "i2"), name="MASK")
    path = tmp_path / "map.fits"
    fits.HDUList([fits.PrimaryHDU(), mask]).writeto(path)
    with open_fits(path, "map.fits") as opened, pytest.raises(UsageError, match=r"map\.fits: its MASK does not say"):
        read_product_frame(opened, FrameAttributes())


@pytest.mark.parametrize(("convention", "bad"), [("1=GOOD", [[256, 0], [0, 256]]), ("1=BAD", [[0, 256], [256, 0]])])
def test_maps_of_others_are_understood(tmp_path, convention, bad):
    mask = fits.ImageHDU(np.array([[0, 1], [1, 0]], "i2"), fits.Header({"MASKCONV": convention}), name="MASK")
    path = tmp_path / "map.fits"
    fits.HDUList([fits.PrimaryHDU(), mask]).writeto(path)
    with open_fits(path, "map.fits") as opened:
        np.testing.assert_array_equal(read_product_frame(opened, FrameAttributes()).mask, bad)


def test_attributes_that_are_no_numbers_are_refused_by_name(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(PIXELS.astype("i2")).writeto(path)
    with open_fits(path, "a.fits") as opened:
        assert attributes_in(opened, {"exposure_time": "12.5"}).exposure_time == 12.5
        with pytest.raises(UsageError, match=r"a\.fits: attribute exposure_time: .*'long'"):
            attributes_in(opened, {"exposure_time": "long"})


@pytest.mark.parametrize("names", [["M13", "Kepler"], ["", ""]])
def test_texts_of_a_table_are_read_and_broken_ones_refused_by_column(tmp_path, names):
    column = fits.Column("REMARK", "6A", array=np.array(names))
    path = tmp_path / "stars.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(path)
    with open_fits(path, path.name) as file:
        assert read_table(file, FrameAttributes()).columns["REMARK"].values.tolist() == names
    content = bytearray(path.read_bytes())
    content[-2880 + 3] = 0xF2  # in the first row
    path.write_bytes(content)
    with open_fits(path, path.name) as file, pytest.raises(UsageError, match=r"stars\.fits: column REMARK"):
        read_table(file, FrameAttributes())


def test_cards_of_all_sorts_are_parsed():
    lines = ["SIMPLE  =                    T", "NAME    = 'O''Brien  '         / comment", "GAIN    = '1.5 '",
             "EXP     =              1.5D+02", "NOTHING =", "COMMENT = no value", "TEXT    = 'long &'",
             "CONTINUE  'text'", "X       = 12 / twelve", "HIERARCH A B = 3"]  # fmt: skip
    cards = parse_header("".join(line.ljust(80) for line in lines).encode())
    assert cards["NAME"] == "O'Brien"
    assert cards["TEXT"] == "long text"
    assert number(cards, "GAIN", 0) == 1.5
    assert number(cards, "EXP", 0) == 150
    assert cards["NOTHING"] is None
    assert cards["X"] == 12


def test_world_coordinates_are_handed_on_only_when_complete():
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": "10.5", "CRVAL2": 1, "CRPIX1": 5, "CRPIX2": 6,
             "CD1_1": 1e-4, "A_ORDER": 2, "OBJECT": "M13"}  # fmt: skip
    found = wcs_cards(cards)
    assert found["CRVAL1"] == 10.5
    assert "OBJECT" not in found
    assert wcs_cards({"CTYPE1": "RA---TAN"}) == {}


def mutated(content, rng):
    """Return a file with some bytes changed, cards overwritten, bytes put in, or its end cut off."""
    broken = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(0, max(1, min(len(broken), 6000))))
        match rng.integers(0, 4):
            case 0:
                broken[at : at + 1] = rng.bytes(1)
            case 1:
                del broken[int(rng.integers(1, len(broken) + 1)) :]
            case 2:
                card = at // 80 * 80
                broken[card + 10 : card + 30] = b"%20d" % int(
                    rng.choice([0, -1, 1, 2, 10**6, 2**31, 2**63 - 1, 10**18])
                )
            case 3:
                broken[at:at] = rng.bytes(int(rng.integers(1, 100)))
    return bytes(broken)


@pytest.mark.parametrize("sort", ["plain", "extensions", "compressed", "gzip"])
def test_mutated_files_are_read_or_refused(tmp_path, sort):
    pixels = np.random.default_rng(1).integers(0, 60000, (40, 30)).astype("u2")
    hdus = {
        "extensions": [fits.PrimaryHDU(), fits.ImageHDU(pixels), fits.ImageHDU(pixels.astype("f4"))],
        "compressed": [fits.PrimaryHDU(), fits.CompImageHDU(pixels)],
    }.get(sort, [fits.PrimaryHDU(pixels)])
    path = tmp_path / "whole.fits"
    fits.HDUList(hdus).writeto(path)
    content = gzip.compress(path.read_bytes()) if sort == "gzip" else path.read_bytes()
    rng = np.random.default_rng(2)
    refusals = []
    for _ in range(100):
        (tmp_path / "broken.fits").write_bytes(mutated(content, rng))
        try:
            read(tmp_path / "broken.fits", tmp_path)
        except UsageError as error:
            refusals.append(error.message)
    assert len(refusals) > 20
    assert all("broken.fits" in message for message in refusals)
