"""SourceList, held to the simulated observatory's truth."""

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy_healpix import lonlat_to_healpix
from scipy.spatial import cKDTree

from recipes import threads
from recipes.attributes import FrameAttributes
from recipes.ccd.detection import DEFAULT_KERNEL, extract
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import SATURATED
from recipes.source_list import source_list
from tests.recipes.observed import as_frame
from tests.recipes.star_field import make_field


class Matched:
    """Source lists of all exposures beside the true sources: stars alone in their place, not flagged."""

    def __init__(self, observed, reduced) -> None:
        catalogue = fits.getdata(observed.folder / "truth" / "catalogue.fits")
        rows, self.hit = [], []
        self.products = [source_list(as_frame(outcome.products[0])).products[0] for outcome in reduced]
        self.spurious = self.count = 0
        for product, outcome, note in zip(self.products, reduced, observed.of_type("SCIENCE"), strict=True):
            columns = {name: column.values for name, column in product.content.columns.items()}
            truth = observed.truth("SOURCES", note)
            is_star = catalogue["IS_STAR"][truth["ID"]]
            places = np.column_stack([truth["X"], truth["Y"]])
            alone = cKDTree(places).query(places, k=2)[0][:, 1] > 14
            inside = np.all((places > 20) & (places < np.array([512, 640]) - 21), axis=1)
            found = np.column_stack([columns["XWIN_IMAGE"] - 1, columns["YWIN_IMAGE"] - 1])
            distance, index = cKDTree(found).query(places)
            y, x = np.rint(places).astype(int).clip(0).T
            clear = outcome.products[0].content.mask[y.clip(0, 639), x.clip(0, 511)] == 0
            self.hit.append((truth["FLUX"], distance < 1.5, is_star & alone & inside & clear))
            whole = (columns["FLAGS"] & 8) == 0  # the truth does not list what lies beyond the edge
            self.spurious += int(np.sum(cKDTree(places).query(found[whole])[0] > 3))
            self.count += int(whole.sum())
            good = (
                (distance < 1.5)
                & alone
                & inside
                & (columns["FLAGS"][index] == 0)
                & (columns["IMAFLAGS_ISO"][index] == 0)
            )
            for star, source in zip(np.flatnonzero(good), index[good], strict=True):
                values = {name: value[source] for name, value in columns.items()}
                rows.append((truth[star], is_star[star], catalogue[truth["ID"][star]], values, note))
        self.rows = rows

    def stars(self, faintest=0.0):
        return [row for row in self.rows if row[1] and row[0]["FLUX"] > faintest]


@pytest.fixture(scope="module")
def matched(observed, reduced) -> Matched:
    return Matched(observed, reduced)


def light_within(radius, note, scale):
    """Return the part of a star's light within `radius` pixels: a Moffat profile of beta 3.5, widened by the pixel."""
    width = np.hypot(note["fwhm"] / scale, 0.68) / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    return 1 - (1 + (radius / width) ** 2) ** -2.5


def test_windowed_positions_are_the_true_ones(matched) -> None:
    bright = matched.stars(20_000)
    x = np.array([row[3]["XWIN_IMAGE"] - 1 - row[0]["X"] for row in bright])
    y = np.array([row[3]["YWIN_IMAGE"] - 1 - row[0]["Y"] for row in bright])
    # A centroid's noise is fwhm/2.35 over the signal to noise, 1.4/80 here at the faint end; windowed a little more.
    assert len(bright) > 20
    for offset in (x, y):
        assert np.std(offset) < 0.03
        assert np.mean(offset) == pytest.approx(0.0, abs=4 * 0.03 / np.sqrt(len(bright)))


def test_aperture_fluxes_are_the_true_light_within(matched, observed) -> None:
    bright = matched.stars(20_000)
    for number, diameter in enumerate((5, 10, 20)):
        parts = [light_within(diameter / 2, row[4], observed.notes["pixel_scale"]) for row in bright]
        ratio = np.array([row[3]["FLUX_APER"][number] / row[0]["FLUX"] for row in bright]) / parts
        assert np.median(ratio) == pytest.approx(1.0, abs=0.01)


def test_errors_of_aperture_fluxes_are_right(matched, observed) -> None:
    stars = matched.stars(3_000)
    parts = np.array([light_within(5, row[4], observed.notes["pixel_scale"]) for row in stars])
    flux, error = (np.array([row[3][name][1] for row in stars]) for name in ("FLUX_APER", "FLUXERR_APER"))
    true = np.array([row[0]["FLUX"] for row in stars])
    pull = (flux - true * parts) / np.hypot(error, 0.004 * true)  # the true profile is known to half a per cent
    width = 1.4826 * np.median(np.abs(pull - np.median(pull)))
    # Of n values the error of the width by the MAD is 1.17/sqrt(2 n); neighbours below the detection add a little.
    assert width == pytest.approx(1.1, abs=0.1 + 3 * 1.17 / np.sqrt(2 * len(pull)))
    assert np.median(pull) == pytest.approx(0.0, abs=0.5)


def test_kron_fluxes_hold_nearly_all_light(matched) -> None:
    ratio = [row[3]["FLUX_AUTO"] / row[0]["FLUX"] for row in matched.stars(20_000)]
    # Kron 1980 and Bertin & Arnouts 1996: 2.5 Kron radii hold 94 to 99 per cent.
    assert 0.94 < np.median(ratio) < 1.0


def test_completeness_is_as_estimated(matched) -> None:
    half = [
        value.value
        for product in matched.products
        for value in product.measured
        if value.name == "completeness_50_flux"
    ]
    nine = [
        value.value
        for product in matched.products
        for value in product.measured
        if value.name == "completeness_90_flux"
    ]
    flux = np.concatenate([flux / limit for (flux, _, _), limit in zip(matched.hit, half, strict=True)])
    found = np.concatenate([hit for _, hit, _ in matched.hit])
    judged = np.concatenate([judged for _, _, judged in matched.hit])
    bright = judged & (flux > 1.1 * nine[0] / half[0])
    faint = judged & (flux < 0.6)
    assert bright.sum() > 50
    assert found[bright].mean() > 0.93
    assert faint.sum() > 20
    assert found[faint].mean() < 0.15


def test_hardly_any_source_is_spurious(matched) -> None:
    assert matched.spurious / matched.count < 0.03


def test_stars_are_told_from_galaxies(matched) -> None:
    bright = [row for row in matched.rows if row[0]["FLUX"] > 8_000]
    of_stars = np.array([row[3]["CLASS_STAR"] for row in bright if row[1]])
    of_galaxies = np.array([row[3]["CLASS_STAR"] for row in bright if not row[1]])
    assert np.mean(of_stars > 0.5) > 0.95
    assert np.mean(of_galaxies < 0.5) > 0.8


def test_sky_positions_are_off_by_the_pointing_error_alone(matched) -> None:
    bright = matched.stars(20_000)
    for row in bright:
        east, north = row[4]["pointing_error"]
        dec = row[2]["DEC"]
        seen = (
            3600 * (row[3]["ALPHAWIN_J2000"] - row[2]["RA"]) * np.cos(np.deg2rad(dec)),
            3600 * (row[3]["DELTAWIN_J2000"] - dec),
        )
        assert seen == pytest.approx((east, north), abs=0.06)  # 0.1 pixel


def test_healpix_cells_are_those_of_the_positions(matched) -> None:
    columns = matched.products[0].content.columns
    ra, dec = columns["ALPHAWIN_J2000"].values, columns["DELTAWIN_J2000"].values
    cells = lonlat_to_healpix(ra * u.deg, dec * u.deg, 2**29, order="nested")
    assert np.array_equal(columns["HPX29"].values, cells)
    assert columns["HPX29"].values.dtype == np.int64


def test_saturated_stars_carry_the_flag(matched, reduced) -> None:
    columns = matched.products[0].content.columns
    flagged = (columns["FLAGS"].values & 4) != 0
    bits = (columns["IMAFLAGS_ISO"].values & SATURATED) != 0
    assert np.array_equal(flagged, bits)


def plain(data, **more):
    attributes = FrameAttributes(instrument="x", chip="1", **more)
    return Frame(data.astype(np.float32), attributes=attributes, unit="electron", name="frame")


def two_stars(separation=7.0, shape=(128, 128)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.random.default_rng(0).normal(100, 10, shape)
    for x0 in (64 - separation / 2, 64 + separation / 2):
        image += 2000 * np.exp(-0.5 * ((x - x0) ** 2 + (y - 64) ** 2) / 2)
    image += 2000 * np.exp(-0.5 * ((x - 0) ** 2 + (y - 30) ** 2) / 2)
    return image


def test_blends_and_edges_are_flagged() -> None:
    product = source_list(plain(two_stars())).products[0]
    flags = dict(
        zip(np.rint(product.content.columns["X_IMAGE"].values), product.content.columns["FLAGS"].values, strict=True)
    )
    assert len(flags) == 3
    edge, left, right = (flags[key] for key in sorted(flags))
    assert edge & 8
    assert left & 2 or right & 2


def test_without_coordinates_there_are_none() -> None:
    product = source_list(plain(two_stars())).products[0]
    assert "ALPHA_J2000" not in product.content.columns
    assert "coordinate system" in product.made_without
    assert "zeropoint" in product.made_without


def test_magnitudes_are_on_the_zeropoint_of_the_frame() -> None:
    instrumental = source_list(plain(two_stars())).products[0].content.columns
    calibrated = source_list(plain(two_stars(), zeropoint=25.0)).products[0].content.columns
    assert np.allclose(calibrated["MAG_AUTO"].values - instrumental["MAG_AUTO"].values, 25.0)
    expected = 25 - 2.5 * np.log10(calibrated["FLUX_AUTO"].values)
    assert np.allclose(calibrated["MAG_AUTO"].values, expected, atol=1e-4)


def test_an_empty_sky_gives_an_empty_list() -> None:
    product = source_list(plain(np.random.default_rng(1).normal(100, 10, (96, 96))), detect_thresh=6.0).products[0]
    assert len(product.content) == 0
    assert {value.name: value.value for value in product.measured}["source_count"] == 0
    assert "FLUX_AUTO" in product.content.columns


def test_where_the_weight_is_zero_there_is_nothing() -> None:
    image = two_stars(30)
    weight = np.ones(image.shape)
    weight[:, 64:] = 0
    columns = source_list(plain(image), plain(weight)).products[0].content.columns
    assert columns["X_IMAGE"].values.max() < 65


def test_dual_mode_finds_on_one_frame_and_measures_on_the_other() -> None:
    deep = two_stars(30)
    faint = np.random.default_rng(2).normal(100, 10, deep.shape) + 0.1 * (deep - 100)
    alone = source_list(plain(deep)).products[0].content.columns
    dual = source_list(plain(faint), None, plain(deep)).products[0].content.columns
    assert np.array_equal(dual["X_IMAGE"].values, alone["X_IMAGE"].values)
    ratio = dual["FLUX_APER"].values[:, 1] / alone["FLUX_APER"].values[:, 1]
    assert ratio == pytest.approx(np.full(len(ratio), 0.1), abs=0.03)
    assert dual["FLUX_ISO"].values / alone["FLUX_ISO"].values == pytest.approx(np.full(len(ratio), 0.1), abs=0.03)


@pytest.mark.parametrize("text", ["", "5,x", "-3", "0"])
def test_apertures_that_are_none_are_refused(text) -> None:
    with pytest.raises(UsageError, match="phot_apertures"):
        source_list(plain(two_stars()), phot_apertures=text)


def test_a_weight_of_other_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match="100 × 128"):
        source_list(plain(two_stars()), plain(np.ones((128, 100))))


def values_of(outcome):
    return {name: column.values for name, column in outcome.products[0].content.columns.items()}


def measured_of(outcome):
    return {value.name: value.value for value in outcome.products[0].measured}


def test_the_same_bytes_on_any_number_of_threads() -> None:
    field = make_field(600, 700, 1200, seed=3)
    lists = []
    for number in (1, 2):
        threads.allow(number)
        lists.append(values_of(source_list(plain(field.pixels))))
    threads.allow(1)
    assert len(lists[0]["SID"]) > 300
    for name, values in lists[0].items():
        assert values.tobytes() == lists[1][name].tobytes(), name


def test_sources_number_from_one_on() -> None:
    columns = values_of(source_list(plain(two_stars())))
    assert columns["SID"].tolist() == [1, 2, 3]
    assert np.array_equal(columns["SID"], columns["NUMBER"])


@pytest.mark.parametrize("in_weight", [False, True])
def test_the_noise_follows_the_variance(in_weight) -> None:
    """An eighth of the exposure on the right: as many false detections a pixel as on the left, and errors to match."""
    random = np.random.default_rng(4)
    variance = np.full((256, 512), 100.0)
    variance[:, 256:] *= 8
    pixels = random.normal(1000, np.sqrt(variance))
    y, x = np.mgrid[:256, :512]
    for x0 in range(24, 512, 32):
        for y0 in range(24, 256, 32):
            pixels += 600 * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 2.25) / (2 * np.pi * 2.25) * 10
    frame = plain(pixels) if in_weight else with_variance(pixels, variance)
    weight = plain(1 / variance) if in_weight else None
    columns = values_of(source_list(frame, weight))
    known = (np.abs((columns["X_IMAGE"] - 25 + 16) % 32 - 16) < 3) & (
        np.abs((columns["Y_IMAGE"] - 25 + 16) % 32 - 16) < 3
    )
    left = columns["X_IMAGE"] < 257
    assert known[left].sum() == known[~left].sum() == 64
    assert (~known).sum() < 20
    ratio = np.median(columns["THRESHOLD"][~left]) / np.median(columns["THRESHOLD"][left])
    assert ratio == pytest.approx(np.sqrt(8), rel=0.02)
    flux, error = columns["FLUX_APER"][known & ~left, 1], columns["FLUXERR_APER"][known & ~left, 1]
    pull = (flux - np.mean(flux)) / error
    # 64 values tell the width to 1/sqrt(128).
    assert np.std(pull) == pytest.approx(1.0, abs=3 / np.sqrt(128))


def with_variance(data, variance, kind="", **more):
    attributes = FrameAttributes(instrument="x", chip="1", **more)
    return Frame(data.astype(np.float32), variance=variance.astype(np.float32), attributes=attributes, unit="electron",
                 name="frame", kind=kind)  # fmt: skip


def test_photons_of_sources_do_not_count_as_noise_of_the_sky() -> None:
    field = make_field(512, 512, 200, seed=5)
    with_photons = source_list(with_variance(field.pixels, np.maximum(field.pixels, 0) + 25))
    without = source_list(plain(field.pixels))
    assert measured_of(with_photons)["sky_noise"] == pytest.approx(measured_of(without)["sky_noise"], rel=0.01)
    assert len(with_photons.products[0].content) == pytest.approx(len(without.products[0].content), rel=0.03)
    brightest = np.argmax(values_of(without)["FLUX_AUTO"])
    area = values_of(without)["ISOAREAF_IMAGE"][brightest]
    assert values_of(with_photons)["ISOAREAF_IMAGE"].max() == pytest.approx(area, rel=0.02)


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
def test_the_gain_of_scaled_frames_is_that_of_their_variance(scale) -> None:
    """A coadd is in units of its own: errors of bright stars are those of the photons all the same."""
    field = make_field(512, 512, 200, seed=6)
    variance = np.maximum(field.pixels, 1) + 25
    plainly = values_of(source_list(plain(field.pixels)))
    scaled = values_of(
        source_list(with_variance(field.pixels * scale, variance * scale**2, kind="CoaddedRegriddedFrame"))
    )
    bright = np.argsort(plainly["FLUX_AUTO"])[-20:]
    here = cKDTree(np.column_stack([scaled["X_IMAGE"], scaled["Y_IMAGE"]]))
    _, same = here.query(np.column_stack([plainly["X_IMAGE"][bright], plainly["Y_IMAGE"][bright]]))
    ratio = scaled["FLUXERR_APER"][same, 1] / scale / plainly["FLUXERR_APER"][bright, 1]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("kind", ["CalibratedScienceFrame", "ReducedScienceFrame", "RegriddedFrame"])
def test_frames_of_every_kind_tell_where_a_list_is_from(kind) -> None:
    outcome = source_list(with_variance(two_stars(), np.full((128, 128), 100.0), kind=kind, zeropoint=27.0, grid="g"))
    assert outcome.products[0].attributes.source_kind == kind
    assert outcome.products[0].attributes.zeropoint == 27.0
    assert outcome.products[0].attributes.grid == "g"


def test_the_depth_is_the_flux_of_five_sigma() -> None:
    """Fluxes in circles of radius FWHM on empty sky scatter by a fifth of it."""
    field = make_field(512, 512, 250, seed=7)
    outcome = source_list(plain(field.pixels, zeropoint=25.0))
    measured = measured_of(outcome)
    y, x = np.mgrid[:512, :512]
    random, fluxes = np.random.default_rng(1), []
    places = np.column_stack([field.x, field.y])
    while len(fluxes) < 300:
        centre = random.uniform(20, 490, 2)
        if cKDTree(places).query(centre)[0] > 20:
            inside = np.hypot(x - centre[0], y - centre[1]) < measured["psf_fwhm"]
            fluxes.append(float(np.sum(field.pixels[inside] - field.sky)))
    # A circle of whole pixels, and light of stars farther away: a tenth.
    assert measured["depth_flux"] == pytest.approx(5 * np.std(fluxes), rel=0.15)
    assert measured["depth_magnitude"] == pytest.approx(25 - 2.5 * np.log10(measured["depth_flux"]))


def test_stars_of_a_small_crowded_frame_are_not_all_one_or_the_other() -> None:
    field = make_field(256, 256, 450, seed=9)
    columns = values_of(source_list(plain(field.pixels)))
    distance, nearest = cKDTree(np.column_stack([field.x, field.y])).query(
        np.column_stack([columns["XWIN_IMAGE"] - 1, columns["YWIN_IMAGE"] - 1])
    )
    judged = (distance < 1) & (field.flux[nearest] > 8000) & ((columns["FLAGS"] & ~3) == 0)
    is_star, likeness = field.is_star[nearest][judged], columns["CLASS_STAR"][judged]
    assert is_star.sum() > 15
    assert (~is_star).sum() > 8
    assert np.mean(likeness[is_star] > 0.5) > 0.8
    assert np.mean(likeness[~is_star] < 0.5) > 0.7


def test_a_frame_of_one_pixel_a_line_and_nothing_else() -> None:
    for shape in ((1, 1), (1, 60), (60, 1), (3, 3)):
        outcome = source_list(plain(np.random.default_rng(0).normal(100, 10, shape)))
        assert len(outcome.products[0].content) <= 1


def test_a_frame_without_a_number_is_refused() -> None:
    with pytest.raises(UsageError, match="every pixel"):
        source_list(plain(np.full((32, 32), np.nan)))


def test_one_value_everywhere_is_empty_sky() -> None:
    outcome = source_list(plain(np.full((64, 64), 7.0)))
    assert len(outcome.products[0].content) == 0


def test_more_levels_than_there_is_light_do_no_harm() -> None:
    noise = np.full((64, 64), 10.0, np.float32)
    image = np.zeros((64, 64), np.float32)
    image[20:24, 20:24] = 30.0
    found, segmentation = extract(
        image, 1.5, noise=noise, kernel=DEFAULT_KERNEL, deblend_levels=64, deblend_contrast=0.0
    )
    assert len(found) == 1
    assert segmentation.max() == 1


def test_a_whole_frame_above_the_threshold_is_one_source() -> None:
    found, segmentation = extract(np.full((400, 300), 50, np.float32), 1.5, noise=np.ones((400, 300), np.float32))
    assert len(found) == 1
    assert found["npix"][0] == 120_000
    assert found["flag"][0] & 8
    assert np.all(segmentation == 1)
