"""Hosts of a LAN on this machine: network namespaces with an address of their own, where nothing but sshd is reached.

They share the file system, so each has its folder; needs root, ``ip`` and sshd.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import IN_CI

PORT = 2222
_numbers = itertools.count()


def what_is_missing(*more: tuple[str, str]) -> str:
    """Return why no hosts can be made here, or ""; ``more`` are programs with their packages."""
    for program, package in ("ip", "iproute2"), ("sshd", "openssh-server"), ("ssh", "openssh-client"), *more:
        if shutil.which(program) is None:
            return f"there is no {program}: apt-get install {package}"
    return "network namespaces need root" if os.geteuid() else ""


def needs_hosts(*more: tuple[str, str]) -> None:
    """Skip with the reason where hosts cannot be made, or programs of ``more`` are not there; fail in CI."""
    reason = what_is_missing(*more)
    if reason and IN_CI:
        pytest.fail(f"in CI nothing may be missing, but {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


class Lan:
    """The hosts, and the ssh configuration by which we reach them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.configuration = folder / "ssh_config"
        self.known_hosts = folder / "known_hosts"
        self.user_key = folder / "user_key"
        self.hosts: list[Host] = []
        _make_key(self.user_key)
        self.configuration.write_text(
            f"Host *\n  IdentityFile {self.user_key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {self.known_hosts}\n"
            "  GlobalKnownHostsFile /dev/null\n  IdentityAgent none\n"
        )

    def add(self, name: str) -> Host:
        """Make a host and bring it up; we know its key, and it ours."""
        host = Host(self, name)
        self.hosts.append(host)
        host.start()
        key = (host.folder / "host_key.pub").read_text().rsplit(" ", 1)[0]
        with self.known_hosts.open("a") as known:
            known.write(f"[{host.address}]:{PORT} {key}\n")
        return host

    def close(self) -> None:
        """Take all of it down."""
        for host in self.hosts:
            host.close()


class Host:
    """A network namespace with an sshd inside."""

    def __init__(self, lan: Lan, name: str) -> None:
        number = next(_numbers)
        self.name = name
        self.folder = lan.folder / name
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        self.namespace = f"aw{os.getpid()}-{number}"
        self._link = f"aw{os.getpid() % 1000000}{number}"
        net = f"10.{100 + os.getpid() // 256 % 100}.{os.getpid() % 256}"
        self.ours, self.address = f"{net}.{4 * number + 1}", f"{net}.{4 * number + 2}"
        self._sshd: subprocess.Popen[bytes] | None = None
        _make_key(self.folder / "host_key")
        self.authorized_keys = self.folder / "authorized_keys"
        shutil.copy(lan.user_key.with_suffix(".pub"), self.authorized_keys)
        (self.folder / "sshd_config").write_text(
            f"Port {PORT}\nListenAddress {self.address}\nHostKey {self.folder / 'host_key'}\n"
            f"AuthorizedKeysFile {self.authorized_keys}\nPidFile none\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\n"
            "ClientAliveInterval 5\nClientAliveCountMax 2\n"
        )
        self.set_environment()
        ip("netns", "add", self.namespace)
        ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("addr", "add", f"{self.ours}/30", "dev", self._link)
        ip("link", "set", self._link, "up")
        ip("-n", self.namespace, "addr", "add", f"{self.address}/30", "dev", "eth0")
        ip("-n", self.namespace, "link", "set", "eth0", "up")
        ip("-n", self.namespace, "link", "set", "lo", "up")

    def start(self) -> None:
        """Start sshd."""
        Path("/run/sshd").mkdir(exist_ok=True)
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        with (self.folder / "sshd.log").open("ab") as log:
            self._sshd = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 20
        while not self.answers():
            assert time.monotonic() < until, (self.folder / "sshd.log").read_text()
            time.sleep(0.05)

    def set_environment(self, **variables: object) -> None:
        """Set variables of all that is started through sshd from its next start on; of several calls the last holds.

        Bash is told that it is not the first shell: start-up files of ours are no host's, and may take a second.
        """
        path = self.folder / "sshd_config"
        others = [line for line in path.read_text().splitlines() if not line.startswith("SetEnv ")]
        words = " ".join(f"{name}={value}" for name, value in {"SHLVL": 1, **variables}.items())
        path.write_text("\n".join([*others, f"SetEnv {words}"]) + "\n")

    def stop_sshd(self) -> None:
        """Stop sshd with all its connections; what was started through it goes on."""
        for number in self.processes():
            try:
                if Path(f"/proc/{number}/comm").read_text().startswith("sshd"):
                    os.kill(number, signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue
        if self._sshd is not None:
            self._sshd.wait()

    def restart_sshd(self) -> None:
        """Have sshd read its configuration."""
        self.stop_sshd()
        self.start()

    def answers(self) -> bool:
        """Whether sshd is there."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((self.address, PORT)) == 0

    def forbid_all_but_ssh(self) -> None:
        """Let no packet out but sshd's answers, and let sshd forward nothing."""
        with (self.folder / "sshd_config").open("a") as configuration:
            configuration.write("AllowTcpForwarding no\nSubsystem sftp internal-sftp\n")
        self.restart_sshd()
        rules = f"""
            table inet only_ssh {{
                chain out {{
                    type filter hook output priority 0; policy drop;
                    oifname "lo" accept
                    tcp sport {PORT} accept
                }}
            }}
        """
        subprocess.run(
            ["ip", "netns", "exec", self.namespace, "nft", "-f", "-"],
            input=rules.encode(),
            check=True,
            capture_output=True,
        )

    def plug(self, *, into_the_net: bool) -> None:
        """Pull the cable, or plug it in again."""
        ip("link", "set", self._link, "up" if into_the_net else "down")

    @contextlib.contextmanager
    def slow_link(self, rate: str) -> Iterator[None]:
        """Let no more than ``rate`` (as ``8mbit``) through the cable, either way."""
        ends = [["tc"], ["tc", "-n", self.namespace]], [self._link, "eth0"]
        for tc, device in zip(*ends, strict=True):
            limit = ["rate", rate, "burst", "64k", "latency", "1s"]
            subprocess.run([*tc, "qdisc", "add", "dev", device, "root", "tbf", *limit], check=True)
        try:
            yield
        finally:
            for tc, device in zip(*ends, strict=True):
                subprocess.run([*tc, "qdisc", "del", "dev", device, "root"], check=True)

    def processes(self) -> list[int]:
        """Numbers of all processes on this host."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True)
        return [int(word) for word in listed.stdout.split()]

    def command_lines(self) -> list[str]:
        """What any user of the host sees of its processes."""
        found = []
        for number in self.processes():
            try:
                found.append(Path(f"/proc/{number}/cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
        return found

    def close(self) -> None:
        """Switch it off."""
        switch_off(self.namespace)
        if self._sshd is not None:
            self._sshd.wait()


def switch_off(namespace: str) -> None:
    """Kill all that runs in a network namespace, and remove it."""
    listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True)
    for number in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGKILL)
    ip("netns", "del", namespace)


def quoted(text: str) -> str:
    """Quote a word for a host's shell."""
    return shlex.quote(text)


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, capture_output=True)


def ip(*words: str) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *words], check=True, capture_output=True)
