"""What may be wrong with a file or with what is said of it: each damage takes a copy and spoils it, by a seed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

Random = np.random.Generator
Pixels = NDArray[Any]


def _pixels(path: Path, change: Callable[[Pixels], Pixels], header: dict[str, Any] | None = None) -> None:
    """Write a file anew with its science pixels changed; a product keeps its other extensions."""
    with fits.open(path, memmap=False) as hdus:
        place = "SCI" if "SCI" in hdus else 0
        data = hdus[place].data
        if data is None or data.dtype.names:  # tables and values: their rows, or nothing
            place = next((index for index, hdu in enumerate(hdus) if getattr(hdu.data, "ndim", 0)), 0)
            data = hdus[place].data
        if data is None or data.dtype.names:
            return _table(path, hdus, place)
        hdu = hdus[place]
        for key in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
            hdu.header.remove(key, ignore_missing=True)
        hdu.data = np.ascontiguousarray(change(np.asarray(data)))
        for key, value in (header or {}).items():
            hdu.header[key] = value
        hdus.writeto(path.with_suffix(".new"), overwrite=True, output_verify="silentfix")
    path.with_suffix(".new").replace(path)
    return None


def _table(path: Path, hdus: fits.HDUList, place: int | str) -> None:
    """Make every number of the first float column no number."""
    data = hdus[place].data
    if data is not None and data.dtype.names:
        for name in data.dtype.names:
            if data[name].dtype.kind == "f":
                data[name][:] = np.nan
                break
        hdus.writeto(path.with_suffix(".new"), overwrite=True)
        path.with_suffix(".new").replace(path)


def _sprinkle(value: float) -> Callable[[Path, Random], None]:
    def damage(path: Path, random: Random) -> None:
        part = random.choice([0.001, 0.05, 0.6])
        _pixels(path, lambda data: np.where(random.random(data.shape) < part, np.float32(value), data))

    return damage


def _all(value: float) -> Callable[[Path, Random], None]:
    return lambda path, random: _pixels(path, lambda data: np.full(data.shape, value, np.float32))


def block_of_nothing(path: Path, random: Random) -> None:
    """Set a rectangle to no number."""

    def change(data: Pixels) -> Pixels:
        spoiled = data.astype(np.float32)
        y, x = (int(random.integers(0, max(length, 1))) for length in data.shape[-2:])
        spoiled[..., y:, x:] = np.nan
        return spoiled

    _pixels(path, change)


def impossible_noise(path: Path, random: Random) -> None:
    """Replace the picture by noise that no camera has: of a size far below or far above a read-out's."""
    _noise(path, 10 ** (random.uniform(-6, -3) if random.random() < 0.3 else random.uniform(5, 30)), random)


def unexposed(path: Path, random: Random) -> None:
    """Replace the picture by noise around zero, as a camera has that saw no light; that is no ruin."""
    _noise(path, 10 ** random.uniform(-2, 3), random)


def _noise(path: Path, size: float, random: Random) -> None:
    _pixels(path, lambda data: (size * random.standard_normal(data.shape)).astype(np.float32))


def other_shape(path: Path, random: Random) -> None:
    """Cut, turn, or add a dimension."""
    changes: list[Callable[[Pixels], Pixels]] = [
        lambda data: data[:-3],
        lambda data: data[:, 5:],
        lambda data: data.T,
        lambda data: data[:1, :1],
        lambda data: data[:1],
        lambda data: data[:, :1],
        lambda data: data[:7, :5],
        lambda data: np.stack([data, data, data]),
        lambda data: data[np.newaxis],
        lambda data: data.ravel(),
        lambda data: data[:0],
    ]
    _pixels(path, changes[int(random.integers(len(changes)))])


def other_type(path: Path, random: Random) -> None:
    """Store the pixels in another type, whatever becomes of them."""
    dtype = random.choice(["u1", "i2", "i4", "i8", "f4", "f8"])
    with np.errstate(all="ignore"):
        _pixels(path, lambda data: data.astype(dtype))


def scaling_cards(path: Path, random: Random) -> None:
    """Say of the pixels what is not so: BZERO, BSCALE, BLANK."""
    key = str(random.choice(["BZERO", "BSCALE", "BLANK"]))
    value = random.choice([0, -1, 1e30, 32768, float(random.normal())])
    _cards(path, lambda cards, place: cards.__setitem__(place, f"{key:8}= {value:>20}".ljust(80).encode()), random)


def _cards(path: Path, change: Callable[[list[bytes], int], None], random: Random) -> None:
    """Change one card of the first header, byte by byte."""
    content = path.read_bytes()
    blocks = content[:2880]
    cards = [blocks[start : start + 80] for start in range(0, len(blocks), 80)]
    if not cards:
        return
    change(cards, int(random.integers(len(cards))))
    path.write_bytes(b"".join(cards)[:2880].ljust(2880) + content[2880:])


def odd_card(path: Path, random: Random) -> None:
    """Write something into a card that no standard allows, or claims what cannot be."""
    odd = [
        b"NAXIS1  =              1000000", b"NAXIS2  =                   -1", b"NAXIS   =                    9",
        b"BITPIX  =                   17", b"SIMPLE  =                    F", b"END", b"CRVAL1  = 'NaN'",
        b"CD1_1   =                  0.0", b"CTYPE1  = 'XXXX-YYY'", b"CRPIX1  =              1E300",
        b"ATTRS   = '{\"gain\": null, \"read_noise\": -1, \"overscan_correction\": \"x\"}'",
        b"ATTRS   = '[1, 2]'", b"PCOUNT  =            999999999", b"\xff\xfe\x00garbage", b"EXTEND  = T / \xe9",
        b"ZIMAGE  =                    T",
    ]  # fmt: skip
    chosen = odd[int(random.integers(len(odd)))]
    _cards(path, lambda cards, place: cards.__setitem__(place, chosen.ljust(80)[:80]), random)


def flipped_bytes(path: Path, random: Random) -> None:
    """Flip some bytes anywhere in the file, or in its first header."""
    content = bytearray(path.read_bytes())
    end = min(2880, len(content)) if random.random() < 0.5 else len(content)
    for _ in range(int(random.integers(1, 40))):
        if end:
            content[int(random.integers(end))] ^= int(random.integers(1, 256))
    path.write_bytes(content)


def truncated(path: Path, random: Random) -> None:
    """Let the file end too early."""
    content = path.read_bytes()
    path.write_bytes(content[: int(random.integers(0, len(content)))])


def empty_file(path: Path, random: Random) -> None:
    """Leave nothing."""
    path.write_bytes(b"")


def no_fits(path: Path, random: Random) -> None:
    """Put something else in its place."""
    path.write_bytes([b"<html>404</html>", bytes(5760), b"SIMPLE  =                    T", random.bytes(9000)][
        int(random.integers(4))])  # fmt: skip


def packed(path: Path, random: Random) -> None:
    """Compress it, and half of the times damage that."""
    content = gzip.compress(path.read_bytes(), 1)
    if random.random() < 0.5:
        spoiled = bytearray(content)
        spoiled[int(random.integers(10, len(spoiled)))] ^= 0x55
        content = bytes(spoiled[: int(random.integers(20, len(spoiled) + 1))])
    path.write_bytes(content)


def tiled(path: Path, random: Random) -> None:
    """Compress the pixels by tiles (Rice), and half of the times damage that."""
    with fits.open(path, memmap=False) as hdus:
        data = hdus[0].data
    if data is None or data.ndim != 2 or data.dtype.kind not in "iu":
        return
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data.astype(np.int32))]).writeto(path, overwrite=True)
    if random.random() < 0.5:
        flipped_bytes(path, random)


def lost_extension(path: Path, random: Random) -> None:
    """Take an extension away, or give two one name."""
    with fits.open(path, memmap=False) as hdus:
        if len(hdus) < 2:
            return
        place = int(random.integers(1, len(hdus)))
        if random.random() < 0.5:
            del hdus[place]
        else:
            hdus[place].name = str(random.choice(["SCI", "VAR", "MASK", "X"]))
        hdus.writeto(path.with_suffix(".new"), overwrite=True)
    path.with_suffix(".new").replace(path)


def spoiled_plane(path: Path, random: Random) -> None:
    """Spoil the variance or the mask of a product, or columns of a table."""
    with fits.open(path, memmap=False) as hdus:
        places = [index for index, hdu in enumerate(hdus) if index and hdu.data is not None and hdu.name != "SCI"]
        if not places:
            return
        hdu = hdus[places[int(random.integers(len(places)))]]
        if hdu.data.dtype.names:
            name = str(random.choice(hdu.data.dtype.names))
            column = hdu.data[name]
            value = random.choice([np.nan, np.inf, -1.0, 0.0, 1e30]) if column.dtype.kind == "f" else -1
            if column.dtype.kind in "fi":
                column[random.random(len(column)) < random.choice([0.1, 1.0])] = value
        else:
            values = [0, 1, 255] if hdu.data.dtype.kind in "iu" else [np.nan, np.inf, -1.0, 0.0]
            hdu.data[:] = random.choice(values)
        hdus.writeto(path.with_suffix(".new"), overwrite=True)
    path.with_suffix(".new").replace(path)


def fewer_rows(path: Path, random: Random) -> None:
    """Leave a table with no row, with one, or without a column."""
    with fits.open(path, memmap=False) as hdus:
        for place, hdu in enumerate(hdus):
            if hdu.data is None or not hdu.data.dtype.names:
                continue
            table = fits.BinTableHDU(hdu.data[: int(random.choice([0, 1, 3]))], hdu.header)
            if random.random() < 0.4:
                table = fits.BinTableHDU.from_columns(hdu.columns[int(random.integers(len(hdu.columns))) :], hdu.header)
            hdus[place] = table
            hdus.writeto(path.with_suffix(".new"), overwrite=True)
            break
        else:
            return
    path.with_suffix(".new").replace(path)


# What spoils the picture of a primary input so that no right answer can come of it.
RUINOUS = {
    "no number": _all(np.nan), "zero": _all(0.0), "saturated": _all(65535.0), "infinite": _all(np.inf),
    "noise": impossible_noise,
}  # fmt: skip
NO_NUMBERS = {"no number", "infinite"}
OF_FILES = RUINOUS | {
    "some no number": _sprinkle(np.nan), "some infinite": _sprinkle(np.inf), "some huge": _sprinkle(1e30),
    "some saturated": _sprinkle(65535.0), "some negative": _sprinkle(-1e6), "a block of nothing": block_of_nothing,
    "unexposed": unexposed, "one value": _all(123.0), "below zero": _all(-5000.0), "other shape": other_shape,
    "other type": other_type,
    "scaling": scaling_cards, "odd card": odd_card, "flipped bytes": flipped_bytes, "truncated": truncated,
    "empty file": empty_file, "no FITS": no_fits, "gz": packed, "fz": tiled, "lost extension": lost_extension,
    "spoiled plane": spoiled_plane, "fewer rows": fewer_rows,
}  # fmt: skip

# What the archive may be told wrongly.
OF_ATTRIBUTES: dict[str, list[Any]] = {
    "chip": ["2", "", "é" * 50], "instrument": ["Other", ""], "filter": [None, "z", ""], "readout_mode": ["fast"],
    "date_obs": ["", "yesterday", "2026-03-15T00:00:00", None], "night": [None, "x", "2026-03-15"],
    "exposure_time": [0.0, -3.0, 1e30, None, "60", "long"], "temperature": [None, 500.0, "cold"],
    "airmass": [None, 0.0, -1.0, 99.0], "ra": [None, 1e9, -400.0, "12:30:00"], "dec": [None, 91.0, -1e9],
    "pixel_scale": [None, 0.0, -1.0, 1e9], "saturation": [None, 0.0, -1.0, 900.0],
    "data_section": [None, "[1:10,1:10]", "[1:9999,1:9999]", "[5:1,5:1]", "all", "[1:1,1:1]"],
    "overscan_x": [None, "[1:5,1:160]", "[10:20,1:160]", "[145:160,1:3]", "[145:145,1:160]", "[200:300,1:160]"],
    "prescan_x": ["[1:5,1:160]"], "overscan_y": ["[1:144,155:160]"], "nominal_gain": [0.0, -1.0, 1e30, "1.5"],
    "nominal_read_noise": [0.0, -4.0, 1e12], "gain": [0.0, -1.0, 1e-30], "read_noise": [0.0, -1.0, 1e9],
    "full_well": [0.0, -1.0], "overscan_correction": [3, "six", -1], "object": ["\x00\x1b[2J", "x" * 5000],
    "zeropoint": [0.0, -1e9, "x"], "wcs": [{}, {"CTYPE1": "RA---TAN"}, "none"], "sky_level": [0.0, -1.0],
    "psf_fwhm": [0.0, -3.0, 1e6], "epoch": [0.0, 1e9, None], "bands": [[], ["z"]], "use": [[], ["nothing"]],
    "grid": ["", "other"], "system": ["", "Vega"], "dark_time": [-5.0, 1e9],
    "amplifiers": [[{"name": "a", "data_section": "[1:72,1:160]"}, {"name": "b", "data_section": "[73:144,1:160]"}],
                   [{"name": "a", "data_section": "[1:72,1:160]"}, {"name": "b", "data_section": "[50:144,1:160]"}],
                   [{"name": "a", "data_section": "[1:2,1:2]"}]],
}  # fmt: skip
