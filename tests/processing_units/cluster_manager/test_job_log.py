"""The log on its way: offsets in bytes, clean text, an honest line where something is left out."""

from processing_units.cluster_manager.job_log import JobLog


def arrived_text(log: JobLog, limit: int = 100) -> str:
    text = ""
    while log.waiting:
        offset, piece = log.piece(limit)
        assert offset == len(text.encode())
        assert piece
        text += piece
        log.confirm(len(text.encode()))
    return text


def test_pieces_never_split_a_character(tmp_path):
    raw = tmp_path / "log"
    raw.write_text("äöü€✓" * 100)
    log = JobLog(raw)
    log.finish()
    assert arrived_text(log, 7) == "äöü€✓" * 100


def test_a_character_written_in_two_halves_stays_one(tmp_path):
    raw = tmp_path / "log"
    log = JobLog(raw)
    halves = "€".encode()
    raw.write_bytes(halves[:1])
    assert log.piece(100) == (0, "")
    with raw.open("ab") as stream:
        stream.write(halves[1:])
    assert log.piece(100) == (0, "€")


def test_what_the_frontend_lacks_is_sent_again(tmp_path):
    raw = tmp_path / "log"
    raw.write_text("0123456789")
    log = JobLog(raw)
    assert log.piece(4) == (0, "0123")
    assert log.piece(4) == (0, "0123")
    log.confirm(4)
    assert log.piece(4) == (4, "4567")
    log.confirm(99)  # more than there is: not believed
    assert log.piece(4) == (4, "4567")


def test_too_long_a_log_keeps_head_and_end_and_says_so(tmp_path):
    raw = tmp_path / "log"
    raw.write_text("".join(f"{number:07d}\n" for number in range(1000)))
    log = JobLog(raw, head_bytes=800, tail_bytes=400)
    assert len(log.piece(10_000)[1]) == 800
    log.finish()
    text = arrived_text(log)
    assert text.startswith("0000000\n")
    assert text.endswith("0000999\n")
    assert "\n... 6800 bytes of the log are left out here: it is longer than" in text
    assert len(text) < 800 + 400 + 100


def test_the_nodes_own_lines_begin_on_a_new_line(tmp_path):
    raw = tmp_path / "log"
    raw.write_text("no end of line")
    log = JobLog(raw)
    log.say("stage_out", "2 products")
    lines = log.piece(1000)[1].splitlines()
    assert lines[0] == "no end of line"
    assert lines[1].endswith("stage_out 2 products")
    assert log.last_line() == lines[1]
