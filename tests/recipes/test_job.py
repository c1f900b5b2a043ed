"""``python -m recipes job.json``: products, their headers, the result file, errors, and the same bytes twice."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits

from recipes.__main__ import main
from recipes.job import ResultFile
from recipes.running import run_job
from tests.recipes.synthetic import Camera, measurement, result_of, run, write_fits, write_job


@pytest.fixture(scope="module")
def camera():
    return Camera(height=60, width=80, seed=77)


@pytest.fixture(scope="module")
def bias_job(camera, tmp_path_factory):
    """A Bias job that has run, in a folder of its own."""
    folder = tmp_path_factory.mktemp("bias")
    (folder / "inputs").mkdir()
    inputs = []
    for index in range(4):
        path = write_fits(folder / "inputs" / f"b{index}.fits.gz", camera.pixels().astype("u2"))
        attributes = camera.attributes(date_obs=f"2026-01-02T03:04:0{index}", temperature="-10", object="bias\x1b[31m")
        inputs.append(("raw_bias", "RawBias", path.relative_to(folder), attributes))
    job = write_job(folder, "Bias", inputs, {"sigma_clip": 4}, quality_limits={"maximum_stdev": 0.1})
    ended = run(job)
    assert ended.returncode == 0, ended.stderr
    return job, ended


def test_result_tells_all(bias_job):
    job, _ = bias_job
    result = result_of(job)
    ResultFile.model_validate(result)
    product = result["products"][0]
    assert result["state"] == "done"
    assert product["kind"] == "BiasFrame"
    assert product["name"] == "BiasFrame_simcam_1_20260102030400"
    assert product["attributes"]["overscan_correction"] == 6
    assert product["attributes"]["temperature"] == -10
    assert product["made_without"] == ["read_noise"]
    assert product["quality_flags"] == 2
    verdicts = {entry["name"]: entry["verdict"] for entry in product["measurements"]}
    assert verdicts["stdev"] == "bad"
    assert verdicts["mean"] == "good"
    assert measurement(result, "mean") == pytest.approx(camera_structure(), abs=0.5)


def camera_structure():
    return float(Camera(height=60, width=80).structure.mean())


def test_product_opens_elsewhere_and_its_header_tells_how_it_was_made(bias_job):
    job, _ = bias_job
    product = result_of(job)["products"][0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(job.parent / "outputs" / product["path"], checksum=True) as opened:
            assert [hdu.name for hdu in opened] == ["PRIMARY", "SCI", "VAR", "MASK"]
            opened.verify("exception")
            header = opened[0].header
            assert opened["SCI"].data.dtype == np.dtype(">f4")
            assert opened["MASK"].data.dtype == np.uint16
            assert opened["MASK"].header["MASKCONV"] == "BADBITS"
            assert opened["SCI"].header["BUNIT"] == "adu"
            assert not opened["MASK"].data.any()
    assert header["RECIPE"] == "Bias"
    assert len(header["CODEDIG"]) == 64
    assert header["AW PAR sigma_clip"] == 4.0
    assert header["INAM0001"] == "b0.fits.gz"
    assert len(header["ISHA0004"]) == 64
    assert header["AW QC mean"] == measurement(result_of(job), "mean")
    assert "\x1b" not in str(header)
    assert "b3.fits.gz" in str(header["HISTORY"])
    assert json.loads(header["ATTRS"])["overscan_correction"] == 6


def test_the_same_job_gives_the_same_bytes(bias_job, tmp_path):
    job, _ = bias_job
    again = tmp_path / "again"
    shutil.copytree(job.parent, again, ignore=shutil.ignore_patterns("outputs"))
    assert run_job(again / "job.json") == 0
    first, second = result_of(job)["products"][0], result_of(again / "job.json")["products"][0]
    assert first["sha256"] == second["sha256"]
    assert (again / "outputs" / second["path"]).read_bytes() == (job.parent / "outputs" / first["path"]).read_bytes()


def test_log_and_progress(bias_job):
    job, ended = bias_job
    lines = ended.stderr.splitlines()
    assert all(line[2] == line[5] == ":" and line[8] == "." for line in lines)
    assert any("opening b0.fits.gz" in line for line in lines)
    assert json.loads((job.parent / "progress.json").read_text()) == {"fraction": 1.0, "stage": "done"}
    assert "\x1b" not in ended.stderr


def test_a_product_is_an_input_with_its_attributes(bias_job, tmp_path):
    job, _ = bias_job
    product = job.parent / "outputs" / result_of(job)["products"][0]["path"]
    hot = write_job(tmp_path, "HotPixels", [("bias_frame", "BiasFrame", product, {})])
    assert run_job(hot) == 0
    assert result_of(hot)["products"][0]["attributes"]["instrument"] == "simcam"
    assert result_of(hot)["products"][0]["made_without"] == ["dark_frame"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": "Biass"}, "there is no recipe 'Biass'"),
        ({"parameters": {"sigma_clip": "many"}}, "sigma_clip: 'many' is not a number from 1 to 50"),
        ({"parameters": {"sigma": 3}}, "has no parameter 'sigma'"),
        ({"inputs": []}, "needs at least 3 raw_bias"),
        ({"surprise": 1}, "wrong at surprise"),
        ({"inputs": [{"role": "raw", "kind": "RawBias", "path": "x", "name": "x"}]}, "no input 'raw'"),
        ({"inputs": [{"role": "raw_bias", "kind": "RawDomeFlat", "path": "x", "name": "n"}]}, "n is a RawDomeFlat"),
        ({"inputs": [{"role": "raw_bias", "kind": "RawBias", "path": "gone.fits", "name": f"g{n}"} for n in range(3)]},
         "g0 cannot be read"),
    ],
)  # fmt: skip
def test_wrong_jobs_fail_with_a_reason(bias_job, tmp_path, change, words):
    job = tmp_path / "job.json"
    job.write_text(json.dumps(json.loads(bias_job[0].read_text()) | change))
    assert run_job(job) == 1
    error = result_of(job)["error"]
    assert error["kind"] == "usage"
    assert words in error["message"]


def test_a_defect_is_reported_and_its_traceback_only_in_the_log(bias_job, tmp_path, monkeypatch, capfd):
    def broken(*_):
        raise RuntimeError("out of sorts")

    monkeypatch.setattr("recipes.running._load", broken)
    job = tmp_path / "job.json"
    job.write_text(bias_job[0].read_text())
    assert run_job(job) == 1
    error = result_of(job)["error"]
    assert error["kind"] == "fatal"
    assert "Traceback" not in json.dumps(error)
    assert "Traceback" in capfd.readouterr().err


def test_names_cannot_steer_a_terminal(bias_job, tmp_path, capfd):
    content = json.loads(bias_job[0].read_text())
    for entry in content["inputs"]:
        entry |= {"name": "b\x1b[31m.fits", "path": str(bias_job[0].parent / entry["path"])}
    job = tmp_path / "job.json"
    job.write_text(json.dumps(content))
    assert run_job(job) == 0
    assert "\x1b" not in capfd.readouterr().err
    header = (tmp_path / "outputs" / result_of(job)["products"][0]["path"]).read_bytes()
    assert b"\x1b" not in header[:20000]


def test_command_line(capsys):
    assert main(["list"]) == 0
    assert "ReadNoise" in capsys.readouterr().out
    assert main(["describe", "Bias"]) == 0
    described = capsys.readouterr().out
    assert "sigma_clip" in described
    assert "raw_bias" in described
    for wrong in ([], ["nothing.json"], ["describe", "Nothing"], ["-x"]):
        assert main(wrong) == 2
        assert capsys.readouterr().err
