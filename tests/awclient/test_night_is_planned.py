"""A night's recipes come in a right order, each with the frames that belong together."""

from __future__ import annotations

from awclient.night_command import told_together
from processing_units.nights.frames import FrameSet, group_frames, inputs_for, nearest_calibrations
from processing_units.nights.order import steps

from .descriptions import BIAS, COLD, DOME, MASTER, RECIPES, REDUCE, TWILIGHT, a_product, a_recipe, an_input


def chosen(recipe: dict[str, object], *products: dict[str, object]) -> list[dict[str, list[int]]]:
    found = inputs_for(recipe, FrameSet("cam", ["2024-05-12"], list(products)))
    return [{role: [product["id"] for product in members] for role, members in one.items()} for one in found]


def test_the_order_follows_what_is_taken_and_made() -> None:
    assert [recipe["name"] for recipe in steps(RECIPES)] == [
        "Bias", "DomeFlat", "ColdPixels", "TwilightFlat", "ColdPixels", "TwilightFlat", "MasterFlat", "Reduce",
    ]  # fmt: skip


def test_the_order_does_not_depend_on_the_list() -> None:
    assert [recipe["name"] for recipe in steps(RECIPES[::-1])] == [recipe["name"] for recipe in steps(RECIPES)]


def test_a_recipe_has_a_second_turn_when_its_own_products_made_what_it_lacked() -> None:
    reduce = REDUCE | {"inputs": [*REDUCE["inputs"], an_input("fringe_frame", "FringeFrame")]}
    fringe = a_recipe("FringeFlat", "FringeFrame", "chip filter",
                      an_input("reduced", "ReducedScienceFrame", minimum=5, maximum=None, primary=True))  # fmt: skip
    sources = a_recipe("SourceList", "SourceList", "product",
                       an_input("frame", "ReducedScienceFrame", minimum=1, primary=True))  # fmt: skip
    order = [recipe["name"] for recipe in steps([BIAS, MASTER, sources, fringe, reduce])]
    assert order == ["Bias", "MasterFlat", "Reduce", "FringeFlat", "Reduce", "SourceList"]


def test_what_is_made_anew_takes_the_place_of_the_old() -> None:
    raw = [a_product(1, "RawScience", name="a.fits"), a_product(2, "RawScience", name="a.fits")]
    old, new, other = (
        a_product(number, "ReducedScienceFrame", name=name, recipe="Reduce")
        for number, name in ((3, "r1"), (5, "r1"), (4, "r2"))
    )
    frames = FrameSet("cam", ["2024-05-12"])
    frames.add([*raw, new, old, other])
    frames.add([old])
    assert sorted(product["id"] for product in frames.products) == [1, 2, 4, 5]


def test_biases_of_two_temperatures_are_apart_and_a_drift_is_not() -> None:
    cold = [a_product(n, "RawBias", temperature=-10.2) for n in (1, 2, 3)]
    warm = [a_product(n, "RawBias", temperature=-5.0 + 0.8 * n) for n in (4, 5, 6, 7)]
    assert chosen(BIAS, *warm, *cold) == [{"raw_bias": [1, 2, 3]}, {"raw_bias": [4, 5, 6, 7]}]


def test_where_no_temperature_has_enough_all_stay_together() -> None:
    frames = [a_product(1, "RawBias", temperature=-10.0), a_product(2, "RawBias", temperature=-5.0),
              a_product(3, "RawBias", temperature=-5.0)]  # fmt: skip
    assert chosen(BIAS, *frames) == [{"raw_bias": [1, 2, 3]}]


def test_an_unknown_temperature_joins_the_only_one_known() -> None:
    frames = [a_product(1, "RawBias"), *(a_product(n, "RawBias", temperature=-5.0) for n in (2, 3))]
    assert chosen(BIAS, *frames) == [{"raw_bias": [1, 2, 3]}]


def test_flats_stay_together_however_the_dome_cooled() -> None:
    flats = [a_product(n, "RawDomeFlat", filter="R", temperature=10.0 - 4 * n) for n in (1, 2)]
    assert chosen(DOME, *flats) == [{"raw_flat": [1, 2]}]
    without_wheel = [{**flat, "filter": ""} for flat in flats]
    assert chosen(DOME, *without_wheel) == [{"raw_flat": [1, 2]}]


def test_the_first_kind_of_which_there_is_enough_is_taken_for_each_filter() -> None:
    flat = an_input("raw_flat", "RawDomeFlat", "RawTwilightFlat", minimum=2, maximum=None, primary=True)
    gain = a_recipe("Gain", "GainLinearity", "chip", flat)
    one_dome = a_product(1, "RawDomeFlat", filter="R")
    twilights = [a_product(n, "RawTwilightFlat", filter="R") for n in (2, 3)]
    assert chosen(gain, one_dome, *twilights) == [{"raw_flat": [2, 3]}]
    flats = [
        a_product(number, kind, filter=of, valid_from="2024-05-01")
        for number, kind, of in (
            (1, "DomeFlatFrame", "R"),
            (2, "TwilightFlatFrame", "R"),
            (3, "TwilightFlatFrame", "V"),
        )
    ]
    assert chosen(COLD, *flats) == [{"flat": [1, 3]}]
    assert chosen(MASTER, *flats) == [{"dome_flat": [1], "twilight_flat": [2, 3]}]


def test_of_one_exposure_the_best_frame_is_taken_and_of_several_their_coadd_too() -> None:
    sources = a_recipe("SourceList", "SourceList", "product", an_input(
        "frame", "CalibratedScienceFrame", "ReducedScienceFrame", "CoaddedRegriddedFrame", minimum=1, primary=True
    ))  # fmt: skip
    raw = [a_product(number, "RawScience") for number in (1, 2)]
    bias = a_product(3, "BiasFrame", recipe="Bias", valid_from="2024-05-01")
    reduced = [
        a_product(number, "ReducedScienceFrame", recipe="Reduce", inputs={"raw_science": [of], "bias_frame": [3]})
        for number, of in ((4, 1), (5, 2))
    ]
    calibrated = a_product(6, "CalibratedScienceFrame", recipe="Science", inputs={"reduced_science": [4]})
    aligned = {"reduced_science": [4], "alignment_frame": [5]}
    calibrated["inputs"] = aligned
    coadd = a_product(7, "CoaddedRegriddedFrame", recipe="Coadd", inputs={"regridded_frames": [4, 5]})
    of_one = a_product(8, "CoaddedRegriddedFrame", recipe="Coadd", inputs={"regridded_frames": [4]})
    everything = [*raw, bias, *reduced, calibrated, coadd, of_one]
    frames = FrameSet("cam", ["2024-05-12"], everything, {"Science": {"reduced_science"}})
    found = [product["id"] for product in inputs_for(sources, frames)[0]["frame"]]
    assert found == [5, 6, 7]


def test_of_more_than_a_job_takes_the_one_of_most_frames_is_taken() -> None:
    flats = [a_product(1, "DomeFlatFrame", filter="R", inputs={"raw_flat": [5, 6, 7]}),
             a_product(2, "DomeFlatFrame", filter="R", inputs={"raw_flat": [8]})]  # fmt: skip
    assert chosen(COLD, *flats) == [{"flat": [1, 2]}]
    assert chosen(MASTER, *flats) == [{"dome_flat": [1]}]


def test_nothing_is_chosen_where_there_is_nothing() -> None:
    assert chosen(TWILIGHT, a_product(1, "RawDomeFlat")) == []


def test_the_calibration_nearest_in_temperature_is_named_where_there_are_several() -> None:
    flats = [a_product(1, "RawDomeFlat", filter="R", temperature=-5.0)]
    biases = [a_product(2, "BiasFrame", temperature=-5.1, valid_from="2024-04-28T12:00:00Z"),
              a_product(3, "BiasFrame", temperature=-10.0, valid_from="2024-04-28T12:00:00Z")]  # fmt: skip
    frames = FrameSet("cam", ["2024-05-12"], [*flats, *biases])
    assert nearest_calibrations(DOME, {"raw_flat": flats}, frames) == {"bias_frame": [2]}
    assert nearest_calibrations(DOME, {"raw_flat": flats}, FrameSet("cam", [], [*flats, biases[0]])) == {}


def test_frames_are_apart_by_instrument_and_night_unless_they_fit_into_a_day() -> None:
    frames = [
        a_product(1, "RawBias", night="2024-05-12", date_obs="2024-05-12T22:00:00Z"),
        a_product(2, "RawScience", night="2024-05-13", date_obs="2024-05-14T04:00:00Z"),
        a_product(3, "RawBias", instrument="lab", night="2024-05-11", date_obs="2024-05-12T16:00:00Z"),
        a_product(4, "RawBias", instrument="lab", night="2024-05-12", date_obs="2024-05-12T17:00:00Z"),
        a_product(5, "RawBias", is_valid=0),
    ]
    assert [(one.title, [product["id"] for product in one.products]) for one in group_frames(frames)] == [
        ("cam 2024-05-12", [1]),
        ("cam 2024-05-13", [2]),
        ("lab 2024-05-11 and 2024-05-12", [3, 4]),
    ]


def test_exposures_that_are_jobs_of_their_own_are_apart_by_temperature() -> None:
    science = [a_product(n, "RawScience", filter="R", temperature=-5.0 * n) for n in (1, 2)]
    assert chosen(REDUCE, *science) == [{"raw_science": [2]}, {"raw_science": [1]}]


def test_what_is_not_possible_for_one_reason_is_told_once() -> None:
    entries = [{"recipe": "Zeropoint", "what": f"chip {n}", "reason": "no catalogue"} for n in (1, 2, 3)]
    entries += [{"recipe": "Science", "what": f"chip {n}", "reason": f"frame {n} is empty"} for n in range(12)]
    assert told_together(entries) == [
        "Zeropoint chip 1 and 2 more: no catalogue",
        *(f"Science chip {n}: frame {n} is empty" for n in range(10)),
        "Science: 2 more reasons (--json lists all)",
    ]
