"""What does not fit is refused in words that tell the mend, with an exit code, and nothing is left half made."""

import subprocess
import sys

import pytest

from processing_units.joining import single_file

pytestmark = pytest.mark.processes


def test_a_wrong_key(unit, machine):
    machine.key_file.write_text("another")
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file), code=3)
    assert said == "awworker: the frontend refuses: this is not the unit's key; ask for it\n"


def test_no_key(unit, machine):
    _, said = machine.run(unit.url, "--key-file", "/no/such/file", code=2)
    assert "the unit's key cannot be read from /no/such/file" in said


def test_no_address(machine):
    _, said = machine.run("portal:8001", "--key-file", str(machine.key_file), code=2)
    assert "give the frontend's as http://host:port" in said


def test_a_python_that_is_too_old(unit, machine):
    unit.python = "3.99"
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file), code=5)
    assert "the unit's code needs Python 3.99 or newer" in said
    assert "python3.99 awworker ..., or name it with --python PATH" in said


def test_a_python_that_is_not_there(unit, machine):
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file), "--python", "/no/python", code=5)
    assert "/no/python cannot be used as a Python" in said


def test_a_python_too_old_even_to_read_the_program():
    script = f"import sys; sys.version_info = (3, 6, 9); exec({single_file._MAIN!r})"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={"PATH": "/nowhere"}
    )
    assert result.returncode == 2
    assert result.stderr.startswith("awworker: Python 3.11 or newer is needed, this is 3.6; install one (apt-get")


def test_a_requirement_that_the_index_has_not(unit, machine):
    for wheel in (machine.folder / "wheels").iterdir():
        wheel.unlink()
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file), code=5)
    assert "pip cannot install the requirements: No matching distribution found for skyness==1.2" in said
    assert "PIP_INDEX_URL" in said
    assert list(machine.software.glob("environment-*")) == []
    assert machine.left_over() == []


def test_nothing_may_be_installed(unit, machine):
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file), "--no-install", code=3)
    assert f"the unit runs the standard code {unit.code.digest[:12]}, this file brings none" in said


def test_an_installation_with_another_code_says_so_and_may_not_install(unit, machine):
    installed = [sys.executable, "-m", "processing_units.joining"]
    worker = machine.start(
        unit.url, "--key-file", str(machine.key_file), "--no-install", program=installed, PYTHONPATH=_TREE
    )
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 3
    assert "this installation's is" in said
    assert "git pull, then make set-up" in said


def test_an_installation_with_another_code_gets_the_units(unit, machine):
    installed = [sys.executable, "-m", "processing_units.joining"]
    worker = machine.start(unit.url, "--key-file", str(machine.key_file), program=installed, PYTHONPATH=_TREE)
    out, said = worker.communicate(timeout=120)
    assert worker.returncode == 0, said
    assert f"the unit runs the standard code {unit.code.digest[:12]}, this installation is" in said
    assert f"{machine.software}/code-" in out


def test_code_that_was_changed_on_its_way(unit, machine):
    unit.code = unit.code.__class__(unit.code.digest, "0" * 64, unit.code.bundle, unit.code.requirements)
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file), code=5)
    assert "has not the sha256 that the frontend announced" in said
    assert list(machine.software.glob("code-*")) == []
    assert machine.left_over() == []


_TREE = str(single_file.installed_root())
