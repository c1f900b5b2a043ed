"""Completion as each shell does it: installed by `awrecipe --install-completion`, asked for by the shell itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from awclient.session import keep_recipe_names

SCRIPTS = Path(sys.executable).parent

# How each shell tells what it would complete after words have been typed, without a terminal to press Tab in.
ASKED = {
    "bash": (
        'COMP_WORDS=({words}); COMP_CWORD={last}; _awrecipe_completion awrecipe; printf "%s\n" "${{COMPREPLY[@]}}"'
    ),
    "zsh": (
        # The first call only defines what the second one then does.
        "_arguments() {{ print -r -- $@ }}; words=({words}); CURRENT={count}; $_comps[awrecipe]; $_comps[awrecipe]"
    ),
    "fish": 'complete -C "{words}"',
}


@pytest.fixture
def home(tmp_path: Path, own_home: Path) -> dict[str, str]:
    """An account of its own in which the recipes' names are known, as after a log-in."""
    keep_recipe_names([{"name": "Bias", "summary": "Combine biases"}, {"name": "Reduce", "summary": "Reduce frames"}])
    return {
        **{name: value for name, value in os.environ.items() if name != "XDG_CONFIG_HOME"},
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
    }


def typed(shell: str, words: str, home: dict[str, str]) -> str:
    """Return what the shell would complete."""
    command = ASKED[shell].format(words=words, last=len(words.split()) - 1, count=len(words.split()))
    options = ["-i", "-c"] if shell != "fish" else ["-c"]
    done = subprocess.run(
        [shell, *options, command], env=home, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return done.stdout


@pytest.mark.parametrize(
    "shell",
    [
        "bash",
        pytest.param("zsh", marks=pytest.mark.program("zsh", "zsh")),
        pytest.param("fish", marks=pytest.mark.program("fish", "fish")),
    ],
)
def test_a_shell_completes_commands_options_and_recipes(shell: str, home: dict[str, str]) -> None:
    # It finds out by itself from which shell it was started.
    subprocess.run([shell, "-c", "awrecipe --install-completion; true"], env=home, check=True, capture_output=True)
    assert "Bias" in typed(shell, "awrecipe run Bi", home)
    assert "Reduce" not in typed(shell, "awrecipe run Bi", home)
    assert "converge" in typed(shell, "awrecipe con", home)
    assert "--dry-run" in typed(shell, "awrecipe run Bias --dry", home)
