"""Running one job from its job file: the edge between files and the pure functions.

Whatever happens, a result file is written; nothing but it and the log tells how the job ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import sys
import time
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from recipes import fits_reading, progress, threads
from recipes.catalogue import find_recipe
from recipes.code import code_digest
from recipes.errors import FatalError, RecipeError, UsageError, is_of_the_machine
from recipes.fits_writing import Origin, attributes_to_store, product_name, write_product
from recipes.impossible_variance import without_impossible_variances
from recipes.job import CANARY, JobError, JobFile, JobInput, MadeProduct, ResultFile
from recipes.kinds import KINDS
from recipes.products import Outcome, Product
from recipes.quality import UNCERTAIN, judge, meanings, told_verdict
from recipes.recipe import Recipe
from recipes.values import VALUE_CLASSES

DONE, FAILED = 0, 1
_PROGRESS_SECONDS = 0.2
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def log(text: str) -> None:
    """Write one line to the job's log; what could steer a terminal is taken out."""
    now = datetime.now(UTC)
    line = _CONTROL.sub("?", text)
    print(f"{now:%H:%M:%S}.{now.microsecond // 1000:03d} {line}", file=sys.stderr, flush=True)


def run_job(path: Path) -> int:
    """Run the job of the job file `path`, write products and result file; return 0 if done, 1 if it failed."""
    started = time.monotonic()
    folder = path.resolve().parent
    outputs = folder / "outputs"
    name = ""
    try:
        job = _read_job(path)
        name = job.recipe
        outputs = folder / job.output_directory
        outputs.mkdir(parents=True, exist_ok=True)
        progress.listen(_ProgressFile(folder / "progress.json"))
        result = _run(job, folder, outputs)
    except Exception as error:  # noqa: BLE001  # the job's edge: every end is reported
        result = ResultFile(recipe=name, state="failed", error=_job_error(error))
        if result.error:
            log(f"failed: {result.error.message}" + (f" ({result.error.hint})" if result.error.hint else ""))
    finally:
        progress.listen(None)
    result.seconds = round(time.monotonic() - started, 3)
    result.peak_memory_mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return _finish(result, outputs)


def _run(job: JobFile, folder: Path, outputs: Path) -> ResultFile:
    if job.recipe == CANARY:
        log("this machine runs jobs")
        return ResultFile(recipe=CANARY, state="done")
    recipe = find_recipe(job.recipe)
    parameters = recipe.parse_parameters(job.parameters)
    threads.allow(job.threads)
    log(f"{recipe.name} {recipe.version} with {parameters or 'no parameters'}")
    _check_inputs(recipe, job.inputs)
    with ExitStack() as files:
        arguments = [_argument(recipe, role.role, job, folder, files) for role in recipe.inputs]
        progress.report(0.0, "computing")
        outcome: Outcome = recipe.function(*arguments, **parameters)
        progress.report(0.9, "writing products")
        for entry in outcome.left_out:
            log(f"left out {entry.name}: {entry.reason}")
        origin = Origin(recipe, parameters, _with_digests(job.inputs, folder), job.code_digest or code_digest())
        products = [_write(product, job, outputs, origin) for product in outcome.products]
    progress.report(1.0, "done")
    return ResultFile(
        recipe=recipe.name, version=recipe.version, state="done", products=products, left_out=list(outcome.left_out)
    )


def _read_job(path: Path) -> JobFile:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if is_of_the_machine(error):
            raise
        raise UsageError(f"the job file {path.name} cannot be read: {error}") from None
    try:
        return JobFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"the job file {path.name} is wrong at {where}: {first['msg']}",
                         hint="recipes/README.md shows a right one") from None  # fmt: skip


def _check_inputs(recipe: Recipe, inputs: list[JobInput]) -> None:
    """Refuse what the recipe's declaration does not allow: roles, kinds, numbers of inputs."""
    for entry in inputs:
        role = recipe.input(entry.role)
        if entry.kind not in role.kinds:
            raise UsageError(f"{entry.name} is a {entry.kind}, and {recipe.name} takes as {entry.role} only "
                             + " or ".join(role.kinds))  # fmt: skip
    for role in recipe.inputs:
        count = sum(entry.role == role.role for entry in inputs)
        if count < role.minimum:
            raise UsageError(f"{recipe.name} needs at least {role.minimum} {role.role} ({' or '.join(role.kinds)}), "
                             f"got {count}")  # fmt: skip
        if role.maximum is not None and count > role.maximum:
            raise UsageError(f"{recipe.name} takes at most {role.maximum} {role.role}, got {count}")
    if recipe.needs_any_of and not any(entry.role in recipe.needs_any_of for entry in inputs):
        raise UsageError(f"{recipe.name} needs at least one of " + ", ".join(recipe.needs_any_of))


def _argument(recipe: Recipe, role: str, job: JobFile, folder: Path, files: ExitStack) -> Any:
    """Return what the function gets for one role: a sequence, one input, or None."""
    loaded = [_load(entry, folder, files) for entry in job.inputs if entry.role == role]
    if recipe.input(role).many:
        return loaded
    return loaded[0] if loaded else None


def _load(entry: JobInput, folder: Path, files: ExitStack) -> Any:
    content = KINDS[entry.kind].content
    log(f"opening {entry.name} ({entry.role})")
    fits = files.enter_context(fits_reading.open_fits(folder / entry.path, entry.name, folder))
    if content == "raw":
        attributes = fits_reading.parse_attributes(entry.name, entry.attributes)
        return fits_reading.read_raw_frame(fits, attributes, folder, entry.kind)
    attributes = fits_reading.attributes_in(fits, entry.attributes)
    if content == "values":
        return VALUE_CLASSES[entry.kind].read(entry.name, attributes, fits_reading.read_table(fits, attributes))
    if content == "table":
        table = fits_reading.read_table(fits, attributes)
        if table is None:
            raise UsageError(f"{entry.name} holds no table", hint=f"give a {entry.kind} that is whole")
        return table
    return fits_reading.read_product_frame(fits, attributes, entry.kind)


def _with_digests(inputs: list[JobInput], folder: Path) -> list[JobInput]:
    """Return the inputs, each with the sha256 of its file where the job file does not give it."""
    full = []
    for entry in inputs:
        if entry.sha256:
            full.append(entry)
            continue
        with (folder / entry.path).open("rb") as file:
            full.append(entry.model_copy(update={"sha256": hashlib.file_digest(file, "sha256").hexdigest()}))
    return full


def _write(product: Product, job: JobFile, outputs: Path, origin: Origin) -> MadeProduct:
    product, impossible = without_impossible_variances(product)
    measurements, flags = judge(product.kind, product.measured, job.quality_limits, job.limit_origins)
    flags |= UNCERTAIN if impossible else 0
    given = {entry.role for entry in job.inputs}
    lacking = [
        role.role for role in origin.recipe.inputs if not role.minimum and role.preferred and role.role not in given
    ]
    any_of = origin.recipe.needs_any_of
    made_without = [role for role in lacking if role not in any_of] + list(product.made_without)
    name = _unused_name(outputs, product_name(product))
    digest, size = write_product(outputs / f"{name}.fits", product, measurements, flags, made_without, origin)
    for measurement in measurements:
        log(f"{measurement.name} = {measurement.value:.6g} {measurement.unit} {told_verdict(measurement)}".rstrip())
    for note in product.notes:
        log(note)
    for meaning in meanings(flags):
        log(f"quality: {meaning}")
    if made_without:
        log(f"made without: {', '.join(made_without)}")
    log(f"wrote {name}.fits, {size} bytes")
    return MadeProduct(
        kind=product.kind,
        path=f"{name}.fits",
        name=name,
        sha256=digest,
        size=size,
        attributes=attributes_to_store(product),
        measurements=measurements,
        quality_flags=flags,
        made_without=made_without,
    )


def _unused_name(outputs: Path, name: str) -> str:
    """Return `name`, numbered where the job already wrote a product of that name."""
    candidate, number = name, 1
    while (outputs / f"{candidate}.fits").exists():
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _job_error(error: Exception) -> JobError:
    if isinstance(error, RecipeError):
        return JobError(kind=error.kind, message=error.message, hint=error.hint)
    if isinstance(error, MemoryError):
        return JobError(kind="transient", message="out of memory", hint="run it where a job may take more memory")
    if isinstance(error, OSError) and is_of_the_machine(error):
        return JobError(kind="transient", message=f"the machine failed: {error.strerror}",
                        hint="make room on the disk of the node, or run it elsewhere")  # fmt: skip
    traceback.print_exception(error, file=sys.stderr)
    return JobError(kind=FatalError.kind, message=f"the recipe stopped on a defect: {type(error).__name__}: {error}",
                    hint="the job's log has the details; please report it")  # fmt: skip


def _finish(result: ResultFile, outputs: Path) -> int:
    text = result.model_dump_json(indent=1)
    try:
        outputs.mkdir(parents=True, exist_ok=True)
        _write_atomically(outputs / "result.json", text)
    except OSError as error:
        log(f"failed: the result file cannot be written: {error.strerror}")
        return FAILED
    return DONE if result.state == "done" else FAILED


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class _ProgressFile:
    """Writes progress.json when the stage changes, and every so often in between."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stage = ""
        self._written = 0.0

    def __call__(self, fraction: float, stage: str) -> None:
        now = time.monotonic()
        if stage != self._stage:
            log(stage)
        elif now - self._written < _PROGRESS_SECONDS:
            return
        self._stage, self._written = stage, now
        partial = self._path.with_name(".progress.part")
        partial.write_text(json.dumps({"fraction": round(fraction, 3), "stage": stage}), "utf-8")
        partial.replace(self._path)
