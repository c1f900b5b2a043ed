"""`awrecipe run | status | logs | cancel | retry`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awclient.errors import UsageProblem
from awclient.session import JsonOption, complete_recipe, session_of
from awclient.terminal import out, out_json, out_table, say
from processing_units.wording import counted

if TYPE_CHECKING:
    from awclient.client import Json, Portal
    from processing_units.contract import RunStatus, Submission

RunNumber = Annotated[int, typer.Argument(help="The run's number.", min=1)]
Timeout = Annotated[float | None, typer.Option(help="With --wait: give up after so many seconds; the run goes on.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    extra = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command(context_settings=extra, epilog="`awrecipe help RECIPE` shows a recipe's own options.")(run)
    app.command()(status)
    app.command()(logs)
    app.command()(cancel)
    app.command()(retry)


def run(  # noqa: PLR0913, PLR0917 - an option each
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="The recipe's name, or a chain: 'Reduce>Science'.", autocompletion=complete_recipe)
    ],
    params: Annotated[Path | None, typer.Option(help="Parameters from a TOML or JSON file.")] = None,
    params_set: Annotated[
        list[str] | None, typer.Option(help="Parameters kept under that name; in a chain RECIPE:NAME.")
    ] = None,
    parameter: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, the same as --name value.")] = None,
    night: Annotated[str, typer.Option(help="Inputs of that night (date of its evening, 2024-05-12).")] = "",
    instrument: Annotated[str, typer.Option(help="Inputs of that instrument.")] = "",
    filter: Annotated[str, typer.Option(help="Inputs in that filter.")] = "",
    chip: Annotated[str, typer.Option(help="Inputs of that chip.")] = "",
    kind: Annotated[str, typer.Option("--type", help="Inputs of that kind, like RawBias.")] = "",
    selection: Annotated[str, typer.Option(help="Inputs of that saved selection (`awrecipe selections`).")] = "",
    unit: Annotated[str, typer.Option(help="Processing unit; else the portal picks one and says why.")] = "",
    privilege: Annotated[int | None, typer.Option(help="Who sees the products: 1 MyDB ... 5 VO.", min=1, max=5)] = None,
    comment: Annotated[str, typer.Option(help="A remark kept with the run.")] = "",
    code: Annotated[
        Path | None, typer.Option(help="Folder with your own recipes/ and configuration files: run from it.")
    ] = None,
    env_cfg: Annotated[
        Path | None, typer.Option(help="Environment.cfg to use; else that of --code, or of the working directory.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show jobs, calibrations and why, times and bytes; make nothing.")
    ] = False,
    plan: Annotated[
        str, typer.Option(help="Fingerprint that --dry-run showed: run exactly that, or fail if it has changed.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 if the recipe failed.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait, and write the logs as they grow.")] = False,
    timeout: Timeout = None,
    new: Annotated[bool, typer.Option("--new", help="A new run, even if the same command was cut off before.")] = False,
    json: JsonOption = False,
) -> None:
    """Run a recipe on frames given by number (12-18) or by filter; its parameters are options (--sigma-clip 3)."""
    from awclient.dry_run import JOBS_SHOWN, show_plan
    from awclient.following import raise_unless_done
    from awclient.selection import Filters
    from awclient.shipping import ship
    from awclient.submitting import PendingSubmission

    filters = Filters(kind, instrument, night, filter, chip, selection)
    with session_of(context).open() as portal:
        digest = ship(portal, code) if code is not None else ""
        trees = _Trees(digest, code, env_cfg)
        given = _Given(params, params_set or [], parameter or [])
        submission = _submission(portal, recipe, list(context.args), filters, given, trees)
        submission = submission.model_copy(update={"unit": unit or None, "privilege": privilege, "comment": comment})
        if dry_run:
            show_plan(portal.plan(submission, None if json else JOBS_SHOWN), json)
            return
        submission = submission.model_copy(update={"plan": plan})
        pending = PendingSubmission(portal, submission, new=new)
        status = pending.send()
        if pending.is_resumed:
            say(f"re-attached to run {status.id}, submitted by this command before it was cut off (--new submits anew)")
        elif not json:
            say(f"run {status.id}: {_jobs(status)} on unit {status.unit} ({status.unit_reason})")
        if wait or follow:
            status = _wait(portal, status.id, follow, timeout, json)
        pending.settle()
    _show_status(status, json)
    if wait or follow:
        raise_unless_done(status)


@dataclass(frozen=True)
class _Trees:
    """The user's own code, as it was shipped, and where their Environment.cfg is."""

    digest: str = ""
    folder: Path | None = None
    env_cfg: Path | None = None


@dataclass(frozen=True)
class _Given:
    """Where parameters come from: an option and a pair go before the file, the file before the sets."""

    file: Path | None
    sets: list[str]
    pairs: list[str]


def _submission(
    portal: Portal,
    recipe: str,
    arguments: list[str],
    filters: object,
    given: _Given,
    trees: _Trees,
) -> Submission:
    from awclient.parameter_sets import parameters_of_sets
    from awclient.recipe_options import chain_of, names_in, parse_directions, read_pairs, read_parameter_file
    from awclient.selection import Filters, select_inputs
    from awclient.shipping import environment_of
    from processing_units.contract import Submission

    found = chain_of([portal.recipe(name, trees.digest) for name in names_in(recipe)])
    directions = parse_directions(found, arguments)
    parameters = read_parameter_file(given.file) if given.file else {}
    parameters |= read_pairs(given.pairs) | directions.parameters
    if given.sets:
        of_sets = parameters_of_sets(portal, found["name"].split(">"), given.sets)
        # In a chain what is said for one step alone would go before what is said for all of them.
        parameters |= {
            name: value for name, value in of_sets.items() if not {name, name.rpartition(".")[2]} & parameters.keys()
        }
    inputs = dict(directions.inputs)
    primary = {entry["role"] for entry in found["inputs"] if entry["primary"]} | {""}
    if not primary & inputs.keys():
        assert isinstance(filters, Filters)  # noqa: S101 - tells the type checker
        inputs |= select_inputs(portal, found, filters)
    environment = environment_of(trees.env_cfg, trees.folder, found)
    return Submission(
        recipe=found["name"],
        inputs=inputs,
        parameters=parameters,
        code=trees.digest,
        environment=environment.entries,
        overruled_by=list(environment.overruled),
    )


def status(
    context: typer.Context,
    run: Annotated[int | None, typer.Argument(help="The run's number; none lists your runs.", min=1)] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 if the recipe failed.")] = False,
    timeout: Timeout = None,
    limit: Annotated[int, typer.Option(help="How many runs to list.", min=1, max=500)] = 20,
    json: JsonOption = False,
) -> None:
    """Show how a run stands with its jobs, or list your runs."""
    from awclient.following import raise_unless_done

    with session_of(context).open() as portal:
        if run is None:
            _show_runs(portal.runs(limit=limit), json)
            return
        found = _wait(portal, run, False, timeout, json) if wait else portal.run(run)
    _show_status(found, json)
    if wait:
        raise_unless_done(found)


def logs(
    context: typer.Context,
    run: RunNumber,
    job: Annotated[int | None, typer.Argument(help="One job only.", min=1)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    json: JsonOption = False,
) -> None:
    """Write the logs of a run's jobs, in order; with -f while they grow."""
    from awclient.following import LogFollower, whole_log

    with session_of(context).open() as portal:
        found = portal.run(run)
        numbers = [entry.number for entry in found.jobs if job in {None, entry.number}]
        if not numbers:
            raise UsageProblem(f"run {run} has no job {job}", hint=f"it has {len(found.jobs)}: `awrecipe status {run}`")
        if json:
            if follow:
                raise UsageProblem("--json gives the whole log at once: leave out --follow")
            out_json([{"job": number, "text": whole_log(portal, run, number)} for number in numbers])
            return
        follower = LogFollower(portal, run, job)
        if not follow:
            follower.catch_up(found)
            return
        for found in portal.watch(run, every_turn=True):
            follower.catch_up(found)


def cancel(
    context: typer.Context,
    run: Annotated[int | None, typer.Argument(help="The run's number.", min=1)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All your runs.")] = False,
    unit: Annotated[str, typer.Option(help="With --all: everybody's on this unit (process managers).")] = "",
    json: JsonOption = False,
) -> None:
    """Cancel a run, or all of yours: queued jobs at once, running jobs within seconds."""
    if (run is None) != everything or (unit and not everything):
        raise UsageProblem("say which run, or --all", hint="awrecipe cancel 7, awrecipe cancel --all")
    with session_of(context).open() as portal:
        if run is not None:
            _show_status(portal.cancel(run), json)
            return
        done = portal.cancel_all(unit)
    if json:
        out_json(done)
    else:
        jobs, runs = counted(done["jobs"], "job"), counted(done["runs"], "run")
        say(f"{jobs} of {runs} cancelled; what runs is stopped within seconds")


def retry(
    context: typer.Context,
    run: RunNumber,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 if the recipe failed.")] = False,
    timeout: Timeout = None,
    json: JsonOption = False,
) -> None:
    """Run the failed jobs of a run again; those that are done stay as they are."""
    from awclient.following import raise_unless_done

    with session_of(context).open() as portal:
        found = portal.retry(run)
        if wait:
            found = _wait(portal, run, False, timeout, json)
    _show_status(found, json)
    if wait:
        raise_unless_done(found)


def _wait(portal: Portal, run: int, with_logs: bool, timeout: float | None, json: bool) -> RunStatus:
    from awclient.following import follow_chain

    return follow_chain(portal, run, logs=with_logs, quiet=json, timeout=timeout, logs_to_stderr=json)


def _jobs(status: RunStatus) -> str:
    return f"{status.recipe}, {counted(sum(status.counts.values()), 'job')}"


def _show_status(status: RunStatus, json: bool) -> None:
    from awclient.following import describe

    if json:
        out_json(status.model_dump(mode="json"))
        return
    out(f"run {status.id} {status.recipe} {status.version} by {status.user} on {status.unit}: {describe(status)}")
    if status.chain:
        steps = (f"{step.recipe}: {step.state}" + (f" (run {step.run})" if step.run else "") for step in status.chain)
        out("chain: " + " > ".join(steps) + (f"; {status.chain_reason}" if status.chain_reason else ""))
    rows = [
        (job.number, job.label, job.state, f"{100 * job.progress:.0f} %",
         "" if job.seconds is None else f"{job.seconds:.1f}", job.node, ",".join(map(str, job.products)), job.reason)
        for job in status.jobs
    ]  # fmt: skip
    if rows:
        out_table(("job", "label", "state", "progress", "seconds", "node", "products", "reason"), rows)


def _show_runs(runs: list[Json], json: bool) -> None:
    if json:
        out_json(runs)
        return
    out_table(("run", "recipe", "state", "jobs", "unit", "submitted", "remark"), [
        (run["id"], run["recipe"], run["state"], sum(run["counts"].values()), run["unit"], run["submitted"][:19],
         run["comment"])
        for run in runs
    ])  # fmt: skip
