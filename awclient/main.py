"""The `awrecipe` command: recipes on the observatory's machines from a shell.

Exit codes: 0 ok, 1 recipe failed, 2 usage, 3 not allowed, 4 lost or timed out, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from awclient import (
    batch_commands,
    converge_command,
    data_commands,
    data_servers_command,
    impact_commands,
    limits_command,
    night_command,
    nightlog_command,
    parameter_sets,
    projects_command,
    run_commands,
    samp_command,
    selections_command,
    units_command,
)
from awclient.errors import EXIT_INTERRUPTED, EXIT_LOST, EXIT_OK, EXIT_USAGE, ClientError, UsageProblem
from awclient.session import JsonOption, Session, complete_recipe, keep_recipe_names, session_of
from awclient.terminal import out, out_json, out_table, say, tell

app = typer.Typer(
    name="awrecipe",
    help="Run recipes, watch them, and get their products. Exit codes: 0 ok, 1 recipe failed, 2 usage, 3 not allowed, "
    "4 lost or timed out, 130 interrupted.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
run_commands.register(app)
batch_commands.register(app)
data_commands.register(app)
samp_command.register(app)
impact_commands.register(app)
night_command.register(app)
converge_command.register(app)
nightlog_command.register(app)
limits_command.register(app)
parameter_sets.register(app)
units_command.register(app)
data_servers_command.register(app)
selections_command.register(app)
projects_command.register(app)


@app.callback()
def _begin(
    context: typer.Context,
    url: Annotated[str, typer.Option(help="The portal's address; else AWPORTAL_URL, else the one logged in to.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="File that holds the token; else AWPORTAL_TOKEN or AWPORTAL_TOKEN_FILE.")
    ] = None,
    patience: Annotated[float, typer.Option(help="Seconds to go on trying while the portal is away.", min=0)] = 60.0,
) -> None:
    context.obj = Session(url=url, token_file=token_file, patience=patience)


@app.command()
def login(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="The portal's address.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="Read the token from this file.")] = None,
) -> None:
    """Keep the portal's address and a token (made on its page of your account), in a file that only you can read."""
    from awclient.configuration import (
        Configuration,
        check_token,
        check_url,
        is_unprotected,
        read_configuration,
        write_configuration,
    )

    session: Session = context.obj
    address = check_url(url or session.url or os.environ.get("AWPORTAL_URL", ""))
    if is_unprotected(address):
        say(f"warning: {address} is not encrypted; anyone on the way can read the token")
    file = token_file or session.token_file
    if file is not None:
        token = read_configuration(address, file).token
    elif sys.stdin.isatty():
        token = typer.prompt("Token", hide_input=True, err=True)
    else:
        token = sys.stdin.readline()
    configuration = Configuration(address, check_token(token.strip()))
    with session.open(configuration) as portal:
        who = portal.whoami()
        keep_recipe_names(portal.recipes())
    path = write_configuration(configuration)
    say(f"logged in to {address} as {who['user']}; kept in {path}")


@app.command()
def whoami(context: typer.Context, json: JsonOption = False) -> None:
    """Show user, project and privilege: what you see, and where results go."""
    with session_of(context).open() as portal:
        who = portal.whoami()
    if json:
        out_json(who)
    else:
        out_table(
            ("user", "project", "privilege", "portal"),
            [(who["user"], who["project"] or "-", who["privilege_name"], who["version"])],
        )


@app.command("list")
def list_recipes(context: typer.Context, json: JsonOption = False) -> None:
    """List the recipes, in the order in which a night needs them."""
    with session_of(context).open() as portal:
        recipes = portal.recipes()
    keep_recipe_names(recipes)
    if json:
        out_json(recipes)
    else:
        out_table(("recipe", "version", "gives", "what it does"), [
            (recipe["name"], recipe["version"], ", ".join(recipe["outputs"]), recipe["summary"]) for recipe in recipes
        ])  # fmt: skip


@app.command("help")
def help_recipe(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="Its name.", autocompletion=complete_recipe)],
    json: JsonOption = False,
) -> None:
    """Show what a recipe does, what it takes, and its parameters with units and defaults."""
    from awclient.recipe_options import describe

    with session_of(context).open() as portal:
        found = portal.recipe(recipe)
    if json:
        out_json(found)
        return
    out("\n".join(describe(found)))
    out("\n" + found["documentation"])


def main() -> None:
    """Run the command; every end is an exit code and, where it is a bad one, a line that says why."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    if not arguments:
        app(args=["--help"], prog_name="awrecipe", standalone_mode=False)
        return EXIT_USAGE
    try:
        result = app(args=arguments, prog_name="awrecipe", standalone_mode=False)
    except ClientError as problem:
        tell("awrecipe", problem)
        return problem.exit_code
    except (typer.Abort, KeyboardInterrupt):
        result = EXIT_INTERRUPTED
    except typer.TyperException as problem:
        tell("awrecipe", UsageProblem(_message_of(problem), hint=_usage_hint(problem)))
        return EXIT_USAGE
    except OSError as problem:  # a file of this machine: what the network does is told by the client itself
        tell("awrecipe", UsageProblem(f"{problem.filename or 'a file'}: {problem.strerror or problem}"))
        return EXIT_USAGE
    except Exception as problem:
        if os.environ.get("AWRECIPE_TRACEBACK"):
            raise
        say(f"awrecipe: a defect of awrecipe itself: {type(problem).__name__}: {problem}")
        say("  set AWRECIPE_TRACEBACK=1, run it again, and report what it prints")
        return EXIT_LOST
    if result == EXIT_INTERRUPTED:  # typer turns Ctrl-C into this code
        say("interrupted; what was submitted goes on, and the same command re-attaches to it")
    return result if isinstance(result, int) else EXIT_OK


def _message_of(problem: typer.TyperException) -> str:
    written = getattr(problem, "format_message", None)
    return str(written()) if written else str(problem)


def _usage_hint(problem: BaseException) -> str:
    context = getattr(problem, "ctx", None)
    return f"see `{context.command_path} --help`" if context is not None else "see `awrecipe --help`"


if __name__ == "__main__":
    main()
