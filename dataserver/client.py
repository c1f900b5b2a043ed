"""Handing files in: what a node does with the products of an attempt. (Fetching is :mod:`dataserver.cache`.)"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request

from dataserver.errors import DataServerError, FetchFailed
from dataserver.signing import below
from dataserver.store import Stored
from dataserver.upstream import opener, shown


class UploadRefused(DataServerError):
    """The data server did not take the file; ``status`` is its answer, ``transient`` whether to try again."""

    def __init__(self, message: str, hint: str, status: int) -> None:
        super().__init__(message, hint)
        self.status = status
        self.transient = status >= 500 or status in {408, 422, 429}


def stage(staging_url: str, name: str, path: str | os.PathLike[str], sha256: str, *, timeout: float = 60.0) -> Stored:
    """Stage one product of an attempt; the data server checks that the bytes have their sha256.

    Parameters
    ----------
    staging_url : str
        The signed URL of the attempt's staging, as the job spec gives it.
    name : str
        The product's file name.
    path : path
        The file; read once, hashed only at the other end.
    sha256 : str
        Its digest, as the recipe found it while writing.
    timeout : float
        How long the data server may say nothing [s].

    Raises
    ------
    UploadRefused
        With the data server's own words; status 507 is a full disk there.
    FetchFailed
        It could not be reached.
    """
    return upload(below(staging_url, name), path, sha256, timeout=timeout)


def upload(url: str, path: str | os.PathLike[str], sha256: str, *, timeout: float = 60.0) -> Stored:
    """PUT a file to a signed URL of a data server."""
    with open(path, "rb") as file:
        headers = {"Content-Length": str(os.fstat(file.fileno()).st_size), "X-Content-SHA256": sha256}
        headers["Content-Type"] = "application/octet-stream"
        request = urllib.request.Request(url, data=file, headers=headers, method="PUT")  # noqa: S310 - opener() is http only
        try:
            with opener().open(request, timeout=timeout) as response:
                answer = json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(url, error.code, error.read(65536)) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise FetchFailed(f"{shown(url)} cannot be reached: {reason}", "is the data server up?") from error
    return Stored(answer["sha256"], answer["size"])


def _refusal(url: str, status: int, body: bytes) -> UploadRefused:
    try:
        answer = json.loads(body)
        return UploadRefused(str(answer["error"]), str(answer.get("hint", "")), status)
    except (ValueError, KeyError, TypeError):
        return UploadRefused(f"{shown(url)} answered {status}", "", status)
