"""The processing machines registered in a unit of a kind that has hosts: one function behind page, command and API.

They are kept in the settings of the unit's kind, where its backend reads them: what is changed holds within seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from pydantic import ValidationError

from archive.context import Context
from processing_units.backend.lan_host import LanHost
from processing_units.frontend.backends import SILENT_SECONDS
from processing_units.frontend.locking import lock_unit
from processing_units.frontend.models import BackendState, ProcessingUnit
from processing_units.frontend.permissions import manages_units
from processing_units.frontend.refusals import NotAllowed, NotFound
from processing_units.frontend.unit_settings import Changed, note_changes
from processing_units.wording import first_fault
from recipes.errors import UsageError

KINDS = ("lan",)
# What can be registered of a machine, and what it means; its name is how it is called.
FIELDS: dict[str, str] = {
    name: field.description or name for name, field in LanHost.model_fields.items() if name != "name"
}
_MOST_MACHINES = 1000


def usual() -> dict[str, str]:
    """Return what holds of a machine where nothing else is registered, as it would be typed."""
    return {**_texts(LanHost(host="any")), "host": ""}


def machines_of(unit: ProcessingUnit, context: Context) -> dict[str, dict[str, str]]:
    """Return the machines of a unit by name, with what is registered of each as it would be typed."""
    _require(unit, context)
    return {host.title: _texts(host) for host in _hosts(unit)}


def standing_of(unit: ProcessingUnit) -> dict[str, str]:
    """Return by machine the state of its cluster manager as the backend told it last: a `PlaceState`, away, or "".

    "away" is said of all while nothing is heard of the backend.
    """
    told = BackendState.objects.filter(unit=unit).annotate(now=Now()).first()
    if told is None or told.now - told.seen_at > timedelta(seconds=SILENT_SECONDS):
        return {host.title: "away" for host in _hosts(unit)}
    by_node = {place["node"]: str(place["state"]) for place in told.places if place["handle"]}
    return {host.title: by_node.get(host.host, "") for host in _hosts(unit)}


def change_machine(
    unit: ProcessingUnit, name: str, changes: Mapping[str, str], context: Context, *, new: bool | None = None
) -> list[Changed]:
    """Register a machine, or change what is registered of it; write down who changed what, from what to what and when.

    Parameters
    ----------
    unit : ProcessingUnit
        Brought up to date.
    name : str
        How the machine is called.
    changes : mapping
        Texts by field (`FIELDS`).
    context : Context
        Of a process manager.
    new : bool, optional
        Whether it must be a new name, or one that is registered; None takes both.

    Raises
    ------
    NotAllowed
        The user manages no units.
    UsageError
        The unit is of another kind, or a field or value cannot be; names the field. Nothing is changed.
    """
    user = _require(unit, context)
    with transaction.atomic():
        row = lock_unit(unit.pk)
        hosts = _hosts(row)
        mine = [position for position, host in enumerate(hosts) if host.title == name]
        if new is not None and new == bool(mine):
            raise UsageError(f"machine {name!r} is {'' if mine else 'not '}registered in unit {unit.name}")
        if not mine and len(hosts) >= _MOST_MACHINES:
            raise UsageError(f"unit {unit.name} has {_MOST_MACHINES} machines already")
        before = _texts(hosts[mine[0]]) if mine else {}
        machine = _read(name, {**before, **changes})
        for position in mine:
            hosts[position] = machine
        _keep(row, hosts if mine else [*hosts, machine])
        after = _texts(machine)
        was = before or usual()
        changed = [key for key in after if was[key] != after[key]]
        made = [Changed(f"machine {name}"[:40], _line(before, changed), _line(after, changed))] if changed else []
        note_changes(row, made, user, user.get_username())
    unit.refresh_from_db()
    return made


def remove_machine(unit: ProcessingUnit, name: str, context: Context) -> None:
    """Take a machine off: its cluster manager drains, and its data folder is cleaned by the backend."""
    user = _require(unit, context)
    with transaction.atomic():
        row = lock_unit(unit.pk)
        hosts = _hosts(row)
        gone = [host for host in hosts if host.title == name]
        if not gone:
            raise NotFound(f"machine {name!r} is not registered in unit {unit.name}")
        _keep(row, [host for host in hosts if host.title != name])
        known, default = _texts(gone[0]), usual()
        before = _line(known, [key for key in FIELDS if known[key] != default[key]])
        note_changes(row, [Changed(f"machine {name}"[:40], before, "")], user, user.get_username())
    unit.refresh_from_db()


def _require(unit: ProcessingUnit, context: Context) -> User:
    if not manages_units(context) or context.user is None:
        raise NotAllowed("machines are registered by process managers", hint="ask one")
    if unit.kind not in KINDS:
        raise UsageError(
            f"unit {unit.name} is of kind {unit.kind}, which has no machines of its own",
            hint=f"machines are registered in units of kind {' or '.join(KINDS)}",
        )
    return context.user


def _hosts(unit: ProcessingUnit) -> list[LanHost]:
    found = unit.kind_settings.get("hosts", [])
    try:
        return [LanHost.model_validate(host) for host in found]
    except ValidationError as error:
        raise UsageError(
            f"kind_settings: hosts: {first_fault(error)}", hint=f"mend it: awrecipe units set {unit.name}"
        ) from None


def _read(name: str, texts: Mapping[str, str]) -> LanHost:
    unknown = next((key for key in texts if key not in FIELDS), None)
    if unknown is not None:
        raise UsageError(f"{unknown}: nothing of a machine is called so", hint=f"what there is: {', '.join(FIELDS)}")
    given = {key: text.strip() for key, text in texts.items()}
    if not given.get("host"):
        raise UsageError("host: a machine needs a name or address to which ssh connects")
    required = {key for key, field in LanHost.model_fields.items() if field.is_required()}
    # An empty text takes a field back to its default.
    wanted: dict[str, Any] = {key: text for key, text in given.items() if text or key in required}
    try:
        return LanHost.model_validate({"name": name, **wanted})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = str(first["loc"][0]) if first["loc"] else ""  # the field of the form, whatever of it is wrong
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{where}: {message}" if where else message, hint=FIELDS.get(where, "")) from None


def _keep(unit: ProcessingUnit, hosts: list[LanHost]) -> None:
    kept = [host.model_dump(mode="json", exclude_defaults=True) for host in hosts]
    unit.kind_settings = {**unit.kind_settings, "hosts": kept}
    unit.save(update_fields=["kind_settings"])


def _texts(host: LanHost) -> dict[str, str]:
    return {name: _text(getattr(host, name)) for name in FIELDS}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, int) and value >= 1 << 20:
        scale = next(scale for scale in (30, 20, 0) if value % (1 << scale) == 0)
        return f"{value >> scale}{ {30: 'G', 20: 'M', 0: ''}[scale] }"
    return str(value)


def _line(texts: Mapping[str, str], keys: list[str]) -> str:
    return " ".join(f"{key}={texts[key]}" for key in keys if texts.get(key))
