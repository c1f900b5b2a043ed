"""Fringes of a reduced frame: how strong they are, and taking them away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recipes import threads
from recipes.ccd.calibrating import Calibrated
from recipes.frame import FloatArray, Frame, MaskArray, strip_bounds
from recipes.job import LeftOut
from recipes.masks import FRINGE_UNTRUSTED

MESH = 128  # pixels: cells over which the sky is a plane; fringes are up to 90 wide, and a plane would take them away
TURNS = 3  # of clipping: the second already knows the pattern
STRIP_ROWS = 256


@dataclass(frozen=True)
class FringeScale:
    """By what a fringe frame is multiplied, with its error, and whether it was subtracted.

    In the unit of the frame: it is the level of the light that fringes, as the fringe frame is a part of the sky.
    """

    value: float
    error: float
    subtracted: bool = False

    @property
    def significance(self) -> float:
        """The scale in units of its error."""
        return self.value / self.error if self.error > 0 else 0.0


def remove_fringes(
    made: Calibrated, fringe: Frame | None, image_threshold: float, low: float, high: float
) -> tuple[FringeScale | None, list[LeftOut]]:
    """Subtract the fringes of an exposure in place, where they are seen.

    Parameters
    ----------
    made : Calibrated
        The flat-fielded exposure.
    fringe : Frame or None
        The pattern, of mean 0.
    image_threshold : float
        Pixels farther than this from the sky are taken for sources [sigma].
    low : float
        Significance of the scale from which they are subtracted.
    high : float
        Significance that the pattern must have by its attribute ``fringe_significance``.

    Returns
    -------
    scale : FringeScale or None
        How strong they are; None without a pattern.
    left_out : list of LeftOut
        The pattern, and why it was not subtracted.
    """
    if fringe is None:
        return None, []
    own = fringe.number("fringe_significance")
    if own is not None and own < high:
        made.without.append("fringe_frame")
        return None, [LeftOut(name=fringe.name, reason=f"its own significance is {own:.3g}, below {high:g} sigma")]
    scale = fit_fringes(made.data, made.mask != 0, fringe, image_threshold)
    if scale.significance < low:
        made.without.append("fringe_frame")
        reason = f"fringes of scale {scale.value:.4g} +- {scale.error:.2g} are not seen at {low:g} sigma"
        return scale, [LeftOut(name=fringe.name, reason=reason)]
    subtract_fringes(made.data, made.variance, made.mask, fringe, scale)
    made.notes.append(f"Fringes subtracted, {scale.value:.5g} +- {scale.error:.2g} {made.unit} times the pattern.")
    return replace(scale, subtracted=True), []


def fit_fringes(data: FloatArray, bad: NDArray[np.bool_], fringe: Frame, threshold: float) -> FringeScale:
    """Find how strong a fringe pattern is, by least squares over what is no source.

    Parameters
    ----------
    data : array
        Flat-fielded pixels with their sky.
    bad : array of bool
        Pixels to leave out.
    fringe : Frame
        The pattern, of mean 0; where it is masked or no number it is left out.
    threshold : float
        Pixels farther than this from the sky are taken for sources [sigma].

    Returns
    -------
    FringeScale
        Scale and error; 0 and 0 where nothing can be told.

    Notes
    -----
    Each cell of 128 pixels has a plane of its own for the sky, so large scales of neither sky nor pattern matter. The
    pattern's own noise is left in its sum of squares: the scale is that which leaves least when it is subtracted, and a
    map that a filter of least error has smoothed is as much too weak already as its noise asks for.
    """
    pattern, _, unknown = _pattern(fringe)
    bad = bad | unknown
    mesh = (-(-data.shape[0] // MESH), -(-data.shape[1] // MESH))
    sums = np.zeros((*mesh, 2))
    scale = error = 0.0
    for _ in range(TURNS):
        threads.each(partial(_correlate, (data, pattern, bad), (scale, threshold), sums), strip_bounds(mesh[0], 2))
        squares, product = (float(sums[..., index].sum()) for index in range(2))
        if not squares > 0:
            return FringeScale(0.0, 0.0)
        scale, error = product / squares, squares**-0.5
    return FringeScale(scale, error)


def _correlate(
    planes: tuple[FloatArray, FloatArray, NDArray[np.bool_]], limits: tuple[float, float],
    sums: NDArray[np.float64], rows: tuple[int, int],
) -> None:  # fmt: skip
    from recipes.ccd.kernels.fringe_removal import correlate

    correlate(*planes, MESH, *limits, *rows, sums)


def subtract_fringes(
    data: FloatArray, variance: FloatArray, mask: MaskArray, fringe: Frame, scale: FringeScale
) -> None:
    """Take the fringes away, in place, with the noise that this adds; mark pixels where the pattern is not trusted.

    Parameters
    ----------
    data, variance : array
        Pixels and their variance.
    mask : array
        Their mask, which gets the bit of fringes that are not trusted.
    fringe : Frame
        The pattern.
    scale : FringeScale
        Its strength.
    """
    from recipes.ccd.kernels.fringe_removal import subtract

    pattern, spread, unknown = _pattern(fringe)

    def of_rows(rows: tuple[int, int]) -> None:
        y = slice(*rows)
        subtract(data[y], variance[y], mask[y], pattern[y], spread[y], unknown[y], np.float32(scale.value),
                 np.float32(scale.error), np.uint16(FRINGE_UNTRUSTED))  # fmt: skip

    threads.each(of_rows, strip_bounds(data.shape[0], STRIP_ROWS))


def _pattern(fringe: Frame) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return the pattern, its variance, and where it is not known or not trusted; numbers everywhere."""
    data, variance, mask = fringe.planes(0, fringe.shape[0])
    pattern = np.array(data, np.float32)
    spread = np.zeros_like(pattern) if variance is None else np.array(variance, np.float32)
    unknown = ~(np.isfinite(pattern) & np.isfinite(spread))
    pattern[unknown], spread[unknown] = 0.0, 0.0
    if mask is not None:
        unknown |= mask != 0
    return pattern, spread, unknown
