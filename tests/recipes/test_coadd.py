"""Coadd: flux, noise, weights, rejection and what is left out, measured against what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from recipes import threads
from recipes.attributes import Photometry
from recipes.ccd import coadding
from recipes.coadd import RECIPE, coadd
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import COSMIC_RAY, HOT, NO_DATA
from tests.recipes.dithered import (
    GRID,
    Exposure,
    Stars,
    as_regridded_frame,
    expose,
    linear_cards,
    measured_stars,
    star_image,
    tpv_cards,
)

SHAPE = 400, 420
STARS = Stars.on_lattice(5, 70, 1e5)
NOISES = (8.0, 10.0, 12.0, 15.0, 20.0)


def exposures(number=5, *, sky=100.0, poisson=False, fwhm=3.5, fwhm_step=0.0, noises=NOISES):
    rng = np.random.default_rng(11)
    for index in range(number):
        cards = tpv_cards(SHAPE, 0.5, dither=tuple(rng.uniform(-9, 9, 2)), rotation=rng.uniform(-1, 1))
        yield expose(STARS, cards, SHAPE, sky=sky * (1 + index), noise=noises[index], poisson=poisson, seed=index,
                     fwhm=fwhm + index * fwhm_step)  # fmt: skip


@pytest.fixture(scope="module")
def frames():
    return [
        as_regridded_frame(exposure.regrid(), f"frame{index}", date_obs=f"2024-03-01T01:0{index}:00",
                           exposure_time=60.0, zeropoint=25.0, gain=1.0)
        for index, exposure in enumerate(exposures())
    ]  # fmt: skip


def places_on(image: Frame):
    x0, y0 = GRID.origin(image.wcs)
    x, y = GRID.pixels(STARS.ra, STARS.dec)
    return x - x0, y - y0


def empty_sky(image: Frame, border=40):
    """Return where the image has good pixels, all frames, and no light of stars."""
    x, y = places_on(image)
    empty = (star_image(image.shape, x, y, STARS.flux, 4.5) < 0.01) & (image.mask == 0)
    empty[:border], empty[-border:], empty[:, :border], empty[:, -border:] = False, False, False, False
    return empty


def values(outcome):
    return {entry.name: entry.value for entry in outcome.products[0].measured}


def test_flux_places_and_noise_are_those_of_the_ideal_weighting(frames):
    outcome = coadd(frames, background=True, back_size=64)
    image, weight = (product.content for product in outcome.products)
    attributes = outcome.products[0].attributes

    flux, x, y = measured_stars(image.data, *places_on(image))
    ideal = 1 / np.sum(1 / np.square(NOISES))  # variance of independent pixels
    aperture = 33 * np.sqrt(ideal)
    # 25 stars; the mesh takes at most a tenth of the noise of each pixel of the aperture for sky.
    assert np.mean(flux) == pytest.approx(1e5, abs=3 * aperture / 5 + 33**2 * 0.1 * np.sqrt(ideal))
    own_x, own_y = places_on(image)
    assert np.hypot(np.mean(x - own_x), np.mean(y - own_y)) < 0.005

    empty = empty_sky(image)
    assert empty.sum() > 40_000
    noise = float(image.data[empty].std())
    assert noise == pytest.approx(np.sqrt(ideal * attributes.noise_correlation), rel=0.02)
    pulls = image.data[empty] * np.sqrt(weight.data[empty])
    assert np.std(pulls) == pytest.approx(1, abs=0.02)
    assert np.abs(np.mean(pulls)) < 0.05
    assert outcome.products[1].attributes.belongs_to == "CoaddedRegriddedFrame"
    assert weight.data[image.mask == 0] == pytest.approx(1 / image.variance[image.mask == 0])


def test_large_apertures_are_as_noisy_as_the_correlation_says():
    noise = [
        Exposure(np.random.default_rng(50 + index).normal(0, 10, SHAPE).astype(np.float32),
                 np.full(SHAPE, 100, np.float32), np.zeros(SHAPE, np.uint16), exposure.cards)
        for index, exposure in enumerate(exposures())
    ]  # fmt: skip
    outcome = coadd([as_regridded_frame(one.regrid(), f"frame{index}") for index, one in enumerate(noise)],
                    background=False)  # fmt: skip
    image, correlation = outcome.products[0].content, outcome.products[0].attributes.noise_correlation
    inner = image.data[50:-50, 50:-50]
    side = 20
    rows, columns = inner.shape[0] // side, inner.shape[1] // side
    sums = inner[: rows * side, : columns * side].reshape(rows, side, columns, side).sum(axis=(1, 3))
    expected = side * np.sqrt(float(image.variance[200, 200]) / correlation)
    assert expected == pytest.approx(side * 10 / np.sqrt(5), rel=0.01)
    # Some 250 apertures tell their scatter to 4.5 %.
    assert np.std(sums) == pytest.approx(expected, rel=0.14)


def test_stars_of_different_seeing_keep_their_flux():
    """Weights that knew of the stars' own noise would lose several per cent of their light."""
    made = [
        as_regridded_frame(exposure.regrid(), f"frame{index}")
        for index, exposure in enumerate(exposures(4, sky=0, poisson=True, fwhm=2.8, fwhm_step=0.6, noises=[4.0] * 4))
    ]
    for combine, bar in (("WEIGHTED", 0.002), ("CLIPPED", 0.004)):
        outcome = coadd(made, background=False, combine=combine)
        flux, _, _ = measured_stars(outcome.products[0].content.data, *places_on(outcome.products[0].content))
        # Each star's photons scatter its flux by 0.16 % over four frames, 25 stars.
        assert np.mean(flux) / 1e5 == pytest.approx(1, abs=bar)
    assert values(outcome)["rejected_fraction"] < 1e-3


def test_the_variance_counts_the_photons_of_stars():
    made = [
        as_regridded_frame(exposure.regrid(), f"frame{index}")
        for index, exposure in enumerate(exposures(4, sky=0, poisson=True, noises=[4.0] * 4))
    ]
    image = coadd(made, background=False).products[0].content
    x, y = (np.round(axis).astype(int) for axis in places_on(image))
    core, sky = np.median(image.variance[y, x]), np.median(image.variance[empty_sky(image)])
    # In the core 0.06 of the light falls onto a pixel: 6e3 photons over 16 of read noise.
    peak = np.median(image.data[y, x])
    assert core / sky == pytest.approx((16 + peak) / 16, rel=0.08)


@pytest.mark.parametrize("number", [2, 3, 5])
def test_clipping_takes_out_what_only_one_frame_has(frames, number):
    trail = np.array(frames[1].data)
    lines = slice(100, 300), slice(200, 206)
    trail[lines] += 400.0
    dirty = Frame(trail, variance=frames[1].variance, mask=frames[1].mask, attributes=frames[1].attributes,
                  unit=frames[1].unit, name="dirty", wcs=frames[1].wcs)  # fmt: skip
    given = [frames[0], dirty, *frames[2:number]]
    clean = coadd(given[:1] + frames[1:number], back_size=64).products[0].content
    kept = coadd(given, back_size=64).products[0].content
    outcome = coadd(given, combine="CLIPPED", back_size=64)
    clipped = outcome.products[0].content
    x0, y0 = GRID.origin(clean.wcs)
    at_x, at_y = (GRID.origin(frames[1].wcs)[axis] - start for axis, start in ((0, x0), (1, y0)))
    where = slice(100 + at_y, 300 + at_y), slice(200 + at_x, 206 + at_x)
    noise = np.sqrt(clean.variance[where])
    assert np.median((kept.data[where] - clean.data[where]) / noise) > 10
    assert np.abs(np.median((clipped.data[where] - clean.data[where]) / noise)) < 1.0
    rejected = {entry["name"]: entry["rejected"] for entry in outcome.products[0].attributes.coadded_frames}
    # But for the stars that it crosses, whose images may differ.
    assert rejected["dirty"] > 0.85 * 200 * 6
    assert sum(rejected.values()) - rejected["dirty"] < 0.002 * clipped.data.size
    # Elsewhere it is the weighted mean, and the stars are whole.
    flux, clean_flux = (measured_stars(one.data, *places_on(one))[0] for one in (clipped, clean))
    far = np.abs(places_on(clean)[0] - (203 + at_x)) > 30
    assert flux[far] == pytest.approx(clean_flux[far], rel=2e-3)


def test_the_median_has_the_noise_that_it_says(frames):
    outcome = coadd(frames, combine="MEDIAN", back_size=64)
    image = outcome.products[0].content
    empty = empty_sky(image)
    # The variance of a median of unlike frames is that of the large-number limit: right to some per cent.
    assert np.std(image.data[empty] / np.sqrt(image.variance[empty])) == pytest.approx(1, abs=0.05)


def test_masked_pixels_do_not_count_and_what_no_frame_has_is_marked(frames):
    masked = []
    x0, y0 = GRID.origin(frames[0].wcs)
    for index, frame in enumerate(frames):
        mask = np.array(frame.mask)
        own_x, own_y = GRID.origin(frame.wcs)
        column, row = 200 + x0 - own_x, 150 + y0 - own_y
        mask[row : row + 10, column : column + 10] |= HOT
        if index < 2:
            mask[row + 30 : row + 40, column : column + 10] |= COSMIC_RAY
        masked.append(Frame(frame.data, variance=frame.variance, mask=mask, attributes=frame.attributes,
                            unit=frame.unit, name=frame.name, wcs=frame.wcs))  # fmt: skip
    outcome = coadd(masked, back_size=64)
    image, weight = (product.content for product in outcome.products)
    all_x, all_y = GRID.origin(image.wcs)
    column, row = 200 + x0 - all_x, 150 + y0 - all_y
    nowhere = slice(row + 1, row + 9), slice(column + 1, column + 9)
    assert (image.mask[nowhere] & HOT).all()
    assert not weight.data[nowhere].any()
    assert np.abs(image.data[nowhere]).max() < 8 * np.sqrt(image.variance[nowhere].max())
    somewhere = slice(row + 31, row + 39), slice(column + 1, column + 9)
    assert not image.mask[somewhere].any()
    rest = 1 / np.sum(1 / np.square(NOISES[2:]))
    assert np.median(image.variance[somewhere]) == pytest.approx(rest * 0.795, rel=0.1)
    outside = (image.mask & NO_DATA) != 0
    assert not image.data[outside].any()
    assert not image.variance[outside].any()


def test_quality_and_lineage(frames):
    outcome = coadd(frames, back_size=64)
    product, measured = outcome.products[0], values(outcome)
    assert measured["frames"] == measured["coverage_maximum"] == measured["coverage_median"] == 5
    assert measured["coverage_minimum"] == 1
    inside = product.content.mask == 0
    assert measured["covered_area"] == pytest.approx(inside.sum() * (0.3 / 60) ** 2, rel=1e-3)
    # The Gaussian of 3.5 pixels, spread by the pixel and the kernel.
    assert measured["psf_fwhm"] == pytest.approx(3.6, rel=0.06)
    assert measured["noise_ratio"] == pytest.approx(1, abs=0.05)
    # A star of five sigma: 4 pi sigma² pixels of noise for a Gaussian profile as weight.
    area = 4 * np.pi * (measured["psf_fwhm"] / 2.3548) ** 2
    expected = 5 * np.sqrt(area / np.sum(1 / np.square(NOISES)))
    assert measured["depth_flux"] == pytest.approx(expected, rel=0.15)
    assert measured["depth_magnitude"] == pytest.approx(25 - 2.5 * np.log10(measured["depth_flux"]))
    attributes = product.attributes
    assert attributes.zeropoint == 25.0
    assert attributes.grid == GRID.name
    assert attributes.total_exposure_time == 300
    weights = [entry["weight"] for entry in attributes.coadded_frames]
    ideal = 1 / np.square(NOISES)
    assert weights == pytest.approx(ideal / ideal.sum(), rel=0.02)
    levels = [entry["sky_level"] for entry in attributes.coadded_frames]
    assert levels == pytest.approx([100, 200, 300, 400, 500], rel=0.01)
    # Five frames count the photons of five.
    assert attributes.gain == pytest.approx(ideal.sum() ** 2 / np.sum(ideal**2), rel=0.03)
    assert any("frame3: weight" in note for note in product.notes)
    assert len(attributes.coverage_map) == 8


def test_frames_with_other_zeropoints_are_brought_to_one(frames):
    other = frames[1]
    factor = 10 ** (0.4 * 1.5)
    attributes = other.attributes.model_copy(update={"zeropoint": 26.5})
    faint = Frame(other.data * factor, variance=other.variance * factor**2, mask=other.mask, unit=other.unit,
                  attributes=attributes, name="other", wcs=other.wcs)  # fmt: skip
    mixed = coadd([frames[0], faint, *frames[2:]], back_size=64).products[0].content
    alike = coadd(frames, back_size=64).products[0].content
    assert mixed.data == pytest.approx(alike.data, abs=2e-3 * float(np.abs(alike.data).max()))
    assert np.median(mixed.variance / np.where(alike.variance > 0, alike.variance, 1)) == pytest.approx(1, rel=1e-3)


def test_what_does_not_fit_is_left_out_and_said_so(frames):
    def changed(name, frame=frames[1], **update):
        unit = update.pop("unit", frame.unit)
        variance = update.pop("variance", frame.variance)
        wcs = update.pop("wcs", frame.wcs)
        return Frame(frame.data, variance=variance, mask=frame.mask, unit=unit, name=name, wcs=wcs,
                     attributes=frame.attributes.model_copy(update=update))  # fmt: skip

    x0, y0 = GRID.origin(frames[1].wcs)
    strangers = [
        changed("relative", zeropoint=None),
        changed("vega", photometry=Photometry(band="V", system="Vega")),
        changed("adu", unit="adu"),
        changed("no variance", variance=None),
        changed("nothing", variance=np.zeros(frames[1].shape, np.float32)),
        changed("lost", astrometric_confidence="none"),
        changed("far", wcs=GRID.cards(x0 + 5000, y0)),
        changed("askew", wcs=linear_cards(frames[1].shape, dither=(0.5, 0.5))),
    ]
    outcome = coadd([*frames, *strangers], back_size=64)
    reasons = {entry.name: entry.reason for entry in outcome.left_out}
    assert set(reasons) == {stranger.name for stranger in strangers}
    assert "no zeropoint" in reasons["relative"]
    assert "Vega" in reasons["vega"]
    assert "adu" in reasons["adu"]
    assert "variance" in reasons["no variance"]
    assert "variance" in reasons["nothing"]
    assert "coordinates" in reasons["lost"]
    assert "apart" in reasons["far"]
    assert "grid" in reasons["askew"]
    alone = coadd(frames, back_size=64).products[0].content
    assert np.array_equal(outcome.products[0].content.data, alone.data)


def test_what_cannot_be_added_up_is_refused(frames):
    with pytest.raises(UsageError, match="no frame"):
        coadd([])
    for name, value in (("grid", "TAN 1.0000000 +2.0000000 0.300000"), ("filter", "R")):
        other = Frame(frames[0].data, variance=frames[0].variance, name="other", wcs=frames[0].wcs,
                      attributes=frames[0].attributes.model_copy(update={name: value}))  # fmt: skip
        with pytest.raises(UsageError, match=f"more than one {name}"):
            coadd([frames[0], other])
    bare = Frame(frames[0].data, name="bare", attributes=frames[0].attributes, wcs=frames[0].wcs)
    with pytest.raises(UsageError, match="bare: it has no variance"):
        coadd([bare])


def test_one_frame_is_taken_as_it_is(frames):
    outcome = coadd(frames[:1], background=False)
    image = outcome.products[0].content
    good = image.mask == 0
    assert image.data[good] == pytest.approx(frames[0].data[good], rel=1e-5)
    assert image.variance[good] == pytest.approx(frames[0].variance[good], rel=1e-5)
    assert any("Only one frame" in note for note in outcome.products[0].notes)


@pytest.mark.parametrize("combine", ["WEIGHTED", "CLIPPED", "MEDIAN"])
def test_strips_and_threads_leave_no_trace(frames, combine, monkeypatch):
    whole = coadd(frames, combine=combine, back_size=64)
    monkeypatch.setattr(coadding, "_BUDGET", 400_000)
    threads.allow(2)
    try:
        pieces = coadd(frames, combine=combine, back_size=64)
    finally:
        threads.allow(1)
    for one, other in zip(whole.products, pieces.products, strict=True):
        assert one.content.data.tobytes() == other.content.data.tobytes()
        assert one.content.mask.tobytes() == other.content.mask.tobytes()
    assert [entry.value for entry in whole.products[0].measured] == [e.value for e in pieces.products[0].measured]


def small_frames(shape=(12, 14), spoilt=np.s_[:0]):
    cards = linear_cards(shape, dither=(0.3, 0.2))
    rng = np.random.default_rng(1)
    made = []
    for index in range(3):
        data = rng.normal(5, 1, shape).astype(np.float32)
        data[spoilt] = 1e20
        exposure = Exposure(data, np.ones(shape, np.float32), np.zeros(shape, np.uint16), cards)
        made.append(as_regridded_frame(exposure.regrid(), f"small{index}"))
    return made


def test_pixels_that_no_number_of_photons_makes_do_not_count():
    outcome = coadd(small_frames((60, 70), np.s_[:30, :35]), combine="WEIGHTED")
    made = outcome.products[0].content
    assert np.abs(made.data).max() < 10
    assert 0.2 < np.mean(made.mask == NO_DATA) < 0.4
    assert values(outcome)["sky_noise"] < 1


def test_small_frames_are_no_crash():
    made = small_frames()
    for combine in ("WEIGHTED", "CLIPPED", "MEDIAN"):
        outcome = coadd(made, combine=combine)
        assert np.isfinite(outcome.products[0].content.data).all()


def test_the_declaration():
    assert RECIPE.split_by == ("instrument", "filter", "grid")
    assert RECIPE.runs_on == "node"
    assert {parameter.name for parameter in RECIPE.parameters} >= {"combine", "background", "back_size"}
