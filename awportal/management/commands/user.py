"""``manage.py user create|set|list``: people with their type, and their place in projects."""

from __future__ import annotations

import getpass
import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from archive.models import Membership, Profile, Project
from awportal.people.accounts import AccountChange, make_account, write_account
from awportal.people.projects import MANAGER, MEMBER, place_in_project
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
        password = secrets.token_urlsafe(12)
        try:
            user = make_account(options["name"], AccountChange(), None, _typed_by())
        except UsageError as problem:
            raise CommandError(f"{problem.message}; {problem.hint}; `manage.py user set` changes one") from None
        user.set_password(password)
        user.save(update_fields=["password"])
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
        write_account(user, AccountChange(options.get("type"), _role(user, options)), None, _typed_by())
        user.refresh_from_db()
        limits = {name: options[name] for name in ("queued_jobs", "running_jobs", "stored_bytes") if options.get(name)}
        if limits:
            try:
                set_quota(user, limits, who=_typed_by())
            except UsageError as problem:
                raise CommandError(f"{problem.message}; {problem.hint}") from None
        if options.get("project"):
            project, _ = Project.objects.get_or_create(name=options["project"])
            place_in_project(project, user, MANAGER if options.get("project_manager") else MEMBER, None, _typed_by())


def _role(user: User, options: dict[str, Any]) -> str | None:
    """Return the role that the options ask for, or None where they ask for none."""
    if options.get("administrator"):
        return "administrator" if options["administrator"] == "yes" else "user"
    if options.get("process_manager") and not user.is_superuser:  # an administrator is one anyway
        return "process manager" if options["process_manager"] == "yes" else "user"
    return None


def _typed_by() -> str:
    return f"manage.py, {getpass.getuser()}"


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
