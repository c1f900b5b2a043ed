"""`awrecipe data-servers`: the caching data servers that units may name; administrators register and take them off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awclient.errors import UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import out_json, out_table, say

if TYPE_CHECKING:
    from awclient.client import Json, Portal


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("data-servers")(data_servers)


def data_servers(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="How units name it; none lists all, and how they are.")] = "",
    address: Annotated[
        str, typer.Argument(help="Register it: where nodes reach it, like https://cache.example.org:8001.")
    ] = "",
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", "-o", help="Write its key there (mode 0600); else to data-server-NAME.key."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="It is registered: give it this address and a new key, the old one is void.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take it off; no unit may name it any more.")] = False,
    json: JsonOption = False,
) -> None:
    """List the caching data servers near nodes, register one and get its key, or take one off."""
    if remove and (address or not name):
        raise UsageProblem("--remove takes one data server off: name it, without an address")
    if (anew or key_file) and not address:
        raise UsageProblem("--anew and --key-file go with a name and an address")
    with session_of(context).open() as portal:
        if remove:
            portal.remove_data_server(name)
            say(f"data server {name} is forgotten; its key opens nothing any more")
        elif address:
            _register(portal, name, address, anew, key_file or Path(f"data-server-{name}.key"), json)
        else:
            _list(portal.data_servers(), name, json)


def _register(portal: Portal, name: str, address: str, anew: bool, path: Path, json: bool) -> None:
    """Register, with the file for the key made before there is one: a key that nobody has is one to be made again."""
    try:
        file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")  # noqa: SIM115
    except OSError as problem:
        hint = "nothing was registered; name another file with --key-file"
        raise UsageProblem(f"{path} cannot be written: {problem.strerror}", hint=hint) from None
    try:
        with file:
            made = portal.register_data_server(name, address, anew=anew)
            file.write(made["key"])
    except BaseException:
        path.unlink()
        raise
    if json:
        out_json({key: text for key, text in made.items() if key != "key"} | {"key_file": str(path)})
        return
    say(f"data server {made['name']} at {made['address']} is registered; its key is in {path}: bring it there, then")
    say(
        "python -m dataserver serve --root FOLDER --max-bytes 200G --host 0.0.0.0 --port PORT "
        f"--upstream {made['upstream']} --key-file FILE"
    )


def _list(found: list[Json], name: str, json: bool) -> None:
    if name and name not in {each["name"] for each in found}:
        names = ", ".join(each["name"] for each in found)
        raise UsageProblem(f"there is no data server {name!r}", hint=f"there are: {names or 'none yet'}")
    chosen = [each for each in found if name in ("", each["name"])]
    if json:
        out_json(chosen)
    elif chosen:
        out_table(("name", "", "units", "address", "says"), [
            (each["name"], "well" if each["is_well"] else "AWAY", ", ".join(each["units"]) or "-", each["address"],
             each["says"])
            for each in chosen
        ])  # fmt: skip
    else:
        say("no caching data server; `awrecipe data-servers NAME ADDRESS` registers one")
