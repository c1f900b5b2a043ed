"""Make a virtual environment with pip, and compile kernels: the commands that are run, and what their failures mean."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from processing_units.joining.requirement_check import Interpreter

# The requirements take 550 MiB unpacked and compiled (measured); and some air.
ROOM_NEEDED_MIB = 900


class CannotInstallError(Exception):
    """What is in the way, and how to mend it."""


class Commands:
    """Runs commands that hold a lock, so that what a killed installer leaves running keeps others waiting."""

    def __init__(self, lock: int) -> None:
        self._lock = lock

    def run(self, command: list[str], cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its bytecode is kept."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env={**environment, **more},
            stdin=subprocess.DEVNULL,
            pass_fds=(self._lock,),
        )


def check_room(root: Path) -> None:
    """Raise `CannotInstallError` where there is not enough."""
    free = shutil.disk_usage(root).free >> 20
    if free < ROOM_NEEDED_MIB:
        raise CannotInstallError(
            f"only {free} MiB are free in {root}, {ROOM_NEEDED_MIB} are needed; make room, name another folder with "
            "--software DIR, or use a Python that has the requirements with --system-python"
        )


def install_requirements(commands: Commands, interpreter: Interpreter, building: Path, pinned: str) -> None:
    """Make a virtual environment and install the requirements with pip, as the user's pip is configured."""
    base = str(interpreter.path)
    has_pip = commands.run([base, "-m", "pip", "--version"]).returncode == 0
    made = commands.run([base, "-m", "venv", *(["--without-pip"] if has_pip else []), str(building)])
    if made.returncode:
        raise CannotInstallError(
            f"{base} can make no virtual environment: {_last_line(made)}; install what it lacks "
            "(apt-get install python3-venv), or use a Python that has the requirements with --system-python"
        )
    python = str(building / "bin" / "python")
    wanted = building / "requirements.txt"
    wanted.write_text(pinned)
    pip = [base, "-m", "pip", "--python", python] if has_pip else [python, "-m", "pip"]
    # The list is complete: nothing is resolved, nothing else comes in. Compiled now, or every start would do it anew.
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--compile"]
    installed = commands.run([*pip, "install", *options, "-r", str(wanted)])
    if installed.returncode:
        raise CannotInstallError(_why_pip_failed(installed, base))


def _why_pip_failed(installed: subprocess.CompletedProcess[str], base: str) -> str:
    text = installed.stdout + installed.stderr
    if "No space left" in text:
        return "the disk is full; make room and start again, or name another folder with --software DIR"
    errors = [line for line in text.splitlines() if line.startswith("ERROR:")]
    what = errors[-1].removeprefix("ERROR:").strip() if errors else _last_line(installed)
    return (
        f"pip cannot install the requirements: {what}\n"
        "  Where this machine reaches no package index, name another (PIP_INDEX_URL), or a folder of wheels\n"
        f"  filled elsewhere by `pip download` (PIP_FIND_LINKS); or install them into {base} and use --system-python."
    )


def compile_kernels(commands: Commands, python: Path, code: Path) -> None:
    """Have the recipes compile their kernels; they keep them beside the code."""
    compiled = commands.run([str(python), "-m", "recipes", "compile"], cwd=code, **environment_for(code))
    if compiled.returncode:
        raise CannotInstallError(f"the kernels cannot be compiled: {_last_line(compiled)}")


def environment_for(code: Path) -> dict[str, str]:
    """Return the environment variables by which a Python finds the code in ``code`` before any other."""
    # Without the second the folder in which the user stands would go first, which may be a checkout.
    path = [str(code), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = (result.stdout + result.stderr).strip().splitlines()
    return lines[-1] if lines else f"exit code {result.returncode}"
