"""The kinds of products: what each is, what must match for it to serve, and for how long it is valid.

One table, read by the recipes (outputs), by the archive (calibration choice, default validity) and by the pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Content = Literal["raw", "image", "mask", "values", "table"]


@dataclass(frozen=True)
class ProductKind:
    """One kind of product.

    Parameters
    ----------
    name : str
        The kind's name, as Astro-WISE writes it.
    description : str
        One sentence for a person.
    content : {"raw", "image", "mask", "values", "table"}
        What its file holds.
    per_filter : bool
        Whether it belongs to one filter (a bias does not, a flat does).
    validity_days : float or None
        A calibration is by default valid from this many days before the night of its observations until as many
        days after it; None for what is not a calibration.
    by_sky : bool
        Whether it serves wherever on the sky it has stars, for any instrument and at any time.
    """

    name: str
    description: str
    content: Content
    per_filter: bool = False
    validity_days: float | None = None
    by_sky: bool = False

    @property
    def is_raw(self) -> bool:
        """Whether such products come from a camera, not from a recipe."""
        return self.content == "raw"

    @property
    def is_calibration(self) -> bool:
        """Whether such products are chosen by validity."""
        return self.validity_days is not None


# Validity of our choice: read noise, gain and pixel maps change with the detector, flats with dust, biases with time.
KINDS: dict[str, ProductKind] = {
    kind.name: kind
    for kind in (
        ProductKind("RawBias", "Exposure of zero seconds, shutter closed", "raw"),
        ProductKind("RawDark", "Exposure with the shutter closed", "raw"),
        ProductKind("RawDomeFlat", "Exposure of the screen in the dome", "raw", per_filter=True),
        ProductKind("RawTwilightFlat", "Exposure of the twilight sky", "raw", per_filter=True),
        ProductKind("RawScience", "Exposure of the night sky", "raw", per_filter=True),
        ProductKind("ReadNoise", "Read noise of a chip from pairs of biases", "values", validity_days=180),
        ProductKind("BiasFrame", "Master bias of a chip", "image", validity_days=14),
        ProductKind("DarkFrame", "Dark current of a chip in adu/s", "image", validity_days=30),
        ProductKind("HotPixelMap", "Pixels of a chip that glow", "mask", validity_days=30),
        ProductKind("GainLinearity", "Gain of a chip from the photon transfer, and its linearity", "values",
                    validity_days=180),
        ProductKind("DomeFlatFrame", "Master dome flat of a chip and filter", "image", True, 14),
        ProductKind("TwilightFlatFrame", "Master twilight flat of a chip and filter", "image", True, 14),
        ProductKind("ColdPixelMap", "Pixels of a chip that do not answer to light as others do", "mask", True, 30),
        ProductKind("MasterFlatFrame", "Flat of a chip and filter that science frames are divided by", "image", True,
                    14),
        ProductKind("NightSkyFlatFrame", "Flat of a chip and filter as the light of the night sky itself shows it",
                    "image", True, 14),
        ProductKind("FringeFrame", "Fringes of a chip and filter in the light of the night sky", "image", True, 14),
        ProductKind("ReducedScienceFrame", "Calibrated exposure of a chip", "image", per_filter=True),
        ProductKind("WeightFrame", "Inverse variance of a calibrated exposure, zero where it is masked", "image",
                    per_filter=True),
        ProductKind("ReferenceCatalogue", "Stars with known positions or magnitudes", "table", by_sky=True),
        ProductKind("AstrometricParameters", "Coordinate system of an exposure of a chip, fitted to stars", "values",
                    per_filter=True),
        ProductKind("CalibratedScienceFrame", "Calibrated exposure of a chip with fitted coordinates", "image",
                    per_filter=True),
        ProductKind("PhotometricParameters", "Zeropoint of a chip and filter", "values", True, 1),
        ProductKind("PhotSrcCatalog", "Standard stars of an exposure of a chip, measured and as the catalogue has them",
                    "table", per_filter=True),
        ProductKind("IlluminationCorrection", "What flats get wrong about illumination, over the focal plane", "values",
                    True, 30),
        ProductKind("IlluminationCorrectionFrame", "What a chip's reduced frames are divided by to mend illumination",
                    "image", True, 30),
        ProductKind("RegriddedFrame", "Exposure of a chip on the common grid of the sky and of fluxes", "image",
                    per_filter=True),
        ProductKind("CoaddedRegriddedFrame", "Weighted mean of the regridded frames of one grid", "image",
                    per_filter=True),
        ProductKind("SourceList", "Sources found on a frame, with positions and fluxes", "table", per_filter=True),
        ProductKind("AssociateList", "Which sources of several lists are one on the sky", "table"),
    )
}  # fmt: skip
