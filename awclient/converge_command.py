"""`awrecipe converge`: these must exist. What is missing of a night is shown, and made when you agree."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awclient.data_commands import InstrumentOption
from awclient.errors import ClientError, Lost, NotAllowed, UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import Progress, out, out_json, out_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awclient.client import Portal
    from processing_units.contract import Plan
    from processing_units.nights.descriptions import Json
    from processing_units.nights.gaps import Matrix


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
    from awclient.night import Night
    from awclient.night_command import as_json, frames_of_night, raise_unless_complete, show
    from processing_units.nights.frames import group_frames
    from processing_units.nights.gaps import Outlook, Survey, needed_for

    with session_of(context).open() as portal, Progress(quiet=json) as progress:
        try:
            recipes = needed_for(kinds or [], portal.recipes())
        except LookupError as unknown:
            raise UsageProblem(str(unknown)) from None
        frames = frames_of_night(portal, date, instrument)
        matrix = Survey(_Planned(portal, unit), group_frames(frames), recipes).matrix()
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


class _Planned:
    """The portal as one who looks at a night asks it."""

    def __init__(self, portal: Portal, unit: str) -> None:
        self._portal = portal
        self._unit = unit or None

    def products(self, **filters: Any) -> Iterable[Json]:
        """Return the products that match."""
        return self._portal.products(**filters)

    def plan_of(self, recipe: Json, inputs: dict[str, list[int]]) -> Plan | str:
        """Return the plan of a recipe on these inputs, or why there is none."""
        from awclient.night import told
        from awclient.shipping import environment_of
        from processing_units.contract import Submission

        environment = environment_of(None, None, recipe, quiet=True)
        asked = Submission(
            recipe=recipe["name"],
            inputs=inputs,
            unit=self._unit,
            environment=environment.entries,
            overruled_by=list(environment.overruled),
        )
        try:
            return self._portal.plan(asked)
        except (Lost, NotAllowed):
            raise
        except ClientError as problem:
            return told(problem)


def _show_matrix(matrix: Matrix) -> None:
    from awclient.night_command import told_together

    out_table(["recipe", *(f"chip {chip}" if chip else "all chips" for chip in matrix.chips)], matrix.rows())
    if matrix.reasons:
        out("\nNot possible with these frames:")
        for line in told_together(matrix.reasons):
            out(f"  {line}")
    if matrix.is_complete:
        out("\nall that can be is there")
