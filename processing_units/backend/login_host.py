"""A login host of a cluster of which nothing but sshd is reached, and whose nodes have no route out.

The commands of the queueing system run there by ssh. A relay (`processing_units.joining.stream_relay`) listens there
for the nodes, and carries frontend, broker and data server through an ssh session; it keeps its ports, so that nodes
find it again. On the nodes runs ``awworker``, the one file, of which the relay is a part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from processing_units.backend.kind import Directions
from processing_units.backend.queue_host import COMMAND_SECONDS, QueueAwayError, QueueHost
from processing_units.backend.queue_settings import QueueSettings
from processing_units.backend.relay import Relay, RelayError, dial_from
from processing_units.backend.ssh_connection import USUAL_PORTS, SshConnection, SshError, Target, control_folder
from processing_units.joining.single_file import single_file

log = logging.getLogger(__name__)

_FOLDER = "awportal"  # in the home there
_PORT_IS_TAKEN = "address already in use"
_OWN_ADDRESS = "import socket; print(socket.gethostbyname(socket.gethostname()))"
_MEND = "set relay_address to the address at which the compute nodes reach it"


class LoginHost(QueueHost):
    """The login host ``user@host:port``."""

    def __init__(self, login: str, directions: Directions) -> None:
        user, _, place = login.rpartition("@")
        host, _, port = place.partition(":")
        self.login = login
        self.where = f"on {host}"
        try:
            folder = control_folder(directions.state, directions.unit)
        except SshError as error:
            raise QueueAwayError(str(error)) from error
        self.connection = SshConnection(Target(host, user, int(port or 0)), folder)
        self._unit = directions.unit
        name = hashlib.sha256(login.encode()).hexdigest()[:12]
        self._note = directions.state / f"{directions.unit}.relay-{name}.json"
        self._folders: dict[str, tuple[Path, int]] = {}
        self._lock = threading.Lock()  # a test looks while all goes on
        self._relay: Relay | None = None
        self._carried: tuple[str, list[str]] = ("", [])
        self._brought: set[Path] = set()
        self._named = ""

    def execute(self, command: list[str], given: bytes) -> tuple[int, bytes, bytes]:
        """Run a command through the connection, which is opened where it is not."""
        try:
            self.connection.open()
            return self.connection.ask(shlex.join(command), given, COMMAND_SECONDS)
        except SshError as error:
            raise QueueAwayError(str(error)) from error

    @property
    def mend(self) -> str:
        """What helps where a command is missing."""
        return f"`ssh {self.connection.target.for_people} env` shows the PATH that commands have: set it in ~/.bashrc"

    def root(self, settings: QueueSettings, directions: Directions) -> Path:
        """Return the work directory of the settings, or one in the home there."""
        return self._look_around(settings.work_directory or _FOLDER)[0]

    def user_number(self) -> int:
        """Ask for it, with the home."""
        return self._look_around(".")[1]

    def _look_around(self, folder: str) -> tuple[Path, int]:
        if folder not in self._folders:
            line = 'umask 077; mkdir -p -- "$1" && cd -- "$1" && pwd && id -u'
            code, said = self.run(["sh", "-c", line, "sh", folder])
            words = said.splitlines()[-2:]
            if code or len(words) != 2 or not words[1].isdigit():
                raise QueueAwayError(f"{folder} cannot be used {self.where}: {said.strip()[-200:]}")
            self._folders[folder] = Path(words[0]), int(words[1])
        return self._folders[folder]

    # ---------------------------------------------------------------------------------------------------------- relay

    def road(self, settings: QueueSettings, directions: Directions, addresses: list[str]) -> dict[str, str]:
        """Keep the relay up; return what leads through it."""
        with self._lock:
            root = self.root(settings, directions)
            self._bring_worker(root)
            host = self._address(settings)
            relay = self._relay
            if relay is None or not relay.is_up or self._carried != (host, addresses):
                relay = self._relay = self._restarted(settings.login_python, root, host, addresses)
                self._carried = (host, addresses)
            return _leading_through(relay, host, addresses)

    @contextlib.contextmanager
    def trial_road(
        self, settings: QueueSettings, directions: Directions, addresses: list[str]
    ) -> Iterator[dict[str, str]]:
        """Have a relay for a look: the one that is up, or one that is gone afterwards."""
        if self._relay is not None and self._relay.is_up:
            yield self.road(settings, directions, addresses)
            return
        root = self.root(settings, directions)
        self._bring_worker(root)
        host = self._address(settings)
        try:
            relay = self._started(settings.login_python, root, host, dict.fromkeys(addresses, 0))
        except RelayError as error:
            raise QueueAwayError(f"no relay {self.where}: {error}; {_MEND}") from error
        try:
            yield _leading_through(relay, host, addresses)
        finally:
            relay.stop()

    def _restarted(self, python: str, root: Path, host: str, addresses: list[str]) -> Relay:
        """Start a relay at the ports that the one before had, or at others where these are taken."""
        if self._relay is not None:
            self._relay.stop()
        lock = ["--lock", str(root / f"relay-{self._unit}")]  # one whose session was cut may still hold the ports
        before = self._ports()
        try:
            try:
                relay = self._started(python, root, host, {each: before.get(each, 0) for each in addresses}, *lock)
            except RelayError as error:
                if _PORT_IS_TAKEN not in str(error):
                    raise
                log.warning("others have taken the relay's ports %s: %s", self.where, error)
                relay = self._started(python, root, host, dict.fromkeys(addresses, 0), *lock)
        except RelayError as error:
            self._brought.discard(root)  # perhaps it was removed there
            raise QueueAwayError(f"no relay {self.where}: {error}") from error
        draft = self._note.with_suffix(".part")
        draft.write_text(json.dumps(relay.ports))
        draft.replace(self._note)
        return relay

    def _started(self, python: str, root: Path, host: str, ports: dict[str, int], *options: str) -> Relay:
        """Start a relay that listens for each address at its port (0: any)."""
        at = f"[{host}]" if ":" in host else host
        words = ["env", f"PYTHONPATH={root / 'awworker'}", python, "-m", "processing_units.joining.stream_relay"]
        words += [*options, *(f"{address}={at}:{port}" for address, port in ports.items())]
        try:
            self.connection.open()
        except SshError as error:
            raise QueueAwayError(str(error)) from error
        relay = Relay(
            self.connection.command(shlex.join(words)), dial_from({address: _goal(address) for address in ports})
        )
        relay.start()
        return relay

    def _address(self, settings: QueueSettings) -> str:
        """Return the address at which the relay listens: that which the host's own name stands for, unless set."""
        if not settings.relay_address and not self._named:
            code, said = self.run([settings.login_python, "-c", _OWN_ADDRESS])
            address = said.strip().rpartition("\n")[2]
            if code or address.startswith("127."):
                raise QueueAwayError(f"its own name stands {self.where} for {address[-100:] or 'nothing'}: {_MEND}")
            self._named = address
        return settings.relay_address or self._named

    def _ports(self) -> dict[str, int]:
        try:
            return {str(address): int(port) for address, port in json.loads(self._note.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            return {}

    # --------------------------------------------------------------------------------------------------------- worker

    def worker(self, settings: QueueSettings, directions: Directions, addresses: list[str]) -> tuple[str, list[str]]:
        """Run ``awworker``, which gets the code through the relay; what it installs is shared by the nodes."""
        root, road = self.root(settings, directions), self.road(settings, directions, addresses)
        words = [settings.python or "python3", str(root / "awworker"), road[directions.url]]
        words += ["--software", str(root / "software")]
        words += [word for pair in road.items() for word in ("--route", "=".join(pair))]
        return road[directions.url], words + (["--system-python"] if settings.system_python else [])

    def _bring_worker(self, root: Path) -> None:
        if root not in self._brought:
            self.write(root / "awworker", single_file())
            self._brought.add(root)

    def close(self) -> None:
        """End relay and connection."""
        with self._lock, contextlib.suppress(OSError):
            if self._relay is not None:
                self._relay.stop()
            self.connection.close()


def _leading_through(relay: Relay, host: str, addresses: list[str]) -> dict[str, str]:
    at = f"[{host}]" if ":" in host else host
    return {address: f"{urlsplit(address).scheme}://{at}:{relay.ports[address]}" for address in addresses}


def _goal(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or USUAL_PORTS[parts.scheme]
