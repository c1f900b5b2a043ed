"""Downloads that go on where they were cut off and are checked when they are whole."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import httpx

from awclient.client import Json, Portal
from awclient.errors import ClientError, Lost, UsageProblem, error_of_status

_ENDINGS = {"fits": ".fits", "votable": ".vot", "asdf": ".asdf"}

_FITS_ENDING = re.compile(r"\.(fits?|fts)(\.gz|\.fz)?$", re.IGNORECASE)

Report = Callable[[int, int], None]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def safe_name(name: str) -> str:
    """Return a name from the server as a plain file name: no folders, nothing hidden."""
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", name.replace("\\", "/").rsplit("/", 1)[-1]).lstrip(".")
    return plain or "product"


def file_name(product: Json, kind_of_file: str) -> str:
    """Return the name under which a product is kept in that format."""
    name = safe_name(str(product["name"]))
    stem = _FITS_ENDING.sub("", name)
    if kind_of_file == "fits":
        return name if stem != name else f"{name}.fits"
    return stem + _ENDINGS.get(kind_of_file, f".{safe_name(kind_of_file)}")


def download(
    portal: Portal, product: Json, target: Path, kind_of_file: str = "fits", report: Report | None = None
) -> bool:
    """Download a product to `target`; return False where the same file was there already.

    As FITS it is resumed with Range and held to its sha256; other formats are made while they are sent, and begin anew.
    """
    checked = kind_of_file == "fits"
    if checked and target.is_file() and sha256_of(target) == product["sha256"]:
        return False
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not checked:
            part.unlink(missing_ok=True)
        _fetch_whole(portal, product, part, kind_of_file, report or (lambda done, size: None))
        if checked and sha256_of(part) != product["sha256"]:
            # The part left by an earlier try may have been another file's: once more from the start.
            part.unlink()
            _fetch_whole(portal, product, part, kind_of_file, report or (lambda done, size: None))
            if sha256_of(part) != product["sha256"]:
                part.unlink()
                raise Lost(f"{product['name']}: what arrived has another sha256 than the archive says")
        part.replace(target)
    except OSError as problem:
        raise UsageProblem(f"{target} cannot be written: {problem.strerror or problem}") from None
    return True


def _fetch_whole(portal: Portal, product: Json, part: Path, kind_of_file: str, report: Report) -> None:
    """Fetch what is missing, again and again while it gets on; give up after the portal's patience without a byte."""
    moved, pause = time.monotonic(), 0.25
    while True:
        have = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(portal, product, part, kind_of_file, report)
        except httpx.TransportError as problem:
            now_have = part.stat().st_size if part.exists() else 0
            if now_have > have:
                moved, pause = time.monotonic(), 0.25
            if time.monotonic() - moved > portal.patience:
                raise Lost(
                    f"{product['name']}: the download broke off ({problem})", hint="start it again: it goes on"
                ) from None
            if kind_of_file != "fits":
                part.unlink(missing_ok=True)
            time.sleep(pause)
            pause = min(2 * pause, 8.0)
        else:
            return


def _fetch_rest(portal: Portal, product: Json, part: Path, kind_of_file: str, report: Report) -> None:
    have = part.stat().st_size if part.exists() else 0
    size = int(product["size"]) if kind_of_file == "fits" else 0
    if size and have == size:
        return
    # A signed address lives for a while only: each try gets a fresh one.
    request = portal.http.build_request(
        "GET",
        f"{portal.url}/api/v1/products/{int(product['id'])}/download",
        params={"format": kind_of_file},
        headers={"Accept-Encoding": "identity"},
    )
    response = portal.http.send(request, stream=True)
    try:
        if response.is_redirect:
            address = urljoin(str(response.url), response.headers["Location"])
            response.close()
            headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
            # The address carries its own signature; the token is for the portal alone.
            request = httpx.Request(
                "GET", address, headers=headers, extensions={"timeout": portal.http.timeout.as_dict()}
            )
            response = portal.http.send(request, stream=True)
        _write(response, product, part, report, size)
    finally:
        response.close()


def _write(response: httpx.Response, product: Json, part: Path, report: Report, size: int) -> None:
    if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink(missing_ok=True)
        raise httpx.ReadError("the part was longer than the file")
    if response.status_code >= 500:
        raise httpx.ReadError(f"the data server answered {response.status_code}")
    if not response.is_success:
        response.read()
        raise _refusal(response, product)
    resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
    expected = size or int(response.headers.get("Content-Length") or 0)
    with part.open("ab" if resumed else "wb") as file:
        for chunk in response.iter_raw():
            file.write(chunk)
            report(file.tell(), expected)


def _refusal(response: httpx.Response, product: Json) -> ClientError:
    try:
        content = response.json()
        message, hint = str(content["error"]), str(content.get("hint") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, hint = f"{product['name']}: the data server answered {response.status_code}", ""
    return error_of_status(response.status_code, message, hint=hint)
