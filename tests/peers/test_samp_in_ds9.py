"""`awrecipe send` to a DS9 that runs: it loads the frame from the address that the portal gave."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.samp_programs import running

# Opens DS9 on a display of its own, waits until it has joined the hub, sends, and asks over XPA what it shows.
_SCRIPT = """
ds9 -title awportal &
for try in $(seq 100); do xpaaccess -n awportal 2>/dev/null | grep -q '^1' && break; sleep 0.2; done
for try in $(seq 100); do xpaget awportal samp connect | grep -q yes && break; sleep 0.2; done
"$1" -m awclient.main send 7 --to ds9
echo "exit $?"
xpaget awportal fits size
xpaget awportal data image 3 4 1 1 yes
xpaset -p awportal exit
wait
"""


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[str]:
    """A folder behind HTTP with one frame, and what a portal tells of it; its address."""
    pixels = np.arange(20 * 30, dtype=np.float32).reshape(20, 30)
    fits.writeto(tmp_path / "frame.fits", pixels)
    handler = functools.partial(_Silent, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        address = f"http://127.0.0.1:{http.server_port}"
        message = {"samp.mtype": "image.load.fits", "samp.params": {"url": f"{address}/frame.fits", "name": "frame"}}
        answer = tmp_path / "api" / "v1" / "products" / "7" / "samp"
        answer.parent.mkdir(parents=True)
        answer.write_text(json.dumps({"name": "frame", "messages": [message]}))
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield address
        http.shutdown()
        thread.join()


@pytest.mark.program("ds9", "saods9")
@pytest.mark.program("xvfb-run", "xvfb")
@pytest.mark.program("xpaget", "xpa-tools")
def test_ds9_loads_what_is_sent(portal: str, tmp_path: Path) -> None:
    with running(tmp_path, alone=True) as hub:
        environment = os.environ | {
            "XPA_METHOD": "local", "XPA_TMPDIR": str(tmp_path), "HOME": str(tmp_path), "SAMP_HUB": hub,
            "AWPORTAL_URL": portal, "AWPORTAL_TOKEN": "aw_test", "PYTHONPATH": str(Path(__file__).parents[2]),
        }  # fmt: skip
        command = ["xvfb-run", "--auto-servernum", "bash", "-c", _SCRIPT, "ds9", sys.executable]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, check=False)
    lines = said.stdout.split("\n")
    assert lines[:2] == ["SAOImageDS9 has loaded frame", "exit 0"], said.stdout + said.stderr
    assert lines[2].split() == ["30", "20"]
    assert float(lines[3].rsplit(maxsplit=1)[-1]) == 3 * 30 + 2  # of the pixel 3, 4, as the first one is 1, 1
