"""Secrets live in files that only their owner can read, made at first start."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def given_secret(path: Path, what: str) -> str:
    """Return a secret that somebody else made and a manager wrote into `path`; ValueError says how to mend its lack."""
    try:
        text = path.read_text().strip()
    except OSError as problem:
        raise ValueError(f"{what} is read from {path} (mode 0600): {problem.strerror or problem}") from None
    if path.stat().st_mode & 0o077:
        raise ValueError(f"others can read {path}, which holds {what}: chmod 600 {path}")
    return text


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
