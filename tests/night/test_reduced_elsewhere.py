"""Exposures that others reduced go through every recipe after Reduce, from the command line alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.night.installation import Installation

pytestmark = [pytest.mark.processes, pytest.mark.real_frames, pytest.mark.timeout(900)]


def test_the_decam_cut_outs_are_regridded_coadded_and_associated(installation: Installation, real_frames: Path) -> None:
    folder = real_frames / "decam_cutouts_reduced"
    gaia = [str(path) for path in sorted((folder / "gaia").glob("*.fits"))]
    catalogue = json.loads(installation.awrecipe("ingest", *gaia, "--catalogue", "GaiaDR2", "--json"))
    assert catalogue["products"][0]["attributes"]["star_count"] == 709
    report = json.loads(installation.awrecipe("ingest", "--reduced", str(folder / "decam"), "--json"))
    assert report["refused"] == []
    assert len(report["ingested"]) == 16
    again = json.loads(installation.awrecipe("ingest", "--reduced", str(folder / "decam"), "--json"))
    assert (again["ingested"], len(again["there"])) == ([], 16)

    frames = ",".join(str(product["id"]) for product in products(installation, "ReducedScienceFrame"))
    assert run(installation, "Science", frames) == ["done"]
    regridded = products(installation, "RegriddedFrame")
    assert Counter(product["filter"] for product in regridded) == {"g": 3, "r": 2, "z": 3}
    assert len({product["attributes"]["grid"] for product in regridded}) == 1  # one grid for the run
    plan = json.loads(installation.awrecipe("run", "Science", frames, "--dry-run", "--json"))
    assert {choice["name"] for job in plan["jobs"] for choice in job["calibrations"]
            if choice["role"] == "reference_catalogue"} == {"GaiaDR2"}  # fmt: skip

    on_grid = ",".join(str(product["id"]) for product in regridded)
    assert run(installation, "Coadd", on_grid) == ["done"]
    coadds = products(installation, "CoaddedRegriddedFrame")
    assert sorted(product["filter"] for product in coadds) == ["g", "r", "z"]
    deep = ",".join(str(product["id"]) for product in coadds)
    plan = json.loads(installation.awrecipe("run", "SourceList", deep, "--dry-run", "--json"))
    weights = [choice for job in plan["jobs"] for choice in job["calibrations"] if choice["role"] == "weight"]
    assert [choice["reason"] for choice in weights] == [f"made together with {job['label']}" for job in plan["jobs"]]
    assert run(installation, "SourceList", deep) == ["done"]
    lists = ",".join(str(product["id"]) for product in products(installation, "SourceList"))
    assert run(installation, "AssociateList", lists) == ["done"]
    (made,) = products(installation, "AssociateList")
    measured = {entry["name"]: entry["value"] for entry in made["measurements"]}  # type: ignore[attr-defined]
    assert measured["matched_count"] >= 1, measured  # the source in the middle of the patch is in all three filters


def products(installation: Installation, kind: str) -> list[dict[str, object]]:
    return json.loads(installation.awrecipe("products", "--kind", kind, "--json"))  # type: ignore[no-any-return]


def run(installation: Installation, recipe: str, inputs: str) -> list[str]:
    """Run a recipe to its end; return how it ended."""
    status = json.loads(installation.awrecipe("run", recipe, inputs, "--wait", "--json"))
    assert status["state"] == "done", status
    return [status["state"]]
