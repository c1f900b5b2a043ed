"""What the viewer has to know of a frame before its first tile: planes, cuts, causes of masked pixels, its sky."""

from __future__ import annotations

import json
import math
import os
import secrets
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from awportal.pictures.frame_file import STRIP_BYTES, FrameError, FrameFile, Hdu, open_frame, physical
from awportal.pictures.preview import CAUSES, zscale
from awportal.pictures.tiles import TILE, Plane, levels_of, plane, planes_of

# Changes whenever the same frame would be described otherwise, or cut into other tiles.
VERSION = 1
SAMPLE_PIXELS = 400_000
# Parts of the pixels that are darker, of which the page offers cuts: 0, 0.1 % ... 100 %.
QUANTILES = 1001
_SKY_NODES = 33
_BITS = 16


def described(path: Path, sha256: str, extension: int | None, root: Path) -> dict[str, Any]:
    """Return the description of a frame, which is made once and kept below `root`; raise FrameError as it was told."""
    part = "" if extension is None else f"-{extension}"
    kept = root / sha256[:2] / f"{sha256}{part}.view.{VERSION}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    with open_frame(path, extension or 0) as frame:
        found = describe(frame, sha256, extension, unpacked_below(root))
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = kept.with_name(f".{secrets.token_hex(8)}")
    draft.write_text(json.dumps(found, allow_nan=False))
    os.replace(draft, kept)
    return found


def unpacked_below(root: Path) -> Path:
    """Return where packed images are kept unpacked."""
    return root / "unpacked"


def describe(frame: FrameFile, sha256: str, extension: int | None, unpacked: Path) -> dict[str, Any]:
    """Describe a frame; see the keys."""
    places = planes_of(frame, extension)
    if not places:
        raise FrameError("the file holds no image")
    first = frame.hdus[places[0]]
    height, width = first.shape or (0, 0)
    planes = [
        _described_plane(plane(frame.path, place, unpacked, sha256), frame.hdus[place], place) for place in places
    ]
    return {
        "width": width,
        "height": height,
        "tile": TILE,
        "levels": levels_of((height, width)),
        "planes": planes,
        "causes": [{"bit": bit, "cause": cause, "tint": list(tint)} for bit, (cause, tint) in CAUSES.items()],
        "sky": sky_of(first.cards, width, height),
    }


def _described_plane(image: Plane, hdu: Hdu, place: int) -> dict[str, Any]:
    name = hdu.name if hdu.name not in {"", "PRIMARY"} else "image"
    about: dict[str, Any] = {"place": place, "name": name, "mask": image.is_mask, "unit": hdu.values.get("BUNIT", "")}
    return about | (_counts(image) if image.is_mask else _range(image))


def _range(image: Plane) -> dict[str, Any]:
    """Return least and largest value of all pixels; z-scale limits and quantiles of a sample of them."""
    height, width = image.shape
    step = max(1, int((height * width / SAMPLE_PIXELS) ** 0.5))
    sampled = np.asarray(physical(image.pixels[::step, ::step], image.scale, image.zero), np.float32).ravel()
    sample = sampled[np.isfinite(sampled)]
    if sample.size == 0:
        return {"low": 0.0, "high": 1.0, "least": 0.0, "largest": 1.0, "quantiles": [0.0, 1.0]}
    least, largest = math.inf, -math.inf
    for strip in _strips(image):
        values = np.asarray(strip, np.float32)
        low, high = values.min(), values.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            values = values[np.isfinite(values)]
            low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        least, largest = min(least, float(low)), max(largest, float(high))
    black, white = zscale(sample)
    sample.sort()
    quantiles = [_short(value) for value in sample[np.linspace(0, sample.size - 1, QUANTILES).astype(int)]]
    quantiles[0], quantiles[-1] = least, largest
    return {"low": black, "high": white, "least": least, "largest": largest, "quantiles": quantiles}


def _counts(image: Plane) -> dict[str, Any]:
    """Return how many pixels carry each bit."""
    counts = np.zeros(_BITS, np.int64)
    for strip in _strips(image):
        bits = strip[strip != 0].astype(np.int64)
        counts += [int(np.count_nonzero(bits & (1 << bit))) for bit in range(_BITS)]
    return {"counts": {str(1 << bit): int(count) for bit, count in enumerate(counts) if count}}


def _strips(image: Plane) -> Any:
    rows = max(1, STRIP_BYTES // (4 * image.shape[1]))
    for begin in range(0, image.shape[0], rows):
        yield physical(image.pixels[begin : begin + rows], image.scale, image.zero)


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def sky_of(cards: Any, width: int, height: int) -> dict[str, Any] | None:
    """Return directions on the sky at the nodes of a grid of pixels, or None where the header has no coordinates.

    Any projection and distortion that astropy knows is told by these: between the nodes, a hundred pixels apart, unit
    vectors are interpolated. Pixels count from 0 at the centre of the first one. A header is believed no further than
    that its numbers are finite.
    """
    from astropy.io import fits
    from astropy.wcs import WCS

    values = {card.keyword for card in cards}
    if not {"CTYPE1", "CTYPE2"} <= values:
        return None
    x, y = np.linspace(-0.5, width - 0.5, _SKY_NODES), np.linspace(-0.5, height - 0.5, _SKY_NODES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = fits.Header.fromstring("".join(_line(card) for card in cards if _tells_sky(card.keyword)))
            wcs = WCS(header, naxis=2)
            if not wcs.has_celestial:
                return None
            places = wcs.pixel_to_world(*np.meshgrid(x, y)).icrs
            vectors = np.moveaxis(places.cartesian.xyz.value, 0, -1)
    except Exception:  # noqa: BLE001 - astropy raises anything on an odd header; a frame without sky is shown all the same
        return None
    return _as_sky(vectors, x, y) if np.isfinite(vectors).all() else None


def _as_sky(vectors: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> dict[str, Any]:
    rounded = [round(float(value), 11) for value in vectors.ravel()]  # 2 µas
    return {"nodes": _SKY_NODES, "left": x[0], "bottom": y[0], "dx": x[1] - x[0], "dy": y[1] - y[0], "vectors": rounded}


_SKY_CARDS = ("CTYPE", "CRVAL", "CRPIX", "CD", "PC", "CDELT", "CROTA", "CUNIT", "PV", "A_", "B_", "AP_", "BP_")
_SKY_WORDS = {"RADESYS", "RADECSYS", "EQUINOX", "LONPOLE", "LATPOLE", "WCSAXES"}


def _tells_sky(keyword: str) -> bool:
    return keyword in _SKY_WORDS or keyword.startswith(_SKY_CARDS)


def _line(card: Any) -> str:
    """Return the card as a header has it: numbers as numbers, all else quoted."""
    try:
        float(card.value.replace("D", "E"))
        value = f"{card.value:>20}"
    except ValueError:
        value = "'" + card.value.replace("'", "''") + "'"
    return f"{card.keyword:<8}= {value}"[:80].ljust(80)
