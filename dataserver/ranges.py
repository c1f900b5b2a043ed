"""Answering with a file or one range of it (200, 206, 304, 416 of RFC 9110), sent by the kernel where it can."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import BinaryIO

from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

BLOCK_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")


class Slice:
    """A file from where it stands, `size` bytes long.

    ``fileno`` lets gunicorn's ``wsgi.file_wrapper`` use sendfile, which takes the file's position and the
    Content-Length; every other server calls ``read``, which has to stop by itself.
    """

    mode = "rb"

    def __init__(self, file: BinaryIO, size: int, done: Callable[[], object]) -> None:
        self._file = file
        self._left = size
        self._done = done

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes of what is left."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the file, and give back what kept it in its place."""
        self._file.close()
        self._done()


def file_response(
    request: Request,
    file: BinaryIO,
    etag: str,
    headers: Mapping[str, str],
    done: Callable[[], object] = lambda: None,
) -> Response:
    """Return the response to a GET or HEAD of `file`, which is closed at its end.

    Parameters
    ----------
    request : Request
        Its method, Range, If-Range and If-None-Match are honoured.
    file : file
        An open, seekable file that never changes.
    etag : str
        What identifies its bytes, without quotes.
    headers : mapping
        More headers of the response.
    done : callable, optional
        Called when the file was closed.
    """
    size = file.seek(0, io.SEEK_END)
    fixed = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", **headers}
    if _has_it(request, etag):
        Slice(file, 0, done).close()
        return Response(status=304, headers=fixed)
    span = _span(request, etag, size)
    if span is None:
        Slice(file, 0, done).close()
        return Response(status=416, headers={**fixed, "Content-Range": f"bytes */{size}"})
    first, length, is_partial = span
    fixed["Content-Length"] = str(length)
    if is_partial:
        fixed["Content-Range"] = f"bytes {first}-{first + length - 1}/{size}"
    status = 206 if is_partial else 200
    if request.method == "HEAD":
        Slice(file, 0, done).close()
        return Response(status=status, headers=fixed)
    file.seek(first)
    body = wrap_file(request.environ, Slice(file, length, done), BLOCK_BYTES)  # type: ignore[arg-type]
    return Response(body, status=status, headers=fixed, direct_passthrough=True)


def _has_it(request: Request, etag: str) -> bool:
    return request.if_none_match.contains_weak(etag) or request.headers.get("If-None-Match", "").strip() == "*"


def _span(request: Request, etag: str, size: int) -> tuple[int, int, bool] | None:
    """Return first byte, length and whether that is a part; None where the file has nothing of what is asked for.

    Only a GET has ranges; a list of ranges, one that makes no sense, or one whose condition fails gets the whole file.
    """
    whole = (0, size, False)
    found = _RANGE.fullmatch(request.headers.get("Range", ""))
    condition = request.headers.get("If-Range", "").strip()
    if request.method != "GET" or found is None or condition not in {"", f'"{etag}"'}:
        return whole
    if found[1]:
        first, last = int(found[1]), int(found[2] or size)
        if first > last and found[2]:
            return whole
    elif found[2]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        return whole
    last = min(last, size - 1)
    return (first, last - first + 1, True) if first <= last else None
