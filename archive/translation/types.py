"""What kind of exposure a raw frame is: told by the user, by the camera's own words, or by the object's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

TYPE_KEYWORDS = ("IMAGETYP", "OBSTYPE", "IMGTYPE", "IMTYPE", "FRAMETYP", "EXPTYPE", "EXP_TYPE", "OBS_TYPE", "PICTTYPE",
                 "FRAME", "IMAGECAT", "ESO DPR TYPE", "DATA-TYP", "OBS-TYPE", "FRMTYPE", "IMAGETYPE", "KOAIMTYP",
                 "CCDTYPE", "IMG_TYPE", "IMG-TYPE", "FRM-TYPE")  # fmt: skip
# SBIG's programs write the type as a number, others under this keyword as a word.
NUMBERED_TYPES = {"PICTTYPE": {1: "light", 2: "bias", 3: "dark", 4: "flat"}}

# What a user may write for a kind.
WORDS = {
    "bias": "RawBias", "zero": "RawBias",
    "dark": "RawDark",
    "domeflat": "RawDomeFlat", "flat": "RawDomeFlat", "dome": "RawDomeFlat", "lampflat": "RawDomeFlat",
    "twilightflat": "RawTwilightFlat", "skyflat": "RawTwilightFlat", "twilight": "RawTwilightFlat",
    "science": "RawScience", "object": "RawScience", "light": "RawScience", "target": "RawScience",
}  # fmt: skip
_KINDS = {kind.lower(): kind for kind in WORDS.values()}
FLAT = "flat"  # a flat of which the header does not tell whether of the dome or of the sky

# Words of cameras, after lower case and with anything but letters and digits turned into one blank.
_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"(bias|zero)(es|s)?( (frame|image|exposure)s?)?|bias zero|zero bias", "RawBias"),
    (r"offset( frame)?", "RawBias"),
    (r"darks?( (frame|image|exposure|current)s?)?|dark field", "RawDark"),
    (r"(dark ?flats?|flat ?darks?)( (frame|image|exposure)s?)?", "RawDark"),  # a dark as long as the flats
    (r"(dome|dflat|lamp|internal|screen|led|ttl)( ?(flat|field|lamp|on))*( ?(field|frame)s?)?", "RawDomeFlat"),
    (r"flats?( field)? (dome|lamp|internal|screen|led)( on)?", "RawDomeFlat"),
    (r"(sky|twilight|twi|dusk|dawn|morning|evening)( ?(dusk|dawn|twilight))?( ?flats?)( ?(field|frame)s?)?",
     "RawTwilightFlat"),
    (r"flats?( field)? (sky|twilight|twi|dusk|dawn)( (dusk|dawn))?", "RawTwilightFlat"),
    (r"sflat|skyflats?|twiflats?|twilight|sky", "RawTwilightFlat"),
    (r"flats?( ?(field|fld|frame|image|exposure)s?)?", FLAT),
    (r"(light|science|object|target|obj|sci|stellar|astro|expose|standard|std)( ?(frame|image|exposure|field)s?)?",
     "RawScience"),
    (r"object astronomical|astronomical( object)?|open|imaging|image", "RawScience"),
    (r"(photometric|spectrophotometric|astrometric) (standard|std|field)( star)?s?", "RawScience"),
)  # fmt: skip
# An object that is no place on the sky: like the words above, followed by what people add ("dome flat V", "bias 3").
_OBJECTS: tuple[tuple[str, str], ...] = (
    (r"(bias|zero)(es|s)?( (frame|image|exposure|test)s?)? ?\d*", "RawBias"),
    (r"darks?( (frame|image|exposure|current)s?)?( \d+ ?s?(ec)?)?", "RawDark"),
    (r"(dome|lamp|internal|screen)( ?flats?)?( .{1,12})?|dflats?( .{1,12})?", "RawDomeFlat"),
    (r"(sky|twilight|twi|dusk|dawn|morning|evening)( ?(dusk|dawn|twilight))? ?flats?( .{1,12})?", "RawTwilightFlat"),
    (r"twilight( sky)?( .{1,12})?|sflats?( .{1,12})?", "RawTwilightFlat"),
    (r"flats?( ?field)?( .{1,12})?", FLAT),
    # The filter before it, or right behind it: "B dome flat", "R skyflat", "flatV".
    (r"[a-z]{1,2}p? (dome|lamp|screen) ?flats?|(dome|d) ?flats?[ubvrigzyhjk]", "RawDomeFlat"),
    (r"[a-z]{1,2}p? (sky|twilight|twi) ?flats?|(sky|twi|s) ?flats?[ubvrigzyhjk]", "RawTwilightFlat"),
    (r"[a-z]{1,2}p? flats?|flats?[ubvrigzyhjk]", FLAT),
)
_NAMES: tuple[tuple[str, str], ...] = (
    (r"(sky|twilight|twi|dusk|dawn) ?flats?|sflats?|twilights?", "RawTwilightFlat"),
    (r"(dome|lamp|screen)? ?flats?|dflats?|ff", "RawDomeFlat"),
    (r"(bias|zero)(es|s)?|offsets?", "RawBias"),
    (r"darks?", "RawDark"),
)


@dataclass(frozen=True)
class TypeFound:
    """A kind, or "" when nobody tells; how it was found, in words; what the file's name suggests instead."""

    kind: str
    notes: tuple[str, ...] = ()
    suggested: str = ""


def kind_of_word(word: str) -> str | None:
    """Return the kind that a user's word names (``bias``, ``dome flat``, ``RawScience``), or None."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    return WORDS.get(letters) or _KINDS.get(letters)


def is_known(word: str, own_words: Mapping[str, str]) -> bool:
    """Whether a header's word for the type is one of the camera's own, or of those that many cameras use."""
    return any(fnmatchcase(word.lower(), own.lower()) for own in own_words) or bool(_known(word))


def find_type(
    said: str, object_name: str, exposure_time: float | None, file_name: str, own_words: Mapping[str, str]
) -> TypeFound:
    """Return the kind of an exposure from the header's type `said`, the object, the time; never from the name alone.

    `own_words` is the camera's own table: its word (with ``*``, in any case) and the kind.
    """
    suggested = suggested_by(file_name)
    for word, kind in own_words.items():
        if said and fnmatchcase(said.lower(), word.lower()):
            return _checked_by_object(kind, object_name, exposure_time, suggested, said)
    kind = _known(said) if said else ""
    if kind:
        return _checked_by_object(kind, object_name, exposure_time, suggested, said)
    by_object = _match(_OBJECTS, object_name) if object_name else ""
    if by_object:
        note = (f"type taken from OBJECT = {object_name[:40]!r}",)
        return TypeFound(*_settled(by_object, suggested, note))
    if said:
        return TypeFound("", (f"the type {said[:40]!r} is not known",), suggested)
    if exposure_time == 0:
        return TypeFound("RawBias", ("no type in the header: an exposure of 0 s is a bias",), suggested)
    if object_name and not suggested:
        return TypeFound("RawScience", (f"no type in the header: it names the object {object_name[:40]!r}",))
    return TypeFound("", ("the header does not say what kind of exposure it is",), suggested)


def suggested_by(file_name: str) -> str:
    """Return the kind that words in a file's name (or its folder's) suggest, or ""; that is never enough to decide."""
    for part in re.split(r"[/\\]", file_name)[:-3:-1]:
        words = re.sub(r"[^a-z]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", part).lower()).strip()
        for pattern, kind in _NAMES:
            if re.search(rf"(^| )({pattern})( |$)", words):
                return kind
    return ""


def _known(said: str) -> str:
    """Return the kind of a header's word; what stands behind a comma makes it more precise, known or not."""
    parts = said.split(",")
    for length in range(len(parts), 0, -1):
        kind = _match(_PATTERNS, " ".join(parts[:length])) or _match(_OBJECTS, " ".join(parts[:length]))
        if kind:
            return kind
    return ""


def _checked_by_object(
    kind: str, object_name: str, exposure_time: float | None, suggested: str, said: str
) -> TypeFound:
    """Return the kind that the header's word gives, made precise by the object: many know only "light" and "dark"."""
    by_object = _match(_OBJECTS, object_name) if object_name else ""
    if kind == "RawDark" and exposure_time == 0:
        return TypeFound("RawBias", (f"type {said[:40]!r} of 0 s: a bias",), suggested)
    if kind == "RawScience" and by_object:
        note = (f"type taken from OBJECT = {object_name[:40]!r}; the header says {said[:40]!r}",)
        return TypeFound(*_settled(by_object, suggested, note))
    if kind == FLAT and by_object in {"RawDomeFlat", "RawTwilightFlat"}:
        return TypeFound(by_object, (f"kind of flat taken from OBJECT = {object_name[:40]!r}",), suggested)
    if kind == "RawScience" and suggested:
        if object_name:
            return TypeFound(kind, (f"its name looks like a {suggested}, its header says {said[:40]!r}",), suggested)
        return TypeFound("", (f"its header says {said[:40]!r}, its name looks like a {suggested}",), suggested)
    return TypeFound(*_settled(kind, suggested, ()))


def _settled(kind: str, suggested: str, notes: tuple[str, ...]) -> tuple[str, tuple[str, ...], str]:
    """Return kind, notes and suggestion with a plain "flat" taken for one of the dome."""
    if kind != FLAT:
        return kind, notes, suggested
    doubt = "; its name suggests the sky" if suggested == "RawTwilightFlat" else ""
    return (
        "RawDomeFlat",
        (*notes, f"a flat, taken for one of the dome (--type twilight if it is not){doubt}"),
        suggested,
    )


def _match(patterns: tuple[tuple[str, str], ...], text: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()
    return next((kind for pattern, kind in patterns if re.fullmatch(pattern, plain)), "")
