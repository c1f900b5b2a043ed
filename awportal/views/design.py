"""Every component of the one stylesheet with its states, made of the same parts as the pages."""

from __future__ import annotations

import math

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from awportal.pictures.charts import curve_chart, histogram_chart, trend_chart
from awportal.run_page import bar_of
from awportal.templatetags.portal import SIGNS
from processing_units.contract import JobState

_LOG = "20:00:00.000 reading 10 frames\n20:00:01.200 sky 1210 ± 3 adu\nUsageError: fewer than three frames are left\n"
_DIFFERENCES = (
    "--- standard/recipes/bias.py\n+++ yours/recipes/bias.py\n@@ -12 +12 @@\n-sigma_clip = 3.0\n+sigma_clip = 4.5\n"
)
_SCRIPT = "for chip in chips:\n    run('Bias', frames(chip=chip)\n"


class SampleForm(forms.Form):
    """A field of each sort; one is wrong."""

    name = forms.CharField(initial="first night", help_text="what it is for")
    sigma = forms.FloatField(min_value=1, help_text="larger than 1")
    chip = forms.ChoiceField(choices=[("", "all"), ("ccd1", "ccd1"), ("ccd2", "ccd2")], required=False)
    file = forms.FileField(required=False)
    remark = forms.CharField(widget=forms.Textarea(attrs={"rows": 2}), required=False)
    locked = forms.CharField(required=False, disabled=True, initial="cannot be changed here")


def _graph() -> dict[str, object]:
    """Return two boxes with a line between, as `lineage_graph.py` places them."""
    boxes = [("RawBias", "frame 1", 8, False), ("BiasFrame", "this product", 228, True)]
    return {
        "width": 404,
        "height": 56,
        "paths": ["M176,28C202,28 202,28 228,28"],
        "boxes": [
            {"link": "#lineage", "title": title, "subtitle": subtitle, "x": x, "y": 8, "text_x": x + 10, "this": this}
            for title, subtitle, x, this in boxes
        ],
    }


@require_safe
def design(request: HttpRequest) -> HttpResponse:
    """Show the components; there are no data on this page."""
    counts = [
        {JobState.DONE: 4, JobState.RUNNING: 2, JobState.FAILED: 1, JobState.CANCELLED: 1, JobState.QUEUED: 2},
        {JobState.QUEUED: 3},
        {JobState.DONE: 10},
    ]
    phases = [number / 20 for number in range(40)]
    answer = {
        "states": list(SIGNS),
        "bars": [(bar_of(each), each) for each in counts],
        "form": SampleForm({"name": "first night", "sigma": "0", "chip": "ccd1", "remark": ""}),
        "histogram": histogram_chart(
            [int(900 * math.exp(-((number - 20) ** 2) / 60)) for number in range(40)],
            [float(980 + number) for number in range(41)], "adu", 990.0, 1012.0,
        ),
        "trend": trend_chart(
            [(float(day), f"night {day}", "", day == 9) for day in range(1, 10)], "read_noise [adu]", 3.0, 9.5
        ),
        "curve": curve_chart(phases, [math.sin(6 * phase) for phase in phases], "exposure [s]", "residual [%]"),
        "graph": _graph(),
        "log": _LOG,
        "differences": _DIFFERENCES,
        "script": _SCRIPT,
        "page": {"number": 2, "has_next": True},
        "now": "2026-03-14T20:15:30+00:00",
    }  # fmt: skip
    return render(request, "design.html", answer)
