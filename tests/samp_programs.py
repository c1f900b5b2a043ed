"""A hub of SAMP and a program that has joined it, as processes of their own: ``python -m tests.samp_programs FOLDER``.

The program fetches each file that it is told to load into the folder, beside a line about it in ``loaded.jsonl``. It
ends when its input does.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WEB_PORT = 21012  # of SAMP's Web Profile: there is one hub a machine


class Assent:
    """Says yes to whoever asks to join from a page, as the hub's user would."""

    queue_request: queue.Queue[Any]
    queue_result: queue.Queue[Any]

    def serve(self) -> None:
        """Answer for ever."""
        while True:
            self.queue_request.get()
            self.queue_result.put(True)


def main(folder: Path, web: bool, alone: bool) -> None:
    """Run the hub, and unless it is to be alone the program, until the input ends."""
    from astropy.samp import SAMPHubServer, SAMPIntegratedClient

    assent = Assent()
    lock = folder / "hub"
    hub = SAMPHubServer(web_profile=web, web_profile_dialog=assent, lockfile=str(lock), addr="127.0.0.1")
    hub.start()
    if web:
        threading.Thread(target=assent.serve, daemon=True).start()
    if alone:
        print("ready", flush=True)
        sys.stdin.read()
        hub.stop()
        return
    os.environ["SAMP_HUB"] = f"std-lockurl:{lock.as_uri()}"
    program = SAMPIntegratedClient(name="SAOImage DS9", addr="127.0.0.1")
    program.connect()

    def load(private_key: str, sender: str, number: str, mtype: str, params: dict[str, str], extra: Any) -> None:
        try:
            with urllib.request.urlopen(params["url"], timeout=60) as answer:  # noqa: S310 - an address of the test's
                content = answer.read()
            (folder / params["name"]).write_bytes(content)
            with (folder / "loaded.jsonl").open("a") as told:
                told.write(json.dumps({"mtype": mtype, **params}) + "\n")
            program.ereply(number, "samp.ok", result={})
        except OSError as error:
            program.ereply(number, "samp.error", error={"samp.errortxt": str(error)})

    for mtype in ("image.load.fits", "table.load.votable"):
        program.bind_receive_call(mtype, load)
    print("ready", flush=True)
    sys.stdin.read()
    program.disconnect()
    hub.stop()


@contextmanager
def running(folder: Path, *, web: bool = False, alone: bool = False) -> Iterator[str]:
    """Run hub and program in a process, or the hub `alone`; give what SAMP_HUB has to say to find the hub.

    They are astropy's, deprecated in favour of pyvo's, which the portal does not need.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tests.samp_programs", str(folder)]
    command += [*(["--web"] if web else []), *(["--alone"] if alone else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # astropy's hub speaks of itself on the way
            assert any(line.strip() == "ready" for line in process.stdout), "the hub did not start"
            yield f"std-lockurl:{(folder / 'hub').as_uri()}"
        finally:
            process.stdin.close()
            process.wait(60)


def loaded(folder: Path) -> list[dict[str, str]]:
    """Return what the program has loaded so far."""
    told = folder / "loaded.jsonl"
    return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []


if __name__ == "__main__":
    main(Path(sys.argv[1]), web="--web" in sys.argv, alone="--alone" in sys.argv)
