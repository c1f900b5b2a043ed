"""Recipes of shipped code at the frontend: told by the bundle in the sandbox, held to a schema, never imported."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from archive.context import Context, context_of
from archive.models import Profile
from dataserver.store import Store
from processing_units.code_shipping.packing import pack
from processing_units.contract import Submission
from processing_units.frontend import own_recipes
from processing_units.frontend.bundles import keep_bundle
from processing_units.frontend.models import CodeBundle, ProcessingUnit
from processing_units.frontend.own_recipes import find_recipe_of, recipes_of
from processing_units.frontend.submit import plan
from recipes.catalogue import find_recipe
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import biases, make_user

pytestmark = pytest.mark.django_db

MINE = b'''
from recipes.bias import RECIPE as STANDARD, bias
from recipes.recipe import Recipe
open("/tmp/imported-by-a-bundle", "w").close()
def mine(*frames, sharpness: float = 2.5):
    """Sharpen <script>alert(1)</script>.

    Parameters
    ----------
    sharpness : float
        How sharp.
    """
RECIPE = Recipe(name="Sharpen", version="3", function=mine, inputs=STANDARD.inputs, outputs=("BiasFrame",),
                split_by=STANDARD.split_by)
'''


@pytest.fixture
def shipper(db: None) -> Context:
    """A user of type 3."""
    return context_of(make_user("sue", Profile.UserType.SHIPS_CODE))


def shipped(context: Context, **files: bytes) -> CodeBundle:
    packed = pack([(f"recipes/{name}.py", text) for name, text in files.items()])
    return keep_bundle(io.BytesIO(packed.content), context)


@pytest.mark.program("bwrap", "bubblewrap")
def test_a_recipe_of_one_s_own_is_planned_as_it_tells_itself(
    shipper: Context, unit: ProcessingUnit, store: Store
) -> None:
    bundle = shipped(shipper, mine=MINE)
    assert shipper.user is not None
    asked = Submission(recipe="Sharpen", inputs={"": biases(shipper.user)}, code=bundle.digest)
    planned = plan(asked, shipper)
    assert (planned.recipe, planned.version, planned.parameters) == ("Sharpen", "3", {"sharpness": 2.5})
    assert len(planned.jobs) == 1
    with pytest.raises(UsageError, match="sharpness"):
        plan(asked.model_copy(update={"parameters": {"sharpness": "very"}}), shipper)
    with pytest.raises(UsageError, match="your code has no recipe"):
        plan(asked.model_copy(update={"recipe": "Blur"}), shipper)
    assert "recipes.mine" not in sys.modules
    bundle.refresh_from_db()
    assert {"Bias", "Sharpen"} <= set(recipes_of(bundle))
    assert not __import__("os").path.exists("/tmp/imported-by-a-bundle")


@pytest.mark.program("bwrap", "bubblewrap")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"raise RuntimeError('mis\\x1b[31mtake')", "cannot be loaded: RuntimeError: mis?[31mtake"),
        (b"open('outputs/recipes.json', 'w').write('[' * 100000); import os; os._exit(0)", "is wrong at"),
        (b"open('outputs/recipes.json', 'w').write('[{}]'); import os; os._exit(0)", "is wrong at 0.name"),
        (b"import os; os.symlink('/etc/passwd', 'outputs/recipes.json'); os._exit(0)", "cannot be loaded"),
        (b"open('outputs/recipes.json', 'w').write(' ' * 2_000_000); import os; os._exit(0)", "cannot be loaded"),
    ],
)
def test_what_cannot_be_asked_is_told_once(
    shipper: Context, unit: ProcessingUnit, store: Store, source: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = shipped(shipper, aaa=source)
    with pytest.raises(UsageError) as refused:
        find_recipe_of("Bias", bundle.digest, shipper)
    assert said in refused.value.message
    assert "\x1b" not in refused.value.message
    monkeypatch.setattr(own_recipes, "_ask", lambda _: pytest.fail("asked a second time"))
    with pytest.raises(UsageError):
        find_recipe_of("Bias", bundle.digest, shipper)


def test_a_bundle_without_recipes_runs_the_standard_ones(shipper: Context, store: Store) -> None:
    packed = pack([("Environment.cfg", b"[global]\n"), ("recipes/table.toml", b"")])
    bundle = keep_bundle(io.BytesIO(packed.content), shipper)
    assert find_recipe_of("Bias", bundle.digest, shipper) is find_recipe("Bias")


def test_where_no_sandbox_works_a_changed_recipe_keeps_the_standard_form(
    shipper: Context, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = shipped(shipper, bias=b"pass\n")
    monkeypatch.setattr(own_recipes, "_ask", lambda _: (None, ""))
    assert find_recipe_of("Bias", bundle.digest, shipper) is find_recipe("Bias")
    with pytest.raises(UsageError, match="there is no recipe"):
        find_recipe_of("Sharpen", bundle.digest, shipper)


def told(**changes: Any) -> str:
    return json.dumps([find_recipe("Bias").told() | changes])


def test_the_standard_recipes_pass_the_schema() -> None:
    from recipes.catalogue import all_recipes

    words = json.dumps([recipe.told() for recipe in all_recipes().values()])
    assert len(own_recipes._ALL_TOLD.validate_json(words)) == len(all_recipes())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "<script>"}, {"name": "a" * 41}, {"version": "1\n2"}, {"documentation": "\x1b[31m"},
        {"documentation": "x" * 30_000}, {"outputs": ["RawBias"]}, {"outputs": ["Nothing"]}, {"split_by": ["password"]},
        {"inputs": []}, {"needs_any_of": ["nobody"]}, {"more": 1}, {"runs_on": "root"},
        {"parameters": [{"name": "x", "type": "float", "default": "text", "unit": "", "minimum": None, "maximum": None,
                         "choices": [], "description": ""}]},
        {"parameters": [{"name": "x", "type": "float", "default": float("nan"), "unit": "", "minimum": None,
                         "maximum": None, "choices": [], "description": ""}]},
    ],
)  # fmt: skip
def test_what_a_bundle_tells_is_held_to_a_strict_schema(changes: dict[str, Any]) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError):
        own_recipes._ALL_TOLD.validate_json(told(**changes))
