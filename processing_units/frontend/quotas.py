"""What one user may have at a time: jobs that wait, jobs that run, bytes kept. Counted before anything is made.

The defaults are in the settings; a row of a user overrules them; 0 is no limit. Bytes are counted anew when the last
count is a minute old, so a user can pass that limit by what a minute's jobs bring.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Coalesce, Now

from archive.audit import of_user, record
from archive.context import Context
from archive.models import Product
from processing_units.contract import JobState
from processing_units.frontend.changes import OPEN_STATES
from processing_units.frontend.clock import database_now, seconds_from_now
from processing_units.frontend.models import CodeBundle, Job, Quota
from processing_units.frontend.permissions import is_administrator
from processing_units.frontend.refusals import NotAllowed, NotNow
from recipes.errors import UsageError

_COUNTED_EVERY = timedelta(seconds=60)
_LARGEST = {"queued_jobs": 2**31 - 1, "running_jobs": 2**31 - 1, "stored_bytes": 2**63 - 1}
_SCALES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True)
class Share:
    """How much of something a user has, and may have (0: as much as they like)."""

    used: int
    limit: int
    is_own: bool  # whether the limit is this user's own, not the default

    @property
    def is_reached(self) -> bool:
        """Whether no more may be had."""
        return bool(self.limit) and self.used >= self.limit


@dataclass(frozen=True)
class Standing:
    """How a user stands."""

    queued_jobs: Share
    running_jobs: Share
    stored_bytes: Share


def standing(user: User) -> Standing:
    """Return what a user has and may have."""
    row = Quota.objects.filter(user=user).first()
    jobs = Job.objects.filter(run__user=user, run__ended__isnull=True)
    return Standing(
        _share(row, "queued_jobs", jobs.filter(state=JobState.QUEUED).count()),
        _share(row, "running_jobs", jobs.filter(state=JobState.RUNNING).count()),
        _share(row, "stored_bytes", _bytes_of(user.pk, row)),
    )


def require_room(user_id: int, jobs: int) -> None:
    """Raise where so many more jobs of a user would be too many, or where their files are: only counts are made.

    Raises
    ------
    NotNow
        There is room again when jobs have ended.
    NotAllowed
        So many are never allowed at a time.
    """
    row = Quota.objects.filter(user=user_id).first()
    require_bytes(user_id, row)
    limit = _limit(row, "queued_jobs")
    if not limit:
        return
    hint = "ask an administrator for more: manage.py user set NAME --queued-jobs N"
    if jobs > limit:
        raise NotAllowed(f"these are {jobs} jobs, and at most {limit} of yours may wait at a time", hint=hint)
    waiting = Job.objects.filter(run__user=user_id, run__ended__isnull=True, state=JobState.QUEUED).count()
    if waiting + jobs > limit:
        raise NotNow(
            f"{waiting} of your jobs wait already: with these {jobs} it would be more than the {limit} you may have",
            hint=f"wait until some have begun, cancel some, or {hint}",
        )


def take_room(user_id: int, jobs: int) -> None:
    """Raise as :func:`require_room`, inside the transaction that writes the jobs: two at once do not both pass."""
    Quota.objects.get_or_create(user_id=user_id)
    list(Quota.objects.select_for_update().filter(user=user_id).values_list("pk"))
    require_room(user_id, jobs)


def require_bytes(user_id: int, row: Quota | None = None) -> None:
    """Raise NotNow where the user's files have reached their limit."""
    row = row or Quota.objects.filter(user=user_id).first()
    limit = _limit(row, "stored_bytes")
    used = _bytes_of(user_id, row) if limit else 0
    if limit and used >= limit:
        raise NotNow(
            f"your files hold {told_bytes(used)}, and you may keep {told_bytes(limit)}",
            hint="ask an administrator for more: manage.py user set NAME --stored-bytes N",
        )


def users_at_their_limit(running: Mapping[int, int]) -> dict[int, str]:
    """Return the users of whom no more jobs may begin now, and why.

    Parameters
    ----------
    running : mapping
        How many jobs run, by user, on all units.
    """
    rows = {row.user_id: row for row in Quota.objects.filter(_that_can_matter())}
    most = settings.QUOTA_RUNNING_JOBS
    busy = {user_id for user_id, number in running.items() if most and number >= most}
    found = {}
    for user_id in {*rows, *busy}:
        row = rows.get(user_id)
        limit = _limit(row, "running_jobs")
        if limit and running.get(user_id, 0) >= limit:
            found[user_id] = f"as many jobs of this user run as may at a time: {limit}"
        limit = _limit(row, "stored_bytes")
        if row is not None and limit and row.used_bytes >= limit:
            found[user_id] = f"this user's files hold {told_bytes(row.used_bytes)}, and {told_bytes(limit)} may be kept"
    return found


def why_none_begins(user: User) -> str:
    """Return why no more jobs of this user begin now, on whatever unit, or ""."""
    running = Job.objects.filter(run__user=user, run__ended__isnull=True, state=JobState.RUNNING).count()
    return users_at_their_limit({user.pk: running}).get(user.pk, "")


def count_bytes() -> int:
    """Count the files of users with open jobs anew, where there is a limit; return of how many users."""
    due = Q(quota__isnull=True) | Q(quota__counted_at__isnull=True)
    due |= Q(quota__counted_at__lt=seconds_from_now(-_COUNTED_EVERY.total_seconds()))
    limited = Q(quota__stored_bytes__gt=0)
    if settings.QUOTA_STORED_BYTES:
        limited |= Q(quota__isnull=True) | Q(quota__stored_bytes__isnull=True)
    users = User.objects.filter(due, limited, runs__ended__isnull=True, runs__jobs__state__in=OPEN_STATES)
    found = list(users.distinct().values_list("pk", flat=True))
    for user_id in found:
        _count(user_id)
    return len(found)


def change_quota(user: User, changes: Mapping[str, str], context: Context) -> None:
    """Give a user limits of their own: a number (bytes also as ``10G``), 0 for none, ``default`` for the settings'.

    Raises
    ------
    NotAllowed
        Only administrators do that.
    UsageError
        An unknown limit, or no number.
    """
    if not is_administrator(context):
        raise NotAllowed("only an administrator changes what users may have", hint="ask one")
    set_quota(user, changes, context.user)


def set_quota(user: User, changes: Mapping[str, str], by: User | None = None, who: str = "") -> None:
    """Set limits of a user, all or none, and write down who did; the caller has checked who asks."""
    values = {_name(name): _number(name, text) for name, text in changes.items()}
    with transaction.atomic():
        row, _ = Quota.objects.select_for_update().get_or_create(user=user)
        before = {name: getattr(row, name) for name in values}
        Quota.objects.filter(pk=row.pk).update(**values)
        told = [
            of_user(user, name.replace("_", " "), _shown(before[name]), _shown(value))
            for name, value in values.items()
            if before[name] != value
        ]
        record(by, *told, who=who)


def told_bytes(size: int) -> str:
    """Return a number of bytes for a person."""
    for scale, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= scale:
            return f"{size / scale:.4g} {unit}"
    return f"{size} bytes"


def _that_can_matter() -> Q:
    """Return the filter of rows that say something of running jobs, or whose user has as much on disk as is allowed."""
    limit = Coalesce("stored_bytes", settings.QUOTA_STORED_BYTES)
    return Q(running_jobs__isnull=False) | (Q(used_bytes__gt=0) & Q(used_bytes__gte=limit))


def _limit(row: Quota | None, name: str) -> int:
    own = getattr(row, name) if row is not None else None
    return int(getattr(settings, f"QUOTA_{name.upper()}") if own is None else own)


def _share(row: Quota | None, name: str, used: int) -> Share:
    return Share(used, _limit(row, name), row is not None and getattr(row, name) is not None)


def _bytes_of(user_id: int, row: Quota | None) -> int:
    if row is not None and row.counted_at is not None and database_now() - row.counted_at < _COUNTED_EVERY:
        return row.used_bytes
    return _count(user_id)


def _count(user_id: int) -> int:
    used = sum(
        files.aggregate(total=Sum(F("file_size")))["total"] or 0
        for files in (Product.objects.filter(creator=user_id), CodeBundle.objects.filter(owner=user_id))
    )
    Quota.objects.update_or_create(user_id=user_id, defaults={"used_bytes": used, "counted_at": Now()})
    return int(used)


def _shown(limit: int | None) -> str:
    return "default" if limit is None else str(limit) if limit else "no limit"


def _name(name: str) -> str:
    known = name.strip().lower().replace("-", "_")
    found = next(
        (each for each in _LARGEST if known in {each, each.split("_", maxsplit=1)[0], each.rsplit("_")[-1]}), None
    )
    if found is None or known == "jobs":
        raise UsageError(f"there is no limit {name!r}", hint="the limits are: queued, running, bytes")
    return found


def _number(name: str, text: str) -> int | None:
    text = text.strip().lower().removesuffix("b")
    if text == "default":
        return None
    scale = _SCALES.get(text[-1:], 1)
    digits = text[:-1] if scale > 1 else text
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18 or int(digits) * scale > _LARGEST[_name(name)]:
        raise UsageError(
            f"{name}: {text!r} is no number", hint="write a number (10G for bytes), 0 for no limit, or default"
        )
    return int(digits) * scale
