"""One job has a GPU at a time, and learns which."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from processing_units.cluster_manager.gpus import Gpus, variables
from processing_units.joining.command_line import worker_parser


def test_a_gpu_is_one_jobs_at_a_time() -> None:
    gpus = Gpus([0, 2])
    with ExitStack() as jobs:
        assert [jobs.enter_context(gpus.taken()) for _ in range(3)] == ["0", "2", ""]
    with gpus.taken() as again:
        assert again in {"0", "2"}


def test_one_that_has_none_sees_none() -> None:
    assert variables("")["CUDA_VISIBLE_DEVICES"] == ""
    assert variables("2")["CUDA_VISIBLE_DEVICES"] == "2"


def test_they_are_named_on_the_command_line(tmp_path: Path) -> None:
    given = ["http://127.0.0.1:1", "--key-file", str(tmp_path / "key"), "--gpus"]
    assert worker_parser().parse_args([*given, "0,2"]).gpus == (0, 2)
    with pytest.raises(SystemExit):
        worker_parser().parse_args([*given, "all"])
