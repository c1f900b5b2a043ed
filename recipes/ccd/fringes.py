"""Parting the fringes of a stack of sky frames from its noise by their own scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.ccd.sky import robust_noise
from recipes.frame import FloatArray

_BINS_AN_OCTAVE = 3
# Wavelengths [pixel] at which nothing but the noise of bias, dark and flat is common to frames: fringes are wider.
_FLOOR = (2.0, 4.0)
_FINEST = 6.0  # pixels: the finest fringes that are looked for
# What two halves have in common at some scale is fringes from so many of its errors on.
LEAST_SIGNIFICANCE = 3.0
_FILLS = 4  # rounds of putting the smooth pattern where there is no value
_OUTLIER = 5.0  # of the noise about the smooth pattern


@dataclass(frozen=True)
class Scales:
    """Power of a stack by wavelength, from coarse to fine, in units of the values squared a mode.

    ``common`` is what two halves of the frames share beyond the floor of white noise that calibrations leave on both,
    ``error`` its standard deviation, ``total`` the power of the stack of all frames, ``modes`` their number.
    """

    wavenumbers: NDArray[np.float64]
    modes: NDArray[np.float64]
    common: NDArray[np.float64]
    error: NDArray[np.float64]
    total: NDArray[np.float64]

    @property
    def significant(self) -> NDArray[np.bool_]:
        """At which wavelengths there are fringes."""
        return self._wide & (self.common > LEAST_SIGNIFICANCE * self.error)

    @property
    def significance(self) -> float:
        """The most significant wavelength's."""
        ratio = self.common[self._wide] / np.maximum(self.error[self._wide], 1e-300)
        return float(ratio.max()) if ratio.size else 0.0

    @property
    def amplitude(self) -> tuple[float, float]:
        """Root mean square of the fringes, and its error."""
        used = self.significant if self.significant.any() else self._wide
        pixels = max(float(self.modes.sum()), 1.0)
        power = float((self.modes * self.common)[used].sum()) / pixels
        error = float(np.sqrt(np.sum((self.modes * self.error)[used] ** 2))) / pixels
        rms = float(np.sqrt(max(power, 0.0)))
        return rms, error / (2 * rms) if power > error else float(np.sqrt(error))

    @property
    def wavelength(self) -> float:
        """Wavelength of the strongest fringes [pixel], NaN where there are none."""
        if not self.significant.any():
            return float("nan")
        strength = np.where(self.significant, self.modes * self.common, 0.0)
        return float(1 / self.wavenumbers[int(np.argmax(strength))])

    @property
    def response(self) -> NDArray[np.float64]:
        """Part of the stack's amplitude that is fringes, by wavelength: the filter of least error (Wiener)."""
        if not self.significant.any():
            return np.where(self._wide, 1.0, 0.0)
        return np.where(self.significant, np.clip(self.common / np.maximum(self.total, 1e-300), 0.0, 1.0), 0.0)

    @property
    def error_variance(self) -> float:
        """Expected mean square of what the filter leaves of the noise and takes of the fringes."""
        fringes = np.where(self.significant, np.clip(self.common, 0.0, self.total), 0.0)
        left = self.response**2 * (self.total - fringes) + (1 - self.response) ** 2 * fringes
        return float((self.modes * left).sum() / max(float(self.modes.sum()), 1.0))

    @property
    def _wide(self) -> NDArray[np.bool_]:
        return np.asarray((self.wavenumbers <= 1 / _FINEST) & (self.modes > 0))


def measure_scales(stack: FloatArray, first: FloatArray, second: FloatArray, coarsest: float) -> Scales:
    """Compare two halves of the frames of a stack by wavelength.

    Parameters
    ----------
    stack, first, second : array of float32
        Stack of all frames, and those of two halves that share none; what is no number counts as 0.
    coarsest : float
        Longest wavelength to look at [pixel]: what is wider went with the background.

    Returns
    -------
    Scales
        Powers by wavelength.

    Notes
    -----
    The cross power of two halves holds no noise of theirs, only what all frames have in common; its error is
    sqrt(P1 P2 / n) for n modes of powers P1 and P2.
    """
    from scipy import fft

    wavenumber = _wavenumbers(stack.shape)
    centres, bins = _bins(wavenumber, coarsest)
    # The transform of real values holds one of each pair of conjugate modes, except in its first and last columns,
    # which hold both.
    weight = np.full(wavenumber.shape, 2.0, np.float32)
    weight[:, 0] = 1.0
    if stack.shape[1] % 2 == 0:
        weight[:, -1] = 1.0
    number = len(centres) + 1
    modes = np.bincount(bins.ravel(), weight.ravel(), number)[1:].astype(np.float64)

    def mean(power: NDArray[np.float32]) -> NDArray[np.float64]:
        total = np.bincount(bins.ravel(), (weight * power).ravel(), number)[1:]
        return np.asarray(total / np.maximum(modes, 1.0) / stack.size)

    one, two = (fft.rfft2(_without_mean(half)) for half in (first, second))
    cross = mean((one * two.conj()).real)
    error = np.sqrt(mean(np.abs(one) ** 2) * mean(np.abs(two) ** 2) / np.maximum(modes, 1.0))
    del one, two
    total = mean(np.abs(fft.rfft2(_without_mean(stack))) ** 2)
    white = (centres >= 1 / _FLOOR[1]) & (centres <= 1 / _FLOOR[0]) & (modes > 0)
    floor = max(float(np.average(cross[white], weights=modes[white])), 0.0) if white.any() else 0.0
    return Scales(centres, modes, cross - floor, error, total)


def smooth_to_scales(stack: FloatArray, scales: Scales, mirror: int) -> FloatArray:
    """Return the pattern of a stack at the scales of its fringes.

    Parameters
    ----------
    stack : array of float32
        NaN where there is no value.
    scales : Scales
        Of :func:`measure_scales`.
    mirror : int
        Pixels by which the edges are mirrored, so that opposite ones do not mix.

    Returns
    -------
    array of float32
        Values where the stack has none, or an outlier, follow from their surroundings.
    """
    known = np.isfinite(stack)
    given = _without_mean(stack)
    margin = tuple((min(mirror, length - 1),) * 2 for length in stack.shape)
    response = _response(tuple(length + sum(pad) for length, pad in zip(stack.shape, margin, strict=True)), scales)
    smooth = _filtered(given, response, margin)
    rest = given - smooth
    known &= np.abs(rest) <= _OUTLIER * robust_noise(rest[known])
    for _ in range(_FILLS):
        smooth = _filtered(np.where(known, given, smooth), response, margin)
    return smooth


def _without_mean(values: FloatArray) -> FloatArray:
    """Return the values less their mean, 0 where there is none."""
    known = np.isfinite(values)
    mean = np.float32(values[known].mean(dtype=np.float64)) if known.any() else np.float32(0)
    return np.where(known, values - mean, np.float32(0))


def _wavenumbers(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the wavenumber [cycles/pixel] of each mode of the transform of real values."""
    down = np.fft.fftfreq(shape[0]).astype(np.float32)
    across = np.fft.rfftfreq(shape[1]).astype(np.float32)
    return np.asarray(np.hypot(down[:, np.newaxis], across[np.newaxis, :]), np.float32)


def _bins(wavenumber: NDArray[np.float32], coarsest: float) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the centres of logarithmic bins and the number of each mode's, from 1; 0 is what is coarser."""
    octaves = np.log2(coarsest * np.sqrt(0.5))
    count = max(1, int(np.ceil(octaves * _BINS_AN_OCTAVE)))
    centres = 2.0 ** ((np.arange(count) + 0.5) / _BINS_AN_OCTAVE) / coarsest
    with np.errstate(divide="ignore"):
        place = np.floor(np.log2(wavenumber * np.float32(coarsest)) * _BINS_AN_OCTAVE)
    return centres, np.clip(place + 1, 0, count).astype(np.intp)


def _response(shape: tuple[int, ...], scales: Scales) -> NDArray[np.float32]:
    """Return the filter in the plane of a transform of that shape; what is coarser than all bins is left out."""
    wavenumber = _wavenumbers(shape)
    with np.errstate(divide="ignore"):
        position = np.log2(wavenumber)
    filled = np.interp(position, np.log2(scales.wavenumbers), scales.response)
    coarsest = scales.wavenumbers[0] / 2 ** (0.5 / _BINS_AN_OCTAVE)
    return np.where(wavenumber < coarsest, 0.0, filled).astype(np.float32)


def _filtered(values: FloatArray, response: NDArray[np.float32], margin: tuple[tuple[int, int], ...]) -> FloatArray:
    from scipy import fft

    padded = np.pad(values, margin, mode="reflect")
    smooth = fft.irfft2(fft.rfft2(padded) * response, s=padded.shape)
    (top, _), (left, _) = margin
    return np.asarray(smooth[top : top + values.shape[0], left : left + values.shape[1]], np.float32)
