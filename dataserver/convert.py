"""One conversion in a process of its own: ``python -m dataserver.convert FORMAT < stored.fits > converted``.

Stored files come from anybody, and the libraries that read them can be made to run for hours, to take all memory or to
crash (a damaged compressed image is enough). Here that ends one conversion, not the data server.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO

from dataserver.errors import DataServerError, DiskFull, WrongFormat, full_disk_reported
from dataserver.formats import formats

MEMORY_BYTES = 4 << 30
CPU_SECONDS = 120
WALL_SECONDS = 300.0
_AT_ONCE = threading.BoundedSemaphore(2)  # each may take some hundred MiB
_TREE = Path(__file__).resolve().parent.parent


def converted(file: BinaryIO, name: str) -> BinaryIO:
    """Return a stored FITS file in another format, as a temporary file that is gone when it is closed.

    Parameters
    ----------
    file : file
        The stored file, open; it is closed here unless it is what is returned.
    name : str
        Name of the format.

    Raises
    ------
    WrongFormat
        There is no such format, or this file cannot be given in it.
    DiskFull
        There is no room for the temporary file.
    """
    format = formats().get(name)
    if format is None:
        file.close()
        raise WrongFormat(f"there is no format {name!r}", hint=f"the formats are: {', '.join(formats())}")
    if format.write is None:
        return file
    output: BinaryIO = tempfile.TemporaryFile(prefix="awportal-")  # noqa: SIM115
    try:
        with file, _AT_ONCE:
            _run(file, name, output)
        output.seek(0)
    except BaseException:
        output.close()
        raise
    return output


def _run(file: BinaryIO, name: str, output: BinaryIO) -> None:
    line = [sys.executable, "-m", "dataserver.convert", name]
    try:
        done = subprocess.run(
            line, stdin=file, stdout=output, stderr=subprocess.PIPE, cwd=_TREE, timeout=WALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise WrongFormat(f"the conversion took more than {WALL_SECONDS:g} s", _AS_STORED) from None
    if done.returncode == 0:
        return
    try:
        told = json.loads(done.stderr.splitlines()[-1])
        error, hint, is_full = str(told["error"]), str(told["hint"]), bool(told["full"])
    except (IndexError, ValueError, KeyError, TypeError):  # killed by a limit, or crashed
        raise WrongFormat("the file cannot be converted: it is damaged or too large", _AS_STORED) from None
    raise DiskFull(error, hint) if is_full else WrongFormat(error, hint)


_AS_STORED = "download it as it is stored"


def main() -> int:
    """Convert standard input to standard output; tell an error as JSON in the last line of standard error."""
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        # Opened anew: a position of our own, and a file that astropy can map.
        with open("/dev/stdin", "rb") as source, open(1, "wb", closefd=False) as output:
            write = formats()[sys.argv[1]].write
            if write is not None:
                with full_disk_reported(tempfile.gettempdir()):
                    write(source, output)
                    output.flush()
    except DataServerError as error:
        print(json.dumps(_told(error)), file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - the job's edge: whatever a hostile file brings about is told
        print(json.dumps(_told(WrongFormat(f"the file cannot be converted: {error}", _AS_STORED))), file=sys.stderr)
        return 1
    return 0


def _told(error: DataServerError) -> dict[str, object]:
    return {"error": error.message, "hint": error.hint, "full": isinstance(error, DiskFull)}


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # nothing is left to do, and tearing down a damaged library may hang
