"""One good file of every kind of product, of a small camera that looks at one field of stars."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from recipes.associate_list import associate_list
from recipes.attributes import FrameAttributes
from recipes.catalogue import all_recipes
from recipes.fits_header import wcs_cards
from recipes.fits_writing import Origin, write_product
from recipes.frame import Frame
from recipes.kinds import KINDS
from recipes.masks import COLD, HOT
from recipes.products import Product, attributes_of
from recipes.reduce import reduce
from recipes.science import science
from recipes.source_list import source_list
from recipes.tables import Column, Table
from recipes.values import GainLinearity, PhotometricParameters, ReadNoise
from recipes.zeropoint import zeropoint

ROWS, COLUMNS, OVERSCAN = 160, 144, 16
SHAPE = (ROWS, COLUMNS)
SCALE = 0.5  # arcsec/pixel
RA, DEC = 132.8, -27.0
STARS = 45
PLACES = ((-24, -20), (0, -22), (22, -18), (-20, 4), (2, 2), (24, 6), (-4, 24))  # of the exposures [pixel]
FRAMES = 7  # of each raw kind
LEVELS = {"RawBias": 0.0, "RawDark": 5.0, "RawDomeFlat": 20000.0, "RawTwilightFlat": 15000.0, "RawScience": 300.0}
SECONDS = {"RawBias": 0.0, "RawDark": 60.0, "RawDomeFlat": 8.0, "RawTwilightFlat": 5.0, "RawScience": 60.0}


@dataclass(frozen=True)
class Entry:
    """A file with what the archive would know of it."""

    kind: str
    path: Path
    attributes: dict[str, Any]


@dataclass
class Library:
    """Files by kind; several of those that recipes take many of."""

    folder: Path
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(77))
    entries: dict[str, list[Entry]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._east, self._north = (self.random.uniform(-36, 36, STARS) for _ in range(2))
        self._flux = 10 ** self.random.uniform(3.7, 4.4, STARS)
        self._raw()
        self._calibrations()
        self._of_the_sky()

    def of(self, kinds: tuple[str, ...]) -> list[Entry]:
        """Return all files that are of one of the kinds."""
        return [entry for kind in kinds for entry in self.entries.get(kind, [])]

    def _add(self, kind: str, name: str, attributes: dict[str, Any]) -> Path:
        path = self.folder / f"{name}.fits"
        self.entries.setdefault(kind, []).append(Entry(kind, path, attributes))
        return path

    def _attributes(self, kind: str, number: int = 0) -> dict[str, Any]:
        known: dict[str, Any] = {
            "instrument": "FuzzCam", "chip": "1", "date_obs": f"2026-03-15T0{number}:10:00", "night": "2026-03-14",
            "exposure_time": SECONDS.get(kind, 60.0), "temperature": -40.0, "pixel_scale": SCALE, "saturation": 60000.0,
            "ra": RA, "dec": DEC, "airmass": 1.1,
        }  # fmt: skip
        return known | ({"filter": "r"} if KINDS[kind].per_filter else {})

    def _raw(self) -> None:
        sections = {"data_section": f"[1:{COLUMNS},1:{ROWS}]",
                    "overscan_x": f"[{COLUMNS + 1}:{COLUMNS + OVERSCAN},1:{ROWS}]"}  # fmt: skip
        for kind, level in LEVELS.items():
            for number in range(FRAMES):
                light = np.full(SHAPE, level)
                cards: dict[str, Any] = {"OBJECT": "field"}
                if kind == "RawScience":
                    offset = np.add(PLACES[number], self.random.uniform(-1, 1, 2))
                    light += self._starlight(*offset)
                    cards |= wcs(*offset)
                path = self._add(kind, f"{kind}{number}", self._attributes(kind, number) | sections)
                fits.PrimaryHDU(self._exposed(light), fits.Header(cards)).writeto(path)

    def _exposed(self, light: NDArray[np.float64]) -> NDArray[np.uint16]:
        raw = np.zeros((ROWS, COLUMNS + OVERSCAN))
        raw[:, :COLUMNS] = self.random.poisson(light * 1.5) / 1.5
        raw += 1000 + self.random.normal(0, 4, raw.shape)
        return np.clip(np.rint(raw), 0, 65535).astype(np.uint16)

    def _starlight(self, right: float, up: float) -> NDArray[np.float64]:
        y, x = np.mgrid[:ROWS, :COLUMNS]
        image = np.zeros(SHAPE)
        for east, north, flux in zip(self._east, self._north, self._flux, strict=True):
            centre_x, centre_y = COLUMNS / 2 - 0.5 - east / SCALE + right, ROWS / 2 - 0.5 + north / SCALE + up
            image += flux / (2 * np.pi * 4) * np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / 8)
        return image

    def _write(self, product: Product, name: str, recipe: str = "Bias") -> None:
        path = self._add(product.kind, name, {})
        write_product(path, product, [], 0, [], Origin(all_recipes()[recipe], {}, [], "0" * 64))

    def _calibrations(self) -> None:
        flat = (1 + 0.01 * self.random.standard_normal(SHAPE)).astype(np.float32)
        images = {"BiasFrame": (np.zeros(SHAPE), "adu"), "DarkFrame": (np.full(SHAPE, 0.01), "adu/s"),
                  "FringeFrame": (0.01 * np.sin(np.mgrid[:ROWS, :COLUMNS][1] / 5), "")}  # fmt: skip
        flats = ("DomeFlatFrame", "TwilightFlatFrame", "MasterFlatFrame", "NightSkyFlatFrame",
                 "IlluminationCorrectionFrame")  # fmt: skip
        images |= dict.fromkeys(flats, (flat, ""))
        for kind, (data, unit) in images.items():
            own = {"overscan_correction": 6, "read_noise": 4.0} if kind == "BiasFrame" else {}
            attributes = FrameAttributes(**(self._attributes(kind) | own))
            content = Frame(data, variance=np.full(SHAPE, 1e-4), mask=np.zeros(SHAPE, np.uint16), unit=unit)
            self._write(Product(kind, content, attributes), kind)
        for kind, bit in (("HotPixelMap", HOT), ("ColdPixelMap", COLD)):
            mask = np.where(self.random.random(SHAPE) < 0.002, bit, 0).astype(np.uint16)
            self._write(Product(kind, Frame(None, mask=mask), FrameAttributes(**self._attributes(kind))), kind)
        for values in (ReadNoise(4.0), GainLinearity(1.5, full_well=70000.0),
                       PhotometricParameters(25.0, 0.01, "r", "AB")):  # fmt: skip
            attributes = FrameAttributes(**(self._attributes(values.kind) | values.numbers()))
            self._write(Product(values.kind, values, attributes), values.kind)

    def _of_the_sky(self) -> None:
        catalogue = self._catalogue()
        self._write(Product("ReferenceCatalogue", catalogue, catalogue.attributes), "ReferenceCatalogue")
        lists: list[Table] = []
        for number, entry in enumerate(self.entries["RawScience"]):
            raw = Frame(fits.getdata(entry.path).astype(np.float32), attributes=FrameAttributes(**entry.attributes),
                        name=entry.path.name, wcs=wcs_cards(dict(fits.getheader(entry.path))))  # fmt: skip
            made = reduce(raw, None, None, None, None, GainLinearity(1.5), ReadNoise(4.0))
            for product in made.products:
                self._write(product, f"{product.kind}{number}", "Reduce")
            reduced = as_input(made.products[0])
            solved = science(reduced, catalogue)
            for product in solved.products:
                self._write(product, f"{product.kind}_of_science{number}", "Science")
            found = source_list(reduced)
            self._write(found.products[0], f"SourceList{number}", "SourceList")
            lists.append(table_of(found.products[0]))
            calibrated = next(as_input(product) for product in solved.products
                              if product.kind == "CalibratedScienceFrame")  # fmt: skip
            for product in zeropoint(calibrated, catalogue).products:
                # As of so many chips of one exposure: Illumination takes no less.
                one = {"chip": str(number + 1), "date_obs": "2026-03-15T00:10:00"} if number else {}
                product.attributes.__dict__.update(one)
                self._write(product, f"{product.kind}{number}_of_zeropoint", "Zeropoint")
        self._write(associate_list(lists[:2]).products[0], "AssociateList", "AssociateList")
        coadd = self.entries["RegriddedFrame"][0]
        attributes = json.loads(fits.getheader(coadd.path)["ATTRS"])
        with fits.open(coadd.path) as hdus:
            content = Frame(hdus["SCI"].data, variance=hdus["VAR"].data, mask=hdus["MASK"].data.astype(np.uint16),
                            wcs=wcs_cards(dict(hdus["SCI"].header)))  # fmt: skip
        self._write(Product("CoaddedRegriddedFrame", content, FrameAttributes(**attributes)), "CoaddedRegriddedFrame")

    def _catalogue(self) -> Table:
        ra = RA + self._east / 3600 / np.cos(np.deg2rad(DEC))
        magnitude = 25 - 2.5 * np.log10(self._flux / 60)
        columns = {
            "RA": Column(ra, "deg"), "DEC": Column(DEC + self._north / 3600, "deg"), "MAG_r": Column(magnitude, "mag"),
            "MAGERR_r": Column(np.full(STARS, 0.01), "mag"), "RA_ERROR": Column(np.full(STARS, 0.05), "arcsec"),
            "DEC_ERROR": Column(np.full(STARS, 0.05), "arcsec"),
        }  # fmt: skip
        attributes = FrameAttributes(catalogue="fuzz", epoch=2016.0, system="AB", bands=["r"], star_count=STARS,
                                     use=["astrometry", "photometry"])  # fmt: skip
        return Table(columns, "CATALOGUE", attributes)


def wcs(right: float, up: float) -> dict[str, Any]:
    """Return the coordinate cards of an exposure that is shifted by so many pixels."""
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": RA, "CRVAL2": DEC, "CRPIX1": COLUMNS / 2 + 0.5 + right,
        "CRPIX2": ROWS / 2 + 0.5 + up, "CD1_1": -SCALE / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": SCALE / 3600,
        "CUNIT1": "deg", "CUNIT2": "deg",
    }  # fmt: skip


def as_input(product: Product) -> Frame:
    """Return an image product as the next recipe gets it."""
    content = product.content
    assert isinstance(content, Frame)
    attributes = attributes_of([Frame(None, mask=np.zeros((1, 1), np.uint16), attributes=product.attributes)])
    known = FrameAttributes(**(attributes.model_dump() | product.attributes.model_dump()))
    return Frame(content.data, variance=content.variance, mask=content.mask, attributes=known, unit=content.unit,
                 name=product.kind, kind=product.kind, wcs=content.wcs)  # fmt: skip


def table_of(product: Product) -> Table:
    """Return a table product as the next recipe gets it."""
    content = product.content
    assert isinstance(content, Table)
    return Table(content.columns, content.name, product.attributes)
