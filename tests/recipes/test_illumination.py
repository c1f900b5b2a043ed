"""Illumination on the simulated observatory, whose flats are wrong by a known polynomial over the focal plane."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from observatory.camera import build_camera
from observatory.illumination import illumination_of_chip
from recipes.attributes import FrameAttributes
from recipes.ccd.illumination_fit import fit_illumination, powers, terms
from recipes.errors import UsageError
from recipes.fits_writing import attributes_to_store
from recipes.frame import Frame
from recipes.illumination import illumination
from recipes.products import Product
from recipes.quality import COUNT, UNCERTAIN, judge
from recipes.tables import Column, Table
from recipes.values import IlluminationCorrection
from recipes.zeropoint import zeropoint
from tests.recipes.photometry_night import PhotometryNight

CHIPS = ("ccd1", "ccd2", "ccd3", "ccd4")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> PhotometryNight:
    return PhotometryNight.observed(tmp_path_factory.mktemp("illumination"), chips=4, columns=480, rows=800, science=1,
                                    illumination=0.15, seed=2)  # fmt: skip


@pytest.fixture(scope="module")
def catalogues(night: PhotometryNight) -> list[Table]:
    return [zeropoint(night.calibrated(night.science(chip)[0]), night.catalogue).products[1].content for chip in CHIPS]


@pytest.fixture(scope="module")
def products(catalogues: list[Table]) -> tuple[Product, ...]:
    return illumination(catalogues).products


def true_frames(night: PhotometryNight) -> dict[str, np.ndarray]:
    """Return by chip what its frames ought to be divided by, of mean 1."""
    factors = {
        chip.name: 10 ** (-0.4 * illumination_of_chip(night.plan, chip.place)) for chip in build_camera(night.plan)
    }
    return {name: factor / factor.mean() for name, factor in factors.items()}


def test_there_is_a_correction_and_a_frame_for_each_chip(products) -> None:
    assert [product.kind for product in products] == ["IlluminationCorrection"] + 4 * ["IlluminationCorrectionFrame"]
    assert [product.attributes.chip for product in products] == ["", *CHIPS]
    assert {product.attributes.filter for product in products} == {"r"}
    assert [product.content.shape for product in products[1:]] == 4 * [(800, 480)]


def test_the_frames_are_the_true_ones_within_their_error(night: PhotometryNight, products) -> None:
    true = true_frames(night)
    for product in products[1:]:
        frame, expected = product.content, true[product.attributes.chip]
        assert frame.data.mean(dtype=float) == pytest.approx(1, abs=1e-5)
        # All pixels of a chip hang on five numbers: their pulls go together.
        pull = (frame.data - expected) / np.sqrt(frame.variance)
        assert np.sqrt(np.mean(pull**2)) < 2.5
        assert np.abs(frame.data - expected).max() < 3 * np.sqrt(frame.variance.max())
        assert np.ptp(expected) > 0.05


def test_the_surface_is_the_stated_polynomial(night: PhotometryNight, products) -> None:
    stated, found = night.notes["illumination"], products[0].content
    xi, eta = np.meshgrid(np.linspace(-0.06, 0.06, 9), np.linspace(-0.1, 0.1, 9))
    expected = -sum(
        term["factor"] * (xi / stated["scale"]) ** term["xi"] * (eta / stated["scale"]) ** term["eta"]
        for term in stated["terms"]
    )
    seen = powers(xi / found.scale, eta / found.scale, found.order) @ np.array(found.coefficients)
    difference = (seen - seen.mean()) - (expected - expected.mean())
    # About 150 stars of 0.02 mag and six numbers: 0.004 mag, more at the corners.
    assert difference.std() < 0.008
    assert expected.std() > 0.03


def test_zeropoints_of_chips_do_not_bend_the_surface(catalogues: list[Table], products) -> None:
    moved = []
    for number, table in enumerate(catalogues):
        columns = dict(table.columns) | {"ZP": Column(table.columns["ZP"].values + 0.3 * number, "mag")}
        moved.append(replace(table, columns=columns))
    again = illumination(moved).products
    assert again[0].content.coefficients == pytest.approx(products[0].content.coefficients, abs=1e-6)
    before, after = (made[0].attributes.zeropoints_of_chips for made in (products, again))
    assert [after[chip] - before[chip] for chip in CHIPS] == pytest.approx([0, 0.3, 0.6, 0.9], abs=1e-4)


def scatter_after(night: PhotometryNight, divisors: dict[str, np.ndarray]) -> float:
    """Return the weighted rms of the stars about the zeropoints of frames that are divided so."""
    squares, weights = 0.0, 0.0
    for chip, divisor in divisors.items():
        frame = night.calibrated(night.science(chip)[0])
        mended = Frame(frame.data / divisor, variance=frame.variance / divisor**2, unit=frame.unit,
                       attributes=frame.attributes, name="mended", wcs=frame.wcs)  # fmt: skip
        stars = zeropoint(mended, night.catalogue).products[1].content.columns
        used = np.isin(stars["REMARK"].values, ("", "clipped")) & (np.abs(stars["RESIDUAL"].values) < 0.15)
        weight = 1 / (stars["ZPERR"].values[used] ** 2 + 0.01**2)
        squares += float(np.sum(weight * stars["RESIDUAL"].values[used] ** 2))
        weights += float(weight.sum())
    return np.sqrt(squares / weights)


def test_frames_divided_by_it_have_one_zeropoint_everywhere(night: PhotometryNight, products) -> None:
    plain = scatter_after(night, {chip: np.ones((800, 480), np.float32) for chip in CHIPS})
    mended = scatter_after(night, {product.attributes.chip: product.content.data for product in products[1:]})
    perfect = scatter_after(night, true_frames(night))
    assert perfect < 0.8 * plain  # or there is nothing to mend
    assert mended < 1.05 * perfect


def test_a_surface_that_chance_alone_may_have_made_is_flagged(catalogues: list[Table], products) -> None:
    """Flats that are right, stars as good as before: what the fit finds are their errors."""
    random = np.random.default_rng(7)
    right = []
    for table in catalogues:
        errors = np.asarray(table.columns["ZPERR"].values, float)
        values = Column(24 + random.normal(0, np.hypot(errors, 0.01)), "mag")
        right.append(replace(table, columns=dict(table.columns) | {"ZP": values}))
    for made, flags in ((products, 0), (illumination(right).products, UNCERTAIN)):
        assert [judge(product.kind, product.measured, {})[1] & UNCERTAIN for product in made] == [flags] * 5


def test_frames_of_a_fit_that_is_flagged_are_flagged(catalogues: list[Table]) -> None:
    """Reduce is given the frames: they know of the few stars that their surface rests on."""
    few = replace(catalogues[0], columns={
        name: replace(column, values=np.asarray(column.values)[:: len(catalogues[0]) // 16])
        for name, column in catalogues[0].columns.items()
    })  # fmt: skip
    made = illumination([few], order=1).products
    assert {entry.name: entry.value for entry in made[1].measured}["star_count"] < 20
    assert [judge(product.kind, product.measured, {})[1] & COUNT for product in made] == [COUNT] * 2


def test_what_is_stored_is_read_again(products) -> None:
    stored = attributes_to_store(products[0])
    again = IlluminationCorrection.read("i", FrameAttributes(**stored), None)
    assert list(again.coefficients) == pytest.approx(products[0].content.coefficients)
    assert "chip" not in stored
    assert len(again.coefficients) == len(terms(2)) == 6


def test_one_chip_alone_and_a_surface_of_order_one_will_do(catalogues: list[Table]) -> None:
    made = illumination(catalogues[:1], order=1).products
    assert len(made) == 2
    assert made[0].content.order == 1


def test_of_two_catalogues_of_a_chip_one_is_left_out(catalogues: list[Table], products) -> None:
    fewer = replace(catalogues[0], columns={name: Column(column.values[:5], column.unit)
                                            for name, column in catalogues[0].columns.items()})  # fmt: skip
    outcome = illumination([fewer, *catalogues])
    assert len(outcome.left_out) == 1
    assert "chip ccd1" in outcome.left_out[0].reason
    assert outcome.products[0].content.numbers() == products[0].content.numbers()


def test_a_chip_without_stars_gets_its_frame_from_the_others(catalogues: list[Table], night: PhotometryNight) -> None:
    empty = replace(catalogues[2], columns={name: Column(column.values[:0], column.unit)
                                            for name, column in catalogues[2].columns.items()})  # fmt: skip
    made = illumination([*catalogues[:2], empty, catalogues[3]]).products
    assert [product.attributes.chip for product in made[1:]] == list(CHIPS)
    assert "Chip ccd3 has no stars that count" in " ".join(made[0].notes)
    assert np.abs(made[3].content.data - true_frames(night)["ccd3"]).max() < 0.06


def changed(table: Table, **attributes) -> Table:
    return replace(table, attributes=table.attributes.model_copy(update=attributes))


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (r"of several: filter g \(.*first\.fits\)\) and r", lambda tables: [
            changed(tables[0], filter="g", file_name="first.fits"), *tables[1:]]),
        ("of several: date_obs", lambda tables: [changed(tables[0], date_obs="2026-03-15T01:00:00"), *tables[1:]]),
        ("does not tell its chip's shape", lambda tables: [changed(tables[0], wcs=None)]),
        ("does not tell its chip's shape", lambda tables: [changed(tables[0], rows=0)]),
        ("does not tell where the telescope pointed", lambda tables: [changed(tables[0], pointing_ra=None)]),
        ("lies far from the pointing", lambda tables: [changed(table, pointing_dec=89.0) for table in tables]),
        ("has no column DEC", lambda tables: [Table({"RA": tables[0].columns["RA"]}, "S", tables[0].attributes)]),
        ("do not tell a surface of order 2", lambda tables: [replace(tables[0], columns={
            name: Column(column.values[:8]) for name, column in tables[0].columns.items()})]),
        (r"stars of the star catalogue of chip ccd1 .* and 3 more tell .* only to within", lambda tables: [
            replace(table, columns=dict(table.columns) | {
            "ZPERR": Column(table.columns["ZPERR"].values + 0.3)}) for table in tables]),
        ("no star catalogue was given", lambda tables: []),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(catalogues: list[Table], message: str, change) -> None:
    with pytest.raises(UsageError, match=message):
        illumination(change(catalogues))


def test_the_fit_is_honest_about_its_errors() -> None:
    random = np.random.default_rng(5)
    coefficients = np.array([0.0, 0.02, -0.01, -0.05, 0.01, -0.04])
    pulls, surfaces, by_chance = [], [], []
    for _ in range(200):
        xi, eta = random.uniform(-1, 1, (2, 160))
        chip = (xi > 0).astype(np.int64) + 2 * (eta > 0)
        errors = random.uniform(0.004, 0.04, 160)
        values = 24 + 0.1 * chip + powers(xi, eta, 2) @ coefficients + random.normal(0, np.hypot(errors, 0.01))
        values[:4] += 0.5
        fit = fit_illumination(xi, eta, values, errors, chip, order=2, clip=3.0)
        assert fit is not None
        assert not fit.used[:4].any()
        scaled = fit.surface.coefficients[1:] / fit.surface.scale ** np.array([sum(term) for term in terms(2)[1:]])
        surfaces.append(fit.significance)
        values -= powers(xi, eta, 2) @ coefficients
        flat = fit_illumination(xi, eta, values, errors, chip, order=2, clip=3.0)
        assert flat is not None
        by_chance.append(flat.significance)
        pulls.append((scaled - coefficients[1:]) / np.sqrt(np.diag(fit.surface.covariance)[1:]))
    # 1000 pulls: width to 0.03; the scatter is itself estimated.
    assert np.std(pulls) == pytest.approx(1.0, abs=0.15)
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.3
    assert min(surfaces) > 5
    # Where there is none its significance is |N(0, 1)|: in 200 tries 9 beyond 2 sigma; pulls of 1.15, 25 of them.
    assert np.sum(np.array(by_chance) > 2) < 45
    assert np.mean(np.array(by_chance) > 3) < 0.05
