"""The good files that the damages start from are good: FITS as the standard has it, and reduced without a complaint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from astropy.io import fits

from recipes.catalogue import all_recipes
from recipes.running import run_job
from tests.fuzz.cases import MOST_FRAMES
from tests.fuzz.library import Library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Every good file."""
    return Library(tmp_path_factory.mktemp("library"))


def test_every_file_is_whole_and_of_its_size(library: Library) -> None:
    for entries in library.entries.values():
        for entry in entries:
            with fits.open(entry.path, checksum=True) as hdus:
                hdus.verify("exception")
                shapes = {hdu.data.shape for hdu in hdus if isinstance(hdu, fits.ImageHDU)}
            assert len(shapes) <= 1, entry.path.name
    # Science has found where the frames lie, so what takes its products has something to work on.
    solved = json.loads(fits.getheader(library.folder / "AstrometricParameters_of_science0.fits")["ATTRS"])
    assert solved["astrometric_confidence"] == "good"


# The flags that a field as small as this one earns.
EXPECTED_FLAGS = {"FringeFrame", "IlluminationCorrection", "IlluminationCorrectionFrame"}


@pytest.mark.parametrize("recipe", all_recipes())
def test_every_recipe_makes_something_of_the_undamaged_files(recipe: str, library: Library, tmp_path: Path) -> None:
    inputs = []
    for role in all_recipes()[recipe].inputs:
        there = library.of(role.kinds)
        of_one_kind = library.of((there[0].kind,)) if role.maximum != 1 else there
        inputs += [
            {"role": role.role, "kind": entry.kind, "path": str(entry.path), "name": entry.path.name,
             "attributes": entry.attributes}
            for entry in of_one_kind[: role.maximum or MOST_FRAMES]
        ]  # fmt: skip
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"recipe": recipe, "inputs": inputs, "threads": 1}), "utf-8")
    run_job(job)
    result = json.loads((tmp_path / "outputs" / "result.json").read_text("utf-8"))
    assert result["error"] is None
    flagged = {product["kind"] for product in result["products"] if product["quality_flags"]}
    assert flagged <= EXPECTED_FLAGS
