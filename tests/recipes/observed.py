"""A night of the simulated observatory as the recipes see it: frames with attributes, calibrations from the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from recipes.attributes import FrameAttributes
from recipes.fits_header import wcs_cards
from recipes.frame import Frame
from recipes.masks import COLD, HOT
from recipes.products import Product
from recipes.values import GainLinearity, ReadNoise


def attributes_of_header(header: fits.Header) -> dict[str, Any]:
    """Return the attributes of a raw file of the simulated camera."""
    return {
        "instrument": "SimCam",
        "chip": header["CHIP"],
        "filter": header.get("FILTER"),
        "date_obs": header["DATE-OBS"],
        "exposure_time": header["EXPTIME"],
        "temperature": header["CCD-TEMP"],
        "saturation": header["SATURATE"],
        "pixel_scale": header["PIXSCALE"],
        "data_section": header.get("DATASEC"),
        "overscan_x": header.get("BIASSEC"),
        "prescan_x": header.get("PRESEC"),
    }


def as_frame(product: Product) -> Frame:
    """Return an image product as the next recipe gets it."""
    content = product.content
    return Frame(content.data if content.has_data else None, variance=content.variance, mask=content.mask,
                 attributes=product.attributes, unit=content.unit, name=product.kind, wcs=content.wcs)  # fmt: skip


@dataclass
class Observed:
    """One chip of a rendered night."""

    folder: Path
    chip: str = "ccd1"

    @cached_property
    def notes(self) -> dict[str, Any]:
        return json.loads((self.folder / "truth" / "night.json").read_text())

    @cached_property
    def about(self) -> dict[str, Any]:
        return next(chip for chip in self.notes["chips"] if chip["chip"] == self.chip)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [note for note in self.notes["frames"] if note["type"] == kind and note["chip"] == self.chip]

    def raw(self, note: dict[str, Any], **attributes: Any) -> Frame:
        data, header = fits.getdata(self.folder / note["file"], header=True)
        known = FrameAttributes(**(attributes_of_header(header) | attributes))
        return Frame(data.astype(np.float32), attributes=known, name=note["file"], wcs=wcs_cards(dict(header)))

    def truth(self, extension: str, note: dict[str, Any] | None = None) -> Any:
        """Return an extension of the chip's truth, or of a frame's; None where it has none."""
        with fits.open(self.folder / "truth" / (note["file"] if note else f"{self.chip}.fits"), memmap=False) as hdus:
            return np.array(hdus[extension].data) if extension in hdus else None

    def where(self, extension: str, note: dict[str, Any] | None = None) -> np.ndarray:
        """Return a table of pixels as an image of bools."""
        image = np.zeros((self.notes["rows"], self.notes["columns"]), bool)
        table = self.truth(extension, note)
        if table is not None:
            image[table["Y"], table["X"]] = True
        return image

    def calibration(self, data: np.ndarray | None, name: str, filter_: str | None = None, **more: Any) -> Frame:
        return Frame(data, attributes=FrameAttributes(instrument="SimCam", chip=self.chip, filter=filter_), name=name,
                     **more)  # fmt: skip

    @cached_property
    def flat(self) -> Frame:
        return self.calibration(self.truth("FLAT"), "flat", self.notes["filters"][0])

    @cached_property
    def hot(self) -> Frame:
        return self.calibration(None, "hot", mask=(self.where("HOT") * HOT).astype(np.uint16))

    @cached_property
    def cold(self) -> Frame:
        return self.calibration(None, "cold", mask=(self.where("COLD") * COLD).astype(np.uint16))

    @property
    def gain(self) -> GainLinearity:
        return GainLinearity(self.about["gain"])

    @property
    def read_noise(self) -> ReadNoise:
        return ReadNoise(self.about["read_noise_digitised"])
