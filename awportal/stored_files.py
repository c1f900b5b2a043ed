"""From a product to its bytes: a signed address for browsers, a local path for pictures and archives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from numpy.typing import NDArray

from archive.models import Product
from awportal.pictures.frame_file import FrameError
from awportal.pictures.kept import KeptPictures, Subject
from awportal.pictures.tiles import plane, tile
from awportal.pictures.viewing import described, unpacked_below
from dataserver.cache import ReadThroughCache
from dataserver.errors import DataServerError
from dataserver.signing import sign
from dataserver.store import Store
from recipes.kinds import KINDS

# Long enough to begin a download; a download that has begun goes on.
DOWNLOAD_SECONDS = 15 * 60
_CACHE_BYTES = 20 << 30
_ENDINGS = (".fits", ".fit", ".fts", ".gz", ".fz")


def download_url(product: Product, format_name: str, file_name: str) -> str:
    """Return an address, good for a quarter of an hour, at which the data server gives the product's file."""
    path = f"/files/{product.sha256}"
    expires = int(time.time()) + DOWNLOAD_SECONDS
    convert = "" if format_name == "fits" else format_name
    query = sign(settings.DATA_KEY, "GET", path, expires, name=file_name, format=convert)
    return f"{settings.DATA_URL}{path}?{query}"


def file_name(product: Product) -> str:
    """Return what the product's file is called on a user's disk: readers go by the ending."""
    return product.name if product.name.lower().endswith(_ENDINGS) else f"{product.name}.fits"


@contextmanager
def local_file(product: Product) -> Iterator[Path]:
    """Give the path of the product's file on this machine; raise FrameError where it cannot be had."""
    try:
        store = _store(settings.DATA_ROOT)
        if store.has(product.sha256) or settings.DATA_URL.startswith(settings.BASE_URL + "/"):
            yield store.path(product.sha256)
            return
        url = download_url(product, "fits", product.name)
        with _cache(settings.HOME / "portal-cache").fetch(product.sha256, product.file_size, url) as lease:
            yield lease.path
    except (DataServerError, OSError) as error:
        raise FrameError(f"its file cannot be had from the data server: {error}") from None


def picture_of(product: Product, size: str) -> bytes:
    """Return the product's PNG (``page`` or ``thumb``); raise FrameError where there is none."""
    with local_file(product) as path:
        return KeptPictures(settings.PREVIEW_ROOT).picture(
            _subject(product, path), "thumb" if size == "thumb" else "page"
        )


def picture_facts(product: Product) -> dict[str, object]:
    """Return the numbers beside the product's picture; raise FrameError where there is none."""
    with local_file(product) as path:
        return KeptPictures(settings.PREVIEW_ROOT).facts(_subject(product, path))


def difference_picture(first: Product, second: Product) -> bytes:
    """Return the PNG of the first frame less the second; raise FrameError where there is none."""
    with local_file(first) as path, local_file(second) as other:
        return KeptPictures(settings.PREVIEW_ROOT).picture(_less(first, path, second, other), "page")


def difference_facts(first: Product, second: Product) -> dict[str, Any]:
    """Return the numbers of the difference of two frames; raise FrameError where there are none."""
    with local_file(first) as path, local_file(second) as other:
        return KeptPictures(settings.PREVIEW_ROOT).facts(_less(first, path, second, other))


def view_of(product: Product) -> dict[str, Any]:
    """Return what the viewer has to know of the product's frame; raise FrameError where it cannot be shown."""
    with local_file(product) as path:
        extension = _subject(product, path).extension
        return described(path, product.sha256, extension, settings.PREVIEW_ROOT)


def tile_of(product: Product, place: int, level: int, column: int, row: int) -> NDArray[Any]:
    """Return a tile of an image of the product's file; raise FrameError where there is none."""
    with local_file(product) as path:
        image = plane(path, place, unpacked_below(settings.PREVIEW_ROOT), product.sha256)
        return tile(image, level, column, row)


def _less(first: Product, path: Path, second: Product, other: Path) -> Subject:
    return replace(_subject(first, path), less=_subject(second, other))


def content_of(product: Product) -> str:
    """Return what the product's file holds: raw, image, mask, values, table."""
    kind = KINDS.get(product.kind)
    return kind.content if kind else "values"


def has_picture(product: Product) -> bool:
    """Whether products of this kind can be drawn."""
    return content_of(product) != "values"


def _subject(product: Product, path: Path) -> Subject:
    """Return what is drawn of the product; attributes come from headers and are not trusted."""
    scale, extension = product.attributes.get("pixel_scale"), product.attributes.get("extension")
    return Subject(
        sha256=product.sha256,
        path=path,
        is_table=content_of(product) == "table",
        extension=extension if content_of(product) == "raw" and isinstance(extension, int) and extension >= 0 else None,
        pixel_scale=float(scale) if isinstance(scale, int | float) and 0 < scale < 3600 else None,
    )


@cache
def _store(root: Path) -> Store:
    return Store(root)


@cache
def _cache(root: Path) -> ReadThroughCache:
    return ReadThroughCache(root, _CACHE_BYTES)


def the_store() -> Store:
    """Return the store of the embedded data server."""
    return _store(settings.DATA_ROOT)
