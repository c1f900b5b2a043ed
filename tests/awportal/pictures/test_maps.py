"""Plots tell what the table holds: arrows as long as the residuals, colours by sign, chips in their own proportions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from awportal.pictures.charts import curve_chart, profile_chart
from awportal.pictures.maps import arrow_map, coloured_map
from awportal.pictures.preview import measure
from awportal.pictures.shrink import SmallFrame
from awportal.pictures.tables import Table
from awportal.product_plots import plots_of, profiles_of

LABELS = ("x", "y", "arcsec")


def table(**columns: list[float]) -> Table:
    """Return a table of these columns, all in adu."""
    values = {name: np.array(column) for name, column in columns.items()}
    return Table("T", len(next(iter(columns.values()))), list(columns), ["adu"] * len(columns), values)


def test_arrows_are_as_long_as_residuals_and_up_is_up() -> None:
    chart = arrow_map([0, 100, 50], [0, 200, math.nan], [0.1, 0.0, 9.0], [0.0, 0.1, 9.0], LABELS)
    assert chart is not None
    assert chart.key is not None
    right, up = chart.arrows  # the one without a place is left out
    length = chart.key.to_x - chart.key.x
    assert chart.key.title == "0.1 arcsec"
    assert (right.to_x - right.x, right.to_y) == (pytest.approx(length, abs=0.1), pytest.approx(right.y, abs=0.1))
    assert (up.y - up.to_y, up.to_x) == (pytest.approx(length, abs=0.1), pytest.approx(up.x, abs=0.1))
    # A chip twice as high as wide is drawn so.
    assert (right.y - up.y) / (up.x - right.x) == pytest.approx(2, abs=0.01)


def test_colours_tell_the_sign_and_the_size() -> None:
    chart = coloured_map([0, 1, 2, 3], [0, 1, 2, 3], [-0.1, -0.001, 0.001, 0.1], LABELS)
    assert chart is not None
    assert chart.scale_ends == ("−0.1", "+0.1 arcsec")
    colours = [dot.colour for dot in chart.dots]
    assert colours[0] == chart.scale[0].colour
    assert colours[1] == colours[2] == chart.scale[3].colour
    assert colours[3] == chart.scale[-1].colour


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [1.0]])
def test_too_little_is_no_plot(values: list[float]) -> None:
    zeros = [0.0] * len(values)
    assert arrow_map(zeros, zeros, values, zeros, LABELS) is None
    assert coloured_map(zeros, zeros, values, LABELS) is None
    assert profile_chart(values, 1, "x", "y") is None


def test_residuals_of_nothing_are_drawn_as_nothing() -> None:
    assert arrow_map([0, 1], [0, 1], [0, 0], [0, 0], LABELS) is not None
    assert coloured_map([5, 5], [5, 5], [0, 0], LABELS) is not None


def test_a_table_gets_its_map_and_the_plots_it_declares() -> None:
    three = [1.0, 2.0, 3.0]
    astrometry = plots_of(table(X_IMAGE=three, Y_IMAGE=three, DRA=three, DDEC=three), ["X_IMAGE DRA", "NO SUCH", "DRA"])
    assert [title for title, _ in astrometry] == [
        "Residuals over the chip: right is +RA, up is +Dec",
        "DRA against X_IMAGE",
    ]
    field = plots_of(table(XI=three, ETA=three, RESIDUAL=three), [])
    assert [title for title, _ in field] == ["Residuals over the field (east is right)"]
    ((title, transfer),) = plots_of(table(SIGNAL=three, VARIANCE=three, FIT=three), ["SIGNAL VARIANCE"])
    assert title == "VARIANCE against SIGNAL"
    assert transfer.path.count("L") == 2


def test_a_fit_is_a_line_through_its_points() -> None:
    chart = curve_chart([2, 1, 3], [20, 10, 30], "x", "y", [21, 11, math.nan])
    assert chart is not None
    begin, end = (tuple(map(float, place.split(","))) for place in chart.path[1:].split("L"))
    assert begin[0] == pytest.approx(chart.dots[1].x)
    assert end[0] == pytest.approx(chart.dots[0].x)
    assert end[1] < begin[1] < chart.dots[1].y  # above the points, by one


def test_profiles_are_medians_along_the_frame_with_holes() -> None:
    image = np.outer(np.arange(1, 41), np.ones(30)).astype(np.float32)
    image[:, 7] = np.nan
    image[12, :5] = 9999  # a star moves no median
    facts = measure(SmallFrame(image, None, 4, (160, 120), image[np.isfinite(image)]))
    assert facts.by_column[7] is None
    assert facts.by_column[8] == 20.5
    assert facts.by_row[12] == 13
    (_, columns), (_, rows) = profiles_of(facts.as_json())
    assert columns.path.count("M") == 2  # a hole in the frame is a hole in the line
    assert rows.path.count("M") == 1
