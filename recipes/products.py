"""What a recipe returns: products with their measured values, and what it left out.

Image and mask products hold a :class:`~recipes.frame.Frame`, source lists a :class:`Table`, and the kinds that are
numbers have a class each, which is also what a recipe that takes them as input gets.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes
from recipes.errors import UsageError
from recipes.frame import Frame, number_of
from recipes.job import LeftOut
from recipes.quality import Measured


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    values: NDArray[Any]
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class Table:
    """A table by columns, with the name of its extension."""

    columns: Mapping[str, Column]
    name: str = "SOURCES"
    attributes: FrameAttributes = field(default_factory=FrameAttributes)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).values) if self.columns else 0


class Values(Protocol):
    """A product that is numbers, with a curve where there is one."""

    kind: ClassVar[str]

    def numbers(self) -> dict[str, Any]:
        """Return what goes into the product's attributes."""

    def curve(self) -> Table | None:
        """Return the curve, or None."""

    @classmethod
    def read(cls, name: str, attributes: FrameAttributes, curve: Table | None) -> Any:
        """Make it again from what was written."""


@dataclass(frozen=True)
class ReadNoise:
    """Read noise of a chip [adu], with that of each amplifier where there are several."""

    read_noise: float
    read_noise_error: float = 0.0
    amplifiers: Mapping[str, float] = field(default_factory=dict)
    name: str = "ReadNoise"
    attributes: FrameAttributes = field(default_factory=FrameAttributes)
    kind: ClassVar[str] = "ReadNoise"

    def of(self, amplifier: str = "") -> float:
        """Return the read noise of `amplifier`, or that of the chip where the amplifier is not known."""
        return self.amplifiers.get(amplifier, self.read_noise)

    def numbers(self) -> dict[str, Any]:
        """Return what goes into the product's attributes."""
        numbers: dict[str, Any] = {"read_noise": self.read_noise, "read_noise_error": self.read_noise_error}
        return numbers | ({"read_noise_of_amplifiers": dict(self.amplifiers)} if self.amplifiers else {})

    def curve(self) -> Table | None:
        """Return None: it is one number."""
        return None

    @classmethod
    def read(cls, name: str, attributes: FrameAttributes, curve: Table | None) -> ReadNoise:
        """Make it again from the attributes of a product; raise UsageError where the number is missing."""
        value = _positive(name, attributes, "read_noise")
        error = number_of(attributes, "read_noise_error") or 0.0
        return cls(value, error, _numbers_by_name(attributes, "read_noise_of_amplifiers"), name, attributes)


@dataclass(frozen=True)
class GainLinearity:
    """Gain of a chip [electron/adu] with its error, full well [adu] and linearity curve where they were measured."""

    gain: float
    gain_error: float = 0.0
    full_well: float | None = None
    nonlinearity: float | None = None
    amplifiers: Mapping[str, float] = field(default_factory=dict)
    transfer_curve: Table | None = None
    name: str = "GainLinearity"
    attributes: FrameAttributes = field(default_factory=FrameAttributes)
    kind: ClassVar[str] = "GainLinearity"

    def of(self, amplifier: str = "") -> float:
        """Return the gain of `amplifier`, or that of the chip where the amplifier is not known."""
        return self.amplifiers.get(amplifier, self.gain)

    def numbers(self) -> dict[str, Any]:
        """Return what goes into the product's attributes."""
        numbers: dict[str, Any] = {"gain": self.gain, "gain_error": self.gain_error}
        if self.full_well is not None:
            numbers["full_well"] = self.full_well
        if self.nonlinearity is not None:
            numbers["nonlinearity"] = self.nonlinearity
        return numbers | ({"gain_of_amplifiers": dict(self.amplifiers)} if self.amplifiers else {})

    def curve(self) -> Table | None:
        """Return the transfer curve."""
        return self.transfer_curve

    @classmethod
    def read(cls, name: str, attributes: FrameAttributes, curve: Table | None) -> GainLinearity:
        """Make it again from the attributes and the curve of a product; raise UsageError where the gain is missing."""
        return cls(
            _positive(name, attributes, "gain"),
            number_of(attributes, "gain_error") or 0.0,
            number_of(attributes, "full_well"),
            number_of(attributes, "nonlinearity"),
            _numbers_by_name(attributes, "gain_of_amplifiers"),
            curve,
            name,
            attributes,
        )


VALUE_CLASSES: dict[str, type[ReadNoise] | type[GainLinearity]] = {
    ReadNoise.kind: ReadNoise,
    GainLinearity.kind: GainLinearity,
}

Content = Frame | Table | ReadNoise | GainLinearity


@dataclass(frozen=True)
class Product:
    """One product as a recipe returns it.

    Parameters
    ----------
    kind : str
        Kind of product, of :data:`recipes.kinds.KINDS`.
    content : Frame, Table, ReadNoise or GainLinearity
        What goes into the file; a mask product is a Frame without data.
    attributes : FrameAttributes
        Of the product: start from :func:`attributes_of`.
    measured : sequence of Measured
        QC values; the limits are applied by the runner.
    made_without : sequence of str
        What it had to do without, besides the optional inputs that were not given (the runner adds those).
    notes : sequence of str
        Lines of HISTORY for a person.
    """

    kind: str
    content: Content
    attributes: FrameAttributes
    measured: Sequence[Measured] = ()
    made_without: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """All that a recipe returns: its products in the order of ``Recipe.outputs`` and what it left out, with reasons."""

    products: tuple[Product, ...]
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def one(cls, product: Product, left_out: Sequence[LeftOut] = ()) -> Outcome:
        """Return the outcome of a recipe that makes one product."""
        return cls((product,), tuple(left_out))


# Of a raw frame, not of what is made from it: products are trimmed.
_GEOMETRY = ("data_section", "prescan_x", "overscan_x", "prescan_y", "overscan_y", "amplifiers")
_SHARED = ("filter", "exposure_time", "object", "ra", "dec", "pixel_scale", "saturation", "nominal_gain",
           "nominal_read_noise", "night")  # fmt: skip


def attributes_of(frames: Sequence[Frame], **more: Any) -> FrameAttributes:
    """Return the attributes of a product made from `frames`: what they share, the first date, the median temperature.

    Extra attributes of a camera's own are not handed on; `more` sets or adds attributes.
    """
    first = frames[0].attributes
    values: dict[str, Any] = {name: getattr(first, name) for name in ("instrument", "chip", "readout_mode")}
    for name in _SHARED:
        different = {getattr(frame.attributes, name) for frame in frames}
        if len(different) == 1:
            values[name] = different.pop()
    dates = sorted(frame.attributes.date_obs for frame in frames if frame.attributes.date_obs)
    nights = sorted(frame.attributes.night for frame in frames if frame.attributes.night)
    temperatures = [t for frame in frames if (t := frame.attributes.temperature) is not None]
    values["date_obs"] = dates[0] if dates else None
    values["night"] = nights[0] if nights else None
    values["temperature"] = round(statistics.median(temperatures), 3) if temperatures else None
    return FrameAttributes(**(values | more))


def _positive(name: str, attributes: FrameAttributes, key: str) -> float:
    value = number_of(attributes, key)
    if value is None or value <= 0:
        raise UsageError(
            f"{name} gives no {key} above zero", hint=f"choose another product, or set {key} in its attributes"
        )
    return value


def _numbers_by_name(attributes: FrameAttributes, key: str) -> dict[str, float]:
    given = getattr(attributes, key, None) or {}
    return {str(name): float(np.float64(value)) for name, value in dict(given).items()}
