"""Directories of attempts, and what is done about those of cluster managers that died."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from fake_unit import gone
from psutil import Process

from processing_units.cluster_manager.scratch import Scratch, make_directory, note_process


def new_directory(scratch):
    directory = scratch.place(7, 1)
    make_directory(directory)
    return directory


def test_a_dead_ones_processes_and_files_are_cleaned_up_and_a_living_ones_are_not(tmp_path):
    dead, living = Scratch(tmp_path, "dead"), Scratch(tmp_path, "living")
    sleeps = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(2)]
    directories = [new_directory(scratch) for scratch in (dead, living)]
    for directory, sleep in zip(directories, sleeps, strict=True):
        note_process(directory, sleep.pid)
    dead._lock.close()  # what the kernel does when a process dies
    third = Scratch(tmp_path, "third")
    assert gone([Process(sleeps[0].pid)])
    assert sleeps[1].poll() is None
    assert not dead.path.exists()
    assert directories[1].exists()
    for scratch in (living, third):
        scratch.remove()
    sleeps[1].kill()
    for sleep in sleeps:
        sleep.wait()
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_in_the_directory_is_touched(tmp_path):
    other = tmp_path / "someone"
    other.mkdir()
    (other / "lock").touch()
    (tmp_path / "awworker-notes").mkdir()
    Scratch(tmp_path, "mine").remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["awworker-notes", "someone"]


def test_no_two_attempts_share_a_directory(tmp_path):
    scratch = Scratch(tmp_path, "mine")
    first, second = new_directory(scratch), new_directory(scratch)
    assert first != second
    assert sorted(path.name for path in first.iterdir()) == ["inputs", "outputs", "tmp"]
    scratch.remove()


@pytest.fixture
def ordinary_root():
    """A directory where the rights of files count: root, who runs CI, may read everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        with tempfile.TemporaryDirectory() as directory:
            yield Path(directory)
    finally:
        os.seteuid(was)


def test_what_a_job_made_unreadable_is_removed_too(ordinary_root):
    scratch = Scratch(ordinary_root, "mine")
    directory = new_directory(scratch)
    closed = [directory / "outputs" / "closed", directory / "tmp" / "one" / "two" / "three"]
    for folder in closed:
        folder.mkdir(parents=True)
        (folder / "file").touch()
        for closing in [folder, *folder.parents]:
            if closing.is_relative_to(directory) and closing != directory:
                closing.chmod(0o000)
    scratch.remove()
    assert list(ordinary_root.iterdir()) == []


def test_folders_within_folders_without_end_are_removed_too(tmp_path):
    scratch = Scratch(tmp_path, "mine")
    new_directory(scratch)
    here = os.open(scratch.path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pid", [0, 1])
def test_a_process_that_is_not_ours_is_never_noted_as_group_to_kill(tmp_path, pid):
    """A noted process counts only with the time of its start, so that a number used anew is left alone."""
    dead = Scratch(tmp_path, "dead")
    directory = new_directory(dead)
    (directory / "process.json").write_text(f'{{"pid": {pid}, "created": 1.0}}')
    dead._lock.close()
    Scratch(tmp_path, "next").remove()
    assert not dead.path.exists()
