"""``make try-noshare``: processing machines that share no folder with anybody and may not call out.

Two hosts in network namespaces let nothing out but the answers of their sshd, which forwards nothing and takes sftp.
They are registered by `awrecipe units machines`; a night is reduced on them while the backend is killed and started
anew; every job is committed once; one machine is taken off and its data folder is cleaned; leaves nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.night.installation import Installation, observe
from tests.ways.folder import run_in_folder
from tests.ways.hosts import PORT, Host
from tests.ways.lan import Backend, committed_on, lan_of, logs_of, table_of
from tests.ways.machines import wait_for
from tests.ways.workers import USUAL, serving

UNIT = "noshare"


def main() -> int:
    """Run it in a folder of its own."""
    return run_in_folder("try-noshare", lambda folder: try_noshare(folder, observe(folder / "night", *USUAL)))


def try_noshare(folder: Path, night: Path) -> str:
    """Reduce a night on two machines; return the table."""
    began = time.monotonic()
    installation = Installation(folder / "portal")
    installation.start()
    try:
        with lan_of(folder / "lan", "dome", "barn") as lan:
            for host in lan.hosts:
                host.forbid_all_but_ssh()
                _assert_no_way_out(host, installation.port)
            with serving(installation, UNIT, installation.port + 3, "--kind", "lan", "--slots", "0") as (url, key_file):
                backend = Backend(installation, url, key_file, lan, UNIT)
                try:
                    backend.start()
                    for host in lan.hosts:
                        _register(installation, host)
                    wait_for(lambda: backend.said.count("is brought up") >= 2, "two cluster managers", 120)
                    wait_for(lambda: backend.test().returncode == 0, "hosts that are well", 120)
                    tested = installation.awrecipe("units", "test", UNIT)
                    _reduce(installation, night, backend, lan.hosts)
                    _take_off(installation, backend, lan.hosts[-1])
                finally:
                    backend.stop()
                left = [line for host in lan.hosts for line in host.command_lines() if "awworker" in line]
                assert not left, f"left on a host: {left}"
            return f"{tested}\n{table_of(installation, lan.hosts, began)}"
    finally:
        installation.stop()


def _assert_no_way_out(host: Host, port: int) -> None:
    """See that the host reaches nothing of ours: neither the portal nor its own side of the cable."""
    ask = f"import socket; socket.create_connection(('{host.ours}', {port}), 1)"
    tried = subprocess.run(
        ["ip", "netns", "exec", host.namespace, sys.executable, "-c", ask], capture_output=True, text=True, check=False
    )
    assert "timed out" in tried.stderr, tried


def _register(installation: Installation, host: Host) -> None:
    installation.awrecipe(
        "units", "machines", UNIT, host.name, f"host={host.address}", "user=root", f"port={PORT}", "niceness=5",
        f"remote_path={host.home / 'aw'}", f"python={sys.executable}", "system_python=yes", "through=session",
    )  # fmt: skip


def _take_off(installation: Installation, backend: Backend, host: Host) -> None:
    """Take a machine off: its cluster manager leaves, and of its data folder what we kept there."""
    kept = [host.home / "aw" / name for name in ("node-cache", "scratch")]
    assert any(folder.exists() for folder in kept), "there is nothing to be cleaned"
    installation.awrecipe("units", "machines", UNIT, host.name, "--remove")
    wait_for(lambda: f"the data folder of {host.name} is cleaned" in backend.said, "the cleaning of its folder", 120)
    assert not any(folder.exists() for folder in kept)
    assert not [line for line in host.command_lines() if "awworker" in line]


def _reduce(installation: Installation, night: Path, backend: Backend, hosts: list[Host]) -> None:
    with installation.running("night", str(night), "--unit", UNIT):
        wait_for(lambda: all(logs_of(host, " up as ") for host in hosts), "a cluster manager on each host", 120)
        wait_for(lambda: committed_on(hosts[0]), "jobs of the first host", 120)
        backend.kill()
        backend.start()
        wait_for(lambda: backend.said.count("is still up") == 2, "the backend's knowing its cluster managers", 60)


if __name__ == "__main__":
    sys.exit(main())
