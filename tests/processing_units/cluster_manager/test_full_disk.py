"""A full disk is a clear failure, and work goes on when there is room."""

import shutil
import subprocess
from pathlib import Path

import pytest
from fake_unit import eventually

from dataserver.errors import DiskFull

pytestmark = pytest.mark.processes


@pytest.fixture
def small_disk(tmp_path):
    """A command that runs another with a scratch of 4 MiB, in a mount namespace of its own."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mount = f'mount -t tmpfs -o size=4m tmpfs "{scratch}" && exec "$@"'
    command = ("unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh")
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no user namespaces here: a small disk cannot be mounted")
    return command


def test_a_job_that_fills_the_scratch(unit, start_worker, done, small_disk):
    start_worker(before=small_disk)
    job = done(unit.submit(["product", "large.fits", 20_000_000]), "failed")
    [failure] = job.failures
    assert failure.fault == "disk_full"
    assert "--scratch" in failure.hint
    assert "failed disk_full" in job.log
    after = done(unit.submit(["product", "small.fits", 1000]))
    assert len(after.commits) == 1


def test_no_job_is_claimed_without_room(unit, start_worker):
    worker = start_worker("--minimum-free", "900T")
    job = unit.submit(["sleep", 0])
    eventually(lambda: "no jobs are claimed" in worker.said, what="it says why")
    assert f"{Path(worker.scratch)} has only" in worker.said
    assert (job.state, unit.claims) == ("queued", 0)


def test_an_input_larger_than_the_cache(unit, start_worker, done, tmp_path):
    raw = unit.add_file("huge.fits", bytes(2_000_000))
    start_worker("--cache-bytes", "1M", "--cache", str(tmp_path / "small"))
    job = done(unit.submit(["product", "p.fits"], inputs=[raw]), "failed")
    [failure] = job.failures
    assert failure.fault == "disk_full"
    assert "huge.fits" in failure.message


def test_a_data_server_without_room(unit, start_worker, done, monkeypatch):
    def stage(*_, **__):
        raise DiskFull("no room left to write", "free some space there")

    start_worker()
    with monkeypatch.context() as full:
        full.setattr(unit.store, "stage", stage)
        job = done(unit.submit(["product", "p.fits", 3_000_000]), "failed")
    [failure] = job.failures
    assert failure.fault == "disk_full"
    assert "data server has no room for p.fits" in failure.message
    assert len(done(unit.submit(["product", "p.fits", 3_000_000])).commits) == 1
