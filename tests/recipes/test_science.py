"""Science on a simulated chip: positions and fluxes against the truth, and what it does without what it needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from observatory.sky import EXTINCTION, ZEROPOINT
from recipes import threads
from recipes.attributes import FrameAttributes
from recipes.ccd.astrometry import solve
from recipes.ccd.plate import plate_of
from recipes.ccd.reference_stars import reference_stars
from recipes.ccd.star_matching import Limits
from recipes.ccd.stars import find_stars
from recipes.ccd.tangent_plane import separation
from recipes.ccd.wcs import celestial, sky_positions
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.products import Outcome
from recipes.quality import ASTROMETRY, judge
from recipes.science import science
from recipes.tables import Column, Table
from recipes.values import PhotometricParameters
from tests.recipes.observed import Observed, as_frame

ERROR = 0.03  # arcsec of the catalogue's positions, on each axis
EPOCH = 2026.2
BAND = "r"


def catalogue_of(observed: Observed, *, faintest: float = 20.5, error: float = ERROR, seed: int = 5) -> Table:
    """Return the true stars with errors, as a catalogue that a user would ingest."""
    truth = fits.getdata(observed.folder / "truth" / "catalogue.fits", "CATALOGUE")
    stars = truth[truth["IS_STAR"] & (truth[f"MAG_{BAND}"] < faintest)]
    east, north = np.random.default_rng(seed).normal(0, error, (2, len(stars))) / 3600
    columns = {
        "RA": Column(stars["RA"] + east / np.cos(np.deg2rad(stars["DEC"])), "deg"),
        "DEC": Column(stars["DEC"] + north, "deg"),
        "RA_ERROR": Column(np.full(len(stars), error), "arcsec"),
        "DEC_ERROR": Column(np.full(len(stars), error), "arcsec"),
        f"MAG_{BAND}": Column(stars[f"MAG_{BAND}"].astype(float), "mag"),
    }
    return Table(columns, "CATALOGUE", FrameAttributes(catalogue="truth", epoch=EPOCH))


def some(table: Table, chosen: np.ndarray) -> Table:
    return Table({key: Column(column.values[chosen], column.unit) for key, column in table.columns.items()}, table.name,
                 table.attributes)  # fmt: skip


def with_(frame: Frame, *, wcs: dict | None = None, data: np.ndarray | None = None, name: str = "changed.fits",
          turned: bool = False, **attributes: object) -> Frame:  # fmt: skip
    """Return a frame with something changed; `turned` by 180 degrees, as beyond the meridian."""
    planes = [frame.data if data is None else data, frame.variance, frame.mask]
    planes = [plane[::-1, ::-1] if turned else plane for plane in planes]
    known = frame.attributes.model_copy(update=attributes)
    return Frame(planes[0], variance=planes[1], mask=planes[2], attributes=known, unit=frame.unit, name=name,
                 wcs=frame.wcs if wcs is None else wcs)  # fmt: skip


def wrong_header(frame: Frame, offset: float, rotation: float, scale: float = 1.0) -> dict:
    """Return the frame's cards moved by `offset` arcsec, turned by `rotation` degrees and scaled."""
    plate = plate_of(frame.wcs, frame.shape)
    angle = math.radians(rotation)
    matrix = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    x, y = plate.centre
    centre = np.array(plate.plane(np.array([x]), np.array([y])))[:, 0]
    return plate.moved(matrix, centre, np.array([0.6, -0.8]) * offset / 3600).cards()


def truth_at(observed: Observed, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels all over the chip and where they truly lie."""
    note = observed.of_type("SCIENCE")[index]
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(1, 512, 17), np.linspace(1, 640, 17)))
    header = fits.getheader(observed.folder / "truth" / note["file"])
    cards = {key: header[key] for key in header if key[:2] in ("CT", "CR", "CD", "PV", "CU", "RA")}
    return x, y, *WCS(fits.Header(cards)).all_pix2world(x, y, 1)


def errors(outcome: Outcome, observed: Observed, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the coordinates found are from the truth, towards east and north [arcsec]."""
    x, y, ra, dec = truth_at(observed, index)
    found = sky_positions(celestial(outcome.products[1].content.wcs), x, y)
    return (found[0] - ra) * np.cos(np.deg2rad(dec)) * 3600, (found[1] - dec) * 3600


def numbers(outcome: Outcome) -> dict[str, float]:
    return {entry.name: entry.value for product in outcome.products for entry in product.measured}


def flags(outcome: Outcome, place: int = 0) -> int:
    product = outcome.products[place]
    return judge(product.kind, product.measured, {})[1]


@pytest.fixture(scope="module")
def frames(observed: Observed, reduced: list[Outcome]) -> list[Frame]:
    return [
        with_(as_frame(outcome.products[0]), name=note["file"], ra=note["ra"], dec=note["dec"], airmass=note["airmass"])
        for outcome, note in zip(reduced, observed.of_type("SCIENCE"), strict=True)
    ]


@pytest.fixture(scope="module")
def catalogue(observed: Observed) -> Table:
    return catalogue_of(observed)


@pytest.fixture(scope="module")
def solved(frames: list[Frame], catalogue: Table) -> Outcome:
    return science(frames[0], catalogue)


def test_it_makes_the_four_products(solved: Outcome) -> None:
    assert [product.kind for product in solved.products] == [
        "AstrometricParameters", "CalibratedScienceFrame", "RegriddedFrame", "WeightFrame",
    ]  # fmt: skip
    assert solved.products[3].attributes.belongs_to == "RegriddedFrame"
    assert solved.products[2].attributes.grid == "TAN 132.8000000 -27.0000000 0.500000"


def test_positions_are_true(observed: Observed, solved: Outcome) -> None:
    found = numbers(solved)
    east, north = errors(solved, observed)
    # Each star is known to catalogue and photons; the mean over the chip by the square root of their number better.
    expected = found["rms_ra"] / math.sqrt(found["reference_stars"])
    assert found["reference_stars"] >= 35
    assert abs(east.mean()) < 3.5 * expected
    assert abs(north.mean()) < 3.5 * expected
    # The corner error is that of the worst corner, one sigma; this is the worst of four corners and two axes.
    assert max(np.abs(east).max(), np.abs(north).max()) < 4 * found["corner_error"]
    assert found["rms_ra"] == pytest.approx(ERROR, rel=0.6)
    assert flags(solved) == 0


def test_errors_of_residuals_are_those_that_are_seen(solved: Outcome) -> None:
    columns = solved.products[0].content.residuals.columns
    pulls = np.concatenate([columns[name].values / columns["ERROR"].values for name in ("DRA", "DDEC")])
    # Six terms on each axis are taken out of the scatter; width of N pulls is known to 1/sqrt(2 N).
    free = math.sqrt(1 - 6 / (len(pulls) / 2))
    assert np.std(pulls) == pytest.approx(free, abs=3.5 / math.sqrt(2 * len(pulls)) + 0.1)


def test_corners_are_as_uncertain_as_it_says(frames: list[Frame], observed: Observed) -> None:
    plate, stars = plate_of(frames[0].wcs, frames[0].shape), find_stars(frames[0])
    x, y, ra, dec = truth_at(observed, 0)
    corners = np.isin(x, (1, 512)) & np.isin(y, (1, 640))
    pulls = []
    for seed in range(30):
        table = catalogue_of(observed, seed=seed)
        references = reference_stars(table, frames[0].attributes, ra.mean(), dec.mean(), 0.12)
        found = solve(plate, stars, references, [Limits(120, 2, 0.03)], degree=2, clip=3)
        there = found.plate.sky(x[corners], y[corners])
        pulls += [(there[0] - ra[corners]) * np.cos(np.deg2rad(dec[corners])) * 3600 / found.fit.corner_error,
                  (there[1] - dec[corners]) * 3600 / found.fit.corner_error]  # fmt: skip
    # 30 catalogues, six numbers each that are free; the stars' own photons are the same ones every time.
    assert np.std(pulls) == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("rotation", [-2.0, 2.0])
def test_a_header_wrong_by_two_arcminutes_and_two_degrees_ends_in_the_same_place(
    frames: list[Frame], catalogue: Table, observed: Observed, solved: Outcome, rotation: float
) -> None:
    # The header of the simulated telescope is itself a few arcsec off.
    wrong = with_(frames[0], wcs=wrong_header(frames[0], 112, rotation, 1.02))
    outcome = science(wrong, catalogue)
    again, once = errors(outcome, observed), errors(solved, observed)
    assert max(np.abs(again[axis] - once[axis]).max() for axis in (0, 1)) < 0.01
    assert numbers(outcome)["rotation"] == pytest.approx(-rotation, abs=0.2)
    assert numbers(outcome)["chance_log10"] < -6


def test_a_camera_turned_by_hand_is_found_and_flagged(
    frames: list[Frame], catalogue: Table, observed: Observed
) -> None:
    outcome = science(with_(frames[0], wcs=wrong_header(frames[0], 10, 181)), catalogue)
    east, north = errors(outcome, observed)
    assert max(np.abs(east).max(), np.abs(north).max()) < 0.1
    assert flags(outcome) & ASTROMETRY


def test_a_pointing_and_a_pixel_scale_are_enough(frames: list[Frame], catalogue: Table, observed: Observed) -> None:
    outcome = science(with_(frames[0], wcs={}, pixel_scale=0.49), catalogue)
    east, north = errors(outcome, observed)
    # The camera's distortion is not in the header: its cubic terms stay, a few hundredths of an arcsec.
    assert max(np.abs(east).max(), np.abs(north).max()) < 0.2
    assert "pointing_offset" not in numbers(outcome)


def test_proper_motions_are_followed(frames: list[Frame], catalogue: Table, observed: Observed) -> None:
    count, years = len(catalogue.columns["RA"].values), 26.2
    motion = np.full(count, 40.0)  # mas a year: an arcsec since 2000
    dec = catalogue.columns["DEC"].values
    moved = Table(
        dict(catalogue.columns)
        | {
            "RA": Column(catalogue.columns["RA"].values - years * 40 / 3.6e6 / np.cos(np.deg2rad(dec)), "deg"),
            "DEC": Column(dec + years * 40 / 3.6e6, "deg"),
            "PMRA": Column(motion, "mas/yr"), "PMDEC": Column(-motion, "mas/yr"),
        },
        "CATALOGUE", FrameAttributes(catalogue="moved", epoch=2000.0),
    )  # fmt: skip
    east, north = errors(science(frames[0], moved), observed)
    assert abs(east.mean()) < 0.03
    assert abs(north.mean()) < 0.03


@pytest.fixture(scope="module")
def on_chip(frames: list[Frame], catalogue: Table, solved: Outcome) -> np.ndarray:
    """Rows of the catalogue that were used, the brightest first."""
    residuals = solved.products[0].content.residuals.columns
    return residuals["REFERENCE"].values[np.argsort(residuals[f"MAG_{BAND}"].values)]


def test_five_stars_give_an_offset_of_low_confidence(
    frames: list[Frame], catalogue: Table, observed: Observed, on_chip: np.ndarray
) -> None:
    outcome = science(frames[0], some(catalogue, on_chip[:25:5]))
    found = numbers(outcome)
    assert (found["distortion_degree"], found["reference_stars"]) == (0, 5)
    assert outcome.products[0].content.confidence == "low"
    assert flags(outcome) & ASTROMETRY
    east, north = errors(outcome, observed)
    # The header's rotation of 0.1 degree stays: at the stars, up to 400 pixels from the centre, 0.35 arcsec.
    assert math.hypot(east.mean(), north.mean()) < 0.35


def test_stars_of_elsewhere_are_not_taken_for_those_of_the_frame(frames: list[Frame], catalogue: Table) -> None:
    random = np.random.default_rng(2)
    x, y = random.uniform(1, 512, 60), random.uniform(1, 640, 60)
    ra, dec = plate_of(frames[0].wcs, frames[0].shape).sky(x, y)
    invented = Table({"RA": Column(ra), "DEC": Column(dec), "MAG_r": Column(random.uniform(14, 20, 60))}, "CATALOGUE",
                     FrameAttributes(catalogue="invented", epoch=EPOCH))  # fmt: skip
    for number in (60, 5, 3):
        outcome = science(frames[0], some(invented, np.arange(number)))
        assert outcome.products[0].content.confidence == "none"
        assert outcome.products[0].made_without == ["reference_catalogue"]
        assert flags(outcome) & ASTROMETRY
        written = outcome.products[1].content.wcs
        assert written["CRVAL1"] == pytest.approx(frames[0].wcs["CRVAL1"], abs=1e-9)


def test_two_stars_are_too_few(frames: list[Frame], catalogue: Table, on_chip: np.ndarray) -> None:
    outcome = science(frames[0], some(catalogue, on_chip[:2]))
    assert outcome.products[0].content.confidence == "header"
    assert flags(outcome) & ASTROMETRY


def test_positions_to_a_second_of_time_do_not_serve(frames: list[Frame], catalogue: Table) -> None:
    coarse = Table(dict(catalogue.columns) | {"RA_ERROR": Column(np.full(len(catalogue), 4.3), "arcsec")}, "CATALOGUE",
                   catalogue.attributes)  # fmt: skip
    assert science(frames[0], coarse).products[0].content.confidence == "header"


def test_a_frame_without_coordinates_is_solved_by_another(frames: list[Frame], observed: Observed) -> None:
    x, y, *_ = truth_at(observed, 1)
    other = plate_of(frames[0].wcs, frames[0].shape)
    for turned in (False, True):
        lost = with_(frames[1], wcs={}, turned=turned, pixel_scale=None, ra=None, dec=None)
        outcome = science(lost, None, None, frames[0])
        assert outcome.products[0].content.confidence == "relative"
        # The other's header is wrong by some arcsec, so is this one then, by the same.
        at = (513 - x, 641 - y) if turned else (x, y)
        found = sky_positions(celestial(outcome.products[1].content.wcs), *at)
        true = truth_at(observed, 1)[2:]
        away = separation(*found, *true) * 3600
        header = separation(*other.sky(*truth_at(observed, 0)[:2]), *truth_at(observed, 0)[2:]) * 3600
        assert abs(np.median(away) - np.median(header)) < 0.3
        assert numbers(outcome)["overlap_rms"] < 0.1


def test_aligned_with_a_solved_frame_it_lies_where_that_does(
    frames: list[Frame], catalogue: Table, observed: Observed, solved: Outcome
) -> None:
    reference = as_frame(solved.products[1])
    lost = with_(frames[1], wcs=wrong_header(frames[1], 60, 1))
    east, north = errors(science(lost, None, None, reference), observed, 1)
    assert max(abs(east.mean()), abs(north.mean())) < 0.03


def test_the_frame_that_others_are_aligned_with_keeps_its_header(frames: list[Frame]) -> None:
    outcome = science(frames[0], None, None, frames[0])
    assert outcome.products[0].content.confidence == "relative"
    assert flags(outcome) == 0
    for key in ("CRVAL1", "CRPIX1", "CD1_1", "PV1_7"):
        assert outcome.products[1].content.wcs[key] == pytest.approx(frames[0].wcs[key], rel=1e-7)


def test_without_anything_it_is_refused(frames: list[Frame]) -> None:
    with pytest.raises(UsageError, match="no coordinate system") as refused:
        science(with_(frames[0], wcs={}))
    assert "alignment_frame" in refused.value.hint


def star_fluxes(frame: Frame, ra: np.ndarray, dec: np.ndarray, radius: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Return fluxes of positions on a frame, in apertures above the local sky, and their errors."""
    import sep

    x, y = celestial(frame.wcs).all_world2pix(ra, dec, 0)
    flux, error, _ = sep.sum_circle(np.array(frame.data), x, y, radius, bkgann=(radius + 4, radius + 12),
                                    var=np.array(frame.variance), mask=frame.mask != 0)  # fmt: skip
    return flux, error


@pytest.fixture(scope="module")
def bright(observed: Observed, frames: list[Frame], catalogue: Table, on_chip: np.ndarray) -> np.ndarray:
    """Bright stars of the catalogue that stand alone on the first frame and lie on all of them."""
    ra, dec = (catalogue.columns[name].values for name in ("RA", "DEC"))
    truth = fits.getdata(observed.folder / "truth" / "catalogue.fits", "CATALOGUE")
    chosen = []
    for row in on_chip[:25]:
        apart = separation(truth["RA"], truth["DEC"], ra[row], dec[row]) * 3600
        near = (apart > 0.3) & (apart < 14)
        place = plate_of(frames[0].wcs, frames[0].shape).sky(np.array([256.5]), np.array([320.5]))
        if separation(ra[row], dec[row], *place)[0] * 3600 < 100 and (
            not near.any() or truth[f"MAG_{BAND}"][near].min() > catalogue.columns[f"MAG_{BAND}"].values[row] + 4
        ):
            chosen.append(row)
    return np.array(chosen)


def test_magnitudes_of_the_regridded_frame_are_those_above_the_atmosphere(
    frames: list[Frame], catalogue: Table, observed: Observed, bright: np.ndarray
) -> None:
    known = PhotometricParameters(ZEROPOINT[BAND], 0.01, BAND, "AB", EXTINCTION[BAND])
    outcome = science(frames[0], catalogue, known)
    regridded = outcome.products[2]
    assert regridded.attributes.zeropoint == 25.0
    assert regridded.content.unit == ""
    ra, dec, magnitude = (catalogue.columns[name].values[bright] for name in ("RA", "DEC", f"MAG_{BAND}"))
    flux, error = star_fluxes(regridded.content, ra, dec)
    weight = (flux / error) ** 2
    away = np.average(25.0 - 2.5 * np.log10(flux) - magnitude, weights=weight)
    assert len(bright) >= 4
    # A per cent of the light lies outside the aperture; the flat has the chip's mean response and errs by per cents.
    response = 2.5 * math.log10(observed.about["response"])
    assert away + response == pytest.approx(0.01, abs=3.5 * 1.0857 / math.sqrt(weight.sum()) + 0.04)
    # What the frame's own apertures hold, times the scale, is what those of the grid hold.
    own, _ = star_fluxes(as_frame(outcome.products[1]), ra, dec)
    assert np.average(flux / own, weights=weight) / regridded.attributes.flux_scale == pytest.approx(1.0, abs=0.003)
    other = science(frames[0], catalogue, known, output_zeropoint=30.0).products[2].content
    usable = regridded.content.mask == 0
    assert np.median(other.data[usable] / regridded.content.data[usable]) == pytest.approx(100.0, rel=1e-5)
    assert np.median(other.variance[usable] / regridded.content.variance[usable]) == pytest.approx(1e4, rel=1e-5)


def test_extinction_counts(frames: list[Frame], catalogue: Table) -> None:
    airmass = frames[0].attributes.airmass
    without, with_extinction = (
        science(frames[0], catalogue, PhotometricParameters(24.8, extinction=k)).products[2].attributes.flux_scale
        for k in (0.0, 0.2)
    )
    assert with_extinction / without == pytest.approx(10 ** (0.4 * 0.2 * airmass))


def test_a_zeropoint_in_adu_serves_a_frame_in_electrons(frames: list[Frame], catalogue: Table) -> None:
    electron = science(frames[0], catalogue, PhotometricParameters(24.8)).products[2].attributes.flux_scale
    in_adu = 24.8 - 2.5 * math.log10(frames[0].attributes.gain)
    adu = (
        science(frames[0], catalogue, PhotometricParameters(in_adu, flux_unit="adu")).products[2].attributes.flux_scale
    )
    assert adu == pytest.approx(electron)


def test_a_zeropoint_of_another_filter_is_refused(frames: list[Frame]) -> None:
    other = PhotometricParameters(24.8, attributes=FrameAttributes(filter="g"))
    with pytest.raises(UsageError, match="filter"):
        science(frames[0], None, other)


def test_a_frame_that_does_not_say_how_long_it_was_exposed_stays_relative(frames: list[Frame]) -> None:
    outcome = science(with_(frames[0], exposure_time=None), None, PhotometricParameters(24.8))
    assert set(outcome.products[2].made_without) == {"photometric_parameters", "exposure_time"}
    assert outcome.products[2].content.unit == "electron"


def test_clouds_are_taken_out_by_the_stars_of_another_frame(frames: list[Frame], catalogue: Table) -> None:
    clear, cloudy = frames[0], with_(frames[1], data=0.6 * frames[1].data)
    plain = numbers(science(frames[1], catalogue, None, clear))
    found = numbers(science(cloudy, catalogue, None, clear))
    assert found["flux_scale"] / plain["flux_scale"] == pytest.approx(1 / 0.6, rel=0.005)
    # The exposures differ by airmass alone.
    expected = 10 ** (0.4 * EXTINCTION[BAND] * (frames[1].attributes.airmass - clear.attributes.airmass)) / 120.0
    assert plain["flux_scale"] == pytest.approx(expected, rel=3.5 * plain["flux_scale_error"] + 0.002)
    assert plain["flux_scale_stars"] >= 5


def test_another_filter_does_not_set_the_scale(frames: list[Frame]) -> None:
    outcome = science(frames[1], None, None, with_(frames[0], filter="g"))
    assert numbers(outcome)["flux_scale"] == pytest.approx(1 / 120.0)
    assert outcome.products[2].content.unit == "electron/s"


def test_weight_is_the_inverse_variance_of_what_is_not_masked(solved: Outcome) -> None:
    frame, weight = solved.products[2].content, solved.products[3].content
    good = (frame.mask == 0) & (frame.variance > 0)
    np.testing.assert_allclose(weight.data[good] * frame.variance[good], 1.0, rtol=1e-6)
    assert not weight.data[~good].any()


def test_a_frame_without_variance_gets_one(frames: list[Frame]) -> None:
    bare = Frame(
        frames[0].data, mask=frames[0].mask, attributes=frames[0].attributes, unit="electron", wcs=frames[0].wcs
    )
    outcome = science(bare)
    assert "variance" in outcome.products[1].made_without
    good = frames[0].mask == 0
    ratio = outcome.products[1].content.variance[good] / frames[0].variance[good]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.05)


def test_the_grid_of_the_run_is_kept(frames: list[Frame]) -> None:
    outcome = science(frames[0], grid_centres="10,10; 132.9,-27.1", pixel_scale=1.0)
    regridded = outcome.products[2]
    assert regridded.attributes.grid == "TAN 132.9000000 -27.1000000 1.000000"
    assert regridded.attributes.psf_fwhm == pytest.approx(frames[0].attributes.psf_fwhm / 2, rel=1e-3)


def test_threads_do_not_change_a_byte(frames: list[Frame], catalogue: Table, solved: Outcome) -> None:
    threads.allow(2)
    try:
        again = science(frames[0], catalogue)
    finally:
        threads.allow(1)
    for one, other in zip(solved.products[1:], again.products[1:], strict=True):
        assert one.content.data.tobytes() == other.content.data.tobytes()
        assert one.content.wcs == other.content.wcs


def test_a_sky_without_stars_keeps_its_header(frames: list[Frame], catalogue: Table) -> None:
    noise = np.random.default_rng(1).normal(100, 10, (200, 200)).astype(np.float32)
    empty = Frame(noise, variance=np.full_like(noise, 100), unit="electron", wcs=frames[0].wcs, name="empty.fits")
    outcome = science(empty, catalogue)
    assert outcome.products[0].content.confidence == "header"
    assert flags(outcome) & ASTROMETRY


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 4)])
def test_tiny_frames_come_through_or_are_refused(frames: list[Frame], catalogue: Table, shape: tuple[int, int]) -> None:
    frame = Frame(np.full(shape, 100.0), variance=np.full(shape, 9.0), unit="electron", wcs=frames[0].wcs)
    assert science(frame, catalogue).products[0].content.confidence == "header"


@pytest.mark.parametrize("value", [np.nan, 0.0, 65535.0])
def test_frames_of_one_value_come_through_or_are_refused(frames: list[Frame], catalogue: Table, value: float) -> None:
    frame = Frame(np.full((100, 100), value), variance=np.full((100, 100), 9.0), unit="adu", wcs=frames[0].wcs)
    if math.isnan(value):
        with pytest.raises(UsageError, match="masked"):
            science(frame, catalogue)
    else:
        assert science(frame, catalogue).products[0].content.confidence == "header"


def test_a_mask_alone_is_refused(frames: list[Frame]) -> None:
    with pytest.raises(UsageError, match="no pixels"):
        science(Frame(None, mask=np.zeros((9, 9), np.uint16), wcs=frames[0].wcs))


def test_wide_limits_do_not_lose_what_lies_near(frames: list[Frame], catalogue: Table) -> None:
    wide = science(frames[0], catalogue, maximum_pointing_error=30.0, maximum_rotation=30.0, maximum_scale_error=0.1)
    assert wide.products[0].content.confidence == "good"


@pytest.mark.parametrize("zeropoint", [math.nan, 1e6, -1e6])
def test_zeropoints_that_cannot_be_are_refused(frames: list[Frame], zeropoint: float) -> None:
    with pytest.raises(UsageError, match="cannot be"):
        science(frames[0], None, PhotometricParameters(zeropoint))


def test_a_catalogue_without_positions_is_refused(frames: list[Frame]) -> None:
    with pytest.raises(UsageError, match="RA and DEC"):
        science(frames[0], Table({"NAME": Column(np.array(["a"]))}))


def test_unknown_numbers_of_a_catalogue_do_no_harm(frames: list[Frame], catalogue: Table, solved: Outcome) -> None:
    holes = {key: column.values.copy() for key, column in catalogue.columns.items()}
    for key, start in zip(("RA", "MAG_r", "RA_ERROR"), (0, 1, 2), strict=True):
        holes[key][start::7] = np.nan
    outcome = science(frames[0], Table({key: Column(values) for key, values in holes.items()}, "CATALOGUE",
                                       catalogue.attributes))  # fmt: skip
    assert numbers(outcome)["reference_stars"] >= 0.7 * numbers(solved)["reference_stars"]
