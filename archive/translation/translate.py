"""From a camera's headers to the attributes that recipes and archive use: one frame a chip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from archive.headers import Header, Unit, clean
from archive.translation.camera import Camera
from archive.translation.detector import find_detector
from archive.translation.pointing import find_airmass, find_pixel_scale, find_position
from archive.translation.sections import find_sections, light_beside
from archive.translation.times import longitude_of, night_of, start_of
from archive.translation.types import NUMBERED_TYPES, TYPE_KEYWORDS, TypeFound, find_type, is_known
from archive.translation.values import find_number, number, sexagesimal, slug
from recipes.attributes import FrameAttributes
from recipes.kinds import KINDS

TOLD = "told at ingest"  # how a note on a user's word ends
MAXIMUM_PIXELS = 2**29  # two gigabytes of float32
# Places in a filter wheel that let all light through.
_OPEN = re.compile(r"open[\d-]*|clear|air|empty|none|no filter|blank|home|free|hole|--?", re.IGNORECASE)
# Written by IRAF's ccdproc, ESO's pipelines and LCO's when a frame is corrected.
_CORRECTIONS = ("ZEROCOR", "BIASCOR", "DARKCOR", "FLATCOR", "CCDPROC", "ESO PRO CATG", "L1STATBI", "L1STATFL")
_CALIBRATED_UNIT = re.compile(r"e-|electron|[mun]?jy|erg|[munk]?jansky|(adu|counts?|dn)\s*(/|per)\s*s", re.IGNORECASE)
_AMPLIFIER_NAMES = ("AMPNAME", "AMPID", "AMP", "AMPLIFIE", "AMPLIFIER", "AMP_ID", "AMPNO", "OUTPUT", "EXTNAME")
_LIKE_FILTER = re.compile(
    r"(?!.*(POS|DATE|TIME|PATH|FILE|STAT|TYPE|SYS|SER|OFF|FOC|TEMP|COR|ERR|MODE|ID$|NO$)).*(FILT|FLT|WHEEL\d).*"
)
_NO_CHIP = {"primary", "image", "sci", "compressed_image", "im1", "data", "none"}


class NotUnderstood(ValueError):
    """A file that is FITS but does not tell what is needed: the reason, what to do, and the type its name suggests."""

    def __init__(self, reason: str, hint: str = "", suggested: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.suggested = suggested


@dataclass(frozen=True)
class RawFrame:
    """One chip's exposure: its kind, its attributes, and what is to be said of how they were found."""

    kind: str
    attributes: FrameAttributes
    notes: list[str] = field(default_factory=list)


def translate(
    units: Sequence[Unit], file_name: str, camera: Camera | None, told_kind: str = "", use_suggestion: bool = False
) -> list[RawFrame]:
    """Return the raw frames of a file, one a chip, or raise :class:`NotUnderstood`.

    `told_kind` is the kind that the user tells, before all else. `use_suggestion` is the user's word that where the
    header does not tell, what the file's name suggests is right.
    """
    if not units:
        raise NotUnderstood("it has no header")
    images = [unit for unit in units if unit.is_image]
    if not images:
        raise NotUnderstood("it holds no image", "only raw images are ingested; catalogues come in by other ways")
    frames = []
    for image in images:
        if len(image.axes) > 2:
            raise NotUnderstood(
                f"its image is {'×'.join(map(str, image.axes))}: a cube or a colour image, not a raw frame",
                "write one file a plane",
            )
        if image.axes[0] * image.axes[1] > MAXIMUM_PIXELS:
            raise NotUnderstood(f"its image is {image.axes[0]}×{image.axes[1]}, more than {MAXIMUM_PIXELS} pixels")
        header = image.header if image is units[0] else image.header.over(units[0].header)
        frames.append(_frame(header, image, file_name, camera, told_kind, use_suggestion, len(images)))
    frames = _apart(frames, images)
    _check_chips(frames)
    return frames


def _frame(
    header: Header,
    image: Unit,
    file_name: str,
    camera: Camera | None,
    told_kind: str,
    use_suggestion: bool,
    chips: int,
) -> RawFrame:
    camera = camera or _unknown_camera(header)
    exposure_time = _exposure_time(header, camera)
    if exposure_time is not None and exposure_time < 0:
        raise NotUnderstood(f"its exposure time is {exposure_time:g} s")
    object_name = header.text(*camera.keywords_for("object"))
    kind, notes = _kind(header, camera, object_name, exposure_time, file_name, told_kind, use_suggestion)
    attributes: dict[str, Any] = {
        "instrument": camera.name,
        "chip": _chip(header, image, camera, chips),
        "exposure_time": exposure_time,
        "object": object_name,
        **_times(header, camera, exposure_time, notes),
        **find_position(header, camera, notes),
        **find_pixel_scale(header, camera),
        **find_airmass(header, camera, notes),
        **find_detector(header, camera),
    }
    if KINDS[kind].per_filter:
        attributes["filter"] = _filter(header, camera)
        if attributes["filter"] is None:
            notes.append("no filter in the header")
        attributes["photometry"] = camera.photometry_of(camera.fixed.get("filter", attributes["filter"]))
    attributes |= _geometry(header, image, camera, attributes.pop("binning"), notes)
    if image.index:
        attributes["extension"] = image.index
    if camera.description:
        attributes["camera_description"] = camera.description
    attributes |= camera.fixed
    if light := light_beside(camera.fixed, attributes):
        attributes["data_section"] = light
    if notes:
        attributes["notes"] = notes
    try:
        return RawFrame(kind, FrameAttributes.model_validate(attributes), notes)
    except ValueError as error:
        raise NotUnderstood(f"its header cannot be used: {clean(str(error))[:300]}") from None


def _exposure_time(header: Header, camera: Camera) -> float | None:
    """Return the exposure time [s], of a number or of "00:01:00".

    A number counts seconds, or what the camera's description says, or milliseconds where the comment says so.
    """
    for keyword in camera.keywords_for("exposure_time"):
        found = header.find(keyword)
        if found is None:
            continue
        hours, seconds = sexagesimal(found[1].value), number(found[1].value)
        if hours is not None:
            return hours * 3600
        if seconds is not None:
            if camera.exposure_time_unit != 1.0:
                return seconds * camera.exposure_time_unit
            return seconds / 1000 if re.search(r"\bms\b|millisec", found[1].comment, re.IGNORECASE) else seconds
    return None


def _kind(
    header: Header,
    camera: Camera,
    object_name: str,
    exposure_time: float | None,
    file_name: str,
    told_kind: str,
    use_suggestion: bool,
) -> tuple[str, list[str]]:
    if told_kind:
        return told_kind, [f"type {TOLD}"]
    if worked_on := _worked_on(header):
        raise NotUnderstood(f"it is not raw: {worked_on}", "if it is raw all the same, tell its type with --type")
    said = _said_type(header, camera)
    found: TypeFound = find_type(said, object_name, exposure_time, file_name, camera.types)
    if use_suggestion and found.suggested and (not found.kind or found.kind == "RawScience"):
        return found.suggested, [*found.notes, f"type taken from the file's name, as {TOLD}"]
    if not found.kind:
        raise NotUnderstood(
            "; ".join(found.notes),
            "tell its type at ingest: --type bias, dark, domeflat, twilight or science"
            + (f', or what the word means in the camera\'s TOML file: [types] "{said[:40]}" = ...' if said else ""),
            found.suggested,
        )
    return found.kind, list(found.notes)


def _said_type(header: Header, camera: Camera) -> str:
    """Return the header's word for the type: the first that is known, else the first that is no number, or ""."""
    said = []
    for keyword in (*camera.keywords.get("type", ()), *TYPE_KEYWORDS):
        word = header.text(keyword)
        as_number = number(word) if re.fullmatch(r"[\d.]+", word) else None
        if as_number is not None and not is_known(word, camera.types):
            word = NUMBERED_TYPES.get(keyword, {}).get(int(as_number), "")
        if word and is_known(word, camera.types):
            return word
        said += [word] if word else []
    return said[0] if said else ""


def _worked_on(header: Header) -> str:
    """Return what the header says was done to the frame already, or "": correcting it again would be wrong."""
    for keyword in ("NCOMBINE", "NCOMB", "STACKCNT"):
        if (count := find_number(header, keyword) or 0) > 1:
            return f"{keyword} says that it is combined from {count:.0f} frames"
    steps = header.text("CALSTAT")  # MaxIm DL and others: B, D, F for bias, dark and flat
    if re.search("[BDF]", steps):
        return f"CALSTAT = {steps[:20]!r} says that it is calibrated"
    for keyword in _CORRECTIONS:
        text = header.text(keyword)
        if text and text not in {"F", "False", "0"} and "PERFORM" not in text.upper() and text.upper() != "OMIT":
            return f"{keyword} = {text[:30]!r} says that it is calibrated"
    unit = header.text("BUNIT")
    if _CALIBRATED_UNIT.match(unit) and (find_number(header, "BITPIX", "ZBITPIX") or 0) < 0:
        return f"its pixels are in {unit[:20]!r}, as no camera writes them"
    return ""


def _unknown_camera(header: Header) -> Camera:
    """Return a camera without ways of its own, named as the header says."""
    probe = Camera(name="")
    name = slug(header.text(*probe.keywords_for("instrument")), 60)
    if not name:
        raise NotUnderstood(
            "its header names no instrument", "tell it at ingest: --instrument NAME, or describe the camera in TOML"
        )
    return Camera(name=name)


def _times(header: Header, camera: Camera, exposure_time: float | None, notes: list[str]) -> dict[str, Any]:
    start, said = start_of(
        header,
        exposure_time,
        camera.keywords.get("date_obs", ()),
        camera.keywords.get("time_obs", ()),
        camera.time_format,
    )
    if start is None:
        raise NotUnderstood(
            "its header does not tell when it was taken" + (f" ({'; '.join(said)})" if said else ""),
            "describe the camera in a TOML file: which keywords hold date and time, and in which format",
        )
    notes += said
    if camera.longitude is not None:
        longitude: float | None = camera.longitude
    else:
        longitude, source = longitude_of(
            Header({"SITELONG": header.cards[name]} if (name := _own(header, camera, "longitude")) else header.cards),
            start,
        )
        if source == "sidereal time":
            notes.append(f"longitude {longitude:g}° from the sidereal time")
    if longitude is None:
        notes.append("no longitude of the site in the header: its night is counted from noon UT")
    return {
        "date_obs": start.replace(tzinfo=None).isoformat(timespec="milliseconds"),
        "night": night_of(start, longitude or 0.0).isoformat(),
    }


def _own(header: Header, camera: Camera, attribute: str) -> str:
    """Return the first of the camera's own keywords for `attribute` that is in the header, or ""."""
    found = header.find(*camera.keywords.get(attribute, ()))
    return found[0] if found else ""


def _filter(header: Header, camera: Camera) -> str | None:
    keywords = camera.keywords_for("filter")
    own = camera.keywords.get("filter", ())
    wheels = own if len(own) > 1 else ()
    if not wheels:
        single = header.text(*keywords)
        if single:
            return single[:40]
        wheels = tuple(f"{stem}{place}" for stem in ("FILTER", "FILT", "FILTNAM", "FILTER_") for place in range(1, 5))
    names = [name for keyword in wheels if (name := header.text(keyword))]
    if not names and keywords:
        names = _filters_by_likeness(header)
    if not names:
        return None
    in_light = [name for name in names if not _OPEN.fullmatch(name)]
    return "+".join(in_light)[:40] or names[0][:40]


def _filters_by_likeness(header: Header) -> list[str]:
    """Return the words under keywords that look like a filter's (``ALFLTNM``, ``ACAMFILT``), each once."""
    words = [
        clean(card.value)
        for keyword, card in header.cards.items()
        if isinstance(card.value, str) and _LIKE_FILTER.fullmatch(keyword) and header.find(keyword)
    ]
    return list(dict.fromkeys(word for word in words if re.search("[A-Za-z]", word) and len(word) <= 40))


def _chip(header: Header, image: Unit, camera: Camera, chips: int) -> str:
    name = slug(header.text(*camera.keywords_for("chip")).removesuffix(".0"), 40)
    if name and (chips == 1 or image.header.find(*camera.keywords_for("chip"))):
        return name
    extension = slug(image.header.text("EXTNAME"), 40)
    if extension and (extension.lower() not in _NO_CHIP or (chips > 1 and extension[-1].isdigit())):
        return extension
    return str(image.index) if chips > 1 else "1"


def _geometry(
    header: Header, image: Unit, camera: Camera, binning: tuple[int, int], notes: list[str]
) -> dict[str, Any]:
    width, height = image.axes
    cards = dict(header.cards)
    for attribute, keyword in (("data_section", "TRIMSEC"), ("overscan_x", "BIASSEC"), ("prescan_x", "PRESEC"),
                               ("overscan_y", "OVERSEC"), ("prescan_y", "POSTSEC")):  # fmt: skip
        own = camera.keywords.get(attribute)
        if own is not None:
            cards.pop(keyword, None)
            if found := header.find(*own):
                cards[keyword] = found[1]
    sections = find_sections(Header(cards), width, height, binning)
    notes += sections.notes
    geometry: dict[str, Any] = {"width": width, "height": height, **sections.found}
    if sections.amplifiers:
        geometry["amplifiers"] = [amplifier.model_dump() for amplifier in sections.amplifiers]
    return geometry


def _apart(frames: Sequence[RawFrame], images: Sequence[Unit]) -> list[RawFrame]:
    """Tell amplifiers of one chip that have an extension each apart by their names: each is a chip to the recipes."""
    chips = [frame.attributes.chip for frame in frames]
    made = []
    for frame, image in zip(frames, images, strict=True):
        chip, amplifier = frame.attributes.chip, slug(image.header.text(*_AMPLIFIER_NAMES), 12)
        if chips.count(chip) > 1 and amplifier:
            notes = [*frame.notes, f"amplifier {amplifier} of chip {chip}: taken for a chip of its own"]
            named = {"chip": f"{chip[:27]}-{amplifier}", "notes": notes}
            made.append(RawFrame(frame.kind, frame.attributes.model_copy(update=named), notes))
        else:
            made.append(frame)
    return made


def _check_chips(frames: Sequence[RawFrame]) -> None:
    names = [frame.attributes.chip for frame in frames]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise NotUnderstood(
            f"it holds several images of one chip ({twice[0]})",
            "if they are its amplifiers, an AMPNAME in each extension must tell them apart; else write one file each",
        )
