"""Machines are registered, changed and taken off on the fly; who did is written down."""

from __future__ import annotations

import pytest

from archive.audit import Subject, changes_of
from archive.context import Context, context_of
from processing_units.backend.kinds.lan import LanSettings
from processing_units.contract import BackendReport, PlaceReport, PlaceState
from processing_units.frontend.backends import report
from processing_units.frontend.clock import seconds_from_now
from processing_units.frontend.models import BackendState, ProcessingUnit
from processing_units.frontend.refusals import NotAllowed, NotFound
from processing_units.frontend.unit_machines import change_machine, machines_of, remove_machine, standing_of
from processing_units.frontend.unit_settings import apply_changes
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import make_user

pytestmark = pytest.mark.django_db
DOME = {
    "host": "10.0.0.7", "user": "obs", "python": "/opt/python3.12/bin/python", "gpus": "0, 2", "slots": "4",
    "data_folder": "/data/awportal", "data_bytes": "200G", "owner": "obs", "through": "session",
}  # fmt: skip


@pytest.fixture
def lan(unit: ProcessingUnit) -> ProcessingUnit:
    unit.kind = "lan"
    unit.save()
    return unit


@pytest.fixture
def manager() -> Context:
    user = make_user("mona")
    user.is_staff = True
    user.save()
    return context_of(user)


def test_a_machine_from_its_registration_to_its_end(lan: ProcessingUnit, manager: Context) -> None:
    change_machine(lan, "dome", DOME, manager)
    host = LanSettings.model_validate(lan.kind_settings).hosts[0]
    assert (host.title, host.host, host.gpus, host.slots, host.data_bytes) == ("dome", "10.0.0.7", [0, 2], 4, 200 << 30)
    typed = machines_of(lan, manager)["dome"]
    assert {key: typed[key] for key in DOME} == DOME | {"gpus": "0,2"}
    assert change_machine(lan, "dome", typed, manager) == []  # what is shown can be typed again
    [change] = change_machine(lan, "dome", {"slots": "2", "gpus": ""}, manager)
    assert (change.setting, change.before, change.after) == ("machine dome", "slots=4 gpus=0,2", "slots=2")
    remove_machine(lan, "dome", manager)
    assert machines_of(lan, manager) == {}
    told = list(changes_of(Subject.UNIT, lan.pk).values_list("who", "what", "value_after"))
    assert [entry[:2] for entry in told] == [("mona", "machine dome")] * 3
    assert "host=10.0.0.7 user=obs" in told[0][2]
    assert told[2][2] == ""


def test_it_is_told_which_machines_are_up(lan: ProcessingUnit, manager: Context) -> None:
    for name, host in (("dome", "10.0.0.7"), ("barn", "10.0.0.8")):
        change_machine(lan, name, {"host": host}, manager)
    assert standing_of(lan) == {"dome": "away", "barn": "away"}
    place = PlaceReport(number=1, state=PlaceState.UP, handle="obs@10.0.0.7:22 17 5", node="10.0.0.7")
    waits = PlaceReport(number=2, state=PlaceState.WAITING, reason="barn: no route to host")
    report(lan, BackendReport(backend="head 3", kind="lan", places=[place, waits]))
    assert standing_of(lan) == {"dome": "up", "barn": ""}
    BackendState.objects.update(seen_at=seconds_from_now(-60))
    assert standing_of(lan) == {"dome": "away", "barn": "away"}


@pytest.mark.parametrize(
    ("name", "changes", "what"),
    [
        ("dome", {"slots": "2"}, "host: a machine needs a name or address"),
        ("dome", {"host": "a b"}, "host: "),
        ("dome", {"host": "-oProxyCommand=id"}, "host: "),
        ("do me", {"host": "dome"}, "name: "),
        ("dome", {"host": "dome", "slots": "many"}, "slots: "),
        ("dome", {"host": "dome", "gpus": "0;1"}, "gpus: "),
        ("dome", {"host": "dome", "through": "pigeons"}, "through: "),
        ("dome", {"host": "dome", "data_bytes": "much"}, "data_bytes: "),
        ("dome", {"host": "dome", "owner": "anna"}, "remote_path and data_folder must begin with /"),
        ("dome", {"host": "dome", "cpus": "2"}, "cpus: nothing of a machine is called so"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(
    lan: ProcessingUnit, manager: Context, name: str, changes: dict[str, str], what: str
) -> None:
    with pytest.raises(UsageError) as refused:
        change_machine(lan, name, changes, manager)
    assert refused.value.message.startswith(what)
    lan.refresh_from_db()
    assert lan.kind_settings == {}
    assert not changes_of(Subject.UNIT, lan.pk).exists()


def test_who_may_and_where(unit: ProcessingUnit, manager: Context) -> None:
    with pytest.raises(UsageError, match="is of kind local, which has no machines"):
        change_machine(unit, "dome", DOME, manager)
    unit.kind = "lan"
    unit.save()
    with pytest.raises(NotAllowed):
        change_machine(unit, "dome", DOME, context_of(make_user("anna")))
    with pytest.raises(NotFound):
        remove_machine(unit, "dome", manager)


def test_settings_that_the_kind_does_not_understand_are_refused(unit: ProcessingUnit) -> None:
    for kind, settings, what in (
        ("lan", '{"hosts": [{"host": "dome", "slots": "x"}]}', "kind_settings: hosts.0.slots: "),
        ("lan", '{"hots": []}', "kind_settings: hots: .*settings of kind lan: hosts, carried_bytes"),
        ("slurm", '{"queue": 7}', "kind_settings: queue: "),
        ("local", '{"niceness": 99}', "kind_settings: niceness: "),
    ):
        unit.kind = kind
        unit.save()
        with pytest.raises(UsageError, match=what):
            apply_changes(unit, {"kind_settings": settings}, by=None, who="test")
    with pytest.raises(UsageError, match="kind: there is no kind 'pigeons'"):
        apply_changes(unit, {"kind": "pigeons"}, by=None, who="test", on_server=True)
