"""`awrecipe params`: parameters of a recipe under a name, and what `awrecipe run --params-set` takes from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awclient.errors import UsageProblem
from awclient.session import JsonOption, complete_recipe, session_of
from awclient.terminal import out_json, out_table, say

if TYPE_CHECKING:
    from awclient.client import Json, Portal

params = typer.Typer(help="Parameters of a recipe under a name: your own, or shared with your project.")
RecipeArgument = Annotated[str, typer.Argument(help="The recipe's name.", autocompletion=complete_recipe)]
NameArgument = Annotated[str, typer.Argument(help="The set's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(params, name="params")


@params.command("list")
def list_sets(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="Of this recipe alone.", autocompletion=complete_recipe)] = "",
    json: JsonOption = False,
) -> None:
    """List your parameter sets and those of your projects."""
    with session_of(context).open() as portal:
        items = portal.parameter_sets(portal.recipe(recipe)["name"] if recipe else "")
    if json:
        out_json(items)
        return
    out_table(("recipe", "set", "project", "parameters", "problems"), [
        (entry["recipe"], entry["reference"], entry["project"] or "-",
         ", ".join(f"{name}={value}" for name, value in entry["parameters"].items()) or "the defaults",
         "; ".join(entry["problems"].values()) or "-")
        for entry in items
    ])  # fmt: skip


@params.command()
def keep(
    context: typer.Context,
    recipe: RecipeArgument,
    name: NameArgument,
    parameter: Annotated[list[str] | None, typer.Argument(help="NAME=VALUE, as many as you like.")] = None,
    params: Annotated[Path | None, typer.Option(help="Parameters from a TOML or JSON file.")] = None,
    project: Annotated[bool, typer.Option("--project", help="Share it with the project that you work in.")] = False,
    json: JsonOption = False,
) -> None:
    """Keep parameters under a name; what was kept under it before gives way."""
    from awclient.recipe_options import read_pairs, read_parameter_file

    given = (read_parameter_file(params) if params else {}) | read_pairs(parameter or [])
    with session_of(context).open() as portal:
        kept = portal.keep_parameter_set(portal.recipe(recipe)["name"], name, given, project=project)
    if json:
        out_json(kept)
    else:
        say(f"kept: awrecipe run {kept['recipe']} ... --params-set {kept['reference']!r}")


@params.command()
def remove(context: typer.Context, recipe: RecipeArgument, name: NameArgument, json: JsonOption = False) -> None:
    """Remove one of your sets; runs keep the parameters that they had from it."""
    with session_of(context).open() as portal:
        (found,) = portal.parameter_sets(portal.recipe(recipe)["name"], name)
        portal.remove_parameter_set(found["id"])
    if json:
        out_json(found)
    else:
        say(f"removed: {found['reference']} of {found['recipe']}")


def parameters_of_sets(portal: Portal, recipes: list[str], references: list[str]) -> dict[str, Any]:
    """Return the parameters of sets as a run takes them; in a chain a set is named ``RECIPE:SET``.

    Raises UsageProblem where a set holds what its recipe does not take (any more): nothing is left out in silence.
    """
    found: dict[str, Any] = {}
    by_name = {recipe.lower(): recipe for recipe in recipes}
    for reference in references:
        recipe, colon, name = reference.partition(":")
        if not colon and len(recipes) > 1:
            raise UsageProblem(f"--params-set {reference}: whose is it?", hint=f"write {recipes[0]}:{reference}")
        of = by_name.get(recipe.lower()) if colon else recipes[0]
        if of is None:
            raise UsageProblem(f"--params-set {reference}: {recipe} is none of {', '.join(recipes)}")
        (kept,) = portal.parameter_sets(of, name if colon else reference)
        _refuse_problems(kept)
        prefix = f"{of}." if len(recipes) > 1 else ""
        found |= {f"{prefix}{entry}": value for entry, value in kept["parameters"].items()}
    return found


def _refuse_problems(kept: Json) -> None:
    if kept["problems"]:
        raise UsageProblem(
            f"parameter set {kept['reference']}: " + "; ".join(kept["problems"].values()),
            hint=f"keep it anew: awrecipe params keep {kept['recipe']} {kept['name']!r} NAME=VALUE ...",
        )
