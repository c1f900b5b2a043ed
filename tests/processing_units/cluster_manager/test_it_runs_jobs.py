"""The happy path: from claim to commit, with inputs, products, log and progress."""

import hashlib

import pytest
from fake_unit import eventually

pytestmark = pytest.mark.processes


def test_a_job_is_claimed_run_and_committed_once(unit, start_worker, done):
    content = b"raw bytes" * 1000
    raw = unit.add_file("a frame.fits.gz", content)
    worker = start_worker()
    job = done(unit.submit(["say", "hello"], ["product", "Bias_1.fits"], inputs=[raw]))
    [commit] = job.commits
    [product] = commit.products
    assert product.sha256 == hashlib.sha256(content).hexdigest()
    assert product.size == len(content)
    assert product.attributes == {"chip": "1"}
    assert unit.store.path(product.sha256).read_bytes() == content
    assert commit.seconds > 0
    assert commit.peak_memory_mib > 1
    assert " hello\n" in job.log
    assert job.log.index("stage_in 1 files") < job.log.index("hello") < job.log.index("stage_out 1 products")
    eventually(lambda: worker.leftovers() == [], what="nothing is left in scratch")
