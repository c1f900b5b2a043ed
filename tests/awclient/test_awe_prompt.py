"""The `awe` prompt against the portal itself (Django's test server, real database, real store; no unit behind it)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import User
from django.test import override_settings

from archive.models import Membership, Profile, Project
from awclient.awe.prompt import namespace, run
from awclient.client import Portal
from awclient.configuration import Configuration
from awclient.errors import ClientError, UsageProblem
from awclient.main import run as awrecipe
from awportal.tokens import make_token
from dataserver.store import Store
from processing_units.frontend.models import ProcessingUnit, Run
from tests.local_servers import serving_files

pytestmark = pytest.mark.django_db(transaction=True)

CHIPS = ("ccd50", "ccd51")
BIASES = 3


@pytest.fixture(autouse=True, scope="session")
def static_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let WhiteNoise find its directory; the test server, which lives as long as the session, looks once."""
    with override_settings(STATIC_ROOT=tmp_path_factory.mktemp("static")):
        yield


@pytest.fixture
def awe(live_server: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return what is there at the prompt, on a portal with biases of two chips."""
    settings.DATA_ROOT = tmp_path / "data"
    settings.BASE_URL = live_server.url
    for name in ("local", "hpc"):
        ProcessingUnit.objects.create(name=name, port=1, key_hash=name[0] * 64)
    monkeypatch.setattr("processing_units.frontend.dispatch.send_hints", lambda unit: None)
    anna = User.objects.create(username="anna")
    Profile.objects.create(user=anna, user_type=Profile.UserType.CHOOSES)
    Membership.objects.create(user=anna, project=Project.objects.create(name="KIDS"))
    token = make_token(anna, "test")[1]
    monkeypatch.setenv("AWPORTAL_URL", live_server.url)
    monkeypatch.setenv("AWPORTAL_TOKEN", token)
    assert awrecipe(["ingest", str(night(tmp_path / "night"))]) == 0
    with (
        serving_files(Store(settings.DATA_ROOT), settings.DATA_KEY) as settings.DATA_URL,
        Portal(Configuration(live_server.url, token), patience=5.0) as portal,
    ):
        yield namespace(portal)


def night(folder: Path) -> Path:
    """Biases of each chip, a minute apart."""
    folder.mkdir()
    for chip in CHIPS:
        for number in range(BIASES):
            pixels = np.random.default_rng(number).normal(1000, 5, (16, 16)).astype(np.uint16)
            header = fits.Header({"INSTRUME": "WFI", "IMAGETYP": "bias", "EXPTIME": 0.0, "CCD_ID": chip,
                                  "DATE-OBS": f"2024-05-13T04:0{number}:00"})  # fmt: skip
            header["CCDNAME"] = chip
            stream = io.BytesIO()
            fits.PrimaryHDU(pixels, header=header).writeto(stream)
            (folder / f"{chip}_{number}.fits").write_bytes(stream.getvalue())
    return folder


def test_queries_give_frames_and_their_files(awe: dict[str, Any], tmp_path: Path) -> None:
    raw = awe["RawFrame"]
    assert len(raw.all()) == len(CHIPS) * BIASES
    first = raw.all()[0]
    found = (raw.chip == first.chip) & (raw.date >= "2024-05-13T04:01:00") & (raw.instrument.name == first.instrument)
    assert {frame.chip for frame in found} == {first.chip}
    assert len(found) == BIASES - 1
    assert len((raw.date < "2024-05-13T04:01:00") | (raw.date > "2024-05-13T04:01:30")) == 2 * len(CHIPS)
    assert len(raw.filename.like("*_1.fits")) == len(CHIPS)
    assert len(raw.chip != first.chip) == BIASES
    assert found.max("date").date_obs > found.min("date").date_obs
    assert len(awe["RawBiasFrame"].select(chip=first.chip, exptime=0.0)) == BIASES
    path = first.retrieve(tmp_path / "got")
    assert path.read_bytes() == (tmp_path / "night" / first.filename).read_bytes()


def test_a_slip_in_a_query_is_told(awe: dict[str, Any]) -> None:
    raw = awe["RawFrame"]
    with pytest.raises(UsageProblem, match="has an attribute chp") as slip:
        len(raw.chp == "1")
    assert slip.value.hint == "did you mean chip?"
    with pytest.raises(TypeError, match="join conditions with &"):
        bool(raw.chip == "1" and raw.date > "2024-01-01")
    with pytest.raises(UsageProblem, match="cannot be compared"):
        len(raw.exptime > "long")


def test_a_loop_submits_a_run_a_chip(awe: dict[str, Any]) -> None:
    dpu, chips = awe["dpu"], sorted({frame.chip for frame in awe["RawBias"].all()})
    dpu.select_dpu("hpc")
    awe["context"].set_project("KIDS")
    awe["context"].set_privileges(2)
    jobids = [dpu.run("Bias", i="WFI", d="2024-05-12", c=chip, C=1, p={"Bias.process_params.SIGMA_CLIP": 4.0})
              for chip in chips]  # fmt: skip
    assert dpu.get_jobids() == jobids
    assert dpu.get_status() == dict.fromkeys(jobids, "queued")
    for jobid in jobids:
        made = Run.objects.get(pk=jobid)
        assert (made.unit.name, made.privilege, made.project.name) == ("hpc", 2, "KIDS")  # type: ignore[union-attr]
        assert made.jobs.get().inputs.count() == BIASES
    assert dpu.cancel_job(jobids[0]) == "cancelled"
    assert dpu.get_status(jobids[0]) == "cancelled"
    assert dpu.get_job_result(jobids[0]) == []


def test_without_commit_results_stay_in_mydb(awe: dict[str, Any]) -> None:
    awe["context"].set_privileges(3)
    frames = awe["RawBias"].chip == awe["RawBias"].all()[0].chip
    jobid = awe["dpu"].run("ReadNoise", raw_filenames=[frame.filename for frame in frames])
    assert Run.objects.get(pk=jobid).privilege == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no frames are named"),
        ({"i": "WFI", "sigma_clop": 3}, "no option sigma_clop"),
        ({"i": "WFI", "d": "1999-01-01"}, "no RawBias or RawDark with instrument WFI, date 1999-01-01"),
        ({"i": "WFI", "C": 2}, "C is 0 or 1"),
        ({"raw_filenames": ["none.fits"]}, "no product none.fits"),
        ({"i": "WFI", "filenames": [1]}, "named, and selected too"),
    ],
)
def test_a_slip_in_a_run_is_told(awe: dict[str, Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        awe["dpu"].run("Bias", **options)
    assert not Run.objects.exists()


def test_what_there_is_can_be_asked(awe: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    dpu = awe["dpu"]
    assert dpu.get_dpu_identifiers() == ["hpc", "local"]
    dpu.show_dpu_identifiers()
    assert "hpc" in capsys.readouterr().out
    assert {"Bias", "Reduce", "Coadd"} <= set(dpu.get_sequence_identifiers())
    assert "sigma_clip" in dpu.get_sequence_options("Bias")
    assert "Science.pixel_scale" in dpu.get_sequence_options("Reduce>Science")
    for wrong in (
        lambda: dpu.select_dpu("mars"),
        lambda: awe["context"].set_project("EUCLID"),
        lambda: dpu.run("Bas", i="W"),
    ):
        with pytest.raises(ClientError):
            wrong()


def test_a_recipe_runs_on_this_machine(awe: dict[str, Any], tmp_path: Path) -> None:
    chip = awe["RawBias"].all()[0].chip
    [path] = awe["lpu"].run("ReadNoise", i="WFI", c=chip, folder=tmp_path / "lpu")
    with fits.open(path) as hdus:
        assert len(hdus) >= 1
    assert not Run.objects.exists()
    with pytest.raises(UsageProblem, match="not committed"):
        awe["lpu"].run("ReadNoise", i="WFI", C=1)


def test_a_script_runs_and_its_end_is_an_exit_code(
    awe: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(len(RawBias.all()), sys.argv[1])\ndpu.run('Bias', i='none')\n")
    assert run([str(script), "word"]) == 2
    said = capsys.readouterr()
    assert said.out.split() == [str(len(CHIPS) * BIASES), "word"]
    assert "awe: the archive has no RawBias or RawDark with instrument none" in said.err
    assert run(["-c", "print(context)"]) == 0
    assert "user anna" in capsys.readouterr().out


def test_the_prompt_itself_tells_a_slip_in_a_line(awe: dict[str, Any], own_home: Path) -> None:
    typed = "dpu.run('Bias', i='none')\nlen(RawBias.all())\nexit\n"
    result = subprocess.run(
        [sys.executable, "-m", "awclient.awe"], env={**os.environ, "IPYTHONDIR": str(own_home), "NO_COLOR": "1"},
        input=typed, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Welcome to awe" in result.stdout
    assert str(len(CHIPS) * BIASES) in result.stdout
    assert "awe: the archive has no RawBias" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
