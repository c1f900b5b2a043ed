"""Many products as one tar archive, streamed: no file of it is ever made, and its size is known before it begins."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence

from archive.models import Product
from awportal.stored_files import file_name, local_file

_CHUNK = 1 << 20


def archive_of(products: Sequence[Product], folder: str) -> tuple[int, Iterator[bytes]]:
    """Return the size of the archive [bytes] and its content."""
    heads = [_head(product, name, folder) for product, name in zip(products, _names(products), strict=True)]
    size = sum(len(head) + _padded(product.file_size) for product, head in zip(products, heads, strict=True))
    return size + 2 * tarfile.BLOCKSIZE, _content(products, heads)


def _content(products: Sequence[Product], heads: Sequence[bytes]) -> Iterator[bytes]:
    for product, head in zip(products, heads, strict=True):
        yield head
        sent = 0
        with local_file(product) as path, path.open("rb") as file:
            while piece := file.read(_CHUNK):
                sent += len(piece)
                yield piece
        yield bytes(_padded(product.file_size) - sent)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _names(products: Sequence[Product]) -> list[str]:
    """Return the products' names; where one occurs twice, the product's number stands before it."""
    names = [file_name(product) for product in products]
    often = Counter(names)
    return [f"{product.pk}_{name}" if often[name] > 1 else name for product, name in zip(products, names, strict=True)]


def _head(product: Product, name: str, folder: str) -> bytes:
    entry = tarfile.TarInfo(f"{folder}/{name.replace('/', '_')}")
    entry.size = product.file_size
    entry.mtime = int(product.created.timestamp())
    entry.mode = 0o644
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
