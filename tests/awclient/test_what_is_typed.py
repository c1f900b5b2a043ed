"""What a user types and what a server says: options of recipes, numbers, types, tokens, and harmless text."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from awclient.configuration import Configuration, read_configuration, write_configuration
from awclient.errors import EXIT_USAGE, NotAllowed, UsageProblem
from awclient.ingest import frames_below, read_type_rules
from awclient.main import app, run
from awclient.recipe_options import describe, names_in, parse_directions, parse_ids, read_parameter_file
from awclient.terminal import clean

from .descriptions import BIAS


def commands(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each command with its options."""
    for word, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {word}")
    if not getattr(command, "commands", None):
        yield name, {option for parameter in command.params for option in parameter.opts}


def test_each_command_has_json() -> None:
    without = {name for name, options in commands(get_command(app), "awrecipe") if "--json" not in options}
    assert without == {"awrecipe login"}


def test_parameters_inputs_and_numbers_are_told_apart() -> None:
    typed = ["12-14", "--sigma-clip", "4", "--overscan-correction=0", "--interpolate", "--read-noise", "7", "20"]
    directions = parse_directions(BIAS, typed)
    assert directions.parameters == {"sigma_clip": "4", "overscan_correction": "0", "interpolate": True}
    assert directions.inputs == {"": [12, 13, 14, 20], "read_noise": [7]}
    assert parse_directions(BIAS, ["--no-interpolate"]).parameters == {"interpolate": False}


def test_names_of_a_chain_are_told_apart() -> None:
    assert names_in("Bias") == ["Bias"]
    assert names_in("Reduce > Science>Coadd") == ["Reduce", "Science", "Coadd"]


@pytest.mark.parametrize("chain", ["", ">", "Reduce>>Coadd", "Reduce>", " >Reduce"])
def test_a_chain_with_a_gap_is_refused(chain: str) -> None:
    with pytest.raises(UsageProblem, match="names no recipe"):
        names_in(chain)


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        (["--sigma-clp", "3"], "--sigma-clp"),
        (["--sigma-clip"], "needs a value"),
        (["abc"], "abc"),
        (["1-999999999"], "more than"),
    ],
)
def test_typing_errors_are_said(typed: list[str], word: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parse_directions(BIAS, typed)
    assert word in caught.value.message


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == EXIT_USAGE
    shown = capsys.readouterr()
    assert shown.out.startswith("Usage: awrecipe [OPTIONS] COMMAND")
    assert shown.err == ""


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UsageProblem) as caught:
        parse_directions(BIAS, ["--sigma-clp", "3"])
    assert caught.value.hint == "did you mean --sigma-clip? see `awrecipe help Bias`"


def test_help_tells_unit_limits_and_default() -> None:
    text = "\n".join(describe(BIAS))
    assert "--sigma-clip                 number [sigma], at least 1, at most 50; default 3.0" in text
    assert "--raw-bias                   RawBias; at least 3, chosen by you" in text


def test_numbers_are_read() -> None:
    assert parse_ids("3,5,8-10", "inputs") == [3, 5, 8, 9, 10]


def test_parameters_come_from_toml_and_json(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text("sigma_clip = 4.5\n")
    (tmp_path / "p.json").write_text('{"sigma_clip": 4.5}')
    (tmp_path / "bad.toml").write_text("sigma_clip: 4.5\n")
    assert read_parameter_file(tmp_path / "p.toml") == read_parameter_file(tmp_path / "p.json") == {"sigma_clip": 4.5}
    with pytest.raises(UsageProblem, match="is not TOML"):
        read_parameter_file(tmp_path / "bad.toml")


def test_type_rules_with_a_pattern_come_first(tmp_path: Path) -> None:
    rules = read_type_rules(["science", "domeflat/*=RawDomeFlat"])
    told = [
        next(rule.type for rule in rules if rule.fits(Path(path)))
        for path in ("domeflat/a.FIT", "night1/domeflat/b.fits", "x.fits")
    ]
    assert told == ["RawDomeFlat", "RawDomeFlat", "science"]
    with pytest.raises(UsageProblem):
        read_type_rules(["=RawDomeFlat"])


def test_frames_are_found_and_the_rest_is_told(tmp_path: Path) -> None:
    for name in ("b/1.fits.gz", "a/2.FIT", "c/3.fz", "notes.txt", ".hidden.fits"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    frames, others = frames_below([tmp_path])
    assert [str(relative) for _, relative in frames] == ["a/2.FIT", "b/1.fits.gz", "c/3.fz"]
    assert others == ["notes.txt"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("a\rb\x08\x9b1mc\x7f", "ab1mc"),
        ("a\tb\nc", "a\tb\nc"),
        ("\u202egnp.fits", "gnp.fits"),
        ("[bold]", "[bold]"),
    ],
)
def test_text_from_the_server_does_nothing_to_a_terminal(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_login_is_kept_for_its_owner_alone_and_for_its_portal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_configuration(Configuration("http://127.0.0.1:1", "aw_kept"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_configuration() == Configuration("http://127.0.0.1:1", "aw_kept")
    monkeypatch.setenv("AWPORTAL_URL", "http://127.0.0.1:2/")
    with pytest.raises(NotAllowed, match=r"no token for http://127\.0\.0\.1:2"):
        read_configuration()
    monkeypatch.setenv("AWPORTAL_TOKEN", "aw_other")
    assert read_configuration() == Configuration("http://127.0.0.1:2", "aw_other")


def test_a_token_file_overrules_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("aw_file\n")
    monkeypatch.setenv("AWPORTAL_URL", "http://127.0.0.1:2")
    monkeypatch.setenv("AWPORTAL_TOKEN_FILE", str(tmp_path / "token"))
    assert read_configuration().token == "aw_file"
    (tmp_path / "token").write_text("two words\n")
    with pytest.raises(UsageProblem, match="no token has"):
        read_configuration()
