"""`awrecipe send`: products to the programs on one's screen (DS9, TOPCAT, Aladin), by SAMP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awclient.data_commands import numbers_of
from awclient.errors import ClientError, RecipeFailed, UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import out, out_json

if TYPE_CHECKING:
    from awclient.client import Json
    from awclient.samp_hub import Hub

_LOADING_SECONDS = 120


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(send)


def send(
    context: typer.Context,
    numbers: Annotated[list[str], typer.Argument(help="Products' numbers, like 12,15 or 12-18.")],
    to: Annotated[str, typer.Option(help="Part of the program's name, like ds9; without it, all that take them.")] = "",
    json: JsonOption = False,
) -> None:
    """Show products in DS9, TOPCAT or Aladin: they must run, with a hub of SAMP, on this machine.

    The programs get an address of each file that is good for a quarter of an hour, and fetch it themselves.
    """
    with session_of(context).open() as portal:
        products = [portal.samp_messages(number) for number in numbers_of(numbers)]
    sent = _send_all(products, to)
    if json:
        out_json(sent)
    else:
        for entry in sent:
            out(f"{entry['program']} has loaded {entry['product']}")


def _send_all(products: list[Json], to: str) -> list[dict[str, str]]:
    from awclient.samp_hub import Hub

    with Hub() as hub:
        return [
            {"program": name, "product": str(product["name"])}
            for product in products
            for name in _send(hub, product, to)
        ]


def _send(hub: Hub, product: Json, to: str) -> list[str]:
    """Send a product to the programs meant, each in the form that comes first; return their names."""
    meant: dict[str, tuple[str, Json]] = {}
    for message in product["messages"]:
        for program, name in hub.programs(message["samp.mtype"]).items():
            if to.lower() in name.lower():
                meant.setdefault(program, (name, message))
    if not meant:
        raise _nobody(product, to)
    for program, (name, message) in meant.items():
        wrong = hub.load(program, message, _LOADING_SECONDS)
        if wrong:
            raise RecipeFailed(f"{name} did not load {product['name']}: {wrong}")
    return [name for name, _ in meant.values()]


def _nobody(product: Json, to: str) -> ClientError:
    kind = product["messages"][0]["samp.mtype"]
    which = f"no program called {to!r}" if to else "no program"
    return UsageProblem(
        f"{which} that takes {product['name']} ({kind}) has joined the hub",
        hint="images go to DS9 or Aladin, tables to TOPCAT or Aladin; `--to` takes a part of the name",
    )
