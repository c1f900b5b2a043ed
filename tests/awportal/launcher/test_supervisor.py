"""The supervisor restarts what dies, stops in order, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from awportal.launcher.supervisor import Program, Supervisor

pytestmark = pytest.mark.processes


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def a_program(directory: Path, name: str, script: str) -> Program:
    return Program(name, [sys.executable, "-c", script], dict(os.environ), directory / f"{name}.log")


def test_what_dies_is_started_again_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    program = a_program(tmp_path, "sleeper", "import time; time.sleep(600)")
    supervisor = Supervisor([program], said.append)
    supervisor.start(program, program.is_running)
    first = program.process.pid
    supervisor.watch()
    os.kill(first, signal.SIGKILL)
    try:
        wait_for(lambda: program.restarts == 1 and program.is_running())
        assert program.process.pid != first
        assert said[0].startswith("sleeper was killed by SIGKILL")
    finally:
        supervisor.stop()
    assert not psutil.pid_exists(program.process.pid)


def test_programs_stop_in_the_reverse_order_of_their_start_also_those_started_anew(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\n"
        "def stop(*_):\n"
        "    time.sleep(0.7 * (os.environ['NAME'] == 'c'))\n"
        "    with open(os.environ['STOPS'], 'a') as stops: stops.write(os.environ['NAME'])\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); print('ready', flush=True); time.sleep(600)"
    )
    stops = tmp_path / "stops"
    programs = [a_program(tmp_path, name, script) for name in "abc"]
    for program in programs:
        program.environment = {**os.environ, "NAME": program.name, "STOPS": str(stops)}
    supervisor = Supervisor(programs, print)
    for program in programs:
        supervisor.start(program, lambda program=program: b"ready" in program.log.read_bytes())
    supervisor.watch()
    os.kill(programs[0].process.pid, signal.SIGKILL)
    wait_for(lambda: programs[0].log.read_bytes().count(b"ready") == 2)
    supervisor.stop()
    assert stops.read_text() == "cba"


def test_what_cannot_be_started_for_a_while_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("awportal.launcher.supervisor.LONGEST_WAIT_SECONDS", 0.2)
    said: list[str] = []
    program = a_program(tmp_path / "logs", "sleeper", "import time; time.sleep(600)")
    supervisor = Supervisor([program], said.append)
    supervisor.start(program, program.is_running)
    (tmp_path / "logs").rename(tmp_path / "away")
    (tmp_path / "logs").touch()  # no log can be opened there
    supervisor.watch()
    os.kill(program.process.pid, signal.SIGKILL)
    try:
        wait_for(lambda: len(said) > 1)
        assert said[1].startswith("sleeper cannot be started")
        (tmp_path / "logs").unlink()
        wait_for(program.is_running)
    finally:
        supervisor.stop()


def test_a_program_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    program = a_program(tmp_path, "broken", "raise SystemExit('no database there')")
    supervisor = Supervisor([program], print)
    with pytest.raises(RuntimeError, match=r"broken did not start(.|\n)*no database there"):
        supervisor.start(program, lambda: False)


def test_programs_die_with_a_killed_launcher(tmp_path: Path) -> None:
    launcher = (
        "import os, sys, time; from pathlib import Path; from awportal.launcher.supervisor import *\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "program = Program('child', command, os.environ, Path(sys.argv[1]))\n"
        "Supervisor([program], print).start(program, program.is_running); print(program.process.pid, flush=True)\n"
        "time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", launcher, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
