"""``make try-lan``: hosts of a LAN, by ssh, with nothing but sshd to be reached and no shared installation.

Starts a portal and a unit of kind lan; two hosts in network namespaces, one named twice; tests them; reduces a night
through them while one host's cable is pulled for a while and the backend is killed and started anew; checks that every
job was committed once; leaves nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from processing_units.backend.ssh_connection import SSH_CONFIG
from tests.night.installation import SCRIPTS, TREE, Installation, observe
from tests.ways.folder import run_in_folder
from tests.ways.hosts import PORT, Host, Lan
from tests.ways.machines import lend_kernels, wait_for
from tests.ways.workers import USUAL, serving

UNIT = "lan"
_COMMITTED = re.compile(r"job (\d+)\.\d+ committed")


def main() -> int:
    """Run it in a folder of its own."""
    return run_in_folder("try-lan", lambda folder: try_lan(folder, observe(folder / "night", *USUAL)))


def settings_of(hosts: list[Host], **more: object) -> str:
    """Return the unit's settings: these hosts, each with its folder; they share this machine's Python."""
    named = [
        {
            "host": host.address, "user": "root", "port": PORT, "niceness": 5, "remote_path": str(host.home / "aw"),
            "python": sys.executable, "system_python": True, **more,
        }
        for host in hosts
    ]  # fmt: skip
    return json.dumps({"hosts": named})


class Backend:
    """``awbackend`` of the unit."""

    def __init__(self, installation: Installation, url: str, key_file: Path, lan: Lan, unit: str = UNIT) -> None:
        self.log = installation.home / "backend-lan.log"
        self._command = [str(SCRIPTS / "awbackend"), unit, "--url", url, "--key-file", str(key_file), "--kind", "lan"]
        self._command += ["--state", str(installation.home / "lan-state")]
        self._environment = {**installation.environment, SSH_CONFIG: str(lan.configuration)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        """Its log."""
        return self.log.read_text()

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log, cwd=TREE)

    def test(self) -> subprocess.CompletedProcess[str]:
        """Have it look at the hosts."""
        return subprocess.run(
            [*self._command, "--test"], env=self._environment, capture_output=True, text=True, check=False, cwd=TREE
        )

    def kill(self) -> None:
        """Kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it drain its cluster managers and end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(90)
            self._process = None


@contextmanager
def lan_of(folder: Path, *names: str) -> Iterator[Lan]:
    """Make hosts that are gone afterwards."""
    lan = Lan(folder)
    try:
        for name in names:
            lend_kernels(lan.add(name).home / "aw" / "software")
        yield lan
    finally:
        lan.close()


def try_lan(folder: Path, night: Path) -> str:
    """Reduce a night on two hosts; return the table."""
    began = time.monotonic()
    installation = Installation(folder / "portal")
    installation.start()
    try:
        with lan_of(folder / "lan", "dome", "barn") as lan:
            dome, barn = lan.hosts
            options = ["--kind", "lan", "--slots", "0", "--kind-settings", settings_of([dome, barn, barn])]
            with serving(installation, UNIT, installation.port + 3, *options) as (url, key_file):
                backend = Backend(installation, url, key_file, lan)
                wait_for(lambda: backend.test().returncode == 0, "hosts that are well", 60)
                try:
                    backend.start()
                    wait_for(lambda: "is brought up" in backend.said, "the first cluster manager", 60)
                    tested = installation.awrecipe("units", "test", UNIT)
                    _reduce(installation, night, backend, dome, barn)
                finally:
                    backend.stop()
                left = [line for host in lan.hosts for line in host.command_lines() if "awworker" in line]
                assert not left, f"left on a host: {left}"
            return f"{tested}\n{table_of(installation, lan.hosts, began)}"
    finally:
        installation.stop()


def _reduce(installation: Installation, night: Path, backend: Backend, dome: Host, barn: Host) -> None:
    with installation.running("night", str(night), "--unit", UNIT):
        wait_for(lambda: len(logs_of(dome, " up as ")) == 1, "a cluster manager on the first host", 120)
        wait_for(lambda: len(logs_of(barn, " up as ")) == 2, "two on the host that is named twice", 120)
        key = (installation.home / "secrets" / f"unit-{UNIT}").read_text().strip()
        shown = "\n".join([*dome.command_lines(), *barn.command_lines()])
        assert key not in shown
        wait_for(lambda: committed_on(dome), "jobs of the first host", 120)
        managers = managers_on(barn)
        backend.kill()
        dome.plug(into_the_net=False)
        backend.start()
        wait_for(lambda: backend.said.count("is still up") == 3, "the backend's knowing its cluster managers", 60)
        time.sleep(5)
        dome.plug(into_the_net=True)
    assert managers_on(barn) == managers, "the backend that was started anew replaced what was up"


def managers_on(host: Host) -> list[int]:
    return [
        number for number in host.processes()
        if "processing_units.cluster_manager" in Path(f"/proc/{number}/cmdline").read_text()
    ]  # fmt: skip


def logs_of(host: Host, word: str) -> list[str]:
    logs = (host.home / "aw" / "logs").glob("*.log")
    return [line for log in logs for line in log.read_text().splitlines() if word in line]


def committed_on(host: Host) -> list[int]:
    return [int(number) for number in _COMMITTED.findall("\n".join(logs_of(host, "committed")))]


def table_of(installation: Installation, hosts: list[Host], began: float) -> str:
    counted = Counter(number for host in hosts for number in committed_on(host))
    assert max(counted.values()) == 1, f"committed twice: {counted.most_common(3)}"
    products = [(product["run"], product["name"]) for product in installation.products() if product["run"]]
    assert products
    assert len(products) == len(set(products)), "a job has its products twice"
    lines = [f"{'host':8} {'address':16} {'jobs':>4}"]
    lines += [f"{host.name:8} {host.address:16} {len(committed_on(host)):4}" for host in hosts]
    lines.append(
        f"{len(counted)} jobs, each committed once; {len(products)} products; {time.monotonic() - began:.0f} s in all"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
