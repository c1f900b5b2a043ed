"""A reference catalogue enters the archive: read, understood, written in its one form, entered once."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from django.db import IntegrityError, transaction

from archive.catalogues.canonical import Stars, joined, stars_of
from archive.catalogues.column_map import ERROR, ID, Rule, parse_map
from archive.catalogues.product import SYSTEMS, product_of
from archive.catalogues.reading import MAXIMUM_BYTES, NotACatalogue, TableRead, read_table
from archive.catalogues.recognition import GAIA_SIGNAL, recognise
from archive.context import Context, visible
from archive.ingest import AlreadyThere, BadRequest, FileStore, Ingested, Outcome, Refused
from archive.models import Product
from archive.products import columns_of, insert_all, storable
from archive.sky_choice import KIND, catalogue_columns
from recipes.fits_writing import Origin, attributes_to_store, write_product
from recipes.job import JobInput
from recipes.kinds import KINDS
from recipes.recipe import Recipe

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,59}")
_USUAL_EPOCH = 2000.0
Source = tuple[Path | BinaryIO, str]


@dataclass(frozen=True)
class Directions:
    """What a user tells of a catalogue: its name, what its columns are, system, epoch of its positions, use."""

    name: str
    columns: str = ""
    system: str = ""
    epoch: float | None = None
    use: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str, columns: str = "", system: str = "", epoch: str = "", use: str = "") -> Directions:
        """Read them from texts; raise :class:`BadRequest` with what is expected."""
        name = name.strip()
        if not _NAME.fullmatch(name):
            raise BadRequest(f"a catalogue's name {name[:60]!r}: use letters, digits and . + _ -")
        systems = {known.lower(): known for known in SYSTEMS}
        if system.strip() and system.strip().lower() not in systems:
            raise BadRequest(f"system {system[:20]!r} is none of {', '.join(SYSTEMS)}")
        year: float | None = None
        if epoch.strip():
            try:
                year = float(epoch.strip().lstrip("Jj"))
            except ValueError:
                year = np.nan
            if not 1800 <= year <= 2200:
                raise BadRequest(f"epoch {epoch[:20]!r} is no year like 2000.0")
        words = tuple(word.strip().lower() for word in use.split(",") if word.strip())
        return cls(name, columns, systems.get(system.strip().lower(), ""), year, words)


def ingest_catalogue(
    sources: Sequence[Source], directions: Directions, context: Context, store: FileStore, maximum: int = MAXIMUM_BYTES
) -> Outcome:
    """Ingest one catalogue from one file, or from several that are its parts.

    Parameters
    ----------
    sources : sequence of (path or seekable binary stream, name)
        The files: FITS, VOTable or text.
    directions : Directions
        What the user tells.
    context : Context
        Its user becomes creator; project and privilege are the catalogue's.
    store : FileStore
        Where the canonical table goes.
    maximum : int, optional
        Bytes beyond which a file is refused.

    Raises
    ------
    BadRequest
        Nobody is logged in, or no file was given.
    """
    if context.user is None:
        raise BadRequest("log in first: visitors ingest nothing")
    if not sources:
        raise BadRequest("name the files of the catalogue")
    part = ""
    try:
        parts: list[Stars] = []
        epochs: set[float] = set()
        rules: dict[str, Rule] = {}
        for source, part in sources:
            table = read_table(source, part, maximum)
            given = parse_map(directions.columns, table)
            rules = recognise(table, given)
            parts.append(stars_of(table, rules, given))
            epochs.add(_epoch(table, directions))
        part = sources[0][1] if len(sources) == 1 else f"{len(sources)} files"
        if len(epochs) > 1:
            raise NotACatalogue(f"its files are of the epochs {', '.join(map(str, sorted(epochs)))}")
        return _enter(joined(parts), directions, epochs.pop(), rules, sources, context, store)
    except NotACatalogue as problem:
        return Refused(part, problem.reason, problem.hint)


def _epoch(table: TableRead, directions: Directions) -> float:
    if directions.epoch is not None:
        return directions.epoch
    column = table.columns.get("ref_epoch")
    if column is not None and not column.is_text and np.isfinite(column.values.astype(float)).any():
        years = column.values.astype(float)
        if np.nanmax(years) - np.nanmin(years) > 0.01:
            raise NotACatalogue("the epochs of its positions differ from star to star", "bring them to one epoch")
        return round(float(np.nanmedian(years)), 3)
    if set(GAIA_SIGNAL.values()) & set(table.columns) or "phot_g_mean_mag" in table.columns:
        raise NotACatalogue("the epoch of its positions is not told", "say --epoch 2015.5 (Gaia DR2) or 2016.0 (DR3)")
    return _USUAL_EPOCH


def _enter(
    stars: Stars,
    directions: Directions,
    epoch: float,
    rules: dict[str, Rule],
    sources: Sequence[Source],
    context: Context,
    store: FileStore,
) -> Outcome:
    user = context.user
    assert user is not None  # noqa: S101  # ingest_catalogue refuses visitors
    notes = [*stars.notes, f"columns: {_told_map(rules)}"]
    if directions.epoch is None and epoch == _USUAL_EPOCH and stars.pmra is not None:
        notes.append(f"its positions were taken for those of the epoch {epoch}")
    made = product_of(stars, directions.name, directions.system, epoch, directions.use, notes)
    files = [_input(source, name) for source, name in sources]
    recipe = Recipe("Ingest", "1", ingest_catalogue, (), (KIND,), ())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.fits"
        sha256, size = write_product(path, made, [], 0, [], Origin(recipe, {}, files, ""))
        with path.open("rb") as stream:
            store.put(stream)
    there = list(visible(context).filter(sha256=sha256, kind=KIND).values_list("pk", flat=True))
    if there:
        return AlreadyThere(directions.name, there, KIND, notes)
    attributes = attributes_to_store(made)
    columns: dict[str, Any] = {**columns_of(KINDS[KIND], attributes), **catalogue_columns(attributes)}
    row = Product(
        kind=KIND,
        name=directions.name,
        sha256=sha256,
        file_size=size,
        attributes=storable(attributes),
        creator=user,
        project=context.project,
        privilege=context.privilege,
        identity=f"catalogue {user.pk}: {sha256}",
        **columns,
    )
    try:
        with transaction.atomic():
            insert_all(Product, [row])
    except IntegrityError:  # the same catalogue came in at the same moment by another way
        there = list(visible(context).filter(sha256=sha256, kind=KIND).values_list("pk", flat=True))
        return AlreadyThere(directions.name, there, KIND, notes)
    return Ingested(directions.name, [row.pk], KIND, notes)


def _input(source: Path | BinaryIO, name: str) -> JobInput:
    if isinstance(source, Path):
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        source.seek(0)
        digest = hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
    return JobInput(role="file", kind=KIND, path=name, name=Path(name).name, sha256=digest)


def _told_map(rules: dict[str, Rule]) -> str:
    order = sorted(rules, key=lambda target: (target == ID, target.endswith(ERROR) and "_" in target))
    return ",".join(f"{target}={rules[target].text}" for target in order)
