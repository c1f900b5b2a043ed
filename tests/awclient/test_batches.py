"""`awrecipe batch` and `awrecipe batches` against the portal itself; no unit is behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from archive.models import Product
from processing_units.frontend.models import Batch, Job, Run
from tests.processing_units.frontend.conftest import make_product

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPT = "for frame in frames(kind = 'ReducedScienceFrame'):\n    run('SourceList', frame)\n"
YAML = "- recipe: SourceList\n  select: {kind: ReducedScienceFrame}\n"
CSV = "recipe,kind\nSourceList,ReducedScienceFrame\n"


@pytest.fixture
def frames(awrecipe: Any) -> list[Product]:
    """Three frames of Anna's."""
    return [make_product(User.objects.get(), "ReducedScienceFrame") for _ in range(3)]


def written(folder: Path, text: str, name: str = "lists.star") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(("name", "text"), [("a.star", SCRIPT), ("a.yaml", YAML), ("a.csv", CSV)])
def test_from_a_file_to_queued_jobs(awrecipe: Any, frames: list[Product], tmp_path: Path, name: str, text: str) -> None:
    file = written(tmp_path, text, name)
    code, out, _ = awrecipe("batch", file, "--dry-run")
    assert (code, Batch.objects.count()) == (0, 0)
    assert "1 run, 3 jobs; nothing has been submitted" in out
    code, out, said = awrecipe("batch", file, "--yes")
    assert (code, Job.objects.count()) == (0, 3)
    assert f"batch {Batch.objects.get().pk}: 1 run, 3 jobs" in said
    assert "queued: 0 of 3 jobs done, 3 queued" in out


def test_nobody_agrees_unasked(awrecipe: Any, frames: list[Product], tmp_path: Path) -> None:
    code, _, said = awrecipe("batch", written(tmp_path, SCRIPT))
    assert (code, Run.objects.count()) == (2, 0)
    assert "add --yes" in said


def test_what_is_wrong_has_its_line_and_exit_code(awrecipe: Any, frames: list[Product], tmp_path: Path) -> None:
    code, _, said = awrecipe("batch", written(tmp_path, "x = 1\nrun('SourceLists', 1)\n"), "--yes")
    assert (code, "line 2: SourceLists: there is no recipe" in said) == (2, True)
    code, _, said = awrecipe("batch", written(tmp_path, SCRIPT, "lists.txt"), "--yes")
    assert (code, "end it in .star" in said) == (2, True)


def test_cut_off_it_is_taken_up_again(
    awrecipe: Any, frames: list[Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a made batch was lost: the same command finds it, and makes nothing twice."""
    file = written(tmp_path, SCRIPT)
    with monkeypatch.context() as patch:
        patch.setattr("awclient.client.Portal.make_batch", _made_but_lost)
        assert awrecipe("batch", file, "--yes")[0] == 4
    assert Run.objects.count() == 1
    code, _, said = awrecipe("batch", file, "--yes")
    assert (code, Run.objects.count(), "re-attached to batch" in said) == (0, 1, True)
    assert (awrecipe("batch", file, "--yes")[0], Run.objects.count()) == (0, 2)


def _made_but_lost(portal: Any, number: int, digest: str, *, leave_out: bool = False) -> None:
    from awclient.errors import Lost

    portal.call("POST", f"/batches/{number}/make", json={"digest": digest, "leave_out": leave_out})
    raise Lost("gave up")


def test_the_whole_is_followed_cancelled_and_retried(awrecipe: Any, frames: list[Product], tmp_path: Path) -> None:
    awrecipe("batch", written(tmp_path, SCRIPT), "--yes")
    number = str(Batch.objects.get().pk)
    assert awrecipe("batches", number, "--wait", "--timeout", "0")[0] == 4
    code, out, _ = awrecipe("batches", "--json")
    assert (code, [entry["state"] for entry in json.loads(out)]) == (0, ["queued"])
    Job.objects.filter(ordinal=1).update(state="failed", reason="no")
    code, out, _ = awrecipe("batches", number, "--retry")
    assert (code, "3 queued" in out) == (0, True)
    code, out, _ = awrecipe("batches", number, "--cancel")
    assert (code, "cancelled: 0 of 3 jobs done, 3 cancelled" in out) == (0, True)
    code, _, said = awrecipe("batches", number, "--wait")
    assert (code, f"awrecipe batches {number} --retry" in said) == (1, True)
