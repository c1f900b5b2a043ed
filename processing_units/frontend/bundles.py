"""Bundles of users' own code: taken, compared with the standard code, found, accepted, removed."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Now

import recipes
from archive.audit import Subject, Told, record
from archive.context import Context, visible
from archive.models import Membership, Profile
from dataserver.store import Store
from processing_units.code_shipping.differences import differences
from processing_units.code_shipping.environment import FILE_NAME, read_environment
from processing_units.code_shipping.packing import pack
from processing_units.code_shipping.rules import BundleError
from processing_units.code_shipping.unpacking import contents
from processing_units.frontend.models import CodeBundle, Run
from processing_units.frontend.permissions import user_type
from processing_units.frontend.quotas import require_bytes
from processing_units.frontend.refusals import NotAllowed, NotFound, TooLate
from recipes.code import code_digest
from recipes.errors import UsageError

MAXIMUM_BYTES_A_USER = 10**9


def require_shipping(context: Context) -> User:
    """Return the user, or raise NotAllowed unless their type ships code (3 and 4)."""
    if user_type(context) < Profile.UserType.SHIPS_CODE or context.user is None:
        raise NotAllowed(
            "users of type 1 and 2 ship no code of their own", hint="an administrator can change your type"
        )
    return context.user


def keep_bundle(stream: BinaryIO, context: Context) -> CodeBundle:
    """Check a zip file and keep it as this user's bundle; the same tree is kept once, however it was packed.

    Raises
    ------
    NotAllowed
        Users of this type ship no code.
    UsageError
        It breaks a rule of bundles (the message names the file), or the user has no room left.
    """
    owner = require_shipping(context)
    try:
        files = list(contents(stream))
        bundle = pack(files)  # by content, whatever tool made the zip file
        environment = read_environment(_text_of(files, FILE_NAME)).entries
    except BundleError as error:
        raise UsageError(error.message, hint=error.hint) from None
    if not bundle.files:
        raise UsageError("the bundle is empty", hint="pack the folder that holds your recipes/")
    there = CodeBundle.objects.filter(owner=owner, digest=bundle.digest).first()
    if there is not None:
        return there
    require_bytes(owner.pk)
    _require_room(owner, bundle.size)
    Store(settings.DATA_ROOT).put(io.BytesIO(bundle.content), expected=bundle.digest, size=bundle.size)
    found = differences(files, Path(recipes.__path__[0]).parent)
    sizes = {file.path: file.size for file in bundle.files}
    made, _ = CodeBundle.objects.get_or_create(
        owner=owner,
        digest=bundle.digest,
        defaults={
            "file_size": bundle.size,
            "files": len(bundle.files),
            "contents": [
                {"path": file.path, "size": sizes[file.path], "change": file.change, "added": file.added,
                 "removed": file.removed} for file in found.files
            ],
            "differences": found.diff.replace("\0", ""),
            "differences_cut": found.cut,
            "compared_with": code_digest(),
            "environment": environment,
        },
    )  # fmt: skip
    return made


def _text_of(files: Iterable[tuple[str, bytes]], wanted: str) -> str:
    """Return the text of a file at the top of a bundle, "" where there is none; the bundle's rules let only text in."""
    return next((content.decode("utf-8", "replace") for path, content in files if path == wanted), "")


def bytes_of_bundles(user: User) -> int:
    """Return how many bytes a user's bundles take."""
    return CodeBundle.objects.filter(owner=user).aggregate(sum=Sum("file_size"))["sum"] or 0


def visible_bundles(context: Context) -> QuerySet[CodeBundle]:
    """Return the bundles of this context: one's own; for a project's manager those of its members; all for staff."""
    user = context.user
    if user is None or not user.is_active:
        return CodeBundle.objects.none()
    bundles = CodeBundle.objects.select_related("owner", "accepted_by")
    if user.is_staff:
        return bundles
    managed = Membership.objects.filter(user=user, is_manager=True).values("project")
    members = Membership.objects.filter(project__in=managed).values("user")
    return bundles.filter(Q(owner=user) | Q(owner__in=members))


def find_bundle(pk: int, context: Context) -> CodeBundle:
    """Return a bundle of this context, or of any product that it sees: how it was made is part of its lineage.

    Raises NotFound.
    """
    bundle = visible_bundles(context).filter(pk=pk).first()
    if bundle is None and context.user is not None:
        any_other = CodeBundle.objects.select_related("owner", "accepted_by").filter(pk=pk).first()
        if any_other is not None:
            made = visible(context).filter(creator=any_other.owner_id, code_digest=any_other.digest)
            bundle = any_other if made.exists() else None
    if bundle is None:
        raise NotFound(f"there is no bundle {pk}", hint="the page of your code lists yours")
    return bundle


def bundle_to_run(digest: str, context: Context) -> CodeBundle | None:
    """Return the user's own bundle of that digest for a submission; None for "", the standard code.

    To know a digest gives no right to another's code: whoever has the tree can upload it.

    Raises
    ------
    NotAllowed
        Users of this type ship no code.
    NotFound
        The user has not uploaded it.
    """
    if not digest:
        return None
    owner = require_shipping(context)
    bundle = CodeBundle.objects.filter(owner=owner, digest=digest).first()
    if bundle is None:
        raise NotFound(f"you have shipped no code {digest[:12]}...", hint="`awrecipe run ... --code FOLDER` sends it")
    return bundle


def may_accept(bundle: CodeBundle, context: Context) -> bool:
    """Whether this context may accept the code: administrators, and managers of a project that its owner is in."""
    user = context.user
    if user is None or not user.is_active:
        return False
    managed = Membership.objects.filter(user=user, is_manager=True).values("project")
    return user.is_superuser or Membership.objects.filter(user=bundle.owner_id, project__in=managed).exists()


def accept_bundle(bundle: CodeBundle, context: Context) -> None:
    """Note that the code was read and found good: what it makes may be published from now on; raises NotAllowed."""
    if not may_accept(bundle, context):
        raise NotAllowed("only a manager of a project that its owner is in accepts code", hint="ask one to look at it")
    with transaction.atomic():
        waiting = CodeBundle.objects.filter(pk=bundle.pk, accepted_at__isnull=True)
        if waiting.update(accepted_by=context.user, accepted_at=Now()):
            whose = f"{bundle.digest[:12]} of {bundle.owner}"
            record(context.user, Told(Subject.CODE, bundle.pk, whose, "accepted", "", bundle.digest))


def is_accepted(digest: str, owner_id: int) -> bool:
    """Whether a project manager has accepted this user's code."""
    return CodeBundle.objects.filter(digest=digest, owner=owner_id, accepted_at__isnull=False).exists()


def remove_bundle(bundle: CodeBundle, context: Context) -> None:
    """Forget a bundle of one's own that no run ever used; its file goes with the next collection.

    Raises
    ------
    NotAllowed
        It is another's.
    TooLate
        A run used it: it is part of how products were made.
    """
    if context.user is None or bundle.owner_id != context.user.pk:
        raise NotAllowed("only its owner removes a bundle")
    with transaction.atomic():
        list(CodeBundle.objects.select_for_update().filter(pk=bundle.pk).values_list("pk"))
        if Run.objects.filter(user=bundle.owner_id, code_digest=bundle.digest).exists():
            raise TooLate("a run used this code: it is part of how its products were made", hint="it is kept with them")
        bundle.delete()


def _require_room(owner: User, size: int) -> None:
    used = bytes_of_bundles(owner)
    if used + size > MAXIMUM_BYTES_A_USER:
        raise UsageError(
            f"your bundles take {used / 1e6:.0f} MB; with this one they would take more than "
            f"{MAXIMUM_BYTES_A_USER / 1e6:.0f} MB",
            hint="remove bundles that no run used, on their pages",
        )
