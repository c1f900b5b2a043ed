"""Many products as one streamed zip archive: those of a run, those that were chosen, those that a query finds.

Stored files are sent as they are: the archive's size is known before it begins, and a download that was cut off goes on
where it was. In another format each file is converted when its turn has come; then neither is possible.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import BinaryIO

from django.http import HttpRequest, StreamingHttpResponse

from archive.context import Context, visible
from archive.models import Product
from awportal.stored_files import content_of, file_name, local_file
from dataserver.archive_stream import MEDIA_TYPE, ArchiveStream, Entry
from dataserver.convert import converted
from dataserver.errors import DataServerError
from dataserver.formats import Format, formats_for
from processing_units.frontend.models import Run

# In one archive: a list that is kept while it is sent. `awrecipe get` knows no end.
MOST_PRODUCTS = 2000
_REST = re.compile(r"bytes=(\d{1,18})-")
# A converted file may be larger than the stored one, texts of numbers above all: room for its sizes is kept.
_GROWS = 6


def archive_response(request: HttpRequest, run: Run, context: Context) -> StreamingHttpResponse:
    """Return the answer that streams all products of a run that one may see."""
    products = list(visible(context).filter(made_by_run=run.pk).order_by("pk"))
    return products_response(request, products, f"run-{run.pk}")


def products_response(
    request: HttpRequest, products: Sequence[Product], folder: str, format_name: str = "fits"
) -> StreamingHttpResponse:
    """Return the answer that streams products; those that cannot be given in the format come as they are stored."""
    if format_name != "fits":
        content = ArchiveStream(_converted_entry(product, folder, format_name) for product in products)
        return _named(StreamingHttpResponse(content, content_type=MEDIA_TYPE), folder)
    content = archive_of(products, folder)
    tag = _tag(content, products)
    begin = _begin(request, tag, content.size)
    response = StreamingHttpResponse(_from(content, begin), content_type=MEDIA_TYPE, status=206 if begin else 200)
    if begin:
        response["Content-Range"] = f"bytes {begin}-{content.size - 1}/{content.size}"
    response["Content-Length"] = str(content.size - begin)
    response["Accept-Ranges"], response["ETag"] = "bytes", tag
    return _named(response, folder)


def archive_of(products: Sequence[Product], folder: str) -> ArchiveStream:
    """Return the archive of stored files, to be iterated over while it is sent; its size is known before."""
    return ArchiveStream(_entry(product, folder) for product in products)


def _entry(product: Product, folder: str) -> Entry:
    opened = partial(_opened, product)
    return Entry(f"{folder}/{file_name(product)}", product.file_size, opened, product.created.timestamp())


def _converted_entry(product: Product, folder: str, name: str) -> Entry:
    possible = formats_for(content_of(product), product.attributes)
    chosen = next((each for each in possible if each.name == name and each.write is not None), None)
    if chosen is None:
        return _entry(product, folder)
    called = f"{folder}/{chosen.file_name(file_name(product))}"
    opened = partial(_opened_as, product, chosen)
    return Entry(called, product.file_size * _GROWS, opened, product.created.timestamp())


def _opened(product: Product) -> BinaryIO:
    with local_file(product) as path:
        return path.open("rb")  # an open file stays whole even where a cache evicts its name


def _opened_as(product: Product, format: Format) -> BinaryIO:
    """Return the product in another format; where that fails, why: the others are not to be lost by one."""
    try:
        return converted(_opened(product), format.name)
    except DataServerError as error:
        told = f"{product.name} could not be given as {format.title}: {error.message}. {error.hint}\n"
        return io.BytesIO(told.encode())


def _tag(content: ArchiveStream, products: Sequence[Product]) -> str:
    """Return what identifies the archive's bytes: names, contents and times of its files."""
    told = hashlib.sha256()
    for name, entry, product in zip(content.names, content.entries, products, strict=True):
        told.update(f"{name}\0{entry.modified}\0{product.sha256}\n".encode())
    return f'"{told.hexdigest()[:32]}"'


def _begin(request: HttpRequest, tag: str, size: int) -> int:
    """Return from which byte on the archive is wanted: only what was cut off is sent in part."""
    found = _REST.fullmatch(request.headers.get("Range", "").strip())
    if found is None or request.headers.get("If-Range", tag).strip() != tag:
        return 0
    return int(found[1]) if int(found[1]) < size else 0


def _from(content: ArchiveStream, begin: int) -> Iterator[bytes]:
    left = begin
    for piece in content:
        if left < len(piece):
            yield piece[left:] if left else piece
        left = max(0, left - len(piece))


def _named(response: StreamingHttpResponse, folder: str) -> StreamingHttpResponse:
    response["Content-Disposition"] = f'attachment; filename="{folder}.zip"'
    return response
