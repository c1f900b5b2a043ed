"""Where the standard recipes and their interpreter lie, which a sandbox has to show to shipped code."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from processing_units.cluster_manager.fork_server import job_free_environment

_PROBE_SECONDS = 30.0
_PROBE = """import importlib.util, json, os, sys
print(json.dumps({"executable": sys.executable, "prefixes": [sys.base_prefix, sys.prefix, sys.base_exec_prefix],
                  "path": [os.path.abspath(entry) for entry in sys.path if entry and os.path.isdir(entry)],
                  "recipes": importlib.util.find_spec("recipes").origin}))  # as long a line as no socket's path can be
"""


class NoInterpreter(Exception):
    """The interpreter cannot be asked, or has no recipes in a folder."""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter that has the recipes.

    ``folders`` are those that it needs to be read, besides the system's.
    """

    python: Path
    recipes: Path
    folders: tuple[Path, ...]


def find_interpreter(python: str) -> Interpreter:
    """Ask the interpreter; raises NoInterpreter with the reason."""
    try:
        asked = subprocess.run(
            [python, "-c", _PROBE], env=job_free_environment(), capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
        told = json.loads(asked.stdout) if asked.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise NoInterpreter(f"{python} cannot be asked where its recipes are: {error}") from error
    if told is None:
        raise NoInterpreter(f"{python} cannot tell where its recipes are (exit code {asked.returncode})")
    recipes = Path(told["recipes"]).parent
    if not recipes.is_dir():
        raise NoInterpreter(f"the recipes of {python} lie in an archive, not in a folder: {recipes}")
    folders: list[Path] = []
    for entry in [*told["prefixes"], *told["path"]]:
        folder = Path(entry)
        # What lies beside the recipes (a checkout's other packages) is nobody's business.
        if folder == recipes.parent or (folder in recipes.parents and folder.name != "site-packages"):
            continue
        if not any(folder.is_relative_to(other) for other in [*folders, Path("/usr")]):
            folders.append(folder)
    return Interpreter(Path(told["executable"]), recipes, tuple(folders))
