"""The fork server: jobs in process groups of their own, ends told truly, nobody left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.recipes.synthetic import ROOT, Camera, result_of, write_fits, write_job

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("fork") / "s"
    command = [sys.executable, "-m", "recipes.fork_server", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process, path
        process.terminate()
        assert process.wait(100) == 0


@pytest.fixture
def job(tmp_path):
    camera = Camera(height=40, width=50)
    inputs = []
    for index in range(3):
        path = write_fits(tmp_path / f"b{index}.fits", camera.pixels().astype("u2"))
        inputs.append(("raw_bias", "RawBias", path, camera.attributes()))
    return write_job(tmp_path, "ReadNoise", inputs)


class Asked:
    """One job asked of the server."""

    def __init__(self, path, job, **more):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self.log = job.parent / "log"
        request = {"job_file": str(job), "log": str(self.log), "environment": {}, "nice": 0, "memory_mib": 0} | more
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        self._lines = self._socket.makefile()

    def answer(self):
        return json.loads(self._lines.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._lines.close()
        self._socket.close()


def test_a_job_runs_and_its_end_is_told(server, job):
    with Asked(server[1], job) as asked:
        pid = asked.answer()["pid"]
        assert pid != server[0].pid
        ended = asked.answer()
    assert ended["exit"] == 0
    assert ended["signal"] is None
    assert ended["max_rss_mib"] > 10
    assert result_of(job)["state"] == "done"
    assert "read_noise = " in asked.log.read_text()


def test_a_failed_job_exits_with_one(server, job):
    job.write_text(job.read_text().replace("ReadNoise", "Nothing"))
    with Asked(server[1], job) as asked:
        asked.answer()
        assert asked.answer()["exit"] == 1
    assert result_of(job)["error"]["kind"] == "usage"


def blocking(job):
    """Make the job wait for ever: its first input is a pipe that nobody writes."""
    os.mkfifo(job.parent / "pipe")
    content = json.loads(job.read_text())
    content["inputs"][0]["path"] = "pipe"
    job.write_text(json.dumps(content))


def test_a_killed_job_tells_the_signal(server, job):
    blocking(job)
    with Asked(server[1], job) as asked:
        pid = asked.answer()["pid"]
        while "opening" not in (asked.log.read_text() if asked.log.exists() else ""):
            time.sleep(0.02)
        assert os.getpgid(pid) == pid
        os.killpg(pid, signal.SIGKILL)
        assert asked.answer()["signal"] == signal.SIGKILL


def test_too_little_memory_is_reported_as_that(server, tmp_path):
    camera = Camera(height=1500, width=2000, overscan=0)
    path = write_fits(tmp_path / "b.fits", camera.pixels().astype("u2"))
    inputs = [("raw_bias", "RawBias", path, camera.attributes())] * 2
    job = write_job(tmp_path, "ReadNoise", inputs)
    with Asked(server[1], job, memory_mib=2) as asked:
        asked.answer()
        assert asked.answer()["exit"] == 1
    error = result_of(job)["error"]
    assert (error["kind"], error["message"]) == ("transient", "out of memory")


def test_a_request_that_is_none_is_answered(server):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(server[1]))
        asking.sendall(b"hello\n")
        assert b"error" in asking.recv(1000)


def test_children_die_with_the_server(tmp_path, job):
    blocking(job)
    command = [sys.executable, "-m", "recipes.fork_server", str(tmp_path / "s")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        with Asked(tmp_path / "s", job) as asked:
            pid = asked.answer()["pid"]
            while not asked.log.exists():
                time.sleep(0.02)
            process.kill()
            process.wait(100)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and _alive(pid):
                time.sleep(0.05)
            assert not _alive(pid)


def _alive(pid):
    """Whether the process runs (a zombie that its new parent has not yet reaped does not)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
