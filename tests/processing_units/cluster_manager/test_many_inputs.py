"""Every input of a running job is an open file of its cluster manager: hundreds of slots, thousands of files."""

import json
import os
import resource
import socket
from contextlib import ExitStack

import pytest

from processing_units.cluster_manager.fork_server import JobProcess
from processing_units.cluster_manager.main import _allow_many_open_files


@pytest.fixture
def limits():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2000:
        pytest.skip(f"the hard limit of open files is {before[1]} here")
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_usual_soft_limit_is_raised(limits):
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, limits[1]))
    _allow_many_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limits[1]


def test_a_job_is_waited_for_also_at_a_descriptor_beyond_1024(limits):
    _allow_many_open_files()
    with ExitStack() as opened:
        for _ in range(1100):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        ours, theirs = socket.socketpair()
        assert ours.fileno() > 1024
        with theirs:
            theirs.sendall(json.dumps({"exit": 0, "signal": None}).encode() + b"\n")
            assert JobProcess(ours, 2**22 + 1).wait().exit == 0  # no process has that number
