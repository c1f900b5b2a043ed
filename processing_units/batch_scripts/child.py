"""The one-shot process that reads a script: it takes one message, gives up all it could do, reads, and answers once.

Standard input is the message as JSON; standard output a line when the limits are set, then ``{"runs": [...]}``,
``{"asks": {...}}`` or ``{"error": ..., "line": ...}`` with the seconds of processor time that it used.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import resource
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from processing_units.batch_scripts.meter import MIB, Meter
from processing_units.batch_scripts.wishes import READY, Asked, Refused, Wishes

Reading = Callable[[str, Wishes, Meter, Callable[[int], None]], None]

# A script is stopped at a line before the kernel refuses more memory, which ends the process.
_STOPPED_BEFORE_MIB = 56
_GRACE_SECONDS = 1
# Pages go before scripts.
NICE = 5


def main() -> None:
    """Answer the message on standard input."""
    asked = json.loads(sys.stdin.buffer.read())
    mark = mmap.mmap(asked["mark"], mmap.PAGESIZE)
    meter = Meter(asked["cpu_seconds"], asked["wall_seconds"], asked["memory_mib"] - _STOPPED_BEFORE_MIB)
    reading = reader_of(asked["language"])
    give_up_powers(asked["cpu_seconds"], asked["memory_mib"])
    print(READY, flush=True)
    answer = {**_answer(asked, reading, mark, meter), "used": meter.used}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


def reader_of(language: str) -> Reading:
    """Return what reads a language, imported now: afterwards nothing can be."""
    if language == "star":
        from processing_units.batch_scripts.starlark_script import read_script

        return read_script
    from processing_units.batch_scripts.tables import read_csv, read_yaml

    return read_yaml if language == "yaml" else read_csv


def give_up_powers(cpu_seconds: float, memory_mib: int) -> None:
    """Let the kernel hold this process: no new file or socket, no process, no file grows, bounded time and memory."""
    os.nice(NICE)
    used: Any = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime + cpu_seconds) + _GRACE_SECONDS
    for which, most in (
        (resource.RLIMIT_AS, memory_mib * MIB),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(which, (most, most))


def _answer(asked: dict[str, Any], reading: Reading, mark: mmap.mmap, meter: Meter) -> dict[str, Any]:
    at = partial(struct.pack_into, "<I", mark, 0)

    def line() -> int:
        return int(struct.unpack_from("<I", mark, 0)[0])

    wishes = Wishes(asked["answers"], line)
    try:
        reading(asked["text"], wishes, meter, at)
    except Asked as asks:
        return {"asks": wishes.question, "line": asks.line or line()}
    except Refused as refused:
        return {"error": str(refused), "line": refused.line or line()}
    except (MemoryError, RecursionError):
        return {"error": "it needs more than 256 MB of memory", "line": line()}
    return {"runs": wishes.runs}
