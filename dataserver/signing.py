"""Signed, expiring URLs: the right to do one thing with one file for some time, and nothing else.

The signature covers the method, the path below the data server and every other query parameter, so that whoever holds
a URL can change nothing in it. Parameters that a signature may bind: ``max_size`` (bytes of an upload), ``name`` (what
a download is called) and ``format`` (what it is converted to). Who may GET may HEAD. What is signed for staging is the
attempt, ``/staging/ATTEMPT``: it is good for any name below it.

A caching data server is a **peer**: it has a key of its own, derived from the data server's by the peer's identifier,
and links to it carry ``via=PEER`` and are signed with that key. The same link is good at the data server, which
derives the key anew, as long as the peer is registered there; it gives no more than GET. So a cache checks links by
itself, also while its data server is away, and holds nothing that could write.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from dataserver.errors import DataServerError, NotAllowed

KEY_BYTES = 32
_BINDABLE = {"max_size", "name", "format", "via"}
_PEER = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


class Grant(NamedTuple):
    """What a verified signature allows."""

    expires: int
    max_size: int | None
    name: str
    format: str


class PeerKey(NamedTuple):
    """What a caching data server checks links with."""

    peer: str
    key: bytes


def sign(
    key: bytes,
    method: str,
    path: str,
    expires: int,
    *,
    max_size: int | None = None,
    name: str = "",
    format: str = "",
    via: str = "",
) -> str:
    """Return the query string that allows `method` on `path` until `expires`.

    Parameters
    ----------
    key : bytes
        The data server's key (with several, the first of its file).
    method : str
        ``GET`` (and HEAD with it), ``PUT``, ``POST`` or ``DELETE``.
    path : str
        As the data server sees it: ``/files/SHA256``, without what it is mounted below.
    expires : int
        Unix time [s].
    max_size : int, optional
        Largest upload [bytes]; for staging, of all files of the attempt together.
    name, format : str, optional
        What a download is called, and the format it is converted to.
    via : str, optional
        The peer that the link leads through: it is signed with that peer's key.
    """
    bound = {"expires": str(expires), "format": format, "max_size": "" if max_size is None else str(max_size)}
    query = {name_: value for name_, value in sorted((bound | {"name": name, "via": via}).items()) if value}
    if via:
        key = peer_key(key, via).key
    return urlencode(query | {"signature": _signature(key, method, path, query)})


def signed_url(
    key: bytes,
    base: str,
    method: str,
    path: str,
    *,
    lifetime: float = 3600.0,
    max_size: int | None = None,
    name: str = "",
    format: str = "",
) -> str:
    """Return the whole signed URL, `lifetime` seconds good, of `path` on the data server at `base`."""
    expires = int(time.time() + lifetime)
    query = sign(key, method, path, expires, max_size=max_size, name=name, format=format)
    return f"{base.rstrip('/')}{path}?{query}"


def below(url: str, name: str) -> str:
    """Return a signed staging URL with `name` added to its path: where to PUT that file."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name, safe='')}"))


def no_peer(_: str) -> bool:
    """Know of no peer."""
    return False


def verify(
    keys: Sequence[bytes],
    method: str,
    path: str,
    query: str,
    now: float | None = None,
    is_peer: Callable[[str], bool] = no_peer,
) -> Grant:
    """Return what the signature in `query` allows, or raise NotAllowed; `is_peer` knows who is registered."""

    def keys_of(via: str) -> Sequence[bytes]:
        if not via:
            return keys
        if method not in {"GET", "HEAD"} or not is_peer(via):
            raise NotAllowed(
                "this link leads through a caching data server that is not registered here",
                hint="an administrator registers it: awrecipe data-servers NAME ADDRESS",
            )
        return [peer_key(key, via).key for key in keys]

    return _verify(keys_of, method, path, query, time.time() if now is None else now)


def verify_as_peer(own: PeerKey, method: str, path: str, query: str, now: float) -> Grant:
    """Return what the signature in `query` allows at the caching data server itself, or raise NotAllowed."""

    def keys_of(via: str) -> Sequence[bytes]:
        if via != own.peer:
            raise NotAllowed(
                f"this link does not lead through {own.peer}",
                hint="was this caching data server registered anew? then it needs its new key file",
            )
        return [own.key]

    return _verify(keys_of, method, path, query, now)


def _verify(keys_of: Callable[[str], Sequence[bytes]], method: str, path: str, query: str, now: float) -> Grant:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise _forged() from None
    given = dict(pairs)
    signature = given.pop("signature", "")
    if not signature:
        raise NotAllowed("this address is not signed", hint="ask the portal for a link to this file")
    if len(pairs) != len(given) + 1 or not set(given) <= _BINDABLE | {"expires"}:
        raise _forged()
    expected = "GET" if method == "HEAD" else method
    right = [_signature(key, expected, path, given).encode() for key in keys_of(given.get("via", ""))]
    if not any(hmac.compare_digest(signature.encode(), each) for each in right):
        raise _forged()
    expires = int(given.get("expires", "0"))
    if expires <= now:
        raise NotAllowed("this link has expired", hint="ask the portal for a new one")
    max_size = int(given["max_size"]) if "max_size" in given else None
    return Grant(expires, max_size, given.get("name", ""), given.get("format", ""))


def make_key_file(path: str | os.PathLike[str]) -> None:
    """Write a new key that only its owner can read; leave a key that is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
        file.flush()
        os.fsync(descriptor)


def peer_key(key: bytes, peer: str) -> PeerKey:
    """Return the key of a caching data server, derived from its data server's."""
    return PeerKey(peer, hmac.digest(key, f"awportal data peer 1\n{peer}".encode(), hashlib.sha256).hex().encode())


def peer_key_text(own: PeerKey) -> str:
    """Return what a caching data server's key file holds."""
    return f"{own.peer}:{own.key.decode()}\n"


def read_peer_key(path: str | os.PathLike[str]) -> PeerKey:
    """Read the key file of a caching data server."""
    hint = "`awrecipe data-servers NAME ADDRESS` writes one"
    try:
        peer, _, key = Path(path).read_text(encoding="ascii").strip().partition(":")
    except (OSError, ValueError) as error:
        raise DataServerError(f"the key file {path} cannot be read: {error}", hint=hint) from None
    if not _PEER.fullmatch(peer) or len(key) < KEY_BYTES:
        raise DataServerError(f"the key file {path} holds no key of a caching data server", hint=hint)
    return PeerKey(peer, key.encode())


def read_keys(path: str | os.PathLike[str]) -> list[bytes]:
    """Read a key file: a key a line; the first one signs, all are accepted (so that keys can change)."""
    try:
        keys = Path(path).read_bytes().split()
    except OSError as error:
        raise DataServerError(f"the key file {path} cannot be read: {error}", hint=_KEY_HINT) from None
    if not keys or min(map(len, keys)) < KEY_BYTES:
        raise DataServerError(f"the key file {path} holds no key of at least {KEY_BYTES} bytes", hint=_KEY_HINT)
    return keys


class RegisteredPeers:
    """The caching data servers that a file names, one a line; read anew when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int], frozenset[str]] = ((-1, -1), frozenset())

    def __call__(self, peer: str) -> bool:
        """Whether this one is registered; none is where the file cannot be read."""
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_size)
            if version != self._read[0]:
                self._read = version, frozenset(self._path.read_text(encoding="ascii").split())
        except (OSError, ValueError):
            return False
        return peer in self._read[1]


_KEY_HINT = "`python -m dataserver key FILE` makes one"


def _signature(key: bytes, method: str, path: str, query: dict[str, str]) -> str:
    text = "\n".join(["awportal data 1", method, path, urlencode(sorted(query.items()))])
    return base64.urlsafe_b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).rstrip(b"=").decode()


def _forged() -> NotAllowed:
    return NotAllowed(
        "this link's signature is not right for this file and this method",
        hint="a link works only as it was given, whole: ask the portal for a new one",
    )
