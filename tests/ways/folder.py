"""A way of working as a command: in a folder of its own, which is gone afterwards, also when it is stopped."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def run_in_folder(name: str, play: Callable[[Path], str]) -> int:
    """Print what `play` tells of its time in a new folder; return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    try:
        print(play(folder))
    except KeyboardInterrupt:
        print("stopped; nothing is left", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0
