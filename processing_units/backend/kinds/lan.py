"""Cluster managers on the hosts of a LAN, by ssh: nothing but sshd has to be reachable, and nothing be installed.

Frontend, broker and data server are reached from the hosts through tunnels in the ssh connection. The standard code
gets there by ``awworker``, the one file; the key goes by the connection's standard input.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from processing_units.backend.host_checks import check_host
from processing_units.backend.kind import DRAINED, BringUpError, Check, Directions, Kind, KindSettings, Standing
from processing_units.backend.ssh_connection import SshConnection, SshError, Target, control_folder
from processing_units.contract import BackendDirections
from processing_units.joining.single_file import single_file

log = logging.getLogger(__name__)

LOST_SECONDS = 120.0
_MOST_AT_A_TIME = 16
# No word may begin with a dash: the ssh client would take it for an option.
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$", max_length=200)]
UserName = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?$", max_length=60)]
RemotePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./][A-Za-z0-9_./+@ -]*$", max_length=300)]


class LanHost(KindSettings):
    """A host; named twice, it gives two cluster managers."""

    host: HostName
    user: UserName = Field(default="", description="empty: as the backend's ssh configuration says")
    port: int = Field(default=0, ge=0, le=65535, description="0: as the backend's ssh configuration says")
    slots: int = Field(default=1, ge=1, le=1000, description="jobs at a time")
    niceness: int = Field(default=0, ge=0, le=19, description="of the cluster manager and its jobs: 19 yields to all")
    remote_path: RemotePath = Field(default="awportal", description="folder there; relative to the user's home")
    python: RemotePath = Field(default="python3", description="a Python 3.11 or newer")
    system_python: bool = Field(default=False, description="it has the requirements: none are installed")

    @property
    def target(self) -> Target:
        """Where the ssh client is to connect to."""
        return Target(self.host, self.user, self.port)


class LanSettings(KindSettings):
    """The hosts."""

    hosts: list[LanHost] = Field(default_factory=list, max_length=1000)


class Lan(Kind):
    """Brings cluster managers up by ssh. A handle is ``user@host:port process start-of-the-process``."""

    name: ClassVar[str] = "lan"
    Settings: ClassVar[type[KindSettings]] = LanSettings
    look_seconds: ClassVar[float] = 1.0

    def __init__(self) -> None:
        self._settings = LanSettings()
        self._reach: list[str] = []
        self._held: dict[str, LanHost] = {}
        self._connections: dict[Target, SshConnection] = {}
        self._away: dict[Target, tuple[float, str]] = {}
        self._lost: dict[Target, list[str]] = defaultdict(list)

    def begin(self, directions: Directions) -> None:
        """Learn where the control sockets lie."""
        self._folder = control_folder(directions.state, directions.unit)

    def configure(self, settings: LanSettings) -> None:
        """Take the hosts; cluster managers on a host that is no longer one of them drain."""
        self._settings = settings
        for handle, host in list(self._held.items()):
            if host not in settings.hosts:
                log.info("%s is no longer among the hosts: its cluster manager drains", host.host)
                self.drain(handle)

    def wanted(self, directions: BackendDirections) -> int:
        """Return one for each time that a host is named, unless none is wanted at all."""
        self._reach = list(directions.reach)
        return len(self._settings.hosts) if directions.cluster_managers else 0

    def allowed(self, directions: BackendDirections) -> int:
        """Return the same: the hosts' number goes before that of the unit."""
        return self.wanted(directions)

    def slots(self, share: int) -> int:
        """Return one, whatever the share: each host has a number of its own in the settings."""
        return 1

    # -------------------------------------------------------------------------------------------------------- up

    def bring_up(self, directions: Directions) -> str:
        """Start ``awworker`` on a host that has room for one."""
        host = self._free_host(directions.number)
        try:
            handle = self._start(host, directions)
        except SshError as error:
            raise BringUpError(str(error)) from error
        self._held[handle] = host
        return handle

    def _free_host(self, number: int) -> LanHost:
        """Return the host of a place, or another one where that has its cluster manager already."""
        free = list(self._settings.hosts)
        for held in self._held.values():
            if held in free:
                free.remove(held)
        if not free:
            raise BringUpError("all hosts have their cluster managers; name more of them in the unit's settings")
        mine = self._settings.hosts[min(number, len(self._settings.hosts)) - 1]
        return mine if mine in free else free[0]

    def _start(self, host: LanHost, directions: Directions) -> str:
        connection = self.connection(host.target)
        connection.open()
        self._end_the_lost(connection)
        url = connection.reach(directions.url)
        routes = [f"{address}={connection.reach(address)}" for address in self._reach]
        folder = shlex.quote(host.remote_path)
        connection.run(
            f"umask 077 && mkdir -p {folder}/logs && cd {folder} && cat > awworker.part && mv awworker.part awworker",
            single_file(),
        )
        name = f"{directions.unit}-{directions.number}"
        options = ["--key-file", "-", "--slots", str(host.slots), "--node", host.host]
        options += [word for route in routes for word in ("--route", route)]
        options += ["--system-python"] if host.system_python else []
        words = [host.python, "awworker", url, *options, *directions.arguments]
        line = " ".join(map(shlex.quote, words))
        places = '--cache "$PWD/node-cache" --software "$PWD/software" --scratch "$PWD/scratch"'
        # In a session of its own, so that it outlives the connection; the key comes by the standard input.
        said = connection.run(
            f"umask 077 && cd {folder} && exec 3<&0 && "
            f"{{ setsid nice -n {host.niceness} {line} {places} <&3 >logs/{shlex.quote(name)}.log 2>&1 3<&- & }} && "
            'echo $! $(cut -d" " -f22 /proc/$!/stat)',
            directions.key_file.read_bytes(),
        ).split()
        if len(said) != 2 or not all(word.isdigit() for word in said):
            raise SshError(f"on {host.host} nothing could be started: {' '.join(said)[:200]}")
        return f"{host.target} {said[0]} {said[1]} {host.remote_path}/logs/{name}.log"

    def connection(self, target: Target) -> SshConnection:
        """Return the connection to a host, open or not."""
        if target not in self._connections:
            self._connections[target] = SshConnection(target, self._folder)
        return self._connections[target]

    def test(self, directions: Directions) -> list[Check]:
        """Look at each host: key, Python, disk, clock, and whether it reaches frontend, broker and data server."""
        hosts = list(dict.fromkeys((host.target, host.python, host.remote_path) for host in self._settings.hosts))
        if not hosts:
            return [Check("unit", "hosts", False, "no host is named in the unit's settings (kind-settings: hosts)")]
        addresses = [directions.url, *self._reach]

        def check(host: tuple[Target, str, str]) -> list[Check]:
            target, python, folder = host
            return check_host(self.connection(target), python, folder, addresses)

        with ThreadPoolExecutor(min(_MOST_AT_A_TIME, len(hosts))) as pool:
            return [found for checks in pool.map(check, hosts) for found in checks]

    # ---------------------------------------------------------------------------------------------- how they stand

    def ended(self, handles: Iterable[str]) -> Mapping[str, str]:
        """Ask each host once for all of its cluster managers."""
        of_host: dict[Target, list[str]] = defaultdict(list)
        for handle in handles:
            of_host[_target_of(handle)].append(handle)
        gone: dict[str, str] = {}
        if not of_host:
            return gone
        with ThreadPoolExecutor(min(_MOST_AT_A_TIME, len(of_host))) as pool:
            for found in pool.map(lambda each: self._ended_on(*each), of_host.items()):
                gone |= found
        for handle in gone:
            self._held.pop(handle, None)
        return gone

    def _ended_on(self, target: Target, handles: list[str]) -> dict[str, str]:
        connection = self.connection(target)
        now = time.monotonic()
        # A host that is away is asked now and then: each time may take seconds.
        since, _ = self._away.get(target, (now, ""))
        try:
            connection.open()
            asked = "; ".join(f"{{ {_lives(pid, start)}; }} || tail -n 1 {shlex.quote(log_file)} | sed s/^/{pid}:/"
                              for pid, start, log_file in map(_process_of, handles))  # fmt: skip
            said = dict(line.partition(":")[::2] for line in connection.run(f"({asked}); true").splitlines())
        except SshError as error:
            if target not in self._away:
                log.warning("%s", error)
            self._away[target] = (since, str(error))
            if now - since < LOST_SECONDS:
                return {}
            self._lost[target] += handles
            return dict.fromkeys(handles, f"was lost with its host: {error}")
        if self._away.pop(target, None):
            log.info("%s is reached again", target.host)
        return {handle: _how(said[pid].strip()) for handle in handles if (pid := _process_of(handle)[0]) in said}

    def standing(self, handles: Iterable[str]) -> Mapping[str, Standing]:
        """Name the hosts, and say which are away."""
        answer = {}
        for handle in handles:
            target = _target_of(handle)
            _, reason = self._away.get(target, (0.0, ""))
            answer[handle] = Standing(node=target.host, reason=reason)
        return answer

    # ------------------------------------------------------------------------------------------------------ down

    def drain(self, handle: str) -> None:
        """The first SIGTERM drains."""
        self._signal(handle, "TERM")

    def stop(self, handle: str) -> None:
        """The second SIGTERM stops at once."""
        self._signal(handle, "TERM")

    def kill(self, handle: str) -> None:
        """Kill it; its jobs and their processes go with it."""
        self._signal(handle, "KILL")

    def close(self) -> None:
        """End the connections."""
        for connection in self._connections.values():
            connection.close()

    def _signal(self, handle: str, name: str) -> None:
        pid, start, _ = _process_of(handle)
        connection = self.connection(_target_of(handle))
        try:
            connection.open()
            connection.run(f"{{ {_lives(pid, start)}; }} && kill -{name} {pid}; true")
        except SshError as error:
            log.warning("cluster manager %s gets no SIG%s: %s", handle, name, error)

    def _end_the_lost(self, connection: SshConnection) -> None:
        """Kill what went on while its host was away, and was given up."""
        for handle in self._lost.pop(connection.target, []):
            self._signal(handle, "KILL")


def _target_of(handle: str) -> Target:
    return Target.read(handle.split(" ", 1)[0])


def _process_of(handle: str) -> tuple[str, str, str]:
    _, pid, start, log_file = handle.split(" ", 3)
    return str(int(pid)), str(int(start)), log_file


def _lives(pid: str, start: str) -> str:
    """Return the shell's words for: it runs, and is not a later process of its number, nor one that nobody buried."""
    return f'case "$(cut -d" " -f3,22 /proc/{pid}/stat 2>/dev/null)" in Z*) false;; *" {start}") ;; *) false;; esac'


def _how(last_line: str) -> str:
    return DRAINED if last_line.endswith("leaving: drained") else f"ended; its log ends: {last_line[:300]}"


KIND = Lan
