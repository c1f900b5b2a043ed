"""From stars to the product: its table, and the attributes by which the archive chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.catalogues.canonical import Stars
from archive.catalogues.reading import NotACatalogue
from archive.catalogues.recognition import AB, VEGA
from archive.sky_choice import KIND, WORST_ERROR
from recipes.attributes import FrameAttributes
from recipes.products import Product
from recipes.tables import Column, Table

USES = ("astrometry", "photometry")
SYSTEMS = ("Vega", "AB")
# Cells that hold stars are told at the finest order at which there are no more than these: it travels with each job.
_CELLS, _FINEST = 1500, 11
_COLUMNS = (
    ("RA", "ra", "deg", "ICRS, at the catalogue's epoch"),
    ("DEC", "dec", "deg", "ICRS, at the catalogue's epoch"),
    ("RA_ERROR", "ra_error", "arcsec", "on the sky"),
    ("DEC_ERROR", "dec_error", "arcsec", ""),
    ("PMRA", "pmra", "mas/yr", "with cos(dec)"),
    ("PMDEC", "pmdec", "mas/yr", ""),
)


def table_of(stars: Stars) -> Table:
    """Return the canonical table."""
    columns: dict[str, Column] = {}
    for name, attribute, unit, description in _COLUMNS:
        values = getattr(stars, attribute)
        if values is not None:
            columns[name] = Column(values, unit, description)
    for band, values in stars.magnitudes.items():
        columns[f"MAG_{band}"] = Column(values, "mag")
        if band in stars.errors:
            columns[f"MAGERR_{band}"] = Column(stars.errors[band], "mag")
    if stars.identity is not None:
        columns["ID"] = Column(_identity(stars.identity))
    return Table(columns, name="CATALOGUE")


def product_of(stars: Stars, name: str, system: str, epoch: float, use: Sequence[str], notes: Sequence[str]) -> Product:
    """Return the product, with all that it tells of itself."""
    table = table_of(stars)
    attributes = _attributes(stars, name, system, epoch, use)
    return Product(
        KIND,
        Table(table.columns, table.name, FrameAttributes(**attributes)),
        FrameAttributes(**attributes),
        notes=list(notes),
    )


def _attributes(stars: Stars, name: str, system: str, epoch: float, use: Sequence[str]) -> dict[str, Any]:
    bands = list(stars.magnitudes)
    systems = {band: system or ("Vega" if band in VEGA else "AB" if band in AB else "") for band in bands}
    of_all = set(systems.values())
    error = position_error(stars)
    order, cells, counts = coverage(stars.ra, stars.dec)
    ra, dec, radius = centre(stars.ra, stars.dec)
    attributes: dict[str, Any] = {
        "catalogue": name,
        "epoch": epoch,
        "system": of_all.pop() if len(of_all) == 1 else "",
        "systems": systems,
        "bands": bands,
        "star_count": len(stars.ra),
        "coverage_order": order,
        "coverage": cells,
        "coverage_counts": counts,
        "use": uses(use, error, bands),
        "ra": round(ra, 5),
        "dec": round(dec, 5),
        "radius": round(radius, 4),
        "has_proper_motions": stars.pmra is not None and stars.pmdec is not None,
    }
    return attributes | ({"position_error": round(error, 4)} if error is not None else {})


def uses(given: Sequence[str], error: float | None, bands: Sequence[str]) -> list[str]:
    """Return what the catalogue is for: as told, where it can be; else what it has."""
    is_exact = error is None or error <= WORST_ERROR
    able = [use for use, is_able in (("astrometry", is_exact), ("photometry", bool(bands))) if is_able]
    unknown = [use for use in given if use not in USES]
    if unknown:
        raise NotACatalogue(f"--use: {unknown[0]!r} is none of {', '.join(USES)}")
    if "astrometry" in given and not is_exact:
        raise NotACatalogue(
            f"its positions are good to {error:.2g}″ only, not enough for astrometry", "leave --use at photometry"
        )
    if "photometry" in given and not bands:
        raise NotACatalogue("it has no magnitudes, so it serves no photometry", "name a band, like --columns V=Vmag")
    if not (bands or given):
        raise NotACatalogue(
            "it has positions and no magnitudes", "if these are stars, say --use astrometry, or which band a column is"
        )
    if not (able or given):
        raise NotACatalogue(f"its positions are good to {error:.2g}″ only, and it has no magnitudes")
    return [use for use in USES if use in given] if given else able


def position_error(stars: Stars) -> float | None:
    """Return the median error of its positions on an axis [arcsec], None where they are not told."""
    if stars.ra_error is None or stars.dec_error is None:
        return None
    error = np.sqrt((stars.ra_error**2 + stars.dec_error**2) / 2)
    finite = error[np.isfinite(error)]
    return float(np.median(finite)) if len(finite) else None


def coverage(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> tuple[int, list[int], list[int]]:
    """Return the order, the cells (HEALPix, nested) that hold stars, and how many stars each holds."""
    from astropy import units
    from astropy_healpix import lonlat_to_healpix

    finest = np.asarray(lonlat_to_healpix(ra * units.deg, dec * units.deg, 2**_FINEST, order="nested"), dtype=np.int64)
    for order in range(_FINEST, -1, -1):
        cells, counts = np.unique(finest >> (2 * (_FINEST - order)), return_counts=True)
        if len(cells) <= _CELLS or not order:
            break
    return order, [int(cell) for cell in cells], [int(count) for count in counts]


def centre(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the middle of the stars and the distance of the farthest [deg]; the poles and RA 0 are no edge."""
    a, d = np.radians(ra), np.radians(dec)
    vectors = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    mean = vectors.mean(axis=1)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:
        return 0.0, 0.0, 180.0
    mean = mean / length
    farthest = float(np.degrees(np.arccos(np.clip(mean @ vectors, -1.0, 1.0)).max()))
    return float(np.degrees(np.arctan2(mean[1], mean[0])) % 360), float(np.degrees(np.arcsin(mean[2]))), farthest


def _identity(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2**53)
        return values.astype(np.int64) if whole.all() else values.astype(str)
    return values
