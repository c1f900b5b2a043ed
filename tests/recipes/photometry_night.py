"""Calibrated exposures of the simulated observatory as Zeropoint gets them: perfect but for noise of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from observatory.night import observe
from observatory.plan import Plan
from recipes.attributes import FrameAttributes, Photometry
from recipes.fits_header import wcs_cards
from recipes.frame import Frame
from recipes.tables import Column, Table

READ_NOISE = 6.0  # electron


def reference_catalogue(path: Path, **attributes: Any) -> Table:
    """Return the observatory's catalogue as the archive's ingest leaves it."""
    with fits.open(path, memmap=False) as hdus:
        data = hdus["CATALOGUE"].data
        columns = {column.name: Column(np.array(data[column.name]), column.unit or "") for column in hdus[1].columns}
    about = {"catalogue": "SimCat", "epoch": 2016.0, "system": "AB", "bands": ["g", "r", "i", "z"]}
    return Table(columns, "CATALOGUE", FrameAttributes(**(about | attributes)))


@dataclass
class PhotometryNight:
    """A night of science exposures alone, and the truth about it."""

    folder: Path
    plan: Plan

    @classmethod
    def observed(cls, folder: Path, **plan: Any) -> PhotometryNight:
        few = {"biases": 0, "darks": 0, "dome_flats": 0, "transfer_times": (), "twilight_flats": 0, "trails": 0}
        made = Plan(**(few | plan))
        observe(folder, made)
        return cls(folder, made)

    @cached_property
    def notes(self) -> dict[str, Any]:
        return json.loads((self.folder / "truth" / "night.json").read_text())

    def science(self, chip: str = "ccd1", filter_: str = "r", field: str = "SIMFIELD-1") -> list[dict[str, Any]]:
        return [note for note in self.notes["frames"] if note["type"] == "SCIENCE" and note["chip"] == chip
                and note["filter"] == filter_ and note["object"] == field]  # fmt: skip

    def chip(self, name: str = "ccd1") -> dict[str, Any]:
        return next(chip for chip in self.notes["chips"] if chip["chip"] == name)

    def photometry(self, filter_: str) -> Photometry:
        return Photometry(band=filter_, system="AB", colour=self.notes["colour"],
                          colour_term=self.notes["colour_term"][filter_],
                          extinction=self.notes["extinction"][filter_])  # fmt: skip

    @cached_property
    def catalogue(self) -> Table:
        return reference_catalogue(self.folder / "catalogues" / "simcat.fits")

    def calibrated(
        self, note: dict[str, Any], mask: np.ndarray | None = None, unit: str = "electron", **more: Any
    ) -> Frame:
        """Return the exposure as it would be without any error but noise, with its true coordinates."""
        with fits.open(self.folder / "truth" / note["file"], memmap=False) as hdus:
            expected, header = np.array(hdus["EXPECTED"].data, np.float64), hdus[0].header
        random = np.random.default_rng(int(note["date_obs"][-8:].replace(":", "").replace(".", "")) + self.plan.seed)
        gain = self.chip(note["chip"])["gain"] if unit == "adu" else 1.0
        data = (random.poisson(expected) + random.normal(0, READ_NOISE, expected.shape)) / gain
        variance = (expected + READ_NOISE**2) / gain**2
        attributes = {
            "instrument": "simcam", "chip": note["chip"], "filter": note["filter"], "date_obs": note["date_obs"],
            "exposure_time": note["exposure_time"], "airmass": note["airmass"], "ra": note["ra"], "dec": note["dec"],
            "pixel_scale": self.notes["pixel_scale"], "gain": self.chip(note["chip"])["gain"],
            "photometry": self.photometry(note["filter"]), "astrometric_rms": 0.05,
        }  # fmt: skip
        return Frame(data.astype(np.float32), variance=variance.astype(np.float32), mask=mask, unit=unit,
                     attributes=FrameAttributes(**(attributes | more)), name=note["file"],
                     kind="CalibratedScienceFrame", wcs=wcs_cards(dict(header)))  # fmt: skip
