"""Image, weight and mask of one exposure are found together by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from awclient.errors import UsageProblem
from awclient.reduced import find_exposures


def test_they_are_found_together_by_name(tmp_path: Path) -> None:
    names = ["c4d_140818_232043_oo{}_z_ls9.N12.fits", "c4d_150329_083320_oo{}_r_ls9.N11.fits.fz"]
    for name in names:
        for letter in "idw":
            (tmp_path / name.format(letter)).touch()
    for name in ("a.fits", "a.weight.fits", "a.flag.fits", "b_sci.fits", "b_mask.fits", "mask_of_the_opera.fits"):
        (tmp_path / name).touch()
    found = {exposure.name: set(exposure.parts) for exposure in find_exposures([tmp_path])}
    assert found == {
        **{name.format("i"): {"image", "weight", "mask"} for name in names},
        "a.fits": {"image", "weight", "mask"},
        "b_sci.fits": {"image", "mask"},
        "mask_of_the_opera.fits": {"image"},
    }


def test_a_weight_without_its_image_is_a_usage_problem(tmp_path: Path) -> None:
    (tmp_path / "a.weight.fits").touch()
    with pytest.raises(UsageProblem, match="there is no image to"):
        find_exposures([tmp_path])
    with pytest.raises(UsageProblem, match="does not exist"):
        find_exposures([tmp_path / "x"])
