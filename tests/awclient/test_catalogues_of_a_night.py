"""Catalogues that lie in a folder of that name in or beside a night's folder are found, with what is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from awclient.catalogues import find_catalogues
from awclient.errors import UsageProblem
from awclient.ingest import frames_below


def test_they_are_found_inside_and_beside(tmp_path: Path) -> None:
    night = tmp_path / "night"
    for folder in (night / "catalogues", tmp_path / "catalogues" / "gaia"):
        folder.mkdir(parents=True)
    (night / "b.fits").touch()
    (night / "catalogues" / "own.fits").touch()
    (night / "catalogues" / "README.txt").touch()
    (tmp_path / "catalogues" / "Landolt09.fit").touch()
    for name in ("chunk-1.fits", "chunk-2.fits.gz", "notes.txt"):
        (tmp_path / "catalogues" / "gaia" / name).touch()
    (tmp_path / "catalogues" / "old.txt").touch()
    (tmp_path / "catalogues" / "old.txt.toml").write_text('columns = "ra=col1"\nuse = ["photometry"]\nepoch = 1992.5')
    found = {entry.name: entry for entry in find_catalogues([night])}
    assert sorted(found) == ["Landolt09", "gaia", "old", "own"]
    assert [path.name for path in found["gaia"].paths] == ["chunk-1.fits", "chunk-2.fits.gz"]
    assert found["old"].fields == {"name": "old", "columns": "ra=col1", "use": "photometry", "epoch": "1992.5"}
    frames, others = frames_below([night])
    assert ([relative.name for _, relative in frames], others) == (["b.fits"], [])


def test_a_wrong_word_beside_one_is_said(tmp_path: Path) -> None:
    (tmp_path / "catalogues").mkdir()
    (tmp_path / "catalogues" / "a.csv").touch()
    (tmp_path / "catalogues" / "a.csv.toml").write_text("colums = 1")
    with pytest.raises(UsageProblem, match="'colums' is none of name, columns, system, epoch, use"):
        find_catalogues([tmp_path])
