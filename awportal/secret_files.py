"""Secrets live in files that only their owner can read, made at first start."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def secret(path: Path, random_bytes: int = 48) -> str:
    """Return the secret in `path`; make one of that many random bytes, mode 0600, where there is none.

    Several processes may start at once: the file is linked into place whole, and the first one wins.
    """
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(random_bytes) + "\n")
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    return path.read_text().strip()
