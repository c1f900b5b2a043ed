"""ColdPixels: the pixels of a chip that do not answer to light as their neighbours do."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from recipes.ccd.background import SmoothBackground
from recipes.ccd.pixel_maps import count_measured, mark_far_from
from recipes.errors import UsageError
from recipes.frame import Frame
from recipes.masks import COLD, HOT, NO_DATA, SATURATED
from recipes.products import Outcome, Product, attributes_of
from recipes.progress import tracked
from recipes.recipe import Bounds, Input, Recipe

# Mesh of the background [pixel]: fine enough for the shadows of dust, which the flat itself corrects.
BOX = 16
_ROUNDS = 3


def cold_pixels(
    flat: Frame,
    previous: Frame | None = None,
    *,
    threshold_low: Annotated[float, Bounds(0, 1)] = 0.94,
    threshold_high: Annotated[float, Bounds(1, 10)] = 1.06,
) -> Outcome:
    """Find the pixels of a flat that are fainter or brighter than the smooth flat around them.

    Parameters
    ----------
    flat : Frame
        Master dome flat or master twilight flat.
    previous : Frame, optional
        The valid map so far, to compare with.
    threshold_low : float, optional
        A pixel below this part of the smooth flat is cold.
    threshold_high : float, optional
        A pixel above this multiple of the smooth flat is as untrustworthy, and gets the same bit.

    Returns
    -------
    Outcome
        One ColdPixelMap: a mask with the bit COLD.

    Raises
    ------
    UsageError
        A flat without light.
    """
    data, bits = flat.data, flat.mask
    known = (bits & np.uint16(NO_DATA | SATURATED)) == 0
    good = known & ((bits & np.uint16(HOT)) == 0)
    if not good.any():
        raise UsageError(f"{flat.name} has no good pixel", hint="make the flat again from frames below saturation")
    cold, bright = np.zeros(flat.shape, bool), 0
    background = SmoothBackground(data, good, BOX)
    for _ in tracked(range(_ROUNDS), "comparing with the smooth flat", 0.1, 0.8):
        changed, bright = mark_far_from(background.whole(), data, known, (threshold_low, threshold_high), cold)
        if not changed or not background.follow(good & ~cold):
            break
    # What was never measured answers to nothing.
    mask = np.where(cold | ~known, np.uint16(COLD), np.uint16(0))
    attributes = attributes_of([flat], count=int(np.count_nonzero(mask)))
    notes = [f"{np.count_nonzero(cold) - bright} below {threshold_low:g} and {bright} above {threshold_high:g}."]
    content = Frame(None, mask=mask, unit="")
    return Outcome.one(Product("ColdPixelMap", content, attributes, count_measured(mask, COLD, previous), (), notes))


RECIPE = Recipe(
    name="ColdPixels",
    version="2",
    function=cold_pixels,
    inputs=(
        Input("flat", ("DomeFlatFrame", "TwilightFlatFrame"), primary=True),
        Input("previous", ("ColdPixelMap",), minimum=0, preferred=False),
    ),
    outputs=("ColdPixelMap",),
    split_by=("product",),
)
