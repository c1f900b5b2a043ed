"""MasterFlat: the flat that science frames are divided by, small scales from the dome and large ones from the sky."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.debias import check_serves
from recipes.ccd.night_sky_scales import large_scales_of
from recipes.ccd.smoothing import fill_bad, low_pass
from recipes.ccd.sub_windows import sub_window_difference, sub_window_statistics
from recipes.errors import UsageError
from recipes.frame import FloatArray, Frame, MaskArray
from recipes.job import LeftOut
from recipes.masks import COLD, HOT, INTERPOLATED, NO_DATA
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import report
from recipes.quality import Measured
from recipes.recipe import Bounds, Input, Recipe, Unit

CombineType = Literal[1, 2, 3]


def master_flat(
    dome_flat: Frame | None = None,
    twilight_flat: Frame | None = None,
    hot_pixel_map: Frame | None = None,
    cold_pixel_map: Frame | None = None,
    previous: Frame | None = None,
    night_sky_flat: Frame | None = None,
    *,
    combine_type: CombineType = 1,
    median_filter_size: Annotated[int, Unit("pixel"), Bounds(3, 99)] = 9,
    dig_filter_size: Annotated[float, Unit("cycles/frame"), Bounds(0.1, 1000)] = 9.0,
    mirror_xpix: Annotated[int, Unit("pixel"), Bounds(0, 10000)] = 75,
    mirror_ypix: Annotated[int, Unit("pixel"), Bounds(0, 10000)] = 150,
) -> Outcome:
    r"""Combine dome flat and twilight flat into the flat that science frames are divided by.

    Parameters
    ----------
    dome_flat : Frame, optional
        Master dome flat: small scales, high signal.
    twilight_flat : Frame, optional
        Master twilight flat: illuminated as the night sky is.
    hot_pixel_map, cold_pixel_map : Frame, optional
        Pixels replaced by the median around them before anything is smoothed, and masked.
    previous : Frame, optional
        The valid flat so far, to compare with.
    night_sky_flat : Frame, optional
        Flat of the night sky: where its large scales stand above its noise they replace those of the flat.
    combine_type : int, optional
        1 dome's small scales times twilight's large scales, 2 dome only, 3 twilight only; what there is, where one of
        them is missing.
    median_filter_size : int, optional
        Width of the box whose median replaces a bad pixel.
    dig_filter_size : float, optional
        Width (sigma) of the Gaussian low-pass in the frequency plane, in cycles over the frame: scales longer than
        about 1/(2 pi) of the frame's length over this are large.
    mirror_xpix, mirror_ypix : int, optional
        Pixels by which the frame is continued with its mirror image before smoothing.

    Returns
    -------
    Outcome
        One MasterFlatFrame, 1 on average over its good pixels, with variance and mask; a night-sky flat that tells
        nothing is left out and said so.

    Raises
    ------
    UsageError
        No flat at all, or flats of different chips, filters or shapes.

    Notes
    -----
    With L the low-pass, the flat is :math:`F = D\, L(T) / L(D)`, and with a night-sky flat N :math:`F\, L'(N / F)`,
    where L' takes the largest scales and then finer ones, up to `dig_filter_size`, as long as what they show is five
    times the variance of the noise of N. The noise of L is neglected: it averages over thousands of pixels, so the
    variance is that of D (or T) scaled.
    """
    flats = [flat for flat in (dome_flat, twilight_flat, night_sky_flat) if flat is not None]
    if dome_flat is None and twilight_flat is None:
        raise UsageError("MasterFlat needs a DomeFlatFrame or a TwilightFlatFrame")
    for flat in flats[1:]:
        check_serves(flats[0], flat, flat.shape, filters=True)
    use_dome, use_twilight = _what_to_use(combine_type, dome_flat, twilight_flat)
    used = [flat for flat, use in ((dome_flat, use_dome), (twilight_flat, use_twilight)) if use and flat is not None]
    base = used[0]
    mask = _masks(base, hot_pixel_map, cold_pixel_map)
    for flat in used[1:]:
        mask = mask | flat.mask
    report(0.1, "replacing bad pixels")
    data, filled = fill_bad(base.data, mask != 0, median_filter_size)
    variance = base.variance
    mirror = (mirror_ypix, mirror_xpix)
    if len(used) > 1:
        report(0.3, "smoothing")
        sky, _ = fill_bad(used[1].data, mask != 0, median_filter_size)
        smooth = np.maximum(low_pass(data, dig_filter_size, mirror), np.float32(1e-6))
        factor = np.asarray(low_pass(sky, dig_filter_size, mirror) / smooth, np.float32)
        data, variance = _scaled(data, variance, factor)
    kind = 1 if len(used) > 1 else (2 if use_dome else 3)
    notes = [f"Combined as type {kind} from {', '.join(flat.name for flat in used)}; {filled} pixels replaced."]
    left_out = []
    if night_sky_flat is not None:
        report(0.5, "looking at the night sky")
        unfit = (mask != 0) | ((night_sky_flat.mask & ~np.uint16(INTERPOLATED)) != 0)
        scales = large_scales_of(night_sky_flat, data, unfit, median_filter_size, dig_filter_size, mirror)
        if scales is None:
            reason = "even on the largest scales it differs from the flat by no more than its noise"
            left_out.append(LeftOut(name=night_sky_flat.name, reason=reason))
        else:
            used.append(night_sky_flat)
            data, variance = _scaled(data, variance, scales.factor)
            notes.append(f"Times the large scales of {night_sky_flat.name}, up to {scales.cycles:.3g} cycles/frame.")
    content, good = _normalised(data, variance, mask, base.name)
    extra = {"night_sky_flat": night_sky_flat.name} if night_sky_flat in used and night_sky_flat is not None else {}
    attributes = attributes_of(used, combine_type=kind, **extra)
    roles = (("dome_flat", use_dome and dome_flat), ("twilight_flat", use_twilight and twilight_flat))
    without = [role for role, flat in roles if not flat]
    measured = _measure(content.data, good, previous)
    return Outcome.one(Product("MasterFlatFrame", content, attributes, measured, without, notes), left_out)


def _scaled(data: FloatArray, variance: FloatArray | None, factor: FloatArray) -> tuple[FloatArray, FloatArray | None]:
    """Return data and variance after multiplication by a factor that has no noise of its own."""
    scaled = np.asarray(data * factor, np.float32)
    return scaled, None if variance is None else np.asarray(variance * factor**2, np.float32)


def _normalised(
    data: FloatArray, variance: FloatArray | None, mask: MaskArray, name: str
) -> tuple[Frame, NDArray[np.bool_]]:
    """Return the flat of mean 1 over its good pixels, and which these are."""
    good = mask == 0
    scale = float(np.mean(data[good] if good.any() else data, dtype=np.float64))
    if not scale > 0:
        raise UsageError(f"{name} has no light: its mean is {scale:.4g}", hint="make the flat from other frames")
    data = data / np.float32(scale)
    variance = None if variance is None else np.asarray(variance / np.float32(scale) ** 2, np.float32)
    mask = np.where(data > 0, mask, mask | np.uint16(NO_DATA))
    return Frame(data, variance=variance, mask=mask, unit="", name="MasterFlatFrame"), good


def _what_to_use(combine_type: int, dome_flat: Frame | None, twilight_flat: Frame | None) -> tuple[bool, bool]:
    dome, twilight = combine_type in (1, 2), combine_type in (1, 3)
    if dome_flat is None:
        return False, True
    if twilight_flat is None:
        return True, False
    return dome, twilight


def _masks(flat: Frame, hot_pixel_map: Frame | None, cold_pixel_map: Frame | None) -> MaskArray:
    mask = flat.mask
    for pixel_map, bit in ((hot_pixel_map, HOT), (cold_pixel_map, COLD)):
        if pixel_map is not None:
            check_serves(pixel_map, flat, flat.shape)
            mask = mask | (pixel_map.mask & np.uint16(bit))
    return mask


def _measure(data: FloatArray, good: NDArray[np.bool_], previous: Frame | None) -> list[Measured]:
    windows = sub_window_statistics(data, good)
    values = data[good] if good.any() else data
    measured = [
        Measured("mean", float(np.mean(values, dtype=np.float64))),
        Measured("stdev", float(np.std(values, dtype=np.float64))),
        Measured("subwindow_flatness", windows.flatness),
    ]
    if previous is not None:
        if previous.shape != data.shape:
            raise UsageError(f"the previous flat {previous.name} has another shape: {previous.shape}")
        measured.append(Measured("subwindow_difference", sub_window_difference(data, previous.data, good)))
    return measured


RECIPE = Recipe(
    name="MasterFlat",
    version="2",
    function=master_flat,
    inputs=(
        Input("dome_flat", ("DomeFlatFrame",), minimum=0, primary=True),
        Input("twilight_flat", ("TwilightFlatFrame",), minimum=0, primary=True),
        Input("hot_pixel_map", ("HotPixelMap",), minimum=0),
        Input("cold_pixel_map", ("ColdPixelMap",), minimum=0),
        Input("previous", ("MasterFlatFrame",), minimum=0, preferred=False),
        Input("night_sky_flat", ("NightSkyFlatFrame",), minimum=0, preferred=False),
    ),
    outputs=("MasterFlatFrame",),
    split_by=("instrument", "chip", "readout_mode", "filter"),
    needs_any_of=("dome_flat", "twilight_flat"),
)
