"""`awrecipe night` against a small portal: what is possible is made, once; what is not is said with its reason."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from awclient.main import run

from .conftest import Scripted, reply
from .descriptions import RECIPES, a_product

BY_NAME = {recipe["name"]: recipe for recipe in RECIPES}


class SmallPortal:
    """Plans as the real one does (a job a chip and filter, at least three biases) and runs at once."""

    def __init__(self, server: Scripted) -> None:
        self.products: dict[int, dict[str, Any]] = {}
        self.runs: dict[int, dict[str, Any]] = {}
        self.failing = self.empty = self.fault = ""
        self.open_runs: list[dict[str, Any]] = []
        server.json("GET", "/api/v1/recipes", {"items": RECIPES})
        server.on("GET", "/api/v1/products", self._list)
        server.on("POST", "/api/v1/plan", lambda handler, body: reply(handler, 200, self._plan(json.loads(body))))
        server.on("POST", "/api/v1/runs", self._submit)
        server.on("GET", "/api/v1/runs", lambda handler, _: reply(handler, 200, {"items": self.open_runs}))
        self.server = server

    def add(self, kind: str, count: int, **given: Any) -> None:
        for _ in range(count):
            number = len(self.products) + 1
            self.products[number] = a_product(number, kind, **given)

    def _list(self, handler: BaseHTTPRequestHandler, _: bytes) -> None:
        asked = {name: values[0].split(",") for name, values in parse_qs(urlsplit(handler.path).query).items()}
        found = [
            product
            for product in self.products.values()
            if all(str(product[name]) in asked[name] for name in ("kind", "recipe", "night", "run") if name in asked)
        ]
        reply(handler, 200, {"items": found, "count": len(found), "next": None})

    def _plan(self, submission: dict[str, Any]) -> dict[str, Any]:
        recipe = BY_NAME[submission["recipe"]]
        groups: dict[tuple[str, ...], dict[str, list[int]]] = {}
        primary = {entry["role"]: entry for entry in recipe["inputs"] if entry["primary"]}
        for role, numbers in submission["inputs"].items():
            for number in numbers if role in primary else []:
                product = self.products[number]
                key = tuple(str(number) if name == "product" else product[name] for name in recipe["split_by"])
                groups.setdefault(key, {}).setdefault(role, []).append(number)
        jobs = []
        for key, inputs in sorted(groups.items()):
            short = [role for role, entry in primary.items() if len(inputs.get(role, [])) < entry["minimum"]]
            problem = f"needs at least {primary[short[0]]['minimum']} {short[0]}" if short else ""
            calibrations = self._choices(recipe, self.products[next(iter(inputs.values()))[0]])
            jobs.append({"label": " ".join(key), "inputs": inputs, "problem": problem, "calibrations": calibrations})
        return {
            "recipe": recipe["name"],
            "version": "1",
            "parameters": {},
            "unit": "local",
            "unit_reason": "",
            "counts": {"jobs": len(jobs), "not_possible": 0, "made_before": 0, "files": 0, "bytes": 0},
            "jobs": jobs,
            "steps": [],
            "units": [],
            "fingerprint": "0" * 64,
        }

    def _choices(self, recipe: dict[str, Any], first: dict[str, Any]) -> list[dict[str, Any]]:
        """Choose of each preferred kind the newest of the chip, and of the filter where it has one."""
        chosen = []
        for entry in recipe["inputs"]:
            if entry["primary"] or not entry["preferred"]:
                continue
            serving = [
                number
                for number, product in self.products.items()
                if product["kind"] in entry["kinds"]
                and product["chip"] == first["chip"]
                and product["filter"] in ("", first["filter"])
            ]
            chosen.append({"role": entry["role"], "kind": entry["kinds"][0],
                           "product": max(serving, default=None), "reason": ""})  # fmt: skip
        return chosen

    def _submit(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        submission = json.loads(body)
        number = len(self.runs) + 1
        fails = submission["recipe"] == self.failing
        jobs = self._plan(submission)["jobs"]
        assert not any(job["problem"] for job in jobs)
        made = [] if fails else [self._make(submission["recipe"], number, job) for job in jobs]
        if submission["recipe"] == self.empty:
            self.products = {key: value for key, value in self.products.items() if value["run"] != number}
            made = [[] for _ in jobs]
        state = "failed" if fails else "done"
        self.runs[number] = {
            "id": number, "recipe": submission["recipe"], "version": "1", "state": state, "unit": "local",
            "user": "anna", "submitted": "2026-01-01T00:00:00Z", "counts": {state: len(jobs)}, "parameters": {},
            "comment": submission["comment"],
            "jobs": [{"number": place, "label": job["label"], "state": state, "reason": "no light" if fails else "",
                      "fault": self.fault if fails else "", "products": made[place - 1] if made else []}
                     for place, job in enumerate(jobs, 1)],
        }  # fmt: skip
        self.server.json("GET", f"/api/v1/runs/{number}", self.runs[number])
        reply(handler, 201, self.runs[number])

    def _make(self, recipe: str, run: int, job: dict[str, Any]) -> list[int]:
        first = self.products[next(iter(job["inputs"].values()))[0]]
        before = len(self.products)
        without = [choice["role"] for choice in job["calibrations"] if choice["product"] is None]
        # Flats are named by what they were made of: made anew they have the same name.
        named = {"name": f"{recipe} of {first['chip']} {first['filter']}"} if recipe == "TwilightFlat" else {}
        for kind in BY_NAME[recipe]["outputs"]:
            self.add(kind, 1, recipe=recipe, recipe_version="1", run=run, inputs=job["inputs"], chip=first["chip"],
                     filter=first["filter"], made_without=without, **named,
                     valid_from=None if kind.endswith(("ScienceFrame", "WeightFrame")) else "2024-05-01")  # fmt: skip
        return list(range(before + 1, len(self.products) + 1))


@pytest.fixture
def portal_night(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> SmallPortal:
    """Two chips with biases (one has too few), R with dome and twilight flats, V with twilights only, two exposures."""
    monkeypatch.setenv("AWPORTAL_URL", server.url)
    monkeypatch.setenv("AWPORTAL_TOKEN", "aw_test")
    portal = SmallPortal(server)
    portal.add("RawBias", 4, chip="1")
    portal.add("RawBias", 2, chip="2")
    portal.add("RawDomeFlat", 3, filter="R")
    portal.add("RawTwilightFlat", 3, filter="R")
    portal.add("RawTwilightFlat", 3, filter="V")
    portal.add("RawScience", 2, filter="R")
    return portal


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
