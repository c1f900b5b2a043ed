"""A webhook: JSON by POST, signed; to public https addresses alone, and to those that the manager lists."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from processing_units.frontend.models import NoticeChoice
from recipes.errors import UsageError

# For each of: the connection, the request, the answer.
TIMEOUT_SECONDS = 10.0
_STAND_INS = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))  # RFC 6052, RFC 3056


def signing_key(choice: NoticeChoice) -> str:
    """Return the key of a user's webhook; it is made from the portal's own and is nowhere kept."""
    text = f"webhook {choice.user_id} {choice.webhook_salt}"
    return hmac.new(settings.SECRET_KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


def signature(key: str, moment: int, body: bytes) -> str:
    """Return the header's value: the time, and the HMAC-SHA256 of ``TIME.BODY`` in hexadecimal."""
    digest = hmac.new(key.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def place_of(url: str) -> tuple[str, str, int]:
    """Return the scheme, the host and the one network address that may be asked for `url`, and its port.

    Raises
    ------
    UsageError
        It is no address that the portal may send to.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise UsageError("the address of the webhook cannot be read", hint="write https://HOST/PATH") from None
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        raise UsageError("a webhook is an address of the form https://HOST/PATH, without a name or password")
    if re.search(r"[^!-~]", parts.path + parts.query):
        raise UsageError("the address of the webhook has signs that no request can hold", hint="write them as %XX")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UsageError(f"the host {host[:80]} of the webhook is not known", hint="mend its name") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    listed = all(_is_listed(host, address) for address in addresses)
    if parts.scheme == "http" and not listed:
        raise UsageError("a webhook is sent by https", hint="or a manager lists its host: docs/managers.md, Notices")
    if not listed and not all(map(_is_public, addresses)):
        raise UsageError(
            f"{host[:80]} is an address within this network, to which the portal sends nothing",
            hint="take a public one, or ask a manager to list it: docs/managers.md, Notices",
        )
    return parts.scheme, addresses[0], port


def send(choice: NoticeChoice, contents: dict[str, Any]) -> None:
    """Send one notice.

    Raises
    ------
    UsageError
        The address may not be asked (any more).
    OSError, http.client.HTTPException
        Nobody answers, or not with a status of success; a redirection is none.
    """
    scheme, address, port = place_of(choice.webhook)
    parts = urlsplit(choice.webhook)
    body = json.dumps(contents).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "awportal",
        "X-Awportal-Signature": signature(signing_key(choice), int(time.time()), body),
    }
    connection = _Connection(scheme, parts.hostname or "", address, port)
    try:
        connection.request("POST", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers)
        status = connection.status()
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise ConnectionError(f"it answered with status {status}")


class _Connection(http.client.HTTPConnection):
    """A connection to the address that was looked at, so that a name cannot be another host a moment later."""

    def __init__(self, scheme: str, host: str, address: str, port: int) -> None:
        super().__init__(host, port, timeout=TIMEOUT_SECONDS)
        self._scheme, self._address = scheme, address

    def connect(self) -> None:
        """Connect, by TLS where the scheme says so."""
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._scheme == "https":
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)

    def status(self) -> int:
        """Return the answer's status; who answers a byte at a time is cut off, as others' notices wait behind it."""
        cut = threading.Timer(TIMEOUT_SECONDS, _cut, [self.sock])
        cut.start()
        try:
            return self.getresponse().status
        finally:
            cut.cancel()


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # below TLS, from which another thread is reading


def _is_public(address: str) -> bool:
    """Whether an address is anybody's; one of IPv6 that stands for one of IPv4 (NAT64, 6to4) is not looked through."""
    found = ipaddress.ip_address(address)
    return found.is_global and not any(found in network for network in _STAND_INS)


def _is_listed(host: str, address: str) -> bool:
    """Whether a manager has listed the host by name, or a network that its address is in."""
    for entry in settings.WEBHOOK_HOSTS:
        if entry.lower() == host.lower():
            return True
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False
