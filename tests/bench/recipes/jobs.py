"""Running a recipe as a job in the bench's own warm process: files in and out, timed, without its log."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recipes.running import run_job


def job_input(role: str, kind: str, path: Path, attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return an input as a job file has it; its digest, which the node knows from staging, is made up."""
    return {"role": role, "kind": kind, "path": str(path), "name": path.name, "sha256": "0" * 64,
            "attributes": dict(attributes or {})}  # fmt: skip


def write_job(folder: Path, recipe: str, inputs: Sequence[Mapping[str, Any]], threads: int = 1) -> Path:
    """Write a job file into a folder, which is made where it is missing and loses what an earlier job put out."""
    shutil.rmtree(folder / "outputs", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(json.dumps({"recipe": recipe, "threads": threads, "inputs": list(inputs)}))
    return path


def timed_job(
    folder: Path, recipe: str, inputs: Sequence[Mapping[str, Any]], threads: int = 1
) -> tuple[float, list[dict[str, Any]]]:
    """Run a job in a folder; return its seconds and its products as the result file has them."""
    path = write_job(folder, recipe, inputs, threads)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        begin = time.perf_counter()
        code = run_job(path)
        seconds = time.perf_counter() - begin
    result = json.loads((folder / "outputs" / "result.json").read_text())
    if code:
        raise SystemExit(f"{recipe} failed: {result['error']}")
    return seconds, result["products"]
