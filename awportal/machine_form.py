"""The form of a processing machine, made from what can be registered of one."""

from __future__ import annotations

from collections.abc import Mapping

from django import forms

from processing_units.frontend.unit_machines import FIELDS, usual
from recipes.errors import UsageError

_LABELS = {
    "gpus": "GPUs",
    "remote_path": "Software folder",
    "python": "Path of the Python",
    "system_python": "The Python has all",
    "through": "Reached through",
    "data_folder": "Data folder",
    "data_bytes": "Bound of its inputs",
    "owner": "Owner of its folders",
}
_CHOICES = {
    "system_python": [("no", "no: install what is needed"), ("yes", "yes")],
    "through": [("tunnels", "tunnels in the ssh connection"), ("session", "one ssh session, files by sftp")],
}


class MachineForm(forms.Form):
    """Name of a machine, and a field for each thing that is registered of it."""

    name = forms.CharField(max_length=200, help_text="How it is called; another name registers another machine.")

    def __init__(self, data: Mapping[str, str] | None = None, initial: Mapping[str, str] | None = None) -> None:
        super().__init__(data, initial=dict(initial or {}))
        default = usual()
        for name, help_text in FIELDS.items():
            label = _LABELS.get(name, name.capitalize())
            text = f"{help_text[0].upper()}{help_text[1:]}."
            if name in _CHOICES:
                self.fields[name] = forms.ChoiceField(
                    choices=_CHOICES[name], required=False, label=label, help_text=text
                )
            else:
                # What holds where nothing is typed is seen in its place.
                widget = forms.TextInput({"placeholder": default[name]})
                self.fields[name] = forms.CharField(
                    max_length=300, required=False, label=label, help_text=text, widget=widget
                )

    def wanted(self) -> dict[str, str]:
        """Return the fields that were sent."""
        return {name: str(self.cleaned_data[name]) for name in FIELDS if name in self.data}

    def blame(self, problem: UsageError) -> None:
        """Put what was refused beside its field."""
        name, colon, message = problem.message.partition(": ")
        field = name if colon and name in self.fields else None
        self.add_error(field, message if field else problem.message)
