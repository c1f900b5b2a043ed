"""What a bundle changes is told file by file, and the diff is bounded."""

from __future__ import annotations

import time
from pathlib import Path

from processing_units.code_shipping.differences import LARGEST_DIFF, differences


def test_changed_new_and_same_files_are_told(tmp_path: Path) -> None:
    standard = tmp_path / "recipes"
    standard.mkdir()
    (standard / "bias.py").write_text("a\nb\n")
    (standard / "dark.py").write_text("a\n")
    (tmp_path / "secret.cfg").write_text("not ours to compare")
    found = differences(
        [("recipes/bias.py", b"a\nc\nd\n"), ("recipes/dark.py", b"a\n"), ("recipes/mine.py", b"x\n"),
         ("secret.cfg", b"y\n")], tmp_path)  # fmt: skip
    assert [(file.path, file.change, file.added, file.removed) for file in found.files] == [
        ("recipes/bias.py", "changed", 2, 1), ("recipes/dark.py", "same", 0, 0), ("recipes/mine.py", "new", 1, 0),
        ("secret.cfg", "new", 1, 0),
    ]  # fmt: skip
    assert "-b\n+c\n+d" in found.diff
    assert "not ours" not in found.diff
    assert not found.cut


def test_the_diff_is_bounded_in_size_and_time(tmp_path: Path) -> None:
    standard = tmp_path / "recipes"
    standard.mkdir()
    (standard / "a.py").write_text("x\n" * 4000)
    began = time.process_time()
    found = differences([("recipes/a.py", b"y\nx\n" * 2000), *((f"n{n}.txt", b"line\n" * 3000) for n in range(100)),
                         ("long.txt", b"z" * 10_000_000)], tmp_path)  # fmt: skip
    assert found.cut
    assert len(found.diff) <= LARGEST_DIFF
    assert time.process_time() - began < 20
