"""Cluster managers on the hosts of a LAN, by ssh: nothing but sshd has to be reachable, and nothing be installed.

Frontend, broker and data server are reached from the hosts through tunnels in the ssh connection. The standard code
gets there by ``awworker``, the one file; the key goes by the connection's standard input.
"""

from __future__ import annotations

import hashlib
import logging
import shlex
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from pydantic import Field

from processing_units.backend.cleaning import Cleaner
from processing_units.backend.host_checks import check_data_folder, check_host, check_sftp
from processing_units.backend.host_session import HostSession
from processing_units.backend.kind import DRAINED, BringUpError, Check, Directions, Kind, KindSettings, Standing
from processing_units.backend.lan_host import Bytes, LanHost
from processing_units.backend.machines_in_use import MachinesInUse
from processing_units.backend.ssh_connection import SshConnection, SshError, Target, control_folder
from processing_units.contract import BackendDirections, PlaceState

log = logging.getLogger(__name__)

LOST_SECONDS = 120.0
_MOST_AT_A_TIME = 16


class LanSettings(KindSettings):
    """The hosts."""

    hosts: list[LanHost] = Field(default_factory=list, max_length=1000)
    carried_bytes: Bytes = Field(
        default=20 << 30, description="what was carried by sftp is kept for other hosts, up to so much: 20G"
    )


class Lan(Kind):
    """Brings cluster managers up by ssh. A handle is ``user@host:port process start-of-the-process``."""

    name: ClassVar[str] = "lan"
    Settings: ClassVar[type[KindSettings]] = LanSettings
    look_seconds: ClassVar[float] = 1.0

    def __init__(self) -> None:
        self._settings = LanSettings()
        self._reach: list[str] = []
        self._is_configured = False
        self._to_drain: set[str] = set()
        self._orphans: set[str] = set()
        self._connections: dict[Target, SshConnection] = {}
        self._away: dict[Target, tuple[float, str]] = {}
        self._sessions: dict[tuple[Target, str], HostSession] = {}
        self._lock = threading.Lock()

    def begin(self, directions: Directions) -> None:
        """Learn where the control sockets lie, what was up, and which sessions there were."""
        directions.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._machines = MachinesInUse(directions.state / f"{directions.unit}.machines.json")
        self._unclaimed = set(self._machines.held)
        self._cleaner = Cleaner(self._machines, self._clean)
        self._folder = control_folder(directions.state, directions.unit)
        self._carried = directions.state / "carried" / directions.unit
        shutil.rmtree(self._carried / "taken", ignore_errors=True)
        for note in self._folder.glob("*.session.json"):
            host = HostSession.noted(note)
            if host is not None:
                self._session(host)

    def configure(self, settings: LanSettings) -> None:
        """Take the hosts; cluster managers on a host that is no longer one of them are to drain."""
        self._settings = settings
        self._is_configured = True
        self._cleaner.hurry()

    def _drain_the_removed(self) -> None:
        for handle, host in self._machines.held.items():
            if self._is_removed(host) and handle not in self._to_drain and not self._machines.is_draining(handle):
                log.info("%s is no longer among the hosts as it was: its cluster manager drains", host.title)
                self.drain(handle)

    def _is_removed(self, host: LanHost) -> bool:
        return self._is_configured and host not in self._settings.hosts

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
        if self._cleaner.works_on(host):
            raise BringUpError(f"the data folder of {host.title} is just being cleaned")
        self._machines.begins(host)
        try:
            handle = self._start(host, directions)
        except SshError as error:
            raise BringUpError(str(error)) from error
        self._machines.is_up(handle, host)
        return handle

    def _free_host(self, number: int) -> LanHost:
        """Return the host of a place, or another one where that has its cluster manager already."""
        free = list(self._settings.hosts)
        for held in self._machines.held.values():
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
        host.prepare(connection)
        folder, data = shlex.quote(host.remote_path), shlex.quote(host.data)
        url, ways = self._ways_for(host, directions.url)
        name = f"{directions.unit}-{directions.number}"
        options = ["--key-file", "-", "--slots", str(host.slots), "--node", host.title, *ways]
        options += ["--gpus", ",".join(map(str, host.gpus))] if host.gpus else []
        options += ["--cache-bytes", str(host.data_bytes)]
        options += ["--system-python"] if host.system_python else []
        words = [host.python, "awworker", url, *options, *directions.arguments]
        line = " ".join(map(shlex.quote, words))
        places = '--cache "$data/node-cache" --software "$PWD/software" --scratch "$data/scratch"'
        # In a session of its own, so that it outlives the connection; the key comes by the standard input.
        command = (
            f"umask 077 && data=$(cd {data} && pwd) && cd {folder} && exec 3<&0 && "
            f"{{ setsid nice -n {host.niceness} {line} {places} <&3 >logs/{shlex.quote(name)}.log 2>&1 3<&- & }} && "
            'echo $! $(cut -d" " -f22 /proc/$!/stat)'
        )
        said = connection.run(host.as_owner(command), directions.key_file.read_bytes()).split()
        if len(said) != 2 or not all(word.isdigit() for word in said):
            raise SshError(f"on {host.title} nothing could be started: {' '.join(said)[:200]}")
        return f"{host.target} {said[0]} {said[1]} {host.remote_path}/logs/{name}.log"

    def _ways_for(self, host: LanHost, url: str) -> tuple[str, list[str]]:
        """Return where frontend, broker and data server are reached from a host: an address and options."""
        if host.through == "session":
            # Files are carried by sftp, so the addresses of data servers stay as they are.
            brokers = [address for address in self._reach if not address.startswith("http")]
            session = self._session(host)
            reached, *others = session.reach([url, *self._reach])
            routes = [f"{one}={other}" for one, other in zip(self._reach, others, strict=True) if one in brokers]
            ways = ["--carrier", session.carrier]
        else:
            connection = self.connection(host.target)
            reached = connection.reach(url)
            routes = [f"{address}={connection.reach(address)}" for address in self._reach]
            ways = []
        return reached, ways + [word for route in routes for word in ("--route", route)]

    def _session(self, host: LanHost) -> HostSession:
        """Return the session that carries all for a host that forwards nothing; it may not stand yet."""
        key = (host.target, host.remote_path)
        with self._lock:
            found = self._sessions.get(key)
            if found is None:
                name = hashlib.sha256(f"{host.target} {host.remote_path}".encode()).hexdigest()[:12]
                found = self._sessions[key] = HostSession(
                    self.connection(host.target), host, self._folder / f"{name}.session.json", self._carried,
                    self._settings.carried_bytes,
                )  # fmt: skip
            found.host = host
            return found

    def connection(self, target: Target) -> SshConnection:
        """Return the connection to a host, open or not."""
        if target not in self._connections:
            self._connections[target] = SshConnection(target, self._folder)
        return self._connections[target]

    def test(self, directions: Directions) -> list[Check]:
        """Look at each host: key, Python, disk, clock, and whether it reaches frontend, broker and data server."""
        hosts = list(
            {
                (host.target, host.python, host.remote_path, host.data): host for host in reversed(self._settings.hosts)
            }.values()
        )
        if not hosts:
            return [Check("unit", "hosts", False, "no host is named in the unit's settings (kind-settings: hosts)")]
        addresses = [directions.url, *self._reach]

        def check(host: LanHost) -> list[Check]:
            connection = self.connection(host.target)
            is_session = host.through == "session"
            owner = [self._check_owner(host)] if host.owner else []
            found = check_host(
                connection, host.python, host.remote_path, addresses, name=host.title, as_owner=host.as_owner,
                reach=self._session(host).reach if is_session else None,
            )  # fmt: skip
            if not found[0].is_well:
                return found
            found += owner
            if host.data != host.remote_path:
                found.append(check_data_folder(connection, host))
            return [*found, check_sftp(connection, host.title, host.sftp_server)] if is_session else found

        with ThreadPoolExecutor(min(_MOST_AT_A_TIME, len(hosts))) as pool:
            return [found for checks in pool.map(check, reversed(hosts)) for found in checks]

    def _check_owner(self, host: LanHost) -> Check:
        """Make the folders first: what follows is looked at as their owner, who may not be able to."""
        connection = self.connection(host.target)
        try:
            connection.open()
            host.prepare(connection)
        except SshError as error:
            return Check(host.title, "owner", False, str(error))
        return Check(host.title, "owner", True, f"its folders belong to {host.owner}")

    # ---------------------------------------------------------------------------------------------- how they stand

    def ended(self, handles: Iterable[str]) -> Mapping[str, str]:
        """Ask each host once for all of its cluster managers; see that what is to leave does, and clean up after it."""
        asked = set(handles)
        # Those that nobody asks for were started by a backend that died before it could note them.
        orphans, self._unclaimed = self._unclaimed - asked, set()
        self._to_drain |= orphans
        self._orphans = (self._orphans | orphans) & self._machines.held.keys()
        of_host: dict[Target, list[str]] = defaultdict(list)
        for handle in asked | self._orphans:
            of_host[_target_of(handle)].append(handle)
        gone: dict[str, str] = {}
        if of_host:
            with ThreadPoolExecutor(min(_MOST_AT_A_TIME, len(of_host))) as pool:
                for found in pool.map(lambda each: self._ended_on(*each), of_host.items()):
                    gone |= found
        self._machines.have_ended(gone, lost=[handle for handle in gone if _target_of(handle) in self._away])
        self._to_drain -= gone.keys()
        self._drain_the_removed()
        self._clean_up()
        for handle in [each for each in self._to_drain if _target_of(each) not in self._away]:
            self.drain(handle)
        return {handle: how for handle, how in gone.items() if handle in asked}

    def _clean_up(self) -> None:
        """Leave no inputs on a machine that is no longer one of the unit's, and no connection to it."""
        host = self._cleaner.step(self._settings.hosts) if self._is_configured else None
        if host is None:
            return
        used = [*self._settings.hosts, *self._machines.held.values()]
        if not any((host.target, host.remote_path) == (each.target, each.remote_path) for each in used):
            session = self._sessions.pop((host.target, host.remote_path), None)
            if session is not None:
                session.close()
        if not any(host.target == each.target for each in used):
            self.connection(host.target).hang_up()

    def _clean(self, host: LanHost) -> bool:
        connection = self.connection(host.target)
        connection.open()
        self._end_the_lost(connection)
        return host.clean(connection)

    def _ended_on(self, target: Target, handles: list[str]) -> dict[str, str]:
        connection = self.connection(target)
        now = time.monotonic()
        # A host that is away is asked now and then: each time may take seconds.
        since, _ = self._away.get(target, (now, ""))
        try:
            connection.open()
            for (theirs, _), session in list(self._sessions.items()):
                if theirs == target:
                    session.keep_up()
            asked = "; ".join(f"{{ {_lives(pid, start)}; }} || echo {pid}:\"$(tail -n 1 {shlex.quote(log_file)})\""
                              for pid, start, log_file in map(_process_of, handles))  # fmt: skip
            said = dict(line.partition(":")[::2] for line in connection.run(f"({asked}); true").splitlines())
        except SshError as error:
            if target not in self._away:
                log.warning("%s", error)
            self._away[target] = (since, str(error))
            if now - since < LOST_SECONDS:
                return {}
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
            host = self._machines.held.get(handle)
            leaves = self._machines.is_draining(handle) or (host is not None and self._is_removed(host))
            answer[handle] = Standing(PlaceState.DRAINING if leaves else PlaceState.UP, target.host, reason)
        return answer

    # ------------------------------------------------------------------------------------------------------ down

    def drain(self, handle: str) -> None:
        """The first SIGTERM drains, a second one would stop it; where its host is away, it is asked later."""
        if self._machines.is_draining(handle):
            return
        self._to_drain.add(handle)
        if self._signal(handle, "TERM"):
            self._to_drain.discard(handle)
            self._machines.drains(handle)

    def stop(self, handle: str) -> None:
        """The second SIGTERM stops at once."""
        self._signal(handle, "TERM")

    def kill(self, handle: str) -> None:
        """Kill it; its jobs and their processes go with it."""
        self._signal(handle, "KILL")

    def close(self) -> None:
        """End the connections."""
        for session in self._sessions.values():
            session.close()
        for connection in self._connections.values():
            connection.close()

    def _signal(self, handle: str, name: str) -> bool:
        """Send a signal, and return whether the host took it."""
        pid, start, _ = _process_of(handle)
        connection = self.connection(_target_of(handle))
        try:
            connection.open()
            connection.run(f"{{ {_lives(pid, start)}; }} && kill -{name} {pid}; true")
        except SshError as error:
            log.warning("cluster manager %s gets no SIG%s: %s", handle, name, error)
            return False
        return True

    def _end_the_lost(self, connection: SshConnection) -> None:
        """Kill what went on while its host was away, and was given up."""
        for handle in self._machines.pop_lost(f"{connection.target} "):
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
