"""What ``awbackend UNIT --test`` says of a queueing system and of the login host from which it is reached."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from importlib.resources import files

from processing_units.backend.host_checks import check_host
from processing_units.backend.kind import Check, Directions
from processing_units.backend.login_host import LoginHost
from processing_units.backend.psij_queue import PsijQueue
from processing_units.backend.queue_host import QueueAwayError
from processing_units.backend.queue_settings import QueueSettings
from processing_units.backend.ssh_connection import SshError

_NOBODYS_JOB = "999999999"


def check_queue(queue: PsijQueue, name: str, look: Callable[[PsijQueue, list[str]], object]) -> Check:
    """See that the commands of the queueing system are there, and that it answers."""
    host = queue.host
    where = host.login or "here"
    try:
        missing = [word for word in queue.commands() if host.run(["sh", "-c", 'command -v "$0" || exit 1', word])[0]]
        if missing:
            return Check(where, "queue", False, f"there is no {', '.join(missing)} {host.where}: {host.mend}")
        look(queue, [_NOBODYS_JOB])
    except QueueAwayError as error:
        return Check(where, "queue", False, str(error))
    return Check(where, "queue", True, f"{name} answers")


def check_login(host: LoginHost, settings: QueueSettings, directions: Directions, addresses: list[str]) -> list[Check]:
    """Look at a login host: key, Python, disk, clock, and the relay; the first two that are in the way end it."""
    folder = settings.work_directory or "awportal"
    checks = check_host(host.connection, settings.login_python, folder, [], ("login_python", "work_directory"))
    if len(checks) < 3:
        return checks
    try:
        with host.trial_road(settings, directions, addresses) as road:
            return [*checks, *_check_road(host, settings, road)]
    except (QueueAwayError, SshError) as error:
        return [*checks, Check(host.connection.target.host, "relay", False, str(error))]


def _check_road(host: LoginHost, settings: QueueSettings, road: dict[str, str]) -> list[Check]:
    """Ask what answers behind the relay, from the login host itself, at the address that nodes are told."""
    script = files("processing_units.backend").joinpath("host_look.py").read_bytes()
    words = [settings.login_python, "-", ".", *road.values()]
    away = json.loads(host.connection.run(" ".join(map(shlex.quote, words)), script, 60.0))["away"]
    name = host.connection.target.host
    return [
        Check(name, "relay", True, f"{address} at {there}")
        if there not in away
        else Check(name, "relay", False, f"{address} does not answer at {there}: is it up, does this backend's own "
                   "machine reach it, and is relay_address an address of the login host?")
        for address, there in road.items()
    ]  # fmt: skip
