"""Parameters of a recipe under a name: list, keep, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Path, Router, Status
from pydantic import BaseModel, ConfigDict, Field

from archive.context import Context
from awportal.api.authentication import context_of_request
from awportal.api.errors import Refusal
from processing_units.contract import Text
from processing_units.frontend.models import ParameterSet
from processing_units.frontend.parameter_sets import (
    find_set,
    keep_set,
    problems_of,
    reference_of,
    remove_set,
    visible_sets,
)
from recipes.catalogue import all_recipes, find_recipe

router = Router(tags=["parameter sets"])

Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


class SetInformation(BaseModel):
    """A parameter set; ``problems`` says by parameter what its recipe does not take any more."""

    id: int
    name: str
    reference: str = Field(description="how you name it: NAME, or OWNER/NAME")
    recipe: str
    version: str
    owner: str
    project: str | None
    parameters: dict[str, Any]
    problems: dict[str, str]
    kept: datetime


class SetList(BaseModel):
    """Parameter sets by recipe and name."""

    items: list[SetInformation]


class SetRequest(BaseModel):
    """What to keep; what is kept under that name already gives way."""

    model_config = ConfigDict(extra="forbid")

    recipe: Text
    name: Annotated[Text, Field(max_length=60)]
    parameters: dict[Text, Any] = Field(max_length=200)
    project: bool = Field(default=False, description="share it with the project that you work in")


@router.get("/parameter-sets", response=SetList)
def list_sets(request: HttpRequest, recipe: str = "", name: str = "") -> SetList:
    """List your parameter sets and those of your projects; with a recipe and a name, the one that they mean."""
    context = context_of_request(request)
    if name:
        return SetList(items=[_told(find_set(find_recipe(recipe), name, context), context)])
    found = visible_sets(context).filter(**({"recipe": recipe} if recipe else {}))
    return SetList(items=[_told(kept, context) for kept in found[:1000]])


@router.post("/parameter-sets", response=SetInformation)
def keep(request: HttpRequest, wanted: SetRequest) -> SetInformation:
    """Keep parameters of a recipe under a name."""
    context = context_of_request(request)
    kept = keep_set(find_recipe(wanted.recipe), wanted.name, wanted.parameters, context, wanted.project)
    return _told(kept, context)


@router.delete("/parameter-sets/{int:number}", response={204: None})
def remove(request: HttpRequest, number: Number) -> Status[None]:
    """Remove one of your parameter sets."""
    context = context_of_request(request)
    kept = visible_sets(context).filter(pk=number).first()
    if kept is None:
        raise Refusal(404, f"there is no parameter set {number}")
    remove_set(kept, context)
    return Status(204, None)


def _told(kept: ParameterSet, context: Context) -> SetInformation:
    recipe = all_recipes().get(kept.recipe)
    gone = {"recipe": f"there is no recipe {kept.recipe} any more"}
    return SetInformation(
        id=kept.pk,
        name=kept.name,
        reference=reference_of(kept, context),
        recipe=kept.recipe,
        version=kept.recipe_version,
        owner=kept.owner.get_username(),
        project=kept.project.name if kept.project else None,
        parameters=kept.entries,
        problems=problems_of(kept, recipe) if recipe else gone,
        kept=kept.kept_at,
    )
