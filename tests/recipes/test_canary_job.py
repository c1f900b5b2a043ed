"""A canary job needs no recipe and leaves no product: it shows that a machine runs jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from processing_units.contract import CANARY as IN_THE_CONTRACT
from recipes.job import CANARY, ResultFile


def test_it_is_done_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"recipe": CANARY, "inputs": []}))
    ran = subprocess.run([sys.executable, "-m", "recipes", "job.json"], cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    result = ResultFile.model_validate_json((tmp_path / "outputs" / "result.json").read_text())
    assert (result.state, result.products) == ("done", [])


def test_nodes_and_recipes_mean_the_same() -> None:
    assert CANARY == IN_THE_CONTRACT
