"""What a stack writes, mean and variance of its pixels, and what that takes besides the values themselves."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from recipes.ccd.kernels.compiled import compiled
from recipes.ccd.kernels.lanes import add_scaled

_ZERO = np.float32(0)


class Calibrations(NamedTuple):
    """Planes of rows x columns of the trimmed image, each empty where it is not used; `unknown` is of bool."""

    bias: Any
    dark: Any
    unknown: Any
    bias_variance: Any
    dark_variance: Any


class Rules(NamedTuple):
    """Read noise [adu], what its square is multiplied by in the variance, adu a photon, and how to clip."""

    noise: float
    noise_factor: float
    photons: float
    threshold: float
    iterations: int
    saturation: float
    saturated_unfit: bool
    empty_value: float


class Stacked(NamedTuple):
    """What is filled, rows x columns: mean, variance, numbers of values accepted and of saturated ones."""

    mean: Any
    variance: Any
    count: Any
    saturated: Any


@compiled
def write_all(
    calibrations: Calibrations, rules: Rules, norms: Any, seconds_of: Any, row: int, at: int, width: int,
    median: Any, total: Any, out: Stacked,
) -> None:  # fmt: skip
    """Write mean and variance of a lane's pixels as if nothing was rejected."""
    weight, seconds = np.float32(0), np.float32(0)
    frames = norms.shape[0]
    for frame in range(frames):
        weight += norms[frame]
        seconds += seconds_of[frame]
    mean, variance = out.mean[row, at : at + width], out.variance[row, at : at + width]
    count = out.count[row, at : at + width]
    constant = np.float32(frames * rules.noise * rules.noise * rules.noise_factor / (weight * weight))
    slope = np.float32(rules.photons / weight)
    for x in range(width):
        value = median[x] + total[x] / weight
        mean[x] = value
        variance[x] = constant + slope * (value if value > _ZERO else _ZERO)
        count[x] = frames
    if calibrations.bias_variance.shape[0]:
        factor = np.float32((frames / weight) ** 2)
        add_scaled(calibrations.bias_variance[row, at : at + width], factor, width, variance)
    if calibrations.dark_variance.shape[0]:
        factor = np.float32((seconds / weight) ** 2)
        add_scaled(calibrations.dark_variance[row, at : at + width], factor, width, variance)


@compiled
def write_pixel(
    calibrations: Calibrations, rules: Rules, row: int, to: int, mean: float, number: int, weight: float,
    seconds: float, out: Stacked,
) -> None:  # fmt: skip
    """Write one pixel in which something was missing or rejected."""
    out.count[row, to] = number
    if number == 0:
        out.mean[row, to] = rules.empty_value
        out.variance[row, to] = 0
        return
    of_noise = rules.noise * rules.noise * rules.noise_factor
    spread = (max(mean, 0.0) * weight * rules.photons + number * of_noise) / (weight * weight)
    if calibrations.bias_variance.shape[0]:
        spread += (number / weight) ** 2 * calibrations.bias_variance[row, to]
    if calibrations.dark_variance.shape[0]:
        spread += (seconds / weight) ** 2 * calibrations.dark_variance[row, to]
    out.mean[row, to] = mean
    out.variance[row, to] = spread
