"""What is wrong with a start is said in a line, with an exit code that tells."""

import pytest

pytestmark = pytest.mark.processes


def test_a_wrong_key(unit, start_worker, key_file):
    key_file.write_text("not the key")
    worker = start_worker(up=False)
    assert worker.wait() == 3
    assert "this is not the unit's key" in worker.said
    assert "Traceback" not in worker.said


def test_no_key_file(unit, start_worker, key_file):
    key_file.unlink()
    worker = start_worker(up=False)
    assert worker.wait() == 2
    assert "cannot be read" in worker.said
    assert "Traceback" not in worker.said


def test_recipes_that_cannot_be_imported(unit, start_worker):
    worker = start_worker(up=False, FAKE_FORK_SERVER_FAILS="1")
    assert worker.wait(90) == 4
    assert "the recipes cannot be imported" in worker.said
    assert "does not start (exit code 1)" in worker.said
    assert "Traceback" not in worker.said


def test_an_interpreter_that_is_not_there(unit, start_worker):
    worker = start_worker("--python", "/no/such/python", up=False)
    assert worker.wait() == 4
    assert "/no/such/python cannot be started: No such file or directory" in worker.said
    assert "Traceback" not in worker.said
