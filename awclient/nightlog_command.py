"""`awrecipe nightlog`: nights, and the log of one as an observer reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awclient.errors import UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import out_json, out_table

if TYPE_CHECKING:
    from awclient.client import Json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(nightlog)


def nightlog(
    context: typer.Context,
    instrument: Annotated[str, typer.Argument(help="Instrument; without a night its nights are listed.")] = "",
    night: Annotated[str, typer.Argument(help="Night (date of its evening, 2024-05-12).")] = "",
    limit: Annotated[int, typer.Option(help="How many nights to list.", min=1, max=100)] = 30,
    json: JsonOption = False,
) -> None:
    """Show the log of a night: exposures, what is remarked, what was made of them; or list the nights."""
    with session_of(context).open() as portal:
        if night:
            log = portal.night_log(instrument, night)
            out_json(log) if json else _show(log["exposures"])
            return
        found = portal.nights(instrument, limit)
    if instrument and not found:
        raise UsageProblem(f"there is no night of {instrument} that you may see", hint="`awrecipe nightlog` lists all")
    if json:
        out_json(found)
        return
    out_table(("night", "instrument", "exposures"), [
        (entry["night"], entry["instrument"],
         ", ".join(f"{each['exposures']} {_type(each['kind'])} {each['filter']}".rstrip() for each in entry["frames"]))
        for entry in found
    ])  # fmt: skip


def _show(exposures: list[Json]) -> None:
    out_table(("time UT", "frame", "type", "object", "filter", "s", "airmass", "chips", "remarks", "made of it"), [
        ((entry["time"] or "-")[11:19] or "-", entry["name"], _type(entry["kind"]), entry["object"] or "-",
         entry["filter"] or "-", _number(entry["exposure_time"], "g"), _number(entry["airmass"], ".2f"),
         len(entry["chips"]) if len(entry["chips"]) > 1 else entry["chips"][0], "; ".join(entry["remarks"]) or "-",
         ", ".join(map(_made, entry["made"])) or "-")
        for entry in exposures
    ])  # fmt: skip


def _type(kind: str) -> str:
    return kind.removeprefix("Raw")


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _made(made: Json) -> str:
    doubts = [f"{made[what]} {what}" for what in ("flagged", "bad") if made[what]]
    return f"{made['count']} {made['kind']}" + (f" ({', '.join(doubts)})" if doubts else "")
