"""The plots of a product's page: what its recipe declares, residuals over chip or field, profiles of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from awportal.pictures.charts import Chart, curve_chart, profile_chart
from awportal.pictures.maps import arrow_map, coloured_map
from awportal.pictures.tables import Table

# Columns of places, and how the axes are called: on the chip, or on the field around the pointing.
_PLACES = (("X_IMAGE", "Y_IMAGE"), ("XI", "ETA"))
# Columns that a model tells of another one, drawn as a line through its points: the line of a photon transfer.
_FITS = {"VARIANCE": "FIT"}

Titled = tuple[str, Chart]


def plots_of(table: Table, declared: Sequence[str]) -> list[Titled]:
    """Return maps of residuals, then the plots that the recipe declares: names of two columns, a blank between."""
    numbers = {name: values for name in table.columns if (values := table.numbers(name)) is not None}
    units = dict(zip(table.columns, table.units, strict=True))
    labels = {name: f"{name} [{units[name]}]" if units[name] else name for name in numbers}
    plots = _maps(numbers, labels, units)
    for pair in (plot.split() for plot in declared):
        if len(pair) == 2 and set(pair) <= set(numbers):
            x, y = (list(numbers[name]) for name in pair)
            fit = numbers.get(_FITS.get(pair[1], ""))
            chart = curve_chart(x, y, labels[pair[0]], labels[pair[1]], [] if fit is None else list(fit))
            if chart:
                plots.append((f"{pair[1]} against {pair[0]}", chart))
    return plots


def _maps(numbers: Mapping[str, Any], labels: Mapping[str, str], units: Mapping[str, str]) -> list[Titled]:
    chart: Chart | None = None
    if {"X_IMAGE", "Y_IMAGE", "DRA", "DDEC"} <= set(numbers):
        columns = [list(numbers[name]) for name in ("X_IMAGE", "Y_IMAGE", "DRA", "DDEC")]
        chart = arrow_map(*columns, (labels["X_IMAGE"], labels["Y_IMAGE"], units["DRA"]))
        return [("Residuals over the chip: right is +RA, up is +Dec", chart)] if chart else []
    for x, y in _PLACES:
        if {x, y, "RESIDUAL"} <= set(numbers):
            columns = [list(numbers[name]) for name in (x, y, "RESIDUAL")]
            chart = coloured_map(*columns, (labels[x], labels[y], units["RESIDUAL"]))
            where = "field (east is right)" if x == "XI" else "chip"
            return [(f"Residuals over the {where}", chart)] if chart else []
    return []


def profiles_of(facts: Mapping[str, Any]) -> list[Titled]:
    """Return the medians of a frame's columns and of its rows along it."""
    factor, unit = int(facts.get("factor", 1)), str(facts.get("unit", ""))
    label = f"median [{unit}]" if unit else "median"
    charts = (
        ("Columns", profile_chart(facts.get("by_column", []), factor, "column [pixel]", label)),
        ("Rows", profile_chart(facts.get("by_row", []), factor, "row [pixel]", label)),
    )
    return [(title, chart) for title, chart in charts if chart]
