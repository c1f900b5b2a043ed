"""`awrecipe limits show | learn | set | clear`: what QC values are held to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awclient.session import JsonOption, session_of
from awclient.terminal import out_json, out_table, say

if TYPE_CHECKING:
    from awclient.client import Json

limits = typer.Typer(help="Limits of QC values: published with the recipes, learned from a chip's history, or set.")
InstrumentOption = Annotated[str, typer.Option(help="Instrument.")]
ChipOption = Annotated[str, typer.Option(help="Chip; all of them if not said.")]
FilterOption = Annotated[str, typer.Option(help="Filter; all of them if not said.")]
KindOption = Annotated[str, typer.Option(help="Kind of product, like BiasFrame.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(limits, name="limits")


@limits.command()
def show(
    context: typer.Context,
    instrument: InstrumentOption = "",
    chip: ChipOption = "",
    filter: FilterOption = "",
    kind: KindOption = "",
    json: JsonOption = False,
) -> None:
    """Show the limits that hold: those learned and set before the published ones."""
    with session_of(context).open() as portal:
        asked = {"instrument": instrument, "chip": chip, "filter": filter, "kind": kind, "published": True}
        items = portal.limits(**asked)
    if json:
        out_json(items)
        return
    out_table(("kind", "value", "instrument", "chip", "filter", "limits", "source", "since"), [
        (entry["kind"], entry["measurement"], entry["instrument"] or "any", entry["chip"] or "any",
         entry["filter"] or "any", _range(entry), entry["source"], entry["since"][:16].replace("T", " ") or "-")
        for entry in items
    ])  # fmt: skip


@limits.command()
def learn(
    context: typer.Context,
    instrument: InstrumentOption,
    chip: ChipOption = "",
    filter: FilterOption = "",
    kind: KindOption = "",
    sigmas: Annotated[float, typer.Option(help="How many robust sigmas from the median.")] = 5.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be learned, and keep nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Learn limits from what the chips have made so far; never looser than the published ones."""
    asked = {"instrument": instrument, "chip": chip, "filter": filter, "kind": kind}
    with session_of(context).open() as portal:
        answer = portal.change_limits("learn", {**asked, "sigmas": sigmas, "dry_run": dry_run})
    if json:
        out_json(answer)
        return
    found = [entry for entry in answer["items"] if not entry["reason"]]
    out_table(("kind", "value", "chip", "filter", "products", "limits"), [
        (entry["kind"], entry["measurement"], entry["chip"] or "-", entry["filter"] or "-", entry["products"],
         _range(entry))
        for entry in found
    ])  # fmt: skip
    for entry in answer["items"]:
        if entry["reason"]:
            place = " ".join(part for part in (entry["chip"], entry["filter"]) if part)
            say(f"  not learned: {entry['kind']} {entry['measurement']} of {place}: {entry['reason']}")
    say(f"{len(found)} limits {'learned' if answer['kept'] else 'would be learned'}")


@limits.command("set")
def set_one(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="Kind of product, like BiasFrame.")],
    measurement: Annotated[str, typer.Argument(help="Its value, like stdev.")],
    instrument: InstrumentOption,
    chip: ChipOption = "",
    filter: FilterOption = "",
    minimum: Annotated[float | None, typer.Option(help="Not below this.")] = None,
    maximum: Annotated[float | None, typer.Option(help="Not above this.")] = None,
    json: JsonOption = False,
) -> None:
    """Set a limit; it holds for jobs that start from now on."""
    asked = {"kind": kind, "measurement": measurement, "instrument": instrument, "chip": chip, "filter": filter,
             "minimum": minimum, "maximum": maximum}  # fmt: skip
    with session_of(context).open() as portal:
        answer = portal.change_limits("", asked)
    if json:
        out_json(answer)
    else:
        say(f"{kind} {measurement}: {_range(answer)}")


@limits.command()
def clear(
    context: typer.Context,
    instrument: InstrumentOption,
    chip: ChipOption = "",
    filter: FilterOption = "",
    kind: KindOption = "",
    measurement: Annotated[str, typer.Option(help="Of that value alone.")] = "",
    json: JsonOption = False,
) -> None:
    """Take limits away: the published ones hold again."""
    asked = {"instrument": instrument, "chip": chip, "filter": filter, "kind": kind, "measurement": measurement}
    with session_of(context).open() as portal:
        answer = portal.change_limits("clear", asked)
    if json:
        out_json(answer)
    else:
        say(f"{answer['cleared']} limits taken away")


def _range(entry: Json) -> str:
    low, high = entry["minimum"], entry["maximum"]
    if low is None:
        return f"at most {high:.5g}" if high is not None else "none"
    return f"at least {low:.5g}" if high is None else f"{low:.5g} to {high:.5g}"
