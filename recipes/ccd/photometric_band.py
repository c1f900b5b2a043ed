"""How a camera's filter relates to a band of a catalogue: told by the user, declared, or read from its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes
from recipes.errors import UsageError
from recipes.photometric_systems import band_of_filter, find_band
from recipes.tables import Table

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Transformation:
    """From a standard magnitude to the camera's own: m_camera = m + colour_term colour, and extinction in mag/airmass.

    ``shift`` is added to the catalogue's magnitudes to reach the system; ``without`` is what had to be done without,
    ``notes`` where the numbers come from.
    """

    band: str
    system: str
    colour: str = ""
    colour_term: float = 0.0
    extinction: float = 0.0
    shift: float = 0.0
    without: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def colour_bands(self) -> tuple[str, str] | None:
        """The two bands of the colour, or None."""
        first, minus, second = (part.strip() for part in self.colour.partition("-"))
        return (first, second) if minus and first and second else None


def bands_of(catalogue: Table) -> list[str]:
    """Return the bands in which a catalogue has magnitudes."""
    return [name[4:] for name in catalogue.columns if name.startswith("MAG_")]


def transformation(
    frame: FrameAttributes, catalogue: Table, *, band: str, colour: str, colour_term: str, extinction: str,
    name: str = "the frame",
) -> Transformation:  # fmt: skip
    """Return how the frame's filter relates to the catalogue's magnitudes.

    What the user gives counts first, then what the camera's file declares, then what the filter's name tells.

    Parameters
    ----------
    frame : FrameAttributes
        Of the exposure.
    catalogue : Table
        Reference catalogue with columns MAG_<band>.
    band, colour, colour_term, extinction : str
        As the user gives them; empty for what is declared.
    name : str
        How errors call the exposure.

    Returns
    -------
    Transformation
        With the numbers to use.

    Raises
    ------
    UsageError
        The band cannot be told, the catalogue has no magnitudes in it, or a text is no number.
    """
    declared, named = frame.photometry, band_of_filter(frame.filter)
    known = bands_of(catalogue)
    wanted = band.strip() or (declared.band if declared else "") or (named.name if named else "")
    if not wanted:
        raise UsageError(
            f"{name}: which standard band the filter {frame.filter or '(none)'} "
            f"of {frame.instrument or 'this camera'} is, its name does not tell",
            hint=f"give the parameter band (the catalogue has {', '.join(known) or 'none'}), or declare it in the "
            "camera's file under [photometry]",
        )
    if wanted not in known:
        raise UsageError(
            f"the reference catalogue {name_of(catalogue)} has no magnitudes in {wanted}; it has "
            f"{', '.join(known) or 'none at all'}",
            hint="choose another catalogue, or the nearest band by the parameter band",
        )
    of_band = find_band(wanted)
    assumed = named if named and named.name == wanted else of_band
    system, shift, notes = _system(catalogue, wanted, declared.system if declared else "")
    chosen_colour = colour.strip() or (declared.colour if declared else "") or (assumed.colour if assumed else "")
    term = _number("colour_term", colour_term, declared.colour_term if declared else 0.0)
    by_name = named or of_band
    usual = declared.extinction if declared and declared.extinction is not None else None
    if usual is None and by_name is not None:
        usual = by_name.extinction
    coefficient = _number("extinction", extinction, usual or 0.0)
    without = []
    if usual is None and not extinction.strip():
        without.append("extinction")
    elif not extinction.strip() and by_name and not (declared and declared.extinction is not None):
        usually = f"Extinction {coefficient:g} mag/airmass is usual in {by_name.name}"
        notes.append(f"{usually}; the camera's file declares none.")
    made = Transformation(wanted, system, chosen_colour, term, coefficient, shift, (), tuple(notes))
    missing = [name for name in made.colour_bands or () if name not in known]
    if made.colour and made.colour_bands is None:
        raise UsageError(f"colour = {made.colour!r} is not two bands with a minus between",
                         hint="write it like B-V")  # fmt: skip
    if term and (missing or not made.colour):
        without.append("colour term")
        notes.append(f"The colour term {term:g} was left out: the catalogue lacks {', '.join(missing) or 'a colour'}.")
        term = 0.0
    if missing:
        chosen_colour = ""
    return Transformation(wanted, system, chosen_colour, term, coefficient, shift, tuple(without), tuple(notes))


def name_of(catalogue: Table) -> str:
    """Return how a catalogue is called."""
    return str(getattr(catalogue.attributes, "catalogue", "") or "without a name")


def numbers_of(catalogue: Table, name: str) -> Floats | None:
    """Return a column as floats, None where there is none of that name."""
    column = catalogue.columns.get(name)
    return None if column is None else np.asarray(column.values, dtype=np.float64)


def _system(catalogue: Table, band: str, wanted: str) -> tuple[str, float, list[str]]:
    """Return the system of the magnitudes, what to add to the catalogue's, and a note on it."""
    systems: Any = getattr(catalogue.attributes, "systems", None)
    given = str((systems or {}).get(band, "")) if isinstance(systems, Mapping | None) else ""
    given = given or str(getattr(catalogue.attributes, "system", "") or "")
    if not wanted or not given or wanted.lower() == given.lower():
        return wanted or given, 0.0, []
    known = find_band(band, "Vega")
    if known is None or {wanted.lower(), given.lower()} != {"ab", "vega"}:
        raise UsageError(
            f"the camera's file wants {band} in the system {wanted}, the catalogue {name_of(catalogue)} has it in "
            f"{given}",
            hint="choose a catalogue of that system, or mend [photometry] in the camera's file",
        )
    shift = known.ab_offset if wanted.lower() == "ab" else -known.ab_offset
    return wanted, shift, [f"{shift:+g} mag brings the catalogue's {band} from {given} to {wanted}."]


def _number(name: str, text: str, usual: float) -> float:
    if not text.strip():
        return usual
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{name} = {text!r} is no number", hint="leave it empty to take what is declared")
    return value
