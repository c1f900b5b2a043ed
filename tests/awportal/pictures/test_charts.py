"""Plots put values where their axes say."""

from __future__ import annotations

from awportal.command_line import run_line
from awportal.numpydoc_html import inline, sections
from awportal.pictures.charts import curve_chart, histogram_chart, trend_chart


def test_limits_are_lines_and_the_one_in_question_is_marked() -> None:
    points = [(1.0, "a", "/a", False), (2.0, "b", "/b", True), (9.0, "c", "/c", False)]
    chart = trend_chart(points, "stdev [adu]", None, 5.0)
    assert chart is not None
    assert [dot.this for dot in chart.dots] == [False, True, False]
    assert [dot.out for dot in chart.dots] == [False, False, True]
    limit = chart.limits[0]
    assert limit.label == "limit 5"
    assert chart.dots[1].y > limit.place > chart.dots[2].y, "y runs down"


def test_a_limit_far_away_does_not_flatten_the_points() -> None:
    chart = trend_chart([(1.0, "", "", False), (1.1, "", "", False)], "v", None, 1e6)
    assert chart is not None
    assert chart.limits == []


def test_one_point_is_no_history() -> None:
    assert trend_chart([(1.0, "", "", True)], "v", None, None) is None


def test_ticks_are_round_numbers_at_their_places() -> None:
    chart = curve_chart([0.0, 10.0], [0.0, 50_000.0], "time [s]", "level [adu]")
    assert chart is not None
    assert "20 000" in [tick.label for tick in chart.y_ticks]
    first, last = chart.dots
    ticks = {tick.label: tick.place for tick in chart.x_ticks}
    assert abs(ticks["0"] - first.x) < 0.1
    assert abs(ticks["10"] - last.x) < 0.1


def test_a_histogram_spans_its_edges() -> None:
    chart = histogram_chart([1, 100, 10], [0.0, 1.0, 2.0, 3.0], "adu", 0.5, 9.0)
    assert chart is not None
    assert chart.x_label == "pixel value [adu]"
    assert [mark.label for mark in chart.marks] == ["black"]
    assert histogram_chart([], [], "", 0, 1) is None


def test_a_docstring_becomes_escaped_html() -> None:
    text = "Do it.\n\nParameters\n----------\nframe : Frame\n    A <b>frame</b> [adu].\n\n"
    text += "Notes\n-----\nAs :math:`\\sigma_{RN}^2 / N`."
    first, parameters, notes = sections(text)
    assert first.paragraphs == ["<p>Do it.</p>"]
    assert parameters.entries == [("frame", "Frame", "A &lt;b&gt;frame&lt;/b&gt; [adu].")]
    assert notes.paragraphs == ['<p>As <span class="math">σ<sub>RN</sub><sup>2</sup> / N</span>.</p>']
    assert inline("``a < b``") == "<code>a &lt; b</code>"


def test_the_command_line_of_a_run() -> None:
    line = run_line("Bias", {"raw_bias": [3, 1, 2, 9], "read_noise": [17]}, {"sigma_clip": 4.0, "fast": False}, "local")
    assert line == "awrecipe run Bias --raw-bias 1-3,9 --read-noise 17 --sigma-clip 4.0 --no-fast --unit local"
