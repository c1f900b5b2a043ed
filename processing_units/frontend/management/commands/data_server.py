"""``manage.py data_server register|list|check|remove|peers``: the caching data servers that units may name."""

from __future__ import annotations

import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from processing_units.frontend.data_servers import find_data_server, look, register, remove
from processing_units.frontend.models import CachingDataServer
from recipes.errors import UsageError


class Command(BaseCommand):
    """Register, look at and forget caching data servers."""

    help = __doc__ or ""
    requires_system_checks = ()  # they would import every page; `manage.py check` is for that

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the actions and their options."""
        actions = parser.add_subparsers(dest="action", required=True)
        new = actions.add_parser("register", help="register one, or one anew, and write its key to a file (mode 0600)")
        new.add_argument("name")
        new.add_argument("address", help="where nodes reach it, like https://cache.example.org:8001")
        new.add_argument("--key-file", type=Path, help="default: HOME/secrets/data-server-NAME")
        actions.add_parser("list", help="list them")
        for action, words in (("check", "ask one how it is"), ("remove", "forget one: its key is void")):
            actions.add_parser(action, help=words).add_argument("name")
        actions.add_parser("peers", help="print what `python -m dataserver serve --peers FILE` is to read")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do the action."""
        try:
            getattr(self, f"_{options['action']}")(options)
        except UsageError as problem:
            raise CommandError(f"{problem.message}; {problem.hint}" if problem.hint else problem.message) from None

    def _register(self, options: dict[str, Any]) -> None:
        made = register(options["name"], options["address"], None)
        path = options["key_file"] or settings.SECRETS / f"data-server-{made.data_server.name}"
        _write(path, made.key_text)
        self.stdout.write(
            f"data server {made.data_server.name} at {made.data_server.address}; its key is in {path}\n"
            f"start it there: python -m dataserver serve --root FOLDER --max-bytes 200G --host ADDRESS --port PORT "
            f"--upstream {settings.DATA_URL} --key-file FILE"
        )

    def _list(self, _options: dict[str, Any]) -> None:
        for each in CachingDataServer.objects.order_by("name"):
            units = ", ".join(each.units.order_by("name").values_list("name", flat=True))
            self.stdout.write(f"{each.name}  {each.address}  {each.peer}  units: {units or 'none'}")

    def _check(self, options: dict[str, Any]) -> None:
        is_well, words = look(find_data_server(options["name"]))
        if not is_well:
            raise CommandError(f"{options['name']}: {words}")
        self.stdout.write(f"{options['name']}: {words}")

    def _remove(self, options: dict[str, Any]) -> None:
        remove(options["name"])
        self.stdout.write(f"data server {options['name']} is forgotten")

    def _peers(self, _options: dict[str, Any]) -> None:
        for peer in CachingDataServer.objects.order_by("peer").values_list("peer", flat=True):
            self.stdout.write(peer)


def _write(path: Path, text: str) -> None:
    """Write a secret where only its owner reads it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
