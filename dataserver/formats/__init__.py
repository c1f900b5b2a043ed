"""Download formats: one module a format, found by itself.

A module of this package that has a ``FORMAT`` is a format. Add one by adding a file: nothing else is to be changed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

_SUFFIXES = {
    ".fits": "application/fits",
    ".fits.gz": "application/gzip",
    ".fits.fz": "application/fits",
    ".zip": "application/zip",
    ".json": "application/json",
}


@dataclass(frozen=True)
class Format:
    """One format that stored files can be downloaded in.

    Parameters
    ----------
    name : str
        As addresses and commands write it.
    title : str
        As pages write it.
    suffix : str
        Ending of the file's name.
    media_type : str
        Its Content-Type.
    contents : frozenset of str
        The kinds of content that it can hold: ``raw``, ``image``, ``mask``, ``values``, ``table``.
    needs : str
        An attribute that the product must have for it; empty where the content alone decides.
    write : callable or None
        ``write(fits_file, output)`` converts; None means the stored file as it is.
    """

    name: str
    title: str
    suffix: str
    media_type: str
    contents: frozenset[str]
    write: Callable[[BinaryIO, BinaryIO], None] | None = None
    needs: str = ""

    def file_name(self, stored_name: str) -> str:
        """Return what the download of a stored file of that name is called."""
        if self.write is None:
            return stored_name
        stem = stored_name
        for ending in (".gz", ".fz", ".fits", ".fit", ".fts"):
            stem = stem.removesuffix(ending)
        return stem + self.suffix


@cache
def formats() -> dict[str, Format]:
    """Return all formats by name, the stored one first."""
    modules = (importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    found = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {format.name: format for format in sorted(found, key=lambda each: (each.write is not None, each.name))}


def formats_for(content: str, attributes: Mapping[str, Any]) -> list[Format]:
    """Return the formats that a product of this content can be downloaded in, the stored one first."""
    return [
        format
        for format in formats().values()
        if content in format.contents and (not format.needs or attributes.get(format.needs))
    ]


def media_type_of(name: str, format: str = "") -> str:
    """Return the Content-Type of a download: that of its format, else that of its name."""
    known = formats().get(format)
    if known is not None and known.write is not None:
        return known.media_type
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), "application/octet-stream")
