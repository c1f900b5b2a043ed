"""Selections that are kept by name: listing, saving, sharing and removing them."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpRequest
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from archive.models import SavedSelection
from archive.saved_selections import MOST_PRODUCTS, NoSelection, change, find, listed, remove, save
from awportal.api.authentication import context_of_request
from awportal.api.errors import Refusal

router = Router(tags=["selections"])


class SelectionInformation(BaseModel):
    """A selection: ``fixed`` holds chosen products (the filter ``ids``); others are asked anew each time."""

    key: str
    name: str
    owner: str
    project: str
    shared: str
    fixed: bool
    filters: dict[str, str]


class Selections(BaseModel):
    """One's own selections, and those of one's projects."""

    items: list[SelectionInformation]


class NewSelection(BaseModel):
    """Filters as ``/products`` takes them, or the numbers of products; ``shared`` is owner, project or link."""

    model_config = ConfigDict(extra="forbid")

    name: str
    filters: dict[str, str] = {}
    products: Annotated[list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(max_length=MOST_PRODUCTS)] = []
    shared: str = "owner"


class SelectionChange(BaseModel):
    """Another name, or others who may open it."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    shared: str | None = None


@router.get("/selections", response=Selections)
def list_selections(request: HttpRequest) -> Selections:
    """List one's own selections and those of one's projects."""
    return Selections(items=[_told(each) for each in listed(context_of_request(request))])


@router.post("/selections", response={201: SelectionInformation})
def new_selection(request: HttpRequest, wanted: NewSelection) -> Status[SelectionInformation]:
    """Keep filters or products by a name."""
    context = context_of_request(request)
    return Status(201, _told(save(context, wanted.name, wanted.filters, wanted.products, sharing=wanted.shared)))


@router.get("/selections/{name}", response=SelectionInformation)
def one_selection(request: HttpRequest, name: str) -> SelectionInformation:
    """Return the selection of that key or name."""
    return _told(_find(request, name))


@router.post("/selections/{name}", response=SelectionInformation)
def change_selection(request: HttpRequest, name: str, wanted: SelectionChange) -> SelectionInformation:
    """Rename one's own selection, or let others open it."""
    saved = _find(request, name)
    return _told(
        change(
            context_of_request(request),
            saved,
            name=saved.name if wanted.name is None else wanted.name,
            sharing=saved.sharing if wanted.shared is None else wanted.shared,
        )
    )


@router.delete("/selections/{name}", response={204: None})
def remove_selection(request: HttpRequest, name: str) -> Status[None]:
    """Forget one's own selection; products stay."""
    remove(context_of_request(request), _find(request, name))
    return Status(204, None)


def _find(request: HttpRequest, name: str) -> SavedSelection:
    try:
        return find(context_of_request(request), name)
    except NoSelection as missing:
        raise Refusal(404, str(missing), hint="`awrecipe selections` lists yours") from None


def _told(saved: SavedSelection) -> SelectionInformation:
    return SelectionInformation(
        key=saved.key,
        name=saved.name,
        owner=saved.owner.get_username(),
        project=saved.project.name if saved.project else "",
        shared=saved.sharing,
        fixed=saved.is_fixed,
        filters=saved.filters,
    )
