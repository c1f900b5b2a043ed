"""Frames of one chip that are not of one size were not read in one way, even if no keyword says so.

Binned or windowed frames of a camera whose headers do not tell it would otherwise meet full ones in one master bias.
The size of the first frame that the archive got of a chip and mode is that mode's; another size makes another mode.
"""

from __future__ import annotations

from collections.abc import Sequence

from archive.context import Context, visible
from archive.translation.translate import RawFrame
from recipes.kinds import KINDS

_RAW = [kind.name for kind in KINDS.values() if kind.is_raw]
_LONGEST = 60


def apart_by_size(frames: Sequence[RawFrame], context: Context) -> list[RawFrame]:
    """Return the frames, those of another size than their mode's first frame with the size in the mode's name."""
    return [_apart(frame, context) for frame in frames]


def _apart(frame: RawFrame, context: Context) -> RawFrame:
    own = frame.attributes
    of_mode = visible(context).filter(
        kind__in=_RAW, instrument=own.instrument, chip=own.chip, readout_mode=own.readout_mode
    )
    first = of_mode.order_by("pk").values_list("attributes", flat=True).first()
    size = _size(own.model_dump())
    if not first or None in (*size, *_size(first)) or _size(first) == size:
        return frame
    named = f"{own.readout_mode[: _LONGEST - 14]}-{size[0]}x{size[1]}"
    told = f"{size[0]}×{size[1]} pixels, others of this chip have {'×'.join(map(str, _size(first)))}: a mode of its own"
    notes = [*frame.notes, told]
    return RawFrame(frame.kind, own.model_copy(update={"readout_mode": named, "notes": notes}), notes)


def _size(attributes: dict[str, object]) -> tuple[object, object]:
    return attributes.get("width"), attributes.get("height")
