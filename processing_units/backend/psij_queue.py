"""One queueing system through PSI/J: submit, cancel, ask, all at once and without PSI/J's own thread.

PSI/J's thread takes a job that the system does not know for one that is done, and fails every job when the system does
not answer twice; a backend must tell these apart, and outlive both. So it is put to sleep, and we ask ourselves, with
the command and the reading of its answer that PSI/J has for each system. The commands run where the queue is, which
need not be here: PSI/J itself has only to write the batch script.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from processing_units.backend.queue_host import QueueAwayError, QueueHost

logging.getLogger("psij").setLevel(logging.ERROR)  # it tells for which systems there is no software here

_FOR_EVER_SECONDS = 10**9
_LEFT_BEHIND = (".ec", ".out", ".nodefile", ".script")
_UNKNOWN_JOB = re.compile(r"unknown job|not found|does not exist|invalid job", re.IGNORECASE)
# The shell ignores the signals of the queue's end: were it to die first, all would be killed at once.
_DEAF = "umask 077\ntrap '' TERM INT\n"
_LAUNCH = 'exec "$@" >"$0" 2>&1 </dev/null'


@dataclass(frozen=True)
class Resources:
    """What a queue job asks for."""

    queue: str
    account: str
    walltime_seconds: int
    cores: int
    memory_mib: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


class PsijQueue:
    """The queueing system behind an executor of PSI/J (``slurm``, ``pbs``, ...).

    Parameters
    ----------
    executor : str
        PSI/J's name for the system.
    host : QueueHost
        Where its commands run.
    directory : Path
        For batch scripts and exit codes, on a file system that nodes share with that host.
    notes : Path
        A directory here, for what PSI/J writes and nobody reads.
    """

    def __init__(self, executor: str, host: QueueHost, directory: Path, notes: Path) -> None:
        self.host = host
        self._name = executor
        self._scripts = directory / executor
        self._notes = notes

    def submit(
        self, name: str, command: list[str], log_file: Path, resources: Resources, variables: Mapping[str, str]
    ) -> str:
        """Submit a job; return its number. ``variables`` are for the command that submits."""
        import psij

        job = psij.Job(self._spec(name, command, log_file, resources))
        executor = _executor(self._name, self._notes)
        script = self._scripts / f"{job.id}.job"
        self.host.write(script, self._script(executor, job, [str(log_file), *command]).encode())
        code, said = self.host.run(
            ["env", *(f"{key}={value}" for key, value in variables.items()), *executor.get_submit_command(job, script)]
        )
        if code:
            self.host.remove(script)
            raise QueueAwayError(_in_a_line(f"{self._name} refuses the queue job: {said}"))
        number = str(executor.job_id_from_submit_output(said))
        self.host.rename(script, f"{number}.script")
        return number

    def _spec(self, name: str, command: list[str], log_file: Path, resources: Resources) -> Any:
        import psij

        family = self._name.partition("_")[0]  # how options of the system begin in PSI/J
        return psij.JobSpec(
            executable=command[0],
            arguments=command[1:],
            name=name,
            directory=log_file.parent,
            # What this process has in its environment is nobody's business on the nodes.
            inherit_environment=False,
            environment=dict(resources.environment),
            resources=psij.ResourceSpecV1(
                node_count=1,
                processes_per_node=resources.cores,
                memory=resources.memory_mib * 2**20 or None,
            ),
            attributes=psij.JobAttributes(
                duration=timedelta(seconds=resources.walltime_seconds),
                queue_name=resources.queue or None,
                account=resources.account or None,
                custom_attributes={f"{family}.{key}": value for key, value in resources.attributes.items()},
            ),
            launcher="single",
        )

    def _script(self, executor: Any, job: Any, words: list[str]) -> str:
        """Return the batch script: PSI/J's for the system, but for its launcher, which would have to be shipped."""
        context = executor._create_script_context(job)
        context["psij"] |= {"script_dir": str(self._scripts), "launch_command": ["/bin/bash", "-c", _LAUNCH, *words]}
        plain = io.StringIO()
        executor.generate_submit_script(job, context, plain)
        lines = plain.getvalue().splitlines(keepends=True)
        directives = max(number for number, line in enumerate(lines) if line.startswith("#"))
        lines.insert(directives + 1, _DEAF)
        return "".join(lines)

    def cancel(self, number: str) -> None:
        """Cancel a job."""
        import psij

        executor = _executor(self._name, self._notes)
        code, said = self.host.run(executor.get_cancel_command(number))
        if code:
            try:
                executor.process_cancel_command_output(code, said)
            except psij.SubmitException as error:
                raise QueueAwayError(_in_a_line(str(error))) from error
            except Exception as error:
                if type(error).__name__ != "InvalidJobStateError":
                    raise

    def states(self, numbers: list[str]) -> dict[str, tuple[Any, str]]:
        """Ask for jobs; return PSI/J's `JobStatus` of those that the system knows, with the text that it is from."""
        executor = _executor(self._name, self._notes)
        code, said = self.host.run(executor.get_status_command(numbers))
        if code and len(numbers) > 1:  # one that it does not know spoils the answer for all
            return {number: found for one in numbers for number, found in self.states([one]).items()}
        if code and _UNKNOWN_JOB.search(said):
            return {}
        try:
            return {number: (status, said) for number, status in executor.parse_status_output(code, said).items()}
        except Exception as error:
            # PSI/J asserts on a state that it does not know, and fails on a job that the system does not know.
            raise QueueAwayError(_in_a_line(f"{self._name} does not tell of queue jobs: {error!r}")) from error

    def commands(self) -> list[str]:
        """Return the names of the system's commands that are used."""
        import psij

        executor = _executor(self._name, self._notes)
        job = psij.Job(psij.JobSpec(executable="true"))
        asked = [executor.get_submit_command(job, Path("script")), executor.get_cancel_command("1")]
        return list(dict.fromkeys(command[0] for command in [*asked, executor.get_status_command(["1"])]))

    def exit_code(self, number: str) -> int | None:
        """Return the exit code that a job left behind, if it came to that."""
        try:
            return int(self.host.read(self._scripts / f"{number}.ec") or "")
        except ValueError:
            return None

    def forget(self, number: str, *more: Path) -> None:
        """Remove what a job that has ended left in the directory, and more that was its."""
        self.host.remove(*(self._scripts / f"{number}{suffix}" for suffix in _LEFT_BEHIND), *more)


@cache
def _executor(name: str, notes: Path) -> Any:
    """Return PSI/J's executor, whose thread sleeps."""
    import psij
    from psij.executors.batch.batch_scheduler_executor import BatchSchedulerExecutorConfig

    configuration = BatchSchedulerExecutorConfig(
        work_directory=notes,
        initial_queue_polling_delay=_FOR_EVER_SECONDS,
        queue_polling_interval=_FOR_EVER_SECONDS,
        keep_files=True,
    )
    return psij.JobExecutor.get_instance(name, config=configuration)


def _in_a_line(text: str) -> str:
    return " ".join(text.split())[:500]
