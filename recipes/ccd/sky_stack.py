"""Stacking frames of the night sky with their sources masked, by strips: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.clipping import clipped_statistics
from recipes.ccd.sky import NoSkyError
from recipes.errors import UsageError
from recipes.frame import ALL, FloatArray, Frame, rows_of_strips, strip_bounds
from recipes.job import LeftOut
from recipes.progress import tracked
from recipes.threads import allowed, each

Exposure = TypeVar("Exposure")

ITERATIONS = 5
# Sources cover more than this part of a frame: what is left between them is their light too, not the sky's.
MOST_COVERED = 0.7
# Two frames look at one place where more than this part of their sources' pixels fall together.
SAME_PLACE = 0.5
# Headers whose positions differ by more than this tell of two fields, not of a pointing's errors [degree].
FIELDS_APART = 1 / 60
# With fewer places a source would be in the majority wherever it is.
FEWEST_PLACES = 3
_THUMB = 3  # every so many pixels are looked at for that
_FEWEST_SOURCE_PIXELS = 30
_PLANES = 4  # of a strip of one frame: values, sigma, mask and what they are made from


@dataclass(frozen=True)
class Enough:
    """How many frames with usable sky a recipe needs, and what to do where there are fewer."""

    recipe: str
    frames: int
    hint: str


def exposures_with_sky(
    frames: Sequence[Frame],
    expose: Callable[[Frame], tuple[Exposure | None, str]],
    enough: Enough,
    progress: tuple[float, float],
) -> tuple[list[Exposure], list[LeftOut]]:
    """Return what `expose` makes of each frame, and the frames of which it made nothing, with the reason.

    Raises
    ------
    UsageError
        Fewer frames are left than the recipe needs.
    """
    usable: list[Exposure] = []
    left_out: list[LeftOut] = []
    for frame in tracked(frames, "masking sources", *progress):
        try:
            exposure, reason = expose(frame)
        except NoSkyError as error:
            exposure, reason = None, error.message
        if exposure is None:
            left_out.append(LeftOut(name=frame.name, reason=reason))
        else:
            usable.append(exposure)
    if len(usable) < enough.frames:
        why = f": {left_out[0].name}: {left_out[0].reason}" if left_out else ""
        raise UsageError(
            f"{len(usable)} of the {len(frames)} frames show enough sky, {enough.recipe} needs {enough.frames}{why}",
            hint=enough.hint,
        )
    return usable, left_out


class PixelSet:
    """A set of pixels of an image, a bit each."""

    def __init__(self, pixels: NDArray[np.bool_]) -> None:
        self._width = pixels.shape[1]
        self._bits = np.packbits(pixels, axis=1)

    def rows(self, y0: int, y1: int) -> NDArray[np.bool_]:
        """Return rows `y0` to `y1`."""
        return np.unpackbits(self._bits[y0:y1], axis=1, count=self._width).view(np.bool_)


@dataclass(frozen=True)
class SkyMesh:
    """Level of the sky on a mesh, bilinear between the centres of its cells and straight on beyond the outermost."""

    shape: tuple[int, int]
    nodes: NDArray[np.float32]

    @classmethod
    def of(cls, data: FloatArray, good: NDArray[np.bool_], cell: int) -> SkyMesh:
        """Measure the clipped median of the good pixels in cells of about `cell` pixels.

        A cell with few good pixels takes the value of the nearest that has them.
        """
        from scipy import ndimage

        rows, columns = (max(1, round(length / cell)) for length in data.shape)
        edges_y, edges_x = (_edges(length, cells) for length, cells in zip(data.shape, (rows, columns), strict=True))
        nodes = np.full((rows, columns), np.nan, np.float32)
        for row in range(rows):
            for column in range(columns):
                part = slice(edges_y[row], edges_y[row + 1]), slice(edges_x[column], edges_x[column + 1])
                values = data[part][good[part]]
                if values.size > 0.1 * data[part].size:
                    nodes[row, column] = clipped_statistics(values, 3.0, 2).median
        empty = ~np.isfinite(nodes)
        if empty.all():
            raise NoSkyError("no part of it shows the sky", hint="leave the frame out")
        if empty.any():
            nearest = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
            nodes = nodes[tuple(nearest)]
        return cls((data.shape[0], data.shape[1]), nodes)

    def rows(self, y0: int, y1: int) -> FloatArray:
        """Return the level of rows `y0` to `y1`."""
        across = _between(self.nodes, self.shape[1], 1)
        return np.ascontiguousarray(_between(across, self.shape[0], 0, slice(y0, y1)), np.float32)


@dataclass(frozen=True)
class SkyStack:
    """The clipped median of a stack with its variance, how many values it is of, and how many were rejected."""

    median: FloatArray
    variance: FloatArray
    count: NDArray[np.int16]
    rejected: int


# Rows y0 to y1 of one frame: values on the common scale, NaN where there are none, and their standard deviations.
Strips = Callable[[int, int], tuple[FloatArray, FloatArray]]


def stack_sky(
    frames: Sequence[Strips], shape: tuple[int, int], sigma_clip: float, progress: tuple[float, float] = (0.0, 1.0)
) -> SkyStack:
    """Return the clipped median of frames, of which some rows are in memory at a time.

    Parameters
    ----------
    frames : sequence of callables
        Give rows of each frame.
    shape : tuple of int
        Rows and columns.
    sigma_clip : float
        Values farther than so many of their own sigma from the median are rejected.
    progress : tuple of float
        Fractions of the job at the beginning and at the end.

    Returns
    -------
    SkyStack
        Median NaN and variance 0 where no frame has a value.
    """
    from recipes.ccd.kernels.sky_stack import clipped_median

    median, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    count, rejected = np.empty(shape, np.int16), np.empty(shape, np.int16)

    def one(bounds: tuple[int, int]) -> None:
        y0, y1 = bounds
        strips = [rows(y0, y1) for rows in frames]
        values = np.stack([strip[0] for strip in strips])
        sigma = np.stack([strip[1] for strip in strips])
        clipped_median(values, sigma, sigma_clip, ITERATIONS, median[y0:y1], variance[y0:y1], count[y0:y1],
                       rejected[y0:y1])  # fmt: skip

    rows = rows_of_strips(shape[1], _PLANES * len(frames) * allowed())
    bounds = strip_bounds(shape[0], rows)
    for start in tracked(range(0, len(bounds), allowed()), "stacking", *progress):
        each(one, bounds[start : start + allowed()])
    return SkyStack(median, variance, count, int(rejected.sum(dtype=np.int64)))


def thumbnail(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return few enough pixels of a mask of sources to keep, and to compare with those of other frames."""
    return np.array(pixels[::_THUMB, ::_THUMB])


def count_places(thumbnails: Sequence[NDArray[np.bool_]], frames: Sequence[Frame]) -> int:
    """Return at how many different places on the sky the frames look, as the masks of their sources tell.

    Header positions alone would not do: some cameras give none, or the same for a whole night. But where they tell two
    fields apart these are two, however much their masks share (corners without light, bad columns). Frames with hardly
    any source cannot leave any on the stack: each counts.
    """
    places: list[tuple[NDArray[np.bool_], Frame]] = []
    for thumb, frame in zip(thumbnails, frames, strict=True):
        if not any(_same_place(thumb, mask) and not _fields_apart(frame, other) for mask, other in places):
            places.append((thumb, frame))
    return len(places)


def _fields_apart(one: Frame, other: Frame) -> bool:
    """Whether the headers say that two frames look at different fields."""
    places = [(frame.attributes.ra, frame.attributes.dec) for frame in (one, other)]
    (ra, dec), (other_ra, other_dec) = places
    if ra is None or dec is None or other_ra is None or other_dec is None:
        return False
    across = (abs(ra - other_ra) + 180) % 360 - 180
    return float(np.hypot(across * np.cos(np.radians(dec)), dec - other_dec)) > FIELDS_APART


def _same_place(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    fewer = min(int(one.sum()), int(other.sum()))
    if fewer < _FEWEST_SOURCE_PIXELS:
        return False
    shared = float(np.count_nonzero(one & other)) / fewer
    by_chance = float(max(one.mean(), other.mean()))
    return by_chance < 1 and (shared - by_chance) / (1 - by_chance) > SAME_PLACE


def refuse_one_place(places: int, names: Sequence[str]) -> None:
    """Raise UsageError where the frames look at too few places for sources to be told from what all frames share."""
    if places < FEWEST_PLACES:
        raise UsageError(
            f"{names[0]} to {names[-1]} ({len(names)} frames) look at {places} different "
            f"place{'s' if places > 1 else ''} on the sky: their sources fall on the same pixels",
            hint=f"give frames of at least {FEWEST_PLACES} fields, or dithered by more than the sources' size",
        )


def _edges(length: int, cells: int) -> NDArray[np.intp]:
    return np.linspace(0, length, cells + 1).astype(np.intp)


def _between(nodes: FloatArray, length: int, axis: int, part: slice = ALL) -> FloatArray:
    """Interpolate nodes along one axis to (a part of) the pixels between and beyond them."""
    cells = nodes.shape[axis]
    edges = _edges(length, cells)
    pixels = np.arange(length)[part]
    if cells == 1:
        return np.repeat(nodes, len(pixels), axis=axis)
    centres = (edges[:-1] + edges[1:] - 1) / 2
    left = np.clip(np.searchsorted(centres, pixels, side="right") - 1, 0, cells - 2)
    fraction = ((pixels - centres[left]) / (centres[left + 1] - centres[left])).astype(np.float32)
    fraction = fraction[:, np.newaxis] if axis == 0 else fraction[np.newaxis, :]
    low, high = np.take(nodes, left, axis), np.take(nodes, left + 1, axis)
    return np.asarray(low + (high - low) * fraction, np.float32)
