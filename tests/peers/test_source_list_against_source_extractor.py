"""SourceList beside source-extractor with the same settings, on a simulated field: the same sources and numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from recipes.attributes import FrameAttributes
from recipes.frame import Frame
from recipes.source_list import source_list
from tests.peers.report import record
from tests.recipes.source_extractor import SourceExtractor
from tests.recipes.star_field import StarField, make_field

pytestmark = pytest.mark.program("source-extractor", "source-extractor")

# Median ratio to source-extractor's that a column may have, and half the width of the middle 80 per cent. The same
# pixels are summed by the same rule, so that they agree but for the last digits, except in blends, where pixels between
# sources go to one of them by chance, and near detections that only one of them kept.
COLUMNS = (
    "X2_IMAGE", "Y2_IMAGE", "A_IMAGE", "B_IMAGE", "ELONGATION", "ELLIPTICITY", "FWHM_IMAGE", "ISOAREA_IMAGE",
    "ISOAREAF_IMAGE", "KRON_RADIUS", "FLUX_AUTO", "FLUXERR_AUTO", "FLUX_ISO", "FLUXERR_ISO", "FLUX_RADIUS", "FLUX_MAX",
    "THRESHOLD", "ERRX2_IMAGE", "ERRY2_IMAGE", "MAGERR_AUTO",
)  # fmt: skip
POSITIONS = ("X_IMAGE", "Y_IMAGE", "XWIN_IMAGE", "YWIN_IMAGE", "XPEAK_IMAGE", "YPEAK_IMAGE")


def searched(pixels, variance=None, detection=None, **parameters):
    attributes = FrameAttributes(instrument="x", chip="1")

    def framed(values, its_variance=None):
        return Frame(values, variance=its_variance, attributes=attributes, unit="electron", name="field")

    outcome = source_list(
        framed(pixels, variance), None, None if detection is None else framed(detection), **parameters
    )
    return {name: column.values for name, column in outcome.products[0].content.columns.items()}


@dataclass
class Pair:
    """Our list and theirs; places in both of the sources that are one."""

    ours: dict[str, np.ndarray[Any, Any]]
    theirs: np.ndarray[Any, Any]

    def __post_init__(self) -> None:
        here = np.column_stack([self.ours["X_IMAGE"], self.ours["Y_IMAGE"]])
        there = np.column_stack([self.theirs["X_IMAGE"], self.theirs["Y_IMAGE"]])
        self.distance, nearest = cKDTree(here).query(there)
        self.there = np.flatnonzero(self.distance < 1.0)
        self.here = nearest[self.there]
        self.alone = cKDTree(there).query(there, k=2)[0][self.there, 1] > 20

    def both(self, name):
        return self.ours[name][self.here].astype(float), self.theirs[name][self.there].astype(float)


@pytest.fixture(scope="module")
def field() -> StarField:
    return make_field(1024, 1024, 2500)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return SourceExtractor(tmp_path_factory.mktemp("source-extractor"))


@pytest.fixture(scope="module")
def pair(field, program) -> Pair:
    return Pair(searched(field.pixels), program.run(program.write("field.fits", field.pixels)))


def found_part(field: StarField, x, y) -> tuple[float, float]:
    """Return which part of the true sources above 10 sigma is found, and which part of what is found is true."""
    truth, found = np.column_stack([field.x, field.y]), np.column_stack([x - 1, y - 1])
    visible = field.flux > 10 * field.noise * np.sqrt(np.pi) * 3.2
    completeness = np.mean(cKDTree(found).query(truth[visible])[0] < 2)
    purity = np.mean(cKDTree(truth).query(found)[0] < 2)
    return float(completeness), float(purity)


def test_as_complete_and_as_pure(field, pair) -> None:
    ours = found_part(field, pair.ours["X_IMAGE"], pair.ours["Y_IMAGE"])
    theirs = found_part(field, pair.theirs["X_IMAGE"], pair.theirs["Y_IMAGE"])
    for what, mine, its in zip(("completeness", "purity"), ours, theirs, strict=True):
        met = abs(mine - its) <= 0.005
        record("SourceList", "source-extractor", what, mine, its, "within 0.005", met=met)
        assert met


def test_finds_its_detections_above_five_sigma(pair) -> None:
    significant = pair.theirs["FLUX_AUTO"] > 5 * pair.theirs["FLUXERR_AUTO"]
    share = float(np.mean(pair.distance[significant] < 1.0))
    record(
        "SourceList", "source-extractor", "of its detections above 5 sigma", share, None, "≥ 0.995", met=share >= 0.995
    )
    assert share >= 0.995
    assert abs(len(pair.ours["X_IMAGE"]) / len(pair.theirs) - 1) < 0.005


@pytest.mark.parametrize("kind", ["", "WIN"])
def test_isolated_sources_have_its_positions(pair, kind) -> None:
    x, their_x = pair.both(f"X{kind}_IMAGE")
    y, their_y = pair.both(f"Y{kind}_IMAGE")
    away = np.hypot(x - their_x, y - their_y)[pair.alone]
    rms = float(np.sqrt(np.mean(away**2)))
    record("SourceList", "source-extractor", f"X{kind}_IMAGE of isolated, rms px", rms, None, "≤ 0.1", met=rms <= 0.1)
    assert rms <= 0.1
    assert np.median(away) < 1e-3


@pytest.mark.parametrize("name", ["FLUX_AUTO", "FLUX_ISO", "FLUX_APER"])
def test_isolated_stars_have_its_fluxes(field, pair, name) -> None:
    ours, theirs = pair.ours[name][pair.here], pair.theirs[name][pair.there]
    if ours.ndim == 2:
        ours, theirs = ours[:, 1], theirs[:, 1]
    x, y = pair.both("X_IMAGE")[0] - 1, pair.both("Y_IMAGE")[0] - 1
    distance, nearest = cKDTree(np.column_stack([field.x, field.y])).query(np.column_stack([x, y]))
    stars = pair.alone & (distance < 1) & field.is_star[nearest] & (field.flux[nearest] > 3000)
    ratio = float(np.median(ours[stars] / theirs[stars]))
    met = abs(ratio - 1) <= 0.005
    assert stars.sum() > 50
    record("SourceList", "source-extractor", f"{name} of isolated stars, ratio", ratio, 1.0, "within 0.005", met=met)
    assert met


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_mean_the_same(pair, name) -> None:
    ours, theirs = pair.both(name)
    ratio = ours / np.where(theirs == 0, np.nan, theirs)
    low, middle, high = np.nanpercentile(ratio, [10, 50, 90])
    record(
        "SourceList",
        "source-extractor",
        f"{name}, median ratio",
        middle,
        1.0,
        "within 0.001",
        met=abs(middle - 1) < 1e-3,
    )
    assert middle == pytest.approx(1.0, abs=1e-3)
    assert (high - low) / 2 < 0.01


@pytest.mark.parametrize("name", POSITIONS)
def test_positions_mean_the_same(pair, name) -> None:
    ours, theirs = pair.both(name)
    clean = (pair.ours["FLAGS"][pair.here] == 0) & (pair.theirs["FLAGS"][pair.there] == 0)
    assert np.percentile(np.abs(ours - theirs)[clean], 90) < 1e-3


def test_angles_mean_the_same(pair) -> None:
    ours, theirs = pair.both("THETA_IMAGE")
    assert np.percentile(np.abs(ours - theirs), 90) < 0.1


def test_windowed_errors_mean_the_same(pair) -> None:
    for name in ("ERRX2WIN_IMAGE", "ERRY2WIN_IMAGE"):
        ours, theirs = pair.both(name)
        assert np.nanmedian(ours / theirs) == pytest.approx(1.0, abs=0.02)  # it weighs parts of pixels by another grid


@pytest.mark.parametrize("aperture", [0, 1, 2])
def test_apertures_mean_the_same(pair, aperture) -> None:
    for name in ("FLUX_APER", "FLUXERR_APER"):
        ratio = pair.ours[name][pair.here, aperture] / pair.theirs[name][pair.there, aperture]
        assert np.median(ratio) == pytest.approx(1.0, abs=1e-4)
        assert np.mean(np.abs(ratio - 1) < 1e-3) > (0.85, 0.85, 0.75)[aperture]  # neighbours' edges are drawn by chance


def test_flags_mean_the_same(pair) -> None:
    ours, theirs = pair.ours["FLAGS"][pair.here], pair.theirs["FLAGS"][pair.there]
    for bit in (1, 2, 8, 16):
        share = float(np.mean((ours & bit) == (theirs & bit)))
        record("SourceList", "source-extractor", f"FLAGS bit {bit} agrees", share, None, "≥ 0.99", met=share >= 0.99)
        assert share >= 0.99


def test_a_variance_map_means_the_same(field, program) -> None:
    """Half of the field is as deep as a coadd of four, the other as one; both follow the map."""
    random = np.random.default_rng(5)
    variance = np.full(field.pixels.shape, field.noise**2, np.float32)
    variance[:, 512:] *= 4
    pixels = field.pixels.copy()
    pixels[:, 512:] += random.normal(0, np.sqrt(3) * field.noise, pixels[:, 512:].shape).astype(np.float32)
    # A cell of the background's mesh on the border would mix both.
    image, map_file = program.write("deep.fits", pixels), program.write("variance.fits", variance)
    theirs = program.run(image, WEIGHT_TYPE="MAP_VAR", WEIGHT_IMAGE=map_file, WEIGHT_GAIN="N")
    pair = Pair(searched(pixels, variance), theirs)
    significant = theirs["FLUX_AUTO"] > 5 * theirs["FLUXERR_AUTO"]
    share = float(np.mean(pair.distance[significant] < 1.0))
    record("SourceList", "source-extractor", "MAP_VAR: of its detections above 5 sigma", share, None, "≥ 0.99",
           met=share >= 0.99)  # fmt: skip
    assert share >= 0.99
    for name in ("FLUX_AUTO", "FLUXERR_AUTO", "THRESHOLD"):
        mine, its = pair.both(name)
        assert np.median(mine / its) == pytest.approx(1.0, abs=0.01)
    shallow = np.mean(pair.ours["X_IMAGE"] > 512)
    assert shallow < 0.45


def test_dual_mode_means_the_same(field, program) -> None:
    random = np.random.default_rng(6)
    faint = (field.sky + 0.3 * (field.pixels - field.sky)).astype(np.float32)
    faint += random.normal(0, field.noise, faint.shape).astype(np.float32)
    theirs = program.run(program.write("deep.fits", field.pixels), program.write("faint.fits", faint))
    pair = Pair(searched(faint, detection=field.pixels), theirs)
    assert len(pair.there) > 0.99 * len(theirs)
    for name in ("FLUX_AUTO", "FLUX_ISO", "KRON_RADIUS", "FLUXERR_AUTO"):
        mine, its = pair.both(name)
        assert np.median(mine[its > 0] / its[its > 0]) == pytest.approx(1.0, abs=1e-3)
