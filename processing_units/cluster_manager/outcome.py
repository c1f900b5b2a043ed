"""How a job's process ended and what its result file says, turned into products or into one clear fault."""

from __future__ import annotations

import errno
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processing_units.cluster_manager.collecting import read_small_file
from processing_units.cluster_manager.faults import FaultError, disk_full
from processing_units.cluster_manager.fork_server import Ended
from processing_units.cluster_manager.watchdog import Watched, oom_kills
from processing_units.contract import FaultKind, StagedProduct
from processing_units.wording import first_fault

RESULT_FILE = "result.json"
_LARGEST_RESULT = 16 * 1024 * 1024  # more than a commit may carry
_LARGEST_PROGRESS = 4096
_DEEPEST_VALUE = 64
_NO_ROOM_BYTES = 1024 * 1024
_NO_SPACE_LEFT = os.strerror(errno.ENOSPC)
_OUT_OF_MEMORY = "out of memory"


class _Made(StagedProduct):
    """A product as the recipe's result file describes it."""

    path: str


class _Error(BaseModel):
    kind: Literal["usage", "fatal", "transient"]
    message: str
    hint: str = ""


class _Result(BaseModel):
    """What the cluster manager needs of a result file; `recipes/job.py` defines the whole."""

    model_config = ConfigDict(extra="ignore")
    state: Literal["done", "failed"]
    products: list[_Made] = Field(default_factory=list)
    left_out: list[dict[str, str]] = Field(default_factory=list)
    error: _Error | None = None
    peak_memory_mib: float = 0.0


@dataclass
class Outcome:
    """What a job that is done has made."""

    products: list[tuple[Path, StagedProduct]]
    left_out: list[dict[str, str]]
    seconds: float = 0.0
    peak_memory_mib: float = 0.0


def read_outcome(directory: Path, ended: Ended, watched: Watched, last_line: str, free_bytes: int) -> Outcome:
    """Judge the end of a job's process.

    Raises
    ------
    FaultError
        It failed, crashed, ran out of memory, or made something that cannot be taken.
    """
    if ended.signal is not None:
        raise _killed(ended.signal, watched, last_line)
    result = _read_result(directory / "outputs" / RESULT_FILE)
    if result is None or (result.state == "done" and ended.exit != 0):
        raise _crashed(ended.exit, last_line, free_bytes)
    if result.state == "failed":
        raise _failed(result, free_bytes)
    outputs = directory / "outputs"
    return Outcome(
        products=[(_path_of(outputs, made), _staged(made)) for made in result.products],
        left_out=result.left_out,
        peak_memory_mib=max(watched.peak_mib, ended.max_rss_mib, result.peak_memory_mib),
    )


def _read_result(path: Path) -> _Result | None:
    try:
        if path.stat().st_size > _LARGEST_RESULT:
            raise FaultError(
                FaultKind.FATAL, f"The result file has {path.stat().st_size} bytes, more than is believable."
            )
        return _Result.model_validate(_sendable(json.loads(path.read_text())))
    except OSError:
        return None
    except (ValueError, ValidationError, RecursionError) as error:
        detail = first_fault(error) if isinstance(error, ValidationError) else str(error)
        raise FaultError(
            FaultKind.FATAL,
            f"The job's result file cannot be read: {detail}",
            hint="The code that ran and the cluster manager may be of different versions.",
        ) from error


def _sendable(said: Any) -> Any:
    """Return what can be sent on as JSON, or raise ValueError: nested without sense, or half characters."""
    level = [said]
    for _ in range(_DEEPEST_VALUE):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise ValueError(f"it is nested more than {_DEEPEST_VALUE} deep")
    json.dumps(said, ensure_ascii=False).encode()
    return said


def _failed(result: _Result, free_bytes: int) -> FaultError:
    error = result.error or _Error(kind="fatal", message="The recipe failed and did not say why.")
    if error.kind == "transient" and (_NO_SPACE_LEFT in error.message or free_bytes < _NO_ROOM_BYTES):
        return disk_full(error.message)
    kind = FaultKind.OUT_OF_MEMORY if _OUT_OF_MEMORY in error.message.lower() else FaultKind(error.kind)
    return FaultError(kind, error.message, hint=error.hint)


def _crashed(code: int, last_line: str, free_bytes: int) -> FaultError:
    if free_bytes < _NO_ROOM_BYTES or _NO_SPACE_LEFT in last_line:
        return disk_full(f"The job ended with exit code {code} when the node's scratch was full.")
    said = f"; its last words: {last_line}" if last_line else " and said nothing"
    if code == 0:
        return FaultError(FaultKind.CRASHED, f"The job's process ended without a result{said}")
    return FaultError(FaultKind.CRASHED, f"The job's process ended with exit code {code} and no result{said}")


def _killed(number: int, watched: Watched, last_line: str) -> FaultError:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL and oom_kills() > watched.oom_kills:
        return FaultError(
            FaultKind.OUT_OF_MEMORY,
            "The kernel killed the job because the node ran out of memory; it was seen to use "
            f"{watched.peak_mib:.0f} MiB of its {watched.limits.memory_mib}.",
            hint="Give it fewer or smaller inputs, or a node with more memory or fewer slots.",
        )
    said = f"; its last words: {last_line}" if last_line else ""
    return FaultError(FaultKind.CRASHED, f"The job's process was killed by {name}{said}")


def _path_of(outputs: Path, made: _Made) -> Path:
    path = Path(os.path.normpath(outputs / made.path))
    if path.parent != outputs or path.is_symlink() or not path.is_file():
        raise FaultError(
            FaultKind.FATAL, f"The result file names {made.path!r}, which is no file in the job's output directory."
        )
    return path


def _staged(made: _Made) -> StagedProduct:
    return StagedProduct.model_validate({name: value for name, value in made if name != "path"})


def last_progress(directory: Path) -> tuple[float, str]:
    """Read how far the job says it is: fraction and stage."""
    try:
        said: Any = json.loads(read_small_file(directory / "progress.json", _LARGEST_PROGRESS) or b"{}")
        stage = str(said.get("stage", "")).encode(errors="replace").decode()
        return min(1.0, max(0.0, float(said.get("fraction", 0.0)))), stage[:100]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return 0.0, ""
