"""`awrecipe converge`: these must exist. What is missing of a night is shown, and made when you agree."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from awclient.data_commands import InstrumentOption
from awclient.errors import UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import Progress, out, out_json, out_table

if TYPE_CHECKING:
    from awclient.converge import Matrix


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(converge)


def converge(
    context: typer.Context,
    date: Annotated[str, typer.Option("--night", help="A night in the archive (date of its evening).")],
    kinds: Annotated[list[str] | None, typer.Argument(help="What must exist, like SourceList; else all.")] = None,
    instrument: InstrumentOption = "",
    unit: Annotated[str, typer.Option(help="Processing unit; else the portal picks one.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is missing; make nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Fill the gaps without being asked.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Give up after so many seconds; the runs go on.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what a night has and has not, recipe by chip, and make the gaps alone, with all that they need.

    Exit code 0 only if all that the night allows is there in the end; with --dry-run always.
    """
    from awclient.converge import Outlook, Survey, needed_for
    from awclient.night import Night
    from awclient.night_command import as_json, frames_of_night, raise_unless_complete, show
    from awclient.night_frames import group_frames

    with session_of(context).open() as portal, Progress(quiet=json) as progress:
        recipes = needed_for(kinds or [], portal.recipes())
        frames = frames_of_night(portal, date, instrument)
        matrix = Survey(portal, group_frames(frames), unit=unit, progress=progress, recipes=recipes).matrix()
        if not json:
            _show_matrix(matrix)
        if dry_run or matrix.is_complete:
            if json:
                out_json({"before": matrix.as_json(), "made": None})
            return
        gaps = matrix.number(Outlook.GAP)
        if not yes and (json or not sys.stdin.isatty()):
            raise UsageProblem("nobody is there to agree", hint="add --yes, or look first with --dry-run")
        if not yes and not typer.confirm(f"Fill the gaps ({gaps} now, then what rests on them)?", err=True):
            raise UsageProblem("nothing was made")
        report = Night(
            portal, group_frames(frames), unit=unit, progress=progress, timeout=timeout, recipes=recipes
        ).reduce()
    if json:
        out_json({"before": matrix.as_json(), "made": as_json(report, None)})
    else:
        show(report)
    raise_unless_complete(report)


def _show_matrix(matrix: Matrix) -> None:
    from awclient.night_command import told_together

    out_table(["recipe", *(f"chip {chip}" if chip else "all chips" for chip in matrix.chips)], matrix.rows())
    if matrix.reasons:
        out("\nNot possible with these frames:")
        for line in told_together(matrix.reasons):
            out(f"  {line}")
    if matrix.is_complete:
        out("\nall that can be is there")
