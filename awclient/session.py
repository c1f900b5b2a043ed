"""What all commands of `awrecipe` share: the portal they speak to, ``--json``, and completion of names."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awclient.configuration import Configuration, read_configuration, state_directory
from awclient.terminal import say

if TYPE_CHECKING:
    from awclient.client import Portal

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
_TOLD_EVERY_SECONDS = 10.0


@dataclass
class Session:
    """Address, token and patience as the command line gave them."""

    url: str = ""
    token_file: Path | None = None
    patience: float = 60.0
    _told: float = 0.0

    def open(self, configuration: Configuration | None = None) -> Portal:
        """Return the portal; nothing is sent yet."""
        from awclient.client import Portal

        found = configuration or read_configuration(self.url, self.token_file)
        return Portal(found, patience=self.patience, on_wait=self._tell_wait)

    def _tell_wait(self, why: str, pause: float) -> None:
        if time.monotonic() - self._told > _TOLD_EVERY_SECONDS or not self._told:
            self._told = time.monotonic()
            say(f"{why}; trying again for up to {self.patience:.0f} s")


def session_of(context: typer.Context) -> Session:
    """Return the session that the command line opened."""
    session = context.obj
    return session if isinstance(session, Session) else Session()


def _cache() -> Path:
    return state_directory() / "recipes.json"


def keep_recipe_names(recipes: list[dict[str, Any]]) -> None:
    """Keep the names for completion, which has to answer at once."""
    try:
        _cache().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _cache().write_text(json.dumps([[recipe["name"], recipe["summary"]] for recipe in recipes]), encoding="utf-8")
    except OSError:
        return  # completion is a comfort: a full disk must not stop the command


def complete_recipe(incomplete: str) -> list[tuple[str, str]]:
    """Return the recipes that begin so, with what they do."""
    try:
        known = json.loads(_cache().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [(name, summary) for name, summary in known if name.lower().startswith(incomplete.lower())]
