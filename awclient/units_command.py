"""`awrecipe units list | show | set | drain | accept | history | test | keys | machines | move | quota`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awclient.errors import EXIT_RECIPE_FAILED, Lost, UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import out, out_json, out_table, say
from processing_units.wording import counted

if TYPE_CHECKING:
    from awclient.client import Json

units = typer.Typer(help="Processing units: how they stand, and for process managers how they are changed on the fly.")
UnitName = Annotated[str, typer.Argument(help="The unit's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(units, name="units", invoke_without_command=True)


@units.callback()
def _begin(context: typer.Context, json: JsonOption = False) -> None:
    if context.invoked_subcommand is None:
        _list(context, json)


@units.command("list")
def list_units(context: typer.Context, json: JsonOption = False) -> None:
    """List the processing units that you may use, and how they stand."""
    _list(context, json)


def _list(context: typer.Context, json: bool) -> None:
    with session_of(context).open() as portal:
        found = portal.units()
    if json:
        out_json(found)
    else:
        out_table(("unit", "state", "slots", "busy", "waiting", "remark"), [
            (unit["name"], unit["state"], unit["slots"], unit["busy"], unit["waiting"], unit["reason"])
            for unit in found
        ])  # fmt: skip


@units.command()
def show(context: typer.Context, name: UnitName, json: JsonOption = False) -> None:
    """Show a unit: how it stands, its settings as you would type them, its cluster managers."""
    with session_of(context).open() as portal:
        unit = portal.unit(name)
    if json:
        out_json(unit)
    else:
        _show(unit)


@units.command("set")
def set_unit(
    context: typer.Context,
    name: UnitName,
    changes: Annotated[list[str], typer.Argument(help="KEY=VALUE, as `units show` prints them.", metavar="KEY=VALUE")],
    json: JsonOption = False,
) -> None:
    """Change settings of a unit, all or none; they hold from the next claim on, and no job is lost."""
    settings = _pairs(changes, f"`awrecipe units show {name}` shows the keys")
    _change(context, name, settings, json)


@units.command()
def drain(context: typer.Context, name: UnitName, json: JsonOption = False) -> None:
    """Begin no more jobs on a unit: what runs ends, what waits goes on waiting (`units move` takes it elsewhere)."""
    _change(context, name, {"accepting": "no"}, json)


@units.command()
def accept(context: typer.Context, name: UnitName, json: JsonOption = False) -> None:
    """Let a drained unit begin jobs again."""
    _change(context, name, {"accepting": "yes"}, json)


@units.command("test")
def look_at_hosts(
    context: typer.Context,
    name: UnitName,
    timeout: Annotated[float, typer.Option(help="Wait so many seconds for the backend.")] = 120.0,
    json: JsonOption = False,
) -> None:
    """Have the unit's backend look at its hosts before any analysis: key, Python, disk, clock, what they reach."""
    until = time.monotonic() + timeout
    with session_of(context).open() as portal:
        number = portal.test_unit(name)
        while (checks := portal.outcome_of_test(name, number)) is None:
            if time.monotonic() > until:
                raise Lost(f"the backend of unit {name} gave no answer within {timeout:.0f} s")
            time.sleep(1.0)
    if json:
        out_json(checks)
    elif checks:
        out_table(("where", "what", "", "says"), [
            (check["where"], check["what"], "well" if check["is_well"] else "MEND", check["says"]) for check in checks
        ])  # fmt: skip
    else:
        say("its kind of backend needs nothing that could be looked at beforehand")
    if not all(check["is_well"] for check in checks):
        raise typer.Exit(EXIT_RECIPE_FAILED)


@units.command()
def history(
    context: typer.Context,
    name: UnitName,
    limit: Annotated[int, typer.Option(help="How many changes to list.", min=1, max=1000)] = 50,
    json: JsonOption = False,
) -> None:
    """List who changed what of a unit, from what to what, and when."""
    with session_of(context).open() as portal:
        items = portal.unit_history(name, limit)
    if json:
        out_json(items)
        return
    out_table(("when (UT)", "who", "setting", "before", "after"), [
        (entry["made"][:19].replace("T", " "), entry["who"], entry["setting"], entry["before"] or "-",
         entry["after"] or "-")
        for entry in items
    ])  # fmt: skip


@units.command()
def keys(
    context: typer.Context,
    name: UnitName,
    new: Annotated[str, typer.Option(help="Make a key; say for whom or what.", metavar="FOR")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the new key there (mode 0600), not to the terminal.")
    ] = None,
    revoke: Annotated[int, typer.Option(help="Make a key void, by its number.", metavar="NUMBER", min=0)] = 0,
    json: JsonOption = False,
) -> None:
    """List the keys with which workers join a unit (awworker), make one, or make one void."""
    if bool(new) + bool(revoke) > 1 or (output is not None and not new):
        raise UsageProblem("--new makes a key, --revoke makes one void: one at a time, and -o goes with --new")
    with session_of(context).open() as portal:
        if revoke:
            portal.revoke_unit_key(name, revoke)
            say(f"key {revoke} of unit {name} is void")
        elif new:
            _tell_key(portal.make_unit_key(name, new), output, json)
        else:
            _list_keys(portal.unit_keys(name), json)


def _tell_key(made: Json, output: Path | None, json: bool) -> None:
    if output is not None:
        try:
            with open(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(made["key"] + "\n")
        except OSError as problem:
            hint = f"key {made['number']} is made and told nobody: revoke it, and make another"
            raise UsageProblem(f"{output} cannot be written: {problem.strerror}", hint=hint) from None
    if json:
        out_json({name: value for name, value in made.items() if output is None or name != "key"})
        return
    if output is None:
        out(made["key"])
    say(f"key {made['number']}; a worker joins with: awworker {made['url']} --key-file {output or 'FILE'}")


def _list_keys(found: list[Json], json: bool) -> None:
    if json:
        out_json(found)
    elif found:
        out_table(("key", "for", "made by", "made (UT)"), [
            (key["number"], key["note"], key["made_by"], key["made"][:19].replace("T", " ")) for key in found
        ])  # fmt: skip
    else:
        say("no keys; --new FOR makes one")


@units.command()
def machines(
    context: typer.Context,
    name: UnitName,
    machine: Annotated[str, typer.Argument(help="How the machine is called; none lists all.")] = "",
    changes: Annotated[
        list[str] | None,
        typer.Argument(help="What is registered of it: host=dome user=obs slots=4 gpus=0,1 ...", metavar="KEY=VALUE"),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take it off: it drains, its data folder is cleaned.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the processing machines that are registered in a unit, register one, change one, or take one off."""
    settings = _pairs(changes or [], f"`awrecipe units machines {name}` shows the keys of a machine")
    if remove and (settings or not machine):
        raise UsageProblem("--remove takes one machine off: name it, and change nothing")
    with session_of(context).open() as portal:
        if remove:
            portal.remove_machine(name, machine)
            say(f"machine {machine} is no longer one of unit {name}")
        elif settings:
            _tell_machine(name, machine, portal.set_machine(name, machine, settings), json)
        else:
            _list_machines(portal.machines(name), machine, json)


def _tell_machine(name: str, machine: str, done: Json, json: bool) -> None:
    if json:
        out_json(done)
    elif done["after"] or done["before"]:
        say(
            f"{name}: machine {machine}: {done['after'] or 'empty'}"
            + (f", was {done['before']}" * bool(done["before"]))
        )
    else:
        say(f"{name}: all of it was so already")


def _list_machines(found: dict[str, dict[str, str]], machine: str, json: bool) -> None:
    if machine:
        if machine not in found:
            raise UsageProblem(f"there is no machine {machine!r}", hint=f"there are: {', '.join(found) or 'none'}")
        found = {machine: found[machine]}
    if json:
        out_json(found)
    elif machine:
        out("\n".join(f"  {key}={text}" for key, text in found[machine].items()))
    elif found:
        out_table(("machine", "host", "user", "slots", "gpus", "python", "data folder", "bound", "through"), [
            (title, of["host"], of["user"], of["slots"], of["gpus"] or "-", of["python"],
             of["data_folder"] or of["remote_path"], of["data_bytes"], of["through"])
            for title, of in found.items()
        ])  # fmt: skip
    else:
        say("no machines; `awrecipe units machines UNIT NAME host=ADDRESS` registers one")


@units.command()
def move(
    context: typer.Context,
    run: Annotated[int, typer.Argument(help="The run's number.", min=1)],
    name: Annotated[str, typer.Argument(help="The unit to move to.")],
    json: JsonOption = False,
) -> None:
    """Let what waits of a run wait for another unit; what runs of it ends where it is."""
    with session_of(context).open() as portal:
        status = portal.move(run, name)
    if json:
        out_json(status.model_dump(mode="json"))
    else:
        say(f"run {status.id} waits for unit {status.unit} now: {status.reason or status.state}")


@units.command()
def quota(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="Whose; yours if not said.")] = "",
    limits: Annotated[
        list[str] | None,
        typer.Argument(help="queued=N, running=N, bytes=10G; 0: no limit (administrators).", metavar="KEY=VALUE"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what a user has and may have at a time: jobs that wait, jobs that run, bytes; or change it."""
    asked = _pairs(limits or [], "the keys are: queued, running, bytes")
    with session_of(context).open() as portal:
        found = portal.set_quota(user, asked) if asked else portal.quota(user)
    if json:
        out_json(found)
        return
    out_table((found["user"], "has", "may have"), [
        (name, found[name]["used"], f"{found[name]['limit'] or 'any'}{'' if found[name]['own'] else ' (default)'}")
        for name in ("queued", "running", "bytes")
    ])  # fmt: skip


def _pairs(changes: list[str], hint: str) -> dict[str, str]:
    found = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UsageProblem(f"{change}: write KEY=VALUE", hint=hint)
        found[key.strip()] = value
    return found


def _change(context: typer.Context, name: str, settings: dict[str, str], json: bool) -> None:
    with session_of(context).open() as portal:
        unit = portal.set_unit(name, settings)
    if json:
        out_json(unit)
        return
    for key, (before, after) in unit["changed"].items():
        say(f"{name}: {key} is {after or 'empty'}, was {before or 'empty'}")
    if not unit["changed"]:
        say(f"{name}: all of it was so already")


def _show(unit: Json) -> None:
    out(f"unit {unit['name']}{' (' + unit['alias'] + ')' if unit['alias'] else ''}: {unit['state']}: {unit['reason']}")
    out(f"{unit['busy']} of {counted(unit['slots'], 'slot')} busy, {counted(unit['waiting'], 'job')} waiting")
    out("\n".join(f"  {key}={value}" for key, value in unit["settings"].items()))
    if unit["cluster_managers"]:
        out_table(("node", "busy", "load", "up since", "heard of", "key"), [
            (each["node"], f"{each['busy']} of {each['slots']}", f"{each['load']:.2f}",
             each["up_at"][:19].replace("T", " "), each["seen_at"][11:19], each["key"])
            for each in unit["cluster_managers"]
        ])  # fmt: skip
