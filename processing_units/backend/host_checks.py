"""What ``awbackend UNIT --test`` says of a host that is reached by ssh: what is well, and how to mend what is not."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from processing_units.backend.kind import Check
from processing_units.backend.lan_host import LanHost
from processing_units.backend.ssh_connection import SshConnection, SshError
from processing_units.joining.installing import ROOM_NEEDED_MIB
from processing_units.joining.standard_code import PYTHON

_SETTINGS = ("python", "remote_path")
LARGEST_CLOCK_ERROR = 60.0  # signed addresses hold for at least this much longer than a job may run


def check_host(
    connection: SshConnection,
    python: str,
    folder: str,
    addresses: list[str],
    settings: tuple[str, str] = _SETTINGS,
    reach: Callable[[list[str]], list[str]] | None = None,
    name: str = "",
    as_owner: Callable[[str], str] = str,
) -> list[Check]:
    """Look at a host; the first thing that is in the way of the others ends it.

    ``settings`` are the names under which a process manager sets Python and folder; ``reach`` says where the host
    reaches addresses of ours, if not by tunnels; ``as_owner`` has a command line done as the user whom cluster managers
    there belong to.
    """
    name = name or connection.target.host
    try:
        connection.open()
    except SshError as error:
        return [Check(name, "key", False, str(error))]
    checks = [Check(name, "key", True, "we get in")]
    try:
        reached = reach(addresses) if reach is not None else [connection.reach(address) for address in addresses]
    except SshError as error:
        return [*checks, Check(name, "tunnels" if reach is None else "session", False, str(error))]
    began = time.time()
    try:
        seen = _look(connection, as_owner, python, [folder, *reached])
    except SshError as error:
        mend = f"install one there, or set its path in the unit's settings ({settings[0]})"
        return [*checks, Check(name, "Python", False, f"{python} does not run: {error}; {mend}")]
    except ValueError:
        return [*checks, Check(name, "Python", False, f"{python} is no Python: it answers something else")]
    names = dict(zip(reached, addresses, strict=True))
    return [*checks, _python(name, python, seen, settings[0]), _disk(name, folder, seen, settings[1]),
            _clock(name, seen, began, time.time()),
            *(_reach(name, names[address], address in seen["away"]) for address in reached)]  # fmt: skip


def check_data_folder(connection: SshConnection, host: LanHost) -> Check:
    """Look at the disk of a folder for data that is another one than that for software."""
    try:
        seen = _look(connection, host.as_owner, host.python, [host.data])
    except (SshError, ValueError) as error:
        return Check(host.title, "disk", False, f"{host.data} cannot be looked at: {error}")
    return _disk(host.title, host.data, seen, "data_folder")


def check_sftp(connection: SshConnection, name: str, server: str) -> Check:
    """Look whether files can be carried to a host that takes them by sftp."""
    try:
        connection.sftp("pwd", 0, 30.0, server)
    except SshError as error:
        return Check(name, "sftp", False, str(error))
    return Check(name, "sftp", True, "files can be carried")


def _look(connection: SshConnection, as_owner: Callable[[str], str], python: str, about: list[str]) -> dict[str, Any]:
    script = files("processing_units.backend").joinpath("host_look.py").read_bytes()
    words = " ".join(map(shlex.quote, [python, "-", *about]))
    return dict(json.loads(connection.run(as_owner(words), script, 60.0)))


def _python(name: str, python: str, seen: dict[str, Any], setting: str) -> Check:
    numbers = tuple(int(word) for word in seen["python"].split(".")[:2])
    needed = ".".join(map(str, PYTHON))
    if numbers < PYTHON:
        return Check(name, "Python", False, f"{python} is {seen['python']}, {needed} or newer is needed: set {setting}")
    if seen["system"] != "Linux":
        return Check(name, "Python", False, f"the host runs {seen['system']}; this kind needs Linux")
    if not seen["can_install"]:
        return Check(name, "Python", False, f"{python} can make no virtual environment: apt-get install python3-venv, "
                     "or set system_python where it has the requirements")  # fmt: skip
    return Check(name, "Python", True, seen["python"])


def _disk(name: str, folder: str, seen: dict[str, Any], setting: str) -> Check:
    if not seen["writable"]:
        return Check(name, "disk", False, f"{folder} cannot be written: set {setting} to a folder of this user's")
    if seen["free_mib"] < 2 * ROOM_NEEDED_MIB:
        return Check(name, "disk", False, f"only {seen['free_mib']} MiB free in {folder}, {2 * ROOM_NEEDED_MIB} are "
                     f"needed: make room, or set {setting}")  # fmt: skip
    return Check(name, "disk", True, f"{seen['free_mib'] / 1024:.0f} GiB free")


def _clock(name: str, seen: dict[str, Any], began: float, ended: float) -> Check:
    wrong = max(began - seen["time"], seen["time"] - ended, 0.0)
    if wrong > LARGEST_CLOCK_ERROR:
        return Check(
            name, "clock", False, f"is {wrong:.0f} s off ours: run an NTP client there (timedatectl set-ntp 1)"
        )
    return Check(name, "clock", True, f"within {max(wrong, ended - began):.1f} s of ours")


def _reach(name: str, address: str, is_away: bool) -> Check:
    if is_away:
        return Check(name, "reach", False, f"{address} does not answer through the tunnel: is it up, and does this "
                     "backend's own machine reach it?")  # fmt: skip
    return Check(name, "reach", True, f"{address} through the tunnel")
