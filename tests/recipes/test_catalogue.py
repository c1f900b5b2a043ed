"""The catalogue: its order, what it costs to read, and that every recipe can be described."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recipes.catalogue import all_recipes
from recipes.kinds import KINDS
from tests.recipes.synthetic import ROOT


def test_recipes_come_in_the_order_of_a_night():
    names = list(all_recipes())
    order = ["ReadNoise", "Bias", "Dark", "HotPixels", "DomeFlat", "ColdPixels", "TwilightFlat", "MasterFlat", "Reduce"]
    here = [name for name in order if name in names]
    assert [name for name in names if name in here] == here
    assert names.index("Bias") < names.index("Gain") < names.index("DomeFlat")


def test_reading_the_catalogue_imports_nothing_heavy():
    code = (
        "import sys; from recipes.catalogue import all_recipes; all_recipes();"
        "print([m for m in ('astropy', 'scipy', 'sep', 'skimage', 'matplotlib', 'astroscrappy') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize("name", all_recipes())
def test_a_recipe_describes_itself(name):
    recipe = all_recipes()[name]
    assert recipe.summary.endswith(".")
    for parameter in recipe.parameters:
        assert parameter.description, f"{parameter.name} is not described"
        assert parameter.parse(parameter.default) == parameter.default
    for entry in recipe.inputs:
        assert entry.role in recipe.documentation
        if entry.kinds == recipe.outputs:
            assert entry.minimum == 0
            assert not entry.preferred
    assert all(kind in KINDS for kind in recipe.outputs)
    assert recipe.schema()["additionalProperties"] is False
