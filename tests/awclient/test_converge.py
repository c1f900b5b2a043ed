"""`awrecipe converge`: what a night lacks is shown by recipe and chip, and only that is made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from awclient.main import run
from processing_units.nights.gaps import needed_for

from .descriptions import RECIPES
from .small_portal import SmallPortal


def converge(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run(["converge", "--night", "2024-05-12", "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def cells(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, int]]:
    """Return what is not 0 of each cell."""
    states = ("there", "gap", "to_come", "not_possible")
    return {
        (cell["recipe"], cell["chip"]): {name: cell[name] for name in states if cell[name]}
        for cell in report["before"]["cells"]
        if any(cell[name] for name in states)
    }


def test_the_gaps_are_shown_and_filled(portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]) -> None:
    code, before = converge(capsys, "--dry-run")
    assert (code, before["made"], portal_night.runs) == (0, None, {})
    assert cells(before) == {
        ("Bias", "1"): {"gap": 1},
        ("Bias", "2"): {"not_possible": 1},
        ("DomeFlat", "1"): {"to_come": 1},
        ("TwilightFlat", "1"): {"to_come": 2},
        ("ColdPixels", "1"): {"to_come": 1},
        ("MasterFlat", "1"): {"to_come": 1},
        ("Reduce", "1"): {"to_come": 2},
    }
    assert [entry["reason"] for entry in before["before"]["not_possible"]] == ["2: needs at least 3 raw_bias"]
    code, made = converge(capsys, "--yes")
    assert (code, made["made"]["failed"]) == (0, [])
    count = len(portal_night.products)
    code, after = converge(capsys, "--yes")
    assert (code, after["before"]["is_complete"], after["made"], len(portal_night.products)) == (0, True, None, count)
    assert cells(after)["Reduce", "1"] == {"there": 2}
    portal_night.add("RawScience", 1, filter="R")
    assert cells(converge(capsys, "--dry-run")[1])["Reduce", "1"] == {"there": 2, "gap": 1}
    code, made = converge(capsys, "ReducedScienceFrame", "--yes")
    new = [product["kind"] for product in made["made"]["products"] if product["new"]]
    assert (code, sorted(new)) == (0, ["ReducedScienceFrame", "WeightFrame"])


def test_only_what_the_wanted_kinds_need_is_made(portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = converge(capsys, "DomeFlatFrame", "--yes")
    assert (code, sorted({cell["recipe"] for cell in report["before"]["cells"]})) == (0, ["Bias", "DomeFlat"])
    assert {product["kind"] for product in report["made"]["products"]} == {"BiasFrame", "DomeFlatFrame"}


def test_what_is_needed() -> None:
    assert [recipe["name"] for recipe in needed_for(["TwilightFlatFrame"], RECIPES)] == [
        "Bias", "ColdPixels", "DomeFlat", "TwilightFlat",
    ]  # fmt: skip
    assert len(needed_for([], RECIPES)) == len(RECIPES)
    with pytest.raises(LookupError, match="no recipe makes a RawBias"):
        needed_for(["RawBias"], RECIPES)


def test_nobody_agrees_unasked(portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["converge", "--night", "2024-05-12"]) == 2
    captured = capsys.readouterr()
    assert "add --yes" in captured.err
    assert "Bias 1 gap not possible" in [" ".join(line.split()) for line in captured.out.splitlines()]
    assert portal_night.runs == {}
