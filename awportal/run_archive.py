"""All products of a run as one streamed zip archive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import BinaryIO

from archive.models import Product
from awportal.stored_files import file_name, local_file
from dataserver.archive_stream import ArchiveStream, Entry


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
