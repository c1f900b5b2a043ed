"""Scripts and tables are read in a process that can do nothing else; what is wrong is told with its line."""

from __future__ import annotations

import time
from typing import Any

import pytest

from processing_units.batch_scripts import evaluator
from processing_units.batch_scripts.evaluator import Language, ScriptRefused, Wish, evaluate
from processing_units.batch_scripts.marks import marked

FRAMES = [{"id": number, "chip": f"c{number}", "filter": "V", "night": "2024-05-12"} for number in (11, 12, 13)]


def read(text: str, language: Language = "star") -> list[Wish]:
    return evaluate(text, language, [], lambda _: FRAMES)


def refused(text: str, language: Language = "star") -> tuple[int, str]:
    with pytest.raises(ScriptRefused) as caught:
        read(text, language)
    return caught.value.line, str(caught.value)


def test_a_loop_over_frames() -> None:
    wishes = read(
        "def deep(frame):\n    return 1.5 if frame.chip == 'c12' else 3.0\n\n"
        "for frame in frames(kind = 'ReducedScienceFrame', night = ['2024-05-12', '2024-05-13']):\n"
        "    run('SourceList', frame, detect_thresh = deep(frame), comment = f'{frame}'[:5])\n"
    )
    assert [wish.inputs for wish in wishes] == [{"": [11]}, {"": [12]}, {"": [13]}]
    assert [wish.parameters["detect_thresh"] for wish in wishes] == [3.0, 1.5, 3.0]
    assert {wish.line for wish in wishes} == {5}


def test_all_that_a_run_may_say() -> None:
    (wish,) = read(
        "run('Reduce>Science', select = {'kind': 'RawScience'}, params = {'Science.pixel_scale': 0.2},\n"
        "    unit = 'hpc', project = 'survey', privilege = 2, comment = 'x')\n"
    )
    assert wish.model_dump() == {
        "line": 1, "recipe": "Reduce>Science", "inputs": {"": [11, 12, 13]}, "unit": "hpc", "project": "survey",
        "parameters": {"Science.pixel_scale": 0.2}, "privilege": 2, "comment": "x",
    }  # fmt: skip
    (wish,) = read("run('Bias', {'raw_bias': frames(kind = 'RawBias'), 'read_noise': 7})\n")
    assert wish.inputs == {"raw_bias": [11, 12, 13], "read_noise": [7]}


def test_the_same_answers_give_the_same_wishes() -> None:
    text = "for frame in frames(kind = 'RawBias'):\n    run('ReadNoise', frame)\n"
    answers: list[Any] = []
    first = evaluate(text, "star", answers, lambda _: FRAMES)
    assert answers == [{"select": {"kind": "RawBias"}, "frames": FRAMES}]
    assert evaluate(text, "star", answers) == first
    with pytest.raises(ScriptRefused, match="did not ask for before"):
        evaluate("run('Bias', frames(kind = 'RawDark'))", "star", answers)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = 1\ny = x +\n", 2, "Parse error"),
        ("x = 1\n\nfram()\n", 3, "Variable `fram` not found"),
        ("def f():\n    run('Bias', [])\n\nf()\n", 2, "is given no frames"),
        ("x = 1\nrun('Bias', range(3))\n", 2, "write list"),
        ("frames(kidn = 'RawBias')", 1, "cannot be chosen by 'kidn'"),
        ("x = 1\nframes()", 2, "needs a filter"),
        ("run('Bias', 1, params = {'a': [1]})", 1, "no parameter's value"),
        ("run('Bias', 1, privilege = 9)", 1, "privilege is 1"),
        ("load('a.star', 'b')", 1, "`load` is not allowed"),
        ("x = 1\nfail('no flats')", 2, "no flats"),
        ("open('/etc/passwd')", 1, "Variable `open` not found"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, words: str) -> None:
    where, told = refused(text)
    assert words in told
    assert where == line


HOSTILE = {
    "an endless loop": ("x = 1\nfor i in range(1000000000):\n    x = i\n", {2, 3}, "has not ended after"),
    "a long text": ("x = 1\ny = 'a' * 2000000000\n", {2}, "memory"),
    "a growing list": ("x = ['a' * 1000]\nfor i in range(60):\n    x = x + x\n", {2, 3}, "memory"),
    "10**9 jobs": ("x = 1\nfor i in range(1000000000):\n    run('Bias', [1, 2, 3])\n", {3}, "more than 10000 runs"),
    "10**9 inputs": ("x = 1\nrun('Bias', list(range(1, 1000000001)))\n", {2}, "memory"),
    "deep recursion": ("def f(n):\n    return f(n + 1)\n\nf(1)\n", {2}, "more than 100 deep"),
    "a loop inside one call": ("x = 1\ny = max([i for i in range(1000000000)])\n", {2}, ""),
    "nested brackets": ("x = " + "[" * 5000 + "]" * 5000, {0, 1}, ""),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_scripts_are_stopped_at_their_line(what: str) -> None:
    text, lines, words = HOSTILE[what]
    began = time.monotonic()
    where, told = refused(text)
    seconds = time.monotonic() - began
    assert where in lines
    assert words in told
    # 3 s of its own and the start of the process; ten times that is left for a machine that does much else.
    assert seconds < 30


def test_without_bubblewrap_limits_of_the_kernel_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "_confined", list)
    assert [wish.recipe for wish in read("run('Bias', 1)")] == ["Bias"]
    assert refused(HOSTILE["a long text"][0])[0] == 2


def test_the_process_can_open_nothing_and_start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were Starlark itself broken, the kernel would still give it no file, no network and no process."""
    attack = """
import os, socket, sys
from processing_units.batch_scripts import child
child.give_up_powers(2.0, 256)
print("ready", flush=True)
done = []
for what, try_it in (("file", lambda: os.open("/usr/bin/env", os.O_RDONLY)),
                     ("network", lambda: socket.socket()), ("pipe", os.pipe)):
    try:
        try_it()
        done.append(what)
    except OSError:
        pass
print('{"error": "%s"}' % (",".join(done) or "nothing done"))
"""
    command = evaluator._command()
    monkeypatch.setattr(
        evaluator, "_command", lambda: [*command[:5], f"import sys; sys.path[:0] = sys.argv[1:]{attack}", *command[6:]]
    )
    assert refused("x = 1")[1] == "nothing done"


def test_an_answer_that_is_too_much_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    command = evaluator._command()
    lie = (
        """print("ready\\\\n" + '{"runs": [{"line": 1, "recipe": "Bias", "inputs": {"": [-1]}, "parameters": {}}]}')"""
    )
    monkeypatch.setattr(evaluator, "_command", lambda: [*command[:5], lie.replace("\\\\n", "\\n")])
    assert "not right" in refused("x = 1")[1]


def test_marks_keep_the_lines() -> None:
    text = (
        "def f(x):\n    if x > (1):\n        return 2\n    elif x: y = 3; z = 4\n    return [\n        x]\n"
        "for é in (1, 2):\n    f('é'); f(2)\n"
    )
    lines = marked(text).split("\n")
    assert lines == [
        "def f(x):",
        "    if _at(2) or (x > (1)):",
        "        _at(3); return 2",
        "    elif _at(4) or (x): _at(4); y = 3; _at(4); z = 4",
        "    _at(5); return [",
        "        x]",
        "for é in _at(7) or ((1, 2)):",
        "    _at(8); f('é'); _at(8); f(2)",
        "",
    ]


YAML = """
- recipe: Bias
  select: {kind: RawBias, night: 2024-05-12}
  params: {sigma_clip: 3}
- recipe: Reduce
  inputs: 3-5
  unit: hpc
"""
CSV = """recipe,inputs,kind,night,sigma_clip,unit
# a remark
Bias,,RawBias,2024-05-12,3,
Reduce,3-5,,,,hpc
"""


@pytest.mark.parametrize(("language", "text", "lines"), [("yaml", YAML, [2, 5]), ("csv", CSV, [3, 4])])
def test_tables(language: Language, text: str, lines: list[int]) -> None:
    asked: list[dict[str, str]] = []
    wishes = evaluate(text, language, [], lambda select: asked.append(select) or FRAMES)  # type: ignore[func-returns-value]
    assert asked == [{"kind": "RawBias", "night": "2024-05-12"}]
    assert [wish.line for wish in wishes] == lines
    assert [(wish.recipe, wish.inputs, wish.unit) for wish in wishes] == [
        ("Bias", {"": [11, 12, 13]}, ""),
        ("Reduce", {"": [3, 4, 5]}, "hpc"),
    ]
    assert [{name: float(value) for name, value in wish.parameters.items()} for wish in wishes] == [
        {"sigma_clip": 3.0},
        {},
    ]


@pytest.mark.parametrize(
    ("language", "text", "line", "words"),
    [
        ("yaml", "- recipe: Bias\n  slect: {kind: RawBias}\n", 1, "no 'slect'"),
        ("yaml", "- recipe: Bias\n  inputs: 1\n- x\n", 3, "written as"),
        ("yaml", "a: &a [x, x]\nb: *a\n", 2, "aliases"),
        ("yaml", "- recipe: Bias\n - x", 2, "no YAML"),
        ("yaml", "- !!python/object/apply:os.system [id]\n", 1, "written as"),
        ("csv", "recip,inputs\nBias,3\n", 1, "one of them is `recipe`"),
        ("csv", "recipe,inputs\nBias,3\nBias,x\n", 3, "no product's number"),
        ("csv", "recipe,inputs\nBias,3,4\n", 2, "3 cells"),
        ("csv", "recipe,inputs\nBias,1-999999999\n", 2, "more than 100000"),
    ],
)
def test_wrong_tables_are_told_with_their_line(language: Language, text: str, line: int, words: str) -> None:
    where, told = refused(text, language)
    assert words in told
    assert where == line
