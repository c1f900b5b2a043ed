"""Products as messages of SAMP (IVOA Recommendation 1.3): what DS9, TOPCAT and Aladin load by address."""

from __future__ import annotations

from typing import Any

from archive.models import Product
from awportal.stored_files import content_of, download_url, file_name
from dataserver.formats import formats

# A message each: nobody looks at more at once, and each has an address of its own.
MOST_AT_ONCE = 50


def messages_for(product: Product) -> dict[str, Any]:
    """Return the product's name and its messages, the preferred one first; their addresses are good for a while.

    An image is ``image.load.fits``; a table ``table.load.votable``, or ``table.load.fits`` for who takes that alone.
    """
    name, number = file_name(product), f"awportal-{product.pk}"
    stored = download_url(product, "fits", name)
    content = content_of(product)
    if content not in {"table", "values"}:
        messages = [_message("image.load.fits", stored, product.name, {"image-id": number})]
    else:
        messages = [_message("table.load.fits", stored, product.name, {"table-id": number})]
        votable = formats()["votable"]
        if content in votable.contents:
            address = download_url(product, "votable", votable.file_name(name))
            messages.insert(0, _message("table.load.votable", address, product.name, {"table-id": number}))
    return {"name": product.name, "messages": messages}


def _message(mtype: str, address: str, name: str, more: dict[str, str]) -> dict[str, Any]:
    return {"samp.mtype": mtype, "samp.params": {"url": address, "name": name, **more}}
