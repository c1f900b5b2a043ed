"""The happy path: from claim to commit, with inputs, products, log and progress."""

import hashlib
import re
import statistics
from itertools import pairwise

import pytest
from fake_unit import eventually

pytestmark = pytest.mark.processes


def test_a_job_is_claimed_run_and_committed_once(shared_unit, shared_worker, done):
    content = b"raw bytes" * 1000
    raw = shared_unit.add_file("a frame.fits.gz", content)
    job = done(shared_unit.submit(["say", "hello"], ["product", "Bias_1.fits"], inputs=[raw]))
    [commit] = job.commits
    [product] = commit.products
    assert product.sha256 == hashlib.sha256(content).hexdigest()
    assert product.size == len(content)
    assert product.attributes == {"chip": "1"}
    assert shared_unit.store.path(product.sha256).read_bytes() == content
    assert commit.seconds > 0
    assert commit.peak_memory_mib > 1
    assert " hello\n" in job.log
    assert job.log.index("stage_in 1 files") < job.log.index("hello") < job.log.index("stage_out 1 products")
    eventually(lambda: shared_worker.leftovers() == [], what="nothing is left in scratch")


def test_inputs_of_one_name_are_kept_apart_and_read_only(shared_unit, shared_worker, done):
    first, second = shared_unit.add_file("bias.fits", b"one"), shared_unit.add_file("bias.fits", b"two")
    job = done(shared_unit.submit(["write_into_input"], ["product", "both.fits"], inputs=[first, second]))
    [product] = job.commits[0].products
    assert shared_unit.store.path(product.sha256).read_bytes() == b"onetwo"
    assert "mode 444" in job.log


def test_slots_run_in_parallel(shared_unit, shared_worker, done):
    jobs = [shared_unit.submit(["sleep", 0.3]) for _ in range(4)]
    for job in jobs:
        done(job)
    times = sorted((job.claimed_at, job.committed_at) for job in jobs)
    assert any(second < end for (_, end), (second, _) in pairwise(times)), "two ran side by side"
    assert [len(job.commits) for job in jobs] == [1, 1, 1, 1]


def test_log_and_progress_arrive_while_it_runs(shared_unit, shared_worker, done):
    job = shared_unit.submit(["progress", 0.25, "stacking"], ["say", "début ✓"], ["sleep", 2.0], ["say", "fin"])
    eventually(lambda: "début ✓" in job.log, 5, "its first line")
    assert job.state == "running"
    eventually(lambda: job.beats and job.beats[-1][1:] == (0.25, "stacking"), 5, "its progress")
    done(job)
    assert job.log.count("début ✓") == 1
    assert job.log.count("fin") == 1


def test_a_log_of_megabytes_arrives_whole(shared_unit, shared_worker, done):
    job = done(shared_unit.submit(["say", "x" * 80, 30_000]), seconds=20)
    assert job.log.count("x" * 80) == 30_000
    lines = job.log.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line) for line in lines)


def test_bytes_that_are_no_text_do_not_stop_the_log(shared_unit, shared_worker, done):
    job = done(shared_unit.submit(["raw", [65, 0, 255, 66, 10]], ["say", "after"]))
    assert "A\ufffd\ufffdB\n" in job.log
    assert "after" in job.log


def test_the_overhead_beside_the_job_is_small(shared_unit, shared_worker, done, capsys):
    raw = shared_unit.add_file("bias.fits", bytes(1_000_000))
    before, after = [], []
    for _ in range(12):
        job = done(shared_unit.submit(["now"], ["product", "p.fits"], ["now"], inputs=[raw]))
        first, last = (float(line.split()[1]) for line in job.log.splitlines() if line.startswith("NOW"))
        before.append((first - job.claimed_at) * 1000)
        after.append((job.committed_at - last) * 1000)
    with capsys.disabled():
        print(
            f"\n[overhead] claim to first line {statistics.median(before[2:]):.1f} ms, "
            f"last line to commit {statistics.median(after[2:]):.1f} ms"
        )
    assert statistics.median(before[2:]) < 100  # 15 ms when the machine is quiet; other tests may share it
    assert statistics.median(after[2:]) < 150
