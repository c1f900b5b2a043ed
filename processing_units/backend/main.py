"""``awbackend UNIT --url URL --key-file F``: bring cluster managers of a unit up, and keep them up."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from processing_units.backend.catalogue import all_kinds
from processing_units.backend.frontend_link import FrontendLink
from processing_units.backend.kind import BringUpError, Directions, Kind, SettingsError, settings_of
from processing_units.backend.supervision import Backend, Fixed
from processing_units.contract import BackendReport

EXIT_USAGE = 2
EXIT_TO_MEND = 1


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    made = argparse.ArgumentParser(
        prog="awbackend",
        description="Bring up the cluster managers of a processing unit, and keep the wanted number of them up. How "
        "many, and with how many slots, the unit's settings say (awrecipe units set); a change holds within seconds.",
        epilog="What follows -- goes to awworker, as in: awbackend local ... -- --slots 4 --cache-bytes 50G. The first "
        "Ctrl-C (or SIGTERM) drains the cluster managers and ends, the second stops them at once. Exit code: 2 usage.",
    )
    made.add_argument("unit", metavar="UNIT", help="name of the unit")
    made.add_argument("--url", required=True, help="address of the unit's frontend")
    made.add_argument("--key-file", required=True, type=Path, metavar="FILE", help="file with the unit's key")
    made.add_argument("--kind", default="local", choices=sorted(all_kinds()), help="how they are brought up (local)")
    made.add_argument(
        "--cluster-managers", type=int, default=None, metavar="N", help="how many, whatever the unit's settings say"
    )
    made.add_argument(
        "--slots", type=int, default=None, metavar="N", help="jobs at a time of each, whatever the unit's settings say"
    )
    made.add_argument(
        "--state",
        type=Path,
        default=home / "awportal",
        metavar="DIR",
        help="for logs, scratch and the node's cache, and to know its cluster managers again after a restart",
    )
    made.add_argument(
        "--test", action="store_true", help="look at hosts, say what to mend, start nothing; exit code 1 if anything is"
    )
    made.add_argument(
        "--drain-seconds", type=float, default=20.0, metavar="S", help="at the end, time that running jobs have (20)"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    given_arguments = list(sys.argv[1:] if arguments is None else arguments)
    for_worker: list[str] = []
    if "--" in given_arguments:
        split = given_arguments.index("--")
        given_arguments, for_worker = given_arguments[:split], given_arguments[split + 1 :]
    given = parser().parse_args(given_arguments)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not given.key_file.is_file():
        print(f"awbackend: the unit's key file {given.key_file} is not there", file=sys.stderr)
        return EXIT_USAGE
    state = given.state.absolute()
    directions = Directions(
        number=0,
        unit=given.unit,
        url=given.url,
        key_file=given.key_file.absolute(),
        log_file=state / "logs" / f"{given.unit}.log",
        state=state,
        slots=1,
        arguments=tuple(for_worker),
    )
    frontend = FrontendLink(given.url, given.key_file.absolute())
    if given.test:
        return test(all_kinds()[given.kind](), frontend, directions)
    fixed = Fixed(given.cluster_managers, given.slots)
    backend = Backend(all_kinds()[given.kind](), frontend, directions, fixed, given.drain_seconds)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: backend.ask_to_end())
    try:
        backend.run()
    except OSError as error:
        print(f"awbackend: {error}", file=sys.stderr)
        return EXIT_USAGE
    return 0


def test(kind: Kind, frontend: FrontendLink, directions: Directions) -> int:
    """Look at what cluster managers will need; print it; return the exit code."""
    try:
        asked = frontend.report(BackendReport(backend="test", kind=kind.name, only_asks=True))
        kind.begin(directions)
        kind.configure(settings_of(type(kind), asked.settings))
        kind.wanted(asked)
    except (BringUpError, SettingsError) as error:
        print(f"awbackend: {error}", file=sys.stderr)
        return EXIT_USAGE
    checks = kind.test(directions)
    for check in checks:
        print(f"{check.where:20} {'well' if check.is_well else 'MEND':5} {check.what:8} {check.says}")
    if not checks:
        print(f"cluster managers of kind {kind.name} need nothing that could be looked at beforehand")
    return 0 if all(check.is_well for check in checks) else EXIT_TO_MEND


if __name__ == "__main__":
    sys.exit(main())
