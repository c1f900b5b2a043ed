"""Read noise and gain of three real cameras, held to what was worked out by hand (their SOURCE.txt)."""

from __future__ import annotations

import pytest
from astropy.io import fits

from recipes.running import run_job
from tests.recipes.synthetic import measurement, result_of, write_job

pytestmark = pytest.mark.real_frames

NICKEL = {"instrument": "nickel", "chip": "1", "data_section": "[1:1024,1:1024]", "overscan_x": "[1025:1056,1:1024]"}
CAMERAS = {
    "nickel_lick_v_2024": (NICKEL, "bias", "skyflat_V", "RawTwilightFlat", 5.28, 1.796),
    "arcsat_xo1_z_2025": ({"instrument": "arcsat"}, "bias", "domeflat_z", "RawDomeFlat", 12.1, 1.340),
    "sbig_stl1001_cal_2017": ({"instrument": "sbig"}, "bias_m5C", "domeflat", "RawDomeFlat", 6.70, 1.925),
}


@pytest.mark.parametrize("night", CAMERAS)
def test_read_noise_and_gain(night, real_frames, tmp_path):
    attributes, biases, flats, kind, read_noise, gain = CAMERAS[night]
    folder = real_frames / night

    def inputs(where, role, kind):
        return [
            (role, kind, path, attributes | {"exposure_time": fits.getval(path, "EXPTIME"), "filter": "x"})
            for path in sorted((folder / where).glob("*.gz"))
        ]

    raw_bias = inputs(biases, "raw_bias", "RawBias")
    made = {}
    for recipe in ("ReadNoise", "Bias", "Gain"):
        given = inputs(flats, "raw_flat", kind) if recipe == "Gain" else raw_bias
        if recipe != "ReadNoise":
            given = [*given, ("read_noise", "ReadNoise", made["ReadNoise"], {})]
        if recipe == "Gain":
            given = [*given, ("bias_frame", "BiasFrame", made["Bias"], {})]
        job = write_job(tmp_path / recipe, recipe, given)
        assert run_job(job) == 0
        result = result_of(job)
        made[recipe] = job.parent / "outputs" / result["products"][0]["path"]
        if recipe == "ReadNoise":
            assert measurement(result, "read_noise") == pytest.approx(read_noise, rel=0.03)
        if recipe == "Gain":
            assert measurement(result, "gain") == pytest.approx(gain, rel=0.03)
            if night.startswith("arcsat"):  # the fainter first dome flat
                assert [entry["name"] for entry in result["left_out"]] == ["domeflat_z_001.fits.gz"]
