"""What Science settles for all frames of a run: the grids of its fields, and which frame others are aligned with."""

import numpy as np
import pytest

from recipes.ccd.sky_fields import alignment_frames, field_centres, fields_of, nearest_centre, read_centres, settle_grid
from recipes.errors import UsageError
from recipes.science import RECIPE


def frame(centre_ra: float | None, centre_dec: float | None, **more: object) -> dict[str, object]:
    own = {"instrument": "cam", "chip": "1", "centre_ra": centre_ra, "centre_dec": centre_dec, "has_wcs": True,
           "pixel_scale": 0.3702, "psf_fwhm": 4.0, "sky_noise": 10.0, "exposure_time": 60.0}  # fmt: skip
    return own | more


def test_each_field_has_a_rounded_centre() -> None:
    frames = [frame(150.11, 2.21), frame(150.19, 2.18), frame(10.02, -30.04)]
    settled = RECIPE.settle(RECIPE.parse_parameters({}), frames)
    assert settled["grid_centres"] == "10,-30; 150.2,2.2"
    assert settled["pixel_scale"] == 0.37


def test_another_night_of_the_same_field_has_the_same_grid() -> None:
    dithers = np.random.default_rng(3).normal(0, 0.01, (40, 2))
    nights = [[frame(150.1 + x, 2.2 + y) for x, y in part] for part in (dithers[:20], dithers[20:])]
    first, second = (settle_grid({"grid_centres": "", "pixel_scale": 0.0}, night) for night in nights)
    assert first == second


def test_what_the_user_gives_stays() -> None:
    given = {"grid_centres": "1,2", "pixel_scale": 0.5}
    assert settle_grid(given, [frame(150.0, 2.0)]) == given


def test_nothing_is_settled_from_nothing() -> None:
    unknown = {"grid_centres": "", "pixel_scale": 0.0}
    assert settle_grid(unknown, [{}, frame(None, None, pixel_scale=None)]) == unknown


def test_pointings_serve_where_there_are_no_coordinates() -> None:
    frames = [frame(None, None, ra=359.98, dec=-5.0), frame(None, None, ra=0.02, dec=-5.0)]
    assert settle_grid({"grid_centres": ""}, frames)["grid_centres"] == "0,-5"


def test_friends_of_friends_are_one_field_across_the_pole() -> None:
    around = [(ra, 89.7) for ra in (0.0, 120.0, 240.0)]
    assert fields_of([*around, (0.0, 80.0)]) == [[3], [0, 1, 2]]
    assert field_centres(around)[0][1] == 90.0


def test_a_stripe_of_the_sky_is_cut_into_zones() -> None:
    stripe = [(ra / 2, 0.0) for ra in range(80)]
    centres = field_centres(stripe)
    assert len(centres) == 8
    assert max(min(abs(ra - centre[0]) for centre in centres) for ra, _ in stripe) <= 2.6


def test_a_frame_goes_to_the_nearest_centre() -> None:
    centres = read_centres("359.9,0; 5,0")
    assert nearest_centre(centres, (0.5, 0.1)) == (359.9, 0.0)


@pytest.mark.parametrize("text", ["150", "a,b", "1,95", "1,2,3"])
def test_centres_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no right ascension and declination"):
        read_centres(text)


def test_the_deepest_and_sharpest_frame_of_a_field_and_chip_is_aligned_with() -> None:
    frames = [
        frame(150.1, 2.2),
        frame(150.1, 2.2, psf_fwhm=3.0),
        frame(150.1, 2.2, psf_fwhm=2.0, has_wcs=False),
        frame(150.1, 2.2, chip="2"),
        frame(10.0, 2.2),
        frame(None, None, object="M13"),
    ]
    assert alignment_frames(frames) == [1, 1, 1, 3, 4, None]
    assert RECIPE.choose_in_run is alignment_frames


def test_a_frame_that_does_not_say_where_it_lies_goes_with_its_object() -> None:
    frames = [
        frame(150.1, 2.2, object="A"),
        frame(10.0, 2.2, object="B"),
        {"instrument": "cam", "chip": "1", "object": "B"},
    ]
    assert alignment_frames(frames) == [0, 1, 1]
    assert alignment_frames([frames[0], {"instrument": "cam", "chip": "1"}]) == [0, 0]


def test_no_frame_with_coordinates_means_none_to_align_with() -> None:
    assert alignment_frames([frame(150.1, 2.2, has_wcs=False)]) == [None]


def test_many_frames_take_no_time() -> None:
    around = np.random.default_rng(1).uniform(-1, 1, (5000, 2))
    assert len(fields_of([(150.0 + x, y) for x, y in around])) == 1
