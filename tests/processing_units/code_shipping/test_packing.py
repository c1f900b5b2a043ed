"""A tree becomes the same bytes wherever and whenever it is packed, and nothing that a bundle may not hold gets in."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from processing_units.code_shipping import rules
from processing_units.code_shipping.packing import pack, pack_folder
from processing_units.code_shipping.rules import BundleError
from processing_units.code_shipping.unpacking import check, unpack


def tree(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    files = {"recipes/bias.py": b"print(1)\n", "Environment.cfg": b"[global]\nproject : KIDS\n", "a/b.toml": b"x = 1\n"}
    one = tree(tmp_path / "one", files)
    other = tree(tmp_path / "other", dict(reversed(files.items())))
    os.utime(other / "recipes/bias.py", (1, 1))
    (other / "recipes/bias.py").chmod(0o755)
    assert pack_folder(one).content == pack_folder(other).content
    assert [file.path for file in pack_folder(one).files] == ["Environment.cfg", "a/b.toml", "recipes/bias.py"]


def test_what_is_packed_is_what_is_unpacked(tmp_path: Path) -> None:
    files = {"recipes/bias.py": "grün\n".encode(), "deep/er/x.cfg": b"", "notes.txt": "caf\xe9".encode("latin-1")}
    bundle = pack_folder(tree(tmp_path / "tree", files))
    assert check(io.BytesIO(bundle.content)) == bundle.files
    assert unpack(io.BytesIO(bundle.content), tmp_path / "out") == bundle.files
    assert {path: (tmp_path / "out" / path).read_bytes() for path in files} == files


def test_leavings_of_tools_are_passed_over_and_data_are_named(tmp_path: Path) -> None:
    folder = tree(
        tmp_path,
        {
            "recipes/bias.py": b"1",
            "recipes/__pycache__/bias.cpython-311.pyc": b"\0",
            ".git/config": b"secret",
            "build/lib.so": b"\x7fELF",
            "frame.fits": b"SIMPLE\0",
            "late.dat": b"a" * 9000 + b"\0",
        },
    )
    bundle = pack_folder(folder)
    assert [file.path for file in bundle.files] == ["recipes/bias.py"]
    assert bundle.left_out == ("frame.fits", "late.dat")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: (f / "recipes/link.py").symlink_to("/etc/passwd"), "recipes/link.py is a link"),
        (lambda f: (f / "folder").symlink_to("/etc"), "folder is a link"),
        (lambda f: os.mkfifo(f / "pipe"), "pipe is no plain file"),
        (lambda f: (f / "fast.so").write_bytes(b"x"), "fast.so: compiled code is not taken"),
        (lambda f: (f / "fast.so.1.2").write_bytes(b"x"), "fast.so.1.2: compiled code is not taken"),
        (lambda f: (f / "program").write_bytes(b"\x7fELF\2"), "program: a compiled program or library (ELF)"),
        (lambda f: (f / "a\nb.py").write_bytes(b"x"), "a?b.py: its name holds a character"),
    ],
)
def test_what_may_not_be_shipped_is_named_with_the_mend(tmp_path: Path, make, said: str) -> None:  # type: ignore[no-untyped-def]
    tree(tmp_path, {"recipes/bias.py": b"1"})
    make(tmp_path)
    with pytest.raises(BundleError) as refused:
        pack_folder(tmp_path)
    assert said in refused.value.message
    assert refused.value.hint
    assert refused.value.file


def test_too_many_files_and_bytes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match="one file too many"):
        pack((f"f{number}.py", b"") for number in range(rules.MAXIMUM_FILES + 1))
    monkeypatch.setattr(rules, "MAXIMUM_BYTES", 1000)
    with pytest.raises(BundleError, match=r"with b\.py the files have more"):
        pack([("a.py", b"x" * 900), ("b.py", b"x" * 200)])


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no text file"):
        pack_folder(tmp_path)
    with pytest.raises(BundleError, match="is no folder"):
        pack_folder(tmp_path / "missing")


def test_packing_500_files_takes_less_than_a_second(tmp_path: Path) -> None:
    line = b"def f(x: float) -> float:\n    return x\n"
    tree(tmp_path, {f"recipes/p{number % 20}/m{number}.py": line * 200 for number in range(500)})
    began = time.process_time()
    assert len(pack_folder(tmp_path).files) == 500
    assert time.process_time() - began < 1.0
