"""`awrecipe judge | impact | reprocess`: verdicts, what was made from a product, making anew what is stale for it."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Annotated

import typer

from awclient.errors import UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import out, out_json, out_table, say
from processing_units.wording import counted

ProductNumber = Annotated[int, typer.Argument(help="The product's number.", min=1)]


class Verdict(StrEnum):
    """What a person may say of a product."""

    GOOD = "good"
    BAD = "bad"
    PROPOSED = "proposed"


_VERDICTS = {0: "bad", 1: "good", 2: "proposed"}


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(judge)
    app.command()(impact)
    app.command()(reprocess)


def judge(
    context: typer.Context,
    product: ProductNumber,
    verdict: Annotated[Verdict, typer.Argument(help="What you find of it.")],
    json: JsonOption = False,
) -> None:
    """Call a product good or bad: a bad calibration is not chosen any more, and what rests on it becomes stale."""
    with session_of(context).open() as portal:
        found = portal.judge(product, verdict.value)
    if json:
        out_json(found)
        return
    now = "stale now" if verdict == Verdict.BAD else "not stale any more"
    changed = f"; {counted(found['changed'], 'product')} made from it: {now}" if found["changed"] else ""
    say(f"{product} is called {verdict.value}{changed}")
    if verdict == Verdict.BAD and found["changed"]:
        say(f"  `awrecipe reprocess {product} --dry-run` shows how they are made anew")


def impact(
    context: typer.Context,
    product: ProductNumber,
    limit: Annotated[int, typer.Option(help="List at most so many; the counts are of all.", min=1, max=1000)] = 100,
    json: JsonOption = False,
) -> None:
    """Show all that was made from a product, and what of it is stale."""
    with session_of(context).open() as portal:
        found = portal.impact(product, limit)
    if json:
        out_json(found)
        return
    kinds = ", ".join(f"{number} {kind}" for kind, number in found["kinds"].items())
    hidden = f"; {found['hidden']} of them you may not see" if found["hidden"] else ""
    total = counted(found["total"], "product")
    out(f"{total} made from {product}: {kinds or 'nothing'}; {found['stale']} stale{hidden}")
    rows = [
        (row["generation"], row["id"], row["kind"], row["name"], row["chip"] or "-", row["filter"] or "-",
         "stale" if row["stale_because"] else _VERDICTS.get(row["is_valid"], "-"))
        for row in found["items"]
    ]  # fmt: skip
    if rows:
        out_table(("generation", "id", "kind", "name", "chip", "filter", "verdict"), rows)


def reprocess(
    context: typer.Context,
    product: ProductNumber,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; make nothing.")] = False,
    plan: Annotated[str, typer.Option(help="Fingerprint that --dry-run showed: run exactly that.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end of all steps; exit 1 if one failed.")] = False,
    json: JsonOption = False,
) -> None:
    """Make anew what is stale for a product called bad (or one stale product), in order, with what is valid now."""
    from awclient.dry_run import show_plan
    from awclient.following import follow_chain, raise_unless_done

    with session_of(context).open() as portal:
        found = portal.reprocess_plan(product)
        if dry_run:
            if json:
                out_json(found.model_dump(mode="json"))
                return
            for number, step in enumerate(found.steps, 1):
                out(f"step {number} of {len(found.steps)}")
                show_plan(step, False, exactly="")
            for line in found.left_out:
                out(f"left out: {line}")
            out(f"to run exactly this: awrecipe reprocess {product} --plan {found.fingerprint}")
            return
        if not found.steps:
            raise UsageProblem(f"nothing that rests on {found.name} is stale and could be made anew",
                               hint="; ".join(found.left_out))  # fmt: skip
        status = portal.reprocess(product, plan or found.fingerprint, uuid.uuid4().hex)
        if not json:
            say(f"run {status.id}: " + " > ".join(step.recipe for step in found.steps) + f" on unit {status.unit}")
        if wait:
            status = follow_chain(portal, status.id, quiet=json)
    if json:
        out_json(status.model_dump(mode="json"))
    if wait:
        raise_unless_done(status)
