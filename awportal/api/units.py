"""Processing units: how they stand, what they are told, who told them; for process managers also to change them."""

from __future__ import annotations

import datetime
from typing import Annotated

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja import Query, Router, Status
from pydantic import BaseModel, ConfigDict, Field

from archive.audit import Subject, changes_of
from awportal.api.authentication import context_of_request, user_of
from awportal.api.runs import CancelledRuns
from processing_units.contract import CheckReport
from processing_units.frontend import join_keys
from processing_units.frontend.backends import ask_for_test, outcome_of_test
from processing_units.frontend.cancel import cancel_on_unit
from processing_units.frontend.health import DOWN, DRAINING, RUNNING, UP, WARNING, health_of
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.permissions import (
    find_unit,
    may_manage_unit,
    require_management_of_unit,
    type_of,
    visible_units,
    why_not_allowed,
)
from processing_units.frontend.unit_changes import change_unit
from processing_units.frontend.unit_machines import change_machine, machines_of, remove_machine
from processing_units.frontend.unit_settings import shown
from processing_units.frontend.waiting import UnitLoad, live_cluster_managers, unit_load

router = Router(tags=["units"])

_LONGEST_HISTORY = 1000
# How a script tells them: ``down`` is what the portal shows in red, ``idle`` what no cluster manager is up for yet.
_STATES = {DOWN: "down", WARNING: "idle", DRAINING: "closed", RUNNING: "full", UP: "ready"}


class UnitInformation(BaseModel):
    """A processing unit, and how it stands."""

    name: str
    alias: str
    kind: str
    state: str
    reason: str
    nodes: int
    slots: int
    busy: int
    waiting: int
    recipes: list[str]


class UnitList(BaseModel):
    """Processing units."""

    items: list[UnitInformation]


class ClusterManagerInformation(BaseModel):
    """A cluster manager that is up."""

    key: str
    node: str
    slots: int
    busy: int
    load: float
    up_at: datetime.datetime
    seen_at: datetime.datetime
    drains: bool


class UnitDetail(UnitInformation):
    """A unit with its settings, as they would be typed, and its cluster managers."""

    settings: dict[str, str]
    may_manage: bool
    cluster_managers: list[ClusterManagerInformation]


class SettingsRequest(BaseModel):
    """Settings of a unit as texts, by their name."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Annotated[str, Field(max_length=20_000)]] = Field(max_length=50)


class ChangeInformation(BaseModel):
    """One change: who, what, from what to what, when."""

    made: datetime.datetime
    who: str
    setting: str
    before: str
    after: str


class ChangeList(BaseModel):
    """Changes, newest first."""

    items: list[ChangeInformation]


class ChangedUnit(UnitDetail):
    """A unit after a change, and what that was."""

    changed: dict[str, tuple[str, str]]


class TestAsked(BaseModel):
    """A test that was asked for."""

    number: int


class TestOutcome(BaseModel):
    """What a test has found so far: all or nothing."""

    done: bool
    checks: list[CheckReport]


class KeyInformation(BaseModel):
    """A key that workers join with; the key itself is told once, when it is made."""

    number: int
    note: str
    made_by: str
    made: datetime.datetime


class KeyList(BaseModel):
    """Keys, oldest first."""

    items: list[KeyInformation]


class KeyWanted(BaseModel):
    """What a new key is for."""

    model_config = ConfigDict(extra="forbid")

    note: str = Field(min_length=1, max_length=200)


class MachineList(BaseModel):
    """Machines by name, with what is registered of each as it would be typed."""

    items: dict[str, dict[str, str]]


class MachineRequest(BaseModel):
    """What is to be registered of a machine."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Annotated[str, Field(max_length=1000)]] = Field(max_length=50)


class ChangedMachine(BaseModel):
    """A machine after a change; `before` and `after` name what was changed."""

    machine: dict[str, str]
    before: str
    after: str


class MadeKey(BaseModel):
    """A new key, told this once."""

    number: int
    key: str
    url: str


@router.get("/units", response=UnitList)
def list_units(request: HttpRequest) -> UnitList:
    """List the processing units that you may use or manage, and how they stand."""
    context = context_of_request(request)
    user = user_of(request)
    kind = type_of(user)
    items = []
    for unit in visible_units(context).order_by("name"):
        # A unit that takes none of this user's jobs is not shown, unless it is only closed for now.
        recipe = unit.recipes_allowed[0] if unit.recipes_allowed else ""
        if may_manage_unit(unit, context) or not why_not_allowed(unit, recipe, user.pk, kind):
            items.append(_described(unit, unit_load(unit)))
    return UnitList(items=items)


@router.get("/units/{name}", response=UnitDetail)
def one_unit(request: HttpRequest, name: str) -> UnitDetail:
    """Return a unit with its settings and cluster managers."""
    context = context_of_request(request)
    unit = find_unit(name, context)
    return UnitDetail(**_in_full(unit, may_manage_unit(unit, context)))


@router.post("/units/{name}", response=ChangedUnit)
def set_unit(request: HttpRequest, name: str, wanted: SettingsRequest) -> ChangedUnit:
    """Change settings of a unit, all or none; they hold from the next claim on."""
    context = context_of_request(request)
    unit = find_unit(name, context)
    made = change_unit(unit, wanted.settings, context)
    changed = {change.setting: (change.before, change.after) for change in made}
    return ChangedUnit(**_in_full(unit, may_manage_unit(unit, context)), changed=changed)


@router.get("/units/{name}/history", response=ChangeList)
def unit_history(
    request: HttpRequest, name: str, limit: Annotated[int, Query(ge=1, le=_LONGEST_HISTORY)] = 50
) -> ChangeList:
    """List the changes of a unit's settings, newest first."""
    unit = find_unit(name, context_of_request(request))
    changes = changes_of(Subject.UNIT, unit.pk).order_by("-pk")[:limit]
    return ChangeList(
        items=[
            ChangeInformation(
                made=change.made, who=change.who, setting=change.what, before=change.value_before,
                after=change.value_after,
            )
            for change in changes
        ]
    )  # fmt: skip


@router.post("/units/{name}/test", response=TestAsked)
def test_unit(request: HttpRequest, name: str) -> TestAsked:
    """Have the unit's backend look at its hosts: keys, Python, disk, clock, what they reach. Nothing is started."""
    context = context_of_request(request)
    unit = find_unit(name, context)
    require_management_of_unit(unit, context)
    return TestAsked(number=ask_for_test(unit))


@router.get("/units/{name}/test/{number}", response=TestOutcome)
def outcome_of_unit_test(request: HttpRequest, name: str, number: int) -> TestOutcome:
    """Return what a test has found; ``done`` is false while it goes on."""
    context = context_of_request(request)
    unit = find_unit(name, context)
    require_management_of_unit(unit, context)
    checks = outcome_of_test(unit, number)
    return TestOutcome(done=checks is not None, checks=checks or [])


@router.get("/units/{name}/keys", response=KeyList)
def list_keys(request: HttpRequest, name: str) -> KeyList:
    """List the keys with which workers may join a unit."""
    found = join_keys.of_workers(_managed(request, name)[0])
    return KeyList(
        items=[
            KeyInformation(
                number=key.pk,
                note=key.note,
                made=key.made_at,
                made_by=key.made_by.get_username() if key.made_by else "",
            )
            for key in found
        ]
    )


@router.post("/units/{name}/keys", response={201: MadeKey})
def make_key(request: HttpRequest, name: str, wanted: KeyWanted) -> Status[MadeKey]:
    """Make a key with which any number of workers may join a unit, until it is revoked."""
    unit, user = _managed(request, name)
    made = join_keys.make_for_workers(unit, user, wanted.note)
    return Status(201, MadeKey(number=made.number, key=made.key, url=f"http://{unit.host}:{unit.port}"))


@router.delete("/units/{name}/keys/{number}", response={204: None})
def revoke_key(request: HttpRequest, name: str, number: int) -> Status[None]:
    """Make a key void: workers that joined with it are refused from now on, and their jobs run elsewhere."""
    unit, user = _managed(request, name)
    join_keys.revoke(unit, number, user)
    return Status(204, None)


@router.get("/units/{name}/machines", response=MachineList)
def list_machines(request: HttpRequest, name: str) -> MachineList:
    """List the processing machines that are registered in a unit."""
    context = context_of_request(request)
    return MachineList(items=machines_of(find_unit(name, context), context))


@router.post("/units/{name}/machines/{machine}", response=ChangedMachine)
def set_machine(request: HttpRequest, name: str, machine: str, wanted: MachineRequest) -> ChangedMachine:
    """Register a machine, or change what is registered of it; holds within seconds."""
    context = context_of_request(request)
    unit = find_unit(name, context)
    made = change_machine(unit, machine, wanted.settings, context)
    before, after = (made[0].before, made[0].after) if made else ("", "")
    return ChangedMachine(machine=machines_of(unit, context)[machine], before=before, after=after)


@router.delete("/units/{name}/machines/{machine}", response={204: None})
def delete_machine(request: HttpRequest, name: str, machine: str) -> Status[None]:
    """Take a machine off: its cluster manager drains, its data folder is cleaned."""
    context = context_of_request(request)
    remove_machine(find_unit(name, context), machine, context)
    return Status(204, None)


@router.post("/units/{name}/cancel", response=CancelledRuns)
def cancel_unit(request: HttpRequest, name: str) -> CancelledRuns:
    """Cancel all that waits or runs on a unit, whosever it is."""
    context = context_of_request(request)
    done = cancel_on_unit(find_unit(name, context), context)
    return CancelledRuns(runs=done.runs, jobs=done.jobs)


def _managed(request: HttpRequest, name: str) -> tuple[ProcessingUnit, User]:
    context = context_of_request(request)
    unit = find_unit(name, context)
    require_management_of_unit(unit, context)
    return unit, user_of(request)


def _described(unit: ProcessingUnit, load: UnitLoad) -> UnitInformation:
    health = health_of(unit, load)
    state = _STATES[health.state] if unit.accepting else "closed"
    return UnitInformation(
        name=unit.name,
        alias=unit.alias or "",
        kind=unit.kind,
        state=state,
        reason=health.sentence,
        nodes=load.nodes,
        slots=load.slots,
        busy=load.running,
        waiting=load.queued,
        recipes=unit.recipes_allowed,
    )


def _in_full(unit: ProcessingUnit, may_manage: bool) -> dict[str, object]:
    managers = [
        ClusterManagerInformation(
            key=each.key, node=each.node, slots=each.slots, busy=each.busy, load=each.load, up_at=each.up_at,
            seen_at=each.seen_at, drains=each.drain,
        )
        for each in live_cluster_managers(unit).order_by("node", "key")
    ]  # fmt: skip
    settings = shown(unit)
    if not may_manage:
        del settings["kind_settings"]  # hosts and paths of machines are no business of users'
    return {
        **_described(unit, unit_load(unit)).model_dump(),
        "settings": settings,
        "may_manage": may_manage,
        "cluster_managers": managers,
    }
