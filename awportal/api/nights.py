"""Nights and their logs."""

from __future__ import annotations

import datetime

from django.http import HttpRequest
from ninja import Router
from pydantic import BaseModel

from archive.filter_texts import night as read_night
from archive.night_log import Exposure, Night, exposures, nights, tallies
from awportal.api.authentication import context_of_request
from awportal.api.errors import Refusal

router = Router(tags=["nights"])

_LARGEST_PAGE = 100


class TallyInformation(BaseModel):
    """How many frames of a kind and filter, in how many exposures."""

    kind: str
    filter: str
    frames: int
    exposures: int


class NightInformation(BaseModel):
    """A night of an instrument."""

    instrument: str
    night: datetime.date
    frames: list[TallyInformation]


class NightList(BaseModel):
    """Nights, newest first."""

    items: list[NightInformation]


class MadeInformation(BaseModel):
    """Products of a kind that were made of an exposure, and the number of one of them."""

    kind: str
    count: int
    flagged: int
    bad: int
    example: int


class ExposureInformation(BaseModel):
    """One exposure; ``frames`` are the numbers of its products, one a chip."""

    time: datetime.datetime | None
    name: str
    kind: str
    object: str
    filter: str
    exposure_time: float | None
    airmass: float | None
    frames: list[int]
    chips: list[str]
    remarks: list[str]
    made: list[MadeInformation]


class NightLog(BaseModel):
    """The log of a night."""

    instrument: str
    night: datetime.date
    exposures: list[ExposureInformation]


@router.get("/nights", response=NightList)
def list_nights(request: HttpRequest, instrument: str = "", limit: int = 30) -> NightList:
    """List the nights of which there are raw frames that you may see, newest first."""
    if not 1 <= limit <= _LARGEST_PAGE:
        raise Refusal(400, f"limit counts from 1 to {_LARGEST_PAGE}", field="limit")
    context = context_of_request(request)
    found = nights(context, instrument)[:limit]
    counted = tallies(context, found)
    return NightList(
        items=[
            NightInformation(
                instrument=each.instrument,
                night=each.night,
                frames=[TallyInformation(**vars(tally)) for tally in counted.get(each, [])],
            )
            for each in found
        ]
    )


@router.get("/nights/log", response=NightLog)
def night_log(request: HttpRequest, instrument: str, night: str) -> NightLog:
    """Return the log of a night: its exposures in the order of time."""
    which = Night(instrument, read_night("night", night))
    found = exposures(context_of_request(request), which)
    if not found:
        raise Refusal(
            404,
            f"there is no raw frame of {instrument[:60]} of the night {night}, or none that you may see",
            hint="`awrecipe nightlog` lists the nights",
        )
    return NightLog(instrument=instrument, night=which.night, exposures=[_told(each) for each in found])


def _told(exposure: Exposure) -> ExposureInformation:
    known = {**vars(exposure), "made": [MadeInformation(**vars(each)) for each in exposure.made]}
    return ExposureInformation(name=exposure.name, **{key: value for key, value in known.items() if key != "names"})
