"""A node that reaches broker and data server only through a tunnel, and one that reaches no broker at all."""

import pytest
from fake_unit import eventually

from processing_units.cluster_manager.routes import Routes


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        (
            "http://portal:8000/data/files/ab?expires=1&signature=c",
            "http://127.0.0.1:9001/data/files/ab?expires=1&signature=c",
        ),
        ("http://portal:8001/data", "http://portal:8001/data"),  # another port is another server
        ("redis://:s%2Fecret@broker:6379/0", "redis://:s%2Fecret@127.0.0.1:9002/0"),
        ("redis://user:secret@broker/0", "redis://user:secret@127.0.0.1:9002/0"),  # the usual port
        ("https://data.example/files/ab", "http://[::1]:9003/files/ab"),
    ],
)
def test_an_address_is_reached_elsewhere(url, reached):
    pairs = [
        ("http://portal:8000", "http://127.0.0.1:9001"),
        ("redis://broker:6379", "redis://127.0.0.1:9002"),
        ("https://data.example:443", "http://[::1]:9003"),
    ]
    assert Routes(pairs).apply(url) == reached


@pytest.mark.processes
def test_all_that_the_frontend_names_goes_by_the_routes(unit, redis, start_worker, done, monkeypatch):
    given = unit._given

    def named_otherwise(*arguments):
        spec = given(*arguments)
        spec.staging_url = spec.staging_url.replace(unit.url, "http://portal.invalid:8000")
        return spec

    monkeypatch.setattr(unit, "_given", named_otherwise)
    unit.broker_url = "redis://broker.invalid:6379/0"
    raw = unit.add_file("bias.fits", b"raw")
    raw.url = raw.url.replace(unit.url, "http://portal.invalid:8000")
    worker = start_worker(
        *("--route", f"http://portal.invalid:8000={unit.url}"),
        *("--route", f"redis://broker.invalid:6379=redis://127.0.0.1:{redis.port}"),
    )
    eventually(lambda: redis.command("CLIENT", "LIST").count(b"cmd=brpop"), 20, "the cluster manager listens")
    job = done(unit.submit(["product", "Bias_1.fits"], inputs=[raw]))
    assert job.committed_at - job.claimed_at < 5
    assert "not reached" not in worker.said


@pytest.mark.processes
def test_without_a_broker_it_asks_for_work_and_says_so_once(unit, start_worker, done):
    unit.broker_url = "redis://:secret@127.0.0.1:1/0"
    worker = start_worker()
    jobs = [unit.submit(["product", f"Bias_{number}.fits"], hint=False) for number in range(3)]
    for job in jobs:
        done(job)
    eventually(lambda: "is not reached" in worker.said, 20)
    assert worker.said.count("is not reached: without hints, work is asked for every few seconds") == 1
    assert "Trying again" not in worker.said
    assert "secret" not in worker.said


@pytest.mark.processes
def test_a_route_that_is_none(unit, start_worker):
    worker = start_worker("--route", "portal=127.0.0.1", up=False)
    assert worker.wait() == 2
    assert "'portal=127.0.0.1' is no route; write it as http://portal:8000=http://127.0.0.1:9000" in worker.said
