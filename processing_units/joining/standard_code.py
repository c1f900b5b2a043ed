"""The standard code: what a node runs. One function finds its files, for the frontend that gives it and the node.

Its digest is the sha256 over the names and the bytes of those files, so it is the same in a checkout, where it was
installed, and where a node unpacked it; documentation and tests are no part of it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# Files and folders below the root that make up the standard code; a folder that is not there is left out.
PARTS = (
    "dataserver",
    "processing_units/__init__.py",
    "processing_units/cluster_manager",
    "processing_units/code_shipping",
    "processing_units/contract.py",
    "processing_units/joining",
    "processing_units/named_points.py",
    "recipes",
)
# Source and the tables that it reads. What pip and editors leave beside them is no code.
SUFFIXES = frozenset({".py", ".toml", ".json", ".txt"})
REQUIREMENTS = "processing_units/joining/requirements.txt"
PYTHON = (3, 11)  # the oldest that runs it; held equal to pyproject.toml by a test
MAXIMUM_BYTES = 50 * 2**20

_NO_DATE = (1980, 1, 1, 0, 0, 0)


class DamagedCodeError(Exception):
    """What arrived, or what lies on the disk, is not the code that was asked for."""


@dataclass(frozen=True)
class StandardCode:
    """The standard code, packed."""

    digest: str
    sha256: str
    bundle: bytes
    requirements: tuple[str, ...]


def installed_root() -> Path:
    """Return the folder that holds our packages, of which this module is a part."""
    return Path(__file__).resolve().parent.parent.parent


def source_files(root: Path) -> list[Path]:
    """Return the files of the standard code below ``root``, in the order in which they are hashed and packed."""
    found: list[Path] = []
    for part in PARTS:
        place = root / part
        found += [place] if place.is_file() else _below(place)
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__" and not entry.name.startswith("."):
                yield from _below(entry)
        elif entry.suffix in SUFFIXES and not entry.name.startswith("."):
            yield entry


def stamp_of(root: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what shows, without reading, whether the code was changed since: name, size and time of each file."""
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in source_files(root))


def digest_of(root: Path) -> str:
    """Return the digest of the standard code below ``root``."""
    digest = hashlib.sha256()
    for path in source_files(root):
        _add(digest, path.relative_to(root).as_posix(), path.read_bytes())
    return digest.hexdigest()


def _add(digest: hashlib._Hash, name: str, text: bytes) -> None:
    digest.update(f"{name}\0{len(text)}\0".encode())
    digest.update(text)


def pack(root: Path) -> StandardCode:
    """Pack the standard code below ``root``: the same files give the same bytes, whoever packs them and when."""
    digest = hashlib.sha256()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in source_files(root):
            name, text = path.relative_to(root).as_posix(), path.read_bytes()
            _add(digest, name, text)
            write_member(bundle, name, text)
    return StandardCode(
        digest=digest.hexdigest(),
        sha256=hashlib.sha256(packed.getvalue()).hexdigest(),
        bundle=packed.getvalue(),
        requirements=tuple(read_requirements(root)),
    )


def write_member(bundle: zipfile.ZipFile, name: str, text: bytes) -> None:
    """Add a file to a zip without anything of this machine and this moment in it."""
    member = zipfile.ZipInfo(name, _NO_DATE)
    member.create_system = 3
    member.external_attr = 0o644 << 16
    member.compress_type = zipfile.ZIP_DEFLATED
    bundle.writestr(member, text)


def read_requirements(root: Path) -> list[str]:
    """Return the lines of the node's pinned requirements."""
    lines = (root / REQUIREMENTS).read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def unpack(bundle: bytes, sha256: str, digest: str, folder: Path) -> None:
    """Unpack the code into ``folder``, which is not there yet.

    Raises
    ------
    DamagedCodeError
        It is not what the frontend announced.
    """
    if hashlib.sha256(bundle).hexdigest() != sha256:
        raise DamagedCodeError("the code that arrived has not the sha256 that the frontend announced")
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAXIMUM_BYTES:
            raise DamagedCodeError(f"the code would take more than {MAXIMUM_BYTES >> 20} MiB")
        for member in members:
            target = folder / _safe(member.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
    if digest_of(folder) != digest:
        raise DamagedCodeError("the code that arrived is not the one with the digest that the frontend announced")


def _safe(name: str) -> str:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name:
        raise DamagedCodeError(f"the code holds a file named {name!r}")
    return name
