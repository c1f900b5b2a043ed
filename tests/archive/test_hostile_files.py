"""Mutated and hostile FITS files end in an outcome, never in an exception, and take little time and memory."""

import gzip
import io
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from archive.context import Context
from archive.headers import parse_cards, read_units, shown_cards
from archive.ingest import ingest_file
from dataserver.store import Store

MUTATIONS = 200  # two hundred a kind here; ten thousand were tried by hand
SNIPPETS = [b"'", b"\x00", b"END     ", b"NAXIS1  =  99999999999", b"BITPIX  =  -999", b"NAXIS   = 999", b"CONTINUE",
            b"HIERARCH  = ", b"XTENSION= 'BINTABLE'", b"GCOUNT  = 99999999999999999999", b"\xff\xfe", b"1E999", b"-1",
            b"DATE-OBS= '9999-99-99T99:99:99'", b"RA      = '99:99:99'", b"EXPTIME = 1E400",
            b"ZIMAGE  = T"]  # fmt: skip


def mutated(content: bytes, dice: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(dice.randint(1, 12)):
        place = dice.randrange(len(damaged))
        match dice.randrange(5):
            case 0:
                damaged[place] = dice.randrange(256)
            case 1:
                snippet = dice.choice(SNIPPETS)
                damaged[place : place + len(snippet)] = snippet
            case 2:
                card = 80 * dice.randrange(36)
                snippet = dice.choice(SNIPPETS)
                damaged[card : card + len(snippet)] = snippet
            case 3:
                del damaged[place : place + dice.randint(1, 3000)]
            case _:
                damaged[place:place] = bytes(dice.randint(1, 200))
        if not damaged:
            return b""
    return bytes(damaged)


@pytest.mark.parametrize("packed", [False, True])
def test_mutated_files_end_in_an_outcome(
    raw_file: Callable[..., Path], context: Context, store: Store, packed: bool
) -> None:
    content = raw_file(cards={"RA": "10:00:00", "DEC": "-5:00:00", "DATASEC": "[1:16,1:16]", "GAIN": 1.5}).read_bytes()
    dice = random.Random(7)
    states = set()
    for number in range(MUTATIONS):
        damaged = mutated(gzip.compress(content) if packed and number % 2 else content, dice)
        damaged = gzip.compress(damaged) if packed and not number % 2 else damaged
        begun = time.process_time()
        outcome = ingest_file(io.BytesIO(damaged), f"f{number}.fits", context, store)
        assert time.process_time() - begun < 5
        states.add(outcome.state)
    assert {"ingested", "refused"} <= states


def test_a_header_without_end_is_given_up(context: Context, store: Store) -> None:
    endless = b"SIMPLE  =                    T".ljust(80) + b"COMMENT and so on".ljust(80) * 200_000
    outcome = ingest_file(io.BytesIO(endless), "endless.fits", context, store)
    assert "no END" in outcome.as_dict()["reason"]


def test_thousands_of_extensions_are_given_up(raw_file: Callable[..., Path], context: Context, store: Store) -> None:
    extension = (
        b"XTENSION= 'IMAGE   '".ljust(80) + b"BITPIX  =  8".ljust(80) + b"NAXIS   =  0".ljust(80) + b"END".ljust(80)
    ).ljust(2880)
    many = raw_file().read_bytes() + extension * 2000
    outcome = ingest_file(io.BytesIO(many), "many.fits", context, store)
    assert outcome.as_dict()["reason"] == "it has more than 512 extensions"


def test_licence_numbers_are_not_shown(raw_file: Callable[..., Path]) -> None:
    path = raw_file(cards={"SWSERIAL": "1AJSF-V5KK5", "SWOWNER": "Somebody", "SWCREATE": "MaxIm"})
    (_, cards), *_ = shown_cards(path)
    keywords = {keyword for keyword, _, _ in cards}
    assert keywords >= {"SIMPLE", "SWCREATE", "INSTRUME"}
    assert not keywords & {"SWSERIAL", "SWOWNER"}


def test_cards_in_all_their_forms() -> None:
    lines = [
        "TEXT    = 'it''s / not a comment' / a comment",
        "LONG    = 'one &'",
        "CONTINUE  'two' / the end",
        "HIERARCH ESO DET  OUT1 OVSCX = 8 / columns",
        "FLAG    =                    T/no blank",
        "NUMBER  =             -1.5D+02 / old Fortran",
        "WHOLE   = 00012",
        "NOTHING =                      / undefined",
        "HISTORY a story",
        "BROKEN  = 'no end",
        "END",
        "AFTER   = 1",
    ]
    assert parse_cards("".join(line.ljust(80) for line in lines).encode()) == [
        ("TEXT", "it's / not a comment", "a comment"),
        ("LONG", "one two", "the end"),
        ("ESO DET OUT1 OVSCX", 8, "columns"),
        ("FLAG", True, "no blank"),
        ("NUMBER", -150.0, "old Fortran"),
        ("WHOLE", 12, ""),
        ("NOTHING", None, "undefined"),
        ("HISTORY", "a story", ""),
        ("BROKEN", "no end", ""),
    ]


def test_units_of_a_real_file_are_read_without_its_data(raw_file: Callable[..., Path]) -> None:
    (unit,) = read_units(raw_file(shape=(16, 20)))
    assert (unit.axes, unit.is_image, unit.header.text("FILTER")) == ((20, 16), True, "V")
