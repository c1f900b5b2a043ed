"""Positions of Science against those of source-extractor and SCAMP, and its headers as SWarp reads them."""

from __future__ import annotations

import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table as AstropyTable
from astropy.wcs import WCS

from observatory.night import observe
from observatory.plan import Plan
from recipes.attributes import FrameAttributes
from recipes.bias import bias
from recipes.ccd.tangent_plane import separation
from recipes.ccd.wcs import celestial, sky_positions
from recipes.fits_header import parse_header
from recipes.frame import Frame
from recipes.reduce import reduce
from recipes.science import science
from recipes.tables import Column, Table
from tests.peers.coordinate_forms import FORMS, X, Y, cards_of, frame_of
from tests.peers.report import record
from tests.recipes.observed import Observed, as_frame

ERROR = 0.03  # arcsec of the catalogue's positions, on each axis
COLUMNS, ROWS = 512, 1024

PARAMETERS = """NUMBER
XWIN_IMAGE
YWIN_IMAGE
ERRAWIN_IMAGE
ERRBWIN_IMAGE
ERRTHETAWIN_IMAGE
FLUX_AUTO
FLUXERR_AUTO
FLUX_RADIUS
ELONGATION
FLAGS
"""


@dataclass
class Chip:
    """A reduced exposure of a chip, and its true coordinates."""

    frame: Frame
    true: WCS


def coordinates_of(path: Path) -> WCS:
    """Return the coordinate system of a file of the truth, or of a ``.head`` file of SCAMP."""
    header: Any = fits.getheader(path) if path.suffix == ".fits" else None
    if header is None:  # its comments are not ASCII, and end in one card too long
        lines = [line.ljust(80)[:80] for line in path.read_bytes().splitlines()]
        header = parse_header(b"".join(lines))
    kept = {key: header[key] for key in header if key[:2] in ("CT", "CR", "CD", "PV", "CU", "RA", "EQ")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SCAMP's RADECSYS
        return WCS(fits.Header(kept))


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Chip], AstropyTable]:
    """Two exposures of four chips, and the stars of the sky."""
    folder = tmp_path_factory.mktemp("mosaic")
    observe(folder, Plan(chips=4, columns=COLUMNS, rows=ROWS, seed=7, biases=3, darks=0, dome_flats=0,
                         transfer_times=(), twilight_flats=0, science=2, trails=0))  # fmt: skip
    chips = []
    for name in ("ccd1", "ccd2", "ccd3", "ccd4"):
        observed = Observed(folder, name)
        level = as_frame(
            bias([observed.raw(note) for note in observed.of_type("BIAS")], observed.read_noise).products[0]
        )
        for note in observed.of_type("SCIENCE"):
            made = reduce(observed.raw(note), level, observed.flat, observed.hot, observed.cold, observed.gain,
                          observed.read_noise)  # fmt: skip
            frame = as_frame(made.products[0])
            frame.name = note["file"].removesuffix(".fits")
            chips.append(Chip(frame, coordinates_of(folder / "truth" / note["file"])))
    truth = fits.getdata(folder / "truth" / "catalogue.fits", "CATALOGUE")
    return chips, with_errors(truth[truth["IS_STAR"] & (truth["MAG_r"] < 20.5)])


def with_errors(found: np.ndarray) -> AstropyTable:
    """Return the true stars as a catalogue has them."""
    east, north = np.random.default_rng(5).normal(0, ERROR, (2, len(found))) / 3600
    return AstropyTable({"RA": found["RA"] + east / np.cos(np.deg2rad(found["DEC"])), "DEC": found["DEC"] + north,
                         "MAG": found["MAG_r"].astype(float)})  # fmt: skip


def away_from_truth(chip: Chip, coordinates: Any) -> np.ndarray:
    """Return errors of positions all over the chip, east and north [arcsec]."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(1, COLUMNS, 17), np.linspace(1, ROWS, 33)))
    ra, dec = chip.true.all_pix2world(x, y, 1)
    found = sky_positions(coordinates, x, y)
    return np.stack([(found[0] - ra) * np.cos(np.deg2rad(dec)), found[1] - dec]) * 3600


def run(*command: object, folder: Path) -> None:
    ended = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=180,
                           check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]


def write_ldac(path: Path, stars: AstropyTable) -> None:
    """Write a reference catalogue as SCAMP reads it."""
    header = fits.Header({"EQUINOX": 2000.0, "RADESYS": "ICRS"}).tostring(endcard=True, padding=True).encode()
    head = fits.BinTableHDU.from_columns(
        [fits.Column("Field Header Card", f"{len(header)}A", array=np.array([header]))], name="LDAC_IMHEAD"
    )
    degrees = np.full(len(stars), ERROR / 3600)
    columns = {"X_WORLD": stars["RA"], "Y_WORLD": stars["DEC"], "ERRA_WORLD": degrees, "ERRB_WORLD": degrees,
               "ERRTHETA_WORLD": np.zeros(len(stars)), "MAG": stars["MAG"], "MAGERR": np.full(len(stars), 0.01),
               "OBSDATE": np.full(len(stars), 2026.2)}  # fmt: skip
    table = fits.BinTableHDU(AstropyTable(columns), name="LDAC_OBJECTS")
    fits.HDUList([fits.PrimaryHDU(), head, table]).writeto(path)


def extract(chip: Chip, folder: Path) -> Path:
    """Run source-extractor on a chip; return its catalogue."""
    frame = chip.frame
    header = fits.Header(frame.wcs)
    header["FILTER"], header["EXPTIME"], header["AIRMASS"], header["GAIN"] = "r", 120.0, 1.0, 1.0
    header["DATE-OBS"], header["INSTRUME"] = frame.attributes.date_obs, f"SimCam {frame.attributes.chip}"
    fits.writeto(folder / f"{frame.name}.fits", frame.data, header)
    weight = np.where(frame.mask == 0, 1 / np.maximum(frame.variance, 1e-3), 0)
    fits.writeto(folder / "weight.fits", weight, overwrite=True)
    (folder / "default.param").write_text(PARAMETERS)
    (folder / "default.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    catalogue = folder / f"{frame.name}.ldac"
    run("source-extractor", f"{frame.name}.fits", "-c", "/dev/null", "-CATALOG_NAME", catalogue,
        "-CATALOG_TYPE", "FITS_LDAC", "-PARAMETERS_NAME", "default.param", "-FILTER_NAME", "default.conv",
        "-WEIGHT_TYPE", "MAP_WEIGHT", "-WEIGHT_IMAGE", "weight.fits", "-GAIN", "1.0", "-DETECT_THRESH", "4",
        "-SATUR_LEVEL", "60000", "-VERBOSE_TYPE", "QUIET", folder=folder)  # fmt: skip
    return catalogue


@pytest.mark.program("source-extractor", "source-extractor")
@pytest.mark.program("scamp", "scamp")
def test_positions_are_as_good_as_those_of_scamp(mosaic: tuple[list[Chip], AstropyTable], tmp_path: Path) -> None:
    chips, stars = mosaic
    catalogues = [extract(chip, tmp_path) for chip in chips]
    write_ldac(tmp_path / "reference.ldac", stars)
    run("scamp", *catalogues, "-c", "/dev/null", "-ASTREF_CATALOG", "FILE", "-ASTREFCAT_NAME", "reference.ldac",
        "-DISTORT_DEGREES", "3", "-POSITION_MAXERR", "2.0", "-SOLVE_PHOTOM", "N", "-CHECKPLOT_TYPE", "NONE",
        "-WRITE_XML", "N", "-MOSAIC_TYPE", "UNCHANGED", "-SN_THRESHOLDS", "5,50", "-VERBOSE_TYPE", "QUIET",
        folder=tmp_path)  # fmt: skip
    reference = Table({"RA": Column(np.array(stars["RA"])), "DEC": Column(np.array(stars["DEC"])),
                       "MAG_r": Column(np.array(stars["MAG"])), "RA_ERROR": Column(np.full(len(stars), ERROR))},
                      attributes=FrameAttributes(catalogue="truth", epoch=2026.2))  # fmt: skip
    ours, theirs = [], []
    for chip, catalogue in zip(chips, catalogues, strict=True):
        made = science(chip.frame, reference)
        ours.append(away_from_truth(chip, celestial(made.products[1].content.wcs)))
        theirs.append(away_from_truth(chip, coordinates_of(catalogue.with_suffix(".head"))))
    our_rms, their_rms = (float(np.sqrt(np.mean(np.square(errors)))) for errors in (ours, theirs))
    print(our_rms, their_rms)
    record("Science", "SCAMP", "rms of positions against the truth, simulated mosaic [arcsec]", our_rms, their_rms,
           "not above", met=our_rms <= their_rms)  # fmt: skip
    assert our_rms <= their_rms
    our_bias = float(np.abs(np.mean(ours, axis=(0, 2))).max())
    assert our_bias < 3.5 * our_rms / np.sqrt(len(chips))


@pytest.mark.program("SWarp", "swarp")
@pytest.mark.parametrize("form", FORMS)
def test_swarp_puts_stars_where_the_written_header_has_them(form: str, tmp_path: Path) -> None:
    cards, frame, x, y = cards_of(form), frame_of(form), X, Y
    made = science(frame, None, None, frame, grid_centres="150,40", pixel_scale=0.72, resampling="LANCZOS3")
    written = made.products[1].content.wcs
    assert (
        separation(*sky_positions(celestial(cards), x, y), *sky_positions(celestial(written), x, y)).max() * 3600 < 1e-4
    )
    fits.writeto(tmp_path / "stars.fits", frame.data.astype(np.float32), fits.Header(written))
    run("SWarp", "stars.fits", "-c", "/dev/null", "-SUBTRACT_BACK", "N", "-RESAMPLING_TYPE", "LANCZOS3",
        "-PIXELSCALE_TYPE", "MANUAL", "-PIXEL_SCALE", "0.72", "-CENTER_TYPE", "MANUAL", "-CENTER", "150,40",
        "-IMAGE_SIZE", "500", "-WRITE_XML", "N", "-PROJECTION_ERR", "0", "-VERBOSE_TYPE", "QUIET",
        folder=tmp_path)  # fmt: skip
    swarped, header = fits.getdata(tmp_path / "coadd.fits", header=True)
    ra, dec = sky_positions(celestial(written), x, y)
    theirs = found_at(swarped.astype(float), *WCS(header).all_world2pix(ra, dec, 0))
    on_grid = made.products[2].content
    ours = found_at(on_grid.data.astype(float), *celestial(on_grid.wcs).all_world2pix(ra, dec, 0))
    most, their_most = float(np.abs(ours).max()), float(np.abs(theirs).max())
    record("Science", "SWarp", f"stars against the written header, {form} [pixel]", most, their_most,
           "≤ 0.005, SWarp ≤ 0.02", met=most <= 0.005)  # fmt: skip
    # SWarp places its kernel to a hundredth of a pixel; terms that it did not read would be some pixels.
    assert their_most < 0.02
    assert most < 0.005


def found_at(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far stars lie from where they should [pixel]."""
    import sep

    at_x, at_y, _ = sep.winpos(np.ascontiguousarray(image), x, y, np.full(len(x), 2.0))
    return np.stack([at_x - x, at_y - y])
