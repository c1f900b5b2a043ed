"""``manage.py unit create|set|list|key``: processing units, each with a key of its own in a file."""

from __future__ import annotations

import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from archive.models import Profile
from processing_units.frontend.attempts import hash_of
from processing_units.frontend.models import ProcessingUnit
from recipes.catalogue import all_recipes

_SETTABLE = ("alias", "host", "port", "kind", "slots", "memory_mib", "wall_seconds", "data_server_url", "accepting")


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
            action.add_argument("--slots", type=int)
            action.add_argument("--memory-mib", type=int)
            action.add_argument("--wall-seconds", type=int)
            action.add_argument("--data-server-url")
            action.add_argument("--accepting", choices=["yes", "no"])
            action.add_argument("--recipes", help="comma-separated; an empty text allows all")
            action.add_argument("--user-types", help="comma-separated, of 1-4; an empty text allows all")
            action.add_argument(
                "--owner", help="a user (of type 4) whose jobs alone it runs; an empty text: nobody's own"
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
        unit = ProcessingUnit(name=name)
        _apply(unit, options)
        path = _write_key(unit, options.get("key_file"))
        self.stdout.write(f"unit {name} at {unit.host}:{unit.port}; its key is in {path}")

    def _set(self, options: dict[str, Any]) -> None:
        unit = _find(options["name"])
        _apply(unit, options)
        unit.save()
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
    for name in _SETTABLE:
        value = options.get(name)
        if value is not None:
            setattr(unit, name, value == "yes" if name == "accepting" else value)
    if options.get("recipes") is not None:
        unit.recipes_allowed = [name.strip() for name in options["recipes"].split(",") if name.strip()]
        unknown = [name for name in unit.recipes_allowed if name not in all_recipes()]
        if unknown:
            raise CommandError(f"there is no recipe {unknown[0]!r}; the recipes are: {', '.join(all_recipes())}")
    if options.get("user_types") is not None:
        types = [text.strip() for text in options["user_types"].split(",") if text.strip()]
        wrong = [text for text in types if text not in {str(kind.value) for kind in Profile.UserType}]
        if wrong:
            raise CommandError(f"user type {wrong[0]!r} is none of 1, 2, 3, 4")
        unit.user_types_allowed = [int(text) for text in types]
    if options.get("owner") is not None:
        unit.owner = User.objects.filter(username=options["owner"]).first()
        if options["owner"] and unit.owner is None:
            raise CommandError(f"there is no user {options['owner']!r}")
    if not 0 < unit.port < 65536 or unit.slots < 1:
        raise CommandError("a port lies from 1 to 65535, and a unit has at least one slot")


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
    parts = [unit.name, f"{unit.host}:{unit.port}", unit.kind, f"{unit.slots} slots"]
    parts.append("accepting" if unit.accepting else "closed")
    if unit.recipes_allowed:
        parts.append(f"recipes {','.join(unit.recipes_allowed)}")
    if unit.user_types_allowed:
        parts.append(f"user types {','.join(str(kind) for kind in unit.user_types_allowed)}")
    if unit.owner:
        parts.append(f"owner {unit.owner.get_username()}")
    return "  ".join(parts)
