"""What the archive knows of a frame and a recipe may use: one model for raw frames and for products.

The instruments of ``archive/`` translate a camera's header into it at ingest; it travels in the job file, so that a
recipe never reads a camera's own keywords.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

_SECTION = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]")


class Section(NamedTuple):
    """A rectangle of pixels as numpy slices it: 0-based, ends excluded."""

    y0: int
    y1: int
    x0: int
    x1: int

    @classmethod
    def parse(cls, text: str) -> Section:
        """Read an IRAF section ``[x1:x2,y1:y2]`` (1-based, ends included); raise ValueError if it is none."""
        match = _SECTION.fullmatch(text.strip())
        if not match:
            raise ValueError(f"{text!r} is not a section like [1:1024,1:1024]")
        x1, x2, y1, y2 = (int(number) for number in match.groups())
        if x1 < 1 or y1 < 1 or x2 < x1 or y2 < y1:
            raise ValueError(f"{text!r} is an empty or reversed section")
        return cls(y1 - 1, y2, x1 - 1, x2)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index for a numpy array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0


class Amplifier(BaseModel):
    """One output of a chip: the part of the image it reads, and its own overscan."""

    model_config = ConfigDict(extra="forbid")

    name: str
    data_section: str
    overscan_x: str | None = None
    prescan_x: str | None = None


class Photometry(BaseModel):
    """How a camera's filter relates to a standard system, as its camera file declares it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    band: str = Field(description="band of the reference catalogues, such as V or r")
    system: str = Field(default="", description="Vega or AB")
    colour: str = Field(default="", description="two bands with a minus between, such as B-V")
    colour_term: float = Field(default=0.0, description="what is added to the standard magnitude, times the colour")
    extinction: float | None = Field(default=None, description="mag per airmass")


class FrameAttributes(BaseModel):
    """Attributes of a frame; what is not known is None, never a guess.

    Times are UT, ISO 8601 without zone. Sections are IRAF sections of the raw array. Levels are adu.
    """

    model_config = ConfigDict(extra="allow")

    instrument: str = ""
    chip: str = ""
    filter: str | None = None
    readout_mode: str = "default"
    date_obs: str | None = None
    night: str | None = None
    exposure_time: float | None = Field(default=None, description="seconds")
    temperature: float | None = Field(default=None, description="detector, degree Celsius")
    airmass: float | None = None
    object: str = ""
    ra: float | None = Field(default=None, description="pointing, degrees ICRS")
    dec: float | None = Field(default=None, description="pointing, degrees ICRS")
    pixel_scale: float | None = Field(default=None, description="arcsec per pixel")
    data_section: str | None = None
    prescan_x: str | None = None
    overscan_x: str | None = None
    prescan_y: str | None = None
    overscan_y: str | None = None
    amplifiers: list[Amplifier] = Field(default_factory=list)
    saturation: float | None = Field(default=None, description="adu above which a pixel is not to be trusted")
    nominal_gain: float | None = Field(default=None, description="electron/adu as the header or camera file claims")
    nominal_read_noise: float | None = Field(default=None, description="adu as the header or camera file claims")
    photometry: Photometry | None = None

    @field_validator("data_section", "prescan_x", "overscan_x", "prescan_y", "overscan_y")
    @classmethod
    def _is_section(cls, value: str | None) -> str | None:
        if value is not None:
            Section.parse(value)
        return value
