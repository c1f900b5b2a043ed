"""R12: cut off at any point, the same command finds its run again, and nothing is submitted twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from .conftest import Scripted, reply
from .descriptions import BIAS

AWRECIPE = Path(sys.executable).parent / "awrecipe"


class Runs:
    """A portal that keeps runs by their idempotency key, as the real one does."""

    def __init__(self, server: Scripted) -> None:
        self.by_key: dict[str, int] = {}
        self.state = "running"
        self.silent_submits = 0
        server.json("GET", "/api/v1/recipes/Bias", BIAS)
        server.on("POST", "/api/v1/runs", self._submit)
        for number in (1, 2):
            server.on("GET", f"/api/v1/runs/{number}", lambda handler, _, n=number: reply(handler, 200, self._run(n)))

    def _submit(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        key = json.loads(body)["idempotency_key"]
        number = self.by_key.setdefault(key, len(self.by_key) + 1)
        if self.silent_submits:
            self.silent_submits -= 1  # it arrived, but the answer is lost
            handler.close_connection = True
            time.sleep(5)
            return
        reply(handler, 201, self._run(number))

    def _run(self, number: int) -> dict[str, Any]:
        job = {"number": 1, "label": "ccd1", "state": self.state}
        return {
            "id": number, "recipe": "Bias", "version": "1", "state": self.state, "unit": "local", "user": "anna",
            "submitted": "2026-01-01T00:00:00Z", "counts": {self.state: 1}, "parameters": {},
            "jobs": [{**job, "reason": "no light" if self.state == "failed" else ""}],
        }  # fmt: skip


@pytest.fixture
def runs(server: Scripted) -> Runs:
    return Runs(server)


def begin(server: Scripted, home: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "AWPORTAL_URL": server.url, "AWPORTAL_TOKEN": "aw_test",
        "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config"),
    }  # fmt: skip
    return subprocess.Popen(
        [str(AWRECIPE), *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_killed_while_it_waits_it_re_attaches(
    server: Scripted, runs: Runs, own_home: Path, sent: signal.Signals, code: int
) -> None:
    command = ("run", "Bias", "1-3", "--wait")
    first = begin(server, own_home, *command)
    wait_for(lambda: any(path.startswith("/api/v1/runs/1") for _, path, _, _ in server.requests))
    first.send_signal(sent)
    _, said = first.communicate(timeout=20)
    assert first.returncode == code
    assert ("the same command re-attaches" in said) == (sent is signal.SIGINT)
    runs.state = "done"
    second = begin(server, own_home, *command)
    output, said = second.communicate(timeout=20)
    assert (second.returncode, len(runs.by_key)) == (0, 1)
    assert output.startswith("run 1 Bias")
    assert "re-attached to run 1" in said
    third = begin(server, own_home, *command)
    assert (third.communicate(timeout=20)[0][:5], len(runs.by_key)) == ("run 2", 2)


def test_killed_before_the_answer_it_sends_the_same_key(server: Scripted, runs: Runs, own_home: Path) -> None:
    runs.silent_submits = 1
    first = begin(server, own_home, "run", "Bias", "1-3")
    wait_for(lambda: runs.by_key)
    first.kill()
    first.communicate(timeout=20)
    second = begin(server, own_home, "run", "Bias", "1-3", "--json")
    output, _ = second.communicate(timeout=20)
    assert (second.returncode, json.loads(output)["id"], len(runs.by_key)) == (0, 1, 1)


def test_another_command_and_new_are_other_runs(server: Scripted, runs: Runs, own_home: Path) -> None:
    first = begin(server, own_home, "run", "Bias", "1-3", "--wait", "--timeout", "0.1")
    _, said = first.communicate(timeout=20)
    assert first.returncode == 4
    assert "has not ended after 0 s; it goes on" in said
    begin(server, own_home, "run", "Bias", "1-3", "--sigma-clip", "4").communicate(timeout=20)
    assert len(runs.by_key) == 2


def test_a_failed_run_is_exit_code_1_with_the_reason(server: Scripted, runs: Runs, own_home: Path) -> None:
    runs.state = "failed"
    process = begin(server, own_home, "run", "Bias", "1-3", "--wait", "--json")
    output, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert json.loads(output)["state"] == "failed"
    assert "run 1 Bias failed: ccd1: no light" in said
