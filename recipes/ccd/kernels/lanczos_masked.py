"""Kernels for places near masked pixels: what they are worth there, how noisy they are, and what is told of them."""

from __future__ import annotations

import numpy as np

from recipes.ccd.kernels.compiled import compiled, warm_up
from recipes.ccd.kernels.lanczos_filling import BRIDGED, GOOD, WIDE, Tile, tile_of
from recipes.masks import INTERPOLATED, NO_DATA

# A masked pixel counts where its bilinear weight is more than this: a bridged one errs by about its noise, and the
# kernel's own lobes, which reach farther, weigh more.
_LEAST_BRIDGED = 0.05
_LEAST_WIDE = 1e-3


@compiled
def near_masked(tile: Tile, y: int, x: int, fy: float, fx: float) -> tuple[np.uint16, bool, float, float]:
    """Return (bits, whether a wide gap matters, the frame's own value, the variance) of a place near masked pixels.

    What falls into a wide gap that has no data is NO_DATA without INTERPOLATED. The variance is that of the good
    neighbours, where there are any.
    """
    height, width = tile.raw.shape
    bridged, wide = np.uint16(0), np.uint16(0)
    value, weights, good, good_weights, rest, rest_weights = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for dy in range(2):
        for dx in range(2):
            v, u = min(y + dy, height - 1), min(x + dx, width - 1)
            weight = (fy if dy else 1.0 - fy) * (fx if dx else 1.0 - fx)
            bits, kind, noise = tile.mask[v, u], tile.state[v, u], tile.variance[v, u]
            if kind == WIDE and weight > _LEAST_WIDE:
                wide |= bits
            elif bits and weight > _LEAST_BRIDGED:
                bridged |= bits | np.uint16(INTERPOLATED if kind == BRIDGED else 0)
            if weight > _LEAST_WIDE and np.isfinite(tile.raw[v, u]):
                value += weight * tile.raw[v, u]
                weights += weight
            if noise > 0 and np.isfinite(noise):
                rest += max(weight, 1e-9) * noise
                rest_weights += max(weight, 1e-9)
                if kind == GOOD:
                    good += weight * noise
                    good_weights += weight
    if wide & np.uint16(NO_DATA):
        bridged &= ~np.uint16(INTERPOLATED)
    if good_weights > _LEAST_BRIDGED:
        rest, rest_weights = good, good_weights
    plain = value / weights if weights > 0 else 0.0
    return bridged | wide, bool(wide != 0), plain, rest / rest_weights if rest_weights > 0 else 0.0


@warm_up
def _on_a_few_pixels() -> None:
    tile = tile_of(np.ones((8, 8), np.float32), np.ones((8, 8), np.float32), np.ones((8, 8), np.uint16))
    near_masked(tile, 1, 1, 0.5, 0.5)
