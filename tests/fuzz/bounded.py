"""A case made, run and judged in processes of its own, within a time that ends even what no limit in it could end."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recipes.catalogue import all_recipes
from tests.fuzz.cases import make_case
from tests.fuzz.library import Library
from tests.fuzz.verdict import WALL_SECONDS, run_case

MOST_SECONDS = WALL_SECONDS + 60  # of a case with all that is made and looked at around it


@dataclass
class Ending:
    """How a case ended."""

    number: int
    recipe: str
    end: str
    wrong: str = ""
    damages: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run_bounded(number: int, library: Library, place: Path, most_seconds: float = MOST_SECONDS) -> Ending:
    """Make, run and judge case `number` in `place`; a case that takes longer than `most_seconds` has hung."""
    recipes = list(all_recipes())
    begin = time.monotonic()
    said = _said_by_a_process(number, library, place, most_seconds)
    seconds = time.monotonic() - begin
    if said is None:
        wrong = f"not ended after {most_seconds:.0f} s"
        return Ending(number, recipes[number % len(recipes)], "hang", wrong, seconds=seconds)
    ending = Ending(**json.loads(said)) if said else Ending(number, recipes[number % len(recipes)], "crash", "no word")
    ending.seconds = seconds
    return ending


def _said_by_a_process(number: int, library: Library, place: Path, most_seconds: float) -> bytes | None:
    """Return what the case's process wrote, or None where it was ended for its time."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()  # so that it ends with the process of the job that it forks
        _make_and_run(number, library, place, there)
    os.close(there)
    said, end = b"", time.monotonic() + most_seconds
    try:
        while (left := end - time.monotonic()) > 0 and select.select([here], [], [], left)[0]:
            part = os.read(here, 65536)
            if not part:
                return said
            said += part
        return None
    finally:
        os.close(here)
        os.killpg(child, signal.SIGKILL)  # not yet waited for, so the number is still its own
        os.waitpid(child, 0)


def _make_and_run(number: int, library: Library, place: Path, there: int) -> None:
    recipes = list(all_recipes())
    ending = Ending(number, recipes[number % len(recipes)], "crash")
    try:
        case = make_case(number, library, place)
        end, wrong = run_case(case)
        ending = Ending(number, case.recipe, end, wrong, case.damages)
    except BaseException:  # noqa: BLE001 - what the fuzzing itself stumbles over is to be seen too
        ending.wrong = traceback.format_exc()
    finally:
        os.write(there, json.dumps(asdict(ending)).encode())  # a pipe takes 64 kB at once
        os._exit(0)
