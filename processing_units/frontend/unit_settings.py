"""What a unit can be told on the fly, how each value is written, and the one function that changes it.

The web page, ``awrecipe units set`` and ``manage.py unit set`` all bring texts; a text that :func:`shown` gives can be
typed again. A change holds from the next claim on: the claim reads the unit's row anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from archive.audit import Subject, Told, record_all
from archive.models import Profile
from processing_units.backend.catalogue import all_kinds
from processing_units.backend.kind import SettingsError, settings_of
from processing_units.frontend.data_servers import find_data_server
from processing_units.frontend.locking import lock_unit
from processing_units.frontend.models import CachingDataServer, ProcessingUnit
from processing_units.frontend.refusals import NotFound
from processing_units.frontend.unit_defaults import read_defaults, set_defaults, shown_defaults
from recipes.catalogue import all_recipes
from recipes.errors import UsageError

_MOST_SLOTS = 100_000
_LEAST_MEMORY_MIB, _MOST_MEMORY_MIB = 64, 64 * 1024 * 1024
_LONGEST_WALL_SECONDS = 366 * 24 * 3600
_MEMORY = re.compile(r"(\d+(?:\.\d+)?) *(m|g|t)?i?b?", re.IGNORECASE)
_TIME = re.compile(r"(?:(\d+) *d)? *(?:(\d+) *h)? *(?:(\d+) *m(?:in)?)? *(?:(\d+) *s?)?", re.IGNORECASE)
_YES, _NO = {"yes", "true", "on", "1"}, {"no", "false", "off", "0"}


@dataclass(frozen=True)
class Setting:
    """One thing that can be set: how it is called, read from a text and shown as one, and who may set it."""

    name: str
    help: str
    read: Callable[[str], Any]
    show: Callable[[Any], str]
    column: str = ""  # of the unit's row; "" for what is kept elsewhere
    by_owner: bool = True  # also by the user who brought the unit
    on_server_only: bool = False  # what goes with programs that are started there


@dataclass(frozen=True)
class Changed:
    """One change that was made."""

    setting: str
    before: str
    after: str


def shown(unit: ProcessingUnit) -> dict[str, str]:
    """Return all settings of a unit as they would be typed."""
    return {setting.name: _text_of(unit, setting) for setting in SETTINGS.values()}


def apply_changes(
    unit: ProcessingUnit, changes: Mapping[str, str], *, by: User | None, who: str, on_server: bool = False
) -> list[Changed]:
    """Change settings of a unit, all or none, and write down who changed what from what to what and when.

    Parameters
    ----------
    unit : ProcessingUnit
        The caller has checked that this user may change it; brought up to date.
    changes : mapping
        Texts by the setting's name; what is as it was is no change.
    by, who
        The user, and how they are called in the history (on the server there may be no user).
    on_server : bool
        Whether host, port and the like may be changed, which go with programs started by hand.

    Raises
    ------
    UsageError
        An unknown setting or a value that cannot be; names the setting and says what would do. Nothing is changed.
    """
    values = {name: (setting_of(name, on_server), text.strip()) for name, text in changes.items()}
    read = {name: _read(setting, text) for name, (setting, text) in values.items()}
    with transaction.atomic():
        row = lock_unit(unit.pk)
        made = []
        for name, (setting, _) in values.items():
            before = _text_of(row, setting)
            if setting.column:
                setattr(row, setting.column, read[name])
            else:
                set_defaults(
                    row,
                    read[name],
                    lambda other, was, now: note_changes(other, [Changed("default", was, now)], by, who),
                )
            after = _text_of(row, setting)
            if after != before:
                made.append(Changed(name, before, after))
        if not {"kind", "kind_settings"}.isdisjoint(values):
            _check_kind(row)
        columns = [setting.column for setting, _ in values.values() if setting.column]
        if columns:
            row.save(update_fields=columns)
        note_changes(row, made, by, who)
    unit.refresh_from_db()
    return made


def setting_of(name: str, on_server: bool = False) -> Setting:
    """Return the setting of that name, or raise UsageError with the names there are."""
    setting = SETTINGS.get(name.strip().lower().replace("-", "_"))
    if setting is None or (setting.on_server_only and not on_server):
        if setting is not None:
            raise UsageError(
                f"{name} goes with programs that are started on the server",
                hint="an administrator changes it there: manage.py unit set",
            )
        names = ", ".join(each.name for each in SETTINGS.values() if on_server or not each.on_server_only)
        raise UsageError(f"a unit has no setting {name!r}", hint=f"the settings are: {names}")
    return setting


def note_changes(unit: ProcessingUnit, made: list[Changed], by: User | None, who: str) -> None:
    """Write down who changed what of a unit."""
    told = (Told(Subject.UNIT, unit.pk, unit.name, each.setting, each.before, each.after) for each in made)
    record_all(by, told, who)


def _check_kind(unit: ProcessingUnit) -> None:
    """See that there is such a kind, and that it understands its settings: only its backend would tell, later."""
    kind = all_kinds().get(unit.kind)
    if kind is None:
        raise UsageError(f"kind: there is no kind {unit.kind!r}", hint=f"the kinds are: {', '.join(all_kinds())}")
    try:
        settings_of(kind, unit.kind_settings)
    except SettingsError as error:
        raise UsageError(f"kind_settings: {error}") from None


def _text_of(unit: ProcessingUnit, setting: Setting) -> str:
    return setting.show(getattr(unit, setting.column)) if setting.column else shown_defaults(unit)


def _read(setting: Setting, text: str) -> Any:
    try:
        return setting.read(text)
    except _Wrong as wrong:
        raise UsageError(f"{setting.name}: {wrong}", hint=setting.help) from None
    except UsageError as wrong:
        raise UsageError(f"{setting.name}: {wrong.message}", hint=wrong.hint or setting.help) from None


# ----------------------------------------------------------------------------------------- how values are written


class _Wrong(ValueError):
    """A text that is no value of the setting."""


def _read_yes_no(text: str) -> bool:
    if text.lower() not in _YES | _NO:
        raise _Wrong(f"{text!r} is neither yes nor no")
    return text.lower() in _YES


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or len(text) > 12 or not lowest <= int(text) <= highest:
            raise _Wrong(f"{text!r} is no whole number from {lowest} to {highest}")
        return int(text)

    return read


def _line(longest: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > longest or not text.isprintable():
            raise _Wrong(f"at most {longest} characters of one line, these are {len(text)}")
        return text

    return read


def _read_memory(text: str) -> int:
    """Return MiB: ``4096``, ``4096 MiB`` or ``4G``."""
    match = _MEMORY.fullmatch(text)
    scale = {"m": 1, "g": 1024, "t": 1024**2}
    mib = float(match[1]) * scale[(match[2] or "m").lower()] if match else -1
    if not _LEAST_MEMORY_MIB <= mib <= _MOST_MEMORY_MIB:
        raise _Wrong(f"{text!r} is no memory from {_LEAST_MEMORY_MIB} MiB on, such as 4096 or 4G")
    return int(mib)


def _read_time(text: str) -> int:
    """Return seconds: ``3600``, ``90m`` or ``1h30m``."""
    match = _TIME.fullmatch(text) if text and len(text) < 40 else None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not 1 <= total <= _LONGEST_WALL_SECONDS:
        raise _Wrong(f"{text!r} is no time from a second to a year, such as 3600, 90m or 1h30m")
    return total


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _read_recipes(text: str) -> list[str]:
    names = _words(text)
    unknown = next((name for name in names if name not in all_recipes()), None)
    if unknown is not None:
        raise UsageError(f"there is no recipe {unknown!r}", hint=f"the recipes are: {', '.join(all_recipes())}")
    return names


def _read_user_types(text: str) -> list[int]:
    wrong = next((word for word in _words(text) if word not in {str(kind.value) for kind in Profile.UserType}), None)
    if wrong is not None:
        raise _Wrong(f"user type {wrong!r} is none of 1, 2, 3, 4")
    return sorted(int(word) for word in _words(text))


def _read_owner(text: str) -> User | None:
    if not text:
        return None
    found = User.objects.filter(username=text).first()
    if found is None:
        raise NotFound(f"there is no user {text!r}")
    return found


def _read_data_server(text: str) -> CachingDataServer | None:
    return find_data_server(text) if text else None


def _read_json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError) as problem:
        raise _Wrong(f"this is no JSON: {problem}") from None
    if not isinstance(value, dict):
        raise _Wrong("a JSON object is wanted, in braces")
    return value


def _show_json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""


def _commas(values: list[Any]) -> str:
    return ",".join(str(value) for value in values)


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("accepting", "yes, or no to drain: what runs ends, what waits goes on waiting, nothing is begun",
                _read_yes_no, lambda value: "yes" if value else "no", "accepting"),
        Setting("slots", "how many jobs run at a time, over all its cluster managers; 0: as many as they bring",
                _whole(0, _MOST_SLOTS), str, "slots"),
        Setting("recipes", "names with commas; empty allows all", _read_recipes, _commas, "recipes_allowed"),
        Setting("user_types", "of 1 to 4, with commas; empty allows all",
                _read_user_types, _commas, "user_types_allowed", by_owner=False),
        Setting("memory", "of a job and all its processes: 4096 (MiB) or 4G", _read_memory, str, "memory_mib"),
        Setting("walltime", "of a job: 3600 (seconds), 90m or 1h30m", _read_time, str, "wall_seconds"),
        Setting("alias", "how people call it", _line(100), str, "alias"),
        Setting("default", "for whom it is the unit when they name none: RECIPE, RECIPE:USERTYPE, *:USERTYPE or *, "
                "with commas", read_defaults, str, by_owner=False),
        Setting("owner", "a user whose jobs alone it runs, with results in MyDB; empty: open to all",
                _read_owner, lambda value: value.get_username() if value else "", "owner", by_owner=False),
        Setting("data_server", "name of the caching data server its nodes read from; empty: the portal's own",
                _read_data_server, lambda value: value.name if value else "", "data_server", by_owner=False),
        Setting("cluster_managers", "how many its backend keeps up",
                _whole(0, _MOST_SLOTS), str, "cluster_managers_wanted", by_owner=False),
        Setting("kind_settings", "what its kind of backend needs to know, as JSON: {\"niceness\": 5}",
                _read_json, _show_json, "kind_settings", by_owner=False),
        Setting("kind", "how its backend brings cluster managers up", _line(20), str, "kind",
                by_owner=False, on_server_only=True),
        Setting("host", "where its frontend listens", _line(200), str, "host", by_owner=False, on_server_only=True),
        Setting("port", "where its frontend listens", _whole(1, 65535), str, "port",
                by_owner=False, on_server_only=True),
    )
}  # fmt: skip
