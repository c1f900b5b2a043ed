"""The rendered night agrees with the truth that it states."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from observatory.__main__ import main
from observatory.night import observe


def frames(notes, kind, chip="ccd1"):
    return [frame for frame in notes["frames"] if frame["type"] == kind and frame["chip"] == chip]


def section(text):
    x, y = text.strip("[]").split(",")
    (x0, x1), (y0, y1) = (map(int, part.split(":")) for part in (x, y))
    return slice(y0 - 1, y1), slice(x0 - 1, x1)


def trimmed(night, note):
    data, header = fits.getdata(night / note["file"], header=True)
    return data[section(header["DATASEC"])].astype(float), data[section(header["BIASSEC"])].astype(float)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.*")
    }


def test_same_plan_gives_same_bytes(night: Path, plan, tmp_path: Path) -> None:
    observe(tmp_path, plan)
    digests = [
        {
            path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*.*"))
        }
        for folder in (night, tmp_path)
    ]
    assert digests[0] == digests[1]


def test_raw_files_are_valid_and_verified(night: Path, notes) -> None:
    assert len(notes["frames"]) == len(list(night.glob("*.fits"))) == 2 * (4 + 1 + 4 + 2 + 2)
    for path in night.glob("*.fits"):
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            assert hdus[0].data.dtype == np.uint16
            assert hdus[0].data.shape == (200, 8 + 160 + 32)
            assert hdus[0].header["BITPIX"] == 16


def test_read_noise_is_that_of_bias_differences(night: Path, notes) -> None:
    for chip in notes["chips"]:
        biases = frames(notes, "BIAS", chip["chip"])
        difference = trimmed(night, biases[0])[0] - trimmed(night, biases[1])[0]
        difference -= np.median(difference, axis=1)[:, None]  # the level wanders by row
        difference = difference[np.abs(difference) < 40]  # Poisson free, but for hot pixels that saturate
        # Error of a standard deviation of n numbers: 1/sqrt(2 n).
        expected = chip["read_noise_digitised"]
        assert np.std(difference) / np.sqrt(2) == pytest.approx(expected, rel=5 / np.sqrt(2 * difference.size))


def test_bias_structure_is_above_the_overscan(night: Path, notes) -> None:
    truth = fits.getdata(night / "truth" / "ccd1.fits", "BIAS")
    hot = fits.getdata(night / "truth" / "ccd1.fits", "HOT")
    good = np.ones(truth.shape, bool)
    good[hot["Y"], hot["X"]] = False
    residuals = []
    for note in frames(notes, "BIAS"):
        data, overscan = trimmed(night, note)
        residuals.append(data - np.mean(overscan, axis=1)[:, None] - truth)
    mean = np.mean(residuals, axis=0)[good]
    noise = notes["chips"][0]["read_noise_digitised"] / np.sqrt(len(residuals))
    # 200 rows of 32 overscan pixels each set the level: their noise is common to the rows' pixels.
    assert mean.mean() == pytest.approx(0.0, abs=5 * noise / np.sqrt(200 * 32))
    assert mean.std() == pytest.approx(noise * np.sqrt(1 + 1 / 32), rel=0.03)


def test_gain_is_that_of_the_photon_transfer(night: Path, notes) -> None:
    chip = notes["chips"][0]
    first, second = (trimmed(night, note) for note in frames(notes, "DOMEFLAT")[-2:])
    level = first[0].mean() + second[0].mean() - first[1].mean() - second[1].mean()
    ratio = (first[0] - first[1].mean()).mean() / (second[0] - second[1].mean()).mean()
    difference = first[0] - first[1].mean() - ratio * (second[0] - second[1].mean())
    deviation = 1.4826 * np.median(np.abs(difference - np.median(difference)))
    gain = level / (deviation**2 - 2 * chip["read_noise_digitised"] ** 2)
    # Variance by the MAD: relative error 2 × 1.17/sqrt(2 n)... three of them; a mean of unequal levels adds little.
    assert gain == pytest.approx(chip["gain"], rel=3 * 2 * 1.65 / np.sqrt(2 * difference.size))


def test_science_frames_scatter_about_the_expected_light(night: Path, notes) -> None:
    chip = notes["chips"][0]
    with fits.open(night / "truth" / "ccd1.fits") as hdus:
        bias, flat, dark = (hdus[name].data for name in ("BIAS", "FLAT", "DARK"))
        bad = np.zeros(flat.shape, bool)
        bad[hdus["HOT"].data["Y"], hdus["HOT"].data["X"]] = True
    note = frames(notes, "SCIENCE")[0]
    data, overscan = trimmed(night, note)
    with fits.open(night / "truth" / note["file"]) as hdus:
        expected = hdus["EXPECTED"].data * flat + dark * note["exposure_time"]
        bad[hdus["COSMIC"].data["Y"], hdus["COSMIC"].data["X"]] = True
        if "SATURATED" in hdus:
            bad[hdus["SATURATED"].data["Y"], hdus["SATURATED"].data["X"]] = True
    signal = (data - overscan.mean(axis=1)[:, None] - bias) * chip["gain"]
    noise = np.sqrt(expected + (chip["gain"] * chip["read_noise_digitised"]) ** 2 * (1 + 1 / 32))
    pull = ((signal - expected) / noise)[~bad]
    assert pull.mean() == pytest.approx(0.0, abs=0.05)  # the overscan's own error, of 32 pixels a row
    assert pull.std() == pytest.approx(1.0, abs=0.02)


def test_the_header_points_beside_the_truth_by_the_pointing_error(night: Path, plan, notes) -> None:
    for note in frames(notes, "SCIENCE"):
        header = fits.getheader(night / note["file"])
        truth = fits.getheader(night / "truth" / note["file"])
        north = 3600 * (header["CRVAL2"] - truth["CRVAL2"])
        east = 3600 * (header["CRVAL1"] - truth["CRVAL1"]) * np.cos(np.deg2rad(truth["CRVAL2"]))
        assert [east, north] == pytest.approx(note["pointing_error"], abs=1e-3)
        assert header["CRPIX1"] == truth["CRPIX1"] + plan.prescan
        assert header["AIRMASS"] == pytest.approx(note["airmass"], abs=0.01)


def test_the_trail_is_one_line_over_the_chips(night: Path, notes) -> None:
    u, v = [], []
    for chip, sign in (("ccd1", -1), ("ccd2", 1)):
        (note,) = (frame for frame in frames(notes, "SCIENCE", chip) if frame["trail"])
        table = fits.getdata(night / "truth" / note["file"], "TRAIL")
        ridge = table[table["ELECTRON"] > 250]
        u.append(ridge["X"] - 79.5 + sign * 100)  # half a chip and half the gap from the axis
        v.append(ridge["Y"] - 99.5)
    u, v = np.concatenate(u), np.concatenate(v)
    slope, start = np.polyfit(u, v, 1)
    distance = np.abs(v - slope * u - start) / np.hypot(1, slope)
    assert distance.max() < 2.0  # jitter and turn of the chips are below a pixel or two


def test_command_line_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--chips 1 --size 64x64 --biases 1 --darks 0 --science 1 --dome-flats 1 --twilight-flats 0"
    code = main([str(tmp_path / "n"), *options.split(), "--overscan", "0", "--prescan", "0"])
    assert code == 0
    assert "15 raw files" in capsys.readouterr().out
    header = fits.getheader(next((tmp_path / "n").glob("*.fits")))
    assert "BIASSEC" not in header
    assert header["NAXIS1"] == 64


def test_the_truth_goes_where_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--chips 1 --size 64x64 --biases 1 --darks 0 --science 1 --dome-flats 1 --twilight-flats 0"
    assert main([str(tmp_path / "n"), *options.split(), "--overscan", "0", "--truth", str(tmp_path / "t")]) == 0
    assert (tmp_path / "t" / "night.json").is_file()
    assert not (tmp_path / "n" / "truth").exists()
    assert f"the truth about them in {tmp_path / 't'}\n" in capsys.readouterr().out


def test_command_line_refuses_an_unknown_filter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--filters", "q"])
    assert "the camera has g, r, i, z" in capsys.readouterr().err


def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "file" / "night"), "--quiet"]) == 1
    assert "cannot write" in capsys.readouterr().err
