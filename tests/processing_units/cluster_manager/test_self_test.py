"""The self-test of the sandbox, which nodes and the portal do before they run a user's code."""

from __future__ import annotations

import sys
import threading

import pytest

from processing_units.cluster_manager.interpreter import find_interpreter
from processing_units.cluster_manager.sandbox import Sandbox, why_it_does_not_work


@pytest.mark.processes
@pytest.mark.program("bwrap", "bubblewrap")
def test_it_leaves_nothing_that_a_program_would_wait_for_at_its_end() -> None:
    assert why_it_does_not_work(Sandbox(find_interpreter(sys.executable))) == ""
    timers = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert all(timer.finished.is_set() for timer in timers)
