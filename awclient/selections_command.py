"""`awrecipe selections`: selections of products that are kept by name."""

from __future__ import annotations

from typing import Annotated

import typer

from awclient.errors import UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import out_json, out_table, say

selections = typer.Typer(
    name="selections",
    help="Saved selections: filters that are asked anew each time, or chosen products; input of `awrecipe run`.",
    invoke_without_command=True,
    no_args_is_help=False,
)
Name = Annotated[str, typer.Argument(help="Its name.")]
Shared = Annotated[str, typer.Option(help="Who may open it: owner, project, or link (whoever has it).")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(selections)


@selections.callback()
def show(context: typer.Context, json: JsonOption = False) -> None:
    """List your selections and those of your projects."""
    if context.invoked_subcommand:
        return
    with session_of(context).open() as portal:
        found = portal.selections()
    if json:
        out_json(found)
        return
    out_table(("name", "holds", "what", "owner", "opened by"), [
        (entry["name"], "products" if entry["fixed"] else "filters",
         " ".join(f"{name}={value}" for name, value in entry["filters"].items())[:60], entry["owner"],
         f"project {entry['project']}" if entry["shared"] == "project" else entry["shared"])
        for entry in found
    ])  # fmt: skip


@selections.command()
def save(
    context: typer.Context,
    name: Name,
    wanted: Annotated[list[str], typer.Argument(help="FILTER=VALUE (kind=RawBias night=...), or numbers (12-18).")],
    shared: Shared = "owner",
    json: JsonOption = False,
) -> None:
    """Keep filters (kind=RawBias chip=ccd1 quality=passed), or products by number, by a name."""
    from awclient.recipe_options import parse_ids

    pairs = [text.partition("=") for text in wanted]
    if len({bool(equals) for _, equals, _ in pairs}) > 1:
        raise UsageProblem("filters and numbers cannot be kept together", hint="write kind=RawBias ..., or 12-18 ...")
    filters = {key.replace("-", "_"): value for key, equals, value in pairs if equals}
    numbers = [] if filters else [number for text in wanted for number in parse_ids(text, "products")]
    with session_of(context).open() as portal:
        saved = portal.save_selection(name, filters, numbers, shared)
    if json:
        out_json(saved)
    else:
        say(f"saved {saved['name']}: awrecipe run RECIPE --selection '{saved['name']}'")


@selections.command()
def change(
    context: typer.Context,
    name: Name,
    to: Annotated[str, typer.Option("--name", help="Another name.")] = "",
    shared: Shared = "",
    json: JsonOption = False,
) -> None:
    """Rename a selection of yours, or let others open it."""
    changes = {key: value for key, value in {"name": to, "shared": shared}.items() if value}
    if not changes:
        raise UsageProblem("say what is to change", hint="--name NAME, --shared owner|project|link")
    with session_of(context).open() as portal:
        saved = portal.change_selection(name, changes)
        address = f"{portal.url}/archive/?selection={saved['key']}"
    if json:
        out_json(saved)
    else:
        say(f"{saved['name']} is opened by: {saved['shared']}" + ("" if saved["shared"] == "owner" else f"; {address}"))


@selections.command()
def remove(context: typer.Context, name: Name, json: JsonOption = False) -> None:
    """Forget a selection of yours; products stay."""
    with session_of(context).open() as portal:
        portal.remove_selection(name)
    if json:
        out_json({"removed": name})
    else:
        say(f"removed {name}; products stay")
