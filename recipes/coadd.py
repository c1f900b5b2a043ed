"""Coadd: the regridded frames of one grid and filter become one deep frame with its weight."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from recipes import threads
from recipes.ccd.coadd_quality import coverage_map, inverse, measure_coadd, measured_values
from recipes.ccd.coadding import Coadded, Combine, Member, coadded_correlation, combine_members, measure_member
from recipes.ccd.grid import Grid
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.job import LeftOut
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit


def coadd(
    regridded_frames: Sequence[Frame],
    *,
    combine: Combine = "WEIGHTED",
    background: bool = True,
    back_size: Annotated[int, Unit("pixel"), Bounds(16, 8192)] = 128,
    back_filtersize: Annotated[int, Unit("cell"), Bounds(1, 31)] = 3,
    clip_sigma: Annotated[float, Unit("sigma"), Bounds(1, 100)] = 4.0,
    clip_fraction: Annotated[float, Bounds(0, 10)] = 0.3,
) -> Outcome:
    r"""Add up regridded frames, each with the weight of its sky's noise, and measure what became of it.

    Parameters
    ----------
    regridded_frames : sequence of Frame
        Frames of one filter on one grid, with variance and mask, on one flux scale or with their zeropoints.
    combine : {"WEIGHTED", "CLIPPED", "MEDIAN"}, optional
        WEIGHTED: mean with inverse-variance weights. CLIPPED: the same of what is left when values far from the
        frames' median are taken out, so that what only one frame has (a satellite, an asteroid) is gone. MEDIAN: not
        weighted.
    background : bool, optional
        Subtract each frame's sky, measured on a mesh.
    back_size : int, optional
        Side of the mesh's cells: larger than what shall not be taken for sky.
    back_filtersize : int, optional
        Side of the median filter over the cells.
    clip_sigma : float, optional
        CLIPPED: how many sigma of its noise a value may be away from the median.
    clip_fraction : float, optional
        CLIPPED: and what fraction of the median besides, where it differs from pixel to pixel: the images of stars
        change with the seeing.

    Returns
    -------
    Outcome
        A CoaddedRegriddedFrame on the flux scale of the frames, with the variance of each pixel and the mask of those
        that no frame shows well, and its WeightFrame: the inverse variance, zero where it is masked.

    Raises
    ------
    UsageError
        Frames of several grids or filters, or none that can be used.

    Notes
    -----
    With weights :math:`w_i`, inverse to the variance of the sky of frame i as of independent pixels, a pixel is
    :math:`\sum w_i d_i / \sum w_i` over the frames in which its mask is 0, its variance
    :math:`\sum w_i^2 V_i / (\sum w_i)^2`: the noise that empty sky shows from pixel to pixel. Resampling has correlated
    the pixels: the noise in large apertures is larger by the root of one over the attribute ``noise_correlation``.
    Clipping: Gruen, Seitz & Bernstein 2014, PASP 126, 158, and in the images of stars as much again as the median
    differs within two pixels (as Fruchter & Hook 2002, PASP 114, 144, section 5, do with its derivative). Where no
    frame has a good pixel the masked ones' mean stands, with their bits.
    """
    grid = _common_grid(regridded_frames)
    candidates, left_out = _that_fit(regridded_frames, grid)
    zeropoint = candidates[0][0].number("zeropoint") if candidates else None
    members, without_weight = _measured(candidates, grid, back_size, back_filtersize, subtract=background)
    left_out += without_weight
    if not members:
        reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in left_out)
        raise UsageError(f"no frame can be added up: {reasons}", hint="choose frames with variance and good pixels")
    coadded = combine_members(members, combine, clip_sigma, clip_fraction, (0.2, 0.75))
    correlation = coadded_correlation(members)
    report(0.75, "measuring the coadd")
    quality = measure_coadd(coadded, correlation, back_size)
    unit = members[0].frame.unit
    measured = [
        Measured("frames", len(members)),
        *measured_values(coadded, quality, grid.pixel_scale, zeropoint, unit),
        *_rejections(coadded, members, combine),
    ]
    attributes = attributes_of(
        [member.frame for member in members],
        **_about(members, coadded, grid, zeropoint, correlation),
        background_subtracted=background,
        sky_level=0.0 if background else quality.sky_level,
        sky_noise=quality.sky_noise,
        **({"psf_fwhm": quality.fwhm} if quality.fwhm else {}),
    )
    without = [] if zeropoint is not None else ["zeropoint"]
    notes = _described(members, coadded, combine, background=background)
    cards = grid.cards(coadded.x0, coadded.y0)
    image = Frame(coadded.data, variance=coadded.variance, mask=coadded.mask, unit=unit, wcs=cards)
    weight = Frame(inverse(coadded.variance, coadded.mask), mask=coadded.mask, unit=f"1/({unit})**2" if unit else "",
                   wcs=cards)  # fmt: skip
    of_weight = attributes.model_copy(update={"belongs_to": "CoaddedRegriddedFrame"})
    return Outcome(
        (
            Product("CoaddedRegriddedFrame", image, attributes, measured, without, notes),
            Product("WeightFrame", weight, of_weight, [], without, notes),
        ),
        tuple(left_out),
    )


def _common_grid(frames: Sequence[Frame]) -> Grid:
    """Return the grid of all frames; raise UsageError where there are several, or several filters."""
    if not frames:
        raise UsageError("there is no frame to add up")
    for name in ("grid", "filter"):
        values = [str(getattr(frame.attributes, name, None) or "") for frame in frames]
        for frame, value in zip(frames, values, strict=True):
            if value != values[0]:
                raise UsageError(f"the frames have more than one {name}: {frame.name} {value or 'says none'}, "
                                 f"{frames[0].name} {values[0] or 'says none'}",
                                 hint=f"add up those of one {name}")  # fmt: skip
    name = str(getattr(frames[0].attributes, "grid", None) or "")
    if not name:
        raise UsageError(f"{frames[0].name} does not say which grid it lies on", hint="run Science on it again")
    return Grid.parse(name)


def _that_fit(frames: Sequence[Frame], grid: Grid) -> tuple[list[tuple[Frame, float]], list[LeftOut]]:
    """Return the frames that can be added up with the factor to the flux scale of the first, and those left out."""
    left_out, fitting = [], []
    scales = Counter(_flux_scale(frame) for frame in frames)
    usual = max(scales, key=lambda scale: (scales[scale], scale[1], -list(scales).index(scale)))
    for frame in frames:
        reason = _does_not_fit(frame, grid, usual)
        if reason:
            left_out.append(LeftOut(name=frame.name, reason=reason))
        else:
            fitting.append(frame)
    apart = _apart(fitting, grid)
    left_out += [
        LeftOut(name=frame.name, reason="it lies apart from the others")
        for frame, alone in zip(fitting, apart, strict=True)
        if alone
    ]
    fitting = [frame for frame, alone in zip(fitting, apart, strict=True) if not alone]
    zeropoint = fitting[0].number("zeropoint") if fitting else None
    if zeropoint is None:
        return [(frame, 1.0) for frame in fitting], left_out
    return [(frame, 10 ** (0.4 * (zeropoint - (frame.number("zeropoint") or 0.0)))) for frame in fitting], left_out


def _flux_scale(frame: Frame) -> tuple[str, bool, str, str]:
    """Return what frames must have in common for their values to be comparable."""
    photometry = frame.attributes.photometry
    system, band = (photometry.system, photometry.band) if photometry else ("", "")
    return frame.unit, frame.number("zeropoint") is not None, system, band


def _does_not_fit(frame: Frame, grid: Grid, usual: tuple[str, bool, str, str]) -> str:
    """Return why a frame cannot be added to the others, or nothing."""
    if getattr(frame.attributes, "astrometric_confidence", "") == "none":
        return "its coordinates were not found"
    if not frame.has_variance:
        return "it has no variance"
    unit, has_zeropoint, system, band = _flux_scale(frame)
    if has_zeropoint != usual[1]:
        return "it has a zeropoint and the others have none" if has_zeropoint else "it has no zeropoint"
    if unit != usual[0]:
        return f"its unit is {unit or 'none'}, that of the others {usual[0] or 'none'}"
    if has_zeropoint and (system, band) != usual[2:]:
        return f"its zeropoint is of {band} {system}, those of the others of {' '.join(usual[2:])}"
    try:
        grid.origin(frame.wcs)
    except UsageError as error:
        return error.message
    return ""


def _apart(frames: Sequence[Frame], grid: Grid) -> list[bool]:
    """Return which frames lie farther than their own size from the largest group of the others."""
    boxes = []
    for frame in frames:
        x0, y0 = grid.origin(frame.wcs)
        height, width = frame.shape
        reach = max(height, width) / 2
        boxes.append((x0 - reach, y0 - reach, x0 + width + reach, y0 + height + reach))
    groups: list[set[int]] = []
    for index, box in enumerate(boxes):
        near = [group for group in groups if any(_meet(box, boxes[other]) for other in group)]
        groups = [group for group in groups if group not in near] + [{index}.union(*near)]
    largest = max(groups, key=lambda group: (len(group), -min(group)), default=set())
    return [index not in largest for index in range(len(frames))]


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _measured(
    candidates: Sequence[tuple[Frame, float]], grid: Grid, back_size: int, filter_size: int, *, subtract: bool
) -> tuple[list[Member], list[LeftOut]]:
    """Return the frames with sky and weight, and those that have no weight."""
    report(0.0, "measuring the sky of each frame")
    found = threads.each(
        lambda entry: measure_member(entry[0], grid, entry[1], back_size, filter_size, subtract=subtract), candidates
    )
    members = [member for member in found if isinstance(member, Member)]
    left_out = [
        LeftOut(name=frame.name, reason=reason)
        for (frame, _), reason in zip(candidates, found, strict=True)
        if isinstance(reason, str)
    ]
    return members, left_out


def _about(
    members: Sequence[Member], coadded: Coadded, grid: Grid, zeropoint: float | None, correlation: float
) -> dict[str, Any]:
    """Return the attributes that tell what the coadd is made of and where it lies."""
    frames = [member.frame for member in members]
    height, width = coadded.data.shape
    ra, dec = grid.sky(np.array([coadded.x0 + (width - 1) / 2]), np.array([coadded.y0 + (height - 1) / 2]))
    exposures = {frame.attributes.date_obs or frame.name: frame.attributes.exposure_time for frame in frames}
    times = [time for time in exposures.values() if time is not None]
    chips = {frame.attributes.chip for frame in frames}
    errors = [error for frame in frames if (error := frame.number("zeropoint_error")) is not None]
    weights = np.array([member.weight for member in members])
    gains = [frame.number("gain") for frame in frames]
    about: dict[str, Any] = {
        "chip": chips.pop() if len(chips) == 1 else "",
        "ra": round(float(ra[0]), 7),
        "dec": round(float(dec[0]), 7),
        "has_wcs": True,
        "grid": grid.name,
        "pixel_scale": grid.pixel_scale,
        "noise_correlation": correlation,
        "zeropoint": zeropoint,
        "zeropoint_error": statistics.median(errors) if errors and zeropoint is not None else None,
        "exposures": len(exposures),
        "total_exposure_time": sum(times) if len(times) == len(exposures) else None,
        "saturation": None,
        "coverage_map": coverage_map(coadded),
        "coadded_frames": [
            {"name": member.frame.name, "weight": round(float(share), 6), "sky_level": float(f"{member.sky:.6g}"),
             "sky_noise": float(f"{member.noise:.6g}"), "rejected": int(rejected)}
            for member, share, rejected in zip(members, weights / weights.sum(), coadded.rejected, strict=True)
        ],
    }  # fmt: skip
    if all(gains):
        # Of a pixel with the median number of frames: electrons for each unit of the mean.
        share = float(np.median(coadded.count[coadded.count > 0])) / len(members) if coadded.count.any() else 1.0
        inverse_gains = 1 / np.array(
            [gain / member.factor for gain, member in zip(gains, members, strict=True) if gain]
        )
        about["gain"] = float(weights.sum() ** 2 / np.sum(weights**2 * inverse_gains)) * share
    return about


def _rejections(coadded: Coadded, members: Sequence[Member], combine: Combine) -> list[Measured]:
    if combine != "CLIPPED":
        return []
    used = int(coadded.count.sum(dtype=np.int64))
    rejected = int(coadded.rejected.sum())
    return [Measured("rejected_fraction", rejected / max(used + rejected, 1))]


def _described(members: Sequence[Member], coadded: Coadded, combine: Combine, *, background: bool) -> list[str]:
    """Return the lines of HISTORY: how it was added up, and each frame with its weight."""
    how = {"WEIGHTED": "Weighted mean", "CLIPPED": "Weighted mean without outliers", "MEDIAN": "Median"}[combine]
    lines = [f"{how} of {len(members)} frames, sky {'subtracted from each' if background else 'left in'}."]
    if len(members) == 1:
        lines = ["Only one frame: nothing was added up" + (", its sky was subtracted." if background else ".")]
    total = sum(member.weight for member in members) or 1.0
    for member, rejected in zip(members, coadded.rejected, strict=True):
        scaled = f", scaled by {member.factor:.5f}" if member.factor != 1.0 else ""
        outliers = f", {rejected} pixels rejected" if rejected else ""
        lines.append(f"{member.frame.name}: weight {100 * member.weight / total:.2f} %, sky {member.sky:.6g} "
                     f"+- {member.noise:.4g}{scaled}{outliers}.")  # fmt: skip
    return lines


RECIPE = Recipe(
    name="Coadd",
    version="1",
    function=coadd,
    inputs=(Input("regridded_frames", ("RegriddedFrame",), minimum=2, maximum=None, primary=True),),
    outputs=("CoaddedRegriddedFrame", "WeightFrame"),
    split_by=("instrument", "filter", "grid"),
    runs_on="node",
)
