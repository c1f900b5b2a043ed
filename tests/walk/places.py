"""Which addresses the walk goes to: all of the URLconf that answer a GET with a page."""

from __future__ import annotations

import re

from tests.awportal.pages.test_who_sees_what import TABLE, addresses

# What answers with a file and not with a page, beside the routes that end like one.
FILES = {"download", "run-log", "job-log", "awworker", "help-picture"}
_LIKE_A_FILE = re.compile(r"\.[a-z]+$")
# What a route is filled with, from `filling.py`. Whoever adds a page with a part of another kind adds it there.
PATTERNS = (
    "products/<int:pk>",
    "runs/<int:pk>",
    "batches/<int:pk>",
    "code/<int:pk>",
    "recipes/<slug:name>",
    "units/<slug:name>",
    "<int:other>",
    "<int:ordinal>",
    "<path:instrument>/<slug:night>",
    "<slug:role>",
    "<str:token>",
    "help/<path:name>",
    "projects/<int:pk>",
    "people/<int:pk>",
    "<slug:uidb64>/<slug:token>",
)
# Pages that look otherwise with a query: an error that tells the way, a form that was begun, a list with filters.
WITH_QUERY = {
    "archive": ["?chip=ccd1&quality=passed", "?kind=Nothing"],
    "login": ["?next=/runs/"],
    "new-batch": ["?example=clips"],
    "converge": ["?instrument=simcam"],
    "calibrations": ["?instrument=simcam&chip=ccd1"],
    "runs": ["?state=failed"],
}


def pages() -> dict[str, str]:
    """Return name -> route of every page."""
    return {
        name: route
        for name, route in addresses().items()
        if TABLE[name][0] == "get" and name not in FILES and not _LIKE_A_FILE.search(route)
    }


def paths(places: dict[str, list[str]], *, thorough: bool) -> list[str]:
    """Return all paths, routes filled from `places`; only a thorough walk goes to more than one thing of a sort."""
    found = ["/nowhere/"]
    for name, route in pages().items():
        routes = [route]
        for pattern in PATTERNS:
            if pattern in route:
                # A page below that of a thing looks the same for every thing of its sort.
                is_its_own = route.strip("/") in {pattern, f"{pattern}/<int:ordinal>"}
                values = places[pattern] if thorough and is_its_own else places[pattern][:1]
                routes = [each.replace(pattern, value) for each in routes for value in values]
        found += [f"/{each}{query}" for each in routes for query in ["", *WITH_QUERY.get(name, [])]]
    return found


def unknown() -> list[str]:
    """Return the pages that the walk cannot fill."""
    found = []
    for name, route in pages().items():
        left = route
        for pattern in PATTERNS:
            left = left.replace(pattern, "")
        if "<" in left:
            found.append(name)
    return found
