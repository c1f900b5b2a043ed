"""``lpu``: recipes on this machine. The portal plans and gives the frames; what comes out stays in a folder here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from awclient.awe.context import SessionContext
from awclient.awe.frames import frames_of
from awclient.awe.options import submission_of
from awclient.client import Json, Portal
from awclient.errors import RecipeFailed, UsageProblem
from awclient.terminal import say
from awclient.transfer import download, file_name
from processing_units.contract import Plan, PlannedJob

FOLDER = "lpu"
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


class LocalProcessor:
    """What ``lpu`` is at the prompt."""

    def __init__(self, portal: Portal, context: SessionContext) -> None:
        self._portal = portal
        self._context = context

    def __repr__(self) -> str:
        return f"<this machine; results stay in ./{FOLDER}>"

    def run(self, identifier: str, *, folder: str | Path = FOLDER, **options: Any) -> list[Path]:
        """Run a recipe here, one job after the other, with the options of ``dpu.run``; return the files of products.

        Parameters
        ----------
        identifier : str
            One recipe.
        folder : str or Path, optional
            Where inputs and products are kept, a folder for each job.
        **options : object
            As for ``dpu.run``. Nothing is committed: C must be 0 or not given.

        Returns
        -------
        list of Path
            The products.

        Raises
        ------
        RecipeFailed
            A job failed; says why. The products of the jobs before are there.
        UsageProblem
            A chain, C=1, or what ``dpu.run`` refuses.
        """
        if ">" in identifier:
            raise UsageProblem("a chain runs on the processing units", hint=f"dpu.run({identifier!r}, ...)")
        if options.get("C", options.get("commit", 0)) not in (0, "0"):
            raise UsageProblem("what runs on this machine is not committed", hint="dpu.run(..., C=1) is")
        if options.get("code"):
            raise UsageProblem(
                "lpu runs the recipes that are installed here", hint="run awe in your own tree, or dpu.run"
            )
        plan = self._portal.plan(submission_of(self._portal, self._context, identifier, options, ""))
        made: list[Path] = []
        for number, job in enumerate(plan.jobs, 1):
            place = Path(folder).absolute() / _UNSAFE.sub("_", f"{plan.recipe}_{job.label or number}")
            say(f"{plan.recipe} {job.label}: {len(plan.jobs)} jobs, this is number {number}; in {place}")
            made += self._run(plan, job, place)
        return made

    def _run(self, plan: Plan, job: PlannedJob, place: Path) -> list[Path]:
        if job.problem:
            raise UsageProblem(f"{plan.recipe} {job.label}: {job.problem}")
        numbers = {role: list(several) for role, several in job.inputs.items()}
        for choice in job.calibrations:
            if choice.product is not None:
                numbers.setdefault(choice.role, []).append(choice.product)
        place.mkdir(parents=True, exist_ok=True)
        job_file = place / "job.json"
        described = {
            "recipe": plan.recipe,
            "parameters": plan.parameters,
            "inputs": [self._input(role, number, place) for role, several in numbers.items() for number in several],
            "output_directory": "outputs",
            "threads": len(os.sched_getaffinity(0)),
        }
        job_file.write_text(json.dumps(described, indent=1))
        for old in (place / "outputs").glob("*"):
            old.unlink()
        subprocess.run([sys.executable, "-m", "recipes", str(job_file)], check=False)
        return _products(place, plan, job)

    def _input(self, role: str, number: int, place: Path) -> Json:
        found = list(frames_of(self._portal, [number]))
        if not found:
            raise UsageProblem(f"the product {number} cannot be seen any more")
        known = found[0].known
        name = f"{number}_{file_name(known, 'fits')}"
        download(self._portal, known, place / "inputs" / name)
        return {
            "role": role, "kind": known["kind"], "path": f"inputs/{name}", "name": known["name"],
            "sha256": known["sha256"], "attributes": known["attributes"],
        }  # fmt: skip


def _products(place: Path, plan: Plan, job: PlannedJob) -> list[Path]:
    try:
        result = json.loads((place / "outputs" / "result.json").read_text())
    except (OSError, ValueError):
        raise RecipeFailed(f"{plan.recipe} {job.label} ended without a result", hint=f"see {place}") from None
    if result["state"] != "done":
        error = result.get("error") or {}
        raise RecipeFailed(
            f"{plan.recipe} {job.label}: {error.get('message', 'failed')}", hint=str(error.get("hint") or "")
        )
    return [place / "outputs" / product["path"] for product in result["products"]]
