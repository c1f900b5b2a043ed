"""The command line of ``awworker``: the same for the single file and for the cluster manager that takes its place."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

from processing_units.joining.software import default_root

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
EXIT_CODES = (
    "The first Ctrl-C (or SIGTERM) finishes the running jobs and leaves; the second stops them at once. "
    "Exit codes: 0 drained, 1 stopped with jobs unfinished, 2 usage, 3 refused by the frontend, 4 no fork server, "
    "5 the code or its requirements cannot be installed."
)


def worker_parser() -> argparse.ArgumentParser:
    """Make the parser of what the cluster manager itself understands."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awportal"
    made = argparse.ArgumentParser(
        prog="awworker",
        description="Run a cluster manager: join a processing unit, take its jobs, run them in parallel slots.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    made.add_argument("url", metavar="URL", help="address of the unit's frontend")
    made.add_argument(
        "--key-file", required=True, metavar="FILE", help="file with the unit's key; - reads standard input"
    )
    made.add_argument("--slots", type=_positive, default=None, metavar="N", help="jobs at a time (default: one a core)")
    made.add_argument("--node", default="", help="name of this node (default: its host name)")
    made.add_argument(
        "--cache", type=Path, default=home / "node-cache", metavar="DIR", help="shared by all of this node"
    )
    made.add_argument(
        "--cache-bytes", type=_bytes, default=_bytes("20G"), metavar="N", help="its bound, as 20G (default)"
    )
    made.add_argument(
        "--scratch",
        type=Path,
        default=Path(tempfile.gettempdir()) / f"awportal-scratch-{os.getuid()}",
        metavar="DIR",
        help="where jobs work; removed as they end",
    )
    made.add_argument(
        "--minimum-free", type=_bytes, default=_bytes("256M"), metavar="N", help="take no job with less room (256M)"
    )
    made.add_argument("--python", default=sys.executable, metavar="PATH", help="interpreter to use (default: this one)")
    made.add_argument(
        "--quit-when-idle", type=float, default=None, metavar="SECONDS", help="leave after so long without a job"
    )
    made.add_argument(
        "--route",
        type=_route,
        action="append",
        default=[],
        metavar="FROM=TO",
        help="reach broker or data server, which the frontend names FROM, at TO: scheme://host:port; may be repeated",
    )
    made.add_argument(
        "--gpus", type=_gpus, default=(), metavar="N,N",
        help="numbers of GPUs, as nvidia-smi shows them: each job gets one of its own while there are free ones",
    )  # fmt: skip
    made.add_argument(
        "--carrier", type=_place, default=None, metavar="HOST:PORT",
        help="where the backend listens that carries files to and from this node, which reaches no data server",
    )  # fmt: skip
    queued = made.add_argument_group("as a job of a queueing system")
    queued.add_argument(
        "--walltime", type=_positive, default=None, metavar="SECONDS",
        help="the queue ends us after so long: take no job that would not fit, and leave in time",
    )  # fmt: skip
    queued.add_argument(
        "--preemptible", action="store_true", help="the first SIGTERM stops the jobs at once: they run again elsewhere"
    )
    queued.add_argument("--drain-file", type=Path, default=None, metavar="FILE", help="drain once this file is there")
    queued.add_argument(
        "--delete-key-file", type=Path, default=None, metavar="FILE", help="remove this once the key has been taken"
    )
    made.add_argument(
        "--no-control-groups",
        dest="control_groups",
        action="store_false",
        help="hold shipped code by the watchdog alone, also where control groups can be made",
    )
    made.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return made


def joining_parser() -> argparse.ArgumentParser:
    """Make the parser of ``awworker`` as people type it: with what decides which code is run."""
    made = worker_parser()
    add_joining_options(made)
    return made


def add_joining_options(made: argparse.ArgumentParser) -> None:
    """Add the options that say how the unit's standard code comes to this machine."""
    made.add_argument(
        "--software", type=Path, default=default_root(), metavar="DIR",
        help="where the unit's code and its requirements are installed, once for all of this machine",
    )  # fmt: skip
    made.add_argument(
        "--system-python", action="store_true", help="install no requirements: the interpreter has them already"
    )
    made.add_argument(
        "--no-install", action="store_true", help="install nothing at all: run this installation's own code or nothing"
    )


def without_joining_options(arguments: list[str]) -> list[str]:
    """Return the arguments for the cluster manager: without those that were for the way here, key and interpreter."""
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_joining_options(own)
    own.add_argument("--key-file")
    own.add_argument("--python")
    return own.parse_known_args(arguments)[1]


def _route(text: str) -> tuple[str, str]:
    origin, _, target = text.partition("=")
    address = re.compile(r"(https?|rediss?)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d+)?")
    if not address.fullmatch(origin) or not address.fullmatch(target):
        raise argparse.ArgumentTypeError(f"{text!r} is no route; write it as http://portal:8000=http://127.0.0.1:9000")
    return origin, target


def _gpus(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(number.isascii() and number.isdecimal() for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} are no numbers of GPUs; write 0,1")
    return tuple(map(int, numbers))


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return host.strip("[]"), int(port)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMGT]?)i?B?", text, re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes; write 500M or 20G")
    return int(found[1]) * _UNITS[found[2].upper()]
