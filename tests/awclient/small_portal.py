"""Servers that play a portal: one that answers what it is told to, and one that plans and runs whole nights at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .descriptions import RECIPES, a_product

BY_NAME = {recipe["name"]: recipe for recipe in RECIPES}


class Scripted:
    """What the server answers: functions by (method, path); each request is kept."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Callable[[BaseHTTPRequestHandler, bytes], None]] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""

    def on(self, method: str, path: str, answer: Callable[[BaseHTTPRequestHandler, bytes], None]) -> None:
        """Let `answer` write the response of that method and path (without its query)."""
        self.answers[method, path] = answer

    def json(self, method: str, path: str, *contents: Any, status: int = 200) -> None:
        """Answer with these contents in turn, the last one for ever."""
        left = list(contents)

        def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
            content = left.pop(0) if len(left) > 1 else left[0]
            reply(handler, status, content)

        self.on(method, path, answer)


def reply(handler: BaseHTTPRequestHandler, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
    """Send a JSON answer."""
    body = json.dumps(content).encode()
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


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
