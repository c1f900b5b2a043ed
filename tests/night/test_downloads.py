"""What is downloaded opens in its own readers: astropy, SExtractor, fitsverify, STILTS, asdf; a script uses it too."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse_single_table

from tests.night.installation import SCRIPTS, Installation
from tests.programs import needs_program

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def reduced(installation: Installation, short_night: Path) -> Installation:
    """An installation in which a short night is reduced."""
    installation.awrecipe("night", str(short_night))
    return installation


def fetch(installation: Installation, directory: Path, kind: str, file_format: str) -> Path:
    """Download the product of a kind that comes first by name: of the first chip and exposure, whatever the kind."""
    product = min(installation.products("--kind", kind), key=lambda product: str(product["name"]))
    installation.awrecipe("get", str(product["id"]), "--format", file_format, "-o", str(directory))
    (path,) = directory.iterdir()
    return path


@pytest.mark.parametrize("kind", ["BiasFrame", "HotPixelMap", "GainLinearity", "ReducedScienceFrame", "SourceList"])
def test_fits_files_carry_right_checksums(reduced: Installation, kind: str, tmp_path: Path) -> None:
    path = fetch(reduced, tmp_path, kind, "fits")
    with fits.open(path, checksum=True) as hdus:  # a wrong checksum is a warning, and a warning an error
        hdus.verify("exception")
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)


@pytest.mark.parametrize("kind", ["BiasFrame", "ReducedScienceFrame", "SourceList"])
def test_fits_files_satisfy_fitsverify(reduced: Installation, kind: str, tmp_path: Path) -> None:
    program = needs_program("fitsverify", "fitsverify")
    path = fetch(reduced, tmp_path, kind, "fits")
    result = subprocess.run([program, "-q", str(path)], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("verification OK"), result.stdout


def test_sextractor_reads_a_reduced_frame_and_finds_what_we_found(reduced: Installation, tmp_path: Path) -> None:
    program = needs_program("source-extractor", "source-extractor")
    frame = fetch(reduced, tmp_path / "frame", "ReducedScienceFrame", "fits")
    weight = fetch(reduced, tmp_path / "weight", "WeightFrame", "fits")
    sources = fetch(reduced, tmp_path / "sources", "SourceList", "fits")
    (tmp_path / "columns").write_text("X_IMAGE\nY_IMAGE\nFLUX_AUTO\n")
    kernel = "CONV NORM\n1 2 1\n2 4 2\n1 2 1\n"
    (tmp_path / "kernel").write_text(kernel)
    options = {
        "PARAMETERS_NAME": tmp_path / "columns", "FILTER_NAME": tmp_path / "kernel", "CATALOG_NAME": tmp_path / "found",
        "CATALOG_TYPE": "ASCII", "WEIGHT_IMAGE": f"{weight}[1]", "WEIGHT_TYPE": "MAP_WEIGHT", "DETECT_THRESH": 5,
        "ANALYSIS_THRESH": 5, "VERBOSE_TYPE": "QUIET",
    }  # fmt: skip
    settings = [word for name, value in options.items() for word in (f"-{name}", str(value))]
    command = [program, f"{frame}[1]", "-c", "/dev/null", *settings]
    subprocess.run(command, check=True, capture_output=True)
    x, y, _ = np.loadtxt(tmp_path / "found", unpack=True)
    ours = fits.getdata(sources, "SOURCES")
    distance = np.hypot(x[:, None] - ours["X_IMAGE"], y[:, None] - ours["Y_IMAGE"]).min(axis=1)
    assert x.size > 5
    assert np.mean(distance < 1.0) > 0.9, (x, y, distance)


def test_votable_passes_votlint(reduced: Installation, tmp_path: Path) -> None:
    program = needs_program("stilts", "stilts")
    path = fetch(reduced, tmp_path, "SourceList", "votable")
    result = subprocess.run([program, "votlint", str(path)], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert "ERROR" not in result.stdout + result.stderr
    assert len(parse_single_table(path).array) > 0


@pytest.mark.parametrize("kind", ["ReducedScienceFrame", "SourceList"])
def test_asdf_opens_in_asdf(reduced: Installation, kind: str, tmp_path: Path) -> None:
    path = fetch(reduced, tmp_path, kind, "asdf")
    with asdf.open(path) as tree:
        assert len(tree.tree) > 1


def test_a_whole_run_comes_as_one_archive(reduced: Installation, tmp_path: Path) -> None:
    import httpx

    product = reduced.products("--kind", "SourceList", "--limit", "1")[0]
    token = (reduced.home / "secrets" / "token").read_text().strip()
    address = f"{reduced.url}/api/v1/runs/{product['run']}/archive"
    with httpx.stream("GET", address, headers={"Authorization": f"Bearer {token}"}, follow_redirects=True) as answer:
        answer.raise_for_status()
        with (tmp_path / "run.zip").open("wb") as file:
            for piece in answer.iter_bytes():
                file.write(piece)
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert archive.testzip() is None
        assert f"{product['name']}.fits" in {Path(name).name for name in archive.namelist()}


OLD_SCRIPT = """
jobs = {}
for chip in sorted({frame.chip for frame in RawScienceFrame.filter.name == 'r'}):
    frame = (RawScienceFrame.chip == chip)[0]
    jobs[chip] = dpu.run('Reduce', i=frame.instrument, d=str(frame.night), f='r', c=chip, C=1)
dpu.wait()
for chip, jobid in jobs.items():
    if dpu.get_status(jobid) != 'done':
        print('gap', chip, dpu.get_logs(jobid))
    for reduced in dpu.get_job_result(jobid):
        if reduced.kind == 'ReducedScienceFrame':
            print('reduced', chip, reduced.filename, reduced.retrieve('here').stat().st_size, len(reduced.inputs))
assert dpu.get_jobids() == list(jobs.values())
chain = dpu.run('Reduce>Science', filenames=RawScienceFrame.chip == chip)
print('chain', dpu.wait(chain), {frame.kind for frame in dpu.get_job_result(chain)})
"""


def test_an_old_user_s_script_runs_at_the_awe_prompt(reduced: Installation, tmp_path: Path) -> None:
    """A loop over chips, a wait, a look at each result: as it was written for Astro-WISE."""
    (tmp_path / "script.py").write_text(OLD_SCRIPT)
    result = subprocess.run(
        [str(SCRIPTS / "awe"), str(tmp_path / "script.py")],
        env=reduced.environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    told = [line.split() for line in result.stdout.splitlines()]
    science = reduced.products("--kind", "RawScience")
    assert sorted(line[1] for line in told if line[0] == "reduced") == sorted(frame["chip"] for frame in science)
    [chain] = [line for line in told if line[0] == "chain"]
    assert chain[1] == "done"
    assert "'RegriddedFrame'" in " ".join(chain) or "'CalibratedScienceFrame'" in " ".join(chain)
