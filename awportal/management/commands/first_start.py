"""``manage.py first_start``: everything that a start needs in the database and on disk; safe to run at every start."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand

from archive.models import Privilege, Profile
from awportal import tokens
from awportal.secret_files import secret
from processing_units.frontend.models import ProcessingUnit


class Command(BaseCommand):
    """Migrate, collect static files, make the first user with a generated password, and the local unit."""

    help = __doc__ or ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--user", required=True)
        parser.add_argument("--unit-port", type=int, required=True)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it."""
        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        self._user(options["user"])
        self._unit(options["unit_port"])

    def _user(self, name: str) -> None:
        """Make the first user, an administrator, once; password and token go to files that only the owner reads."""
        user, is_new = User.objects.get_or_create(username=name, defaults={"is_staff": True, "is_superuser": True})
        if is_new:
            user.set_password(secret(settings.SECRETS / "password", random_bytes=12))
            user.save()
            Profile.objects.update_or_create(
                user=user, defaults={"user_type": Profile.UserType.BRINGS_UNIT, "privilege": Privilege.MYDB}
            )
        token_file = settings.SECRETS / "token"
        if not token_file.exists():
            _, token = tokens.make_token(user, "first start")
            _write_secret(token_file, token)

    def _unit(self, port: int) -> None:
        """Make the unit `local`, with a slot a core, or move it to the port of this start."""
        if not ProcessingUnit.objects.filter(name="local").exists():
            slots = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            call_command("unit", "create", "local", port=port, slots=slots, key_file=settings.SECRETS / "unit-local")
        ProcessingUnit.objects.filter(name="local").update(port=port)


def _write_secret(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    draft.replace(path)
