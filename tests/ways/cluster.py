"""A cluster on this machine: a login host of which nothing but sshd is reached, and compute nodes that reach only it.

Two network namespaces; the compute nodes share one. What would lead out is dropped, not only without a route.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.slurm import Network, Slurm
from tests.ways.hosts import PORT, Host, Lan, ip, switch_off

PROGRAMS = (("iptables", "iptables"), ("nsenter", "util-linux"))
_ANSWERS = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


class Cluster:
    """Login host, compute nodes and their Slurm."""

    def __init__(self, folder: Path) -> None:
        self.lan = Lan(folder)
        self.login: Host = self.lan.add("login")
        self._nodes = f"{self.login.namespace}-nodes"
        # The login host's other address, towards the nodes, and theirs.
        first, last = self.login.address.rsplit(".", 1)
        second = 128 + 4 * (int(last) // 4)
        self.address, nodes_address = f"{first}.{second + 1}", f"{first}.{second + 2}"
        self._join(nodes_address)
        self._block(nodes_address)
        self.slurm = Slurm(
            network=Network(self.address, nodes_address, inside(self.login.namespace), inside(self._nodes))
        )

    def start(self) -> None:
        """Start Slurm; whoever logs in finds its commands."""
        with (self.login.folder / "sshd_config").open("a") as configuration:
            configuration.write("AllowTcpForwarding no\n")
        self.login.set_environment(SLURM_CONF=self.slurm.configuration)
        self.login.restart_sshd()
        self.slurm.start()

    def close(self) -> None:
        """Take all of it down."""
        self.slurm.stop()
        switch_off(self._nodes)
        self.lan.close()

    def what_reaches_out(self) -> list[str]:
        """Return which of login host and nodes reach a server of this machine's; and see that we do."""
        with socket.create_server((self.login.ours, 0)) as server:
            port = str(server.getsockname()[1])
            assert not subprocess.run([sys.executable, "-c", _ANSWERS, self.login.ours, port], check=False).returncode
            return [
                name
                for name, namespace in (("login host", self.login.namespace), ("nodes", self._nodes))
                if not subprocess.run(
                    [*inside(namespace), sys.executable, "-c", _ANSWERS, self.login.ours, port],
                    check=False, capture_output=True,
                ).returncode
            ]  # fmt: skip

    def _join(self, nodes_address: str) -> None:
        """Lay a cable between login host and nodes; the nodes would send all that leads out to the login host."""
        login, nodes = self.login.namespace, self._nodes
        ip("netns", "add", nodes)
        ip("-n", login, "link", "add", "cluster", "type", "veth", "peer", "name", "eth0", "netns", nodes)
        ip("-n", login, "addr", "add", f"{self.address}/30", "dev", "cluster")
        ip("-n", login, "link", "set", "cluster", "up")
        ip("-n", nodes, "addr", "add", f"{nodes_address}/30", "dev", "eth0")
        ip("-n", nodes, "link", "set", "eth0", "up")
        ip("-n", nodes, "link", "set", "lo", "up")
        ip("-n", nodes, "route", "add", "default", "via", self.address)

    def _block(self, nodes_address: str) -> None:
        """Drop all between us and the login host but ssh to it, and what the nodes send anywhere but to that host."""
        drop = ["-m", "conntrack", "!", "--ctstate", "ESTABLISHED", "-j", "DROP"]
        for namespace, rule in (
            (self.login.namespace, ["INPUT", "-i", "eth0", "-p", "tcp", "!", "--dport", str(PORT), "-j", "DROP"]),
            (self.login.namespace, ["OUTPUT", "-o", "eth0", *drop]),
            (self.login.namespace, ["FORWARD", "-j", "DROP"]),
            (self._nodes, ["OUTPUT", "-o", "eth0", "!", "-d", self.address, "-j", "DROP"]),
        ):
            subprocess.run([*inside(namespace), "iptables", "-w", "-A", *rule], check=True, capture_output=True)


def inside(namespace: str) -> tuple[str, ...]:
    """Return the words that run a command there; not ``ip netns exec``, which hides the control groups from slurmd."""
    return ("nsenter", f"--net=/run/netns/{namespace}", "--")


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Make a cluster that is gone afterwards."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
