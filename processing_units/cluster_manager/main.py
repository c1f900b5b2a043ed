"""``python -m processing_units.cluster_manager URL --key-file F``: run a cluster manager on this node.

What people type is ``awworker``: it brings the unit's code first and then becomes this (`processing_units.joining`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import resource
import sys
from collections.abc import Sequence

from processing_units.joining.command_line import worker_parser
from processing_units.joining.main import read_key

EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given = worker_parser().parse_args(arguments)
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
        control_groups=given.control_groups,
        routes=tuple(given.route),
        carrier=given.carrier,
        gpus=given.gpus,
        walltime=given.walltime,
        preemptible=given.preemptible,
        drain_file=given.drain_file,
        delete_key_file=given.delete_key_file,
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


if __name__ == "__main__":
    sys.exit(main())
