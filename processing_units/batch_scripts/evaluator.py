"""Start the process that reads a script, in bubblewrap where that works, and take its one answer with suspicion."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processing_units.batch_scripts.wishes import LONGEST_TEXT, MOST_INPUTS, MOST_QUESTIONS, MOST_RUNS, READY

log = logging.getLogger(__name__)

CPU_SECONDS = 2.0
# After these a script is stopped at a line, or else killed: with the start of the process it is 3 s in all.
STOPPED_AFTER_SECONDS = 2.4
KILLED_AFTER_SECONDS = 2.7
MEMORY_MIB = 256
LONGEST_SCRIPT = 100_000
Language = Literal["star", "yaml", "csv"]
_START_SECONDS = 20.0
_LARGEST_ANSWER = 32 << 20
_TREE = Path(__file__).resolve().parents[2]
_SYSTEM = ("bin", "lib", "lib64")
_NOBODY = "65534"
# So few are read at a time, and so few wait for their turn, that pages never wait for scripts.
_AT_WORK = threading.BoundedSemaphore(2)
_ENTERED = threading.BoundedSemaphore(4)

_Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


class ScriptRefused(Exception):
    """The script is wrong, or wants too much; ``line`` is where (0: nowhere in particular)."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Busy(Exception):
    """Others' scripts are being read: it can be tried again in a moment."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Wish(_Strict):
    """A run that a script asks for."""

    line: int = Field(ge=0)
    recipe: _Text
    inputs: dict[_Text, list[Annotated[int, Field(ge=1, lt=2**63)]]]
    parameters: dict[_Text, float | int | bool | _Text] = Field(max_length=100)
    unit: _Text = ""
    project: _Text = ""
    privilege: int | None = Field(default=None, ge=1, le=5)
    comment: _Text = ""


class _Answer(_Strict):
    runs: list[Wish] | None = Field(default=None, max_length=MOST_RUNS)
    asks: dict[_Text, Annotated[str, Field(max_length=10 * LONGEST_TEXT)]] | None = Field(default=None, max_length=20)
    error: _Text = ""
    line: int = Field(default=0, ge=0)
    used: float = Field(default=0.0, ge=0)


Answers = list[dict[str, Any]]
# Told a selection, returns the frames; what it raises for a wrong one is told with the line.
Answering = Callable[[dict[str, str]], list[dict[str, Any]]]


def version_of_language() -> str:
    """Return what decides how a script is read."""
    return f"starlark-pyo3 {version('starlark-pyo3')}"


def evaluate(text: str, language: Language, answers: Answers, answering: Answering | None = None) -> list[Wish]:
    """Return the runs that a script asks for.

    The process has no way to ask back. One that wants to know of frames ends with the question; it is answered here,
    added to `answers`, and the script is read from its beginning once more, to the same end but for the answer.

    Parameters
    ----------
    text, language : str
        The script.
    answers : list
        What was answered before; grows.
    answering : callable, optional
        Answers a selection; without it, a question that was not answered before is refused.

    Raises
    ------
    ScriptRefused
        With the line.
    Busy
        Too many are being read.
    """
    if len(text) > LONGEST_SCRIPT:
        raise ScriptRefused(f"the script is longer than {LONGEST_SCRIPT} characters")
    if "\0" in text:
        raise ScriptRefused("the script holds a NUL character")
    left = CPU_SECONDS
    for _ in range(MOST_QUESTIONS + 1):
        answer = _read_once(text, language, answers, max(0.1, left))
        left -= answer.used
        if answer.error:
            raise ScriptRefused(answer.error, answer.line)
        if answer.asks is None:
            return answer.runs or []
        if answering is None:
            raise ScriptRefused("it asks for frames that it did not ask for before", answer.line)
        try:
            frames = answering(answer.asks)
        except ValueError as error:
            raise ScriptRefused(str(error), answer.line) from None
        answers.append({"select": answer.asks, "frames": frames})
        if sum(len(each["frames"]) for each in answers) > MOST_INPUTS:
            raise ScriptRefused(f"it asks for more than {MOST_INPUTS} frames", answer.line)
    raise ScriptRefused(f"more than {MOST_QUESTIONS} different selections", answer.line)


def _read_once(text: str, language: str, answers: Answers, cpu_seconds: float) -> _Answer:
    if not _ENTERED.acquire(blocking=False):
        raise Busy
    try:
        with _AT_WORK, _mark() as (mark, line_of):
            message = {
                "language": language,
                "text": text,
                "answers": answers,
                "mark": mark,
                "cpu_seconds": cpu_seconds,
                "wall_seconds": STOPPED_AFTER_SECONDS,
                "memory_mib": MEMORY_MIB,
            }
            said, code = _run([*_confined(), *_command()], json.dumps(message).encode(), mark)
            if code:
                raise ScriptRefused(_why_it_died(code), line_of())
            try:
                answer = _Answer.model_validate_json(said)
            except ValidationError:
                raise ScriptRefused("what it asks for is too much, or is not right", line_of()) from None
    finally:
        _ENTERED.release()
    if answer.runs and sum(len(ids) for wish in answer.runs for ids in wish.inputs.values()) > MOST_INPUTS:
        raise ScriptRefused(f"more than {MOST_INPUTS} inputs in all", answer.line)
    return answer


def _run(command: Sequence[str], message: bytes, mark: int) -> tuple[bytes, int]:
    """Run the process; return what it said after it was ready, and its exit code (negative: a signal)."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"LANG": "C.UTF-8"},
        cwd="/",
        pass_fds=[mark],
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - tells the type checker
    assert process.stdout is not None  # noqa: S101 - likewise
    with process:
        try:
            with _killed_after(process, _START_SECONDS):
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(message)
                    process.stdin.close()
                is_ready = process.stdout.readline().strip() == READY.encode()
            if not is_ready:
                raise ScriptRefused("the portal could not start to read the script; try again")
            with _killed_after(process, KILLED_AFTER_SECONDS):
                said = process.stdout.read(_LARGEST_ANSWER)
                process.wait()
        finally:
            process.kill()
    return said, process.returncode


@contextlib.contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _mark() -> Iterator[tuple[int, Callable[[], int]]]:
    """A page of memory into which the process writes the line that it is at: it is known even when it is killed."""
    descriptor = os.memfd_create("line", 0)
    try:
        os.truncate(descriptor, 4096)
        yield descriptor, lambda: int(struct.unpack("<I", os.pread(descriptor, 4, 0))[0])
    finally:
        os.close(descriptor)


def _why_it_died(code: int) -> str:
    number = -code if code < 0 else code - 128 if code > 128 else 0
    if number in {signal.SIGXCPU, signal.SIGKILL}:
        return f"it has not ended after {KILLED_AFTER_SECONDS} s: does it ever end?"
    if number in {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP}:
        return f"it needs more than {MEMORY_MIB} MB of memory at once"
    return f"the process that read it ended with code {code}"


def _command() -> list[str]:
    begin = "import sys; sys.path[:0] = sys.argv[1:]; from processing_units.batch_scripts.child import main; main()"
    return [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", begin, str(_TREE), *_site_folders()]


@cache
def _site_folders() -> list[str]:
    """Return where the language and YAML are installed."""
    found = [find_spec(name) for name in ("starlark", "yaml")]
    return sorted({str(Path(spec.origin).parents[1]) for spec in found if spec is not None and spec.origin})


@cache
def _confined() -> list[str]:
    """Return the beginning of a command line that confines a process; nothing where bubblewrap does not work."""
    program = shutil.which("bwrap")
    if program is None:
        log.warning("there is no bwrap: batch scripts are held by limits of the kernel alone")
        return []
    options = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    options += ["--uid", _NOBODY, "--gid", _NOBODY, "--proc", "/proc", "--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        place = Path("/", name)
        if place.is_symlink():
            options += ["--symlink", os.readlink(place), str(place)]
        elif place.is_dir():
            options += ["--ro-bind", str(place), str(place)]
    options += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    package = Path(__file__).resolve().parent
    for folder in (sys.base_prefix, *_site_folders(), str(package), str(package.parent / "__init__.py")):
        options += ["--ro-bind", folder, folder]
    options += ["--remount-ro", "/", "--chdir", "/", "--clearenv", "--setenv", "LANG", "C.UTF-8", "--"]
    tried = subprocess.run(
        [*options, os.path.realpath(sys.executable), "-I", "-S", "-c", "print('confined')"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_START_SECONDS,
        check=False,
    )
    if tried.stdout.strip() == b"confined":
        return options
    log.warning("bwrap does not work here (%s): batch scripts are held by limits alone", tried.stderr[-200:])
    return []
