"""`awrecipe impact | reprocess`: what was made from a product, and making anew what is stale for it."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from awclient.errors import UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import out, out_json, out_table, say
from processing_units.wording import counted

ProductNumber = Annotated[int, typer.Argument(help="The product's number.", min=1)]
_VERDICTS = {0: "bad", 1: "good", 2: "proposed"}


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(impact)
    app.command()(reprocess)


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
    json: JsonOption = False,
) -> None:
    """Make anew what is stale for a product called bad (or one stale product), in order, with what is valid now."""
    from awclient.dry_run import show_plan

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
    if json:
        out_json(status.model_dump(mode="json"))
    else:
        say(f"run {status.id}: " + " > ".join(step.recipe for step in found.steps) + f" on unit {status.unit}")
