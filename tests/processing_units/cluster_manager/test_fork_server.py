"""The folder of the fork server's socket: nothing of the dead stays, and nobody else's is touched."""

import os

import pytest

from processing_units.cluster_manager.fork_server import ForkServer


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr("processing_units.cluster_manager.fork_server._short_directory", lambda: str(tmp_path))
    return tmp_path


def test_the_folder_of_one_all_of_whose_processes_were_killed_is_removed_by_the_next(root):
    living, dead = ForkServer("python"), ForkServer("python")
    (dead.directory / "1.socket").touch()
    dead._lock.close()  # what the kernel does when a process dies
    third = ForkServer("python")
    assert not dead.directory.exists()
    assert living.directory.exists()
    for server in (living, third):
        server.stop()
    assert list(root.iterdir()) == []


def test_what_is_not_ours_stays(root):
    elsewhere = root / "elsewhere"
    for folder in (elsewhere, root / "awworker-of-another", root / "awworker-without-a-lock"):
        folder.mkdir()
    for folder in (elsewhere, root / "awworker-of-another"):
        (folder / "lock").touch()
    (root / "awworker-link").symlink_to(elsewhere)
    if os.geteuid() == 0:
        os.chown(root / "awworker-of-another", 65534, -1)
    else:
        (root / "awworker-of-another" / "lock").unlink()
    ForkServer("python").stop()
    assert {path.name for path in root.iterdir()} == {
        "elsewhere", "awworker-of-another", "awworker-without-a-lock", "awworker-link"
    }  # fmt: skip
    assert (elsewhere / "lock").exists()
