"""What attempts have staged: promoted or dropped, in the store of this machine or over HTTP, by one function each."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from django.conf import settings

from dataserver.errors import DataServerError, NotStaged
from dataserver.signing import sign
from dataserver.store import Store

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 20.0
_SIGNED_SECONDS = 120


class DataServerAway(Exception):
    """The data server cannot be reached, or has no room: the node is to ask again."""


class NothingStaged(Exception):
    """What is to be committed does not lie in the attempt's staging (any more)."""


def local_store() -> Store | None:
    """Return the store if the portal's embedded data server keeps it on this machine's disk."""
    is_embedded = str(settings.DATA_URL).startswith(f"{settings.BASE_URL}/")
    return Store(settings.DATA_ROOT) if is_embedded and Path(settings.DATA_ROOT).is_dir() else None


def promote(key: str, sha256s: Sequence[str]) -> None:
    """Make staged files part of the store; again and again does no harm.

    Raises
    ------
    NothingStaged
        Some file is neither staged nor stored.
    DataServerAway
        To be tried again.
    """
    if not sha256s:
        return
    store = local_store()
    if store is None:
        _ask("POST", f"/staging/{key}/promote", {"sha256": list(sha256s)})
        return
    try:
        store.promote(key, sha256s)
    except NotStaged as error:
        raise NothingStaged(error.message) from error
    except (DataServerError, OSError) as error:
        raise DataServerAway(str(error)) from error


def drop(key: str) -> None:
    """Forget what an attempt has staged; where that fails the keeper collects it after a day."""
    try:
        store = local_store()
        if store is None:
            _ask("DELETE", f"/staging/{key}", None)
        else:
            store.drop(key)
    except (DataServerAway, NothingStaged, DataServerError, OSError) as error:
        log.warning("the staging of attempt %s could not be dropped, it is collected later: %s", key, error)


def _ask(method: str, path: str, body: dict[str, list[str]] | None) -> None:
    query = sign(settings.DATA_KEY, method, path, int(time.time()) + _SIGNED_SECONDS)
    try:
        answer = httpx.request(method, f"{settings.DATA_URL}{path}?{query}", json=body, timeout=_TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        raise DataServerAway(f"the data server cannot be reached: {error}") from error
    if answer.status_code == httpx.codes.CONFLICT:
        raise NothingStaged(answer.text[:200])
    if not answer.is_success:
        raise DataServerAway(f"the data server answered {answer.status_code}: {answer.text[:200]}")
