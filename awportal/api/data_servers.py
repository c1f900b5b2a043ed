"""Caching data servers near the nodes: for process managers to see, for administrators to register and take off."""

from __future__ import annotations

import datetime
from typing import Annotated

from django.conf import settings
from django.http import HttpRequest
from ninja import Router, Status
from pydantic import BaseModel, ConfigDict, Field

from awportal.api.authentication import context_of_request
from processing_units.frontend.data_server_changes import look_at_all, register_data_server, remove_data_server

router = Router(tags=["units"])


class DataServerInformation(BaseModel):
    """A caching data server, and how it is now; ``says`` what is wrong with one that is not well."""

    name: str
    address: str
    units: list[str]
    is_well: bool
    says: str
    registered_by: str
    registered: datetime.datetime


class DataServerList(BaseModel):
    """Caching data servers by name."""

    items: list[DataServerInformation]


class DataServerRequest(BaseModel):
    """Where nodes reach it; ``anew`` gives one that is registered this address and a new key."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, Field(max_length=200)]
    anew: bool = False


class MadeDataServer(BaseModel):
    """A registered data server; ``key`` is what its key file is to hold, told this once."""

    name: str
    address: str
    key: str
    upstream: str


@router.get("/data-servers", response=DataServerList)
def list_data_servers(request: HttpRequest) -> DataServerList:
    """Ask the caching data servers how they are (process managers)."""
    return DataServerList(
        items=[
            DataServerInformation(
                name=each.data_server.name,
                address=each.data_server.address,
                units=each.units,
                is_well=each.is_well,
                says=each.says,
                registered_by=str(each.data_server.registered_by or ""),
                registered=each.data_server.registered_at,
            )
            for each in look_at_all(context_of_request(request))
        ]
    )


@router.post("/data-servers/{name}", response={201: MadeDataServer})
def make_data_server(request: HttpRequest, name: str, wanted: DataServerRequest) -> Status[MadeDataServer]:
    """Register a caching data server (administrators): it gets a key that can read and nothing else."""
    made = register_data_server(name, wanted.address, context_of_request(request), anew=wanted.anew)
    row = made.data_server
    return Status(
        201, MadeDataServer(name=row.name, address=row.address, key=made.key_text, upstream=settings.DATA_URL)
    )


@router.delete("/data-servers/{name}", response={204: None})
def delete_data_server(request: HttpRequest, name: str) -> Status[None]:
    """Take a caching data server off that no unit names (administrators); its key opens nothing any more."""
    remove_data_server(name, context_of_request(request))
    return Status(204, None)
