"""Bundles that somebody else made: whatever a zip file can be made to say, nothing beyond the bounds is unpacked."""

from __future__ import annotations

import io
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from processing_units.code_shipping import rules
from processing_units.code_shipping.packing import pack
from processing_units.code_shipping.rules import BundleError
from processing_units.code_shipping.unpacking import check, unpack


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_STORED, mode: int = 0) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files:
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr, entry.compress_type = 3, mode << 16, method
            archive.writestr(entry, content)
    return target


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        (lambda: zipped(("../../etc/cron.d/x", b"x")), "leaves its folder by .."),
        (lambda: zipped(("a/../../x", b"x")), "leaves its folder by .."),
        (lambda: zipped(("/etc/passwd", b"x")), "an absolute name"),
        (lambda: zipped(("C:\\x.py", b"x")), "a character that no file"),
        (lambda: zipped(("a\\..\\x.py", b"x")), "a character that no file"),
        (lambda: zipped(("./x.py", b"x")), "an empty part"),
        (lambda: zipped(("x.py", b"/etc/shadow"), mode=stat.S_IFLNK | 0o777), "x.py is a link"),
        (lambda: zipped(("x.py", b""), mode=stat.S_IFIFO | 0o644), "x.py is no plain file"),
        (lambda: zipped(("x.py", b""), mode=stat.S_IFCHR | 0o644), "x.py is no plain file"),
        (lambda: zipped(("Bias.py", b"1"), ("bias.py", b"2")), "differ only in upper and lower case"),
        (lambda: zipped(("Re/a.py", b"1"), ("re/b.py", b"2")), "differ only in upper and lower case"),
        (lambda: zipped(("caf\u00e9.py", b"1"), ("cafe\u0301.py", b"2")), "accents"),
        (lambda: zipped(("a", b"1"), ("a/b.py", b"2")), "a is a file and a folder"),
        (lambda: zipped(("a/b.py", b"2"), ("a", b"1")), "a is a file and a folder"),
        (lambda: zipped(("x", b"\x7fELF\x02\x01\x01")), "ELF"),
        (lambda: zipped(("x.py", b"a" * 70_000 + b"\0")), "not a text file"),
        (lambda: zipped(("x.so", b"text")), "compiled code"),
        (lambda: zipped(("x.pyc", b"text")), "compiled code"),
        (lambda: zipped(("recipes/x.cpython-311-x86_64-linux-gnu.so", b"")), "compiled code"),
        (lambda: zipped(("x.py", b"1"), method=zipfile.ZIP_LZMA), "packed in a way that is not known"),
        (lambda: zipped(("x" * 201 + ".py", b"1")), "too long"),
        (zipped, "the bundle is empty"),
        (lambda: io.BytesIO(b"not a zip at all"), "cannot be read"),
        (lambda: io.BytesIO(b""), "cannot be read"),
    ],
)
def test_what_breaks_a_rule_is_refused(bundle: Callable[[], io.BytesIO], said: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as refused:
        check(bundle())
    assert said in refused.value.message
    assert refused.value.hint
    before = {path for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents}
    with suppress(BundleError):  # an empty one has nothing to refuse
        unpack(bundle(), tmp_path / "out")
    assert {path for path in tmp_path.parent.rglob("*") if tmp_path not in path.parents} == before


def test_a_name_twice_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped(("a.py", b"1"), ("a.py", b"2"))
    with pytest.raises(BundleError, match=r"a\.py is there twice"):
        check(twice)


def test_a_bomb_is_stopped_while_it_unpacks() -> None:
    bomb = zipped(*((f"{n}.txt", bytes(b" " * 10_000_000)) for n in range(5)), method=zipfile.ZIP_DEFLATED)
    assert len(bomb.getvalue()) < 60_000
    with pytest.raises(BundleError, match="more than 100 times"):
        check(bomb)


def test_a_size_that_lies_is_not_believed() -> None:
    honest = zipped(("a.txt", b" " * 60_000_000), method=zipfile.ZIP_DEFLATED).getvalue()
    lying = honest.replace(struct.pack("<I", 60_000_000), struct.pack("<I", 10))
    with pytest.raises(BundleError):
        check(io.BytesIO(lying))


def test_the_bound_of_bytes_is_counted_over_all_files() -> None:
    noise = random.Random(1)
    files = [(f"{n}.txt", noise.randbytes(3_000_000).hex().encode()) for n in range(9)]
    with pytest.raises(BundleError, match="more than 50 MB"):
        check(zipped(*files, method=zipfile.ZIP_DEFLATED))


def test_a_list_of_a_million_files_is_not_even_read() -> None:
    entries = b"PK\x01\x02" * (2 * rules.MAXIMUM_FILES + 1)
    with pytest.raises(BundleError, match="more than 5,000 files"):
        check(io.BytesIO(entries))


def test_5001_files_are_one_too_many() -> None:
    with pytest.raises(BundleError, match="one file too many"):
        check(zipped(*((f"{n}", b"") for n in range(5001))))


def test_damaged_bundles_end_in_a_reason() -> None:
    good = pack([(f"recipes/m{n}.py", b"x = 1\n" * 50) for n in range(20)]).content
    chance, said = random.Random(7), []
    for _ in range(800):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 6)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        try:
            check(io.BytesIO(bytes(bad[: chance.choice([len(bad), chance.randrange(len(bad))])])))
        except BundleError as refused:
            said.append(refused.message)
    assert len(said) > 300
    assert all(said)
