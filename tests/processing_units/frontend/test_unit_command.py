"""``manage.py unit``: units with a key that only their owner reads."""

from __future__ import annotations

import stat
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from processing_units.frontend.attempts import hash_of
from processing_units.frontend.models import ProcessingUnit
from tests.processing_units.frontend.conftest import make_user

pytestmark = pytest.mark.django_db


def unit_command(*arguments: str) -> str:
    said = StringIO()
    call_command("unit", *arguments, stdout=said)
    return said.getvalue()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "unit-hpc"


@pytest.fixture
def hpc(key_file: Path, db: None) -> ProcessingUnit:
    unit_command(
        "create", "hpc", "--port", "8100", "--slots", "8", "--recipes", "ReadNoise,Bias", "--key-file", str(key_file)
    )
    return ProcessingUnit.objects.get()


def test_the_key_is_in_a_file_of_its_owner_alone(hpc: ProcessingUnit, key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key = key_file.read_text().strip()
    assert len(key) >= 43
    assert hpc.key_hash == hash_of(key)
    assert (hpc.name, hpc.port, hpc.slots, hpc.recipes_allowed) == ("hpc", 8100, 8, ["ReadNoise", "Bias"])


def test_a_new_key_voids_the_old_one(hpc: ProcessingUnit, key_file: Path) -> None:
    old = key_file.read_text().strip()
    said = unit_command("key", "hpc", "--key-file", str(key_file))
    new = key_file.read_text().strip()
    hpc.refresh_from_db()
    assert new != old
    assert hpc.key_hash == hash_of(new)
    assert new not in said


def test_it_is_changed_and_listed(hpc: ProcessingUnit) -> None:
    make_user("ann")
    unit_command("set", "hpc", "--accepting", "no", "--user-types", "2,3", "--owner", "ann")
    told = "hpc  127.0.0.1:8100  local  8 slots  closed  recipes ReadNoise,Bias  user types 2,3  owner ann\n"
    assert unit_command("list") == told
    unit_command("set", "hpc", "--accepting", "yes", "--recipes", "", "--user-types", "", "--owner", "")
    assert unit_command("list") == "hpc  127.0.0.1:8100  local  8 slots  accepting\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create", "hpc", "--port", "8101"], "there is a unit 'hpc' already; `manage.py unit set hpc` changes it"),
        (["create", "other"], "say at which port its frontend listens: --port PORT"),
        (["set", "hcp"], "there is no unit 'hcp'; the units are: hpc"),
        (["set", "hpc", "--recipes", "Bies"], "recipes: there is no recipe 'Bies'"),
        (["set", "hpc", "--user-types", "5"], "user_types: user type '5' is none of 1, 2, 3, 4"),
        (["set", "hpc", "--port", "70000"], "port: '70000' is no whole number from 1 to 65535"),
        (["set", "hpc", "--owner", "nobody"], "owner: there is no user 'nobody'"),
    ],
)
def test_what_is_wrong_is_told(hpc: ProcessingUnit, arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=told.split("'", maxsplit=1)[0]) as refused:
        unit_command(*arguments)
    assert str(refused.value).startswith(told)
