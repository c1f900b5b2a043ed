"""A script in Starlark: two functions, ``run`` and ``frames``, and nothing else that reaches out of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import starlark

from processing_units.batch_scripts.marks import MARK, marked
from processing_units.batch_scripts.meter import Meter
from processing_units.batch_scripts.wishes import Asked, Refused, Wishes

DEEPEST_CALL = 100
_PRELUDE = """
def frames(**select):
    return [struct(**frame) for frame in _frames(select)]

def run(recipe, inputs = None, *, select = None, params = {}, unit = None, project = None, privilege = None,
        comment = "", **parameters):
    chosen = inputs if select == None else _frames(select)
    options = {"unit": unit, "project": project, "privilege": privilege, "comment": comment}
    _run(recipe, chosen, dict(params, **parameters), options, call_stack(strip_frames = 1))
"""
_PLACE = re.compile(r"^ *--> script:(\d+):|^  \* script:(\d+), in ", re.MULTILINE)
_WORDS = re.compile(
    r"^error: (?:(?:Refused|Asked|StarlarkError|TypeError): )?(.*?)(?=\n *-->|\Z)", re.MULTILINE | re.DOTALL
)
_NOT_HANDED_ON = re.compile(r"Operation `serde::serialize` not supported on type `(\w+)`")


def read_script(text: str, wishes: Wishes, meter: Meter, at: Callable[[int], None]) -> None:
    """Evaluate a script; raises Refused with the line, or Asked.

    Parameters
    ----------
    text : str
        The script.
    wishes : Wishes
        Takes what it asks for.
    meter : Meter
        Is asked whether it is to be stopped.
    at : callable
        Is told each line before it is done.
    """
    dialect = starlark.Dialect.extended()
    dialect.enable_load = False
    dialect.enable_f_strings = True
    known = starlark.Globals.extended_by([starlark.LibraryExtension.StructType, starlark.LibraryExtension.CallStack])
    module = starlark.Module()
    module.add_callable("_frames", wishes.frames)
    module.add_callable("_run", lambda *given: wishes.run(*given[:-1], line=_last_place(given[-1])))
    module.add_callable(MARK, at)
    starlark.eval(module, starlark.parse("prelude", _PRELUDE, dialect), known)
    options = starlark.EvalOptions(check_cancelled=meter.is_over, max_callstack_size=DEEPEST_CALL)
    try:
        starlark.parse("script", text, dialect)  # as it was written, so that its faults are told so
        starlark.eval_with(options, module, starlark.parse("script", marked(text), dialect), known)
    except starlark.StarlarkError as error:
        line = _last_place(str(error)) or wishes.line()
        if wishes.question is not None:
            raise Asked(line) from None
        raise Refused(_words(str(error), meter), line) from None
    except BaseException as panic:  # what Rust cannot go on from; it is told as PyO3's own kind, which has no name here
        if type(panic).__name__ != "PanicException":
            raise
        raise Refused(f"it needs more memory than it may have ({panic})"[:500], wishes.line()) from None


def _last_place(said: str) -> int:
    """Return the line of the script that a traceback ends with; 0 where it names none."""
    places = [int(match[1] or match[2]) for match in _PLACE.finditer(said)]
    return places[-1] if places else 0


def _words(said: str, meter: Meter) -> str:
    words = _WORDS.search(said)
    message = meter.breach or (words[1].strip() if words else said.strip().splitlines()[0])
    handed = _NOT_HANDED_ON.search(message)
    if handed:
        return f"run() and frames() take texts, numbers, lists and dicts, no {handed[1]}: write list(...)"
    if "call stack overflow" in message:
        return f"its functions call each other more than {DEEPEST_CALL} deep"
    return message[:500]
