"""The tutorials, followed word for word by a reader who types each block and compares what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.night.installation import TREE, Installation
from tests.tutorials.conftest import WHOLE
from tests.tutorials.follow import Shell, agrees, follow, steps

ADDRESS = "http://127.0.0.1:8000"


def hold(name: str, shell: Shell, places: dict[str, str], *, numbers: bool) -> int:
    """Follow a tutorial to its end; fail with what is printed otherwise than it says."""
    text = (TREE / "docs" / name).read_text(encoding="utf-8")
    followed, wrong = 0, []
    for step, said, printed, right in follow(text, shell, places, numbers=numbers):
        followed += 1
        if not right:
            wrong.append(f"docs/{name}, line {step.line}:\n{step.commands}-- it says\n{said}-- printed is\n{printed}")
    assert not wrong, "\n".join(wrong)
    return followed


# In the order in which they stand here: each leaves a portal on which the next can be followed.
@pytest.mark.processes
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("name", "least"),
    [("tutorial.md", 10), ("from-astro-wise.md", 1), ("python.md", 2), ("api.md", 6), ("managers.md", 2)],
)
def test_the_night_of_make_demo(name: str, least: int, observed: Installation, reader: Shell) -> None:
    assert hold(name, reader, {ADDRESS: observed.url}, numbers=WHOLE) >= least


@pytest.mark.processes
@pytest.mark.real_frames
@pytest.mark.timeout(1500)
def test_ones_own_frames(portal: Installation, reader: Shell, real_frames: Path, tmp_path: Path) -> None:
    night = tmp_path / "nickel"  # the shell's home is tmp_path
    (night / "catalogues").mkdir(parents=True)
    (night / "catalogues" / "Landolt09.fit").symlink_to(real_frames / "catalogues" / "Landolt09.fit")
    for frame in real_frames.glob("nickel_lick_v_2024/*/*.gz"):
        (night / frame.name).symlink_to(frame)
    assert hold("tutorial-own-frames.md", reader, {ADDRESS: portal.url}, numbers=True) == 5


def test_what_is_said_is_held_to_what_is_printed() -> None:
    said = "run …: Bias, 4 jobs\n…\n1  ccd1  done\n2  ccd2  done\n"
    whole = "run 7: Bias, 4 jobs\nqueued\nrunning\n1  ccd1  done\n2  ccd2  done\n"
    assert agrees(said, whole, numbers=True)
    assert agrees(said, "run 7: Bias, 2 jobs\n1   ccd1   done\n", numbers=False)
    assert not agrees(said, "run 7: Bias, 2 jobs\n1  ccd1  done\n", numbers=True)
    assert not agrees(said, whole.replace("done", "failed"), numbers=False)


def test_steps_are_found_with_what_they_print(tmp_path: Path) -> None:
    text = "# T\n\n```sh first-terminal\nmake demo\n```\n\n```sh\ntrue\n```\n\nThen:\n\n```text\nhm\n```\n"
    assert [(step.line, step.printed, step.is_elsewhere) for step in steps(text)] == [(3, "", True), (7, "hm\n", False)]
    shell = Shell(tmp_path, {"PATH": "/usr/bin:/bin"}, 60.0)
    try:
        assert shell.type("x=$(echo 1)\nexport Y=2") == ""
        assert shell.type('echo "$x $Y"; cat') == "1 2\n"
        with pytest.raises(RuntimeError, match="before"):
            shell.type("echo before\nfalse\necho after")
    finally:
        shell.close()
