"""Zeropoint and Illumination as jobs: from files to files, a correction frame for each chip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from recipes.catalogue import find_recipe
from recipes.fits_writing import Origin, write_product
from recipes.products import Product
from recipes.running import run_job
from tests.recipes.photometry_night import PhotometryNight
from tests.recipes.synthetic import measurement, result_of, write_job

CHIPS = ("ccd1", "ccd2")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> PhotometryNight:
    return PhotometryNight.observed(tmp_path_factory.mktemp("jobs"), chips=2, columns=400, rows=640, science=1, seed=2)


def written(path: Path, product: Product) -> Path:
    write_product(path, product, [], 0, [], Origin(find_recipe("Science"), {}, [], ""))
    return path


@pytest.fixture(scope="module")
def made(night: PhotometryNight, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Run both recipes; return the result files by what they are of."""
    folder = tmp_path_factory.mktemp("made")
    catalogue = written(
        folder / "simcat.fits", Product("ReferenceCatalogue", night.catalogue, night.catalogue.attributes)
    )
    results, of_stars = {}, []
    for chip in CHIPS:
        frame = night.calibrated(night.science(chip)[0])
        path = written(folder / f"{chip}.fits", Product("CalibratedScienceFrame", frame, frame.attributes))
        job = write_job(folder / chip, "Zeropoint", [
            ("calibrated_science", "CalibratedScienceFrame", path, {}),
            ("reference_catalogue", "ReferenceCatalogue", catalogue, {}),
        ])  # fmt: skip
        assert run_job(job) == 0
        results[chip] = result_of(job) | {"folder": job.parent / "outputs"}
        of_stars.append(job.parent / "outputs" / results[chip]["products"][1]["path"])
    job = write_job(folder / "illumination", "Illumination",
                    [("photometric_catalogues", "PhotSrcCatalog", path, {}) for path in of_stars])  # fmt: skip
    assert run_job(job) == 0
    results["illumination"] = result_of(job) | {"folder": job.parent / "outputs"}
    return results


def test_the_zeropoint_is_in_attributes_and_measurements(made: dict[str, dict]) -> None:
    parameters, stars = made["ccd1"]["products"]
    assert (parameters["kind"], stars["kind"]) == ("PhotometricParameters", "PhotSrcCatalog")
    about = parameters["attributes"]
    assert about["zeropoint"] == measurement(made["ccd1"], "zeropoint")
    assert (about["band"], about["system"], about["filter"], about["chip"]) == ("r", "AB", "r", "ccd1")
    assert parameters["quality_flags"] == 0
    assert about["plots"] == ["MAG_REF RESIDUAL", "COLOUR RESIDUAL"]
    table = fits.getdata(made["ccd1"]["folder"] / stars["path"])
    assert set(table.names) >= {"NUMBER", "X_IMAGE", "Y_IMAGE", "RA", "DEC", "FLUX", "FLUXERR", "MAG_REF", "MAGERR_REF",
                                "COLOUR", "ZP", "RESIDUAL", "USED", "XI", "ETA"}  # fmt: skip
    assert table["USED"].sum() == about["star_count"]


def test_illumination_gives_a_frame_for_each_chip(made: dict[str, dict]) -> None:
    correction, *frames = made["illumination"]["products"]
    assert correction["kind"] == "IlluminationCorrection"
    assert [(frame["kind"], frame["attributes"]["chip"]) for frame in frames] == [
        ("IlluminationCorrectionFrame", chip) for chip in CHIPS
    ]
    assert len({product["name"] for product in made["illumination"]["products"]}) == 3
    for frame in frames:
        with fits.open(made["illumination"]["folder"] / frame["path"], checksum=True) as hdus:
            assert hdus["SCI"].data.shape == (640, 400)
            assert hdus["SCI"].data.mean(dtype=float) == pytest.approx(1, abs=1e-5)
            assert (hdus["VAR"].data > 0).mean() > 0.99
            assert not np.any(hdus["MASK"].data)


def test_the_correction_serves_reduce(made: dict[str, dict]) -> None:
    role = find_recipe("Reduce").input("illumination_correction")
    assert made["illumination"]["products"][1]["kind"] in role.kinds
