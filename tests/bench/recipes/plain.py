"""The plain numpy/astropy way to do what each recipe does: what a careful astronomer writes in an afternoon.

No QC, no variance where it is not asked for, whole stacks in memory; files in and out by astropy, checksums written.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import astroscrappy
import numpy as np
import sep
from astropy.io import fits
from astropy.stats import sigma_clip, sigma_clipped_stats
from astropy.table import Table
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

Array = NDArray[np.float32]
SUB_WINDOW = 64


def read_raw(path: Path) -> Array:
    """Read a raw frame of the simulated camera, subtract each row's overscan, trim."""
    with fits.open(path) as hdus:
        data, header = hdus[0].data.astype(np.float32), hdus[0].header
    over, trim = (section(header[name]) for name in ("BIASSEC", "TRIMSEC"))
    return data[trim] - np.median(data[over], axis=1)[:, None]


def section(text: str) -> tuple[slice, slice]:
    """Return the slices of an IRAF section."""
    x, y = (tuple(int(number) for number in part.split(":")) for part in text.strip("[]").split(","))
    return slice(y[0] - 1, y[1]), slice(x[0] - 1, x[1])


def clipped_mean(stack: Array, sigma: float) -> Array:
    """Return the mean along the first axis without outliers."""
    return np.asarray(sigma_clip(stack, sigma=sigma, axis=0, masked=True).mean(axis=0), dtype=np.float32)


def write(path: Path, data: NDArray[np.generic]) -> None:
    """Write an image with its checksum."""
    fits.PrimaryHDU(data).writeto(path, overwrite=True, checksum=True)


def read_noise(raw: Sequence[Path], out: Path) -> None:
    frames = [read_raw(path) for path in raw]
    noises = [sigma_clipped_stats(one - two, sigma=5)[2] / 2**0.5 for one, two in pairwise(frames)]
    write(out, np.array([np.mean(noises)]))


def bias(raw: Sequence[Path], out: Path) -> None:
    write(out, clipped_mean(np.stack([read_raw(path) for path in raw]), 3))


def dark(raw: Sequence[Path], bias_frame: Path, seconds: float, out: Path) -> None:
    master = fits.getdata(bias_frame, "SCI")
    write(out, clipped_mean(np.stack([read_raw(path) - master for path in raw]), 5) / seconds)


def hot_pixels(bias_frame: Path, dark_frame: Path, out: Path) -> None:
    hot = np.zeros(fits.getdata(bias_frame, "SCI").shape, bool)
    for path in (bias_frame, dark_frame):
        data = fits.getdata(path, "SCI")
        background = sep.Background(np.ascontiguousarray(data, np.float32), bw=32, bh=32).back()
        hot |= np.ma.getmaskarray(sigma_clip(data - background, sigma=5, maxiters=5))
    write(out, hot.astype(np.uint8))


def gain(raw: Sequence[Path], bias_frame: Path, out: Path) -> None:
    master = fits.getdata(bias_frame, "SCI")
    levels, variances = [], []
    for one, two in zip(raw[::2], raw[1::2], strict=True):
        first, second = read_raw(one) - master, read_raw(two) - master
        second = second * (np.median(first) / np.median(second))
        for y in range(0, first.shape[0], SUB_WINDOW):
            for x in range(0, first.shape[1], SUB_WINDOW):
                window = slice(y, y + SUB_WINDOW), slice(x, x + SUB_WINDOW)
                levels.append(np.median(first[window]) + np.median(second[window]))
                variances.append(sigma_clipped_stats(first[window] - second[window], sigma=5)[2] ** 2)
    slope = np.polyfit(levels, variances, 1, w=1 / np.array(levels))[0]
    write(out, np.array([1 / slope]))


def flat(raw: Sequence[Path], bias_frame: Path, out: Path) -> None:
    master = fits.getdata(bias_frame, "SCI")
    frames = [read_raw(path) - master for path in raw]
    stack = np.stack([frame / np.median(frame) for frame in frames])
    write(out, clipped_mean(stack, 5))


def cold_pixels(flat_frame: Path, out: Path) -> None:
    data = fits.getdata(flat_frame, "SCI")
    ratio = data / median_filter(data, 9)
    write(out, ((ratio < 0.94) | (ratio > 1.06)).astype(np.uint8))


def master_flat(dome: Path, twilight: Path, cold: Path, out: Path) -> None:
    bad = fits.getdata(cold, "MASK") != 0
    smooth = []
    for path in (dome, twilight):
        data = fits.getdata(path, "SCI")
        data = np.where(bad, median_filter(data, 9), data)
        smooth.append((data, gaussian_filter(data, 9.0, mode="mirror")))
    (dome_data, dome_low), (_, twilight_low) = smooth
    result = dome_data / dome_low * twilight_low
    write(out, (result / result.mean()).astype(np.float32))


def reduce(
    raw: Path, bias_frame: Path, flat_frame: Path, bad: Sequence[Path], gain: float, noise: float, out: Path
) -> None:
    data = (read_raw(raw) - fits.getdata(bias_frame, "SCI")) * gain
    flat_data = fits.getdata(flat_frame, "SCI")
    data = data / flat_data
    mask = np.zeros(data.shape, bool)
    for path in bad:
        mask |= fits.getdata(path, "MASK") != 0
    variance = np.clip(data, 0, None) / flat_data + (noise * gain / flat_data) ** 2
    cosmic, _ = astroscrappy.detect_cosmics(
        np.ascontiguousarray(data, np.float32), inmask=mask, sigclip=4.5, objlim=5, gain=1.0, readnoise=noise * gain,
        sepmed=False,
    )  # fmt: skip
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data), fits.ImageHDU(variance.astype(np.float32)),
            fits.ImageHDU((mask | cosmic).astype(np.uint8))]  # fmt: skip
    fits.HDUList(hdus).writeto(out, overwrite=True, checksum=True)


def source_list(frame: Path, out: Path) -> None:
    with fits.open(frame) as hdus:
        data = np.ascontiguousarray(hdus["SCI"].data, np.float32)
        mask = hdus["MASK"].data != 0
    background = sep.Background(data, mask=mask, bw=64, bh=64)
    clean = data - background.back()
    found = sep.extract(clean, 1.5, err=background.rms(), mask=mask, minarea=5, filter_type="conv")
    inside = found["a"] > 0
    found = found[inside]
    shape = found["x"], found["y"], found["a"], found["b"], np.clip(found["theta"], -np.pi / 2, np.pi / 2)
    radius, _ = sep.kron_radius(clean, *shape, 6.0, mask=mask)
    flux, error, flag = sep.sum_ellipse(
        clean, *shape, 2.5 * np.maximum(radius, 1.4), err=background.globalrms, subpix=5
    )
    x, y, _ = sep.winpos(clean, found["x"], found["y"], 0.5 * np.sqrt(found["npix"] / np.pi), mask=mask)
    table = Table({"X": x, "Y": y, "FLUX": flux, "ERROR": error, "FLAG": flag})
    table.write(out, format="fits", overwrite=True)
