"""Caching data servers: registered by an administrator, named by units, accepted by the portal's own as peers."""

from __future__ import annotations

import json
import logging
import math
import re
import secrets
import time
import urllib.error
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError
from django.db.models.functions import Now
from django.db.utils import DatabaseError

from dataserver.signing import peer_key, peer_key_text
from dataserver.upstream import opener
from processing_units.frontend.clock import database_now
from processing_units.frontend.models import CachingDataServer
from processing_units.frontend.refusals import NotFound
from recipes.errors import UsageError

log = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LOOK_SECONDS = 5.0
_ASKED_AT_ONCE = 16
_KNOWN_SECONDS = 5.0


@dataclass(frozen=True)
class Registered:
    """A data server that was just registered, and what its key file is to hold: told this once."""

    data_server: CachingDataServer
    key_text: str


def register(name: str, address: str, by: User | None) -> Registered:
    """Register a caching data server; one of that name gets a new key and address, and its old key is void.

    Raises
    ------
    UsageError
        A name or an address that cannot be.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a data server", hint="small letters, digits and -, at most 40")
    address = _checked_address(address)
    peer = f"{name}-{secrets.token_hex(4)}"
    try:
        with transaction.atomic():
            found, _ = CachingDataServer.objects.update_or_create(
                name=name,
                defaults={"address": address, "peer": peer, "registered_by": by, "registered_at": database_now()},
            )
    except IntegrityError:
        raise UsageError(f"somebody registers {name} at this moment", hint="try again") from None
    return Registered(found, peer_key_text(peer_key(settings.DATA_KEY, peer)))


def remove(name: str) -> None:
    """Forget a caching data server: its key opens nothing any more.

    Raises
    ------
    NotFound, UsageError
        There is none of that name, or units name it.
    """
    found = find_data_server(name)
    try:
        found.delete()
    except ProtectedError:
        units = ", ".join(found.units.order_by("name").values_list("name", flat=True))
        raise UsageError(f"nodes of {units} read from {name}", hint="awrecipe units set UNIT data_server=") from None


def find_data_server(name: str) -> CachingDataServer:
    """Return the caching data server of that name, or raise NotFound."""
    found = CachingDataServer.objects.filter(name=name).first()
    if found is None:
        names = ", ".join(CachingDataServer.objects.order_by("name").values_list("name", flat=True))
        raise NotFound(f"there is no data server {name!r}", hint=f"there are: {names or 'none yet'}")
    return found


def look(data_server: CachingDataServer) -> tuple[bool, str]:
    """Ask a caching data server how it is; return whether all is well, and what it is or how to mend it."""
    try:
        with opener().open(f"{data_server.address}/health", timeout=_LOOK_SECONDS) as answer:
            said = json.loads(answer.read(65536))
    except urllib.error.HTTPError as error:
        with error:
            return False, f"it answered {error.code}: its disk may be full"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or reason
        return False, f"it does not answer: {words}; is it up, is the address right?"
    if not isinstance(said, dict) or said.get("peer") != data_server.peer:
        return False, "it holds another key than the one it was registered with: give it the last key file"
    if said.get("upstream") != "answers":
        return False, f"it does not reach the portal's data server: {str(said.get('upstream'))[:200]}"
    return True, "it answers, and reaches the portal's data server"


def look_at_each(data_servers: Iterable[CachingDataServer]) -> list[tuple[bool, str]]:
    """Ask all of them at once: one that is away is waited for, but not one by one."""
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as asking:
        return list(asking.map(look, data_servers))


def note_trouble() -> int:
    """Ask those that units name how they are and keep it, for pages and reasons; return of how many it has changed."""
    found = list(CachingDataServer.objects.filter(units__isnull=False).distinct())
    changed = 0
    for each, (is_well, says) in zip(found, look_at_each(found), strict=True):
        trouble = "" if is_well else says[:300]
        if trouble == each.trouble:
            continue
        since = None if is_well else each.trouble_since or Now()
        changed += CachingDataServer.objects.filter(pk=each.pk).update(trouble=trouble, trouble_since=since)
        log.warning("caching data server %s: %s", each.name, trouble or "all is well again")
    return changed


_seen_registered: dict[str, float] = {}


def is_registered(peer: str) -> bool:
    """Whether the portal's data server takes links through this caching one.

    One that was registered some seconds ago is not asked for again, and counts while the database is away.
    """
    seen = _seen_registered.get(peer, -math.inf)
    if time.monotonic() - seen < _KNOWN_SECONDS:
        return True
    try:
        registered = CachingDataServer.objects.filter(peer=peer).exists()
    except DatabaseError:
        return peer in _seen_registered
    finally:
        if not connection.in_atomic_block:
            connection.close()  # no request of Django's does it for us
    if registered:
        _seen_registered[peer] = time.monotonic()
    else:
        _seen_registered.pop(peer, None)
    return registered


def _checked_address(address: str) -> str:
    address = address.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        is_good = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        is_good = False
    if not is_good or len(address) > 200 or not address.isprintable() or any(mark in address for mark in "?#@ "):
        raise UsageError(
            f"{address[:80]!r} is no address of a data server", hint="write it like https://cache.example.org:8001"
        )
    return address
