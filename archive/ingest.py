"""Raw frames enter the archive: understood from their headers, stored as they are, entered once.

A file that cannot be understood is reported with the reason and left alone. Raw data are never altered.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ClassVar, Protocol

from django.db import IntegrityError, transaction

from archive.context import Context, may_change, visible
from archive.facets import note
from archive.headers import MAXIMUM_BYTES, NotFits, read_units
from archive.instruments.catalogue import all_cameras, find_camera, recognise
from archive.instruments.generic import BadCamera
from archive.models import Lineage, Product
from archive.on_disk import on_disk
from archive.products import InvalidProduct, columns_of, insert_all, storable
from archive.readout_modes import apart_by_size
from archive.translation import unlit_edges
from archive.translation.camera import Camera
from archive.translation.translate import TOLD, NotUnderstood, RawFrame, translate
from archive.translation.types import kind_of_word
from recipes.kinds import KINDS

# The word by which a user says that what the files' names suggest is right where their headers do not tell.
SUGGESTED = "suggested"
TYPES = ("bias", "dark", "domeflat", "twilight", "science", SUGGESTED)
_CAMERA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,59}")
_FITS_NAME = re.compile(r".*\.(fits?|fts)(\.(gz|fz))?", re.IGNORECASE)


class FileStore(Protocol):
    """Where files go: ``dataserver.store.Store``. A put gives the sha256 and the size."""

    def put(self, stream: BinaryIO) -> Sequence[Any]: ...


class BadRequest(ValueError):
    """What the user told (instrument, type, context) cannot be; the message says what is expected."""


@dataclass(frozen=True)
class _InTheArchive:
    """A file whose products are in the archive: one a chip, and notes on how its header was read."""

    state: ClassVar[str]
    name: str
    products: list[int]
    kind: str
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it for the interface."""
        return {"state": self.state, **asdict(self)}


class Ingested(_InTheArchive):
    """A file that is in the archive since now."""

    state = "ingested"


class AlreadyThere(_InTheArchive):
    """A file whose content was in the archive before; nothing was added."""

    state = "already_there"


@dataclass(frozen=True)
class Refused:
    """A file that was left alone: why, what to do, and the type its name suggests (``--type suggested`` accepts it)."""

    state: ClassVar[str] = "refused"
    name: str
    reason: str
    hint: str = ""
    suggested_type: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for the interface."""
        return {"state": self.state, **asdict(self)}


Reading = Callable[[str], list[RawFrame]]
_DESCRIPTION = "camera_description"  # attribute: the digest of the TOML text by which a frame was read
Outcome = Ingested | AlreadyThere | Refused


@dataclass(frozen=True)
class Told:
    """What the user tells about the files, checked by :func:`told`."""

    camera: Camera | None = None
    kind: str = ""
    use_suggestion: bool = False


def told(instrument: str | Camera | None = None, type: str | None = None) -> Told:  # as users call it
    """Check what the user tells; raise :class:`BadRequest` with the words that are expected.

    An instrument is one of those that the archive knows, one of the site's TOML files, or a new name for a camera whose
    headers need no description.
    """
    camera = instrument if isinstance(instrument, Camera) else None
    try:
        if isinstance(instrument, str) and instrument.strip():
            name = instrument.strip()
            if not _CAMERA_NAME.fullmatch(name):
                known = ", ".join(all_cameras())
                raise BadRequest(f"instrument {name[:60]!r}: use letters, digits and . + _ -; known are {known}")
            camera = find_camera(name) or Camera(name=name)
        elif camera is None:
            find_camera("")  # a wrong TOML file of the site is told before any file is read
    except BadCamera as error:
        raise BadRequest(f"a description of a camera cannot be read: {error}") from None
    word = (type or "").strip()
    if word.lower() == SUGGESTED:
        return Told(camera, "", True)
    kind = kind_of_word(word) if word else ""
    if kind is None:
        raise BadRequest(f"type {word[:40]!r} is none of {', '.join(TYPES)}")
    return Told(camera, kind)


def ingest_file(
    source: str | Path | BinaryIO,
    name: str,
    context: Context,
    store: FileStore,
    instrument: str | Camera | None = None,
    type: str | None = None,  # as users call it
    maximum_bytes: int = MAXIMUM_BYTES,
) -> Outcome:
    """Ingest one file.

    Parameters
    ----------
    source : path or seekable binary stream
        The file.
    name : str
        The file's name as the user knows it, with its folder if need be: names suggest a type, they never decide it.
    context : Context
        Its user becomes creator; project and privilege are the frame's.
    store : FileStore
        Where the bytes go, as they are.
    instrument, type : str, optional
        What the user tells, see :func:`told`.
    maximum_bytes : int, optional
        Unpacked size beyond which a file is refused.

    Raises
    ------
    BadRequest
        `instrument` or `type` cannot be, or nobody is logged in.
    """
    return _ingest(source, name, context, store, told(instrument, type), maximum_bytes)


def ingest_many(
    files: Iterable[tuple[str | Path | BinaryIO, str]],
    context: Context,
    store: FileStore,
    instrument: str | Camera | None = None,
    type: str | None = None,  # as users call it
) -> Iterator[Outcome]:
    """Ingest files one after the other, each outcome as it comes; what was told is checked before the first."""
    checked = told(instrument, type)
    return (_ingest(source, name, context, store, checked, MAXIMUM_BYTES) for source, name in files)


def looks_like_fits(name: str) -> bool:
    """Whether a file's name is one that an ingest of a folder should try: .fits, .fit, .fts, also with .gz or .fz."""
    return bool(_FITS_NAME.fullmatch(name))


def _ingest(
    source: str | Path | BinaryIO, name: str, context: Context, store: FileStore, checked: Told, maximum_bytes: int
) -> Outcome:
    if context.user is None:
        raise BadRequest("log in first: visitors ingest nothing")
    file = Path(source) if isinstance(source, str | Path) else source
    try:
        units = read_units(file, maximum_bytes)
        camera = checked.camera
        if camera is None:
            camera = next((found for unit in units[:2] if (found := recognise(unit.header))), None)

        def read_as(kind: str) -> list[RawFrame]:
            return apart_by_size(translate(units, name, camera, kind or checked.kind, checked.use_suggestion), context)

        frames = read_as("")
        columns = [columns_of(KINDS[frame.kind], frame.attributes.model_dump()) for frame in frames]
    except NotUnderstood as error:
        return Refused(name, error.reason, error.hint, error.suggested)
    except NotFits as error:
        return Refused(name, error.reason, error.hint)
    except InvalidProduct as error:
        return Refused(name, str(error), "describe the camera in a TOML file")
    frames = _with_hints(frames, file, name)
    sha256, size = _store(file, store)
    there = list(visible(context).filter(sha256=sha256, kind__in=[kind.name for kind in KINDS.values() if kind.is_raw]))
    others = len(there)
    there = _as_this_camera(there, frames, checked)
    if there:
        return _again(there, name, context, checked, read_as)
    rows = [
        _row(frame, filled, name, sha256, size, context, again=bool(others))
        for frame, filled in zip(frames, columns, strict=True)
    ]  # fmt: skip
    try:
        with transaction.atomic():
            insert_all(Product, rows)
    except IntegrityError:  # the same file came in at the same moment by another way
        there = list(visible(context).filter(sha256=sha256))
        return AlreadyThere(name, [product.pk for product in there], frames[0].kind)
    return Ingested(name, [row.pk for row in rows], frames[0].kind, frames[0].notes)


def _with_hints(frames: list[RawFrame], file: Path | BinaryIO, name: str) -> list[RawFrame]:
    """Return the frames with notes on overscan that shows in the pixels and that no header tells."""
    if not any(frame.kind in unlit_edges.KINDS for frame in frames):
        return frames
    with on_disk(file) as path:
        hints = unlit_edges.hints_of(frames, path, name)
    told_frames = []
    for frame in frames:
        notes = [*frame.notes, *([hint] if (hint := hints.get(frame.attributes.chip)) else [])]
        attributes = frame.attributes.model_copy(update={"notes": notes}) if notes else frame.attributes
        told_frames.append(RawFrame(frame.kind, attributes, notes))
    return told_frames


def _store(file: Path | BinaryIO, store: FileStore) -> tuple[str, int]:
    if isinstance(file, Path):
        with file.open("rb") as stream:
            sha256, size = store.put(stream)
    else:
        file.seek(0, io.SEEK_SET)
        sha256, size = store.put(file)
    return sha256, size


def _row(
    frame: RawFrame, columns: dict[str, Any], name: str, sha256: str, size: int, context: Context, *, again: bool
) -> Product:
    attributes = _attributes(frame)
    user = context.user
    assert user is not None  # noqa: S101  # _ingest refuses visitors
    return Product(
        kind=frame.kind,
        name=safe_name(name),
        sha256=sha256,
        file_size=size,
        attributes=storable(attributes),
        creator=user,
        project=context.project,
        privilege=context.privilege,
        identity=_identity(user.pk, sha256, columns["chip"], columns["instrument"] if again else ""),
        **columns,
    )


def _attributes(frame: RawFrame) -> dict[str, Any]:
    """Return what is known of the frame; what is not known is left out."""
    return {name: value for name, value in frame.attributes.model_dump(exclude_none=True).items() if value != []}


def _identity(creator: int, sha256: str, chip: str, camera: str) -> str:
    return f"raw {creator}: {sha256} {chip}" + (f" as {camera}" if camera else "")


def safe_name(name: str) -> str:
    """Return the file's own name in characters that are safe in a path, a header and a page."""
    base = PurePosixPath(name.replace("\\", "/")).name
    safe = re.sub(r"[^A-Za-z0-9._+=-]+", "_", base).lstrip("._+=-")
    if len(safe) > 200:
        safe = safe[:120] + safe[-80:]
    return safe or "unnamed.fits"


def _again(there: list[Product], name: str, context: Context, checked: Told, read_as: Reading) -> Outcome:
    """Say that the file is there; what the user now tells of it is put right, as long as nothing was made of it."""
    numbers, kind = sorted(product.pk for product in there), there[0].kind
    if not (checked.camera or checked.kind or checked.use_suggestion):
        return AlreadyThere(name, numbers, kind)
    was_told = any(note.endswith(TOLD) for note in there[0].attributes.get("notes", []))
    frames = read_as(kind if was_told and not (checked.kind or checked.use_suggestion) else "")
    by_extension = {getattr(frame.attributes, "extension", 0): frame for frame in frames}
    pairs = [(product, frame) for product in there
             if (frame := by_extension.get(product.attributes.get("extension", 0)))]  # fmt: skip
    changes = list(dict.fromkeys(change for product, frame in pairs for change in _changes(product, frame)))
    what = "; ".join(was for was, _ in changes)
    if not all(may_change(context, product) for product in there):
        return AlreadyThere(name, numbers, kind, [f"is {what}: only its creator may change that"] if changes else [])
    if changes and _is_used(there):
        another = "; give the camera another name to have it read anew" if checked.camera else ""
        return AlreadyThere(name, numbers, kind, [f"stays {what}: products were made from it{another}"])
    for product, frame in pairs:
        attributes = _attributes(frame)
        filled = columns_of(KINDS[frame.kind], attributes)
        Product.objects.filter(pk=product.pk).update(kind=frame.kind, attributes=storable(attributes), **filled)
        note(Product.objects.filter(pk=product.pk))
    notes = [f"was {what}, is now {'; '.join(now for _, now in changes)} as told"] if changes else []
    return AlreadyThere(name, numbers, pairs[0][1].kind, notes)


def _is_used(products: Sequence[Product]) -> bool:
    """Whether something was made from one of the products."""
    return Lineage.objects.filter(source_id__in=[product.pk for product in products]).exists()


def _as_this_camera(there: list[Product], frames: list[RawFrame], checked: Told) -> list[Product]:
    """Return the products that are this file as the frames' camera reads it; none where it is to be read anew.

    A file from which products were made stays as it was read; told as another camera's it comes in once more.
    """
    own = [product for product in there if product.instrument == frames[0].attributes.instrument]
    if own or not there:
        return own
    return [] if checked.camera and _is_used(there) else there


def _changes(product: Product, frame: RawFrame) -> list[tuple[str, str]]:
    """Return what was and what would be of a frame read anew, in words; of it all a few are enough to tell."""
    changes = [] if product.kind == frame.kind else [(product.kind, frame.kind)]
    before, after = product.attributes, storable(_attributes(frame))
    for key in sorted({*before, *after} - {"notes", _DESCRIPTION}):
        if before.get(key) != after.get(key):
            changes.append((f"{key} {_short(before.get(key))}", f"{key} {_short(after.get(key))}"))
    return changes


def _short(value: Any) -> str:
    return "unknown" if value is None else str(value)[:40]


def night_summary(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how many files each state has, for a line at the end of an ingest."""
    counts = {state.state: 0 for state in (Ingested, AlreadyThere, Refused)}
    for outcome in outcomes:
        counts[outcome.state] += 1
    return counts
