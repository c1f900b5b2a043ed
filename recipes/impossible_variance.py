"""The last look at an image before it is written: no pixel that counts as good has a variance that cannot be.

Numbers that no detector gives (1e30, a calibration whose variance plane is damaged) come out of float32 arithmetic as
infinite or as no numbers. Whoever weighs by the inverse variance would be misled, so such pixels become "no data".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recipes import threads
from recipes.frame import Frame, strip_bounds
from recipes.masks import NO_DATA
from recipes.products import Product

_STRIP_BYTES = 2**20  # the second look at a strip finds it in the cache


def without_impossible_variances(product: Product) -> tuple[Product, int]:
    """Return the product with pixels of impossible variance masked, and how many there were that counted as good."""
    frame = product.content
    if not isinstance(frame, Frame) or not frame.has_variance:
        return product, 0

    def is_possible(rows: tuple[int, int]) -> bool:
        variance = frame.variance_rows(*rows)
        return bool(variance.min() >= 0 and variance.max() < np.inf)  # false for NaN too

    height, width = frame.shape
    if all(threads.each(is_possible, strip_bounds(height, max(1, _STRIP_BYTES // (4 * width))))):
        return product, 0
    variance, mask = frame.variance_rows(0, height), frame.mask
    impossible = ~((variance >= 0) & (variance < np.inf))
    number = int(np.count_nonzero(impossible & (mask == 0)))
    if not number:
        return product, 0
    masked = Frame(
        frame.data if frame.has_data else None,
        variance=np.where(impossible, np.float32(0), variance),
        mask=np.where(impossible, mask | np.uint16(NO_DATA), mask),
        attributes=frame.attributes,
        unit=frame.unit,
        name=frame.name,
        kind=frame.kind,
        wcs=frame.wcs,
    )
    note = f"{number} pixels came out with a variance that cannot be: masked as no data."
    return replace(product, content=masked, notes=(*product.notes, note)), number
