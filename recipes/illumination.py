"""Illumination: what flats get wrong about illumination, from the standard stars of all chips of one exposure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.illumination_fit import IlluminationFit, IlluminationMap, Surface, fit_illumination, nodes, terms
from recipes.ccd.tangent_plane import project
from recipes.ccd.wcs import celestial, sky_positions
from recipes.errors import UsageError
from recipes.frame import Frame, number_of
from recipes.job import LeftOut
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit
from recipes.tables import Column, Table
from recipes.values import IlluminationCorrection

Floats = NDArray[np.float64]

# Of the reasons why Zeropoint left stars out, the one that illumination itself may be the cause of.
TO_TRY_AGAIN = "clipped"
NEEDED = ("RA", "DEC", "ZP", "ZPERR", "REMARK")
STARS_A_TERM = 3  # fewest for each number that is fitted
WORST_ERROR = 0.05  # mag: flats are seldom more wrong than that, so a worse correction does harm


def illumination(
    photometric_catalogues: Sequence[Table],
    *,
    order: Annotated[int, Bounds(1, 5)] = 2,
    sigma_clipping_level: Annotated[float, Unit("sigma"), Bounds(1, 100)] = 3.0,
) -> Outcome:
    r"""Fit what flats get wrong about illumination over the focal plane, and make a correction frame for each chip.

    Parameters
    ----------
    photometric_catalogues : sequence of Table
        Standard stars of all chips of one exposure, as Zeropoint measured them.
    order : int, optional
        Of the polynomial in the two coordinates of the focal plane.
    sigma_clipping_level : float, optional
        Stars that differ from the fit by so many sigma are not used.

    Returns
    -------
    Outcome
        An IlluminationCorrection: the polynomial in magnitudes, of mean 0 over the chips; and for each chip an
        IlluminationCorrectionFrame of mean 1, by which its reduced frames are divided.

    Raises
    ------
    UsageError
        Catalogues of several exposures, filters or instruments, without coordinates or shape, or too few stars.

    Notes
    -----
    Light that is scattered on its way makes flats too bright where it gathers, and stars there too faint (Manfroid
    1995, A&AS 113, 587; Koch et al. 2004, AN 325, 299, mend a mosaic's as is done here). What each star says of the
    zeropoint is fitted by :math:`Z_c + P(\xi, \eta)`, with one :math:`Z_c` a chip, so that differences between chips
    do not bend the surface, and a polynomial :math:`P` on the tangent plane about the pointing. Magnitudes are mended
    by adding :math:`P`, frames by dividing by :math:`10^{0.4 P}`. `significance` is that of all terms of :math:`P` at
    once (F test): a surface that chance alone may have made is flagged, and the archive chooses no flagged correction.
    """
    catalogues, left_out = _of_each_chip(photometric_catalogues)
    pointing = _check(catalogues)
    grids = [_grid(table, pointing) for table in catalogues]
    report(0.1, "fitting")
    stars = _Stars(catalogues, pointing)
    fit = _fit(stars, catalogues, order, sigma_clipping_level)
    surface = fit.surface.with_mean_zero(
        np.concatenate([grid[0].ravel() for grid in grids]), np.concatenate([grid[1].ravel() for grid in grids])
    )
    worst = _worst_error(surface, grids, catalogues)
    report(0.5, "making a frame for each chip")
    maps = [IlluminationMap(surface, *grid, shape=_shape(table)) for grid, table in zip(grids, catalogues, strict=True)]
    of_chips = [_frame_product(table, made, fit) for table, made in zip(catalogues, maps, strict=True)]
    return Outcome((_correction(catalogues, stars, fit, surface, grids, pointing, worst), *of_chips), tuple(left_out))


class _Stars:
    """The stars of all chips: where they lie, what they say of the zeropoint, which chip they are on."""

    def __init__(self, catalogues: Sequence[Table], pointing: tuple[float, float]) -> None:
        good = []
        for table in catalogues:
            remark = np.char.strip(np.asarray(table.columns["REMARK"].values, dtype=str))
            values, errors = (np.asarray(table.columns[name].values, np.float64) for name in ("ZP", "ZPERR"))
            tried = (remark == "") | (remark == TO_TRY_AGAIN)
            good.append(tried & np.isfinite(values) & np.isfinite(errors) & (errors > 0))

        def column(name: str) -> Floats:
            parts = [table.columns[name].values[chosen] for table, chosen in zip(catalogues, good, strict=True)]
            return np.concatenate(parts).astype(np.float64)

        self.chip = np.repeat(np.arange(len(catalogues)), [int(chosen.sum()) for chosen in good])
        self.values, self.errors = column("ZP"), column("ZPERR")
        self.xi, self.eta = project(column("RA"), column("DEC"), *pointing)


def _of_each_chip(given: Sequence[Table]) -> tuple[list[Table], list[LeftOut]]:
    """Return one catalogue a chip, in the order of the chips: that with most stars, and the others as left out."""
    best: dict[str, Table] = {}
    left_out = []
    for table in given:
        chip = table.attributes.chip
        known = best.get(chip)
        if known is not None:
            table, known = (table, known) if len(table) > len(known) else (known, table)  # noqa: PLW2901
            left_out.append(
                LeftOut(name=_name(known), reason=f"another catalogue of chip {chip} has as many stars or more")
            )
        best[chip] = table
    return [best[chip] for chip in sorted(best)], left_out


def _names(tables: Sequence[Table]) -> str:
    """Return how errors call several catalogues."""
    return _name(tables[0]) if len(tables) == 1 else f"{_name(tables[0])} and {len(tables) - 1} more"


def _name(table: Table) -> str:
    about = table.attributes
    file_name = getattr(about, "file_name", "")
    of = f"chip {about.chip or '(none)'} {about.filter or ''} {about.date_obs or ''}".rstrip()
    return f"the star catalogue of {of}" + (f" ({file_name})" if file_name else "")


def _check(catalogues: Sequence[Table]) -> tuple[float, float]:
    """Return where the telescope pointed; raise UsageError where the catalogues are not of one exposure."""
    if not catalogues:
        raise UsageError("no star catalogue was given", hint="run Zeropoint on all chips of an exposure first")
    for table in catalogues:
        missing = [name for name in NEEDED if name not in table.columns]
        if missing:
            raise UsageError(f"{_name(table)} has no column {missing[0]}", hint="make it with Zeropoint")
        if not isinstance(getattr(table.attributes, "wcs", None), dict) or _shape(table) == (0, 0):
            raise UsageError(f"{_name(table)} does not tell its chip's shape and coordinates",
                             hint="make it with Zeropoint")  # fmt: skip
    for what in ("instrument", "filter", "date_obs"):
        first = {str(getattr(table.attributes, what) or "unknown"): table for table in reversed(catalogues)}
        if len(first) > 1:
            told = " and ".join(f"{value} ({_name(table)})" for value, table in sorted(first.items())[:3])
            raise UsageError(f"the star catalogues are of several: {what} {told}", hint="give those of one exposure")
    one = catalogues[0].attributes
    ra, dec = number_of(one, "pointing_ra"), number_of(one, "pointing_dec")
    if ra is None or dec is None:
        raise UsageError(f"{_name(catalogues[0])} does not tell where the telescope pointed",
                         hint="make it with Zeropoint")  # fmt: skip
    return ra, dec


def _shape(table: Table) -> tuple[int, int]:
    rows, columns = (number_of(table.attributes, name) or 0 for name in ("rows", "columns"))
    return (int(rows), int(columns)) if rows >= 1 and columns >= 1 else (0, 0)


def _fit(stars: _Stars, catalogues: Sequence[Table], order: int, clip: float) -> IlluminationFit:
    wanted = len(terms(order)) - 1 + len(np.unique(stars.chip))
    count = len(stars.values)
    fit = None
    if count >= STARS_A_TERM * wanted:
        fit = fit_illumination(stars.xi, stars.eta, stars.values, stars.errors, stars.chip, order=order, clip=clip)
    if fit is None:
        raise UsageError(
            f"{count} stars of {_names(catalogues)} do not tell a surface of order {order}: {STARS_A_TERM * wanted} "
            "well spread ones are the least",
            hint="lower the order, or take an exposure of a richer field",
        )
    return fit


def _grid(table: Table, pointing: tuple[float, float]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the tangent plane's coordinates of a mesh of nodes, and the nodes' rows and columns (0-based)."""
    wcs = celestial(table.attributes.wcs)  # type: ignore[attr-defined]
    if wcs is None:
        raise UsageError(f"{_name(table)} has coordinates that cannot be read", hint="make it with Zeropoint")
    rows, columns = _shape(table)
    y, x = nodes(rows), nodes(columns)
    ra, dec = sky_positions(wcs, *(plane.ravel() + 1 for plane in np.meshgrid(x, y)))
    xi, eta = project(ra, dec, *pointing)
    if not np.isfinite(xi).all():
        raise UsageError(f"{_name(table)} lies far from the pointing", hint="mend the pointing in its attributes")
    return xi.reshape(len(y), len(x)), eta.reshape(len(y), len(x)), y, x


def _worst_error(surface: Surface, grids: Sequence[tuple[Floats, ...]], catalogues: Sequence[Table]) -> float:
    """Return the error [mag] at the worst place, against the mean of all; raise UsageError where it is too large."""
    xi, eta = (np.concatenate([grid[axis].ravel() for grid in grids]) for axis in (0, 1))
    worst = float(surface.error(xi, eta).max())
    if worst > WORST_ERROR:
        raise UsageError(
            f"the stars of {_names(catalogues)} tell a surface of order {surface.order} only to within {worst:.2f} mag "
            "at the chips' edges",
            hint="lower the order, or take an exposure of a richer field",
        )
    return worst


def _frame_product(table: Table, made: IlluminationMap, fit: IlluminationFit) -> Product:
    low, high = made.extremes
    measured = [
        Measured("mean", 1.0),
        Measured("minimum", low),
        Measured("maximum", high),
        Measured("peak_to_peak", high - low),
        Measured("largest_error", made.largest_error),
        Measured("significance", fit.significance, unit="sigma"),
        Measured("star_count", int(fit.used.sum())),
        Measured("residual_rms", fit.rms, unit="mag"),
    ]
    attributes = attributes_of([table])
    frame = Frame(made.data, variance=made.variance, attributes=attributes, unit="", name=_name(table))
    return Product("IlluminationCorrectionFrame", frame, attributes, measured)


def _correction(
    catalogues: Sequence[Table],
    stars: _Stars,
    fit: IlluminationFit,
    surface: Surface,
    grids: Sequence[tuple[Floats, ...]],
    pointing: tuple[float, float],
    worst: float,
) -> Product:
    """Return the polynomial with its stars."""
    values = [surface.at(grid[0], grid[1]) for grid in grids]
    high, low = max(float(part.max()) for part in values), min(float(part.min()) for part in values)
    names = [table.attributes.chip for table in catalogues]
    table = Table(
        {
            "CHIP": Column(np.array(names, dtype="U")[stars.chip], "", "chip"),
            "XI": Column(stars.xi, "deg", "towards east of the pointing"),
            "ETA": Column(stars.eta, "deg", "towards north of the pointing"),
            "ZP": Column(stars.values, "mag", "zeropoint by this star alone"),
            "ZPERR": Column(stars.errors, "mag", "error of ZP"),
            "ILLUMINATION": Column(surface.at(stars.xi, stars.eta), "mag", "the surface there"),
            "RESIDUAL": Column(fit.residuals, "mag", "ZP less chip's zeropoint and surface"),
            "USED": Column(fit.used, "", "whether it counts"),
        },
        "STARS",
        plots=(("XI", "RESIDUAL"), ("ETA", "RESIDUAL")),
    )
    counts = np.bincount(stars.chip[fit.used], minlength=len(names))
    found = IlluminationCorrection(surface.order, surface.scale, surface.coefficients.tolist(), fit.rms,
                                   int(fit.used.sum()), table)  # fmt: skip
    measured = [
        Measured("star_count", int(fit.used.sum())),
        Measured("residual_rms", fit.rms, unit="mag"),
        Measured("scatter", fit.scatter, unit="mag"),
        Measured("chi2", fit.chi2),
        Measured("peak_to_peak", high - low, worst, "mag"),
        Measured("peak_to_peak_error", worst, unit="mag"),
        Measured("significance", fit.significance, unit="sigma"),
        Measured("chips", len(names)),
    ]
    shift = {name: round(float(offset), 5) for name, offset, count in zip(names, fit.offsets, counts, strict=True)
             if count}  # fmt: skip
    notes = [f"Zeropoint of chip {name} beside the surface: {offset:.4f} from {counts[names.index(name)]} stars."
             for name, offset in shift.items()]  # fmt: skip
    notes += [f"Chip {name} has no stars that count: its frame follows from the others'."
              for name in names if name not in shift]  # fmt: skip
    more: dict[str, Any] = {"chip": "", "pointing_ra": pointing[0], "pointing_dec": pointing[1],
                            "zeropoints_of_chips": shift}  # fmt: skip
    return Product("IlluminationCorrection", found, attributes_of(catalogues, **more), measured, [], notes)


RECIPE = Recipe(
    name="Illumination",
    version="4",
    function=illumination,
    inputs=(Input("photometric_catalogues", ("PhotSrcCatalog",), minimum=1, maximum=None, primary=True),),
    outputs=("IlluminationCorrection", "IlluminationCorrectionFrame"),
    split_by=("instrument", "filter", "date_obs"),
    runs_on="node",
)
