"""Every way in which a job can fail is told as what it is, with a message that a person understands."""

import re
import signal

import pytest
from fake_unit import eventually

pytestmark = pytest.mark.processes


@pytest.fixture
def failure_of(shared_unit, shared_worker, done):
    unit, worker = shared_unit, shared_worker

    def run(*steps, **keywords):
        job = done(unit.submit(*steps, **keywords), "failed", 20)
        eventually(lambda: worker.leftovers() == [], what="nothing is left in scratch")
        assert unit.store.staged(f"{job.number}-{job.attempt}-{job.token[:8]}") == []
        return job.failures[-1], job

    return run


def test_what_the_recipe_itself_says(failure_of):
    failure, job = failure_of(["say", "looking"], ["fail", "usage", "two frames are too few", "give three"])
    assert (failure.fault, failure.message, failure.hint) == ("usage", "two frames are too few", "give three")
    assert "looking" in job.log
    assert job.log.rstrip().endswith("failed usage: two frames are too few")


def test_memory_that_the_interpreter_was_refused_is_out_of_memory(failure_of):
    failure, _ = failure_of(["fail", "transient", "out of memory"])
    assert failure.fault == "out_of_memory"


def test_a_process_that_crashes(failure_of):
    failure, job = failure_of(["say", "last words"], ["die", int(signal.SIGSEGV)])
    assert failure.fault == "crashed"
    assert "SIGSEGV" in failure.message
    assert "last words" in failure.message
    assert "last words" in job.log


def test_a_process_that_is_killed(failure_of):
    failure, _ = failure_of(["die", int(signal.SIGKILL)])
    assert failure.fault == "crashed"
    assert "SIGKILL" in failure.message


def test_a_process_that_ends_without_a_result(failure_of):
    failure, _ = failure_of(["end", 3])
    assert failure.fault == "crashed"
    assert "exit code 3" in failure.message


def test_memory_is_summed_over_the_process_group(failure_of):
    failure, _ = failure_of(["hog", 200, 2], memory_mib=128)
    assert failure.fault == "out_of_memory"
    used = re.search(r"used (\d+) MiB of memory; its limit is 128 MiB", failure.message)
    assert used is not None
    assert 128 <= int(used[1]) <= 220


def test_wall_time(failure_of):
    failure, _ = failure_of(["sleep", 30], wall_seconds=1)
    assert failure.fault == "out_of_time"
    assert "limit of 1 s" in failure.message


def test_an_input_whose_bytes_are_wrong(shared_unit, failure_of):
    raw = shared_unit.add_file("bias.fits", b"good bytes")
    path = shared_unit.store.path(raw.sha256)
    path.chmod(0o644)
    path.write_bytes(b"evil bytes")
    failure, _ = failure_of(["product", "p.fits"], inputs=[raw])
    assert failure.fault == "stage_in"
    assert "bias.fits" in failure.message


def test_an_input_that_is_gone(shared_unit, failure_of):
    raw = shared_unit.add_file("bias.fits", b"other bytes")
    shared_unit.store.path(raw.sha256).unlink()
    failure, _ = failure_of(["product", "p.fits"], inputs=[raw])
    assert failure.fault == "stage_in"
    assert "bias.fits" in failure.message


def test_a_product_that_is_not_what_the_recipe_said(failure_of):
    failure, _ = failure_of(["product", "p.fits", 1000], ["spoil"])
    assert failure.fault == "stage_out"
    assert "p.fits is not the file that the recipe described" in failure.message


def test_a_product_outside_the_output_directory(failure_of):
    failure, _ = failure_of(["product", "../p.fits", 10])
    assert failure.fault == "fatal"
    assert "../p.fits" in failure.message
