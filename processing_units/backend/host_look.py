"""Looks at a host before any analysis: its Python, its disk, its clock, and whether it reaches what it must.

Run on the host as a script, by whatever Python there is; imports next to nothing. It prints one JSON line.
"""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from typing import Any

ANSWER_SECONDS = 15.0


def look(folder: str, addresses: list[str]) -> dict[str, Any]:
    """Return what this host is like."""
    above = folder
    while not os.path.isdir(above):
        above = os.path.dirname(above) or "."
    can_install = subprocess.call(
        [sys.executable, "-c", "import venv, ensurepip"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    has_pip = subprocess.call(
        [sys.executable, "-c", "import venv, pip"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return {
        "python": platform.python_version(),
        "can_install": not (can_install and has_pip),
        "free_mib": shutil.disk_usage(above).free >> 20,
        "writable": os.access(above, os.W_OK),
        "time": time.time(),
        "away": [address for address in addresses if not reaches(address)],
        "system": platform.system(),
    }


def reaches(address: str) -> bool:
    """Whether something answers behind the tunnel: a tunnel whose other end is away closes at once."""
    host, _, port = address.split("//", 1)[1].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(b"PING\r\n\r\n" if address.startswith("redis:") else b"HEAD / HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1], sys.argv[2:])))
