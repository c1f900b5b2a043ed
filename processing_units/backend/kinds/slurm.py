"""Cluster managers as jobs of Slurm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from processing_units.backend.kind import DRAINED
from processing_units.backend.psij_queue import PsijQueue
from processing_units.backend.queue_host import QueueAwayError
from processing_units.backend.queueing import BatchQueue, Phase, Seen

# Compact state: what it means of a job that has ended. https://slurm.schedmd.com/squeue.html, job state codes
ENDS = {
    "CD": DRAINED,
    "F": "failed",
    "CA": "was cancelled in the queue (scancel)",
    "PR": "was pre-empted by the queue",
    "TO": "was ended by the queue: its walltime was over",
    "NF": "lost its node: the node failed",
    "BF": "lost its node: the node did not boot",
    "OOM": "ran out of memory: raise memory_mib, or take fewer slots",
    "DL": "was ended by the queue: it could not have ended before its deadline",
    "RV": "was revoked by the queue",
}
_LONG_NAMES = {
    "COMPLETED": "CD",
    "FAILED": "F",
    "CANCELLED": "CA",
    "PREEMPTED": "PR",
    "TIMEOUT": "TO",
    "NODE_FAIL": "NF",
    "BOOT_FAIL": "BF",
    "OUT_OF_MEMORY": "OOM",
    "DEADLINE": "DL",
    "REVOKED": "RV",
}
# Reasons for which a job does not start before somebody does something, and what that is.
HOLDS = {
    "JobHeldUser": "held by its user: scontrol release JOB",
    "JobHeldAdmin": "held by an administrator of the cluster",
    "JobHoldMaxRequeue": "held by the queue: it was requeued too often",
    "BadConstraints": "no node can ever meet what it asks for",
    "PartitionTimeLimit": "its walltime is longer than the partition allows",
    "PartitionNodeLimit": "the partition has not the nodes that it asks for",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "QOSTimeLimit": "its walltime is longer than its QOS allows",
    "AssociationTimeLimit": "its walltime is longer than its account allows",
    "AssocMaxWallDurationPerJobLimit": "its walltime is longer than its account allows",
    "QOSMaxWallDurationPerJobLimit": "its walltime is longer than its QOS allows",
}
WAITS = {
    "None": "not yet looked at by the scheduler",
    "Resources": "waits for free nodes",
    "Priority": "other queue jobs go before it",
    "BeginTime": "its time to start has not come",
    "ReqNodeNotAvail": "the nodes that it needs are not available",
    "PartitionDown": "the partition is down",
    "PartitionInactive": "the partition is inactive",
    "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions": "its nodes are down "
    "or reserved",
}
_WAITING = {"PD", "CF", "RQ", "RD", "RF", "SE", "SI"}
_HELD_STATES = {"RH", "RD"}


class Slurm(BatchQueue):
    """Asks ``squeue``, and of a job that it no longer shows ``sacct``."""

    name: ClassVar[str] = "slurm"
    executor: ClassVar[str] = "slurm"
    # No job is requeued: its key was presented, and the backend submits another.
    submitting: ClassVar[Mapping[str, str]] = {"SBATCH_NO_REQUEUE": "1"}

    def look(self, queue: PsijQueue, handles: list[str]) -> Mapping[str, Seen]:
        """Ask for all jobs of this user in one go: ``squeue --jobs`` fails on a number that it does not know."""
        code, said = queue.host.run(["squeue", "--noheader", "--me", "--states=all", "--format=%i|%t|%r|%N|%S"])
        if code:
            raise QueueAwayError(f"squeue does not answer: {' '.join(said.split())[:200]}")
        wanted, seen = set(handles), {}
        for line in said.splitlines():
            number, state, reason, nodes, start = (line.split("|") + [""] * 5)[:5]
            if number in wanted:
                seen[number] = _seen(state, reason, nodes, start)
        return {**self._of_accounting(queue, [number for number in handles if number not in seen]), **seen}

    @staticmethod
    def _of_accounting(queue: PsijQueue, numbers: list[str]) -> dict[str, Seen]:
        """Ask the accounting, which most clusters have, for jobs that the controller has forgotten."""
        if not numbers:
            return {}
        try:
            code, said = queue.host.run(
                ["sacct", "--noheader", "--parsable2", "-X", "--format=JobIDRaw,State", "--jobs", ",".join(numbers)]
            )
        except QueueAwayError:
            return {}
        rows = [line.split("|") for line in said.splitlines() if line.count("|") == 1] if code == 0 else []
        ends = {number: _LONG_NAMES.get(state.split(" ")[0], "") for number, state in rows if state}
        return {number: Seen(Phase.ENDED, ENDS[state]) for number, state in ends.items() if state and number in numbers}


def _seen(state: str, reason: str, nodes: str, start: str) -> Seen:
    if state in ENDS:
        return Seen(Phase.ENDED, ENDS[state], nodes)
    if state in _HELD_STATES or reason in HOLDS or "held" in reason.lower():
        return Seen(Phase.HELD, f"{HOLDS.get(reason, 'held by the queue')} ({reason})")
    if state in _WAITING:
        words = WAITS.get(reason, "")
        text = f"{words} ({reason})" if words else reason
        return Seen(Phase.QUEUED, text + (f", expected to start at {start}" if start.startswith("2") else ""))
    return Seen(Phase.RUNNING, "is suspended" if state == "S" else "", nodes)


KIND = Slurm
