"""Submit exactly once: the idempotency key is kept in a file until we know that it is no longer needed.

Cut off at any point (network, Ctrl-C, restart), the same command finds the file, sends the same key, and the portal
answers with the same run.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from awclient.client import Portal
from awclient.configuration import state_directory
from awclient.errors import EXIT_LOST, ClientError
from processing_units.contract import RunStatus, Submission

# After this, the same command means a new run even where the old one was never seen to end.
_KEPT_SECONDS = 7 * 24 * 3600.0


class PendingKey:
    """An idempotency key on disk, from before what it is for is sent until `settle`.

    Parameters
    ----------
    portal : Portal
        To which it will be sent.
    wanted : dict
        What will be sent: the same again finds the same key.
    new : bool
        Take a new key all the same.
    """

    def __init__(self, portal: Portal, wanted: dict[str, object], *, new: bool = False) -> None:
        text = json.dumps([portal.url, wanted], sort_keys=True)
        self._path = _folder() / (hashlib.sha256(text.encode()).hexdigest()[:32] + ".json")
        kept = None if new else _kept_key(self._path)
        self.is_resumed = kept is not None
        self.text = kept or secrets.token_urlsafe(24)
        if kept is None:
            _write(self._path, {"key": self.text, "url": portal.url, "submission": wanted})

    @contextmanager
    def settled_if_refused(self) -> Iterator[None]:
        """Forget the key where what is sent in this block is refused: the mended command is another one."""
        try:
            yield
        except ClientError as problem:
            if problem.exit_code != EXIT_LOST:
                self.settle()
            raise

    def settle(self) -> None:
        """Forget the key: the user has been told how it ended."""
        self._path.unlink(missing_ok=True)


class PendingSubmission:
    """A submission with its key on disk, from before it is sent until `settle`."""

    def __init__(self, portal: Portal, submission: Submission, *, new: bool = False) -> None:
        self._portal = portal
        self._key = PendingKey(portal, submission.model_dump(mode="json", exclude={"idempotency_key"}), new=new)
        self.is_resumed = self._key.is_resumed
        self._submission = submission.model_copy(update={"idempotency_key": self._key.text})

    def send(self) -> RunStatus:
        """Send it; return the run, the old one where it had arrived already."""
        with self._key.settled_if_refused():
            return self._portal.submit(self._submission)

    def settle(self) -> None:
        """Forget the key: the user has been told how it ended."""
        self._key.settle()


def _folder() -> Path:
    folder = state_directory() / "submissions"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _kept_key(path: Path) -> str | None:
    try:
        if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
            return None
        return str(json.loads(path.read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, content: dict[str, object]) -> None:
    draft = path.with_suffix(f".{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
