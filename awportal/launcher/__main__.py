"""``python -m awportal.launcher serve|demo``: all of awportal on one machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from awportal.launcher.embedded import TREE, USER, Layout, programs
from awportal.launcher.machine import CannotStart, check_port, check_room, lock
from awportal.launcher.supervisor import Supervisor


def main() -> int:
    """Start what was asked for and return its exit code."""
    arguments = _parser().parse_args()
    layout = Layout(Path(os.environ.get("AWPORTAL_HOME", TREE / "var")).resolve(), arguments.port)
    # Both ways of asking us to stop come as the same exception, wherever we are; a shell that starts us in the
    # background has SIGINT ignored, so that is set too.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    try:
        with lock(layout.home, layout.base_url):
            return _run(arguments, layout)
    except CannotStart as problem:
        print(f"awportal: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m awportal.launcher", description=__doc__)
    parser.add_argument("what", choices=["serve", "demo"])
    parser.add_argument("--port", type=int, default=8000, help="port of the portal; the two after it are used too")
    parser.add_argument("--night", type=Path, help="directory of raw frames (default: the simulated observatory's)")
    parser.add_argument("--instrument", help="camera of the frames, where their headers do not tell")
    parser.add_argument(
        "--type", action="append", default=[], help="type of raw frames: [PATTERN=]TYPE, may be repeated"
    )
    parser.add_argument("--once", action="store_true", help="stop everything at the end; exit 0 if all is there")
    return parser


def _run(arguments: argparse.Namespace, layout: Layout) -> int:
    if arguments.night and not arguments.night.is_dir():
        raise CannotStart(f"NIGHT: {arguments.night} is not a directory of raw frames")
    for port in layout.ports:
        check_port(port)
    check_room(layout.home)
    begin = time.monotonic()
    _prepare(layout)
    started = programs(layout)
    supervisor = Supervisor([program for program, _ in started], _say)
    try:
        for program, is_ready in started:
            _say(f"starting {program.name}")
            try:
                supervisor.start(program, is_ready)
            except RuntimeError as problem:
                raise CannotStart(str(problem)) from None
        supervisor.watch()
        _say(f"all up in {time.monotonic() - begin:.1f} s")
        code = _reduce_night(arguments, layout) if arguments.what == "demo" else 0
        if not (arguments.what == "demo" and arguments.once):
            _stay(layout, code)
    finally:
        # A second Ctrl-C while things stop would leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _say("stopping")
        supervisor.stop()
    return code


def _prepare(layout: Layout) -> None:
    """Bring the database, the static files, the first user and the local unit about."""
    frontend_port = str(layout.ports[1])
    command = [sys.executable, str(TREE / "manage.py"), "first_start", "--user", USER, "--unit-port", frontend_port]
    result = subprocess.run(command, env=layout.environment(), capture_output=True, text=True, check=False)
    if result.returncode:
        text = (result.stdout + result.stderr).strip()
        if "No space left" in text or "disk is full" in text:
            raise CannotStart(f"the disk of {layout.home} is full; make room and start again")
        (layout.home / "logs").mkdir(exist_ok=True)
        (layout.home / "logs" / "first_start.log").write_text(text + "\n")
        last = text.splitlines()[-1] if text else f"exit code {result.returncode}"
        raise CannotStart(
            f"preparing the database failed: {last} (all of it: {layout.home / 'logs' / 'first_start.log'})"
        )


def _reduce_night(arguments: argparse.Namespace, layout: Layout) -> int:
    night = arguments.night or _observe(layout)
    client = [str(Path(sys.executable).parent / "awrecipe"), "night", str(night)]
    if arguments.instrument:
        client += ["--instrument", arguments.instrument]
    for pattern in arguments.type:
        client += ["--type", pattern]
    environment = {
        **os.environ,
        "AWPORTAL_URL": layout.base_url,
        "AWPORTAL_TOKEN_FILE": str(layout.token_file),
    }
    _say(f"reducing {night} through awrecipe, as you would:")
    return subprocess.run(client, env=environment, check=False).returncode


def _observe(layout: Layout) -> Path:
    """Let the simulated observatory take a night, unless it has."""
    night = layout.home / "nights" / "simulated"
    complete = night / ".complete"
    if not complete.exists():
        _say("observing a night with the simulated observatory")
        # What is true of the night is not part of it: an observer would not find it among the raw files.
        line = [sys.executable, "-m", "observatory", str(night), "--truth", str(night.with_name("simulated-truth"))]
        code = subprocess.run(line, check=False).returncode
        if code:
            raise CannotStart(f"the simulated observatory failed with exit code {code} (see above)")
        complete.touch()
    return night


def _stay(layout: Layout, code: int) -> None:
    outcome = "" if code == 0 else " (the night is not complete: see above)"
    print(
        f"\nawportal is up{outcome}\n"
        f"  address   {layout.base_url}\n"
        f"  user      {USER}\n"
        f"  password  {layout.password_file.read_text().strip()}\n"
        f"  terminal  export AWPORTAL_URL={layout.base_url} AWPORTAL_TOKEN_FILE={layout.token_file}\n"
        f"            {Path(sys.executable).parent / 'awrecipe'} list\n"
        "Ctrl-C stops everything; what was made stays in " + str(layout.home),
        flush=True,
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
