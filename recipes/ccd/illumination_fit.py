"""A polynomial over the focal plane fitted to what stars of several chips say, each with a zeropoint of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.frame import ALL

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEAST_SCATTER = 0.003  # mag: no star is better than that, so none holds the surface alone
_ROUNDS = 20
_STEP = 16  # pixels between the nodes of a map: a polynomial hardly bends over them
_LEAST_CHANCE = 1e-300
_LOG = 0.4 * np.log(10)


def terms(order: int) -> list[tuple[int, int]]:
    """Return the powers of x and y in the order of their sum, then of that of y; the constant is the first."""
    return [(total - j, j) for total in range(order + 1) for j in range(total + 1)]


def powers(x: Floats, y: Floats, order: int) -> Floats:
    """Return the terms of the polynomial at places, one a column."""
    return np.stack([x**i * y**j for i, j in terms(order)], axis=-1)


@dataclass(frozen=True)
class Surface:
    """A polynomial over the tangent plane [mag] with its covariance, in coordinates divided by ``scale`` [degree]."""

    order: int
    scale: float
    coefficients: Floats
    covariance: Floats

    def at(self, xi: Floats, eta: Floats) -> Floats:
        """Return the surface [mag] at places of the tangent plane [degree]."""
        return np.asarray(powers(xi / self.scale, eta / self.scale, self.order) @ self.coefficients)

    def error(self, xi: Floats, eta: Floats) -> Floats:
        """Return its error [mag] at these places against their mean: a constant belongs to the zeropoint."""
        basis = powers(xi / self.scale, eta / self.scale, self.order)
        basis = basis - basis.reshape(-1, basis.shape[-1]).mean(axis=0)
        return np.asarray(np.sqrt(np.einsum("...i,ij,...j->...", basis, self.covariance, basis)))

    def with_mean_zero(self, xi: Floats, eta: Floats) -> Surface:
        """Return the same surface with another constant: its mean over these places is 0."""
        shifted = self.coefficients.copy()
        shifted[0] -= float(self.at(xi, eta).mean())
        return Surface(self.order, self.scale, shifted, self.covariance)


@dataclass(frozen=True)
class IlluminationFit:
    """A surface, the zeropoint of each chip beside it, what is left of each star, and which stars were used.

    ``significance`` tells how sure it is that there is a surface at all, as so many sigma of a Gaussian.
    """

    surface: Surface
    offsets: Floats
    residuals: Floats
    used: Bools
    rms: float
    scatter: float
    chi2: float
    significance: float


def fit_illumination(
    xi: Floats, eta: Floats, values: Floats, errors: Floats, chip: NDArray[np.int64], *, order: int, clip: float
) -> IlluminationFit | None:
    """Fit a polynomial without constant and one zeropoint a chip, by least squares with clipping.

    Parameters
    ----------
    xi, eta : array
        Places of the stars on the tangent plane [degree].
    values, errors : array
        What each star says of the zeropoint, and its error [mag].
    chip : array of int
        Number of each star's chip, from 0.
    order : int
        Of the polynomial.
    clip : float
        Stars whose residual is larger than so many sigma (own error and scatter of all) are not used.

    Returns
    -------
    IlluminationFit or None
        None where the stars do not tell all coefficients.
    """
    scale = float(max(np.abs(xi).max(), np.abs(eta).max(), 1e-6))
    chips = int(chip.max()) + 1
    basis = powers(xi / scale, eta / scale, order)[:, 1:]
    design = np.column_stack([chip[:, None] == np.arange(chips), basis])
    start = np.array([np.median(values[chip == number]) if (chip == number).any() else 0.0 for number in range(chips)])
    residuals, scatter = values - start[chip], 0.0
    used = np.ones(len(values), dtype=bool)
    for _ in range(_ROUNDS):
        scatter = _scatter_beyond(residuals[used], errors[used])
        weights = 1 / (errors**2 + scatter**2)
        solved = _solve(design, values, weights * used)
        if solved is None:
            return None
        solution, covariance = solved
        residuals = values - design @ solution
        kept = np.abs(residuals) <= clip * np.hypot(errors, scatter)
        # The scatter is that about the surface, so the first rounds, about a constant, come too high.
        if (kept == used).all() and abs(_scatter_beyond(residuals[used], errors[used]) - scatter) < 1e-5:
            break
        used = kept
    freedom = max(int(used.sum()) - design.shape[1], 1)
    chi2 = float(np.sum((weights * residuals**2)[used]) / freedom)
    covariance = covariance * max(chi2, 1.0)
    whole = np.zeros((len(terms(order)),) * 2)
    whole[1:, 1:] = covariance[chips:, chips:]
    surface = Surface(order, scale, np.concatenate([[0.0], solution[chips:]]), whole)
    rms = float(np.sqrt(np.sum(residuals[used] ** 2) / freedom))
    significance = _significance(surface.coefficients[1:], whole[1:, 1:], freedom)
    return IlluminationFit(surface, solution[:chips], residuals, used, rms, scatter, chi2, significance)


def _significance(coefficients: Floats, covariance: Floats, freedom: int) -> float:
    """Return how unlikely such coefficients are where all are 0 in truth (F test of all at once), in sigma."""
    from scipy.stats import f, norm

    terms_fitted = len(coefficients)
    ratio = float(coefficients @ np.linalg.solve(covariance, coefficients)) / terms_fitted
    return float(norm.isf(0.5 * max(float(f.sf(ratio, terms_fitted, freedom)), _LEAST_CHANCE)))


def _solve(design: Floats, values: Floats, weights: Floats) -> tuple[Floats, Floats] | None:
    """Return solution and covariance; None where they are not determined. A chip without stars has zeropoint 0."""
    there = (design * (weights > 0)[:, None]).any(axis=0)
    normal = (design * weights[:, None]).T @ design
    if (weights > 0).sum() <= there.sum():
        return None
    part = np.ix_(there, there)
    size = np.sqrt(np.diag(normal))[there]
    scaled = normal[part] / np.outer(size, size)
    if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > 1e10:
        return None
    inverse = np.linalg.inv(scaled) / np.outer(size, size)
    solution, covariance = np.zeros(design.shape[1]), np.zeros(normal.shape)
    solution[there] = inverse @ ((design * weights[:, None]).T @ values)[there]
    covariance[part] = inverse
    return solution, covariance


def _scatter_beyond(residuals: Floats, errors: Floats) -> float:
    """Return the scatter that, with the errors, makes the median pull that of a Gaussian."""
    if not len(residuals):
        return LEAST_SCATTER
    low, high = LEAST_SCATTER, float(np.abs(residuals).max()) * 2 + LEAST_SCATTER
    if 1.4826 * np.median(np.abs(residuals) / np.hypot(errors, low)) <= 1:
        return low
    for _ in range(50):
        middle = 0.5 * (low + high)
        too_small = 1.4826 * np.median(np.abs(residuals) / np.hypot(errors, middle)) > 1
        low, high = (middle, high) if too_small else (low, middle)
    return 0.5 * (low + high)


class IlluminationMap:
    """What a chip's frames are divided by, of mean 1, and its variance: splines through nodes, evaluated by rows."""

    def __init__(self, surface: Surface, xi: Floats, eta: Floats, y: Floats, x: Floats, shape: tuple[int, int]) -> None:
        from scipy.interpolate import RectBivariateSpline

        degree = {"kx": min(3, len(y) - 1), "ky": min(3, len(x) - 1)}
        factor = 10 ** (0.4 * surface.at(xi, eta))
        plain = RectBivariateSpline(y, x, factor, **degree)
        # The nodes reach to the edges of the outermost pixels, so the integral is the sum over the pixels.
        self.mean = float(plain.integral(y[0], y[-1], x[0], x[-1])) / ((y[-1] - y[0]) * (x[-1] - x[0]))
        factor = factor / self.mean
        self.extremes = float(factor.min()), float(factor.max())
        error = _LOG * factor * surface.error(xi, eta)
        self.largest_error = float(error.max())
        self.data = _SplinePlane(RectBivariateSpline(y, x, factor, **degree), shape)
        self.variance = _SplinePlane(RectBivariateSpline(y, x, error**2, **degree), shape)


class _SplinePlane:
    """A plane of pixels that is computed when it is read: mosaics have many chips, memory holds one."""

    def __init__(self, spline: object, shape: tuple[int, int]) -> None:
        self._spline = spline
        self._shape = shape

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._shape

    def read(self, y0: int, y1: int, columns: slice = ALL) -> NDArray[np.float32]:
        """Return rows `y0` to `y1`."""
        x = np.arange(self._shape[1], dtype=np.float64)[columns]
        values = self._spline(np.arange(y0, y1, dtype=np.float64), x)  # type: ignore[operator]
        return np.asarray(np.maximum(values, 0.0), dtype=np.float32)


def nodes(length: int) -> Floats:
    """Return 0-based places along an axis, from edge to edge of the outermost pixels."""
    return np.linspace(-0.5, length - 0.5, max(4, length // _STEP + 2))
