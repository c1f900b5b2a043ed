"""Reference catalogues: one that the user names, or those in a folder ``catalogues`` in or beside a night's folder."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from awclient.client import Json, Portal
from awclient.errors import ClientError, NotAllowed, UsageProblem

if TYPE_CHECKING:
    from awclient.terminal import Progress

FOLDER = "catalogues"
_TABLES = (".fits", ".fit", ".fts", ".vot", ".votable", ".xml", ".csv", ".tsv", ".tab", ".cat", ".dat")
_WORDS = ("name", "columns", "system", "epoch", "use")


@dataclass(frozen=True)
class CatalogueFiles:
    """The files of one catalogue, and what is told of it: name, columns, system, epoch, use."""

    paths: list[Path]
    fields: dict[str, str]

    @property
    def name(self) -> str:
        """Its name."""
        return self.fields["name"]


@dataclass
class CatalogueReport:
    """What became of each catalogue."""

    products: list[Json] = field(default_factory=list)
    refused: list[Json] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return it for a person, a line a catalogue."""
        told = [
            f"  {product['name']}: {product['attributes'].get('star_count')} stars, for "
            f"{' and '.join(product['attributes'].get('use') or [])}"
            + (f", {' '.join(bands)}" if (bands := product["attributes"].get("bands")) else "")
            for product in self.products
        ]
        for entry in self.refused:
            hint = f" ({entry['hint']})" if entry["hint"] else ""
            told.append(f"  not taken: {entry['file']}: {entry['reason']}{hint}")
        return told


def find_catalogues(directories: Iterable[Path]) -> list[CatalogueFiles]:
    """Return the catalogues in ``catalogues/`` inside or beside the directories; a folder in it is one catalogue.

    What is to be told of a catalogue stands in a file of its name with ``.toml`` behind (``nlandolt.dat.toml``).
    """
    folders: dict[Path, None] = {}
    for directory in directories:
        for folder in (directory / FOLDER, directory.resolve().parent / FOLDER):
            if folder.is_dir():
                folders.setdefault(folder.resolve())
    found = []
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.suffix == ".toml":
                continue
            parts = [path] if path.is_file() else sorted(part for part in path.iterdir() if _is_table(part))
            told = _beside(path)
            if parts and (told or all(_is_table(part) for part in parts)):
                found.append(CatalogueFiles(parts, {"name": _name(path), **told}))
    return found


def ingest_catalogues(portal: Portal, found: Sequence[CatalogueFiles], progress: Progress) -> CatalogueReport:
    """Bring the catalogues in, each once; what cannot be one is reported with its reason and left alone."""
    report = CatalogueReport()
    for number, entry in enumerate(found, 1):
        progress.show("catalogues", number / len(found), entry.name if progress.is_live else "")
        try:
            report.products += ingest_one(portal, entry)["products"]
        except NotAllowed:
            raise
        except ClientError as problem:
            if problem.status is None or problem.status >= 500:
                raise
            report.refused.append({"file": entry.name, "reason": problem.message, "hint": problem.hint})
    return report


def ingest_one(portal: Portal, entry: CatalogueFiles) -> Json:
    """Bring one catalogue in; return what became of it."""
    for path in entry.paths:
        if not path.is_file():
            raise UsageProblem(f"{path} does not exist" if not path.exists() else f"{path} is no file")
    return portal.ingest_catalogue(entry.paths, {name: value for name, value in entry.fields.items() if value})


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.lower().removesuffix(".gz").endswith(_TABLES)


def _name(path: Path) -> str:
    stem = path.name.split(".", 1)[0] if path.is_file() else path.name
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", stem).lstrip(".+_-")[:60] or "catalogue"


def _beside(path: Path) -> dict[str, str]:
    """Return what a TOML file beside the catalogue tells."""
    file = path.with_name(f"{path.name}.toml")
    if not file.is_file():
        return {}
    try:
        given = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise UsageProblem(f"{file} cannot be read: {problem}") from None
    unknown = sorted(set(given) - set(_WORDS))
    if unknown:
        raise UsageProblem(f"{file}: {unknown[0]!r} is none of {', '.join(_WORDS)}")
    return {name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in given.items()}
