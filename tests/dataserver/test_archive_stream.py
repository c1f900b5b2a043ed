"""A whole run as one zip archive, made while it is sent."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dataserver.archive_stream import ArchiveStream, Entry, unique_names


def make(folder: Path, sizes: list[int]) -> tuple[list[Entry], list[bytes]]:
    contents = [random.Random(size).randbytes(size) for size in sizes]
    for number, content in enumerate(contents):
        (folder / str(number)).write_bytes(content)
    return [Entry.of_file(f"run/Bias_{number}.fits", folder / str(number)) for number in range(len(sizes))], contents


def test_it_holds_every_file_and_is_as_large_as_it_says(tmp_path: Path) -> None:
    entries, contents = make(tmp_path, [0, 1, 2_880, 3_000_000])
    stream = ArchiveStream([*entries, Entry.of_bytes("run/log ü.txt", b"done\n")])
    data = b"".join(stream)
    assert len(data) == stream.size
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in archive.namelist()] == [*contents, b"done\n"]
        assert archive.namelist()[-1] == "run/log ü.txt"
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_it_is_the_same_when_it_is_made_again(tmp_path: Path) -> None:
    stream = ArchiveStream(make(tmp_path, [10, 20])[0])
    assert b"".join(stream) == b"".join(stream)


def test_size_of_archives_that_need_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (100, 3_000, 6_000):
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
        stream = ArchiveStream(make(tmp_path, [50, 2_880, 2_870, 5_760, 99, 100, 101])[0])
        data = b"".join(stream)
        assert len(data) == stream.size
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None


@pytest.mark.program("unzip", "unzip")
def test_unzip_opens_it(tmp_path: Path) -> None:
    entries, _ = make(tmp_path, [1_000, 2_000_000])
    (tmp_path / "run.zip").write_bytes(b"".join(ArchiveStream(entries)))
    said = subprocess.run(["unzip", "-t", str(tmp_path / "run.zip")], capture_output=True, text=True, check=True)
    assert "No errors detected" in said.stdout


def test_names_are_safe_and_unique() -> None:
    given = [
        "a.fits",
        "A.fits",
        "a.fits",
        "../../etc/passwd",
        "/abs.fits",
        "x\\y:z",
        "",
        "..",
        "b.fits.fz",
        "b.fits.fz",
    ]
    assert unique_names(given) == [
        "a.fits", "A-2.fits", "a-3.fits", "etc/passwd", "abs.fits", "x_y_z", "file", "file-2",
        "b.fits.fz", "b-2.fits.fz",
    ]  # fmt: skip


def test_a_file_that_vanished_breaks_the_archive_off(tmp_path: Path) -> None:
    entries, _ = make(tmp_path, [10_000, 10_000])
    (tmp_path / "1").unlink()
    stream = ArchiveStream(entries)
    sent = 0
    with pytest.raises(FileNotFoundError):  # noqa: PT012 - what was sent before it counts
        for piece in stream:
            sent += len(piece)
    assert sent < stream.size


def test_memory_is_bounded(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        os.truncate(file.fileno(), 300 << 20)
    program = (
        "import resource; from dataserver.archive_stream import ArchiveStream, Entry\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"stream = ArchiveStream([Entry.of_file('a', {str(tmp_path / 'large')!r})])\n"
        "assert sum(map(len, stream)) == stream.size\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 16
