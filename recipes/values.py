"""Products that are numbers: a class for each kind, which is also what a recipe that takes them as input gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from recipes.attributes import FrameAttributes
from recipes.errors import UsageError
from recipes.frame import number_of
from recipes.tables import Table


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


@dataclass(frozen=True)
class AstrometricParameters:
    """The coordinate system of one calibrated exposure of a chip, as it was fitted to reference stars.

    ``cards`` is the whole coordinate system as FITS cards, of the trimmed frame (1-based pixels). ``rms`` is that of
    the matched stars on each axis [arcsec]. ``confidence`` is ``good``; ``low`` where only an offset was fitted or few
    stars agree; ``relative`` where the reference was another frame of the run and no catalogue; ``header`` where there
    was nothing to hold the header's coordinates to; ``none`` where its stars agree with no reference.
    """

    cards: Mapping[str, Any]
    rms: float = 0.0
    star_count: int = 0
    confidence: str = "good"
    reference: str = ""
    residuals: Table | None = None
    name: str = "AstrometricParameters"
    attributes: FrameAttributes = field(default_factory=FrameAttributes)
    kind: ClassVar[str] = "AstrometricParameters"

    def numbers(self) -> dict[str, Any]:
        """Return what goes into the product's attributes."""
        return {
            "wcs": dict(self.cards),
            "astrometric_rms": self.rms,
            "astrometric_stars": self.star_count,
            "astrometric_confidence": self.confidence,
            "astrometric_reference": self.reference,
        }

    def curve(self) -> Table | None:
        """Return the matched stars with their residuals."""
        return self.residuals

    @classmethod
    def read(cls, name: str, attributes: FrameAttributes, curve: Table | None) -> AstrometricParameters:
        """Make it again from the attributes of a product; raise UsageError where the coordinate system is missing."""
        cards = getattr(attributes, "wcs", None)
        if not isinstance(cards, Mapping) or not cards:
            raise UsageError(f"{name} gives no coordinate system", hint="run Science on its frame again")
        return cls(
            dict(cards),
            number_of(attributes, "astrometric_rms") or 0.0,
            int(number_of(attributes, "astrometric_stars") or 0),
            str(getattr(attributes, "astrometric_confidence", "good")),
            str(getattr(attributes, "astrometric_reference", "")),
            curve,
            name,
            attributes,
        )


@dataclass(frozen=True)
class PhotometricParameters:
    """Zeropoint of a chip and filter: m = zeropoint - 2.5 log10(flux / t) - extinction X - colour_term colour.

    ``flux_unit`` is that of the flux (electron or adu), ``system`` Vega or AB, ``band`` that of the reference
    catalogue, ``colour`` like ``B-V`` (empty where none was used), ``extinction`` in mag per airmass.
    """

    zeropoint: float
    zeropoint_error: float = 0.0
    band: str = ""
    system: str = ""
    extinction: float = 0.0
    colour: str = ""
    colour_term: float = 0.0
    flux_type: str = "AUTO"
    flux_unit: str = "electron"
    star_count: int = 0
    residuals: Table | None = None
    name: str = "PhotometricParameters"
    attributes: FrameAttributes = field(default_factory=FrameAttributes)
    kind: ClassVar[str] = "PhotometricParameters"

    def numbers(self) -> dict[str, Any]:
        """Return what goes into the product's attributes."""
        names = ("zeropoint", "zeropoint_error", "band", "system", "extinction", "colour", "colour_term", "flux_type",
                 "flux_unit", "star_count")  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def curve(self) -> Table | None:
        """Return the standard stars with their residuals."""
        return self.residuals

    @classmethod
    def read(cls, name: str, attributes: FrameAttributes, curve: Table | None) -> PhotometricParameters:
        """Make it again from the attributes of a product; raise UsageError where the zeropoint is missing."""
        zeropoint = number_of(attributes, "zeropoint")
        if zeropoint is None:
            raise UsageError(f"{name} gives no zeropoint", hint="choose another product, or set it in its attributes")
        texts = {key: str(getattr(attributes, key, "") or "") for key in ("band", "system", "colour")}
        return cls(
            zeropoint,
            number_of(attributes, "zeropoint_error") or 0.0,
            extinction=number_of(attributes, "extinction") or 0.0,
            colour_term=number_of(attributes, "colour_term") or 0.0,
            flux_type=str(getattr(attributes, "flux_type", "AUTO")),
            flux_unit=str(getattr(attributes, "flux_unit", "electron")),
            star_count=int(number_of(attributes, "star_count") or 0),
            residuals=curve,
            name=name,
            attributes=attributes,
            **texts,
        )


@dataclass(frozen=True)
class IlluminationCorrection:
    """Polynomial over the focal plane of what flats get wrong about illumination [mag]; to be added to magnitudes.

    ``coefficients`` are those of x**i y**j in the order of i + j, then j, with x and y the tangent plane's coordinates
    about the pointing of the exposure (xi towards east, eta towards north) divided by ``scale`` [degree].
    """

    order: int
    scale: float
    coefficients: Sequence[float]
    rms: float = 0.0
    star_count: int = 0
    residuals: Table | None = None
    name: str = "IlluminationCorrection"
    attributes: FrameAttributes = field(default_factory=FrameAttributes)
    kind: ClassVar[str] = "IlluminationCorrection"

    def numbers(self) -> dict[str, Any]:
        """Return what goes into the product's attributes."""
        return {
            "illumination_order": self.order,
            "illumination_scale": self.scale,
            "illumination_coefficients": [float(value) for value in self.coefficients],
            "illumination_rms": self.rms,
            "star_count": self.star_count,
        }

    def curve(self) -> Table | None:
        """Return the stars with their residuals."""
        return self.residuals

    @classmethod
    def read(cls, name: str, attributes: FrameAttributes, curve: Table | None) -> IlluminationCorrection:
        """Make it again from the attributes of a product; raise UsageError where the coefficients are missing."""
        coefficients = getattr(attributes, "illumination_coefficients", None)
        if not isinstance(coefficients, Sequence) or not coefficients:
            raise UsageError(f"{name} gives no coefficients", hint="choose another product, or run Illumination again")
        return cls(
            int(number_of(attributes, "illumination_order") or 0),
            _positive(name, attributes, "illumination_scale"),
            [float(value) for value in coefficients],
            number_of(attributes, "illumination_rms") or 0.0,
            int(number_of(attributes, "star_count") or 0),
            curve,
            name,
            attributes,
        )


VALUE_CLASSES: dict[str, type[Values]] = {
    values.kind: values
    for values in (ReadNoise, GainLinearity, AstrometricParameters, PhotometricParameters, IlluminationCorrection)
}


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
