"""The difference of two frames, pixel by pixel: its numbers over all pixels, and its picture about zero.

Both files are read once, strip by strip, as for any other picture; their masks by handles of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from awportal.pictures.frame_file import STRIP_BYTES, FrameError, FrameFile, Hdu, open_frame
from awportal.pictures.preview import PAGE_PIXELS, colour, measure, png, thumb_of, zscale
from awportal.pictures.shrink import SAMPLE_PIXELS, SmallFrame, picture_layer

Pixels = NDArray[Any]


@dataclass
class _Sums:
    """What is summed up over all pixels; those masked in either frame do not count in the statistics."""

    pixels: int = 0
    differing: int = 0
    compared: int = 0
    total: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    masks_differ: int = 0
    images: list[Pixels] = field(default_factory=list)
    masks: list[Pixels] = field(default_factory=list)
    samples: list[Pixels] = field(default_factory=list)

    def add(self, first: Pixels, second: Pixels, masks: tuple[Pixels, Pixels] | None, step: int, factor: int) -> None:
        """Take in a strip."""
        with np.errstate(invalid="ignore"):
            difference = np.asarray(first, np.float32) - np.asarray(second, np.float32)
        neither = np.isnan(first) & np.isnan(second)
        self.pixels += difference.size
        self.differing += int(np.count_nonzero((first != second) & ~neither))
        valid = np.isfinite(difference)
        if masks is not None:
            self.masks_differ += int(np.count_nonzero(masks[0] != masks[1]))
            with np.errstate(invalid="ignore"):
                either = (masks[0].astype(np.int64) | masks[1].astype(np.int64)).astype(np.uint16)
            valid &= either == 0
            self._shrink(self.masks, either, factor, np.bitwise_or.reduce)
        values = difference[valid].astype(np.float64)
        if values.size:
            self.compared += values.size
            self.total += float(values.sum())
            self.squares += float((values**2).sum())
            self.minimum, self.maximum = min(self.minimum, float(values.min())), max(self.maximum, float(values.max()))
        self.samples.append(difference[::step, ::step][valid[::step, ::step]])
        self._shrink(self.images, difference, factor, np.mean)

    @staticmethod
    def _shrink(into: list[Pixels], strip: Pixels, factor: int, by: Any) -> None:
        rows, columns = strip.shape[0] // factor, strip.shape[1] // factor
        if rows:
            blocks = strip[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
            into.append(by(by(blocks, axis=3), axis=1))


def draw_difference(
    first: Path, second: Path, extensions: tuple[int | None, int | None]
) -> tuple[bytes, bytes, dict[str, Any]]:
    """Return picture, small picture and numbers of the first frame less the second.

    Raises
    ------
    FrameError
        One of them holds no image, or they are not of the same size.
    """
    with ExitStack() as opened:
        frames = [
            opened.enter_context(open_frame(path, extension or 0))
            for path, extension in zip((first, second), extensions, strict=True)
        ]
        layers = [_layer(frame, extension) for frame, extension in zip(frames, extensions, strict=True)]
        shapes = [layer.shape or (0, 0) for layer in layers]
        if shapes[0] != shapes[1]:
            told = " and ".join(f"{columns} × {rows}" for rows, columns in shapes)
            raise FrameError(f"they are not of the same size ({told} pixels)")
        factor = max(1, -(-max(shapes[0]) // PAGE_PIXELS))
        rows = max(factor, STRIP_BYTES // (4 * shapes[0][1]) // factor * factor)
        step = max(1, int((shapes[0][0] * shapes[0][1] / SAMPLE_PIXELS) ** 0.5))
        masks = _mask_strips([opened.enter_context(open_frame(path)) for path in (first, second)], shapes[0], rows)
        sums = _Sums()
        strips = (frame.strips(layer, rows) for frame, layer in zip(frames, layers, strict=True))
        for one, other in zip(*strips, strict=True):
            sums.add(one, other, next(masks, None), step, factor)
    return _drawn(sums, shapes[0], factor, str(layers[0].values.get("BUNIT", ""))[:20])


def _layer(frame: FrameFile, extension: int | None) -> Hdu:
    layer = picture_layer(frame, extension)
    if layer is None or layer.shape is None:
        raise FrameError("one of the files holds no image")
    return layer


def _mask_strips(frames: list[FrameFile], shape: tuple[int, int], rows: int) -> Iterator[tuple[Pixels, Pixels]]:
    masks = [frame.find("MASK") for frame in frames]
    if any(mask is None or mask.shape != shape for mask in masks):
        return
    yield from zip(*(frame.strips(mask, rows) for frame, mask in zip(frames, masks, strict=True) if mask), strict=True)


def _drawn(sums: _Sums, shape: tuple[int, int], factor: int, unit: str) -> tuple[bytes, bytes, dict[str, Any]]:
    if not sums.images:
        raise FrameError("the images are empty")
    sample = np.concatenate(sums.samples)
    mask = np.concatenate(sums.masks) if sums.masks else None
    small = SmallFrame(np.concatenate(sums.images), mask, factor, shape, sample)
    facts = measure(small)
    reach = max(map(abs, zscale(sample)))
    reach = reach if reach > 0 and math.isfinite(reach) else 0.5
    facts.low, facts.high, facts.unit = -reach, reach, unit
    numbers = facts.as_json()
    numbers |= {"differing": sums.differing, "pixels": sums.pixels, "compared": sums.compared}
    numbers["masks_differ"] = sums.masks_differ if sums.masks else None
    if sums.compared:
        mean = sums.total / sums.compared
        numbers |= {"mean": mean, "minimum": sums.minimum, "maximum": sums.maximum}
        numbers["rms"] = math.sqrt(sums.squares / sums.compared)
        numbers["stdev"] = math.sqrt(max(0.0, sums.squares / sums.compared - mean**2))
        numbers["scatter"] = 1.4826 * float(np.median(np.abs(sample - np.median(sample)))) if sample.size else None
    picture = Image.fromarray(np.ascontiguousarray(colour(small, facts)[::-1]))
    told = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }
    return png(picture), png(thumb_of(picture, only_mask=False)), told
