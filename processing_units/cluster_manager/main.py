"""``awworker URL --key-file F``: run a cluster manager on this node."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import re
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

EXIT_USAGE = 2
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awportal"
    made = argparse.ArgumentParser(
        prog="awworker",
        description="Run a cluster manager: join a processing unit, take its jobs, run them in parallel slots.",
        epilog="The first Ctrl-C (or SIGTERM) finishes the running jobs and leaves; the second stops them at once. "
        "Exit codes: 0 drained, 1 stopped with jobs unfinished, 2 usage, 3 refused by the frontend, 4 no fork server.",
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
    made.add_argument("--python", default=sys.executable, metavar="PATH", help="interpreter that has the recipes")
    made.add_argument(
        "--quit-when-idle", type=float, default=None, metavar="SECONDS", help="leave after so long without a job"
    )
    made.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = parser().parse_args(arguments)
    logging.basicConfig(
        level=given.log_level.upper(), format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    for chatty in ("httpx", "httpcore", "celery", "kombu"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        key = read_key(given.key_file)
    except (OSError, ValueError) as error:
        print(f"awworker: the unit's key cannot be read from {given.key_file}: {error}", file=sys.stderr)
        return EXIT_USAGE
    if not re.match(r"https?://", given.url):
        print(f"awworker: {given.url!r} is no address; give the frontend's as http://host:port", file=sys.stderr)
        return EXIT_USAGE
    from processing_units.cluster_manager.manager import ClusterManager, Options

    options = Options(
        url=given.url,
        key=key,
        slots=given.slots or len(os.sched_getaffinity(0)),
        node=given.node,
        cache=given.cache.absolute(),
        cache_bytes=given.cache_bytes,
        scratch=given.scratch.absolute(),
        minimum_free_bytes=given.minimum_free,
        python=given.python,
        quit_when_idle=given.quit_when_idle,
    )
    _allow_many_open_files()
    try:
        code = ClusterManager(options).run()
    except OSError as error:
        print(f"awworker: {error}", file=sys.stderr)
        code = EXIT_USAGE
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of Celery's that wait for a broker that is away must not keep the process.
    os._exit(code)


def _allow_many_open_files() -> None:
    """Raise the soft limit (1024 is usual) to the hard one: each input of a running job is held open in the cache."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def read_key(name: str) -> str:
    """Read the unit's key from a file, or from standard input."""
    key = (sys.stdin.readline() if name == "-" else Path(name).read_text()).strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("it holds no key")
    return key


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


if __name__ == "__main__":
    sys.exit(main())
