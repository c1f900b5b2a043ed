"""Scripts to begin with: they work on the newest night that the reader sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archive.context import Context
from awportal.listing import nights_of

Language = Literal["star", "yaml", "csv"]


@dataclass(frozen=True)
class Example:
    """A script with what it shows; INSTRUMENT and NIGHT stand for the newest of the kinds that it takes."""

    key: str
    title: str
    language: Language
    kinds: tuple[str, ...]
    text: str


EXAMPLES = (
    Example(
        "source-lists",
        "a source list of each reduced frame of a night",
        "star",
        ("ReducedScienceFrame",),
        """\
# A source list of each reduced frame of a night, deeper where the exposure was short.
for frame in frames(kind="ReducedScienceFrame", instrument="INSTRUMENT", night="NIGHT"):
    run("SourceList", frame, detect_thresh=1.2 if frame.exposure_time < 30 else 1.5)
""",
    ),
    Example(
        "clips",
        "the same biases, clipped in three ways",
        "star",
        ("RawBias",),
        """\
# One master bias of each chip for each clip: which one is best?
biases = frames(kind="RawBias", instrument="INSTRUMENT", night="NIGHT")
for clip in [2.5, 3.0, 5.0]:
    run("Bias", biases, sigma_clip=clip, comment="clip %s" % clip)
""",
    ),
    Example(
        "chain",
        "reduce and find sources, a run for each filter",
        "star",
        ("RawScience",),
        """\
# Reduce the frames of a night, then find their sources: a chain of its own for each filter.
science = frames(kind="RawScience", instrument="INSTRUMENT", night="NIGHT")
filters = sorted({frame.filter: True for frame in science})
for name in filters:
    run("Reduce>SourceList", [frame for frame in science if frame.filter == name], comment="filter " + name)
""",
    ),
    Example(
        "yaml",
        "two recipes, as YAML",
        "yaml",
        ("RawBias",),
        """\
- recipe: ReadNoise
  select: {kind: RawBias, instrument: INSTRUMENT, night: NIGHT}
- recipe: Bias
  select: {kind: RawBias, instrument: INSTRUMENT, night: NIGHT}
  params: {sigma_clip: 4.0}
  comment: wider clip
""",
    ),
    Example(
        "csv",
        "the same as a table (CSV)",
        "csv",
        ("RawBias",),
        """\
recipe,kind,instrument,night,sigma_clip,comment
ReadNoise,RawBias,INSTRUMENT,NIGHT,,
Bias,RawBias,INSTRUMENT,NIGHT,4.0,wider clip
""",
    ),
)


def example(key: str, context: Context) -> tuple[str, Language]:
    """Return the text and language of an example (the first where there is none), for the newest such night."""
    found = next((each for each in EXAMPLES if each.key == key), EXAMPLES[0])
    instrument, night = nights_of(context, found.kinds) or ("INSTRUMENT", "2024-05-12")
    return found.text.replace("INSTRUMENT", instrument).replace("NIGHT", str(night)), found.language
