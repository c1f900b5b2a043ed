"""Caching data servers on behalf of a user: administrators register them and take them off, process managers see them.

Whoever holds a registered one's key can read every file, so that is no process manager's to give away.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from archive.audit import Subject, Told, record
from archive.context import Context
from processing_units.frontend.data_servers import Registered, find_data_server, look, look_at_each, register, remove
from processing_units.frontend.models import CachingDataServer
from processing_units.frontend.permissions import is_administrator, manages_units
from processing_units.frontend.refusals import NotAllowed, NotFound
from recipes.errors import UsageError


@dataclass(frozen=True)
class DataServerLook:
    """A caching data server, the units that name it, and how it is now: ``says`` what is wrong, and the mend."""

    data_server: CachingDataServer
    units: list[str]
    is_well: bool
    says: str


def look_at_all(context: Context) -> list[DataServerLook]:
    """Ask all caching data servers how they are."""
    if not manages_units(context):
        raise NotAllowed("data servers are shown to process managers", hint="ask one")
    found = list(CachingDataServer.objects.order_by("name").select_related("registered_by").prefetch_related("units"))
    answers = look_at_each(found)
    return [
        DataServerLook(each, sorted(unit.name for unit in each.units.all()), is_well, says)
        for each, (is_well, says) in zip(found, answers, strict=True)
    ]


def register_data_server(name: str, address: str, context: Context, *, anew: bool = False) -> Registered:
    """Register a caching data server; return it with its key, which is told this once.

    Parameters
    ----------
    name, address : str
        How units name it, and where nodes reach it.
    context : Context
        Of an administrator.
    anew : bool, optional
        It is registered, and gets this address and a new key; the old one is void at once.

    Raises
    ------
    NotAllowed, NotFound, UsageError
        The user is no administrator; there is none to register anew; a name or an address that cannot be, or a name
        that is taken.
    """
    user = require_administrator(context)
    if anew:
        find_data_server(name)
    elif CachingDataServer.objects.filter(name=name).exists():
        raise UsageError(
            f"data server {name} is registered already",
            hint="registered anew (--anew, or choose it on the page) it gets a new key, and its old one is void",
        )
    with transaction.atomic():
        made = register(name, address, user)
        what = "registered anew" if anew else "registered"
        record(user, Told(Subject.DATA_SERVER, made.data_server.pk, name, what, "", made.data_server.address))
    return made


def remove_data_server(name: str, context: Context) -> None:
    """Take a caching data server off, which no unit may name: its key opens nothing any more."""
    user = require_administrator(context)
    with transaction.atomic():
        remove(name)
        record(user, Told(Subject.DATA_SERVER, None, name, "taken off", "", ""))


def require_well(name: str) -> None:
    """Raise UsageError where nodes of a unit that reads from this data server would wait for it."""
    try:
        data_server = find_data_server(name)
    except NotFound as missing:
        raise UsageError(f"data_server: {missing.message}", hint=missing.hint) from None
    is_well, says = look(data_server)
    if not is_well:
        raise UsageError(
            f"data_server: {name} at {data_server.address}: {says}",
            hint="jobs would wait for it; `manage.py unit set`, on the server, takes it all the same",
        )


def require_administrator(context: Context) -> User:
    """Return the administrator whose context this is, or raise NotAllowed."""
    if not is_administrator(context) or context.user is None:
        raise NotAllowed("data servers are registered and taken off by administrators", hint="ask one")
    return context.user
