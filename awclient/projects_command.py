"""`awrecipe projects`: who shares what they make; asking to join, letting in, roles, leaving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awclient.errors import UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import out_json, out_table, say

if TYPE_CHECKING:
    from awclient.client import Json

projects = typer.Typer(
    name="projects",
    help="Projects: people who share what they make. `whoami` tells in which one you work.",
    invoke_without_command=True,
    no_args_is_help=False,
)
Name = Annotated[str, typer.Argument(help="The project's name.")]
User = Annotated[str, typer.Argument(help="A log-in name.")]
Words = Annotated[str, typer.Option(help="A few words to go with it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(projects)


@projects.callback()
def show_all(context: typer.Context, json: JsonOption = False) -> None:
    """List your projects, then the others that you may ask to join."""
    if context.invoked_subcommand:
        return
    with session_of(context).open() as portal:
        found = portal.projects()
    if json:
        out_json(found)
        return
    out_table(("project", "you are", "members", "waiting", "about"), [
        (entry["name"], entry["role"] or {"waiting": "asking", "declined": "declined"}.get(entry["asked"], "-"),
         entry["members"], entry["waiting"] or "-", entry["description"][:60])
        for entry in found
    ])  # fmt: skip


@projects.command()
def show(context: typer.Context, name: Name, json: JsonOption = False) -> None:
    """Show a project: its members, what of theirs is in it, and who asks to join."""
    with session_of(context).open() as portal:
        found = portal.project(name)
    if json:
        out_json(found)
        return
    say(found["description"] or "it says nothing of itself yet")
    if not found["members"]:
        say(f"its managers: {', '.join(found['managers']) or 'none'}; {_asked(found)}")
        return
    out_table(("member", "role", "files", "bytes", "jobs running", "waiting"), [
        (entry["user"], entry["role"], entry["files"], entry["bytes"], entry["running_jobs"], entry["waiting_jobs"])
        for entry in found["members"]
    ])  # fmt: skip
    for asking in found["asking"]:
        say(f"{asking['user']} asks to join: {asking['words'] or '(no words)'}")


@projects.command()
def join(context: typer.Context, name: Name, words: Words = "", json: JsonOption = False) -> None:
    """Ask the managers of a project to let you in."""
    with session_of(context).open() as portal:
        now = portal.change_project(name, "join", {"words": words})
    _tell(json, now, f"you asked to join {name}; its managers see it on their pages")


@projects.command()
def withdraw(context: typer.Context, name: Name, json: JsonOption = False) -> None:
    """Take your request to join back."""
    with session_of(context).open() as portal:
        now = portal.withdraw(name)
    _tell(json, now, f"you no longer ask to join {name}")


@projects.command()
def answer(
    context: typer.Context,
    name: Name,
    user: User,
    yes_or_no: Annotated[str, typer.Argument(help="yes lets them in, no does not.")],
    words: Words = "",
    json: JsonOption = False,
) -> None:
    """Let somebody in who asked, or not (managers)."""
    if yes_or_no not in {"yes", "no"}:
        raise UsageProblem(f"{yes_or_no!r} is no answer", hint="write yes or no")
    with session_of(context).open() as portal:
        now = portal.change_project(name, "answer", {"user": user, "accept": yes_or_no == "yes", "words": words})
    _tell(json, now, f"{user} is in {name} now" if yes_or_no == "yes" else f"{user} was not let in, and sees why")


@projects.command()
def role(
    context: typer.Context,
    name: Name,
    user: User,
    wanted: Annotated[str, typer.Argument(metavar="ROLE", help="member, manager, or none to take them out.")],
    json: JsonOption = False,
) -> None:
    """Let somebody in as member or manager, change their role, or take them out (managers)."""
    if wanted not in {"member", "manager", "none"}:
        raise UsageProblem(f"{wanted!r} is no role", hint="write member, manager or none")
    with session_of(context).open() as portal:
        now = portal.change_project(name, "members", {"user": user, "role": wanted})
    _tell(json, now, f"{user} is no longer in {name}" if wanted == "none" else f"{user} is {wanted} of {name}")


@projects.command()
def leave(context: typer.Context, name: Name, json: JsonOption = False) -> None:
    """Leave a project; what you made stays in it."""
    with session_of(context).open() as portal:
        now = portal.change_project(name, "members", {"user": portal.whoami()["user"], "role": "none"})
    _tell(json, now, f"you left {name}")


@projects.command()
def new(
    context: typer.Context,
    name: Name,
    description: Annotated[str, typer.Option(help="What it is about.")] = "",
    manager: Annotated[str, typer.Option(help="Its first manager; you, if not said.")] = "",
    unlisted: Annotated[bool, typer.Option("--unlisted", help="Only its members know of it.")] = False,
    json: JsonOption = False,
) -> None:
    """Make a project (administrators, and whom the portal's settings let)."""
    wanted = {"name": name, "description": description, "listed": not unlisted, "manager": manager}
    with session_of(context).open() as portal:
        now = portal.make_project(wanted)
    _tell(json, now, f"project {name} was made")


def _tell(json: bool, now: Json | None, words: str) -> None:
    """Say what was done: in words, or by the project as it is now, null where one knows of it no more."""
    if json:
        out_json(now)
    else:
        say(words)


def _asked(found: Json) -> str:
    if found["asked"] == "declined":
        return f"you asked and were not let in: {found['answer'] or '(no reason given)'}"
    if found["asked"]:
        return "you asked to join"
    return f"`awrecipe projects join '{found['name']}'` asks to be let in"
