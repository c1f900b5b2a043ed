"""Pictures are made once and kept on disk, by the frame's sha256 and what decides the picture."""

from __future__ import annotations

import json
import os
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from awportal.pictures.difference import draw_difference
from awportal.pictures.frame_file import FrameError, open_frame
from awportal.pictures.preview import make_preview
from awportal.pictures.source_map import draw_sources

# Changes whenever the same frame would give another picture.
VERSION = 4
Size = Literal["page", "thumb"]

# Two at a time bound the portal's memory, however many people open a gallery.
_makers = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class Subject:
    """What is drawn: a file by its sha256, where it is, and what of it."""

    sha256: str
    path: Path
    is_table: bool = False
    extension: int | None = None
    pixel_scale: float | None = None
    less: Subject | None = None  # of the two the difference is drawn


class KeptPictures:
    """Pictures below `root`; what is there can be deleted at any time and is made anew."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def picture(self, subject: Subject, size: Size) -> bytes:
        """Return the PNG; raise FrameError where the file cannot be shown."""
        self._make_sure(subject)
        return self._place(subject, f"{size}.png").read_bytes()

    def facts(self, subject: Subject) -> dict[str, Any]:
        """Return the numbers beside the picture; raise FrameError where the file cannot be shown."""
        self._make_sure(subject)
        facts: dict[str, Any] = json.loads(self._place(subject, "facts.json").read_text())
        return facts

    def _place(self, subject: Subject, name: str) -> Path:
        less = f".less.{_name_of(subject.less)}" if subject.less else ""
        return self.root / subject.sha256[:2] / f"{_name_of(subject)}{less}.{VERSION}.{name}"

    def _make_sure(self, subject: Subject) -> None:
        last = self._place(subject, "facts.json")
        if not last.exists():
            with _makers:
                if not last.exists():
                    self._make(subject)
        error = json.loads(last.read_text()).get("error")
        if error:  # what could not be shown once is not read again at every look
            raise FrameError(error)

    def _make(self, subject: Subject) -> None:
        self._place(subject, "x").parent.mkdir(parents=True, exist_ok=True)
        try:
            page, thumb, facts = _draw(subject)
        except FrameError as error:
            self._write(subject, "facts.json", json.dumps({"error": str(error)}).encode())
            return
        self._write(subject, "page.png", page)
        self._write(subject, "thumb.png", thumb)
        self._write(subject, "facts.json", json.dumps(facts, allow_nan=False).encode())

    def _write(self, subject: Subject, name: str, content: bytes) -> None:
        place = self._place(subject, name)
        draft = place.with_name(f".{secrets.token_hex(8)}")
        draft.write_bytes(content)
        os.replace(draft, place)


def _name_of(subject: Subject) -> str:
    return subject.sha256 if subject.extension is None else f"{subject.sha256}-{subject.extension}"


def _draw(subject: Subject) -> tuple[bytes, bytes, dict[str, Any]]:
    if subject.less is not None:
        extensions = subject.extension, subject.less.extension
        return draw_difference(subject.path, subject.less.path, extensions)
    if subject.is_table:
        return draw_sources(subject.path)
    with open_frame(subject.path, subject.extension or 0) as frame:
        made = make_preview(frame, subject.pixel_scale, subject.extension)
    return made.page, made.thumb, made.facts.as_json()
