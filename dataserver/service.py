"""The HTTP service, as a WSGI application: files by sha256 behind signed URLs, and the staging of attempts.

========  ==========================  ===========================================  ==============================
method    path                        signed for                                   answer
========  ==========================  ===========================================  ==============================
GET HEAD  /files/SHA256               GET of it                                    the file, or one range of it
PUT       /files/SHA256               PUT of it                                    201 {"sha256", "size"}
PUT       /staging/ATTEMPT/NAME       PUT of /staging/ATTEMPT (any name below it)  201 {"sha256", "size"}
POST      /staging/ATTEMPT/promote    POST of it; body {"sha256": [...]}           200 {"promoted": n}
DELETE    /staging/ATTEMPT            DELETE of it                                 204
GET       /health                     nothing                                      200 {"status": "ok"}, 503 {..}
========  ==========================  ===========================================  ==============================

Errors are JSON, ``{"error": what, "hint": how to mend it}``. Nothing is ever listed.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol
from urllib.parse import quote

from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.wrappers import Request, Response

from dataserver.authority import Authority, KeyAuthority, PeerAuthority
from dataserver.cache import Lease, ReadThroughCache
from dataserver.convert import converted
from dataserver.digests import Readable, checked_sha256
from dataserver.errors import (
    BadRequest,
    Busy,
    DataServerError,
    FetchFailed,
    NotAllowed,
    NotStored,
    TooLarge,
    WrongDigest,
)
from dataserver.formats import media_type_of
from dataserver.ranges import BLOCK_BYTES, file_response
from dataserver.signing import Grant, PeerKey, no_peer
from dataserver.store import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LEAST_FREE_BYTES = 64 << 20
_PROMOTE_BODY_BYTES = 1 << 20
_STALLED_SECONDS = 120
_UNAVAILABLE = 503
_RETRY_SECONDS = 5
_REST_BYTES = 256 << 20
_REST_SECONDS = 10.0
_log = logging.getLogger(__name__)
_ROUTES = [
    (re.compile(r"/health"), "health", ("GET", "HEAD")),
    (re.compile(r"/files/([^/]+)"), "file", ("GET", "HEAD", "PUT")),
    (re.compile(r"/staging/([^/]+)/promote"), "promotion", ("POST",)),
    (re.compile(r"/staging/([^/]+)/([^/]+)"), "staged_file", ("PUT",)),
    (re.compile(r"/staging/([^/]+)"), "staging", ("DELETE",)),
]
# A download may hold anything: no browser is to guess at it, run it or show it inside a page.
_SAFE = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}
_FOREVER = "private, max-age=31536000, immutable"


class Files(Protocol):
    """Where the files are: a store, or a cache before another data server."""

    root: Path

    def opened(self, sha256: str, path: str, query: str, afresh: bool) -> tuple[BinaryIO, Callable[[], object]]:
        """Open a file, looked at for damage if `afresh`; return it and what to call at the end."""

    def writable(self) -> Store:
        """Return the store to write to, or raise NotAllowed."""

    def health(self) -> dict[str, Any]:
        """Return what there is to say beside the room on the disk."""


class _StoreFiles:
    def __init__(self, store: Store) -> None:
        self.root = store.root
        self._store = store

    def opened(self, sha256: str, path: str, query: str, afresh: bool) -> tuple[BinaryIO, Callable[[], object]]:
        return self._store.open_verified(sha256) if afresh else self._store.open(sha256), _nothing

    def writable(self) -> Store:
        return self._store

    def health(self) -> dict[str, Any]:
        return {}


class _CacheFiles:
    """A cache of which at most `fetches` requests fetch or wait at a time: the other threads give what is here."""

    def __init__(self, cache: ReadThroughCache, upstream: str, peer: str, fetches: int) -> None:
        self.root = cache.root
        self._cache = cache
        self._upstream = upstream.rstrip("/")
        self._peer = peer
        self._free = threading.BoundedSemaphore(fetches)

    def opened(self, sha256: str, path: str, query: str, afresh: bool) -> tuple[BinaryIO, Callable[[], object]]:
        lease = self._cache.held(sha256, afresh=afresh) or self._fetched(sha256, path, query)
        return lease.open(), lease.close

    def _fetched(self, sha256: str, path: str, query: str) -> Lease:
        if not self._free.acquire(blocking=False):
            raise Busy("this cache is fetching as many files as it can", hint="ask again in some seconds")
        try:
            return self._cache.fetch(sha256, None, f"{self._upstream}{path}?{query}")
        except WrongDigest as error:
            raise FetchFailed(f"the data server upstream gave a damaged file: {error.message}", error.hint) from error
        finally:
            self._free.release()

    def writable(self) -> Store:
        raise NotAllowed("this is a cache: it gives files as they are", hint="ask the data server upstream")

    def health(self) -> dict[str, Any]:
        return {"peer": self._peer, "upstream": self._cache.upstream.answers(f"{self._upstream}/health")}


def application(
    store: Store,
    keys: bytes | Sequence[bytes],
    *,
    max_size: int | None = None,
    is_peer: Callable[[str], bool] = no_peer,
) -> WSGIApplication:
    """Return the application that serves a store.

    Parameters
    ----------
    store : Store
        The files.
    keys : bytes or sequence of bytes
        Every key whose signatures are accepted.
    max_size : int, optional
        Largest upload [bytes], whatever its signature allows.
    is_peer : callable, optional
        Tells of a caching data server whether it is registered: links that lead through it are accepted.
    """
    return Service(_StoreFiles(store), KeyAuthority(keys, is_peer), max_size)


def cache_application(cache: ReadThroughCache, upstream: str, own: PeerKey, *, threads: int = 16) -> WSGIApplication:
    """Return the application of a caching data server before the one at `upstream`.

    Links are checked with its `own` key by the clock of the data server upstream, and passed there as they came. Of
    its `threads` some are kept for files that are here, however slowly others arrive.
    """
    files = _CacheFiles(cache, upstream, own.peer, fetches=max(1, threads * 3 // 4))
    return Service(files, PeerAuthority(own, cache.upstream.now), None)


class Service:
    """The WSGI application; see :func:`application` and :func:`cache_application`."""

    def __init__(self, files: Files, authority: Authority, max_size: int | None) -> None:
        self._files = files
        self._authority = authority
        self._max_size = max_size

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        _drop_when_stalled(environ)
        try:
            response = self._answer(request)
        except DataServerError as error:
            response = _failed(error.status, error.message, error.hint)
            if error.status == _UNAVAILABLE:
                response.headers["Retry-After"] = str(_RETRY_SECONDS)
        except ClientDisconnected:
            response = _failed(400, "the connection ended before the whole file had arrived", "send it again")
        except BlockingIOError:
            response = _failed(408, f"nothing arrived for {_STALLED_SECONDS} s", "is the network up? send it again")
        except HTTPException as error:
            response = _failed(error.code or 400, error.name, "")
        except Exception:  # noqa: BLE001 - the service's edge: logged whole, told in one line
            _log.exception("%s %s", request.method, request.path)
            response = _failed(500, "the data server failed", "its log tells why; try again, or tell its operator")
        if request.method == "PUT" and response.status_code >= 400:
            _read_rest(request)
        for name, value in _SAFE.items():
            response.headers.setdefault(name, value)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        for pattern, name, methods in _ROUTES:
            found = pattern.fullmatch(request.path)
            if found:
                if request.method not in methods:
                    response = _failed(405, f"{request.method} is not possible here", "use " + " or ".join(methods))
                    response.headers["Allow"] = ", ".join(methods)
                    return response
                answer: Response = getattr(self, f"_{name}")(request, *found.groups())
                return answer
        raise NotStored("there is nothing at this address", hint="files are below /files/, by sha256")

    def _granted(self, request: Request, path: str | None = None) -> Grant:
        query = request.query_string.decode("latin-1")
        return self._authority.check(request.method, request.path if path is None else path, query)

    def _health(self, request: Request) -> Response:
        free = shutil.disk_usage(self._files.root).free
        more = self._files.health()
        if free < LEAST_FREE_BYTES:
            return _json({"status": "full", "hint": "free some space on the data server's disk", **more}, 503)
        return _json({"status": "ok", **more})

    def _file(self, request: Request, sha256: str) -> Response:
        checked_sha256(sha256)
        grant = self._granted(request)
        if request.method == "PUT":
            body, size, most = self._upload(request, grant)
            stored = self._files.writable().put(body, expected=sha256, size=size, maximum=most)
            return _json(stored._asdict(), 201)
        if grant.format:
            self._files.writable()  # a cache does not convert: what it would fetch with this query is not the file
        # Who got damaged bytes asks for the file to be looked at, in HTTP's words.
        afresh = bool(request.cache_control.no_cache)
        file, done = self._files.opened(sha256, request.path, request.query_string.decode("latin-1"), afresh)
        etag = sha256
        if grant.format:
            try:
                file, etag = converted(file, grant.format), f"{sha256}-{grant.format}"
            finally:
                done()
            done = _nothing
        headers = {"Cache-Control": _FOREVER, "Content-Type": media_type_of(grant.name, grant.format)}
        if grant.name:
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(grant.name, safe='')}"
        return file_response(request, file, etag, headers, done)

    def _staged_file(self, request: Request, attempt: str, name: str) -> Response:
        grant = self._granted(request, f"/staging/{attempt}")
        body, size, most = self._upload(request, grant)
        expected = request.headers.get("X-Content-SHA256") or None
        stored = self._files.writable().stage(attempt, name, body, expected, size=size, maximum=most)
        return _json(stored._asdict(), 201)

    def _promotion(self, request: Request, attempt: str) -> Response:
        self._granted(request)
        sha256s = _wanted_sha256s(request)
        self._files.writable().promote(attempt, sha256s)
        return _json({"promoted": len(sha256s)})

    def _staging(self, request: Request, attempt: str) -> Response:
        self._granted(request)
        self._files.writable().drop(attempt)
        return Response(status=204)

    def _upload(self, request: Request, grant: Grant) -> tuple[Readable, int, int | None]:
        """Return the body, its size and the most bytes that are allowed."""
        size = request.content_length
        if size is None:
            error = BadRequest("an upload must say its size", hint="send Content-Length")
            error.status = 411
            raise error
        limits = [limit for limit in (grant.max_size, self._max_size) if limit is not None]
        most = min(limits) if limits else None
        if most is not None and size > most:
            raise TooLarge(f"{size} bytes are more than the {most} that are allowed", hint="ask for a larger limit")
        return request.stream, size, most


def _wanted_sha256s(request: Request) -> list[str]:
    if (request.content_length or 0) > _PROMOTE_BODY_BYTES:
        raise TooLarge("too many files in one promotion", hint="promote some thousand at once")
    hint = 'send {"sha256": ["...", ...]}'
    try:
        body = json.loads(request.get_data())
    except ValueError:
        raise BadRequest("the body is not JSON", hint) from None
    sha256s = body.get("sha256") if isinstance(body, dict) else None
    if not isinstance(sha256s, list) or not all(isinstance(sha256, str) for sha256 in sha256s):
        raise BadRequest("the body does not name the files", hint)
    return sha256s


def _read_rest(request: Request) -> None:
    """Read on for a while after a refusal: a client that is still sending sees our answer only when it has ended."""
    until = time.monotonic() + _REST_SECONDS
    left = min(request.content_length or 0, _REST_BYTES)
    with suppress(OSError, HTTPException):
        while left > 0 and time.monotonic() < until:
            chunk = request.stream.read(min(left, BLOCK_BYTES))
            left -= len(chunk) or left


def _drop_when_stalled(environ: dict[str, Any]) -> None:
    """Let the kernel end a connection whose other end takes or sends nothing for minutes: it would hold a thread."""
    connection = environ.get("gunicorn.socket")
    if isinstance(connection, socket.socket) and connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _STALLED_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _STALLED_SECONDS, 0))


def _json(content: dict[str, Any], status: int = 200) -> Response:
    body = json.dumps(content) + "\n"
    return Response(body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})


def _failed(status: int, error: str, hint: str) -> Response:
    return _json({"error": error, "hint": hint}, status)


def _nothing() -> None:
    """Do nothing: closing the file was all."""
