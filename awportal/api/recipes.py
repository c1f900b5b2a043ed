"""The recipes there are: inputs, parameters, schema, documentation."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel, Field

from awportal.api.authentication import context_of_request
from awportal.api.errors import Refusal
from processing_units.frontend.own_recipes import find_recipe_of
from recipes.catalogue import all_recipes
from recipes.kinds import KINDS
from recipes.recipe import Recipe, Scalar

router = Router(tags=["recipes"])


class InputInformation(BaseModel):
    """One input of a recipe, by its role."""

    role: str
    kinds: list[str]
    minimum: int
    maximum: int | None
    primary: bool
    preferred: bool
    chosen_by: str
    use: str


class ParameterInformation(BaseModel):
    """One parameter of a recipe."""

    name: str
    type: str
    default: Scalar
    unit: str
    minimum: float | None
    maximum: float | None
    choices: list[Scalar]
    description: str


class RecipeInformation(BaseModel):
    """A recipe, as forms and commands are made from it."""

    name: str
    version: str
    summary: str
    inputs: list[InputInformation]
    outputs: list[str]
    split_by: list[str]
    runs_on: str
    needs_any_of: list[str]
    auxiliary: bool
    parameters: list[ParameterInformation]


class RecipeDetails(RecipeInformation):
    """A recipe with its documentation and the JSON schema of its parameters."""

    documentation: str
    parameter_schema: dict[str, Any] = Field(serialization_alias="schema")


class RecipeList(BaseModel):
    """Recipes, in the order in which a night needs them."""

    items: list[RecipeInformation]


class KindInformation(BaseModel):
    """A kind of product."""

    name: str
    description: str
    raw: bool


class KindList(BaseModel):
    """Kinds of products, raw ones first."""

    items: list[KindInformation]


@router.get("/kinds", response=KindList)
def list_kinds(request: HttpRequest) -> KindList:
    """List the kinds of products that the archive holds."""
    return KindList(
        items=[
            KindInformation(name=kind.name, description=kind.description, raw=kind.is_raw) for kind in KINDS.values()
        ]
    )


@router.get("/recipes", response=RecipeList, by_alias=True)
def list_recipes(request: HttpRequest) -> RecipeList:
    """List the recipes in the order in which a night needs them."""
    return RecipeList(items=[RecipeInformation(**_described(recipe)) for recipe in all_recipes().values()])


@router.get("/recipes/{name}", response=RecipeDetails, by_alias=True)
def one_recipe(request: HttpRequest, name: str, code: str = "") -> RecipeDetails:
    """Return one recipe, its name written in any case; with ``code``, as one's own code of that digest has it."""
    by_name = {recipe.name.lower(): recipe for recipe in all_recipes().values()}
    standard = by_name.get(name.lower())
    if code:
        recipe: Recipe | None = find_recipe_of(standard.name if standard else name, code, context_of_request(request))
    else:
        recipe = standard
    if recipe is None:
        names = ", ".join(all_recipes())
        raise Refusal(404, f"there is no recipe {name[:60]!r}", hint=f"the recipes are: {names}", field="recipe")
    return RecipeDetails(**_described(recipe), documentation=recipe.documentation, parameter_schema=recipe.schema())


def _described(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "version": recipe.version,
        "summary": recipe.summary,
        "inputs": [
            InputInformation(
                role=entry.role,
                kinds=list(entry.kinds),
                minimum=entry.minimum,
                maximum=entry.maximum,
                primary=entry.primary,
                preferred=entry.preferred,
                chosen_by=entry.chosen_by,
                use=entry.use,
            )
            for entry in recipe.inputs
        ],
        "outputs": list(recipe.outputs),
        "split_by": list(recipe.split_by),
        "runs_on": recipe.runs_on,
        "needs_any_of": list(recipe.needs_any_of),
        "auxiliary": recipe.auxiliary,
        "parameters": [
            ParameterInformation(
                name=parameter.name,
                type=parameter.type,
                default=parameter.default,
                unit=parameter.unit,
                minimum=parameter.minimum,
                maximum=parameter.maximum,
                choices=list(parameter.choices),
                description=parameter.description,
            )
            for parameter in recipe.parameters
        ],
    }
