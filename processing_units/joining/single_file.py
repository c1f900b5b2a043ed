"""The one file that any machine with a Python can run: a zipapp of this package, made the same each time."""

from __future__ import annotations

import io
import zipfile
from functools import cache

from processing_units.joining.standard_code import installed_root, write_member

NAME = "awworker"
_FIRST_LINE = b"#!/usr/bin/env python3\n"
# Read by whatever Python there is, also by one far too old for the rest.
_MAIN = """\
import sys

if sys.version_info < (3, 11):
    import os
    there = ["python3.%d" % minor for minor in range(20, 10, -1)]
    folders = os.environ.get("PATH", "").split(os.pathsep)
    found = [name for name in there if any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)]
    sys.stderr.write("awworker: Python 3.11 or newer is needed, this is %d.%d; " % sys.version_info[:2])
    if found:
        sys.stderr.write("start it with one that is here: %s %s ...\\n" % (found[0], sys.argv[0]))
    else:
        sys.stderr.write("install one (apt-get install python3.11, or https://docs.astral.sh/uv: uv python install)\\n")
    sys.exit(2)

from processing_units.joining.main import main

sys.exit(main())
"""


@cache
def single_file() -> bytes:
    """Return the bytes of ``awworker``: run it with ``python3 awworker URL --key-file FILE``."""
    root = installed_root()
    packed = io.BytesIO()
    packed.write(_FIRST_LINE)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        write_member(archive, "__main__.py", _MAIN.encode())
        write_member(archive, "processing_units/__init__.py", b"")
        for path in sorted((root / "processing_units" / "joining").glob("*.py")):
            write_member(archive, f"processing_units/joining/{path.name}", path.read_bytes())
    return packed.getvalue()
