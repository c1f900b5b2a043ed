"""What the astronomer who asked for a product wants to know of it first, kind by kind."""

from __future__ import annotations

from collections.abc import Sequence

from archive.models import Measurement

_ASTROMETRY = ("rms_ra", "rms_dec", "overlap_rms", "reference_stars", "pointing_offset")
_ZEROPOINT = ("zeropoint", "scatter", "star_count", "colour_slope")
_FLAT = ("central_mean", "mean", "stdev", "subwindow_flatness", "relative_error", "outlier_fraction")
# The measured values of each kind that come first, in this order; those that a product has not are left out.
FIRST: dict[str, tuple[str, ...]] = {
    "ReadNoise": ("read_noise", "mean_diff", "median_diff"),
    "BiasFrame": ("mean", "stdev", "subwindow_flatness", "rejected_fraction"),
    "DarkFrame": ("dark_current", "stdev", "noise_ratio", "rejected_fraction"),
    "HotPixelMap": ("count", "count_fraction"),
    "ColdPixelMap": ("count", "count_fraction"),
    "GainLinearity": ("gain", "gain_relative_error", "read_noise", "pairs"),
    "DomeFlatFrame": ("raw_mean_minimum", "raw_mean_maximum", *_FLAT),
    "TwilightFlatFrame": ("raw_mean_minimum", "raw_mean_maximum", *_FLAT),
    "MasterFlatFrame": _FLAT,
    "NightSkyFlatFrame": ("pointings", *_FLAT),
    "FringeFrame": ("fringe_amplitude", "fringe_significance", "untrusted_fraction", "pointings"),
    "ReducedScienceFrame": ("sky_level", "sky_noise", "noise_ratio", "seeing", "psf_fwhm", "masked_fraction"),
    "AstrometricParameters": _ASTROMETRY,
    "CalibratedScienceFrame": _ASTROMETRY,
    "RegriddedFrame": ("zeropoint", "flux_scale", *_ASTROMETRY),
    "CoaddedRegriddedFrame": ("frames", "depth_magnitude", "seeing", "noise_ratio", "covered_area", "psf_variation"),
    "PhotometricParameters": _ZEROPOINT,
    "PhotSrcCatalog": _ZEROPOINT,
    "IlluminationCorrection": ("peak_to_peak", "significance", "residual_rms", "star_count", "chips"),
    "IlluminationCorrectionFrame": ("peak_to_peak", "largest_error", "significance", "star_count"),
    "SourceList": ("source_count", "star_count", "depth_magnitude", "completeness_50_magnitude", "depth_flux",
                   "psf_fwhm", "flagged_fraction"),
    "AssociateList": ("association_count", "matched_count", "unmatched_count", "ambiguous_count", "rms_distance"),
}  # fmt: skip
_MOST = 5


def at_a_glance(kind: str, measurements: Sequence[Measurement]) -> list[Measurement]:
    """Return the measured values that come first on the page of a product of this kind."""
    by_name = {each.name: each for each in measurements if each.measured is not None}
    return [by_name[name] for name in FIRST.get(kind, ()) if name in by_name][:_MOST]
