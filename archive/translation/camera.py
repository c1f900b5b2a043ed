"""What is particular about one camera: a declaration, of those that come with the archive and of a user's TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from archive.headers import Header
from recipes.attributes import Photometry

# Attribute: the keywords in which cameras usually write it, the best first.
USUAL: dict[str, tuple[str, ...]] = {
    "exposure_time": ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXP-TIME", "EXPOSED", "ITIME", "INTTIME", "TEXP", "EXPT",
                      "TINT", "ELAPTIME", "TTIME", "ESO DET WIN1 DIT1"),
    "filter": ("FILTER", "FILTNAM", "FILTNAME", "FILTERID", "FILTERS", "FILTER-N", "FILT_ID", "WFFBAND", "INSFILTE",
               "FILTER01", "FILTBAND", "BAND", "REDFILT", "BLUFILT", "ESO INS FILT1 NAME"),
    "object": ("OBJECT", "OBJNAME", "TARGNAME", "TARGET", "ESO OBS TARG NAME"),
    "temperature": ("CCD-TEMP", "CCDTEMP", "CCD_TEMP", "DET-TEMP", "DETTEMP", "DET_TEMP", "TEMPDET", "CHIPTEMP",
                    "DETTEM", "TEMPERAT", "CAMTEMP", "CCDTEM", "CCDATEMP", "DET-TMP", "SENSTEMP",
                    "SET-TEMP", "SETTEMP", "CCDSTEMP"),
    "airmass": ("AIRMASS", "SECZ", "AIRMS", "AIRM", "SECZ-STR", "ESO TEL AIRM START"),
    "ra": ("RA", "OBJCTRA", "TELRA", "TEL-RA", "OBJRA", "RA_OBJ", "RA-OBS", "RADEG", "RA_TEL", "TARGRA", "CRVAL1"),
    "dec": ("DEC", "OBJCTDEC", "TELDEC", "TEL-DEC", "OBJDEC", "DEC_OBJ", "DEC-OBS", "DECDEG", "DEC_TEL", "TARGDEC",
            "CRVAL2"),
    "pixel_scale": ("PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "SCALE", "PLTSCALE", "PIXELSCL", "CCDSCALE",
                    "SECPPIX", "ESO INS PIXSCALE"),
    "chip": ("CHIP", "CCDNUM", "CCDID", "CCD_ID", "CHIPID", "CHIPNUM", "DET-ID", "IMAGEID", "ESO DET CHIP1 ID"),
    "instrument": ("INSTRUME", "CAMERA", "CAMNAME", "DETNAME", "DETECTOR"),
    "saturation": ("SATURATE", "SATLEVEL", "SATURATI", "DATAMAX"),
    "nominal_gain": ("EGAIN", "E-GAIN", "GAIN", "CCDGAIN", "GAINEFF",
                     "ESO DET OUT1 CONAD"),  # ESO's GAIN is the inverse
    "nominal_read_noise": ("RDNOISE", "READNOIS", "RDNOIS", "READ_NOI", "RON", "CCDRON", "ENOISE", "ESO DET OUT1 RON"),
}  # fmt: skip


@dataclass(frozen=True)
class Camera:
    """A camera's own ways.

    Parameters
    ----------
    name : str
        The instrument's name in the archive.
    instrume : tuple of str
        Values of INSTRUME by which it is recognised, with ``*``, in any case.
    keywords : mapping
        Attribute: keywords that are looked at before the usual ones. Also for ``type``, ``date_obs``, ``time_obs``,
        ``longitude``, ``readout_mode`` and the sections. No keywords at all: what the header says of it is not used.
    fixed : mapping
        Attribute: value that holds for every frame, whatever the header says.
    types : mapping
        The camera's word for a type (with ``*``, in any case): kind of product.
    longitude : float or None
        Of the site, degrees, east positive: where a night begins.
    time_format : str
        How the date is written, as Python's ``strptime`` reads it; empty for the usual ones.
    read_noise_unit : {"electron", "adu"}
        What the header's read noise is in.
    exposure_time_unit : float
        What the header's exposure time counts [s].
    description : str
        Digest of the TOML text that it was read from, by which a client knows whether a frame was read by it.
    photometry : mapping
        Filter (with ``*``): which standard band it is, with its colour term and extinction.
    mask_bits : mapping
        Of reduced frames from elsewhere: a bit of their masks (or a value, where they are codes), and what it means.
    mask_codes : bool
        Whether the values of their masks are codes, not sums of bits.
    """

    name: str
    instrume: tuple[str, ...] = ()
    keywords: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    longitude: float | None = None
    time_format: str = ""
    read_noise_unit: str = "electron"
    exposure_time_unit: float = 1.0
    description: str = ""
    photometry: Mapping[str, Photometry] = field(default_factory=dict)
    mask_bits: Mapping[int, int] = field(default_factory=dict)
    mask_codes: bool = False

    def photometry_of(self, filter_name: str | None) -> Photometry | None:
        """Return what is declared of a filter, None where nothing is."""
        if not filter_name:
            return None
        declared = self.photometry.get(filter_name)
        like = (found for name, found in self.photometry.items() if fnmatchcase(filter_name.lower(), name.lower()))
        return declared or next(like, None)

    def recognises(self, header: Header) -> bool:
        """Whether a file with this header is this camera's."""
        said = header.text("INSTRUME").lower()
        return bool(said) and any(fnmatchcase(said, pattern.lower()) for pattern in self.instrume)

    def keywords_for(self, attribute: str) -> tuple[str, ...]:
        """Return where to look for an attribute: the camera's own keywords, then the usual ones."""
        own = self.keywords.get(attribute)
        if own is None:
            return USUAL.get(attribute, ())
        return (*own, *(keyword for keyword in USUAL.get(attribute, ()) if keyword not in own)) if own else ()
