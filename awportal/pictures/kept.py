"""Pictures are made once and kept on disk, by the frame's sha256 and what decides the picture."""

from __future__ import annotations

import json
import os
import secrets
import threading
from pathlib import Path
from typing import Any, Literal

from awportal.pictures.frame_file import FrameError, open_frame
from awportal.pictures.preview import make_preview
from awportal.pictures.source_map import draw_sources

# Changes whenever the same frame would give another picture.
VERSION = 1
Size = Literal["page", "thumb"]

# Two at a time bound the portal's memory, however many people open a gallery.
_makers = threading.BoundedSemaphore(2)


class KeptPictures:
    """Pictures below `root`; what is there can be deleted at any time and is made anew."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def picture(
        self, sha256: str, path: Path, size: Size, *, is_table: bool = False, scale: float | None = None
    ) -> bytes:
        """Return the PNG of the frame at `path`; raise FrameError where it cannot be shown."""
        self._make_sure(sha256, path, is_table, scale)
        return self._place(sha256, f"{size}.png").read_bytes()

    def facts(self, sha256: str, path: Path, *, is_table: bool = False, scale: float | None = None) -> dict[str, Any]:
        """Return the numbers beside the picture; raise FrameError where it cannot be shown."""
        self._make_sure(sha256, path, is_table, scale)
        facts: dict[str, Any] = json.loads(self._place(sha256, "facts.json").read_text())
        return facts

    def _place(self, sha256: str, name: str) -> Path:
        return self.root / sha256[:2] / f"{sha256}.{VERSION}.{name}"

    def _make_sure(self, sha256: str, path: Path, is_table: bool, scale: float | None) -> None:
        last = self._place(sha256, "facts.json")
        if last.exists():
            self._refuse_known(last)
            return
        with _makers:
            if not last.exists():
                self._make(sha256, path, is_table, scale)
        self._refuse_known(last)

    def _make(self, sha256: str, path: Path, is_table: bool, scale: float | None) -> None:
        self._place(sha256, "x").parent.mkdir(parents=True, exist_ok=True)
        try:
            if is_table:
                page, thumb, facts = draw_sources(path)
            else:
                with open_frame(path) as frame:
                    made = make_preview(frame, scale)
                page, thumb, facts = made.page, made.thumb, made.facts.as_json()
        except FrameError as error:
            self._write(sha256, "facts.json", json.dumps({"error": str(error)}).encode())
            return
        self._write(sha256, "page.png", page)
        self._write(sha256, "thumb.png", thumb)
        self._write(sha256, "facts.json", json.dumps(facts, allow_nan=False).encode())

    def _write(self, sha256: str, name: str, content: bytes) -> None:
        place = self._place(sha256, name)
        draft = place.with_name(f".{secrets.token_hex(8)}")
        draft.write_bytes(content)
        os.replace(draft, place)

    @staticmethod
    def _refuse_known(facts: Path) -> None:
        """A frame that could not be shown once is not read again at every look."""
        error = json.loads(facts.read_text()).get("error")
        if error:
            raise FrameError(error)
