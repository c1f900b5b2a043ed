"""Change a unit on behalf of a user: a process manager everything, the user who brought it what is theirs to say."""

from __future__ import annotations

from collections.abc import Mapping

from archive.context import Context
from processing_units.frontend.data_server_changes import require_well
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.permissions import manages_units, require_management_of_unit
from processing_units.frontend.refusals import NotAllowed
from processing_units.frontend.unit_settings import SETTINGS, Changed, Setting, apply_changes, setting_of


def settings_for(unit: ProcessingUnit, context: Context) -> list[Setting]:
    """Return the settings of the unit that this context may change through the portal."""
    everything = manages_units(context)
    return [each for each in SETTINGS.values() if not each.on_server_only and (everything or each.by_owner)]


def change_unit(unit: ProcessingUnit, changes: Mapping[str, str], context: Context) -> list[Changed]:
    """Change settings of a unit; see :func:`processing_units.frontend.unit_settings.apply_changes`.

    Raises
    ------
    NotAllowed
        The unit, or this setting of it, is not this user's to change.
    UsageError
        A setting or value that cannot be, or a data server that does not serve.
    """
    require_management_of_unit(unit, context)
    user = context.user
    assert user is not None  # noqa: S101 - nobody manages nothing; said for the type checker
    allowed = {setting.name for setting in settings_for(unit, context)}
    given = {setting_of(name).name: text for name, text in changes.items()}
    for name in given:
        if name not in allowed:
            raise NotAllowed(f"{name}: only a process manager changes this of unit {unit.name}", hint="ask one")
    data_server = given.get("data_server", "").strip()
    if data_server and data_server != (unit.data_server.name if unit.data_server else ""):
        require_well(data_server)  # before anything is locked: it may take seconds
    return apply_changes(unit, given, by=user, who=user.get_username())
