"""Pack a user's tree: the same files give the same bytes, on every machine and at any time.

The bundle is a zip file of stored (not compressed) files in the order of their names with one fixed time: compressors
differ between machines, and the digest, which is the sha256 of the bundle, is to depend on the content alone.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from processing_units.code_shipping.rules import (
    Budget,
    BundleError,
    BundleFile,
    Names,
    check_content,
    checked_path,
    printable,
)

_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR = (stat.S_IFREG | 0o644) << 16
# What tools leave in a tree and nobody means to ship; hidden files and folders as well.
_LEFT_BY_TOOLS = {"__pycache__", "node_modules", "build", "dist", "venv"}
_LEFT_ENDINGS = (".pyc", ".pyo", "~", ".egg-info", ".nbi", ".nbc", ".log", ".bak", ".swp")
_HEAD = 8192


@dataclass(frozen=True)
class Bundle:
    """A packed tree."""

    content: bytes
    digest: str
    files: tuple[BundleFile, ...]
    left_out: tuple[str, ...] = field(default=())

    @property
    def size(self) -> int:
        """Bytes of the bundle."""
        return len(self.content)


def pack_folder(folder: Path) -> Bundle:
    """Pack what lies below `folder`: its recipes and its configuration files of any text type.

    Hidden files and what tools leave behind (``__pycache__``, ``build``) are passed over; files that are not text are
    left out and named in ``left_out``.

    Raises
    ------
    BundleError
        A link, a device, a compiled library, too many files or bytes: named, with the mend.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder", hint="give the folder that holds your recipes/")
    left_out: list[str] = []
    bundle = pack(_contents(folder, left_out))
    if not bundle.files:
        raise BundleError(f"{folder} holds no text file to ship", hint="give the folder that holds your recipes/")
    return Bundle(bundle.content, bundle.digest, bundle.files, tuple(sorted(left_out)))


def pack(contents: Iterable[tuple[str, bytes]]) -> Bundle:
    """Pack files given as (path, content); raises BundleError as the rules say."""
    names, budget = Names(), Budget()
    checked: dict[str, bytes] = {}
    for path, content in contents:
        names.add(checked_path(path))
        budget.add_file(path)
        budget.add_bytes(path, len(content))
        check_content(path, content)
        checked[path] = content
    target = io.BytesIO()
    files = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for path in sorted(checked):
            entry = zipfile.ZipInfo(path, _TIME)
            entry.create_system = 3
            entry.external_attr = _REGULAR
            archive.writestr(entry, checked[path])
            files.append(BundleFile(path, len(checked[path]), hashlib.sha256(checked[path]).hexdigest()))
    content = target.getvalue()
    return Bundle(content, hashlib.sha256(content).hexdigest(), tuple(files))


def _contents(folder: Path, left_out: list[str]) -> Iterator[tuple[str, bytes]]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if _is_wanted(name))
        for name in sorted(name for name in [*names, *folders] if _is_wanted(name)):
            full = Path(place, name)
            path = full.relative_to(folder).as_posix()
            mode = full.lstat().st_mode
            if stat.S_ISLNK(mode):
                raise BundleError(f"{printable(path)} is a link", hint="put the file itself there", file=path)
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise BundleError(f"{printable(path)} is no plain file", hint="remove it from the folder", file=path)
            content = _read(full, checked_path(path), left_out)
            if content is not None:
                yield path, content


def _read(full: Path, path: str, left_out: list[str]) -> bytes | None:
    """Return a text file's content; None for one that is left out, being neither text nor a program."""
    with full.open("rb") as file:
        head = file.read(_HEAD)
        if b"\0" in head and not head.startswith(b"\x7fELF"):
            left_out.append(path)
            return None
        check_content(path, head)
        rest = file.read()
    if b"\0" in rest:
        left_out.append(path)
        return None
    return head + rest


def _is_wanted(name: str) -> bool:
    return not name.startswith(".") and name not in _LEFT_BY_TOOLS and not name.endswith(_LEFT_ENDINGS)
