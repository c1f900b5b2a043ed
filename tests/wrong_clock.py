"""Processes whose clock is off: a small library that is preloaded into them, compiled where the tests run."""

from __future__ import annotations

import subprocess
from pathlib import Path

HOUR = 3600


def wrong_clock(folder: Path, seconds: int) -> dict[str, str]:
    """Return the environment of a process whose clock is off by so many seconds; what measures durations is right."""
    library = folder / "wrong_clock.so"
    if not library.exists():
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(seconds)}
