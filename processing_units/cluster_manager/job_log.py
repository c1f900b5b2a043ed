"""A job's log on its way to the frontend: clean UTF-8, offsets in bytes, bounded with an honest line.

What is sent is not the raw file but the text made of it (bytes that are no UTF-8 and NULs become U+FFFD), so that
offsets mean the same on both sides. It is held in memory: the log of a job that filled the disk must arrive too.
"""

from __future__ import annotations

import codecs
import threading
from datetime import UTC, datetime
from pathlib import Path

HEAD_BYTES = 4 * 1024 * 1024
TAIL_BYTES = 1024 * 1024
_PIECE = 1024 * 1024


class JobLog:
    """The log of one attempt; the node's own lines come in between the process's."""

    def __init__(self, raw: Path, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self.raw = raw
        self.arrived = 0
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._text = bytearray()
        self._position = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._lock = threading.Lock()

    def say(self, stage: str, text: str) -> None:
        """Add a line of the node's own, after what the process has written so far."""
        now = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        with self._lock:
            self._take(self._head_bytes)
            if self._text and not self._text.endswith(b"\n"):
                self._text += b"\n"
            self._text += f"{now} {stage} {text}\n".encode(errors="replace").replace(b"\0", b"")

    def piece(self, limit: int) -> tuple[int, str]:
        """Return the offset from which the frontend lacks text, and at most ``limit`` bytes of that text."""
        with self._lock:
            self._take(self._head_bytes)
            offset = self.arrived
            return offset, self._text[offset : offset + limit].decode("utf-8", errors="ignore")

    def confirm(self, arrived: int) -> None:
        """Note how many bytes the frontend says it has."""
        with self._lock:
            if 0 <= arrived <= len(self._text):
                self.arrived = arrived

    @property
    def waiting(self) -> int:
        """Bytes that the frontend lacks."""
        with self._lock:
            return len(self._text) - self.arrived

    def last_line(self) -> str:
        """Return the last line that is not empty."""
        with self._lock:
            lines = self._text[-4000:].decode("utf-8", errors="ignore").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def finish(self) -> None:
        """Take all that the process wrote, or head and end of it with a line that says what is left out."""
        with self._lock:
            self._take(self._head_bytes)
            size = self._raw_size()
            left_out = size - self._tail_bytes - self._position
            if left_out > 0:
                limit = (self._head_bytes + self._tail_bytes) / 1024**2
                self._text += self._decoder.decode(b"", final=True).encode()
                line = f"\n... {left_out} bytes of the log are left out here: it is longer than {limit:g} MiB ...\n"
                self._text += line.encode()
                self._decoder.reset()
                self._position += left_out
            self._take(None)
            self._text += self._decoder.decode(b"", final=True).encode()

    def _raw_size(self) -> int:
        try:
            return self.raw.stat().st_size
        except OSError:
            return 0

    def _take(self, limit: int | None) -> None:
        """Decode what the process has written since the last time, up to ``limit`` bytes of the raw file."""
        try:
            with self.raw.open("rb") as stream:
                stream.seek(self._position)
                while True:
                    length = _PIECE if limit is None else min(_PIECE, limit - self._position)
                    raw = stream.read(length) if length > 0 else b""
                    if not raw:
                        return
                    self._position += len(raw)
                    self._text += self._decoder.decode(raw).replace("\0", "\ufffd").encode()
        except OSError:
            return  # not written yet, or gone with its directory
