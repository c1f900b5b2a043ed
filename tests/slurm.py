"""A real Slurm on this machine for tests: munged, slurmctld and so many slurmd, in a directory of their own.

Runs as whoever runs the tests, without systemd and cgroups. All nodes are this machine, at ports of their own; a
`Network` puts controller and nodes into network namespaces.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = (("slurmctld", "slurm-wlm"), ("slurmd", "slurm-wlm"), ("munged", "munge"))
START_SECONDS = 30.0

# KillWait is what a job has between SIGTERM and SIGKILL. MinJobAge is how long the controller remembers what has ended.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}({controller_address})
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
SlurmctldPort={port}
SlurmctldPidFile={directory}/slurmctld.pid
SlurmctldLogFile={directory}/slurmctld.log
StateSaveLocation={directory}/state
SlurmdPidFile={directory}/slurmd.%n.pid
SlurmdSpoolDir={directory}/spool.%n
SlurmdLogFile={directory}/slurmd.%n.log
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
MessageTimeout=2
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
MailProg=/bin/true
ReturnToService=2
KillWait=4
MinJobAge={remembered}
SlurmctldTimeout=30
SlurmdTimeout=30
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=debug Nodes=node[1-{count}] Default=YES MaxTime=1:00:00 State=UP
PartitionName=urgent Nodes=node[1-{count}] PriorityTier=10 MaxTime=1:00:00 State=UP
"""


@dataclass(frozen=True)
class Network:
    """Where controller and nodes are: addresses, and the words before a command that runs there."""

    controller_address: str = "127.0.0.1"
    nodes_address: str = "127.0.0.1"
    at_controller: tuple[str, ...] = ()
    at_nodes: tuple[str, ...] = ()


class Slurm:
    """The cluster; its commands find it by ``SLURM_CONF`` in the environment."""

    def __init__(
        self, nodes: int = 2, cores: int = 2, remembered_seconds: int = 300, network: Network = Network()
    ) -> None:
        self._network = network
        self.directory = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.node_names = [f"node{number}" for number in range(1, nodes + 1)]
        ports = _free_ports(nodes + 1)
        lines = [
            f"NodeName={name} NodeHostname={socket.gethostname()} NodeAddr={network.nodes_address} Port={port} "
            f"CPUs={cores} RealMemory=4000 State=UNKNOWN"
            for name, port in zip(self.node_names, ports[1:], strict=True)
        ]
        self.configuration = self.directory / "slurm.conf"
        self.configuration.write_text(
            CONFIGURATION.format(
                directory=self.directory,
                host=socket.gethostname(),
                controller_address=network.controller_address,
                user=pwd.getpwuid(os.getuid()).pw_name,
                port=ports[0],
                nodes="\n".join(lines),
                count=nodes,
                remembered=remembered_seconds,
            )
        )
        self._last_seen = 0
        self.environment = {"SLURM_CONF": str(self.configuration)}

    def start(self) -> None:
        """Start all of it and wait until the nodes are idle."""
        key = self.directory / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        self._run(
            "munged",
            "--force",
            f"--socket={self.directory}/munge.socket",
            f"--key-file={key}",
            f"--pid-file={self.directory}/munged.pid",
            f"--log-file={self.directory}/munged.log",
            f"--seed-file={self.directory}/munge.seed",
        )
        self.start_controller()
        for name in self.node_names:
            self.start_node(name)
        self._until(lambda: self.run("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * (2 * len(self.node_names)))

    def start_controller(self, *arguments: str) -> None:
        """Start slurmctld; ``-c`` forgets all jobs."""
        self._run(*self._network.at_controller, "slurmctld", "-f", str(self.configuration), *arguments)

    def stop_controller(self) -> None:
        """Stop slurmctld."""
        self._end("slurmctld")

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node."""
        (self.directory / f"spool.{name}").mkdir(exist_ok=True)
        self._run(*self._network.at_nodes, "slurmd", "-f", str(self.configuration), "-N", name)

    def kill_node(self, name: str) -> None:
        """Kill the slurmd of a node, as a node that crashes does; its jobs' processes go on."""
        self._end(f"slurmd.{name}", signal.SIGKILL)

    def run(self, *command: str) -> str:
        """Run a command of Slurm's; return what it prints."""
        return self._run(*self._network.at_controller, *command)

    def jobs(self, states: str = "all") -> list[list[str]]:
        """Return number, state, reason and node of the jobs since `cancel_all`."""
        said = self.run("squeue", "-h", f"--states={states}", "-o", "%i|%T|%r|%N", "--sort=i")
        return [row for row in (line.split("|") for line in said.splitlines()) if int(row[0]) > self._last_seen]

    def drain_nodes(self) -> None:
        """Let no job start."""
        for name in self.node_names:
            self.run("scontrol", "update", f"nodename={name}", "state=drain", "reason=test")

    def resume_nodes(self) -> None:
        """Let jobs start again."""
        for name in self.node_names:
            with contextlib.suppress(subprocess.SubprocessError):  # it was neither drained nor down
                self.run("scontrol", "update", f"nodename={name}", "state=resume")

    def cancel_all(self) -> None:
        """Cancel all jobs and wait until they are gone; forget those that have ended."""
        numbers = [number for number, *_ in self.jobs("pending,running")]
        if numbers:
            self.run("scancel", *numbers)
        self._until(lambda: not self.jobs("pending,running,completing"), 15.0)
        self._last_seen = max((int(number) for number, *_ in self.jobs()), default=self._last_seen)

    def stop(self) -> None:
        """Cancel all jobs, stop all of it, remove the directory."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.cancel_all()
        for name in [*(f"slurmd.{name}" for name in self.node_names), "slurmctld", "munged"]:
            self._end(name, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, *command: str) -> str:
        environment = {**os.environ, **self.environment}
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
        )
        if ended.returncode:
            raise subprocess.SubprocessError(f"{' '.join(command)}: {ended.stdout}{ended.stderr}")
        return ended.stdout

    def _end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        try:
            process = int((self.directory / f"{name}.pid").read_text())
            os.kill(process, number)
        except (OSError, ValueError):
            return
        until = time.monotonic() + 10.0
        while time.monotonic() < until and _lives(process):
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)

    @staticmethod
    def _until(condition: object, seconds: float = START_SECONDS) -> None:
        assert callable(condition)
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise subprocess.SubprocessError(f"Slurm is not there within {seconds:.0f} s")
            time.sleep(0.1)


def _lives(number: int) -> bool:
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
