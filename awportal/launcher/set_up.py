"""Make the virtual environment with the pinned requirements. Runs under any Python ≥ 3.11, standard library alone.

``python3 awportal/launcher/set_up.py [--development]``; does nothing where everything is there already.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = TREE / ".venv"
# What the requirements take, unpacked and compiled (measured: 0.9 GiB with the development ones), and some air.
ROOM_NEEDED_MIB = 1500


def main() -> int:
    """Set up, or say in one line why it cannot be."""
    development = "--development" in sys.argv[1:]
    lists = [TREE / "requirements.txt"] + ([TREE / "requirements-dev.txt"] if development else [])
    marker = ENVIRONMENT / ("set-up-development" if development else "set-up")
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in [*lists, TREE / "pyproject.toml"])).hexdigest()
    if marker.exists() and marker.read_text() == digest:
        return 0
    begin = time.monotonic()
    try:
        _check_machine()
        _say("making the virtual environment .venv")
        _make_environment()
        _say("installing the pinned requirements (once; a minute or two)")
        _install(lists)
        _say("compiling the recipes' kernels (once a machine)")
        _run([str(ENVIRONMENT / "bin" / "python"), "-m", "recipes", "compile"])
        # Where PYTHONDONTWRITEBYTECODE is set, every process would else compile them anew at its start.
        packages = [str(path.parent) for path in TREE.glob("*/__init__.py")]
        _run([str(ENVIRONMENT / "bin" / "python"), "-m", "compileall", "-q", *packages])
    except _CannotSetUp as problem:
        print(f"set-up: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    marker.write_text(digest)
    _say(f"done in {time.monotonic() - begin:.0f} s")
    return 0


class _CannotSetUp(Exception):
    """What is missing and how to mend it, in one line."""


def _check_machine() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before pip could refuse
        raise _CannotSetUp(
            f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; run `make PYTHON=python3.11 ...`"
        )
    free_mib = shutil.disk_usage(TREE).free // 2**20
    if free_mib < ROOM_NEEDED_MIB and not ENVIRONMENT.exists():
        raise _CannotSetUp(f"only {free_mib} MiB free on the disk of {TREE}; {ROOM_NEEDED_MIB} MiB are needed")
    if not os.access(TREE, os.W_OK):
        raise _CannotSetUp(f"{TREE} cannot be written to by this user; check it out into a directory of your own")


def _make_environment() -> None:
    if (ENVIRONMENT / "bin" / "pip").exists():
        return
    try:
        result = subprocess.run(
            [sys.executable, "-m", "venv", str(ENVIRONMENT)], capture_output=True, text=True, check=False
        )
    except KeyboardInterrupt:
        # Half an environment would be taken for a whole one next time.
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        raise
    if result.returncode:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        if "ensurepip" in result.stdout + result.stderr:
            raise _CannotSetUp("this Python cannot make virtual environments; install it: apt-get install python3-venv")
        raise _CannotSetUp("python3 -m venv failed: " + _last_line(result))


def _install(lists: list[Path]) -> None:
    python = ENVIRONMENT / "bin" / "python"
    _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv"])
    uv = [str(ENVIRONMENT / "bin" / "uv"), "pip", "install", "-q", "--python", str(python)]
    requirements = [argument for path in lists for argument in ("-r", str(path))]
    # Compiled now, because without bytecode every start would compile anew where the tree is not writable.
    _run([*uv, "--compile-bytecode", *requirements])
    _run([*uv, "--no-deps", "-e", str(TREE)])


def _run(command: list[str]) -> None:
    # The system's certificates, as pip takes them: the network of an institute may bring one of its own.
    environment = {"UV_SYSTEM_CERTS": "1", **os.environ}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TREE, env=environment)
    if result.returncode:
        text = result.stdout + result.stderr
        if "No space left" in text:
            raise _CannotSetUp(f"the disk of {TREE} is full; make room and start again")
        if "gcc" in text or "compiler" in text.lower():
            raise _CannotSetUp(
                "a requirement has no ready-made package for this machine and there is no compiler: apt-get install "
                "build-essential python3-dev; it said: " + _last_line(result)
            )
        raise _CannotSetUp(f"`{' '.join(command[:5])} …` failed: {_last_line(result)}")


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (result.stdout + result.stderr).strip().splitlines()]
    lines = [line for line in lines if not line.startswith("hint:")] or lines  # what an installer would have us try
    return lines[-1] if lines else f"exit code {result.returncode}"


def _say(text: str) -> None:
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
