"""Square pieces of an image as numbers, at full size or shrunk: what the viewer's page stretches by itself.

A piece is cut out of the file where it lies, so a look at a corner reads a corner. Packed files (``.gz``, ``.fz``) are
unpacked once, into a directory of bounded size.
"""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awportal.pictures.frame_file import PIXEL_TYPES, STRIP_BYTES, FrameError, FrameFile, Hdu, open_frame, physical

TILE = 512  # pixels a side
UNPACKED_BYTES = 8 << 30
_unpacking = threading.Lock()


@dataclass(frozen=True)
class Plane:
    """An image of a file, as it lies on the disk: shape in rows and columns, and how stored numbers become values."""

    pixels: NDArray[Any]
    scale: float | None
    zero: float | None
    is_mask: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]


def levels_of(shape: tuple[int, int]) -> int:
    """Return how many levels there are: each is half as large as the one before, the last one is a single tile."""
    level = 0
    while max(shape) > TILE << level:
        level += 1
    return level + 1


def planes_of(frame: FrameFile, extension: int | None = None) -> list[int]:
    """Return the places of the images that are looked at together: all of one shape, SCI first, MASK last."""
    if extension is not None and extension < len(frame.hdus) and frame.hdus[extension].shape:
        return [extension]
    images = [place for place, hdu in enumerate(frame.hdus) if hdu.shape]
    order = {"SCI": 0, "MASK": 2}
    images.sort(key=lambda place: (order.get(frame.hdus[place].name, 1), place))
    return [place for place in images if frame.hdus[place].shape == frame.hdus[images[0]].shape]


def plane(path: Path, place: int, root: Path, sha256: str) -> Plane:
    """Return the image of a file that is its unit number `place`; one that is packed is unpacked below `root` first.

    Raises
    ------
    FrameError
        There is no image at that place, or it cannot be read.
    """
    unpacked = root / f"{sha256}-{place}.npy"
    if not unpacked.exists():
        with open_frame(path, place) as frame:
            hdu = frame.hdus[place] if 0 <= place < len(frame.hdus) else None
            if hdu is None or hdu.shape is None:
                raise FrameError(f"the file has no image {place}")
            if not (hdu.compressed or frame.gzipped):
                dtype = np.dtype(PIXEL_TYPES[hdu.whole("BITPIX")])
                pixels = np.memmap(path, dtype, "r", hdu.offset, hdu.shape)
                return Plane(pixels, hdu.number("BSCALE"), hdu.number("BZERO"), hdu.name == "MASK")
            with _unpacking:  # one at a time: two looks at one file would unpack it twice
                if not unpacked.exists():
                    _unpack(frame, hdu, unpacked)
                    _make_room(unpacked)
    os.utime(unpacked)
    stored = np.load(unpacked, mmap_mode="r")
    return Plane(stored, None, None, stored.dtype.kind == "u")


def tile(image: Plane, level: int, column: int, row: int) -> NDArray[Any]:
    """Return a tile in the byte order of browsers: means of blocks as float32, or all bits of blocks of a mask.

    Raises
    ------
    FrameError
        The image has no such tile.
    """
    height, width = image.shape
    if not 0 <= level < levels_of(image.shape):
        raise FrameError(f"there is no level {level}")
    factor, side = 1 << level, TILE << level
    top, left = row * side, column * side
    if row < 0 or column < 0 or top >= height or left >= width:
        raise FrameError(f"there is no tile {column}, {row} at level {level}")
    bottom, right = min(top + side, height), min(left + side, width)
    rows = max(factor, STRIP_BYTES // (8 * (right - left)) // factor * factor)
    parts = [
        _shrunk(image, image.pixels[begin : min(begin + rows, bottom), left:right], factor)
        for begin in range(top, bottom, rows)
    ]
    return np.ascontiguousarray(np.concatenate(parts))


def _shrunk(image: Plane, stored: NDArray[Any], factor: int) -> NDArray[Any]:
    values = physical(stored, image.scale, image.zero)
    if image.is_mask:
        bits = values.astype(np.int64).astype("<u2") if values.dtype.kind == "f" else values.astype("<u2")
        return _by_blocks(np.bitwise_or, bits, factor)
    values = values.astype("<f4")
    if factor == 1:
        return values
    count = np.outer(_block_lengths(values.shape[0], factor), _block_lengths(values.shape[1], factor))
    mean = _by_blocks(np.add, values, factor) / count
    holes = ~np.isfinite(mean)
    if holes.any():  # where a block has some pixels without a value the others tell
        known = np.isfinite(values)
        number = _by_blocks(np.add, known.astype("<f4"), factor)
        total = _by_blocks(np.add, np.where(known, values, np.float32(0)), factor)
        mean = np.where(holes, np.where(number > 0, total / np.maximum(number, 1), np.float32(np.nan)), mean)
    return mean.astype("<f4")


def _by_blocks(together: np.ufunc, values: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return blocks of factor × factor pixels taken together; the last of a row or column may be smaller."""
    while factor > 1:  # by halves: that runs along memory, in the processor's vectors
        values = _by_twos(together, _by_twos(together, values).T).T
        factor //= 2
    return values


def _by_twos(together: np.ufunc, values: NDArray[Any]) -> NDArray[Any]:
    whole = len(values) // 2
    halves = values[::2].copy()
    halves[:whole] = together(values[0 : 2 * whole : 2], values[1 : 2 * whole : 2])
    return halves


def _block_lengths(pixels: int, factor: int) -> NDArray[Any]:
    begins = np.arange(0, pixels, factor)
    return (np.minimum(begins + factor, pixels) - begins).astype("<f4")


def _unpack(frame: FrameFile, hdu: Hdu, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    height, width = hdu.shape or (0, 0)
    draft = place.with_name(f".{secrets.token_hex(8)}.npy")
    stored = "<u2" if hdu.name == "MASK" else "<f4"
    try:
        pixels = np.lib.format.open_memmap(draft, "w+", stored, (height, width))
        with draft.open("r+b") as file:  # a disk that is full says so here; a page of the map could not be written
            os.posix_fallocate(file.fileno(), 0, draft.stat().st_size)
        begin = 0
        for strip in frame.strips(hdu, max(1, STRIP_BYTES // (4 * width))):
            pixels[begin : begin + len(strip)] = strip.astype(np.int64) if stored == "<u2" else strip
            begin += len(strip)
        pixels.flush()
        os.replace(draft, place)
    except OSError as error:
        raise FrameError(f"it could not be unpacked to be looked at: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def _make_room(kept: Path) -> None:
    """Remove the unpacked images that nobody has looked at for longest; one that is open stays whole for its reader."""
    files = sorted((file for file in kept.parent.glob("*.npy") if file != kept), key=lambda file: file.stat().st_mtime)
    left = UNPACKED_BYTES - kept.stat().st_size
    for file in reversed(files):
        left -= file.stat().st_size
        if left < 0:
            file.unlink(missing_ok=True)
