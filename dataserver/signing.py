"""Signed, expiring URLs: the right to do one thing with one file for some time, and nothing else.

The signature covers the method, the path below the data server and every other query parameter, so that whoever holds
a URL can change nothing in it. Parameters that a signature may bind: ``max_size`` (bytes of an upload), ``name`` (what
a download is called) and ``format`` (what it is converted to). Who may GET may HEAD. What is signed for staging is the
attempt, ``/staging/ATTEMPT``: it is good for any name below it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from dataserver.errors import DataServerError, NotAllowed

KEY_BYTES = 32
_BINDABLE = {"max_size", "name", "format"}


class Grant(NamedTuple):
    """What a verified signature allows."""

    expires: int
    max_size: int | None
    name: str
    format: str


def sign(
    key: bytes, method: str, path: str, expires: int, *, max_size: int | None = None, name: str = "", format: str = ""
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
    """
    bound = {"expires": str(expires), "format": format, "max_size": "" if max_size is None else str(max_size)}
    query = {name_: value for name_, value in sorted((bound | {"name": name}).items()) if value}
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


def verify(keys: Sequence[bytes], method: str, path: str, query: str, now: float | None = None) -> Grant:
    """Return what the signature in `query` allows, or raise NotAllowed."""
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
    matches = [hmac.compare_digest(signature.encode(), _signature(key, expected, path, given).encode()) for key in keys]
    if not any(matches):
        raise _forged()
    expires = int(given.get("expires", "0"))
    if expires <= (time.time() if now is None else now):
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


def read_keys(path: str | os.PathLike[str]) -> list[bytes]:
    """Read a key file: a key a line in hexadecimal; the first one signs, all are accepted (so that keys can change)."""
    try:
        keys = [bytes.fromhex(line) for line in Path(path).read_text(encoding="ascii").split()]
    except (OSError, ValueError) as error:
        raise DataServerError(f"the key file {path} cannot be read: {error}", hint=_KEY_HINT) from None
    if not keys or min(map(len, keys)) < KEY_BYTES:
        raise DataServerError(f"the key file {path} holds no key of at least {KEY_BYTES} bytes", hint=_KEY_HINT)
    return keys


_KEY_HINT = "`python -m dataserver key FILE` makes one"


def _signature(key: bytes, method: str, path: str, query: dict[str, str]) -> str:
    text = "\n".join(["awportal data 1", method, path, urlencode(sorted(query.items()))])
    return base64.urlsafe_b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).rstrip(b"=").decode()


def _forged() -> NotAllowed:
    return NotAllowed(
        "this link's signature is not right for this file and this method",
        hint="a link works only as it was given, whole: ask the portal for a new one",
    )
