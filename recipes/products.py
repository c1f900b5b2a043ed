"""What a recipe returns: products with their measured values, and what it left out.

Image and mask products hold a :class:`~recipes.frame.Frame`, source lists and catalogues a
:class:`~recipes.tables.Table`, and the kinds that are numbers have a class each in :mod:`recipes.values`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recipes.attributes import FrameAttributes
from recipes.frame import Frame
from recipes.job import LeftOut
from recipes.quality import Measured
from recipes.tables import Table
from recipes.values import Values

Content = Frame | Table | Values


@dataclass(frozen=True)
class Product:
    """One product as a recipe returns it.

    Parameters
    ----------
    kind : str
        Kind of product, of :data:`recipes.kinds.KINDS`.
    content : Frame, Table or Values
        What goes into the file; a mask product is a Frame without data.
    attributes : FrameAttributes
        Of the product: start from :func:`attributes_of`.
    measured : sequence of Measured
        QC values; the limits are applied by the runner.
    made_without : sequence of str
        What it had to do without, besides the optional inputs that were not given (the runner adds those).
    notes : sequence of str
        Lines of HISTORY for a person.
    """

    kind: str
    content: Content
    attributes: FrameAttributes
    measured: Sequence[Measured] = ()
    made_without: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """All that a recipe returns: its products in the order of ``Recipe.outputs`` and what it left out, with reasons."""

    products: tuple[Product, ...]
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def one(cls, product: Product, left_out: Sequence[LeftOut] = ()) -> Outcome:
        """Return the outcome of a recipe that makes one product."""
        return cls((product,), tuple(left_out))


# Of a raw frame, not of what is made from it: products are trimmed.
_GEOMETRY = ("data_section", "prescan_x", "overscan_x", "prescan_y", "overscan_y", "amplifiers")
_SHARED = ("filter", "exposure_time", "object", "ra", "dec", "pixel_scale", "saturation", "nominal_gain",
           "nominal_read_noise", "night", "photometry")  # fmt: skip


def attributes_of(frames: Sequence[Frame] | Sequence[Table], **more: Any) -> FrameAttributes:
    """Return the attributes of a product made of `frames` (or tables): what they share, first date, median temperature.

    Extra attributes of a camera's own are not handed on; `more` sets or adds attributes.
    """
    first = frames[0].attributes
    values: dict[str, Any] = {name: getattr(first, name) for name in ("instrument", "chip", "readout_mode")}
    for name in _SHARED:
        different = {getattr(frame.attributes, name) for frame in frames}
        if len(different) == 1:
            values[name] = different.pop()
    dates = sorted(frame.attributes.date_obs for frame in frames if frame.attributes.date_obs)
    nights = sorted(frame.attributes.night for frame in frames if frame.attributes.night)
    temperatures = [t for frame in frames if (t := frame.attributes.temperature) is not None]
    values["date_obs"] = dates[0] if dates else None
    values["night"] = nights[0] if nights else None
    values["temperature"] = round(statistics.median(temperatures), 3) if temperatures else None
    return FrameAttributes(**(values | more))
