"""Who changed what: written in the transaction of the change itself, read by those whom it concerns.

What is not written with a change is no history of it, so there is no other way to note one: settings of units,
verdicts, timestamps, publishing, memberships, accounts, tokens and log-ins all go through :func:`record`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from archive.context import Context
from archive.models import Change, Membership, Privilege, Product, Project

Subject = Change.Subject
_BATCH = 500


@dataclass(frozen=True)
class Told:
    """A change of one thing: ``before`` and ``after`` are texts for people, "" where there was or is nothing.

    The managers of ``project`` may read it.
    """

    subject: Change.Subject
    number: int | None
    name: str
    what: str
    before: str = ""
    after: str = ""
    project: Project | None = None


def record(by: User | None, *changes: Told, who: str = "") -> None:
    """Write changes down, all at one moment; the caller holds the transaction in which they are made.

    Parameters
    ----------
    by : User or None
        Who made them; None for what was typed on the server, or who is not known.
    *changes : Told
        What was changed.
    who : str, optional
        How they are called, where that is not the user's name.
    """
    record_all(by, changes, who=who)


def record_all(by: User | None, changes: Iterable[Told], who: str = "") -> None:
    """Write many changes down, as :func:`record` does."""
    who = who or (by.get_username() if by else "the server")
    rows = [
        Change(
            made=Now(), user=by, who=who[:150], subject=each.subject, subject_number=each.number,
            subject_name=each.name[:200], what=each.what[:40], value_before=each.before[:1000],
            value_after=each.after[:1000], project=each.project,
        )
        for each in changes
    ]  # fmt: skip
    Change.objects.bulk_create(rows, batch_size=_BATCH)


def of_product(product: Product, what: str, before: str, after: str) -> Told:
    """Return a change of a product: its project's managers read it when the project sees the product."""
    shared = product.project if product.privilege >= Privilege.PROJECT else None
    return Told(Subject.PRODUCT, product.pk, product.name, what, before, after, shared)


def of_user(user: User, what: str, before: str = "", after: str = "") -> Told:
    """Return a change of somebody's account."""
    return Told(Subject.USER, user.pk, user.get_username(), what, before, after)


def of_project(project: Project, what: str, before: str = "", after: str = "") -> Told:
    """Return a change of a project."""
    return Told(Subject.PROJECT, project.pk, project.name, what, before, after, project)


def changes_of(subject: Change.Subject, number: int) -> QuerySet[Change]:
    """Return the changes of one thing, oldest first; whether they may be read is for the caller to know."""
    return Change.objects.filter(subject=subject, subject_number=number).order_by("pk")


def readable_changes(context: Context) -> QuerySet[Change]:
    """Return the changes that this context may read, newest first.

    Administrators read all; process managers those of units and data servers; project managers their projects';
    everybody what they did themselves, and what was done to their own account.
    """
    user = context.user
    if user is None or not user.is_active:
        return Change.objects.none()
    changes = Change.objects.select_related("project").order_by("-pk")
    if user.is_superuser:
        return changes
    mine = Q(user=user) | Q(subject=Subject.USER, subject_number=user.pk)
    managed = Membership.objects.filter(user=user, is_manager=True).values("project")
    mine |= Q(project__in=managed)
    if user.is_staff:
        mine |= Q(subject__in=[Subject.UNIT, Subject.DATA_SERVER])
    return changes.filter(mine)
