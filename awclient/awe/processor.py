"""``dpu``: recipes on the processing units, called as Astro-WISE's Distributed Processing Unit is."""

from __future__ import annotations

from typing import Any

from awclient.awe.context import SessionContext
from awclient.awe.frames import Frame, frames_of
from awclient.awe.options import options_of, sequence, submission_of
from awclient.client import Portal
from awclient.errors import UsageProblem
from awclient.following import LogFollower, describe, follow_chain, whole_log
from awclient.submitting import PendingSubmission
from awclient.terminal import out_table, say
from processing_units.contract import RunStatus
from processing_units.wording import counted

_OPEN = {"waiting", "queued", "running"}


class Processor:
    """What ``dpu`` is at the prompt. A job identifier is the number of a run, or of the first run of a chain."""

    def __init__(self, portal: Portal, context: SessionContext) -> None:
        self._portal = portal
        self._context = context
        self._unit = ""
        self._jobids: list[int] = []

    def __repr__(self) -> str:
        return f"<processing unit: {self._unit or 'chosen by the portal'}; {counted(len(self._jobids), 'run')} so far>"

    # ------------------------------------------------------------------------------------------------------ submitting

    def run(self, identifier: str, **options: Any) -> int:
        """Run a recipe or a chain, ``dpu.run('Reduce', i='WFI', d='2000-04-28', f='#842', c='ccd50', C=1)``.

        Parameters
        ----------
        identifier : str
            ``Reduce``, or ``Reduce>Science>Coadd``.
        **options : object
            What `show_sequence_options` lists.

        Returns
        -------
        int
            The job identifier. The call returns at once; cut off by a network that went away and called again with
            the same options it is the same run.

        Raises
        ------
        ClientError
            An option, a value or a frame cannot be; or the portal is away, or refuses.
        """
        submission = submission_of(self._portal, self._context, identifier, options, self._unit)
        pending = PendingSubmission(self._portal, submission)
        status = pending.send()
        pending.settle()
        jobs = counted(sum(status.counts.values()), "job")
        say(f"run {status.id}: {status.recipe}, {jobs} on unit {status.unit} ({status.unit_reason})")
        self._jobids.append(status.id)
        return status.id

    # -------------------------------------------------------------------------------------------------------- watching

    def get_jobids(self, *, everything: bool = False) -> list[int]:
        """Return the job identifiers of this session, or of the newest 500 runs of all sessions, oldest first."""
        if everything:
            return sorted(run["id"] for run in self._portal.runs(limit=500))
        return list(self._jobids)

    def get_status(self, jobid: int | None = None) -> str | dict[int, str]:
        """Return queued, running, done, failed or cancelled (of a chain: as a whole); None: all of this session."""
        if jobid is not None:
            return _state(self._portal.run(jobid))
        return {each: _state(self._portal.run(each)) for each in self._jobids}

    def show_status(self, jobid: int | None = None) -> None:
        """Print how a run stands with its jobs, or how each of this session stands."""
        if jobid is None:
            found = [self._portal.run(each) for each in self._jobids]
            out_table(
                ("run", "recipe", "unit", "state"),
                [(each.id, each.recipe, each.unit, describe(each)) for each in found],
            )
            return
        for status in self._runs(jobid):
            say(f"run {status.id} {status.recipe} on {status.unit}: {describe(status)}")
            rows = [(job.number, job.label, job.state, job.node, job.reason) for job in status.jobs]
            out_table(("job", "label", "state", "node", "reason"), rows)

    def wait(self, jobid: int | None = None, timeout: float | None = None) -> str | dict[int, str]:
        """Wait until a run (with its chain), or each of this session, has ended; return what `get_status` does.

        Raises
        ------
        Lost
            `timeout` [s] is over; the run goes on.
        """
        for each in self._jobids if jobid is None else [jobid]:
            follow_chain(self._portal, each, timeout=timeout)
        return self.get_status(jobid)

    def get_logs(self, jobid: int) -> str:
        """Return the logs of all jobs of a run, and of the runs that follow in its chain."""
        told = []
        for status in self._runs(jobid):
            for job in status.jobs:
                told.append(f"--- run {status.id} {status.recipe}, job {job.number} {job.label}: {job.state}\n")
                told.append(whole_log(self._portal, status.id, job.number))
        return "".join(told)

    def follow_logs(self, jobid: int) -> None:
        """Print the logs of a run while they grow, until it has ended."""
        follower = LogFollower(self._portal, jobid)
        for status in self._portal.watch(jobid, every_turn=True):
            follower.catch_up(status)

    def get_job_result(self, jobid: int) -> list[Frame]:
        """Return the products of a run; of a chain, those of its last step that has made any."""
        for status in reversed(self._runs(jobid)):
            numbers = [number for job in status.jobs for number in job.products]
            if numbers:
                return list(frames_of(self._portal, numbers))
        return []

    # -------------------------------------------------------------------------------------------------------- changing

    def cancel_job(self, jobid: int) -> str:
        """Cancel a run and its chain; return how it stands. What runs is stopped within seconds."""
        for status in self._runs(jobid):
            if status.state in _OPEN:
                self._portal.cancel(status.id)
        return _state(self._portal.run(jobid))

    def retry_job(self, jobid: int) -> str:
        """Run the failed jobs of a run again; return how it stands. The retried run has an identifier of its own."""
        status = self._portal.retry(jobid)
        if status.id not in self._jobids:
            self._jobids.append(status.id)
        return _state(status)

    # ---------------------------------------------------------------------------------------------------- what there is

    def get_dpu_identifiers(self) -> list[str]:
        """Return the names of the processing units that you may use."""
        return [unit["name"] for unit in self._portal.units()]

    def show_dpu_identifiers(self) -> None:
        """Print the processing units, with their slots and what waits there; the selected one is marked."""
        columns = ("name", "kind", "state", "slots", "busy", "waiting", "reason")
        rows = [
            ("*" if unit["name"] == self._unit else "", *(unit[column] for column in columns))
            for unit in self._portal.units()
        ]
        out_table(("", *columns), rows)

    def select_dpu(self, name: str) -> None:
        """Let runs go to this unit from now on; "" leaves it to the portal.

        Raises
        ------
        UsageProblem
            There is no such unit, or you may not use it.
        """
        if name and name not in self.get_dpu_identifiers():
            raise UsageProblem(
                f"there is no unit {name} that you may use", hint=f"there are: {', '.join(self.get_dpu_identifiers())}"
            )
        self._unit = name

    def get_sequence_identifiers(self) -> list[str]:
        """Return the recipes, in the order in which a night needs them; any of them are joined by ``>``."""
        return [recipe["name"] for recipe in self._portal.recipes()]

    def get_sequence_options(self, identifier: str) -> dict[str, str]:
        """Return the options of a recipe or chain, with what they mean."""
        return options_of(sequence(self._portal, identifier))

    def show_sequence_options(self, identifier: str) -> None:
        """Print the options of a recipe or chain."""
        out_table(("option", "what it is"), list(self.get_sequence_options(identifier).items()))

    def _runs(self, jobid: int) -> list[RunStatus]:
        """Return a run and those that follow it in its chain."""
        first = self._portal.run(jobid)
        later = [step.run for step in first.chain if step.run is not None and step.run > jobid]
        return [first, *(self._portal.run(number) for number in later)]


def _state(status: RunStatus) -> str:
    """Return the state of a run, or of its whole chain from this step on."""
    steps = [step.state for step in status.chain if step.run is None or step.run >= status.id] or [status.state]
    for state in ("failed", "cancelled"):
        if state in steps:
            return state
    if "not run" in steps:  # what came before ended well and made nothing to go on with
        return "failed"
    if all(state == "done" for state in steps):
        return "done"
    return "queued" if set(steps) <= {"queued", "waiting"} else "running"
