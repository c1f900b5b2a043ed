"""``manage.py unit create|set|list|key``: processing units, each with a key of its own in a file."""

from __future__ import annotations

import getpass
import os
import re
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from processing_units.frontend.attempts import hash_of
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.unit_settings import apply_changes
from recipes.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")

# Option: setting.
_SETTINGS = {
    "alias": "alias", "host": "host", "port": "port", "kind": "kind", "slots": "slots", "memory_mib": "memory",
    "wall_seconds": "walltime", "data_server": "data_server", "accepting": "accepting", "recipes": "recipes",
    "user_types": "user_types", "owner": "owner", "default": "default", "cluster_managers": "cluster_managers",
    "kind_settings": "kind_settings",
}  # fmt: skip


class Command(BaseCommand):
    """Make, change and list units."""

    help = __doc__ or ""
    requires_system_checks = ()  # they would import every page; `manage.py check` is for that

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the actions and their options."""
        actions = parser.add_subparsers(dest="action", required=True)
        create = actions.add_parser("create", help="make a unit and write its key to a file (mode 0600)")
        create.add_argument("name")
        create.add_argument("--key-file", type=Path, help="default: HOME/secrets/unit-NAME")
        change = actions.add_parser("set", help="change a unit; holds from the next request to its frontend on")
        change.add_argument("name")
        for action in (create, change):
            action.add_argument("--alias")
            action.add_argument("--host")
            action.add_argument("--port", type=int)
            action.add_argument("--kind")
            action.add_argument("--slots", type=int, help="over all its cluster managers; 0: as many as they bring")
            action.add_argument("--cluster-managers", type=int, help="how many its backend keeps up")
            action.add_argument("--kind-settings", help="what its kind of backend needs to know, as JSON")
            action.add_argument("--memory-mib", type=int)
            action.add_argument("--wall-seconds", type=int)
            action.add_argument(
                "--data-server", help="name of the caching one its nodes read from; an empty text: the portal's own"
            )
            action.add_argument("--accepting", choices=["yes", "no"])
            action.add_argument("--recipes", help="comma-separated; an empty text allows all")
            action.add_argument("--user-types", help="comma-separated, of 1-4; an empty text allows all")
            action.add_argument(
                "--owner", help="a user (of type 4) whose jobs alone it runs; an empty text: nobody's own"
            )
            action.add_argument(
                "--default",
                help="for whom it is the unit when they name none: RECIPE, RECIPE:USERTYPE, *:USERTYPE or *",
            )
        actions.add_parser("list", help="list the units")
        key = actions.add_parser("key", help="write a new key; the old one is void at once")
        key.add_argument("name")
        key.add_argument("--key-file", type=Path, help="default: HOME/secrets/unit-NAME")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do the action."""
        getattr(self, f"_{options['action']}")(options)

    def _create(self, options: dict[str, Any]) -> None:
        name = options["name"]
        if ProcessingUnit.objects.filter(name=name).exists():
            raise CommandError(f"there is a unit {name!r} already; `manage.py unit set {name}` changes it")
        if not options.get("port"):
            raise CommandError("say at which port its frontend listens: --port PORT")
        if not _NAME.fullmatch(name):
            raise CommandError(f"{name!r} is no name of a unit: letters, digits, - and _, at most 40")
        with transaction.atomic():
            unit = ProcessingUnit.objects.create(name=name, port=min(max(options["port"], 0), 65535), key_hash="")
            _apply(unit, options)
            path = _write_key(unit, options.get("key_file"))
        self.stdout.write(f"unit {name} at {unit.host}:{unit.port}; its key is in {path}")

    def _set(self, options: dict[str, Any]) -> None:
        unit = _find(options["name"])
        _apply(unit, options)
        self.stdout.write(_line(unit))

    def _list(self, _options: dict[str, Any]) -> None:
        for unit in ProcessingUnit.objects.order_by("name"):
            self.stdout.write(_line(unit))

    def _key(self, options: dict[str, Any]) -> None:
        unit = _find(options["name"])
        path = _write_key(unit, options.get("key_file"))
        self.stdout.write(f"the new key of unit {unit.name} is in {path}")


def _find(name: str) -> ProcessingUnit:
    unit = ProcessingUnit.objects.filter(name=name).first()
    if unit is None:
        names = ", ".join(ProcessingUnit.objects.order_by("name").values_list("name", flat=True)) or "none yet"
        raise CommandError(f"there is no unit {name!r}; the units are: {names}")
    return unit


def _apply(unit: ProcessingUnit, options: dict[str, Any]) -> None:
    given = {setting: str(options[option]) for option, setting in _SETTINGS.items() if options.get(option) is not None}
    try:
        apply_changes(unit, given, by=None, who=f"manage.py, {getpass.getuser()}", on_server=True)
    except UsageError as problem:
        raise CommandError(f"{problem.message}; {problem.hint}" if problem.hint else problem.message) from None


def _write_key(unit: ProcessingUnit, path: Path | None) -> Path:
    """Write a new key where only its owner reads it, whole or not at all, and keep its hash."""
    path = path or settings.SECRETS / f"unit-{unit.name}"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_urlsafe(32)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    unit.key_hash = hash_of(key)
    unit.save()
    return path


def _line(unit: ProcessingUnit) -> str:
    parts = [
        unit.name,
        f"{unit.host}:{unit.port}",
        unit.kind,
        f"{unit.slots} slots" if unit.slots else "slots as they come",
    ]
    parts.append("accepting" if unit.accepting else "closed")
    if unit.recipes_allowed:
        parts.append(f"recipes {','.join(unit.recipes_allowed)}")
    if unit.user_types_allowed:
        parts.append(f"user types {','.join(str(kind) for kind in unit.user_types_allowed)}")
    if unit.owner:
        parts.append(f"owner {unit.owner.get_username()}")
    return "  ".join(parts)
