"""Where the commands of a queueing system run, and where the files of its jobs lie: here, or on a login host by ssh.

Files are handled by the shell's own commands, so that both kinds of host are one code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from processing_units.backend.kind import Directions
from processing_units.backend.queue_settings import QueueSettings

COMMAND_SECONDS = 30.0
LARGEST_FILE = 16 * 2**20
_NOT_FOUND = 127


class QueueAwayError(Exception):
    """The queueing system, or the host where it is, refuses or does not answer."""


class QueueHost(ABC):
    """A host on which the commands of the queueing system run."""

    login: str = ""
    where: str = "here"

    @abstractmethod
    def root(self, settings: QueueSettings, directions: Directions) -> Path:
        """Return the directory there for keys, batch scripts and logs."""

    @abstractmethod
    def road(self, settings: QueueSettings, directions: Directions, addresses: list[str]) -> dict[str, str]:
        """Return where nodes reach what we reach at ``addresses``; what that needs is kept up."""

    @abstractmethod
    def worker(self, settings: QueueSettings, directions: Directions, addresses: list[str]) -> tuple[str, list[str]]:
        """Return where nodes reach the frontend, and the words that start a cluster manager on a node."""

    @abstractmethod
    def user_number(self) -> int:
        """Return the number of our user there."""

    def close(self) -> None:  # noqa: B027 - this host holds nothing
        """Let go of what is held."""

    @abstractmethod
    def execute(self, command: list[str], given: bytes) -> tuple[int, bytes, bytes]:
        """Run a command; return its exit code, standard output and error. Raises `QueueAwayError`."""

    def run(self, command: list[str], given: bytes = b"") -> tuple[int, str]:
        """Run a command; return its exit code and what it said.

        Raises
        ------
        QueueAwayError
            It is not installed, or did not end in time.
        """
        code, out, error = self.execute(command, given)
        if code == _NOT_FOUND:
            raise QueueAwayError(f"there is no {command[0]} {self.where}: {self.mend}")
        return code, (out if code == 0 else out + error).decode(errors="replace")

    @property
    def mend(self) -> str:
        """What helps where a command is missing."""
        return "run awbackend on a login host of the cluster, or name one in the unit's settings (login)"

    def write(self, path: Path, content: bytes = b"") -> None:
        """Write a file that only its user reads, in a directory that only its user enters."""
        self._shell('umask 077; mkdir -p "$(dirname "$1")" && cat > "$1.part" && mv "$1.part" "$1"', path, content)

    def read(self, path: Path) -> str | None:
        """Return the text of a file, of a long one its end; None where there is none."""
        code, said = self.run(["tail", "-c", str(LARGEST_FILE), str(path)])
        return None if code else said

    def rename(self, path: Path, name: str) -> None:
        """Give a file another name in its directory."""
        self._shell('mv "$1" "$(dirname "$1")/$2"', path, b"", name)

    def remove(self, *paths: Path) -> None:
        """Remove files and directories, where they are there."""
        self.run(["rm", "-rf", "--", *map(str, paths)])

    def _shell(self, line: str, path: Path, given: bytes, *more: str) -> None:
        code, said = self.run(["sh", "-c", line, "sh", str(path), *more], given)
        if code:
            raise QueueAwayError(f"{path} cannot be used {self.where}: {' '.join(said.split())[-200:]}")


class ThisHost(QueueHost):
    """The host on which the backend runs: a login host itself, from which all reach the frontend."""

    def root(self, settings: QueueSettings, directions: Directions) -> Path:
        """Return the work directory of the settings, or one in the backend's state."""
        return Path(settings.work_directory or directions.state / "queue")

    def road(self, settings: QueueSettings, directions: Directions, addresses: list[str]) -> dict[str, str]:
        """Return the same: nodes reach them as we do."""
        return {address: address for address in addresses}

    def worker(self, settings: QueueSettings, directions: Directions, addresses: list[str]) -> tuple[str, list[str]]:
        """Run the cluster manager that is installed with the nodes' Python."""
        python = settings.python or sys.executable
        return directions.url, [python, "-m", "processing_units.cluster_manager", directions.url]

    def user_number(self) -> int:
        """Return our own."""
        return os.getuid()

    def execute(self, command: list[str], given: bytes) -> tuple[int, bytes, bytes]:
        """Run a command as a child of ours."""
        try:
            ended = subprocess.run(command, input=given, capture_output=True, timeout=COMMAND_SECONDS, check=False)
        except FileNotFoundError:
            return _NOT_FOUND, b"", b""
        except (OSError, subprocess.TimeoutExpired) as error:
            raise QueueAwayError(f"{command[0]} does not answer: {error}") from error
        return ended.returncode, ended.stdout, ended.stderr
