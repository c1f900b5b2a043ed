"""What can be in the way on this machine, each told in one line: a port in use, a full disk, a second start."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from pathlib import Path
from typing import IO

# A night of the simulated observatory with its products takes about 400 MiB.
ROOM_NEEDED_MIB = 1024


class CannotStart(Exception):
    """What is in the way and how to mend it, in one line."""


def lock(home: Path, address: str) -> IO[str]:
    """Take the lock of the state directory `home`; raise CannotStart if another launcher has it."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = (home / "launcher.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        who = file.read().strip()
        file.close()
        raise CannotStart(f"awportal already runs on {home}: {who}; stop it there with Ctrl-C") from None
    file.truncate(0)
    file.write(f"process {os.getpid()}, {address}\n")
    file.flush()
    return file


def check_port(port: int) -> None:
    """Raise CannotStart that names who holds the port."""
    if not 1024 <= port <= 65535:
        raise CannotStart(
            f"port {port}: an ordinary user can use ports from 1024 to 65535, as in `make demo PORT=8100`"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise CannotStart(
                f"port {port} is in use{_holder(port)}; end that, or take another, as in `make demo PORT=8100`"
            ) from None


def check_room(directory: Path) -> None:
    """Raise CannotStart if the disk of `directory` is too full to reduce a night."""
    free_mib = shutil.disk_usage(directory).free // 2**20
    if free_mib < ROOM_NEEDED_MIB:
        raise CannotStart(
            f"only {free_mib} MiB are free on the disk of {directory}, a night needs about {ROOM_NEEDED_MIB}; "
            "make room, or put the state elsewhere with AWPORTAL_HOME=DIR"
        )


def _holder(port: int) -> str:
    """Return `` by NAME (process N)`` where this user may know it."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, PermissionError):
        pass
    return ""
