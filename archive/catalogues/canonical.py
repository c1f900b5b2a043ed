"""The one form of a reference catalogue: RA and DEC in degrees, errors in arcsec, motions in mas/yr, magnitudes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from archive.catalogues.column_map import ERROR, ID, POSITIONS, Rule
from archive.catalogues.reading import NotACatalogue, TableRead
from archive.catalogues.recognition import GAIA_SIGNAL, is_no_magnitude

Floats = NDArray[np.float64]
# Magnitudes beyond these are no magnitudes but signs for "not measured" (99.999, 90, -999).
FAINTEST, BRIGHTEST = 40.0, -30.0
LARGEST_ERROR = 5.0
# The share of lines that may be without a position before the map is taken to be wrong.
_LOST = 0.1
_ANGLES = {"mas": 1e-3, "milliarcsec": 1e-3, "arcsec": 1.0, '"': 1.0, "arcs": 1.0, "arcmin": 60.0, "deg": 3600.0,
           "degree": 3600.0, "degrees": 3600.0, "uas": 1e-6, "rad": 206264.80625}  # fmt: skip
_DEGREES = re.compile(r"\W*(d|deg|degrees?|°)\b.*|\W*")  # also "[deg]", "deg (J2000)", and marks for no unit
_PAIR_SIGNAL = 2.5 / np.log(10.0)


_CALLED_HOURS = re.compile(r"(?i:[_ ]h(?:ou)?rs?|hours?)$|RAh(?:rs?)?$")


@dataclass
class Stars:
    """What a file gives, in the canonical units; NaN where it is not known."""

    ra: Floats
    dec: Floats
    ra_error: Floats | None = None
    dec_error: Floats | None = None
    pmra: Floats | None = None
    pmdec: Floats | None = None
    identity: NDArray[np.generic] | None = None
    magnitudes: dict[str, Floats] = field(default_factory=dict)
    errors: dict[str, Floats] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def kept(self, keep: NDArray[np.bool_]) -> Stars:
        """Return the stars of these lines."""
        others = {name: getattr(self, name) for name in (*POSITIONS[2:], "identity")}
        return Stars(
            ra=self.ra[keep],
            dec=self.dec[keep],
            magnitudes={band: values[keep] for band, values in self.magnitudes.items()},
            errors={band: values[keep] for band, values in self.errors.items()},
            notes=self.notes,
            **{name: None if values is None else values[keep] for name, values in others.items()},
        )


def stars_of(table: TableRead, rules: Mapping[str, Rule], mapped: Iterable[str] = ()) -> Stars:
    """Return the stars of a table by its map; `mapped` are the targets that the user named.

    Raises
    ------
    NotACatalogue
        Columns that cannot be what the map says, with what they hold.
    """
    told = set(mapped)
    ra, ra_step = _angle(table, rules["ra"], 24.0)
    dec, dec_step = _angle(table, rules["dec"], 90.0)
    _check_sky(ra, dec, rules, table)
    stars = Stars(np.mod(ra, 360.0), dec)
    if max(ra_step, dec_step) > 0.5:  # texts to whole seconds: how they were rounded is the error
        stars.ra_error = ra_step / np.sqrt(3.0) * np.cos(np.radians(dec))
        stars.dec_error = np.full(len(dec), dec_step / np.sqrt(3.0))
        stars.notes.append(f"positions are given to {ra_step:.2g}″ in RA and {dec_step:.2g}″ in Dec")
    for name in ("ra_error", "dec_error"):
        if name in rules:
            setattr(stars, name, _error(table, rules[name], dec, name in told, stars.notes))
    for name in ("pmra", "pmdec"):
        if name in rules:
            setattr(stars, name, _motion(table, rules[name], stars.notes))
    if ID in rules:
        stars.identity = table.columns[rules[ID].columns[0]].values
    _add_magnitudes(stars, table, rules)
    keep = np.isfinite(stars.ra) & np.isfinite(stars.dec)
    lost = int(np.count_nonzero(~keep))
    if lost > _LOST * len(keep):
        raise NotACatalogue(
            f"{lost} of {len(keep)} lines have no position in {rules['ra'].text} and {rules['dec'].text}",
            f"say which columns it is by --columns ra=...,dec=...; there are {table.told()}",
        )
    if lost:
        stars.notes.append(f"{lost} of {len(keep)} lines have no position and were left out")
    return stars.kept(keep)


def joined(parts: Sequence[Stars]) -> Stars:
    """Return the stars of several files as one, those of one identity once."""
    if len(parts) == 1:
        return parts[0]
    bands = list(dict.fromkeys(band for part in parts for band in part.magnitudes))
    errors = list(dict.fromkeys(band for part in parts for band in part.errors))

    def column(values: Sequence[Floats | None]) -> Floats | None:
        if all(entry is None for entry in values):
            return None
        return np.concatenate(
            [np.full(len(part.ra), np.nan) if entry is None else entry
             for part, entry in zip(parts, values, strict=True)]
        )  # fmt: skip

    def mandatory(values: Sequence[Floats | None]) -> Floats:
        found = column(values)
        return np.array([]) if found is None else found

    identities = [part.identity for part in parts if part.identity is not None]
    stars = Stars(
        ra=mandatory([part.ra for part in parts]),
        dec=mandatory([part.dec for part in parts]),
        ra_error=column([part.ra_error for part in parts]),
        dec_error=column([part.dec_error for part in parts]),
        pmra=column([part.pmra for part in parts]),
        pmdec=column([part.pmdec for part in parts]),
        identity=np.concatenate(identities) if len(identities) == len(parts) else None,
        magnitudes={band: mandatory([part.magnitudes.get(band) for part in parts]) for band in bands},
        errors={band: mandatory([part.errors.get(band) for part in parts]) for band in errors},
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
    )
    if stars.identity is None:
        return stars
    _, first = np.unique(stars.identity, return_index=True)
    once = np.zeros(len(stars.ra), dtype=bool)
    once[first] = True
    return stars.kept(once)


def _angle(table: TableRead, rule: Rule, full_turn: float) -> tuple[Floats, float]:
    """Return a coordinate in degrees, and the step to which texts give it [arcsec] (0 for numbers)."""
    column = table.columns[rule.columns[0]]
    unit = (rule.unit or column.unit).lower()
    in_hours = full_turn == 24.0 and (unit.startswith("h") or '"h' in unit)
    if column.is_text:
        in_hours = full_turn == 24.0 and not unit.startswith(("deg", "d:", '"d'))
        return _sexagesimal(column.values, in_hours, rule, table)
    values = column.values.astype(float)
    if unit.startswith("rad"):
        return np.degrees(values), 0.0
    if unit in _ANGLES and not unit.startswith("deg"):
        return values * _ANGLES[unit] / 3600.0, 0.0
    if unit and not in_hours and not _DEGREES.fullmatch(unit):
        raise NotACatalogue(
            f"{rule.text}: {unit!r} is no unit of a coordinate", f"write {rule.target}={rule.text}[deg]"
        )
    finite = values[np.isfinite(values)]
    around = len(finite) > 0 and finite.min() < 6 and 18 < finite.max() <= 24
    called_hours = len(finite) > 0 and finite.max() <= 24 and _CALLED_HOURS.search(rule.columns[0]) is not None
    if full_turn == 24.0 and not unit and (around or called_hours):
        raise NotACatalogue(
            f"{rule.text} runs from {finite.min():.3f} to {finite.max():.3f}: hours or degrees?",
            f"say --columns ra={rule.columns[0]}[hour] or ra={rule.columns[0]}[deg]",
        )
    return values * (15.0 if in_hours else 1.0), 0.0


def _sexagesimal(texts: NDArray[np.str_], in_hours: bool, rule: Rule, table: TableRead) -> tuple[Floats, float]:
    values = np.full(len(texts), np.nan)
    decimals = 0
    for place, text in enumerate(texts):
        parts = re.findall(r"\d+\.?\d*|\.\d+", str(text))
        if not 2 <= len(parts) <= 3:
            continue
        if float(parts[1]) >= 60 or (len(parts) == 3 and float(parts[2]) > 60):
            continue
        turn = sum(float(part) / 60**power for power, part in enumerate(parts))
        values[place] = -turn if str(text).lstrip().startswith(("-", "−")) else turn
        decimals = max(decimals, len(parts[2].partition(".")[2]) if len(parts) == 3 else -1)
    if not np.isfinite(values).any():
        raise NotACatalogue(
            f"{rule.text} holds texts that are no coordinates, such as {str(texts[0])[:30]!r}",
            f"say which column it is by --columns; there are {table.told()}",
        )
    step = (60.0 if decimals < 0 else 10.0**-decimals) * (15.0 if in_hours else 1.0)
    return values * (15.0 if in_hours else 1.0), step


def _check_sky(ra: Floats, dec: Floats, rules: Mapping[str, Rule], table: TableRead) -> None:
    for name, values, low, high in (("ra", ra, -180.0, 360.0), ("dec", dec, -90.0, 90.0)):
        finite = values[np.isfinite(values)]
        outside = np.count_nonzero((finite < low) | (finite > high))
        if outside > _LOST * max(len(finite), 1) or not len(finite):
            span = f"runs from {finite.min():.4g} to {finite.max():.4g}" if len(finite) else "holds no number"
            raise NotACatalogue(
                f"{rules[name].text} cannot be {name}: it {span}",
                f"say which column it is by --columns {name}=...; there are {table.told()}",
            )
        values[(values < low) | (values > high)] = np.nan


def _error(table: TableRead, rule: Rule, dec: Floats, was_told: bool, notes: list[str]) -> Floats | None:
    column = table.columns[rule.columns[0]]
    unit = (rule.unit or column.unit).lower().strip()
    if not unit and set(GAIA_SIGNAL.values()) & set(table.columns):
        unit = "mas"
    if column.is_text or (not unit and not was_told):
        notes.append(f"{rule.text} has no unit, and is not used; --columns {rule.target}={rule.text}[mas] tells it")
        return None
    values = column.values.astype(float)
    if unit in {"s", "sec", "h"}:  # seconds of time
        values = values * 15.0 * np.cos(np.radians(dec))
    elif unit and unit not in _ANGLES:
        raise NotACatalogue(f"{rule.text}: {unit!r} is no unit of an angle", f"write one of {', '.join(_ANGLES)}")
    else:
        values = values * _ANGLES.get(unit, 1.0)
    return np.where((values > 0) & (values < 3600), values, np.nan)


def _motion(table: TableRead, rule: Rule, notes: list[str]) -> Floats | None:
    column = table.columns[rule.columns[0]]
    if column.is_text:
        return None
    unit = re.sub(r"\s|\*\*|\^|\(|\)", "", (rule.unit or column.unit).lower())
    angle = re.split(r"/|\.(?=y|a)|y", unit)[0].strip(".") if unit else ""
    if not unit:
        notes.append(f"{rule.text} has no unit; mas/yr was taken")
    elif angle not in _ANGLES:
        raise NotACatalogue(f"{rule.text}: {unit!r} is no unit of a motion", f"write {rule.target}={rule.text}[mas/yr]")
    values = column.values.astype(float) * (_ANGLES[angle] * 1e3 if unit else 1.0)
    return np.where(np.abs(values) < 2e4, values, np.nan)  # no star moves faster than 20 arcsec a year


def _add_magnitudes(stars: Stars, table: TableRead, rules: Mapping[str, Rule]) -> None:
    for target, rule in rules.items():
        if target in POSITIONS or target == ID or target.endswith(ERROR):
            continue
        stars.magnitudes[target] = _magnitude(table, rule, stars.magnitudes)
        if not np.isfinite(stars.magnitudes[target]).any():
            raise NotACatalogue(f"{rule.text} holds no magnitude of {target}", f"there are {table.told()}")
    for band, values in stars.magnitudes.items():
        error = rules.get(f"{band}{ERROR}")
        signal = table.columns.get(GAIA_SIGNAL.get(band, ""))
        if error is not None:
            squares = [_numbers(table, name, error) ** 2 for name in error.columns]
            found = np.sqrt(np.sum(squares, axis=0))
        elif signal is not None and not signal.is_text:
            with np.errstate(divide="ignore", invalid="ignore"):
                found = _PAIR_SIGNAL / signal.values.astype(float)
        else:
            continue
        stars.errors[band] = np.where((found > 0) & (found < LARGEST_ERROR) & np.isfinite(values), found, np.nan)
    unknown = [name for name in rules if name.endswith(ERROR) and name not in POSITIONS
               and name.removesuffix(ERROR) not in stars.magnitudes]  # fmt: skip
    if unknown:
        band = unknown[0].removesuffix(ERROR)
        raise NotACatalogue(f"--columns: {unknown[0]} without {band}", f"add {band}=COLUMN; there are {table.told()}")


def _magnitude(table: TableRead, rule: Rule, before: Mapping[str, Floats]) -> Floats:
    total = np.zeros(len(table))
    for term in rule.terms:
        if term.column:
            total = total + term.sign * _numbers(table, term.column, rule)
        elif term.band:
            total = total + term.sign * before[term.band]
        else:
            total = total + term.sign * term.number
    return np.where((total > BRIGHTEST) & (total < FAINTEST), total, np.nan)


def _numbers(table: TableRead, name: str, rule: Rule) -> Floats:
    column = table.columns[name]
    if column.is_text:
        raise NotACatalogue(
            f"{name} cannot be part of {rule.target}: it holds texts such as {str(column.values[0])[:30]!r}",
            f"there are {table.told()}",
        )
    unit = rule.unit or column.unit
    if is_no_magnitude(unit):
        raise NotACatalogue(f"{name} cannot be part of {rule.target}: it is in {unit}", "give a column of magnitudes")
    values = column.values.astype(float)
    return np.where((values > BRIGHTEST) & (values < FAINTEST), values, np.nan)
