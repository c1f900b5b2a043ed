"""What of a night is there already: also where frames were made anew, by the same version or by a newer one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from processing_units.contract import PlannedJob
from processing_units.nights.frames import FrameSet
from processing_units.nights.made_before import MadeBefore

from .descriptions import MASTER, REDUCE, a_product, a_recipe, an_input

SCIENCE = a_recipe(
    "Science", "CalibratedScienceFrame", "product",
    an_input("reduced", "ReducedScienceFrame", minimum=1, primary=True), an_input("zeropoint", "PhotometricParameters"),
)  # fmt: skip
ZEROPOINT = a_recipe(
    "Zeropoint", "PhotometricParameters", "product",
    an_input("frame", "CalibratedScienceFrame", minimum=1, primary=True),
)  # fmt: skip
RAW = 1


class Portal:
    """Holds one exposure, reduced and calibrated, and its zeropoint."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    def add(self, number: int, recipe: dict[str, Any], made_from: int, version: str = "1") -> None:
        role = next(entry["role"] for entry in recipe["inputs"] if entry["primary"])
        self.made.append(a_product(number, recipe["outputs"][0], name=recipe["name"], recipe=recipe["name"],
                                   inputs={role: [made_from]}) | {"recipe_version": version})  # fmt: skip

    def products(self, **filters: Any) -> list[dict[str, Any]]:
        return [product for product in self.made if product["recipe"] == filters["recipe"]]


def is_there(portal: Portal, frame: int) -> bool:
    """Whether the zeropoint of a calibrated frame counts as made."""
    frames = FrameSet("cam", ["2024-05-12"])
    before = MadeBefore(portal, [MASTER, REDUCE, SCIENCE, ZEROPOINT], [frames])  # type: ignore[arg-type]
    for recipe in (REDUCE, SCIENCE):
        before.products_of(recipe, frames)
    job = PlannedJob(label="a", inputs={"frame": [frame]}, calibrations=[])
    outline = SimpleNamespace(version="1", parameters={}, jobs=[job])
    return bool(before.there(ZEROPOINT, outline, job, before.products_of(ZEROPOINT, frames)))


def test_a_frame_that_was_made_anew_with_its_own_zeropoint_keeps_it() -> None:
    portal = Portal()
    portal.add(2, REDUCE, RAW)
    portal.add(3, SCIENCE, 2)
    portal.add(4, ZEROPOINT, 3)
    portal.add(5, SCIENCE, 2)
    assert is_there(portal, 3)
    assert is_there(portal, 5)


def test_a_newer_version_of_what_lies_behind_makes_all_that_follows_anew() -> None:
    portal = Portal()
    portal.add(2, REDUCE, RAW)
    portal.add(3, SCIENCE, 2)
    portal.add(4, ZEROPOINT, 3)
    portal.add(5, REDUCE, RAW, version="2")
    portal.add(6, SCIENCE, 5)
    assert not is_there(portal, 6)
    portal.add(7, ZEROPOINT, 6)
    assert is_there(portal, 6)
