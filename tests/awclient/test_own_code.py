"""`awrecipe run --code` and Environment.cfg against the portal itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from archive.models import Membership, Privilege, Profile, Project
from awclient.client import Portal
from awclient.configuration import read_configuration
from awclient.shipping import ship
from processing_units.frontend.models import CodeBundle, Run
from tests.awclient.test_with_a_real_portal import night

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["night"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A user's tree of 500 files that changes the recipe Bias."""
    from recipes import bias

    folder = tmp_path / "mine"
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes" / "bias.py").write_text(Path(bias.__file__).read_text() + "# mine\n")
    for number in range(498):
        (folder / f"table{number}.cfg").write_text(f"[x]\nvalue = {number}\n" * 100)
    (folder / "Environment.cfg").write_text("[global]\ndatabase_password : x\n[Bias]\nsigma_clip : 4.5\n")
    return folder


def ships_code() -> None:
    Profile.objects.update(user_type=Profile.UserType.SHIPS_CODE)


def test_a_tree_is_sent_once_and_the_run_keeps_its_digest(awrecipe: Any, night: Path, tree: Path) -> None:
    ships_code()
    awrecipe("ingest", str(night))
    code, _, said = awrecipe("run", "Bias", "--type", "RawBias", "--code", str(tree), "--dry-run", "--json")
    assert code == 0, said
    assert "500 files sent" in said
    assert "1 differ from the standard code, 499 are new" in said
    assert "Bias.sigma_clip" in said
    assert "[global] database_password" in said
    code, _, said = awrecipe("run", "Bias", "--type", "RawBias", "--code", str(tree), "--privilege", "3")
    assert code == 0, said
    assert "500 files, there already" in said
    run = Run.objects.get()
    bundle = CodeBundle.objects.get()
    assert run.code_digest == bundle.digest
    assert run.privilege == Privilege.MYDB
    assert run.parameters["sigma_clip"] == 4.5


def test_packing_and_sending_500_files_is_quick_and_again_quicker(awrecipe: Any, tree: Path) -> None:
    ships_code()
    took = []
    with Portal(read_configuration()) as portal:
        for _ in range(2):
            began = time.perf_counter()
            ship(portal, tree)
            took.append(time.perf_counter() - began)
    print(f"500 files: first {took[0]:.2f} s, again {took[1]:.2f} s")
    assert took[0] < 4.0  # under a second on a machine of one's own
    assert took[1] < took[0]


def test_users_of_type_2_ship_no_code_but_their_environment_travels(
    awrecipe: Any, night: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.objects.create(name="KIDS")
    Membership.objects.create(project=project, user=User.objects.get())
    awrecipe("ingest", str(night))
    code, _, said = awrecipe("run", "Bias", "--type", "RawBias", "--code", str(tree))
    assert (code, "ship no code of their own" in said) == (3, True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("Environment.cfg").write_text("[global]\nproject = OTHER\n[Bias]\nsigma_clip = 2\n")
    monkeypatch.setenv("AWE_PROJECT", "KIDS")
    monkeypatch.setenv("AWE_PRIVILEGE", "2")
    code, _, said = awrecipe("run", "Bias", "--type", "RawBias")
    assert code == 0, said
    assert "environment of Environment.cfg and AWE_PROJECT and AWE_PRIVILEGE" in said
    run = Run.objects.get()
    assert (run.project, run.privilege, run.parameters["sigma_clip"]) == (project, Privilege.PROJECT, 2.0)
    code, _, said = awrecipe(
        "run", "Bias", "--type", "RawBias", "--sigma-clip", "6", "--env-cfg", str(tree / "Environment.cfg")
    )
    assert Run.objects.latest("pk").parameters["sigma_clip"] == 6.0


def test_what_is_wrong_with_a_tree_is_told_before_anything_is_sent(awrecipe: Any, tree: Path) -> None:
    ships_code()
    (tree / "fast.so").write_bytes(b"\x7fELF")
    code, _, said = awrecipe("run", "Bias", "1", "--code", str(tree))
    assert code == 2
    assert "fast.so: compiled code is not taken" in said
    assert "ship the source" in said
    (tree / "fast.so").unlink()
    (tree / "Environment.cfg").write_text("no section")
    code, _, said = awrecipe("run", "Bias", "1", "--code", str(tree))
    assert (code, "Environment.cfg" in said) == (2, True)
