"""A host that forwards nothing and may not call out: one ssh session carries frontend and broker, sftp the files.

The session is the backend's own. When either is cut, cluster managers wait as for a portal that is away; the next
session listens on the same ports of the host, which are noted.
"""

from __future__ import annotations

import json
import logging
import shlex
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from processing_units.backend.carrier import Carrier
from processing_units.backend.lan_host import LanHost
from processing_units.backend.relay import Relay, RelayError
from processing_units.backend.ssh_connection import SshConnection, SshError

log = logging.getLogger(__name__)

CARRIER = "carrier"
_USUAL_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}


class HostSession:
    """The session of one host and folder.

    Parameters
    ----------
    connection : SshConnection
        The connection in which it is.
    host : LanHost
        The host; what is up there may be of another with the same folder.
    note : path
        Where host and ports are kept, for a backend that is started anew.
    carried, carried_bytes : path, int
        Where files lie on their way, and how much of them is kept for other hosts.
    """

    def __init__(self, connection: SshConnection, host: LanHost, note: Path, carried: Path, carried_bytes: int) -> None:
        self._connection = connection
        self.host = host
        self._note = note
        self._carried, self._carried_bytes = carried, carried_bytes
        self._ports = _read(note)[1]
        self._relay: Relay | None = None
        self._carrier: Carrier | None = None
        self._lock = threading.Lock()

    @classmethod
    def noted(cls, note: Path) -> LanHost | None:
        """Return the host of a note, if there is one."""
        return _read(note)[0]

    def reach(self, addresses: Sequence[str]) -> list[str]:
        """Return where the host reaches what we reach at each ``scheme://host:port``. Raises `SshError`."""
        with self._lock:
            wanted = {CARRIER: 0} | dict.fromkeys(addresses, 0) | self._ports
            if wanted.keys() != self._ports.keys() and self._relay is not None:
                self._relay.stop()
            if not self._is_up:
                self.host.prepare(self._connection)
                try:
                    self._start(wanted)
                except SshError as error:
                    if not any(wanted.values()):
                        raise
                    log.warning("%s; other ports are taken", error)
                    self._start(dict.fromkeys(wanted, 0))
            return [f"{urlsplit(address).scheme}://127.0.0.1:{self._ports[address]}" for address in addresses]

    @property
    def carrier(self) -> str:
        """Where cluster managers there ask for files, once something was to be reached."""
        return f"127.0.0.1:{self._ports[CARRIER]}"

    def keep_up(self) -> None:
        """Bring the session back if it was cut. Raises `SshError`."""
        with self._lock:
            if self._ports and not self._is_up:
                self._start(self._ports)

    def close(self) -> None:
        """End it for good."""
        with self._lock:
            if self._relay is not None:
                self._relay.stop()
            self._note.unlink(missing_ok=True)

    @property
    def _is_up(self) -> bool:
        return self._relay is not None and self._relay.is_up

    def _start(self, ports: dict[str, int]) -> None:
        listeners = [f"{name}=127.0.0.1:{port}" for name, port in ports.items()]
        folder = shlex.quote(self.host.remote_path)
        words = " ".join(
            map(shlex.quote, [self.host.python, "-m", "processing_units.joining.stream_relay", "--lock", "relay.lock"])
        )
        command = f"cd {folder} && PYTHONPATH=awworker PYTHONDONTWRITEBYTECODE=1 exec {words} " + " ".join(
            map(shlex.quote, listeners)
        )
        relay = Relay(self._connection.session(self.host.as_owner(command)), self._dial)
        try:
            self._ports = relay.start()
        except RelayError as error:
            raise SshError(f"on {self.host.title} the session that carries all does not begin: {error}") from error
        self._relay = relay
        registered = [address for address in ports if address.startswith("http")]
        node_cache = f"{self.host.data}/node-cache"
        self._carrier = Carrier(
            self._connection, node_cache, registered, self._carried, self._carried_bytes, self.host.sftp_server
        )
        partial = self._note.with_suffix(".part")
        partial.write_text(json.dumps({"host": self.host.model_dump(), "ports": self._ports}))
        partial.replace(self._note)

    def _dial(self, name: str) -> socket.socket:
        if name == CARRIER:
            carrier = self._carrier
            if carrier is None:
                raise ConnectionRefusedError
            return carrier.connected()
        if name not in self._ports:
            raise ConnectionRefusedError
        parts = urlsplit(name)
        return socket.create_connection((parts.hostname or "", parts.port or _USUAL_PORTS[parts.scheme]), 10.0)


def _read(note: Path) -> tuple[LanHost | None, dict[str, int]]:
    try:
        noted = json.loads(note.read_text())
        return LanHost.model_validate(noted["host"]), {str(name): int(port) for name, port in noted["ports"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, {}
