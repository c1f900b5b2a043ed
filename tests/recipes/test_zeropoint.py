"""Zeropoint on the simulated observatory, where zeropoint, extinction and colour terms are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from observatory.sky import MOFFAT_BETA
from recipes.attributes import Photometry
from recipes.ccd.zeropoint_fit import fit_zeropoint
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import HOT, SATURATED
from recipes.tables import Column, Table
from recipes.values import PhotometricParameters
from recipes.zeropoint import zeropoint
from tests.recipes.photometry_night import PhotometryNight

APERTURE = 10.0  # arcsec


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> PhotometryNight:
    return PhotometryNight.observed(tmp_path_factory.mktemp("photometry"), chips=1, columns=640, rows=640, science=1,
                                    standards=1, standard_time=60.0, filters=("r", "g"), seed=4)  # fmt: skip


def lost_light(note: dict) -> float:
    """Return the magnitude of what a star of Moffat's profile has outside the aperture."""
    width = note["fwhm"] / (2 * np.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    outside = (1 + (APERTURE / 2 / width) ** 2) ** (1 - MOFFAT_BETA)
    return float(-2.5 * np.log10(1 - outside))


def made(frame: Frame, catalogue: Table, **parameters) -> PhotometricParameters:
    given = {"flux_type": "APER", "aperture": f"{APERTURE} arcsec"} | parameters
    return zeropoint(frame, catalogue, **given).products[0].content


def test_the_zeropoint_is_the_true_one_within_its_error(tmp_path: Path) -> None:
    pulls = []
    for seed in range(1, 9):
        night = PhotometryNight.observed(tmp_path / str(seed), seed=seed, chips=1, columns=640, rows=640, science=1)
        note = night.science()[0]
        found = made(night.calibrated(note), night.catalogue)
        expected = night.chip()["zeropoint"]["r"] - lost_light(note)
        assert found.star_count > 15
        assert found.zeropoint_error < 0.015
        pulls.append((found.zeropoint - expected) / found.zeropoint_error)
    # Eight pulls: their mean is known to 0.35, their rms to 0.25; faint neighbours add what no error tells.
    assert abs(np.mean(pulls)) < 1.0
    assert np.sqrt(np.mean(np.square(pulls))) < 1.8
    assert np.abs(pulls).max() < 3.5


def test_above_the_atmosphere_all_fields_have_one_zeropoint(night: PhotometryNight) -> None:
    for band in ("r", "g"):
        high, low = night.science(filter_=band)[0], night.science(filter_=band, field="SIMSTD-1")[0]
        assert low["airmass"] > high["airmass"] + 0.3
        first, second = (made(night.calibrated(note), night.catalogue) for note in (high, low))
        difference = first.zeropoint + lost_light(high) - second.zeropoint - lost_light(low)
        assert abs(difference) < 3 * np.hypot(first.zeropoint_error, second.zeropoint_error)


def test_kron_fluxes_with_their_own_zeropoint_give_the_catalogues_magnitudes(night: PhotometryNight) -> None:
    note = night.science()[0]
    outcome = zeropoint(night.calibrated(note), night.catalogue)
    found, stars = outcome.products[0].content, outcome.products[1].content.columns
    column = {name: stars[name].values for name in stars}
    used = column["USED"]
    magnitude = found.zeropoint - 2.5 * np.log10(column["FLUX"] / note["exposure_time"])
    magnitude -= found.extinction * note["airmass"] + found.colour_term * column["COLOUR"]
    pull = (magnitude - column["MAG_REF"])[used] / np.hypot(column["ZPERR"], 0.02)[used]
    assert abs(np.mean(pull)) < 4 / np.sqrt(used.sum())
    assert column["RESIDUAL"] == pytest.approx(column["ZP"] - found.zeropoint)
    # A Kron ellipse holds 94 per cent of a star's light or more (Bertin & Arnouts 1996, section 7.4).
    assert 0 < night.chip()["zeropoint"]["r"] - found.zeropoint < 0.06


def test_a_colour_term_that_is_left_out_is_told(night: PhotometryNight) -> None:
    frame = night.calibrated(night.science(filter_="g")[0])
    slopes = {}
    for term in ("", "-0.34"):
        given = zeropoint(frame, night.catalogue, flux_type="APER", colour_term=term).products[0]
        slopes[term] = next(value for value in given.measured if value.name == "colour_slope")
    assert abs(slopes[""].value) < 4 * slopes[""].error  # 0.06 is declared, and right
    assert slopes["-0.34"].value == pytest.approx(0.4, abs=4 * slopes["-0.34"].error)


def test_in_adu_it_differs_by_the_gain(night: PhotometryNight) -> None:
    note = night.science()[0]
    electrons, adu = (made(night.calibrated(note, unit=unit), night.catalogue) for unit in ("electron", "adu"))
    assert (electrons.flux_unit, adu.flux_unit) == ("electron", "adu")
    assert electrons.zeropoint - adu.zeropoint == pytest.approx(2.5 * np.log10(night.chip()["gain"]), abs=0.002)


def test_what_is_used_is_told_star_by_star(night: PhotometryNight) -> None:
    note = night.science()[0]
    plain = zeropoint(night.calibrated(note), night.catalogue).products[1].content.columns
    bright = np.argsort(plain["MAG_REF"].values)
    bright = [place for place in bright if plain["USED"].values[place]][:2]
    x, y = (np.rint(plain[name].values[bright]).astype(int) - 1 for name in ("X_IMAGE", "Y_IMAGE"))
    mask = np.zeros((640, 640), np.uint16)
    mask[y[0], x[0]] = SATURATED
    mask[y[1], x[1]] = HOT
    outcome = zeropoint(night.calibrated(note, mask=mask), night.catalogue)
    stars = outcome.products[1].content.columns
    remarks = {}
    for column, row in zip(x, y, strict=True):
        place = np.argmin(np.hypot(stars["X_IMAGE"].values - 1 - column, stars["Y_IMAGE"].values - 1 - row))
        remarks[stars["REMARK"].values[place]] = stars["USED"].values[place]
    assert remarks == {"saturated": False, "bad pixels": False}
    assert np.array_equal(stars["USED"].values, stars["REMARK"].values == "")
    assert stars["USED"].values.sum() == outcome.products[0].content.star_count
    assert "1 saturated" in " ".join(outcome.products[0].notes)


def test_the_star_catalogue_tells_where_its_stars_are(night: PhotometryNight) -> None:
    note = night.science()[0]
    product = zeropoint(night.calibrated(note), night.catalogue).products[1]
    about, stars = product.attributes, product.content.columns
    assert (about.chip, about.filter, about.columns, about.rows) == ("ccd1", "r", 640, 640)
    assert about.wcs["CTYPE1"] == "RA---TPV"
    assert (about.pointing_ra, about.pointing_dec) == (note["ra"], note["dec"])
    assert about.zeropoint == product.attributes.zeropoint
    north = stars["DEC"].values - note["dec"]
    assert stars["ETA"].values == pytest.approx(north, abs=1e-5)  # a field of minutes is flat


def few(catalogue: Table, rows: np.ndarray, **shift: float) -> Table:
    columns = {name: Column(column.values[rows], column.unit) for name, column in catalogue.columns.items()
               if name != "MAGERR_r"}  # fmt: skip
    for name, amount in shift.items():
        columns[name] = Column(columns[name].values + amount, "deg")
    return Table(columns, "CATALOGUE", catalogue.attributes)


def test_a_few_stars_are_found_though_the_coordinates_are_off(night: PhotometryNight) -> None:
    note = night.science()[0]
    frame = night.calibrated(note, astrometric_rms=0.6)
    stars = zeropoint(frame, night.catalogue).products[1].content.columns
    best = np.argsort(stars["MAG_REF"].values + 9.0 * ~stars["USED"].values)[:3]
    three = few(night.catalogue, stars["REFERENCE"].values[best], DEC=2.0 / 3600)
    found = zeropoint(frame, three, flux_type="APER").products[0]
    values = {value.name: value.value for value in found.measured}
    assert values["star_count"] == 3
    assert values["offset_north"] == pytest.approx(-2.0, abs=0.1)
    # Three stars with unknown errors: 0.02 mag each.
    assert found.content.zeropoint_error == pytest.approx(0.02 / np.sqrt(3), rel=0.5)
    expected = night.chip()["zeropoint"]["r"] - lost_light(note)
    assert found.content.zeropoint == pytest.approx(expected, abs=3 * found.content.zeropoint_error)


def test_without_airmass_the_extinction_stays_in(night: PhotometryNight) -> None:
    note = night.science()[0]
    outcome = zeropoint(night.calibrated(note, airmass=None), night.catalogue)
    known = zeropoint(night.calibrated(note), night.catalogue).products[0].content
    found = outcome.products[0]
    assert "airmass" in found.made_without
    assert found.content.extinction == 0
    dimming = night.notes["extinction"]["r"] * note["airmass"]
    assert known.zeropoint - found.content.zeropoint == pytest.approx(dimming, abs=1e-6)


def test_what_the_user_gives_counts_before_what_is_declared(night: PhotometryNight) -> None:
    frame = night.calibrated(night.science()[0])
    given = made(frame, night.catalogue, band="i", colour="r-i", colour_term="0.5", extinction="0.25")
    assert (given.band, given.colour, given.colour_term, given.extinction) == ("i", "r-i", 0.5, 0.25)
    declared = made(frame, night.catalogue)
    assert (declared.band, declared.colour, declared.colour_term, declared.extinction) == ("r", "g-r", -0.04, 0.09)


def test_a_filters_name_tells_where_nothing_is_declared(night: PhotometryNight) -> None:
    frame = night.calibrated(night.science()[0], photometry=None, filter="SDSS r'")
    product = zeropoint(frame, night.catalogue).products[0]
    assert (product.content.band, product.content.colour, product.content.colour_term) == ("r", "g-r", 0.0)
    assert product.content.extinction == pytest.approx(0.12)
    assert "usual in r" in " ".join(product.notes)


def test_a_colour_that_the_catalogue_lacks_is_done_without(night: PhotometryNight) -> None:
    frame = night.calibrated(night.science()[0])
    columns = {name: column for name, column in night.catalogue.columns.items() if not name.endswith("_g")}
    product = zeropoint(frame, Table(columns, "CATALOGUE", night.catalogue.attributes)).products[0]
    assert "colour term" in product.made_without
    assert product.content.colour_term == 0


def test_magnitudes_of_the_other_system_are_brought_over(night: PhotometryNight) -> None:
    columns = {name: night.catalogue.columns[name] for name in ("RA", "DEC", "PMRA", "PMDEC")}
    columns["MAG_V"] = night.catalogue.columns["MAG_r"]
    vega = Table(columns, "CATALOGUE", night.catalogue.attributes.model_copy(update={"system": "Vega"}))
    note = night.science()[0]
    found = {
        system: made(night.calibrated(note, photometry=Photometry(band="V", system=system, extinction=0.1)), vega)
        for system in ("Vega", "AB")
    }
    assert found["AB"].zeropoint - found["Vega"].zeropoint == pytest.approx(0.02)
    assert found["AB"].system == "AB"


def nowhere(catalogue: Table) -> Table:
    return few(catalogue, np.arange(len(catalogue)), DEC=20.0)


@pytest.mark.parametrize(
    ("message", "attributes", "parameters", "change"),
    [
        ("which standard band", {"photometry": None, "filter": "Clear"}, {}, None),
        ("has no magnitudes in K; it has g, r, i, z", {}, {"band": "K"}, None),
        ("has no stars with a magnitude in r on", {}, {}, nowhere),
        ("not tell how long it was exposed", {"exposure_time": 0.0}, {}, None),
        ("no diameter from 1 to 2000 pixels", {}, {"aperture": "a hand"}, None),
        ("extinction = 'much' is no number", {}, {"extinction": "much"}, None),
        ("is not two bands", {}, {"colour": "red"}, None),
        ("the system Vega, the catalogue SimCat has it in AB",
         {"photometry": Photometry(band="r", system="Vega")}, {}, None),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(night: PhotometryNight, message, attributes, parameters, change) -> None:
    frame = night.calibrated(night.science()[0], **attributes)
    catalogue = change(night.catalogue) if change else night.catalogue
    with pytest.raises(UsageError, match=message):
        zeropoint(frame, catalogue, **parameters)


def test_a_frame_without_coordinates_or_counts_is_refused(night: PhotometryNight) -> None:
    frame = night.calibrated(night.science()[0])
    planes = {"variance": frame.variance, "attributes": frame.attributes, "name": "f"}
    with pytest.raises(UsageError, match="has no coordinates"):
        zeropoint(Frame(frame.data, unit="electron", **planes), night.catalogue)
    with pytest.raises(UsageError, match="not in counts of the exposure"):
        zeropoint(Frame(frame.data, unit="electron/s", wcs=frame.wcs, **planes), night.catalogue)


def test_an_empty_sky_is_refused_with_the_reason(night: PhotometryNight) -> None:
    frame = night.calibrated(night.science()[0])
    dark = np.random.default_rng(1).normal(900, 30, frame.shape).astype(np.float32)
    empty = Frame(dark, unit="electron", wcs=frame.wcs, attributes=frame.attributes, name="empty")
    with pytest.raises(UsageError, match=r"none can be used: \d+ not found"):
        zeropoint(empty, night.catalogue)


def test_the_same_inputs_give_the_same_numbers(night: PhotometryNight) -> None:
    frame = night.calibrated(night.science()[0])
    first, second = (zeropoint(frame, night.catalogue).products for _ in range(2))
    assert first[0].content.numbers() == second[0].content.numbers()
    for name, column in first[1].content.columns.items():
        assert np.array_equal(column.values, second[1].content.columns[name].values)


def test_the_fit_is_honest_about_errors_and_scatter() -> None:
    random = np.random.default_rng(3)
    for scatter in (0.0, 0.03):
        pulls = []
        for _ in range(400):
            errors = random.uniform(0.004, 0.05, 30)
            values = 24.0 + random.normal(0, np.hypot(errors, scatter))
            values[:3] += [0.4, -0.5, 2.0]
            fit = fit_zeropoint(values, errors, largest_difference=1.0, clip=3.0)
            assert fit.mismatched[2]
            assert not fit.used[:3].any()
            pulls.append((fit.zeropoint - 24.0) / fit.error)
        # 400 pulls: mean to 0.05, width to 0.035; scatter that thirty stars show is uncertain, which widens it.
        assert abs(np.mean(pulls)) < 0.2
        assert 0.75 < np.std(pulls) < 1.25


def test_one_star_has_the_usual_scatter_in_its_error() -> None:
    fit = fit_zeropoint(np.array([24.0]), np.array([0.004]), largest_difference=1.0, clip=3.0)
    assert (fit.zeropoint, fit.count) == (24.0, 1)
    assert fit.error == pytest.approx(np.hypot(0.03, 0.004))
