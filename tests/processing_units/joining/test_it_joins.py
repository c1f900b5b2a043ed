"""A machine with nothing but a Python gets the unit's code and requirements, once, and becomes a cluster manager."""

import json
import signal
import sys
import time
from pathlib import Path

import pytest

from processing_units.joining.standard_code import pack
from tests.processing_units.joining.conftest import KEY, write_tree

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]


def test_it_becomes_the_cluster_manager_of_the_units_code(unit, machine):
    out, said = machine.run(unit.url, "--key-file", str(machine.key_file), "--slots", "3", "--node", "n7")
    became = json.loads(out)
    assert became["arguments"] == [unit.url, "--slots", "3", "--node", "n7", "--key-file", "-"]
    assert became["key"] == KEY
    assert KEY not in " ".join(became["command"])
    assert became["code"].startswith(f"{machine.software}/code-{unit.code.digest[:16]}")
    assert became["skyness"] == 21.5
    assert "installing 1 requirements" in said
    assert unit.asked == ["/unit/code", f"/unit/code/{unit.code.digest}"]
    assert machine.left_over() == []


def test_the_second_time_nothing_is_fetched_or_installed(unit, machine):
    machine.run(unit.url, "--key-file", str(machine.key_file))
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file))
    assert said == ""
    assert unit.asked.count(f"/unit/code/{unit.code.digest}") == 1
    assert machine.compiled() == 1


def test_the_key_may_come_by_standard_input(unit, machine):
    out, _ = machine.run(unit.url, "--key-file", "-", key=KEY + "\n")
    assert json.loads(out)["key"] == KEY


def test_eight_at_once_share_one_installation(unit, machine):
    workers = [machine.start(unit.url, "--key-file", str(machine.key_file)) for _ in range(8)]
    ends = [worker.communicate(timeout=150) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 8, ends
    assert {json.loads(out)["code"] for out, _ in ends} == {json.loads(ends[0][0])["code"]}
    assert machine.compiled() == 1
    assert unit.asked.count(f"/unit/code/{unit.code.digest}") == 1
    assert sum("installing" in said for _, said in ends) == 1
    assert sum("waiting for it" in said for _, said in ends) >= 1
    assert machine.left_over() == []


def test_a_new_code_needs_no_new_installation_of_requirements(unit, machine, tmp_path):
    machine.run(unit.url, "--key-file", str(machine.key_file))
    unit.code = pack(write_tree(tmp_path / "newer", **{"recipes/tables/sky.toml": "height = 2"}))
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file))
    assert f"fetching the standard code {unit.code.digest[:12]}" in said
    assert "installing" not in said
    assert len(list(machine.software.glob("code-*"))) == 2
    assert len(list(machine.software.glob("environment-*"))) == 1


def test_kernels_that_did_not_change_are_not_compiled_anew(unit, machine, tmp_path):
    kernel = {"recipes/ccd/kernels/stack.py": "value = 1", "recipes/masks.py": "NO_DATA = 1"}
    unit.code = pack(write_tree(tmp_path / "older", **kernel))
    machine.run(unit.url, "--key-file", str(machine.key_file))
    older = next(machine.software.glob("code-*")) / "recipes" / "ccd" / "kernels"
    (older / "__pycache__").mkdir(exist_ok=True)
    (older / "__pycache__" / "stack.f-1.py311.nbi").write_text("compiled")
    unit.code = pack(write_tree(tmp_path / "newer", **kernel, **{"recipes/new.py": ""}))
    out, said = machine.run(unit.url, "--key-file", str(machine.key_file))
    assert "its kernels are those that are compiled here already" in said
    newer = Path(json.loads(out)["code"]).parents[2] / "recipes" / "ccd" / "kernels"
    assert (newer / "__pycache__" / "stack.f-1.py311.nbi").read_text() == "compiled"
    assert (newer / "stack.py").stat().st_mtime_ns == (older / "stack.py").stat().st_mtime_ns
    changed = kernel | {"recipes/masks.py": "NO_DATA = 2"}
    unit.code = pack(write_tree(tmp_path / "changed", **changed))
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file))
    assert "compiling its kernels" in said


def test_killed_while_it_installs_it_leaves_nothing_half(unit, machine):
    victim = machine.start(unit.url, "--key-file", str(machine.key_file), COMPILE_SECONDS="2")
    until = time.monotonic() + 60
    while machine.compiled() == 0:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert machine.left_over()
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    out, said = machine.run(unit.url, "--key-file", str(machine.key_file))
    assert "fetching the standard code" in said
    assert json.loads(out)["key"] == KEY
    assert machine.compiled() == 2
    assert machine.left_over() == []


def test_ctrl_c_while_it_installs_cleans_up(unit, machine):
    victim = machine.start(unit.url, "--key-file", str(machine.key_file), COMPILE_SECONDS="30")
    until = time.monotonic() + 60
    while machine.compiled() == 0:
        assert time.monotonic() < until
        time.sleep(0.02)
    victim.send_signal(signal.SIGINT)
    _, said = victim.communicate(timeout=20)
    assert victim.returncode == 130
    assert said.endswith("stopped before it joined\n")
    assert machine.left_over() == []


def test_code_that_was_changed_on_the_disk_is_fetched_anew(unit, machine):
    machine.run(unit.url, "--key-file", str(machine.key_file))
    next(machine.software.glob("code-*/recipes/tables/sky.toml")).write_text("height = 1000")
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file))
    assert "was changed since it was installed" in said
    assert next(machine.software.glob("code-*/recipes/tables/sky.toml")).read_text() == "height = 1"


def test_it_waits_for_a_frontend_that_is_away(unit, machine):
    unit.stop()
    worker = machine.start(unit.url, "--key-file", str(machine.key_file))
    assert "is away" in worker.stderr.readline()
    time.sleep(1)
    assert worker.poll() is None
    unit.start()
    out, said = worker.communicate(timeout=60)
    assert worker.returncode == 0, said
    assert "the frontend answers again" in said
    assert said.count("is away") == 0  # said once, above
    assert json.loads(out)["key"] == KEY


def test_it_uses_the_requirements_of_a_system_python(unit, machine, tmp_path):
    _, said = machine.run(unit.url, "--key-file", str(machine.key_file), "--system-python", code=5)
    assert f"{sys.executable} has not what the unit's code needs:\n  skyness is not there, 1.2 is needed" in said
    assert f"{sys.executable} -m pip install skyness==1.2" in said
    assert list(machine.software.glob("environment-*")) == []
    there = tmp_path / "site"
    there.mkdir()
    (there / "skyness.py").write_text("VALUE = 20.0\n")
    (there / "skyness-1.2.dist-info").mkdir()
    (there / "skyness-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: skyness\nVersion: 1.2\n")
    out, _ = machine.run(unit.url, "--key-file", str(machine.key_file), "--system-python", PYTHONPATH=str(there))
    assert json.loads(out)["skyness"] == 20.0
    assert list(machine.software.glob("environment-*")) == []
