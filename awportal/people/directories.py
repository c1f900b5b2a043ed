"""People whose account is somewhere else: an LDAP directory, or a provider of OpenID Connect.

They come in with user type 1 and no project, until somebody lets them in, or a group of theirs stands for a project.
Who has a name here keeps it: nobody of a directory becomes somebody who was made here, or came from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from archive.audit import of_user, record
from archive.models import Profile, Project
from awportal.people.projects import MEMBER, place_in_project

LDAP, OPENID = "ldap", "openid"


def belongs_elsewhere(name: str, directory: str) -> bool:
    """Whether somebody has this name who did not come from the directory."""
    return User.objects.filter(username__iexact=name).exclude(profile__directory=directory).exists()


def welcome(user: User, directory: str) -> None:
    """Note that an account came into being for somebody of a directory; the caller holds the transaction."""
    Profile.objects.create(user=user, user_type=Profile.UserType.STANDARD, directory=directory)
    record(user, of_user(user, "account", "", f"made by {directory}"))


def place_by_groups(user: User, groups: Iterable[str], directory: str) -> None:
    """Make somebody a member of the projects that their groups stand for; what they are in already stays as it is.

    Who leaves a group stays in the project, as whom its manager let in does: its manager takes them out.
    """
    wanted = {settings.GROUP_PROJECTS[group]: group for group in groups if group in settings.GROUP_PROJECTS}
    missing = Project.objects.filter(name__in=wanted).exclude(memberships__user=user)
    with transaction.atomic():
        for project in missing:
            place_in_project(project, user, MEMBER, None, f"{directory}, group {wanted[project.name]}")
