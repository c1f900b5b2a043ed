"""A seeded sample of the chaos suite (R11), and that its checker sees what it is there to see."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.chaos.history import Change, faults_of
from tests.chaos.points import IN_THE_CODE, all_points, schedule
from tests.night.installation import TREE

SAMPLE = 4


def test_a_seed_gives_its_schedule_and_each_point_its_turn() -> None:
    assert schedule(7, 500) == schedule(7, 500)
    assert schedule(7, 500) != schedule(8, 500)
    one_round = [fault.point for fault in schedule(7, len(all_points()))]
    assert sorted(one_round) == sorted(all_points())


# The users of the suite submit runs alone and want no notices; a kill at each of these is in the frontend's tests.
NOT_OF_THESE_USERS = {"batch.planned", "batch.written", "batch.committed", "notice.claimed", "notice.sent"}


def test_every_named_point_of_the_code_has_its_fault() -> None:
    named = {
        point
        for path in (TREE / "processing_units").rglob("*.py")
        for point in re.findall(r'\breach\("([a-z.-]+)"\)', path.read_text())
    }
    assert named - NOT_OF_THESE_USERS == set(IN_THE_CODE)


def life(*states: str) -> list[Change]:
    """Return the changes of a job that was in these states; each time that it runs is a new attempt."""
    changes, attempt = [], 0
    for number, (old, new) in enumerate(zip(("", *states), states, strict=False)):
        attempt += new == "running"
        changes.append(Change(float(number), 1, old, new, attempt))
    return changes


def test_the_checker_finds_nothing_in_a_life_as_it_should_be() -> None:
    assert faults_of(life("queued", "running", "queued", "running", "done")) == []
    assert faults_of(life("queued", "cancelled")) == []
    revived = [*life("queued", "running", "queued"), Change(3, 1, "queued", "running", 1)]
    assert faults_of([*revived, Change(4, 1, "running", "done", 1)]) == []


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (life("queued", "running"), "has 0 ends"),
        (life("queued", "running", "done", "queued", "running", "done"), "goes from done to queued"),
        (life("queued", "running", "done", "done"), "has 2 ends"),
        (life("running", "done"), "begins as running"),
        ([*life("queued", "running"), Change(2, 1, "running", "done", 2)], "attempt 1 becomes 2"),
        ([*life("queued", "running"), Change(2, 1, "queued", "cancelled", 1)], "was running and then goes from queued"),
    ],
)
def test_the_checker_finds_what_must_not_be(changes: list[Change], wrong: str) -> None:
    assert any(told.startswith(wrong) for told in faults_of(changes)), faults_of(changes)


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_doubled_whatever_breaks() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--database", "SQLite", "--faults", str(SAMPLE), "--seed", "2"]
    ended = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{SAMPLE} faults at {SAMPLE} points" in ended.stdout
