"""A file that came as a stream, for those who need a path."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_PIECE = 1 << 20


@contextmanager
def on_disk(source: Path | BinaryIO) -> Iterator[Path]:
    """Give the path of a file, written for the time being where it came as a stream."""
    if isinstance(source, Path):
        yield source
        return
    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        source.seek(0)
        while piece := source.read(_PIECE):
            file.write(piece)
        file.flush()
        yield Path(file.name)
