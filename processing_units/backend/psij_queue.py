"""One queueing system through PSI/J: submit, cancel, ask, all at once and without PSI/J's own thread.

PSI/J's thread takes a job that the system does not know for one that is done, and fails every job when the system does
not answer twice; a backend must tell these apart, and outlive both. So it is put to sleep, and we ask ourselves, with
the command and the reading of its answer that PSI/J has for each system.
"""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import IO, Any

COMMAND_SECONDS = 30.0
_FOR_EVER_SECONDS = 10**9
_LEFT_BEHIND = (".ec", ".out", ".nodefile", ".script")
_UNKNOWN_JOB = re.compile(r"unknown job|not found|does not exist|invalid job", re.IGNORECASE)


class QueueAwayError(Exception):
    """The queueing system refuses, or does not answer."""


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
    directory : Path
        For batch scripts and exit codes, on a file system that nodes share with this host.
    """

    def __init__(self, executor: str, directory: Path) -> None:
        self._name = executor
        self._directory = directory

    def submit(self, name: str, command: list[str], log_file: Path, resources: Resources) -> str:
        """Submit a job; return its number."""
        import psij

        attributes = psij.JobAttributes(
            duration=timedelta(seconds=resources.walltime_seconds),
            queue_name=resources.queue or None,
            account=resources.account or None,
            custom_attributes={f"{self._family}.{key}": value for key, value in resources.attributes.items()},
        )
        spec = psij.JobSpec(
            executable=command[0],
            arguments=command[1:],
            name=name,
            directory=log_file.parent,
            # What this process has in its environment is nobody's business on the nodes.
            inherit_environment=False,
            environment=dict(resources.environment),
            stdout_path=log_file,
            stderr_path=log_file,
            resources=psij.ResourceSpecV1(
                node_count=1,
                processes_per_node=resources.cores,
                memory=resources.memory_mib * 2**20 or None,
            ),
            attributes=attributes,
            launcher="single",
        )
        job = psij.Job(spec)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _executor(self._name, self._directory).submit(job)
        except (psij.SubmitException, psij.InvalidJobException, OSError) as error:
            raise QueueAwayError(_in_a_line(f"{self._name} refuses the queue job: {error}")) from error
        number = str(job.native_id)
        (self._scripts / f"{job.id}.job").replace(self._scripts / f"{number}.script")
        return number

    def cancel(self, number: str) -> None:
        """Cancel a job."""
        import psij

        command = _executor(self._name, self._directory).get_cancel_command(number)
        code, said = run(command)
        if code:
            try:
                _executor(self._name, self._directory).process_cancel_command_output(code, said)
            except psij.SubmitException as error:
                raise QueueAwayError(_in_a_line(str(error))) from error
            except Exception as error:
                if type(error).__name__ != "InvalidJobStateError":
                    raise

    def states(self, numbers: list[str]) -> dict[str, tuple[Any, str]]:
        """Ask for jobs; return PSI/J's `JobStatus` of those that the system knows, with the text that it is from."""
        executor = _executor(self._name, self._directory)
        code, said = run(executor.get_status_command(numbers))
        if code and len(numbers) > 1:  # one that it does not know spoils the answer for all
            return {number: found for one in numbers for number, found in self.states([one]).items()}
        if code and _UNKNOWN_JOB.search(said):
            return {}
        try:
            return {number: (status, said) for number, status in executor.parse_status_output(code, said).items()}
        except Exception as error:
            # PSI/J asserts on a state that it does not know, and fails on a job that the system does not know.
            raise QueueAwayError(_in_a_line(f"{self._name} does not tell of queue jobs: {error!r}")) from error

    def exit_code(self, number: str) -> int | None:
        """Return the exit code that a job left behind, if it came to that."""
        try:
            return int((self._scripts / f"{number}.ec").read_text())
        except (OSError, ValueError):
            return None

    def forget(self, number: str) -> None:
        """Remove what a job that has ended left in the directory."""
        for suffix in _LEFT_BEHIND:
            (self._scripts / f"{number}{suffix}").unlink(missing_ok=True)

    @property
    def _scripts(self) -> Path:
        return self._directory / self._name

    @property
    def _family(self) -> str:
        """How options of the system begin in PSI/J."""
        return self._name.partition("_")[0]


@cache
def _executor(name: str, directory: Path) -> Any:
    """Return PSI/J's executor, whose thread sleeps, and whose scripts leave signals to the cluster manager."""
    import psij
    from psij.executors.batch.batch_scheduler_executor import BatchSchedulerExecutorConfig

    configuration = BatchSchedulerExecutorConfig(
        work_directory=directory,
        initial_queue_polling_delay=_FOR_EVER_SECONDS,
        queue_polling_interval=_FOR_EVER_SECONDS,
        keep_files=True,
    )
    executor = psij.JobExecutor.get_instance(name, config=configuration)
    generate = executor.generate_submit_script

    def generate_deaf(job: Any, context: dict[str, object], submit_file: IO[str]) -> None:
        """Have the shell ignore the signals of the queue's end: were it to die first, all would be killed at once."""
        plain = io.StringIO()
        generate(job, context, plain)
        lines = plain.getvalue().splitlines(keepends=True)
        directives = max(number for number, line in enumerate(lines) if line.startswith("#"))
        lines.insert(directives + 1, "umask 077\ntrap '' TERM INT\n")
        submit_file.write("".join(lines))

    executor.generate_submit_script = generate_deaf
    return executor


def run(command: list[str]) -> tuple[int, str]:
    """Run a command of the queueing system; return its exit code and what it said.

    Raises
    ------
    QueueAwayError
        It is not installed, or did not end in time.
    """
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=COMMAND_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise QueueAwayError(f"there is no {command[0]} here: run awbackend on a login host of the cluster") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueueAwayError(f"{command[0]} does not answer: {error}") from error
    return ended.returncode, ended.stdout if ended.returncode == 0 else f"{ended.stdout}{ended.stderr}"


def _in_a_line(text: str) -> str:
    return " ".join(text.split())[:500]
