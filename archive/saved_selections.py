"""Selections that are kept by name: saved, shared, opened again as filters or as a recipe's input."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from archive.context import Context, is_member
from archive.filter_texts import BadSelection
from archive.models import Membership, Project, SavedSelection
from archive.queries import Selection

MOST_SELECTIONS = 500
MOST_PRODUCTS = 5000
_LONGEST = 2000
Sharing = SavedSelection.Sharing


class NoSelection(LookupError):
    """There is no such selection, or none that one may open."""


def listed(context: Context) -> QuerySet[SavedSelection]:
    """Return one's own selections and those of one's projects."""
    if context.user is None:
        return SavedSelection.objects.none()
    projects = Membership.objects.filter(user=context.user).values("project_id")
    shared = Q(sharing=Sharing.PROJECT, project_id__in=projects)
    found = SavedSelection.objects.filter(Q(owner=context.user) | shared)
    return found.select_related("owner", "project").order_by("name", "pk")


def find(context: Context, name: str) -> SavedSelection:
    """Return the selection of that key or name (one's own goes before a project's), or raise :class:`NoSelection`."""
    if context.user is not None:
        named = list(listed(context).filter(Q(key=name) | Q(name=name)))
        named.sort(key=lambda each: (each.key != name, each.owner_id != context.user.pk))  # type: ignore[union-attr]
        if named:
            return named[0]
    by_link = SavedSelection.objects.select_related("owner", "project").filter(key=name, sharing=Sharing.LINK).first()
    if by_link is None:
        raise NoSelection(f"there is no selection {name[:60]!r}, or none that you may open")
    return by_link


def parse(context: Context, given: Mapping[str, Any]) -> Selection:
    """Return the selection of these filters, among which ``selection`` may name a saved one, within which they hold.

    Raises BadSelection.
    """
    filters = dict(given)
    name = str(filters.pop("selection", "") or "").strip()
    if not name:
        return Selection.parse(filters)
    try:
        saved = find(context, name)
    except NoSelection as missing:
        raise BadSelection(f"selection: {missing}") from None
    return Selection.parse(filters, within=Selection.parse(saved.filters))


def save(
    context: Context, name: str, filters: Mapping[str, str], products: Iterable[int] = (), *, sharing: str = "owner"
) -> SavedSelection:
    """Keep filters, or products that were chosen, by a name that is new among one's own.

    Raises BadSelection, and PermissionDenied for visitors and for a project that one does not work in.
    """
    if context.user is None:
        raise PermissionDenied("log in to keep a selection")
    kept = _fixed(products) or _kept_filters(context, filters)
    if SavedSelection.objects.filter(owner=context.user).count() >= MOST_SELECTIONS:
        raise BadSelection(f"you keep {MOST_SELECTIONS} selections: remove some first")
    saved = SavedSelection(key=secrets.token_urlsafe(16), owner=context.user, filters=kept)
    return _written(saved, context, name, sharing)


def change(context: Context, saved: SavedSelection, *, name: str, sharing: str) -> SavedSelection:
    """Give one's own selection another name, or let others open it; what it selects stays."""
    _own(context, saved)
    return _written(saved, context, name, sharing)


def remove(context: Context, saved: SavedSelection) -> None:
    """Forget one's own selection; products stay."""
    _own(context, saved)
    saved.delete()


def _own(context: Context, saved: SavedSelection) -> None:
    if context.user is None or saved.owner_id != context.user.pk:
        raise PermissionDenied(f"{saved.name} is {saved.owner}'s: only its owner changes it")


def _written(saved: SavedSelection, context: Context, name: str, sharing: str) -> SavedSelection:
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable() or "/" in name:
        raise BadSelection("name: give it one of 1 to 100 characters, without slashes")
    if sharing not in Sharing.values:
        raise BadSelection(f"shared: {sharing[:20]!r} is none of {', '.join(Sharing.values)}")
    saved.name, saved.sharing = name, sharing
    if sharing == Sharing.PROJECT:
        saved.project = _project_of(context, saved)
    try:
        with transaction.atomic():
            saved.save()
    except IntegrityError:
        raise BadSelection(f"name: you keep a selection {name!r} already; remove it or choose another name") from None
    return saved


def _project_of(context: Context, saved: SavedSelection) -> Project:
    project = saved.project or context.project
    if project is None or not is_member(context.user, project):
        raise PermissionDenied("you work in no project to share it with: choose one in your context")
    return project


def _fixed(products: Iterable[int]) -> dict[str, str]:
    """Return the filter for products that were chosen one by one, as ranges; nothing where none was."""
    chosen = sorted(set(products))
    if len(chosen) > MOST_PRODUCTS:
        raise BadSelection(f"{len(chosen)} products are more than {MOST_PRODUCTS}: keep filters instead")
    pieces: list[list[int]] = []
    for number in chosen:
        if pieces and number == pieces[-1][1] + 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    ids = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in pieces)
    return {"ids": ids} if ids else {}


def _kept_filters(context: Context, filters: Mapping[str, str]) -> dict[str, str]:
    """Return the filters to keep; those of a saved selection that they narrow down become their own."""
    kept = {name: str(value) for name, value in filters.items() if value}
    if sum(map(len, kept.values())) > _LONGEST:
        raise BadSelection(f"filters of more than {_LONGEST} characters are not kept: choose the products instead")
    within = kept.pop("selection", "")
    if within:
        parse(context, {"selection": within})
        base = find(context, within).filters
        twice = sorted(name for name in {*base, *kept} - {"order"} if name in base and name in kept)
        if twice:
            raise BadSelection(f"{twice[0]} is a filter of the saved selection, too: take one of the two off first")
        kept = {**base, **kept}
    Selection.parse(kept)
    if not kept:
        raise BadSelection("there is nothing to keep: set a filter, or choose products")
    return kept
