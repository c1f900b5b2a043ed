"""The form of a unit's settings, made from the table of settings: one field each, its text as it would be typed."""

from __future__ import annotations

from django import forms

from archive.context import Context
from processing_units.frontend.models import CachingDataServer, ProcessingUnit
from processing_units.frontend.unit_changes import settings_for
from processing_units.frontend.unit_settings import shown
from recipes.errors import UsageError

_LABELS = {
    "accepting": "Accepts jobs",
    "recipes": "Recipes allowed",
    "user_types": "User types allowed",
    "memory": "Memory a job, MiB",
    "walltime": "Time a job, s",
    "default": "Default unit for",
    "data_server": "Data server",
    "cluster_managers": "Cluster managers",
    "kind_settings": "Settings of its kind",
}
_LONG = {"recipes", "kind_settings", "default"}


class UnitForm(forms.Form):
    """What this user may change of a unit."""

    def __init__(self, unit: ProcessingUnit, context: Context, data: dict[str, str] | None = None) -> None:
        now = shown(unit)
        super().__init__(data, initial=now)
        for setting in settings_for(unit, context):
            common = {
                "required": False,
                "label": _LABELS.get(setting.name, setting.name.capitalize()),
                "help_text": f"{setting.help[0].upper()}{setting.help[1:]}.",
            }
            if setting.name == "accepting":
                choices = [("yes", "yes"), ("no", "no: drain")]
                self.fields[setting.name] = forms.ChoiceField(choices=choices, **common)
            elif setting.name == "data_server":
                known = CachingDataServer.objects.order_by("name").values_list("name", "address")
                choices = [("", "the portal's own"), *((name, f"{name}: {address}") for name, address in known)]
                self.fields[setting.name] = forms.ChoiceField(choices=choices, **common)
            else:
                widget = forms.Textarea({"rows": 2}) if setting.name in _LONG else forms.TextInput
                self.fields[setting.name] = forms.CharField(max_length=20_000, widget=widget, **common)

    def wanted(self) -> dict[str, str]:
        """Return the fields that were sent: a button may send one of them alone."""
        return {name: str(self.cleaned_data[name]) for name in self.fields if name in self.data}

    def blame(self, problem: UsageError) -> None:
        """Put what the unit refused beside its field."""
        name, colon, message = problem.message.partition(": ")
        field = name if colon and name in self.fields else None
        text = message if field else problem.message
        self.add_error(field, f"{text} ({problem.hint})" if problem.hint else text)
