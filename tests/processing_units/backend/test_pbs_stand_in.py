"""That the name ``pbs`` works through PSI/J: with STAND-INS for qsub, qstat and qdel, as no PBS is to be had here."""

import os
import sys
from pathlib import Path

import pytest
from fake_unit import eventually

pytestmark = pytest.mark.processes

SETTINGS = {"poll_seconds": 0.5, "idle_seconds": 1, "walltime_minutes": 5, "slots": 2}
STAND_IN = Path(__file__).with_name("fake_pbs.py")


@pytest.fixture
def pbs(tmp_path, monkeypatch):
    """The stand-in's directory; its commands are on PATH."""
    programs, jobs = tmp_path / "bin", tmp_path / "pbs"
    programs.mkdir()
    jobs.mkdir()
    for name in ("qsub", "qstat", "qdel"):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{STAND_IN}" {name} "$@"\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PBS", str(jobs))
    return jobs


def places(unit):
    """Return what the backend said last of its cluster managers."""
    return unit.reports[-1].places if unit.reports else []


def test_jobs_go_through_it_held_and_deleted_ones_are_told(unit, start_backend, pbs):
    (pbs / "hold").touch()
    unit.wanted = unit.wanted.model_copy(update={"kind": "pbs", "settings": {**SETTINGS, "queue": "workq"}})
    jobs = [unit.submit(["sleep", 2], ["product", f"{number}.fits", 10], hint=False) for number in range(2)]
    backend = start_backend("--kind", "pbs", up=0, fixed=())
    eventually(lambda: [place.state for place in places(unit)] == ["held"], 90, lambda: places(unit))
    (pbs / "hold").unlink()
    eventually(lambda: all(job.state == "running" for job in jobs), 90)
    script = next(pbs.glob("*.sh")).read_text()
    assert "#PBS -l select=1:ncpus=2:mpiprocs=2" in script
    assert not any(key in script for key in unit.keys.values())
    os.system("qdel 1.fake")  # noqa: S605 - as a person would
    eventually(lambda: "was cancelled in the queue" in str(places(unit)), 90, lambda: places(unit))
    assert [failure.fault for job in jobs for failure in job.failures] == ["preempted"] * 2
    eventually(lambda: all(job.state == "done" for job in jobs), 90)
    assert {(job.attempt, len(job.commits)) for job in jobs} == {(2, 1)}
    eventually(lambda: unit.reports[-1].places == [], 90, lambda: places(unit))
    assert " up as " in (backend.state / "logs" / "test-1.log").read_text()


def test_a_refusal_is_told(unit, start_backend, pbs):
    unit.wanted = unit.wanted.model_copy(update={"kind": "pbs", "settings": {**SETTINGS, "queue": "nope"}})
    unit.submit(["sleep", 1], hint=False)
    start_backend("--kind", "pbs", up=0, fixed=())
    eventually(lambda: "pbs refuses the queue job: qsub: Unknown queue" in str(places(unit)), 90)
