"""Who decides whether a request is allowed: our own key, or the data server upstream."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import parse_qs

from dataserver.errors import NotAllowed
from dataserver.signing import Grant, verify
from dataserver.upstream import Upstream

_REMEMBERED = 10_000


class Authority(Protocol):
    """Decides on requests."""

    def check(self, method: str, path: str, query: str) -> Grant:
        """Return what is allowed, or raise NotAllowed (or FetchFailed, when nobody can be asked)."""


class KeyAuthority:
    """Checks signatures with the data server's own keys."""

    def __init__(self, keys: bytes | Sequence[bytes]) -> None:
        self._keys = [keys] if isinstance(keys, bytes) else list(keys)

    def check(self, method: str, path: str, query: str) -> Grant:
        """Verify the signature."""
        return verify(self._keys, method, path, query)


class UpstreamAuthority:
    """A cache without a key: the data server upstream, which signed the URL, is asked once for each URL.

    So a site's own cache never holds a key that could sign; while upstream is away it gives only what it was asked for
    before.
    """

    def __init__(self, address: str, timeout: float = 30.0) -> None:
        self._address = address.rstrip("/")
        self._upstream = Upstream([address], timeout)
        self._allowed: dict[tuple[str, str], Grant] = {}
        self._lock = threading.Lock()

    def check(self, method: str, path: str, query: str) -> Grant:
        """Ask upstream with HEAD whether this URL may be read, unless it said so before."""
        if method not in {"GET", "HEAD"} or "format" in parse_qs(query):
            raise NotAllowed("this is a cache: it gives files as they are", hint="ask the data server upstream")
        known = self._allowed.get((path, query))
        if known is None:
            known = self._ask(path, query)
        if known.expires <= time.time():
            raise NotAllowed("this link has expired", hint="ask the portal for a new one")
        return known

    def _ask(self, path: str, query: str) -> Grant:
        response, _ = self._upstream.ask(f"{self._address}{path}?{query}", 0, method="HEAD")
        response.close()
        given = {name: values[-1] for name, values in parse_qs(query).items()}
        expires = given.get("expires", "0")
        grant = Grant(int(expires) if expires.isdigit() else 0, None, given.get("name", ""), given.get("format", ""))
        with self._lock:
            if len(self._allowed) >= _REMEMBERED:
                self._allowed.clear()
            self._allowed[path, query] = grant
        return grant
