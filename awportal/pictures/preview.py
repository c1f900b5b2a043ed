"""The picture of a frame: z-scaled greys, masked pixels tinted by cause, north and a scale bar where they are known."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from awportal.pictures.frame_file import FrameFile, Hdu
from awportal.pictures.shrink import NO_DATA, SmallFrame, picture_layer, shrink

PAGE_PIXELS = 1024
THUMB_PIXELS = 160
HISTOGRAM_BINS = 96

# bit: (cause, tint). The bits are those of the recipes' mask table; tints of Okabe and Ito, which the colour-blind tell
# apart (2008, "Color Universal Design").
CAUSES: dict[int, tuple[str, tuple[int, int, int]]] = {
    1: ("hot", (213, 94, 0)),
    2: ("cold", (0, 114, 178)),
    4: ("saturated", (204, 121, 167)),
    8: ("cosmic ray", (240, 228, 66)),
    16: ("satellite trail", (0, 158, 115)),
    32: ("no data", (70, 70, 90)),
    64: ("interpolated", (86, 180, 233)),
    128: ("fringe not trusted", (140, 90, 200)),
    256: ("marked by a person", (230, 159, 0)),
}
# Where a block has several causes, the one that matters most is shown.
_ORDER = (32, 4, 16, 8, 1, 2, 256, 128, 64)


@dataclass
class Preview:
    """What was made of a frame, and what was measured on the way."""

    page: bytes
    thumb: bytes
    facts: Facts


@dataclass
class Facts:
    """Numbers beside the picture; kept as JSON."""

    rows: int
    columns: int
    factor: int
    low: float = 0.0
    high: float = 1.0
    median: float | None = None
    mean: float | None = None
    stdev: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    masked: dict[str, int] = field(default_factory=dict)
    histogram: list[int] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)
    pixel_scale: float | None = None
    unit: str = ""
    by_column: list[float | None] = field(default_factory=list)  # medians, of the shrunk frame
    by_row: list[float | None] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return a plain dictionary."""
        return asdict(self)


def make_preview(frame: FrameFile, pixel_scale: float | None = None, extension: int | None = None) -> Preview:
    """Read the frame once and return its picture in both sizes with its numbers."""
    small = shrink(frame, PAGE_PIXELS, extension)
    facts = measure(small)
    hdu = picture_layer(frame, extension)
    matrix = _sky_matrix(hdu) if hdu else None
    facts.pixel_scale = _scale_of(matrix) or pixel_scale
    facts.unit = (hdu.values.get("BUNIT", "") if hdu else "")[:20]
    colours = colour(small, facts)
    picture = Image.fromarray(np.ascontiguousarray(colours[::-1]))
    thumb = thumb_of(picture, only_mask=small.sample.size == 0)
    if min(picture.size) >= 200:
        _annotate(picture, matrix, facts.pixel_scale, small.factor)
    return Preview(png(picture), png(thumb), facts)


def zscale(sample: NDArray[np.float32]) -> tuple[float, float]:
    """Return the limits of IRAF's z-scale algorithm for a sample of pixels."""
    if sample.size < 2:
        return 0.0, 1.0
    from astropy.visualization import ZScaleInterval

    step = max(1, sample.size // 12_000)
    low, high = ZScaleInterval(n_samples=12_000).get_limits(sample[::step])
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def measure(small: SmallFrame) -> Facts:
    """Return the numbers of a frame from its sample."""
    facts = Facts(*small.shape, factor=small.factor)
    facts.masked = {CAUSES[bit][0]: count for bit, count in small.counts.items() if bit in CAUSES}
    sample = small.sample
    if sample.size == 0:
        return facts
    facts.low, facts.high = zscale(sample)
    low, high = (float(edge) for edge in np.percentile(sample, [0.1, 99.8]))
    if not high > low:
        low, high = low - 0.5, low + 0.5
    counts, edges = np.histogram(sample, _edges(sample, low, high))
    facts.histogram, facts.edges = [int(count) for count in counts], [float(edge) for edge in edges]
    facts.median, facts.mean = float(np.median(sample)), float(np.mean(sample, dtype=np.float64))
    facts.stdev = float(np.std(sample, dtype=np.float64))
    facts.minimum, facts.maximum = float(sample.min()), float(sample.max())
    facts.by_column, facts.by_row = _profile(small.image, 0), _profile(small.image, 1)
    return facts


def _profile(image: NDArray[np.float32], axis: int) -> list[float | None]:
    """Return the medians along an axis; None where nothing is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a value
        medians = np.nanmedian(np.where(np.isfinite(image), image, np.nan), axis=axis)
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in medians]


def _edges(sample: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Return the histogram's edges; where values come in steps (counts, means of few counts) bins are whole steps."""
    width = (high - low) / HISTOGRAM_BINS
    values = np.unique(sample[(sample >= low) & (sample <= high)][:20_000])
    if 2 < values.size < 4000:
        step = float(np.median(np.diff(values)))
        width = max(1, round(width / step)) * step
        low -= step / 2
    bins = max(2, math.ceil((high - low) / width))
    return np.linspace(low, low + bins * width, bins + 1)


def colour(small: SmallFrame, facts: Facts) -> NDArray[np.uint8]:
    """Return the picture's colours: greys, with masked pixels tinted by cause."""
    if small.sample.size == 0:
        grey = np.full(small.image.shape, 24, np.uint8)
    else:
        scaled = (small.image - facts.low) * (255.0 / (facts.high - facts.low))
        grey = np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255).astype(np.uint8)
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    mask = small.mask
    if mask is None:
        holes = ~np.isfinite(small.image)
        if not holes.any():
            return colours
        mask = np.where(holes, np.uint16(NO_DATA), np.uint16(0))
    for bit in reversed(_ORDER):
        hit = (mask & bit) != 0
        if hit.any():
            tint = np.array(CAUSES[bit][1], np.float32)
            weight = 0.75 if small.sample.size else 1.0
            colours[hit] = (colours[hit] * (1 - weight) + tint * weight).astype(np.uint8)
    return colours


def thumb_of(picture: Image.Image, only_mask: bool) -> Image.Image:
    """Return the small picture; of a mask the brightest of each block, or single pixels would vanish in the mean."""
    if only_mask:
        factor = max(1, -(-max(picture.size) // THUMB_PIXELS))
        array = np.asarray(picture)
        rows, columns = array.shape[0] // factor, array.shape[1] // factor
        blocks = array[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3)
        return Image.fromarray(np.ascontiguousarray(blocks.max(axis=(1, 3))))
    thumb = picture.copy()
    thumb.thumbnail((THUMB_PIXELS, THUMB_PIXELS), Image.Resampling.BOX)
    return thumb


def _sky_matrix(hdu: Hdu) -> tuple[float, float, float, float] | None:
    """Return CD1_1, CD1_2, CD2_1, CD2_2 in degrees a pixel, from whichever way the header gives them."""
    names = ("1_1", "1_2", "2_1", "2_2")
    if not hdu.values.get("CTYPE1", "").startswith(("RA", "DEC")):
        return None
    cd = [hdu.number(f"CD{name}") for name in names]
    if any(value is not None for value in cd):
        a, b, c, d = (value or 0.0 for value in cd)
    else:
        dx, dy = hdu.number("CDELT1"), hdu.number("CDELT2")
        if not dx or not dy:
            return None
        pc = [hdu.number(f"PC{name}") for name in names]
        if any(value is not None for value in pc):
            p11, p12, p21, p22 = (value if value is not None else float(i in (0, 3)) for i, value in enumerate(pc))
        else:
            angle = math.radians(hdu.number("CROTA2") or 0.0)
            ratio = dy / dx
            p11, p12, p21, p22 = math.cos(angle), -math.sin(angle) * ratio, math.sin(angle) / ratio, math.cos(angle)
        a, b, c, d = dx * p11, dx * p12, dy * p21, dy * p22
    determinant = a * d - b * c
    return (a, b, c, d) if determinant and math.isfinite(determinant) else None


def _scale_of(matrix: tuple[float, float, float, float] | None) -> float | None:
    if matrix is None:
        return None
    a, b, c, d = matrix
    return math.sqrt(abs(a * d - b * c)) * 3600


def _annotate(picture: Image.Image, matrix: Any, pixel_scale: float | None, factor: int) -> None:
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(14, max(picture.size) // 48))
    if matrix is not None:
        _compass(draw, font, picture.size, matrix)
    if pixel_scale and pixel_scale > 0:
        _scale_bar(draw, font, picture.size, pixel_scale * factor)


def _compass(draw: ImageDraw.ImageDraw, font: Any, size: tuple[int, int], matrix: Any) -> None:
    a, b, c, d = matrix
    length = min(size) / 14
    x0, y0 = size[0] - 1.9 * length, 1.9 * length
    # The pixel steps towards +dec and +RA are the columns of the inverse matrix; the picture's y runs down.
    for label, (dx, dy) in {"N": (-b, a), "E": (d, -c)}.items():
        sign = math.copysign(1.0, a * d - b * c)
        norm = math.hypot(dx, dy)
        ux, uy = sign * dx / norm, -sign * dy / norm
        x1, y1 = x0 + ux * length, y0 + uy * length
        _line(draw, (x0, y0, x1, y1))
        _text(draw, font, (x1 + ux * 10, y1 + uy * 10), label, "mm")


def _scale_bar(draw: ImageDraw.ImageDraw, font: Any, size: tuple[int, int], arcsec_a_pixel: float) -> None:
    wanted = size[0] * 0.22 * arcsec_a_pixel
    steps = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000]
    arcsec = max((step for step in steps if step <= wanted), default=None)
    if arcsec is None:
        return
    length = arcsec / arcsec_a_pixel
    x, y = size[0] * 0.04, size[1] - size[0] * 0.04
    _line(draw, (x, y, x + length, y))
    # The font that comes with Pillow has no prime signs.
    label = f'{arcsec}"' if arcsec < 60 else f"{arcsec // 60}'" if arcsec < 3600 else f"{arcsec / 3600:g}°"
    _text(draw, font, (x + length / 2, y - 6), label, "mb")


def _text(draw: ImageDraw.ImageDraw, font: Any, place: tuple[float, float], text: str, anchor: str) -> None:
    draw.text(place, text, font=font, fill="white", anchor=anchor, stroke_width=2, stroke_fill="black")


def _line(draw: ImageDraw.ImageDraw, ends: tuple[float, float, float, float]) -> None:
    draw.line(ends, fill="black", width=5)
    draw.line(ends, fill="white", width=2)


def png(picture: Image.Image) -> bytes:
    """Return a picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
