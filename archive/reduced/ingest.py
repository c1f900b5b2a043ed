"""Frames that others reduced enter the archive: image, weight and data quality, from one file or from several.

They become what Reduce makes: a ReducedScienceFrame with variance and mask in our bits, and its WeightFrame, so that
every recipe after Reduce takes them.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from django.db import transaction

from archive.context import Context, visible
from archive.headers import NotFits
from archive.ingest import AlreadyThere, BadRequest, FileStore, Ingested, Outcome, Refused, told
from archive.models import Lineage, Product
from archive.on_disk import on_disk
from archive.products import InvalidProduct, columns_of, insert_all, storable
from archive.reduced.reading import FRAME, WEIGHT, WEIGHT_TYPES, Chip, ReducedFiles, read_chips
from archive.translation.camera import Camera
from archive.translation.translate import NotUnderstood
from recipes.errors import UsageError
from recipes.fits_writing import Origin, attributes_to_store, product_name, write_product
from recipes.job import JobInput
from recipes.kinds import KINDS
from recipes.recipe import Recipe

# The role in the lineage of a weight that came in together with its frame.
BELONGS_TO = "belongs_to"


def ingest_reduced(
    files: ReducedFiles, context: Context, store: FileStore, instrument: str | Camera | None = None
) -> Outcome:
    """Ingest one reduced exposure: of each chip a frame and its weight.

    Raises
    ------
    BadRequest
        Nobody is logged in, or what was told of instrument or weight cannot be.
    """
    if context.user is None:
        raise BadRequest("log in first: visitors ingest nothing")
    if files.weight_type and files.weight_type not in WEIGHT_TYPES:
        raise BadRequest(f"a weight of the type {files.weight_type[:20]!r} is none of {', '.join(WEIGHT_TYPES)}")
    camera = told(instrument).camera
    name = files.image[1]
    try:
        with ExitStack() as opened:
            paths = {part: opened.enter_context(on_disk(source)) for part, (source, _) in files.given().items()}
            sources = [
                JobInput(role=part, kind=FRAME, path=file[1], name=Path(file[1]).name, sha256=_digest(paths[part]))
                for part, file in files.given().items()
            ]
            chips = read_chips(files, paths, camera)
            return _enter(name, chips, sources, context, store)
    except NotUnderstood as error:
        return Refused(name, error.reason, error.hint)
    except NotFits as error:
        return Refused(name, error.reason, error.hint)
    except UsageError as error:
        return Refused(name, error.message, error.hint)
    except InvalidProduct as error:
        return Refused(name, str(error), "describe the camera in a TOML file")


def _enter(name: str, chips: Sequence[Chip], sources: list[JobInput], context: Context, store: FileStore) -> Outcome:
    user = context.user
    assert user is not None  # noqa: S101  # ingest_reduced refuses visitors
    origin = Origin(Recipe("Ingest", "1", ingest_reduced, (), (FRAME, WEIGHT), ()), {}, sources, "")
    notes = list(dict.fromkeys(note for chip in chips for note in chip.notes))
    rows: list[list[Product]] = []
    with tempfile.TemporaryDirectory() as folder:
        for chip in chips:
            rows.append([])
            for made in chip.products:
                path = Path(folder) / "product.fits"
                sha256, size = write_product(path, made, [], 0, made.made_without, origin)
                with path.open("rb") as stream:
                    store.put(stream)
                attributes = attributes_to_store(made)
                rows[-1].append(
                    Product(
                        kind=made.kind,
                        name=product_name(made),
                        sha256=sha256,
                        file_size=size,
                        attributes=storable(attributes),
                        creator=user,
                        project=context.project,
                        privilege=context.privilege,
                        made_without=list(made.made_without),
                        identity=f"reduced {user.pk}: {sha256}",
                        **columns_of(KINDS[made.kind], attributes),
                    )
                )
    identities = [row.identity for of_chip in rows for row in of_chip]
    with transaction.atomic():
        there = list(visible(context).filter(sha256__in=[row.sha256 for of_chip in rows for row in of_chip]))
        if {row.identity for row in there} >= set(identities):
            return AlreadyThere(name, sorted(row.pk for row in there), FRAME, notes)
        known = {row.identity: row for row in there}
        for of_chip in rows:
            new = [row for row in of_chip if row.identity not in known]
            insert_all(Product, new)
            present = [known.get(row.identity, row) for row in of_chip]
            if len(present) == 2 and new:
                Lineage.objects.get_or_create(product=present[1], source=present[0], role=BELONGS_TO, ordinal=0)
    numbers = [known.get(row.identity, row).pk for of_chip in rows for row in of_chip]
    return Ingested(name, numbers, FRAME, notes)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
