"""Nodes on the other side of a network that can be divided: namespaces with an address of their own, and iptables."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess

# What is lost of what passes between the node and the portal's machine; rejected: each gets a reset for an answer.
PARTITIONS = ("node to portal dropped", "portal to node dropped", "both dropped", "both rejected")
_numbers = itertools.count()


def why_not() -> str:
    """Say why no islands can be made here, or ""."""
    if os.geteuid():
        return "network namespaces need root"
    missing = [program for program in ("ip", "iptables") if shutil.which(program) is None]
    return f"there is no {' and no '.join(missing)}: apt-get install iproute2 iptables" if missing else ""


class Island:
    """A network namespace for one node."""

    def __init__(self, name: str) -> None:
        number = next(_numbers)
        self.name = name
        self.namespace = f"awisland{os.getpid()}-{number}"
        self._link = f"awi{os.getpid() % 1000000}{number}"
        net = f"10.{200 + os.getpid() // 256 % 50}.{os.getpid() % 256}"
        self.ours, self.address = f"{net}.{4 * number + 1}", f"{net}.{4 * number + 2}"
        _run("ip", "netns", "add", self.namespace)
        _run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _run("ip", "addr", "add", f"{self.ours}/30", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")
        self._inside("ip", "addr", "add", f"{self.address}/30", "dev", "eth0")
        for device in ("eth0", "lo"):
            self._inside("ip", "link", "set", device, "up")

    @property
    def prefix(self) -> list[str]:
        """Words before a command that is to run here."""
        return ["ip", "netns", "exec", self.namespace]

    def divide(self, partition: str) -> None:
        """Begin a partition."""
        self._rules("-I", partition)

    def join(self, partition: str) -> None:
        """End it."""
        self._rules("-D", partition)

    def _rules(self, change: str, partition: str) -> None:
        target = ["REJECT", "--reject-with", "tcp-reset"] if partition.endswith("rejected") else ["DROP"]
        if not partition.startswith("node"):
            self._inside("iptables", "-w", change, "INPUT", "-i", "eth0", "-p", "tcp", "-j", *target)
        if not partition.startswith("portal"):
            _run("iptables", "-w", change, "INPUT", "-i", self._link, "-p", "tcp", "-j", *target)

    def remove(self) -> None:
        """Take it down."""
        _run("ip", "netns", "del", self.namespace)

    def _inside(self, *words: str) -> None:
        _run(*self.prefix, *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
