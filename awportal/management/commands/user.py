"""``manage.py user create|set|list``: people with their type, and their place in projects."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from archive.models import Membership, Profile, Project
from processing_units.frontend.canary import USER as CANARY_USER
from processing_units.frontend.quotas import set_quota
from recipes.errors import UsageError

_TYPES = "; ".join(f"{kind.value} {kind.label}" for kind in Profile.UserType)


class Command(BaseCommand):
    """Make and change users."""

    help = __doc__ or ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the actions and their options."""
        actions = parser.add_subparsers(dest="action", required=True)
        for name, text in (("create", "make a user with a generated password"), ("set", "change a user")):
            action = actions.add_parser(name, help=text)
            action.add_argument("name")
            action.add_argument("--type", type=int, choices=Profile.UserType.values, help=_TYPES)
            action.add_argument("--project", help="make the user a member; a new name makes the project")
            action.add_argument("--project-manager", action="store_true", help="with --project: may publish there")
            action.add_argument("--process-manager", choices=["yes", "no"], help="may change units and cancel any run")
            action.add_argument("--administrator", choices=["yes", "no"], help="a process manager, and more")
            for limit, what in (("queued-jobs", "wait"), ("running-jobs", "run"), ("stored-bytes", "be kept")):
                action.add_argument(f"--{limit}", help=f"how many may {what} at a time; 0: no limit; default: as set")
        actions.add_parser("list", help="list the users")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do the action, whole or not at all."""
        if options.get("project_manager") and not options.get("project"):
            raise CommandError("--project-manager goes with --project NAME")
        with transaction.atomic():
            getattr(self, f"_{options['action']}")(options)

    def _create(self, options: dict[str, Any]) -> None:
        if User.objects.filter(username=options["name"]).exists():
            raise CommandError(f"there is a user {options['name']!r} already; `manage.py user set` changes it")
        password = secrets.token_urlsafe(12)
        user = User.objects.create_user(options["name"], password=password)
        Profile.objects.create(user=user)
        self._apply(user, options)
        self.stdout.write(f"{_line(user)}\npassword, shown this once: {password}")

    def _set(self, options: dict[str, Any]) -> None:
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            raise CommandError(f"there is no user {options['name']!r}; `manage.py user list` shows them")
        Profile.objects.get_or_create(user=user)
        self._apply(user, options)
        self.stdout.write(_line(user))

    def _list(self, _options: dict[str, Any]) -> None:
        for user in User.objects.exclude(username=CANARY_USER).order_by("username"):
            self.stdout.write(_line(user))

    def _apply(self, user: User, options: dict[str, Any]) -> None:
        if options.get("type"):
            Profile.objects.filter(user=user).update(user_type=options["type"])
        if options.get("process_manager"):
            user.is_staff = options["process_manager"] == "yes"
            user.save(update_fields=["is_staff"])
        if options.get("administrator"):
            is_administrator = options["administrator"] == "yes"
            user.is_staff = user.is_superuser = is_administrator
            user.save(update_fields=["is_staff", "is_superuser"])
        limits = {name: options[name] for name in ("queued_jobs", "running_jobs", "stored_bytes") if options.get(name)}
        if limits:
            try:
                set_quota(user, limits)
            except UsageError as problem:
                raise CommandError(f"{problem.message}; {problem.hint}") from None
        if options.get("project"):
            project, _ = Project.objects.get_or_create(name=options["project"])
            Membership.objects.update_or_create(
                user=user, project=project, defaults={"is_manager": bool(options.get("project_manager"))}
            )
            Profile.objects.filter(user=user, project__isnull=True).update(project=project)


def _line(user: User) -> str:
    profile = Profile.objects.filter(user=user).first()
    kind = profile.user_type if profile else Profile.UserType.STANDARD
    projects = ", ".join(
        f"{membership.project}{' (manager)' if membership.is_manager else ''}"
        for membership in Membership.objects.filter(user=user).select_related("project").order_by("project__name")
    )
    role = "administrator" if user.is_superuser else "process manager" if user.is_staff else ""
    words = [user.username, f"type {int(kind)}", role, projects]
    return " · ".join(word for word in words if word)
