"""The client repeats what is safe to repeat, and gives up with a reason."""

from __future__ import annotations

import json
import socket
import time
from http.server import BaseHTTPRequestHandler

import pytest

from awclient.client import Portal
from awclient.configuration import Configuration
from awclient.errors import Lost, NotAllowed, UsageProblem
from processing_units.contract import Submission

from .conftest import Scripted, reply

RUN = {
    "id": 7, "recipe": "Bias", "version": "1", "state": "queued", "unit": "local", "user": "anna",
    "submitted": "2026-01-01T00:00:00Z", "counts": {"queued": 1}, "parameters": {},
}  # fmt: skip


def broken_twice(then: dict[str, object]) -> object:
    """Return an answer that cuts the connection, then says 503, then answers."""
    turns = iter(["cut", "busy"])

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        turn = next(turns, "well")
        if turn == "cut":
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
        elif turn == "busy":
            reply(handler, 503, {"error": "restarting"})
        else:
            reply(handler, 200, then)

    return answer


def test_get_survives_a_cut_and_a_503(server: Scripted, portal: Portal) -> None:
    server.on("GET", "/api/v1/whoami", broken_twice({"user": "anna"}))  # type: ignore[arg-type]
    assert portal.whoami() == {"user": "anna"}
    assert len(server.requests) == 3
    assert server.requests[0][2]["Authorization"] == "Bearer aw_test"


def test_submit_is_repeated_with_the_same_key(server: Scripted, portal: Portal) -> None:
    server.on("POST", "/api/v1/runs", broken_twice(RUN))  # type: ignore[arg-type]
    run = portal.submit(Submission(recipe="Bias", inputs={"": [1]}, idempotency_key="k1"))
    assert run.id == 7
    assert [json.loads(body)["idempotency_key"] for _, _, _, body in server.requests] == ["k1", "k1", "k1"]


def test_submit_without_a_key_is_a_defect(portal: Portal) -> None:
    with pytest.raises(ValueError, match="idempotency"):
        portal.submit(Submission(recipe="Bias", inputs={"": [1]}))


def test_portal_that_stays_away_is_lost_after_the_patience() -> None:
    with (
        Portal(Configuration("http://127.0.0.1:9", "aw_test"), patience=0.5) as portal,
        pytest.raises(Lost, match="does not answer") as caught,
    ):
        portal.whoami()
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, UsageProblem, 2),
        (401, NotAllowed, 3),
        (403, NotAllowed, 3),
        (404, UsageProblem, 2),
    ],
)
def test_refusals_are_not_repeated(
    server: Scripted, portal: Portal, status: int, kind: type[Exception], code: int
) -> None:
    server.json("GET", "/api/v1/runs/7", {"error": "no", "hint": "do", "field": "run"}, status=status)
    with pytest.raises(kind) as caught:
        portal.run(7)
    assert (caught.value.message, caught.value.hint, caught.value.field) == ("no", "do", "run")  # type: ignore[attr-defined]
    assert caught.value.exit_code == code  # type: ignore[attr-defined]
    assert len(server.requests) == 1


def test_watch_sends_the_last_mark_and_ends_with_the_run(server: Scripted, portal: Portal) -> None:
    turns = iter([("queued", '"a"'), None, ("done", '"b"')])

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        turn = next(turns)
        if turn is None:
            handler.send_response(304)
            handler.send_header("ETag", '"a"')
            handler.end_headers()
        else:
            reply(handler, 200, {**RUN, "state": turn[0]}, {"ETag": turn[1]})

    server.on("GET", "/api/v1/runs/7", answer)
    assert [status.state for status in portal.watch(7, pause=0.01)] == ["queued", "queued", "done"]
    assert [headers.get("If-None-Match") for _, _, headers, _ in server.requests] == [None, '"a"', '"a"']


def test_products_come_page_by_page(server: Scripted, portal: Portal) -> None:
    server.json("GET", "/api/v1/products", {"items": [{"id": 1}], "count": 2, "next": 1},
                {"items": [{"id": 2}], "count": 2, "next": None})  # fmt: skip
    assert [product["id"] for product in portal.products(kind="RawBias", chip="")] == [1, 2]
    assert [path for _, path, _, _ in server.requests] == [
        "/api/v1/products?kind=RawBias&offset=0&limit=500",
        "/api/v1/products?kind=RawBias&offset=1&limit=500",
    ]


def test_something_else_than_a_portal_is_said_so(server: Scripted, portal: Portal) -> None:
    server.json("GET", "/api/v1/whoami", ["a list"])
    with pytest.raises(Lost, match="not a portal"):
        portal.whoami()


def test_a_portal_that_fails_itself_is_given_up_soon(server: Scripted) -> None:
    server.json("GET", "/api/v1/whoami", {"error": "the portal failed at this request", "hint": ""}, status=500)
    begin = time.monotonic()
    with (
        Portal(Configuration(server.url, "aw_test"), patience=600) as portal,
        pytest.raises(Lost, match="the portal failed at this request"),
    ):
        portal.whoami()
    assert time.monotonic() - begin < 60
    assert len(server.requests) > 2
