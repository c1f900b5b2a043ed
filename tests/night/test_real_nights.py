"""`make demo NIGHT=` on real nights: all that the night allows is there, and agrees with what was measured by hand.

The figures are those of the SOURCE.txt beside each night; both hold within 3 %.
"""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.night.installation import Installation

pytestmark = [pytest.mark.real_frames, pytest.mark.processes, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Night:
    """A real night: where, how it is taken in, what it must give."""

    directory: str
    read_noise: float
    gain: float
    kinds: dict[str, int]
    arguments: tuple[str, ...] = field(default=())


NIGHTS = [
    Night(
        "nickel_lick_v_2024",
        5.28,
        1.796,
        {"ReadNoise": 1, "BiasFrame": 1, "HotPixelMap": 1, "GainLinearity": 1, "TwilightFlatFrame": 1,
         "ColdPixelMap": 1, "MasterFlatFrame": 1, "NightSkyFlatFrame": 1, "ReducedScienceFrame": 6,
         "CalibratedScienceFrame": 6, "RegriddedFrame": 6, "PhotometricParameters": 2, "CoaddedRegriddedFrame": 0,
         "SourceList": 6, "AssociateList": 0},
    ),
    Night(
        "arcsat_xo1_z_2025",
        12.1,
        1.340,
        {"ReadNoise": 1, "BiasFrame": 1, "DarkFrame": 1, "HotPixelMap": 1, "GainLinearity": 1, "DomeFlatFrame": 1,
         "ColdPixelMap": 1, "MasterFlatFrame": 1, "NightSkyFlatFrame": 1, "FringeFrame": 1, "ReducedScienceFrame": 10,
         "CalibratedScienceFrame": 10, "RegriddedFrame": 10, "PhotometricParameters": 0, "CoaddedRegriddedFrame": 1,
         "SourceList": 11, "AssociateList": 1},
    ),
    # Its header calls the flats light frames: the user says what they are. Two set-points, so two biases.
    Night(
        "sbig_stl1001_cal_2017",
        6.70,
        1.928,
        {"DomeFlatFrame": 1, "ColdPixelMap": 1, "MasterFlatFrame": 1, "GainLinearity": 1},
        ("--type", "domeflat/*=RawDomeFlat"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("night", NIGHTS, ids=lambda night: night.directory)
def test_a_real_night_is_reduced_with_one_command(night: Night, real_frames: Path, tmp_path: Path) -> None:
    installation = Installation(tmp_path / "home")
    result = installation.launch("demo", "--once", "--night", str(real_frames / night.directory), *night.arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    installation.start()
    try:
        made = [product for product in installation.products() if not product["kind"].startswith("Raw")]
    finally:
        installation.stop()
    # What a second turn made anew (with fringes, with a zeropoint) has the old one's name.
    counts = Counter(kind for kind, _ in {(product["kind"], product["name"]) for product in made})
    assert {kind: counts[kind] for kind in night.kinds} == night.kinds
    assert attribute(made, "ReadNoise", "read_noise") == pytest.approx(night.read_noise, rel=0.03)
    assert attribute(made, "GainLinearity", "gain") == pytest.approx(night.gain, rel=0.03)


def attribute(products: list[dict[str, object]], kind: str, name: str) -> float:
    """Return an attribute of the one product of its kind, or the median of several."""
    return statistics.median(
        float(product["attributes"][name])  # type: ignore[index]
        for product in products
        if product["kind"] == kind
    )
