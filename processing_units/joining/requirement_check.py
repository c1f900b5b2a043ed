"""Whether an interpreter has the pinned requirements already, and what is missing."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"([A-Za-z0-9._-]+)\s*==\s*([^\s;]+)\s*(?:;\s*(.+))?")
_CONDITION = re.compile(r"(\w+)\s*(==|!=|<=|>=|<|>)\s*['\"]([^'\"]*)['\"]")
# Asked of the interpreter itself, which may be another one than ours.
_ASK = """\
import importlib.metadata, json, os, platform, sys
versions = {}
for name in sys.argv[1:]:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
about = {"python_full_version": platform.python_version(), "python_version": "%d.%d" % sys.version_info[:2],
         "sys_platform": sys.platform, "platform_system": platform.system(), "platform_machine": platform.machine(),
         "platform_python_implementation": platform.python_implementation(),
         "implementation_name": sys.implementation.name, "os_name": os.name, "prefix": sys.prefix}
print(json.dumps({"about": about, "versions": versions}))
"""
_ASK_SECONDS = 60


class NoPythonError(Exception):
    """The interpreter cannot be started, or is no Python."""


@dataclass(frozen=True)
class Interpreter:
    """What an interpreter says of itself: the values that requirements' markers ask for."""

    path: Path
    about: dict[str, str]
    versions: dict[str, str]

    @property
    def version(self) -> tuple[int, ...]:
        """Its version, as (3, 11, 7)."""
        return _numbers(self.about["python_full_version"])


def ask(python: Path, names: list[str]) -> Interpreter:
    """Ask an interpreter for its version and those of some packages; raises `NoPythonError`."""
    try:
        answer = subprocess.run(
            [str(python), "-c", _ASK, *names],
            capture_output=True,
            text=True,
            check=False,
            timeout=_ASK_SECONDS,
            cwd="/",  # the folder in which the user stands may hold packages that are not the interpreter's
        )
        said = json.loads(answer.stdout) if answer.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise NoPythonError(f"{python} cannot be used as a Python: {error}") from error
    if said is None:
        last = answer.stderr.strip().splitlines()[-1:] or [f"exit code {answer.returncode}"]
        raise NoPythonError(f"{python} cannot be used as a Python ({last[0]})")
    return Interpreter(python, said["about"], said["versions"])


def names_in(requirements: list[str]) -> list[str]:
    """Return the names of all requirements."""
    return sorted({found[1] for line in requirements if (found := _LINE.match(line))})


def wanted_versions(requirements: list[str], about: dict[str, str]) -> dict[str, str]:
    """Return name and version of the requirements that count for an interpreter."""
    wanted = {}
    for line in requirements:
        found = _LINE.match(line)
        if found and holds(found[3] or "", about):
            wanted[found[1]] = found[2]
    return wanted


def missing(requirements: list[str], interpreter: Interpreter) -> list[str]:
    """Say which requirements an interpreter does not fulfil: ``numpy is 2.4.5, 2.4.6 is needed``."""
    lacks = []
    for name, version in wanted_versions(requirements, interpreter.about).items():
        there = interpreter.versions.get(name)
        if there != version:
            lacks.append(f"{name} is {there or 'not there'}, {version} is needed")
    return lacks


def holds(marker: str, about: dict[str, str]) -> bool:
    """Tell whether a marker holds, as uv writes them into pinned lists: comparisons with ``and`` and ``or``."""
    if not marker.strip():
        return True
    return any(all(_compares(part, about) for part in either.split(" and ")) for either in marker.split(" or "))


def _compares(condition: str, about: dict[str, str]) -> bool:
    found = _CONDITION.search(condition)
    if not found or found[1] not in about:
        return True  # better one requirement too many than one too few
    name, comparison, value = found.groups()
    left: tuple[int, ...] | str = about[name]
    right: tuple[int, ...] | str = value
    if name.endswith("version"):
        left, right = _numbers(about[name]), _numbers(value)
        # 3.12 means 3.12.0 here, as in the specification of versions
        length = max(len(left), len(right))
        left, right = ((*numbers, *(0,) * (length - len(numbers))) for numbers in (left, right))
    results = {"==": left == right, "!=": left != right, "<": left < right, ">": left > right}  # type: ignore[operator]
    results |= {"<=": left <= right, ">=": left >= right}  # type: ignore[operator]
    return results[comparison]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+", maxsplit=1)[0])[:3])
