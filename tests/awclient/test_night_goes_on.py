"""`awrecipe night` against a small portal: what is possible is made, once; what is not is said with its reason."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from awclient.main import run

from .descriptions import a_product
from .small_portal import Scripted, SmallPortal, reply


def reduce(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, Any]]:
    code = run(["night", "--night", "2024-05-12", "--json", *more])
    return code, json.loads(capsys.readouterr().out)


def test_all_that_is_possible_is_made_once(portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = reduce(capsys)
    assert code == 0
    made = sorted((product["kind"], product["chip"], product["filter"]) for product in report["products"])
    assert made == sorted([
        ("BiasFrame", "1", ""), ("DomeFlatFrame", "1", "R"), ("TwilightFlatFrame", "1", "R"),
        ("TwilightFlatFrame", "1", "V"), ("TwilightFlatFrame", "1", "V"), ("ColdPixelMap", "1", "R"),
        ("ColdPixelMap", "1", "V"),
        ("MasterFlatFrame", "1", "R"), ("MasterFlatFrame", "1", "V"), ("ReducedScienceFrame", "1", "R"),
        ("WeightFrame", "1", "R"), ("ReducedScienceFrame", "1", "R"), ("WeightFrame", "1", "R"),
    ])  # fmt: skip
    assert [(entry["recipe"], entry["what"], entry["reason"]) for entry in report["not_possible"]] == [
        ("Bias", "2", "needs at least 3 raw_bias")
    ]
    count = len(portal_night.products)
    code, again = reduce(capsys)
    assert (code, again["runs"], len(portal_night.products)) == (0, [], count)
    superseded = min(product["id"] for product in report["products"]
                     if (product["kind"], product["filter"]) == ("TwilightFlatFrame", "V"))  # fmt: skip
    there = {product["id"] for product in report["products"]} - {superseded}
    assert {product["id"] for product in again["products"]} == there
    assert not any(product["new"] for product in again["products"])


def test_a_twilight_without_dome_is_made_again_with_its_own_cold_pixels(
    portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, and not by the next start; the flat that science frames get is made of the better one."""
    reduce(capsys)
    first, second = (product for product in portal_night.products.values()
                     if (product["kind"], product["filter"]) == ("TwilightFlatFrame", "V"))  # fmt: skip
    assert (first["made_without"], second["made_without"]) == (["cold"], [])
    master = next(product for product in portal_night.products.values()
                  if (product["kind"], product["filter"]) == ("MasterFlatFrame", "V"))  # fmt: skip
    assert master["inputs"]["twilight_flat"] == [second["id"]]


def test_only_what_is_missing_is_made(portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]) -> None:
    reduce(capsys)
    portal_night.add("RawScience", 1, filter="R")
    code, report = reduce(capsys)
    assert code == 0
    assert [portal_night.runs[number]["recipe"] for number in report["runs"]] == ["Reduce"]
    assert [product["kind"] for product in report["products"] if product["new"]] == [
        "ReducedScienceFrame",
        "WeightFrame",
    ]


def test_a_failure_is_exit_code_1_and_the_next_start_tries_it_again(
    portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]
) -> None:
    portal_night.failing = "DomeFlat"
    code, report = reduce(capsys)
    assert code == 1
    assert [(entry["recipe"], entry["what"], entry["reason"]) for entry in report["failed"]] == [
        ("DomeFlat", "1 R", "no light")
    ]
    assert "MasterFlatFrame" in {product["kind"] for product in report["products"]}
    portal_night.failing = ""
    code, report = reduce(capsys)
    assert (code, report["failed"]) == (0, [])
    assert portal_night.runs[report["runs"][0]]["recipe"] == "DomeFlat"


def test_what_a_recipe_says_these_frames_cannot_give_is_no_failure(
    portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]
) -> None:
    portal_night.failing, portal_night.fault = "DomeFlat", "usage"
    code, report = reduce(capsys)
    assert (code, report["failed"]) == (0, [])
    assert ("DomeFlat", "1 R", "no light") in [
        (entry["recipe"], entry["what"], entry["reason"]) for entry in report["not_possible"]
    ]


def test_an_open_run_of_an_earlier_start_is_waited_for(
    portal_night: SmallPortal, capsys: pytest.CaptureFixture[str], server: Scripted
) -> None:
    code, first = reduce(capsys)
    bias_run = first["runs"][0]
    kept = {number: product for number, product in portal_night.products.items() if product["run"] == bias_run}
    for number in kept:
        del portal_night.products[number]

    def end(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        portal_night.products.update(kept)  # it commits while the second start waits
        reply(handler, 200, portal_night.runs[bias_run])

    server.on("GET", f"/api/v1/runs/{bias_run}", end)
    portal_night.open_runs = [{**portal_night.runs[bias_run], "state": "running"}]
    code, again = reduce(capsys)
    assert (code, again["runs"]) == (0, [])


def test_a_night_without_frames_is_a_usage_error(portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["night", "--night", "1999-01-01"]) == 2
    assert "no raw frames of the night 1999-01-01" in capsys.readouterr().err
    assert run(["night"]) == 2


def test_frames_that_allow_nothing_are_no_success(
    portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]
) -> None:
    portal_night.products = {1: a_product(1, "RawBias")}
    code, report = reduce(capsys)
    assert (code, report["products"]) == (1, [])
    assert "needs at least 3" in report["not_possible"][0]["reason"]


def test_a_job_that_rightly_makes_nothing_is_told_and_no_failure(
    portal_night: SmallPortal, capsys: pytest.CaptureFixture[str]
) -> None:
    portal_night.empty = "Bias"
    code, report = reduce(capsys)
    assert code == 0
    told = [(entry["recipe"], entry["what"]) for entry in report["not_possible"]]
    assert told == [("Bias", "2"), ("Bias", "1")]
    assert "awrecipe logs 1 1" in report["not_possible"][1]["reason"]
