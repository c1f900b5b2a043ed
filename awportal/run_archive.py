"""All products of a run that one may see as one streamed zip archive: the same answer for page and interface."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import BinaryIO

from django.http import StreamingHttpResponse

from archive.context import Context, visible
from archive.models import Product
from awportal.stored_files import file_name, local_file
from dataserver.archive_stream import MEDIA_TYPE, ArchiveStream, Entry
from processing_units.frontend.models import Run


def archive_response(run: Run, context: Context) -> StreamingHttpResponse:
    """Return the answer that streams the archive; its size is told before it begins."""
    products = list(visible(context).filter(made_by_run=run.pk).order_by("pk"))
    content = archive_of(products, f"run-{run.pk}")
    response = StreamingHttpResponse(content, content_type=MEDIA_TYPE)
    response["Content-Length"] = str(content.size)
    response["Content-Disposition"] = f'attachment; filename="run-{run.pk}.zip"'
    return response


def archive_of(products: Sequence[Product], folder: str) -> ArchiveStream:
    """Return the archive, to be iterated over while it is sent; its size is known before."""
    return ArchiveStream(
        Entry(
            f"{folder}/{file_name(product)}",
            product.file_size,
            partial(_opened, product),
            product.created.timestamp(),
        )
        for product in products
    )


def _opened(product: Product) -> BinaryIO:
    with local_file(product) as path:
        return path.open("rb")  # an open file stays whole even where a cache evicts its name
