"""Which exposures serve as biases: biases, or the shortest darks of a camera of which no biases were taken.

CMOS cameras are often calibrated by darks alone, some as long as the science exposures and some as long as the flats.
A stack of the shortest holds the bias and a little dark current; how long it collected that goes with the master bias
as ``dark_time`` [s], so that a dark and what is scaled by it count from there.
"""

from __future__ import annotations

from collections.abc import Sequence

from recipes.frame import Frame
from recipes.job import LeftOut

DARK_TIME = "dark_time"
# Darks of one exposure time, as controllers round it.
_SAME_TIME = 0.04


def bias_exposures(frames: Sequence[Frame], minimum: int) -> tuple[list[Frame], float, list[LeftOut]]:
    """Return the frames that serve as biases, the seconds for which they were exposed, and why others do not serve.

    Of darks those of the shortest exposure time of which there are `minimum`.
    """
    biases = [frame for frame in frames if frame.kind != "RawDark"]
    if biases:
        return (
            biases,
            0.0,
            [
                LeftOut(name=frame.name, reason="there are biases: no dark is needed in their place")
                for frame in frames
                if frame.kind == "RawDark"
            ],
        )
    known = sorted(seconds for frame in frames if (seconds := frame.attributes.exposure_time) is not None)
    shortest = next((start for start in known if sum(_alike(start, other) for other in known) >= minimum), None)
    if shortest is None:
        return list(frames), float(known[len(known) // 2]) if known else 0.0, []
    kept, left_out = [], []
    for frame in frames:
        seconds = frame.attributes.exposure_time
        if seconds is not None and _alike(shortest, seconds):
            kept.append(frame)
        else:
            told = "an unknown time" if seconds is None else f"{seconds:g} s"
            left_out.append(
                LeftOut(name=frame.name, reason=f"a dark of {told}; those of {shortest:g} s serve as biases")
            )
    return kept, float(shortest), left_out


def without_biases(dark_time: float) -> list[str]:
    """Return what a product made from darks in place of biases was made without."""
    return ["raw_bias"] if dark_time else []


def note_of(count: int, dark_time: float) -> str:
    """Return how many exposures of which kind were used, for a product's history."""
    return f"{count} darks of {dark_time:g} s in place of biases" if dark_time else f"{count} biases"


def _alike(shortest: float, other: float) -> bool:
    return shortest <= other <= shortest * (1 + _SAME_TIME)
