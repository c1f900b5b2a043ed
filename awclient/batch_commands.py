"""`awrecipe batch FILE` and `awrecipe batches`: many runs from a script or table, planned, agreed to and followed."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from awclient.errors import Lost, RecipeFailed, UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import Progress, out, out_json, out_table, say
from processing_units.wording import counted

if TYPE_CHECKING:
    from awclient.client import Portal
    from processing_units.contract import BatchPlan, BatchStatus, JobState

Timeout = Annotated[float | None, typer.Option(help="With --wait: give up after so many seconds; the batch goes on.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 if anything failed.")]
_LOOK_EVERY = 1.0
_ENDS = {"done", "failed", "cancelled"}
_RUNS_TOLD = 40


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(batch)
    app.command()(batches)


def batch(  # noqa: PLR0913, PLR0917 - an option each
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A Starlark script (.star), or a table of runs (.yaml, .csv).")],
    name: Annotated[str, typer.Option(help="A name for the batch; else the file's.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; make nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to the plan without being asked.")] = False,
    leave_out: Annotated[bool, typer.Option("--leave-out", help="Leave out the jobs that cannot run.")] = False,
    wait: WaitOption = False,
    timeout: Timeout = None,
    new: Annotated[bool, typer.Option("--new", help="A new batch, even if the same was cut off before.")] = False,
    json: JsonOption = False,
) -> None:
    """Make many runs from one script: it is planned by the portal, shown, and made in one piece when you agree.

    In the script run('SourceList', frames(kind='ReducedScienceFrame', night='2024-05-12'), threshold=3.0) makes a run.
    """
    from awclient.submitting import PendingKey
    from processing_units.contract import BatchRequest

    text, language = read_script_file(file)
    request = BatchRequest(text=text, language=language, name=(name or file.name)[:100])
    with session_of(context).open() as portal:
        if dry_run:
            _show_plan(portal.plan_batch(request), json)
            return
        key = PendingKey(portal, {"batch": request.model_dump(mode="json", exclude={"idempotency_key"})}, new=new)
        with key.settled_if_refused():
            found = portal.draft_batch(request.model_copy(update={"idempotency_key": key.text}))
            if found.made:
                say(
                    f"re-attached to batch {found.id}, made by this command before it was cut off (--new makes it anew)"
                )
            else:
                _agree(found, yes=yes, leave_out=leave_out, json=json)
                found = portal.make_batch(found.id, found.plan.digest, leave_out=leave_out)
                if not json:
                    jobs = counted(sum(found.counts.values()), "job")
                    say(f"batch {found.id}: {counted(len(found.runs), 'run')}, {jobs}")
        if wait:
            found = follow_batch(portal, found.id, quiet=json, timeout=timeout)
        key.settle()
    _show_status(found, json)
    if wait:
        raise_unless_done(found)


def batches(
    context: typer.Context,
    number: Annotated[int | None, typer.Argument(help="The batch's number; none lists yours.", min=1)] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel all of it that has not ended.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Run its failed jobs again.")] = False,
    wait: WaitOption = False,
    timeout: Timeout = None,
    json: JsonOption = False,
) -> None:
    """Show how a batch stands with its runs, cancel it, retry what failed; or list your batches."""
    if number is None and (cancel or retry or wait):
        raise UsageProblem("say which batch", hint="`awrecipe batches` lists yours")
    if cancel and retry:
        raise UsageProblem("--cancel and --retry exclude each other")
    with session_of(context).open() as portal:
        if number is None:
            _show_list(portal.batches(), json)
            return
        found = portal.cancel_batch(number) if cancel else portal.retry_batch(number) if retry else portal.batch(number)
        if wait:
            found = follow_batch(portal, number, quiet=json, timeout=timeout)
    _show_status(found, json)
    if wait:
        raise_unless_done(found)


def read_script_file(path: Path) -> tuple[str, Literal["star", "yaml", "csv"]]:
    """Return the text of a script and its language, which its name tells."""
    languages: dict[str, Literal["star", "yaml", "csv"]] = {
        ".star": "star",
        ".yaml": "yaml",
        ".yml": "yaml",
        ".csv": "csv",
    }
    language = languages.get(path.suffix.lower())
    if language is None:
        raise UsageProblem(f"{path.name}: what it is its name does not tell", hint=f"end it in {', '.join(languages)}")
    try:
        return path.read_text(encoding="utf-8-sig"), language
    except OSError as problem:
        raise UsageProblem(f"{path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{path} is not text in UTF-8") from None


def follow_batch(portal: Portal, number: int, *, quiet: bool = False, timeout: float | None = None) -> BatchStatus:
    """Watch a batch until it has ended; raise Lost when the time is over (the batch goes on)."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with Progress(quiet=quiet) as progress:
        while True:
            found = portal.batch(number)
            total = sum(found.counts.values()) or 1
            ended = sum(count for state, count in found.counts.items() if state in _ENDS)
            progress.show(f"batch {number}", ended / total, describe_batch(found))
            if found.state in _ENDS:
                return found
            if found.state == "planned":
                raise UsageProblem(f"batch {number} is planned, and nobody has agreed to it yet")
            if deadline is not None and time.monotonic() > deadline:
                raise Lost(
                    f"batch {number} has not ended after {timeout:.0f} s; it goes on",
                    hint=f"`awrecipe batches {number} --wait` re-attaches, --cancel ends it",
                )
            time.sleep(_LOOK_EVERY)


def describe_batch(found: BatchStatus) -> str:
    """Return in a line how a batch stands."""
    if found.state == "planned":
        return f"planned: {counted(len(found.plan.runs), 'run')}, {counted(found.plan.jobs, 'job')}"
    total = sum(found.counts.values())
    parts = [f"{_number(found.counts, 'done')} of {counted(total, 'job')} done"]
    parts += [f"{count} {state}" for state, count in found.counts.items() if count and state != "done"]
    parts += [f"{counted(found.to_come, 'chain')} to go on"] if found.to_come else []
    parts += ["what rests on these follows"] if found.goes_on else []
    return f"{found.state}: " + ", ".join(parts)


def raise_unless_done(found: BatchStatus) -> None:
    """Raise RecipeFailed where a batch did not end well."""
    if found.state == "done":
        return
    bad = next((run for run in found.runs if run.state in {"failed", "cancelled"}), None)
    where = f"; first run {bad.id} {bad.recipe}" if bad else ""
    raise RecipeFailed(
        f"batch {found.id} {describe_batch(found)}{where}",
        hint=f"`awrecipe batches {found.id} --retry` runs the failed jobs again"
        + (f", `awrecipe logs {bad.id}` shows a log" if bad else ""),
    )


def _number(counts: Mapping[JobState, int], state: str) -> int:
    return next((number for each, number in counts.items() if each == state), 0)


def _agree(found: BatchStatus, *, yes: bool, leave_out: bool, json: bool) -> None:
    """Show the plan and ask, unless the user has agreed beforehand."""
    plan = found.plan
    if plan.problems and not leave_out:
        _show_plan(plan, json=False)
        raise UsageProblem(
            f"{counted(plan.problems, 'job')} of {plan.jobs} cannot run",
            hint="mend it, or make the rest with --leave-out",
        )
    if yes:
        return
    if json or not sys.stdin.isatty():
        raise UsageProblem("nobody is there to agree to the plan", hint="add --yes, or look first with --dry-run")
    _show_plan(plan, json=False)
    if not typer.confirm(f"Make {counted(plan.jobs - plan.problems, 'job')}?", err=True):
        raise UsageProblem("nothing was made")


def _show_plan(plan: BatchPlan, json: bool) -> None:
    if json:
        out_json(plan.model_dump(mode="json"))
        return
    rows = [
        (run.line, ">".join([run.recipe, *run.then]), run.jobs, run.inputs, f"{run.bytes / 1e6:.1f}", run.unit,
         ", ".join(f"{name}={value}" for name, value in run.parameters.items()),
         f"{run.problems} cannot run: {run.first_problems[0]}" if run.problems else "")
        for run in plan.runs[:_RUNS_TOLD]
    ]  # fmt: skip
    out_table(("line", "recipe", "jobs", "frames", "MB", "unit", "parameters", "problem"), rows)
    if len(plan.runs) > _RUNS_TOLD:
        out(f"... and {len(plan.runs) - _RUNS_TOLD} runs more")
    out(f"{counted(len(plan.runs), 'run')}, {counted(plan.jobs, 'job')}; nothing has been submitted")


def _show_status(found: BatchStatus, json: bool) -> None:
    if json:
        out_json(found.model_dump(mode="json"))
        return
    out(f"batch {found.id} {found.name} by {found.user}: {describe_batch(found)}")
    if found.runs:
        out_table(("run", "recipe", "state", "jobs", "done", "failed", "remark"), [
            (run.id, run.recipe, run.state, sum(run.counts.values()), _number(run.counts, "done"),
             _number(run.counts, "failed"), run.comment)
            for run in found.runs
        ])  # fmt: skip


def _show_list(found: list[BatchStatus], json: bool) -> None:
    if json:
        out_json([entry.model_dump(mode="json") for entry in found])
        return
    out_table(("batch", "name", "state", "runs", "jobs", "done", "failed", "made"), [
        (entry.id, entry.name, entry.state, len(entry.plan.runs), sum(entry.counts.values()) or entry.plan.jobs,
         _number(entry.counts, "done"), _number(entry.counts, "failed"), (entry.made or "")[:19])
        for entry in found
    ])  # fmt: skip
