"""One connection to a host through the OpenSSH client, shared by all that is done there, with the tunnels in it.

The client's own master process keeps the connection (ControlMaster), so it outlives a backend that is started anew, and
keys, known hosts and jump hosts are those of the user's ``~/.ssh/config``. Nothing is ever asked for: a host that needs
a password is refused with the commands that set a key up.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

CONNECT_SECONDS = 5
COMMAND_SECONDS = 20.0
SSH_CONFIG = "AWBACKEND_SSH_CONFIG"
_CONNECTION_FAILED = 255
USUAL_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}
# A host that vanished is noticed after 15 s.
_OPTIONS = (
    "BatchMode=yes",
    f"ConnectTimeout={CONNECT_SECONDS}",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "ExitOnForwardFailure=yes",
    "LogLevel=ERROR",
)


class SshError(Exception):
    """What is in the way between us and a host, and how to mend it."""


@dataclass(frozen=True)
class Target:
    """Where to: ``user@host:port``; an empty user and port 0 leave it to the user's ssh configuration."""

    host: str
    user: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"

    @classmethod
    def read(cls, text: str) -> Target:
        """Read what ``str`` wrote; raises `ValueError`."""
        user, _, place = text.partition("@")
        host, _, port = place.rpartition(":")
        return cls(host, user, int(port))

    @property
    def words(self) -> list[str]:
        """Arguments for the ssh client."""
        port = ["-p", str(self.port)] if self.port else []
        return [*port, "--", f"{self.user}@{self.host}" if self.user else self.host]

    @property
    def sftp_words(self) -> list[str]:
        """Arguments for the sftp client."""
        port = ["-P", str(self.port)] if self.port else []
        host = f"[{self.host}]" if ":" in self.host else self.host
        return [*port, "--", f"{self.user}@{host}" if self.user else host]

    @property
    def for_people(self) -> str:
        """As one would type it behind ``ssh``."""
        port = f"-p {self.port} " if self.port else ""
        return port + (f"{self.user}@{self.host}" if self.user else self.host)


class SshConnection:
    """The connection to one host; ``folder`` holds its control socket and what it forwards."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        name = hashlib.sha256(str(target).encode()).hexdigest()[:12]
        self._control = folder / name
        self._noted = folder / f"{name}.json"
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect, unless the connection stands; bring back the tunnels that it had. Raises `SshError`."""
        with self._lock:  # of two masters one would stay outside
            self._open()

    def _open(self) -> None:
        if self._control_command("check").returncode == 0:
            return
        self._control.unlink(missing_ok=True)
        with tempfile.TemporaryFile() as said:
            try:
                code = subprocess.run(
                    [*self._client(), "-M", "-N", "-f", *self.target.words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,  # no pipe: what goes to the background might keep it open
                    start_new_session=True,
                    check=False,
                    timeout=COMMAND_SECONDS,
                ).returncode
            except subprocess.TimeoutExpired:
                raise SshError(f"{self.target.host} does not answer") from None
            except OSError as error:
                raise SshError(f"there is no ssh client ({error}): apt-get install openssh-client") from error
            said.seek(0)
            if code:
                raise SshError(explain(said.read().decode(errors="replace"), self.target))
        ports, before = {}, self._ports()
        for address, port in before.items():
            with contextlib.suppress(SshError):  # the port is still held: cluster managers behind it are lost
                ports[address] = self._forward(address, port)
        self._note(ports)

    def reach(self, address: str) -> str:
        """Return where the host reaches what we reach at ``scheme://host:port``."""
        with self._lock:
            ports = self._ports()
            if address not in ports:
                ports[address] = self._forward(address, 0)
                self._note(ports)
        return f"{urlsplit(address).scheme}://127.0.0.1:{ports[address]}"

    def run(self, command: str, given: bytes = b"", seconds: float = COMMAND_SECONDS) -> str:
        """Run a shell's command line on the host; ``given`` is its standard input.

        Raises
        ------
        SshError
            The host is away, or the command failed there; says what it said.
        """
        code, out, error = self.ask(command, given, seconds)
        if code:
            last = error.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {code}"]
            raise SshError(f"on {self.target.host}: {last[0][:300]}")
        return out.decode(errors="replace")

    def ask(self, command: str, given: bytes, seconds: float = COMMAND_SECONDS) -> tuple[int, bytes, bytes]:
        """Run a command line, and return its exit code, standard output and error; raises `SshError` as `run` does."""
        try:
            ended = subprocess.run(
                self.command(command),
                input=given,
                capture_output=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise SshError(f"{self.target.host} did not answer within {seconds:.0f} s") from None
        if ended.returncode == _CONNECTION_FAILED:
            raise SshError(explain(ended.stderr.decode(errors="replace"), self.target))
        return ended.returncode, ended.stdout, ended.stderr

    def command(self, line: str) -> list[str]:
        """Return the words that run a shell's command line on the host through the connection."""
        return [*self._client(), *self.target.words, line]

    def session(self, command: str) -> list[str]:
        """Return the words that start a shell's command line on the host, with its input and output for our own."""
        return [*self._client(), *self.target.words, command]

    def sftp(self, command: str, most_bytes: int, seconds: float, server: str = "") -> None:
        """Do one thing by sftp (``put`` or ``get``); no file that it writes here grows above `most_bytes`.

        ``server`` is a command that serves sftp on the host, in place of the subsystem of its sshd.
        """
        blocks = most_bytes // 512 + 1
        words = ["sftp", "-q", "-b", "-", *_options(), "-o", f"ControlPath={self._control}"]
        words += ["-s", server] if server else []
        words += self.target.sftp_words
        try:
            result = subprocess.run(
                ["sh", "-c", 'ulimit -f "$0" && exec "$@"', str(blocks), *words],
                input=command.encode() + b"\n",
                capture_output=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            raise SshError(f"sftp with {self.target.host} took longer than {seconds:.0f} s") from None
        if result.returncode:
            said = result.stderr.decode(errors="replace")
            if "subsystem request failed" in said or (server and "Connection closed" in said):
                raise SshError(
                    f"{self.target.host} serves no sftp: let its sshd_config say `Subsystem sftp internal-sftp`"
                    + (", and install openssh-sftp-server" if server else "")
                )
            last = said.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
            raise SshError(f"sftp with {self.target.host}: {last[0][:300]}")

    def hang_up(self) -> None:
        """End the connection; its tunnels come back with the next one."""
        self._control_command("exit")

    def close(self) -> None:
        """End the connection and its tunnels for good."""
        self.hang_up()
        self._noted.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are connected still
            self._noted.parent.rmdir()

    def _forward(self, address: str, port: int) -> int:
        parts = urlsplit(address)
        goal = f"{parts.hostname}:{parts.port or USUAL_PORTS[parts.scheme]}"
        result = self._control_command("forward", "-R", f"127.0.0.1:{port}:{goal}")
        found = re.search(r"\d+", result.stdout)
        if result.returncode or (not port and not found):
            raise SshError(
                f"{self.target.host} allows no tunnel back to {goal}; let its sshd_config say "
                f"`AllowTcpForwarding yes` for this user, or set through=session for it ({result.stderr.strip()[:200]})"
            )
        return port or int(found[0]) if found else port

    def _control_command(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self._client(), "-O", command, *more, *self.target.words],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=COMMAND_SECONDS,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            return subprocess.CompletedProcess([], 1, "", str(error))

    def _client(self) -> list[str]:
        return ["ssh", *_options(), "-S", str(self._control)]

    def _ports(self) -> dict[str, int]:
        try:
            return {str(address): int(port) for address, port in json.loads(self._noted.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _note(self, ports: dict[str, int]) -> None:
        partial = self._noted.with_suffix(".part")
        partial.write_text(json.dumps(ports))
        partial.replace(self._noted)


def _options() -> list[str]:
    """Return the options that the ssh client and the sftp client share."""
    configuration = os.environ.get(SSH_CONFIG)
    options = [word for option in _OPTIONS for word in ("-o", option)]
    return [*(["-F", configuration] if configuration else []), *options]


def control_folder(state: Path, unit: str) -> Path:
    """Return the folder of the control sockets of a unit: the same each time, ours alone, and its path short enough."""
    folder = state / "ssh" / unit
    if len(str(folder)) > 60:  # a socket's path may have 107 bytes, of which the client takes some
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        folder = Path(tempfile.gettempdir()) / f"awportal-{os.getuid()}-{name}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
        raise SshError(f"{folder} is not ours alone; remove it")
    return folder


def explain(said: str, target: Target) -> str:
    """Say in words what the ssh client could not do, and the commands that mend it."""
    host, typed = target.host, target.for_people
    if "IDENTIFICATION HAS CHANGED" in said:
        return (
            f"{host} shows another host key than the known one: ask who runs it; if it was installed anew, "
            f"`ssh-keygen -R {host}` and then `ssh {typed}` once"
        )
    if "Host key verification failed" in said or "key is known for" in said:
        return f"the host key of {host} is not known yet: `ssh {typed}` once, compare the fingerprint, and say yes"
    if "Permission denied" in said or "Too many authentication failures" in said:
        return (
            f"{host} lets us in with no key: make one with `ssh-keygen -t ed25519` unless you have one, bring it there "
            f"with `ssh-copy-id {typed}`, and see that `ssh -o BatchMode=yes {typed} true` says nothing"
        )
    last = said.strip().splitlines()[-1:] or ["the connection broke"]
    return f"{host} is not reached: {last[0][:300]}"
