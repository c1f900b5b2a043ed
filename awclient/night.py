"""Reduce a whole night through the interface that every user has.

For each recipe, in the portal's order: ask the portal to plan it on what the night has, leave out what is there
already, submit the rest, and go on when the products that the next recipe takes are there. Started again it finds the
runs that are still open, and makes only what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from awclient.client import Json, Portal
from awclient.errors import ClientError, Lost, NotAllowed
from awclient.following import describe, fraction
from awclient.shipping import environment_of
from awclient.submitting import PendingSubmission
from awclient.terminal import Progress
from processing_units.contract import FaultKind, JobState, Plan, RunStatus, Submission
from processing_units.nights.frames import FrameSet, inputs_for, missing_kinds, nearest_calibrations
from processing_units.nights.made_before import MadeBefore
from processing_units.nights.order import steps

REMARK = "awrecipe night"
_LOOK_EVERY = 1.0


@dataclass
class NightReport:
    """What came of a night."""

    made: list[Json] = field(default_factory=list)
    there: list[Json] = field(default_factory=list)
    not_possible: list[Json] = field(default_factory=list)
    failed: list[Json] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)

    @property
    def products(self) -> list[Json]:
        """All products of the night, in the order of their making."""
        both = {product["id"]: product for product in [*self.there, *self.made]}
        return [both[number] for number in sorted(both)]


@dataclass(frozen=True)
class _Step:
    place: int
    recipe: Json


@dataclass
class _OpenRun:
    frames: FrameSet
    step: _Step
    number: int


class Night:
    """One night's reduction, as far as it has got."""

    def __init__(
        self,
        portal: Portal,
        sets: Sequence[FrameSet],
        *,
        unit: str = "",
        progress: Progress,
        timeout: float | None = None,
        recipes: Sequence[Json] | None = None,
    ) -> None:
        self.report = NightReport()
        self._portal = portal
        self._sets = sets
        self._unit = unit or None
        self._progress = progress
        self._deadline = None if timeout is None else time.monotonic() + timeout
        recipes = portal.recipes() if recipes is None else recipes
        self._before = MadeBefore(portal, recipes, sets)
        self._steps = [_Step(place, recipe) for place, recipe in enumerate(steps(recipes))]
        self._open: list[_OpenRun] = []

    def reduce(self) -> NightReport:
        """Run all that the night allows; return when it has ended."""
        self._await_earlier_runs()
        waiting = list(self._steps)
        while waiting or self._open:
            for step in [step for step in waiting if self._is_ready(step, waiting)]:
                waiting.remove(step)
                # What is not possible yet may be at the recipe's second turn: only the last one tells.
                is_last = not any(later.recipe["name"] == step.recipe["name"] for later in waiting)
                for frames in self._sets:
                    self._start(step, frames, tell=is_last)
            self._look_after_runs()
            self._keep_to_time()
        return self.report

    def _is_ready(self, step: _Step, waiting: Sequence[_Step]) -> bool:
        """Return whether the steps before it that make what it takes (or what it makes itself) have all ended."""
        kinds = {kind for entry in step.recipe["inputs"] for kind in entry["kinds"]} | set(step.recipe["outputs"])
        unfinished = [*waiting, *(run.step for run in self._open)]
        return not any(earlier.place < step.place and kinds & set(earlier.recipe["outputs"]) for earlier in unfinished)

    def _await_earlier_runs(self) -> None:
        """Wait for what an earlier start of this command has left running: it is not to be made twice."""
        instruments = {frames.instrument for frames in self._sets}
        for run in self._portal.runs(open=True, limit=500):
            if not any(run["comment"].startswith(f"{REMARK}: {instrument} ") for instrument in instruments):
                continue
            self._progress.line(
                f"run {run['id']} {run['recipe']} is still going on from an earlier start: waiting for it"
            )
            for status in self._portal.watch(run["id"]):
                self._progress.show(f"run {status.id} {status.recipe}", fraction(status), describe(status))
                self._keep_to_time()

    # ------------------------------------------------------------------------------------------------- one recipe

    def _start(self, step: _Step, frames: FrameSet, *, tell: bool) -> None:
        recipe = step.recipe
        candidates = inputs_for(recipe, frames)
        if not candidates and tell:
            self._cannot(recipe, frames, frames.title, f"there is no {missing_kinds(recipe)}")
        made_before = self._before.products_of(recipe, frames) if candidates else []
        for chosen in candidates:
            named = nearest_calibrations(recipe, chosen, frames)
            try:
                plan = self._plan(recipe, frames, chosen, named)
                wanted = self._missing(recipe, frames, plan, made_before, tell=tell)
                if wanted:
                    self._submit(step, frames, self._submission(recipe, frames, {**wanted, **named}))
            except (Lost, NotAllowed):
                raise
            except ClientError as problem:
                self._cannot(recipe, frames, frames.title, told(problem))

    def _missing(
        self, recipe: Json, frames: FrameSet, plan: Plan, made_before: Sequence[Json], *, tell: bool
    ) -> dict[str, list[int]]:
        """Return the primary inputs of those planned jobs that can run and have not."""
        wanted: dict[str, list[int]] = {}
        for job in plan.jobs:
            if job.problem:
                if tell:
                    self._cannot(recipe, frames, job.label, job.problem)
                continue
            there = self._before.there(recipe, plan, job, made_before)
            if there:
                self.report.there += there
                frames.add(there)
                continue
            for role, numbers in job.inputs.items():
                wanted[role] = sorted({*wanted.get(role, []), *numbers})
        return wanted

    def _plan(
        self, recipe: Json, frames: FrameSet, chosen: Mapping[str, Sequence[Json]], named: Mapping[str, list[int]]
    ) -> Plan:
        inputs = {role: [product["id"] for product in products] for role, products in chosen.items()}
        return self._portal.plan(self._submission(recipe, frames, {**inputs, **named}))

    def _submit(self, step: _Step, frames: FrameSet, submission: Submission) -> None:
        pending = PendingSubmission(self._portal, submission)
        status = pending.send()
        pending.settle()
        self.report.runs.append(status.id)
        self._open.append(_OpenRun(frames, step, status.id))
        self._progress.show(f"run {status.id} {status.recipe}", 0.0, describe(status))

    def _submission(self, recipe: Json, frames: FrameSet, inputs: dict[str, list[int]]) -> Submission:
        remark = f"{REMARK}: {frames.title}"
        environment = environment_of(None, None, recipe, quiet=True)
        return Submission(
            recipe=recipe["name"],
            inputs=inputs,
            unit=self._unit,
            comment=remark[:500],
            environment=environment.entries,
            overruled_by=list(environment.overruled),
        )

    def _cannot(self, recipe: Json, frames: FrameSet, what: str, reason: str) -> None:
        entry = {"recipe": recipe["name"], "set": frames.title, "what": what, "reason": reason}
        self.report.not_possible.append(entry)

    # -------------------------------------------------------------------------------------------------- open runs

    def _look_after_runs(self) -> None:
        begin = time.monotonic()
        ended: list[tuple[_OpenRun, RunStatus]] = []
        for open_run in self._open:
            status = self._portal.run(open_run.number)
            name = f"run {status.id} {status.recipe}"
            self._progress.show(name, fraction(status), describe(status))
            if status.state in {"done", "failed", "cancelled"}:
                ended.append((open_run, status))
        for open_run, status in ended:
            self._open.remove(open_run)
            self._collect(open_run, status)
        if self._open and not ended:
            time.sleep(max(0.0, _LOOK_EVERY - (time.monotonic() - begin)))

    def _collect(self, open_run: _OpenRun, status: RunStatus) -> None:
        products = self._before.remember(self._portal.products(run=status.id))
        self.report.made += products
        open_run.frames.add(products)
        for job in status.jobs:
            if job.state is JobState.DONE and not job.products:
                reason = job.reason or f"the job left out all it was given: `awrecipe logs {status.id} {job.number}`"
                self._cannot(open_run.step.recipe, open_run.frames, job.label, reason)
            elif job.state is JobState.FAILED and job.fault == FaultKind.USAGE:
                # Only the recipe sees the pixels: what cannot be made of these frames is no failure of the night.
                self._cannot(open_run.step.recipe, open_run.frames, job.label, job.reason)
            elif job.state is not JobState.DONE:
                self.report.failed.append(
                    {"recipe": status.recipe, "run": status.id, "job": job.number, "what": job.label,
                     "state": job.state.value, "reason": job.reason}
                )  # fmt: skip
                self._progress.line(f"run {status.id} {status.recipe} {job.label} {job.state}: {job.reason}")

    def _keep_to_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise Lost(
                "the night has not ended in the time given; its runs go on",
                hint="the same command goes on from where it was",
            )


def told(problem: ClientError) -> str:
    """Return what went wrong and how to mend it, in a line."""
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message
