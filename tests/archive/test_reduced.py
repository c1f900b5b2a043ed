"""Frames that others reduced go in with weight and data quality, in our mask bits; what is not said is asked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from archive.context import VISITOR, Context
from archive.ingest import BadRequest, Outcome
from archive.instruments.generic import BadCamera, camera_from_toml
from archive.models import Lineage, Product
from archive.reduced.ingest import BELONGS_TO, ingest_reduced
from archive.reduced.reading import ReducedFiles
from dataserver.store import Store
from recipes import masks
from recipes.attributes import FrameAttributes
from recipes.fits_reading import open_fits, read_product_frame
from recipes.frame import Frame

pytestmark = pytest.mark.django_db

CARDS = {
    "INSTRUME": "Pipecam", "DATE-OBS": "2021-03-14T04:05:06", "EXPTIME": 120.0, "FILTER": "r", "OBJECT": "field",
    "BUNIT": "electron", "MAGZERO": 31.25, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0,
    "CRPIX1": 5.5, "CRPIX2": 4.5, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4, "FLATCOR": "done",
}  # fmt: skip
CODES = camera_from_toml('name = "pipecam"\n[mask_codes]\n1 = "cold"\n3 = "saturated"\n')
BITS = camera_from_toml('name = "pipecam"\n[mask_bits]\n1 = "hot"\n4 = "cosmic_ray"\n')


def image(data: Any, **cards: Any) -> bytes:
    stream = io.BytesIO()
    header = fits.Header({**CARDS, **cards})
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.asarray(data), header, name="N1")]).writeto(stream)
    return stream.getvalue()


def sky() -> np.ndarray:
    return np.random.default_rng(1).normal(100, 5, (8, 10)).astype(np.float32)


def bring(
    context: Context, store: Store, science: bytes, weight: bytes = b"", mask: bytes = b"", camera: Any = CODES,
    weight_type: str = "",
) -> Outcome:  # fmt: skip
    files = ReducedFiles(
        (io.BytesIO(science), "a.fits"),
        (io.BytesIO(weight), "w.fits") if weight else None,
        (io.BytesIO(mask), "m.fits") if mask else None,
        weight_type,
    )
    return ingest_reduced(files, context, store, camera)


def read(store: Store, number: int) -> Frame:
    row = Product.objects.get(pk=number)
    with open_fits(store.path(row.sha256), row.name) as file:
        frame = read_product_frame(file, FrameAttributes())
        data, variance, mask = frame.data, frame.variance, frame.mask
        return Frame(data, variance=variance, mask=mask, unit=frame.unit, wcs=frame.wcs)


def test_image_weight_and_codes_become_a_frame_and_its_weight(context: Context, store: Store) -> None:
    pixels = sky()
    pixels[0, 0] = np.nan
    weight = np.full((8, 10), 0.04, np.float32)
    weight[1, 1] = 0
    quality = np.zeros((8, 10), np.int32)
    quality[2, 2], quality[3, 3], quality[4, 4] = 1, 3, 9
    outcome = bring(context, store, image(pixels), image(weight), image(quality))
    assert outcome.state == "ingested", outcome
    frame, inverse = (read(store, number) for number in outcome.products)
    expected = np.zeros((8, 10), np.uint16)
    expected[0, 0] = expected[1, 1] = masks.NO_DATA
    expected[2, 2], expected[3, 3], expected[4, 4] = masks.COLD, masks.SATURATED, masks.USER
    assert np.array_equal(frame.mask, expected)
    good = expected == 0
    assert np.array_equal(frame.data[good], pixels[good])
    assert frame.variance is not None
    assert frame.variance[good] == pytest.approx(25.0)
    assert (frame.unit, inverse.unit) == ("electron", "1/electron2")
    assert inverse.data[good] == pytest.approx(0.04)
    assert not inverse.data[~good].any()
    assert "its mask has values that the camera's file does not tell: 9" in outcome.notes
    rows = [Product.objects.get(pk=number) for number in outcome.products]
    assert [row.kind for row in rows] == ["ReducedScienceFrame", "WeightFrame"]
    assert Lineage.objects.get(role=BELONGS_TO).source == rows[0]
    assert rows[0].attributes["zeropoint"] == 31.25
    assert rows[0].attributes["pixel_scale"] == pytest.approx(0.36)
    assert (rows[0].instrument, rows[0].filter_name, rows[0].chip) == ("pipecam", "r", "N1")
    assert rows[0].attributes["centre_ra"] == pytest.approx(150.0, abs=1e-5)


def test_the_same_exposure_twice_is_there_once(context: Context, store: Store) -> None:
    content = image(sky()), image(np.ones((8, 10), np.float32))
    first, again = (bring(context, store, *content) for _ in range(2))
    assert (again.state, again.products) == ("already_there", first.products)
    assert Product.objects.count() == 2


@pytest.mark.parametrize(("kind", "values"), [("weight", 0.25), ("variance", 4.0), ("sigma", 2.0)])
def test_a_weight_is_what_it_is_said_to_be(context: Context, store: Store, kind: str, values: float) -> None:
    outcome = bring(context, store, image(sky()), image(np.full((8, 10), values)), weight_type=kind)
    frame = read(store, outcome.products[0])
    assert frame.variance is not None
    assert frame.variance == pytest.approx(4.0)
    with pytest.raises(BadRequest, match="none of weight, variance, sigma"):
        bring(context, store, image(sky()), weight_type="rms")


def test_bits_are_told_by_the_cameras_file(context: Context, store: Store) -> None:
    quality = np.zeros((8, 10), np.int16)
    quality[0, :4] = 1, 4, 5, 8
    frame = read(store, bring(context, store, image(sky()), b"", image(quality), BITS).products[0])
    assert list(frame.mask[0, :5]) == [masks.HOT, masks.COSMIC_RAY, masks.HOT | masks.COSMIC_RAY, masks.USER, 0]


def test_one_file_may_hold_all_three(context: Context, store: Store) -> None:
    stream = io.BytesIO()
    error, quality = np.full((8, 10), 3.0, np.float32), np.zeros((8, 10), np.uint8)
    quality[5, 5] = 1
    fits.HDUList([
        fits.PrimaryHDU(),
        fits.ImageHDU(sky(), fits.Header(CARDS), name="SCI"),
        fits.ImageHDU(quality, fits.Header({"MASKCONV": "1=BAD"}), name="BPM"),
        fits.ImageHDU(error, name="ERR"),
    ]).writeto(stream)  # fmt: skip
    frame = read(store, bring(context, store, stream.getvalue(), camera=None).products[0])
    assert frame.variance is not None
    assert frame.variance[0, 0] == pytest.approx(9.0)
    assert frame.mask[5, 5] == masks.USER


def test_what_is_not_said_or_does_not_fit_is_refused(context: Context, store: Store) -> None:
    quality = image(np.zeros((8, 10), np.int16))
    unsaid = bring(context, store, image(sky()), b"", quality, camera=None)
    assert unsaid.reason == "the mask m.fits does not say what its values mean"
    assert "[mask_codes] or [mask_bits]" in unsaid.hint
    small = bring(context, store, image(sky()), image(np.ones((3, 4), np.float32)))
    assert small.reason == "the weight w.fits has 4×3 pixels, the image 10×8"
    assert bring(context, store, image(sky(), BUNIT="nanomaggy")).reason == "its pixels are in 'nanomaggy'"
    assert bring(context, store, b"nothing").state == "refused"
    with pytest.raises(BadRequest, match="log in"):
        bring(VISITOR, store, image(sky()))
    for wrong in ('[mask_bits]\n3 = "hot"', '[mask_codes]\nx = "hot"', '[mask_codes]\n1 = "sofa"',
                  '[mask_codes]\n1 = "hot"\n[mask_bits]\n1 = "hot"'):  # fmt: skip
        with pytest.raises(BadCamera):
            camera_from_toml(f'name = "x"\n{wrong}')
    assert not Product.objects.exists()


@pytest.mark.real_frames
def test_the_decam_cut_outs_go_in(context: Context, store: Store, real_frames: Path) -> None:
    folder = real_frames / "decam_cutouts_reduced" / "decam"
    images = sorted(folder.rglob("*_ooi_*.fits"))
    assert len(images) == 8
    for path in images:
        weight, mask = (path.with_name(path.name.replace("_ooi_", part)) for part in ("_oow_", "_ood_"))
        outcome = ingest_reduced(
            ReducedFiles((path, path.name), (weight, weight.name), (mask, mask.name)), context, store
        )
        assert outcome.state == "ingested", outcome
        frame = read(store, outcome.products[0])
        with fits.open(path) as science, fits.open(weight) as inverse, fits.open(mask) as quality:
            good = (quality[1].data == 0) & (inverse[1].data > 0)
            assert np.array_equal(frame.mask == 0, good)
            assert np.array_equal(frame.data[good], science[1].data[good])
            assert frame.variance is not None
            assert frame.variance[good] == pytest.approx(1 / inverse[1].data[good], rel=1e-6)
            theirs = WCS(science[1].header).all_pix2world([[20.0, 25.0]], 0)
        ours = WCS(fits.Header(frame.wcs)).all_pix2world([[20.0, 25.0]], 0)
        assert ours == pytest.approx(theirs, abs=1e-9)
        row = Product.objects.get(pk=outcome.products[0])
        assert (row.instrument, row.filter_name) == ("decam", path.name.split("_")[4])
        assert row.chip in {"41", "42", "43"}
        assert row.attributes["centre_ra"] == pytest.approx(244.7, abs=0.1)
