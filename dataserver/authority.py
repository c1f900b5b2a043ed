"""Who decides whether a request is allowed: a data server by its keys, a caching one by the key that it was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from dataserver.errors import NotAllowed
from dataserver.signing import Grant, PeerKey, no_peer, verify, verify_as_peer


class Authority(Protocol):
    """Decides on requests."""

    def check(self, method: str, path: str, query: str) -> Grant:
        """Return what is allowed, or raise NotAllowed."""


class KeyAuthority:
    """Checks signatures with the data server's own keys; `is_peer` knows which caching ones are registered."""

    def __init__(self, keys: bytes | Sequence[bytes], is_peer: Callable[[str], bool] = no_peer) -> None:
        self._keys = [keys] if isinstance(keys, bytes) else list(keys)
        self._is_peer = is_peer

    def check(self, method: str, path: str, query: str) -> Grant:
        """Verify the signature."""
        return verify(self._keys, method, path, query, is_peer=self._is_peer)


class PeerAuthority:
    """Checks links that lead through a caching data server, by the data server's clock."""

    def __init__(self, own: PeerKey, now: Callable[[], float]) -> None:
        self._own = own
        self._now = now

    def check(self, method: str, path: str, query: str) -> Grant:
        """Verify the signature; only reading can be allowed."""
        if method not in {"GET", "HEAD"}:
            raise NotAllowed("this is a cache: it gives files as they are", hint="ask the data server upstream")
        return verify_as_peer(self._own, method, path, query, self._now())
