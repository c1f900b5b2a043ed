"""Reading from another data server: only from registered ones, no redirects, resumed when the connection breaks."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import IO
from urllib.parse import unquote, urlsplit

from dataserver.errors import FetchFailed

_TRIES = 3
_LOOK_SECONDS = 5.0
_BROKEN = (OSError, http.client.HTTPException)  # URLError and timeouts are OSErrors
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def opener(authorities: str | None = None) -> urllib.request.OpenerDirector:
    """Return an opener for http and https that follows no redirects (and knows no file: or ftp:).

    `authorities` is a PEM file of those whose certificates are trusted; else the system's are (or SSL_CERT_FILE's).
    """
    made = urllib.request.OpenerDirector()
    context = ssl.create_default_context(cafile=authorities) if authorities else None
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        made.add_handler(handler)
    return made


class Source:
    """A file as it comes from a data server; reads on after a broken connection, as long as that brings bytes."""

    def __init__(self, upstream: Upstream, url: str, size: int | None, afresh: bool) -> None:
        self._upstream = upstream
        self._url = url
        self._response, said = upstream.ask(url, 0, afresh=afresh)
        self._read = 0
        self._tries = 1
        if size is None and said is None:
            raise FetchFailed(f"{shown(url)} does not say how large the file is", transient=False)
        self.size = size if size is not None else said or 0
        if said is not None and said != self.size:
            self.close()
            raise FetchFailed(f"{shown(url)} has {said} bytes, not {self.size}", transient=False)

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        while True:
            try:
                chunk: bytes = self._response.read(size)
            except _BROKEN as error:
                chunk, reason = b"", str(error)
            else:
                reason = "the connection was closed"
            if chunk or self._read >= self.size:
                if chunk:
                    self._read += len(chunk)
                    self._tries = 1
                return chunk
            if self._tries >= _TRIES:
                raise FetchFailed(f"{shown(self._url)} broke off at byte {self._read} of {self.size}: {reason}")
            self._tries += 1
            self.close()
            self._response, _ = self._upstream.ask(self._url, self._read)

    def close(self) -> None:
        """Hang up."""
        self._response.close()


class Upstream:
    """The data servers that may be asked.

    Parameters
    ----------
    registered : sequence of str or None
        Addresses that a URL must lie below; None allows any.
    timeout : float
        How long a data server may say nothing [s].
    authorities : str, optional
        PEM file of those whose certificates are trusted instead of the system's.
    """

    def __init__(self, registered: Sequence[str] | None, timeout: float, authorities: str | None = None) -> None:
        self._registered = None if registered is None else [_parts(address) for address in registered]
        self._timeout = timeout
        self._opener = opener(authorities)
        self._said_its_time: tuple[float, float] | None = None
        self._looking = threading.Lock()
        self._looked_at = -_LOOK_SECONDS
        self._seen = ""

    def now(self) -> float:
        """Return the time by the data server's clock [Unix s]; by our own until it has answered once."""
        if self._said_its_time is None:
            return time.time()
        said, at = self._said_its_time
        return said + time.monotonic() - at

    @contextmanager
    def opened(self, url: str, size: int | None, *, afresh: bool = False) -> Iterator[Source]:
        """Open a file for reading; raise FetchFailed if it cannot be had.

        With `afresh` the data server is to look whether its file is undamaged before it gives it.
        """
        self.check(url)
        source = Source(self, url, size, afresh)
        try:
            yield source
        finally:
            source.close()

    def check(self, url: str) -> None:
        """Raise FetchFailed unless the URL is one that may be asked."""
        scheme, host, path = _parts(url)
        if scheme not in {"http", "https"} or not host or {".", ".."} & set(unquote(path).split("/")):
            raise FetchFailed(f"{shown(url)} is not an http address", status=400, transient=False)
        if self._registered is not None and not any(
            (scheme, host) == (its_scheme, its_host) and path.startswith(its_path.rstrip("/") + "/")
            for its_scheme, its_host, its_path in self._registered
        ):
            raise FetchFailed(
                f"{shown(url)} is not below a registered data server",
                hint="register the data server where this cache is started",
                status=403,
                transient=False,
            )

    def ask(self, url: str, offset: int, *, afresh: bool = False) -> tuple[IO[bytes], int | None]:
        """Ask for a file from a byte on; return the response and the file's size where it is said."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        if afresh:
            headers["Cache-Control"] = "no-cache"
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - check() has seen the scheme
        try:
            response = self._opener.open(request, timeout=self._timeout)
            self._note_time(response.headers)
        except urllib.error.HTTPError as error:
            with error:
                self._note_time(error.headers)
                raise _refused(url, error.code, _words_of(error)) from None
        except _BROKEN as error:
            reason = getattr(error, "reason", error)
            raise FetchFailed(
                f"{shown(url)} cannot be reached: {reason}", hint="is the data server up, and is the network?"
            ) from error
        if not offset:
            length = response.headers.get("Content-Length", "")
            return response, int(length) if length.isdigit() else None
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status != http.client.PARTIAL_CONTENT or not found or int(found[1]) != offset:
            response.close()
            raise FetchFailed(f"{shown(url)} broke off at byte {offset} and does not resume")
        return response, int(found[2])

    def answers(self, url: str) -> str:
        """Say in a word or a line whether the data server is there, as it was some seconds ago at most."""
        with self._looking:
            if time.monotonic() - self._looked_at > _LOOK_SECONDS:
                self._looked_at = time.monotonic()
                try:
                    with self._opener.open(url, timeout=_LOOK_SECONDS) as answer:
                        self._note_time(answer.headers)
                    self._seen = "answers"
                except _BROKEN as error:
                    self._seen = f"away: {getattr(error, 'reason', error)}"
            return self._seen

    def _note_time(self, headers: Message) -> None:
        with suppress(TypeError, ValueError):  # no date, or none that can be read
            self._said_its_time = (parsedate_to_datetime(headers["Date"]).timestamp(), time.monotonic())


def _words_of(answer: urllib.error.HTTPError) -> str:
    """Return what a data server said of its refusal, in one line."""
    try:
        return "".join(filter(str.isprintable, str(json.loads(answer.read(65536))["error"])))[:500]
    except (*_BROKEN, ValueError, KeyError, TypeError):
        return ""


def _refused(url: str, code: int, words: str) -> FetchFailed:
    hint = {
        403: "the signed URL is wrong or has expired: ask for a new one",
        404: "the file is not on that data server",
        507: "its disk is full",
    }.get(code, "")
    if 300 <= code < 400:
        return FetchFailed(f"{shown(url)} answered with a redirect, which is not followed", transient=False)
    transient = code >= 500 or code in {408, 429}
    status = 503 if transient else code if code in {400, 403, 404} else 502
    said = f"{shown(url)} answered {code}" + (f": {words}" if words else "")
    return FetchFailed(said, hint, status=status, transient=transient)


def _parts(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    port = {"http": 80, "https": 443}.get(parts.scheme, 0) if parts.port is None else parts.port
    return parts.scheme, f"{(parts.hostname or '').lower()}:{port}" if parts.hostname else "", parts.path


def shown(url: str) -> str:
    """Return the URL without its query: a signature does not belong in a log."""
    return url.split("?", 1)[0]
