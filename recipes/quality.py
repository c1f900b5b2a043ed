"""The system's verdict on a product: the table of quality flags, the limits of each measured value, and the judging.

A recipe measures; it knows no limits. Here each value is held to its limits (those of the table, or those that the job
file gives under ``quality_limits`` as ``minimum_<name>`` and ``maximum_<name>``, for one of several kinds of product as
``<kind>.minimum_<name>``), and the flags are set. Where such a limit comes from, and since when it holds, stands in the
job file under ``limit_origins`` as ``<kind>.<name>``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recipes.job import Measurement

LEVEL = 1
NOISE = 2
PREVIOUS = 4
FLATNESS = 8
COUNT = 16
UNCERTAIN = 32
NONLINEAR = 64
NORMALISATION = 128
ASTROMETRY = 256

QUALITY_FLAGS: dict[int, str] = {
    LEVEL: "level outside its limits",
    NOISE: "noise outside its limits",
    PREVIOUS: "differs from the previous valid one by more than allowed",
    FLATNESS: "not flat over the sub-windows",
    COUNT: "number of pixels or sources outside its limits",
    UNCERTAIN: "error of the result above its limit",
    NONLINEAR: "departs from linearity by more than allowed",
    NORMALISATION: "not normalised as it should be",
    ASTROMETRY: "positions not as good as they should be",
}


@dataclass(frozen=True)
class Measured:
    """One QC value as a recipe returns it; ``limited`` is False where limits would be senseless for this product."""

    name: str
    value: float
    error: float | None = None
    unit: str = ""
    limited: bool = True


@dataclass(frozen=True)
class Limit:
    """Limits of one measured value and the flag that is set outside them; symmetric means ±maximum."""

    flag: int
    minimum: float | None = None
    maximum: float | None = None
    symmetric: bool = False


# Limits by kind and measured value. A limit of None is there for the job file to set: no value suits all cameras.
# abs(mean) 10, stdev 10 and stdev difference 10 adu of a bias are Astro-WISE's published ones; the rest are our choice.
LIMITS: dict[str, dict[str, Limit]] = {
    "ReadNoise": {
        "read_noise": Limit(NOISE, minimum=0.01, maximum=5000.0),  # adu: beyond these nothing was read out
        "read_noise_difference": Limit(PREVIOUS, maximum=0.5, symmetric=True),
    },
    "BiasFrame": {
        "mean": Limit(LEVEL, maximum=10.0, symmetric=True),
        "stdev": Limit(NOISE, minimum=0.001, maximum=10.0),
        "stdev_difference": Limit(PREVIOUS, maximum=10.0, symmetric=True),
        "subwindow_flatness": Limit(FLATNESS, maximum=10.0),
        "subwindow_stdev": Limit(FLATNESS, maximum=10.0),
    },
    # Of no distribution more than 1/25 lies beyond five standard deviations; cosmic rays are fewer.
    "DarkFrame": {
        "dark_current": Limit(LEVEL),
        "dark_current_difference": Limit(PREVIOUS),
        "noise_ratio": Limit(NOISE, minimum=0.8),
        "rejected_fraction": Limit(COUNT, maximum=0.1),
    },
    "HotPixelMap": {
        "count_fraction": Limit(COUNT, maximum=0.05),
        "count_difference_fraction": Limit(PREVIOUS, maximum=0.01, symmetric=True),
    },
    "GainLinearity": {
        "gain": Limit(LEVEL),
        "gain_relative_error": Limit(UNCERTAIN, maximum=0.05),
        "gain_relative_difference": Limit(PREVIOUS, maximum=0.1, symmetric=True),
        "nonlinearity": Limit(NONLINEAR, maximum=0.02),
    },
    "DomeFlatFrame": {
        "raw_mean_minimum": Limit(LEVEL, minimum=1000.0),
        "raw_mean_maximum": Limit(LEVEL, maximum=60000.0),
        "central_mean": Limit(NORMALISATION, minimum=0.999, maximum=1.001),
        "subwindow_flatness": Limit(FLATNESS, maximum=0.5),
        "subwindow_difference": Limit(PREVIOUS, maximum=0.05),
    },
    "ColdPixelMap": {
        "count_fraction": Limit(COUNT, maximum=0.05),
        "count_difference_fraction": Limit(PREVIOUS, maximum=0.01, symmetric=True),
    },
    "MasterFlatFrame": {
        "mean": Limit(NORMALISATION, minimum=0.99, maximum=1.01),
        "subwindow_difference": Limit(PREVIOUS, maximum=0.05),
    },
}  # fmt: skip
LIMITS["ReducedScienceFrame"] = {
    "sky_level": Limit(LEVEL),
    "sky_noise": Limit(NOISE, minimum=0.01, maximum=5000.0),  # as of ReadNoise: beyond these the pixels were no adu
    "sky_flatness": Limit(FLATNESS),
    "noise_ratio": Limit(NOISE, minimum=0.5),  # to scatter less than read noise and light do, it was no exposure
    "psf_fwhm": Limit(LEVEL),
    "seeing": Limit(LEVEL),
    "masked_fraction": Limit(COUNT, maximum=0.2),
}
LIMITS["CoaddedRegriddedFrame"] = {
    "noise_ratio": Limit(NOISE, 0.8, 1.5),
    "masked_fraction": Limit(COUNT, maximum=0.2),
    "psf_variation": Limit(FLATNESS),
    "depth_magnitude": Limit(LEVEL),
    "rejected_fraction": Limit(COUNT, maximum=0.05),
}
LIMITS["SourceList"] = {
    "source_count": Limit(COUNT, minimum=1.0),
    "flagged_fraction": Limit(COUNT),
    "completeness_50_magnitude": Limit(LEVEL),
}
LIMITS["NightSkyFlatFrame"] = {
    "mean": Limit(NORMALISATION, minimum=0.99, maximum=1.01),
    "pointings": Limit(COUNT, minimum=5.0),
    "hole_fraction": Limit(COUNT, maximum=0.05),
    "relative_error": Limit(UNCERTAIN, maximum=0.1),
    "subwindow_flatness": Limit(FLATNESS, maximum=0.5),
    "subwindow_difference": Limit(PREVIOUS, maximum=0.05),
}
# Below 5 sigma there are no fringes to speak of; weaker than a two-thousandth of the sky they need no correction.
LIMITS["FringeFrame"] = {
    "mean": Limit(NORMALISATION, maximum=1e-4, symmetric=True),
    "fringe_significance": Limit(UNCERTAIN, minimum=5.0),
    "fringe_amplitude": Limit(LEVEL, minimum=5e-4),
    "pointings": Limit(COUNT, minimum=5.0),
    "untrusted_fraction": Limit(COUNT, maximum=0.1),
}
# Positions are held in pixels, which suits any camera; 8 stars, 2 arcmin and 2 degrees are what Science starts from.
_ASTROMETRY: dict[str, Limit] = {
    "reference_stars": Limit(ASTROMETRY, minimum=8.0),
    "rms_ra": Limit(ASTROMETRY),
    "rms_dec": Limit(ASTROMETRY),
    "rms_pixel": Limit(ASTROMETRY, maximum=0.5),
    "corner_error_pixel": Limit(ASTROMETRY, maximum=1.0),
    "overlap_rms_pixel": Limit(ASTROMETRY, maximum=0.5),
    "pointing_offset": Limit(ASTROMETRY, maximum=120.0),
    "rotation": Limit(ASTROMETRY, maximum=2.0, symmetric=True),
    "scale_change": Limit(ASTROMETRY, maximum=0.05, symmetric=True),
    "chance_log10": Limit(ASTROMETRY, maximum=-3.0),
}
LIMITS["AstrometricParameters"] = _ASTROMETRY
LIMITS["CalibratedScienceFrame"] = _ASTROMETRY
LIMITS["RegriddedFrame"] = _ASTROMETRY | {
    "flux_scale_error": Limit(UNCERTAIN, maximum=0.05),
    "masked_fraction": Limit(COUNT, maximum=0.2),
}
# A zeropoint that is worse than 0.05 mag, or rests on less than three stars, is not to be trusted by itself.
_ZEROPOINT = {
    "zeropoint": Limit(LEVEL),
    "zeropoint_error": Limit(UNCERTAIN, maximum=0.05),
    "star_count": Limit(COUNT, minimum=3.0),
    "residual_rms": Limit(NOISE),
}
LIMITS["PhotometricParameters"] = _ZEROPOINT
LIMITS["PhotSrcCatalog"] = _ZEROPOINT
# Flats are seldom wrong by a tenth; a scatter of a tenth is no illumination's. Below 3 sigma the stars are as well
# explained by flats that are right.
LIMITS["IlluminationCorrection"] = {
    "star_count": Limit(COUNT, minimum=20.0),
    "residual_rms": Limit(NOISE, maximum=0.1),
    "peak_to_peak": Limit(FLATNESS, maximum=0.3),
    "peak_to_peak_error": Limit(UNCERTAIN, maximum=0.05),
    "significance": Limit(UNCERTAIN, minimum=3.0),
}
# A frame is no better than the fit that it follows from: Reduce is given frames, and none that is flagged.
LIMITS["IlluminationCorrectionFrame"] = {
    "star_count": Limit(COUNT, minimum=20.0),
    "residual_rms": Limit(NOISE, maximum=0.1),
    "mean": Limit(NORMALISATION, minimum=0.999, maximum=1.001),
    "peak_to_peak": Limit(FLATNESS, maximum=0.3),
    "largest_error": Limit(UNCERTAIN, maximum=0.03),
    "significance": Limit(UNCERTAIN, minimum=3.0),
}
LIMITS["AssociateList"] = {
    "matched_count": Limit(COUNT, minimum=1.0),
    "rms_distance": Limit(ASTROMETRY),
}
LIMITS["TwilightFlatFrame"] = LIMITS["DomeFlatFrame"] | {"outlier_fraction": Limit(COUNT, maximum=0.05)}


def judge(
    kind: str,
    measured: Iterable[Measured],
    given_limits: Mapping[str, float],
    origins: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[list[Measurement], int]:
    """Return `measured` with limits and verdicts, and the quality flags of a product of that kind (0: no problem).

    Values that are not finite were not measurable: they are left out.
    """
    measurements, flags = [], 0
    for value in measured:
        if not math.isfinite(value.value):
            continue
        limit = LIMITS.get(kind, {}).get(value.name, Limit(LEVEL))
        own = _given(given_limits, kind, value.name)
        minimum, maximum = _limits(limit, value.name, own) if value.limited else (None, None)
        verdict, source, since = "unlimited", "", ""
        if minimum is not None or maximum is not None:
            low = minimum is not None and value.value < minimum
            high = maximum is not None and value.value > maximum
            verdict = "bad" if low or high else "good"
            origin = (origins or {}).get(f"{kind}.{value.name}", {}) if own else {}
            source = origin.get("source", "set") if own else "published"
            since = origin.get("since", "")
        if verdict == "bad":
            flags |= limit.flag
        error = value.error if value.error is not None and math.isfinite(value.error) else None
        measurements.append(
            Measurement(name=value.name, value=value.value, error=error, unit=value.unit, minimum=minimum,
                        maximum=maximum, verdict=verdict, limit_source=source, limit_since=since)
        )  # fmt: skip
    return measurements, flags


def told_verdict(measurement: Measurement) -> str:
    """Return the verdict for a person: of a bad one which limit, where it comes from, and since when it holds."""
    if measurement.verdict != "bad":
        return measurement.verdict
    low = measurement.minimum is not None and measurement.value < measurement.minimum
    edge = f"below {measurement.minimum:.5g}" if low else f"above {measurement.maximum:.5g}"
    since = f" since {measurement.limit_since[:16].replace('T', ' ')}" if measurement.limit_since else ""
    return f"bad: {edge}, {measurement.limit_source}{since}"


def meanings(flags: int) -> list[str]:
    """Return what the bits of `flags` mean."""
    return [meaning for bit, meaning in QUALITY_FLAGS.items() if flags & bit]


def _given(limits: Mapping[str, float], kind: str, name: str) -> dict[str, float]:
    """Return the limits given for this value of this kind, those for the kind before those for any."""
    found = {}
    for word in (f"minimum_{name}", f"maximum_{name}"):
        value = limits.get(f"{kind}.{word}", limits.get(word))
        if value is not None:
            found[word] = value
    return found


def _limits(limit: Limit, name: str, given: Mapping[str, float]) -> tuple[float | None, float | None]:
    maximum = given.get(f"maximum_{name}", limit.maximum)
    minimum = given.get(f"minimum_{name}", limit.minimum)
    if limit.symmetric and minimum is None and maximum is not None:
        minimum = -maximum
    return minimum, maximum
