"""Running one case in a process of its own, and what is to be said of how it ended."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tests.fuzz.cases import Case

CPU_SECONDS = 30
WALL_SECONDS = 120
MEMORY = 6 << 30  # of addresses: what the kernels and libraries map counts too


def run_case(case: Case) -> tuple[str, str]:
    """Run a case; return how it ended in a word, and what is wrong with that, or nothing."""
    child = os.fork()
    if not child:
        _run(case)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        kind = "hang" if number in (signal.SIGALRM, signal.SIGXCPU) else "crash"
        return kind, f"ended by {signal.Signals(number).name}"
    path = case.job.parent / "outputs" / "result.json"
    if not path.exists():
        return "crash", "no result file"
    return _judge(case, json.loads(path.read_text("utf-8")), path.parent)


def _run(case: Case) -> None:
    """Run the job in this process, which is forked for it, and end."""
    code = 99
    try:
        log = os.open(case.job.parent / "log.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.alarm(WALL_SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from recipes.running import run_job

        code = run_job(case.job)
    finally:
        os._exit(code)


def _judge(case: Case, result: dict[str, Any], folder: Path) -> tuple[str, str]:
    if result["state"] == "failed":
        return _judge_error(case, result["error"])
    for product in result["products"]:
        wrong = _look_at(folder / product["path"])
        if wrong:
            return "bad product", f"{product['kind']} {wrong}"
    if case.ruined and not any(_tells(product, folder) for product in result["products"]):
        return (
            "silent",
            f"made {', '.join(product['kind'] for product in result['products'])} of nothing without a flag",
        )
    return "made", ""


def _judge_error(case: Case, error: dict[str, str]) -> tuple[str, str]:
    text = f"{error['message']} {error['hint']}"
    if "stopped on a defect" in text:
        return "defect", error["message"]
    if error["kind"] == "usage" and not _names_something(case, text):
        return "unnamed", error["message"]
    return "refused", ""


def _names_something(case: Case, text: str) -> bool:
    """Whether an error says of which input or parameter it speaks."""
    if any(name in text for name in case.names):
        return True
    job = json.loads(case.job.read_text("utf-8"))
    roles = {entry["role"] for entry in job["inputs"]}
    # Of a recipe with one input there is nothing to name but it; of parameters the name is enough.
    words = [*job["parameters"], *roles, *(role.replace("_", " ") for role in roles), case.recipe]
    return len(case.names) == 1 or any(word in text for word in words)


def _look_at(path: Path) -> str:
    """Return what a product must not have: no-numbers where nothing is masked, variances below zero."""
    with fits.open(path, memmap=False) as hdus:
        names = [hdu.name for hdu in hdus]
        if "SCI" not in names:
            return ""
        mask = hdus["MASK"].data if "MASK" in names else 0
        good = np.asarray(mask) == 0
        data = hdus["SCI"].data
        if not np.isfinite(data[np.broadcast_to(good, data.shape)]).all():
            return "has pixels that are no number and not masked"
        if "VAR" in names:
            variance = hdus["VAR"].data[np.broadcast_to(good, data.shape)]
            if not np.isfinite(variance).all() or (variance < 0).any():
                return "has good pixels of impossible variance"
    return ""


def _tells(product: dict[str, Any], folder: Path) -> bool:
    """Whether a product says that it is not to be trusted: by its flags, its mask, or by having nothing in it."""
    if product["quality_flags"]:
        return True
    with fits.open(folder / str(product["path"]), memmap=False) as hdus:
        for hdu in hdus:
            if hdu.name == "MASK" and np.mean(hdu.data != 0) > 0.5:
                return True
            if getattr(hdu.data, "names", None) and not len(hdu.data):
                return True
    return False
