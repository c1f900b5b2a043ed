"""What a kind of backend is: one way to bring cluster managers up. A kind is one file in ``kinds/``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from processing_units.contract import BackendDirections, PlaceState
from processing_units.wording import first_fault

# How `Kind.ended` tells of a cluster manager that left in order: nothing to warn of, nothing to wait for.
DRAINED = "drained"


class BringUpError(Exception):
    """A cluster manager could not be brought up; tried again later."""


class SettingsError(Exception):
    """The settings of the kind are not understood."""


class KindSettings(BaseModel):
    """Base of what a kind needs to know; the process manager sets it in the unit."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Directions:
    """All that a kind needs to know to bring one cluster manager up.

    ``key_file`` holds a key of its own, which is good for this cluster manager alone; ``slots`` are its share of the
    unit's, which settings of the kind may overrule; ``arguments`` go to ``awworker`` as they are.
    """

    number: int
    unit: str
    url: str
    key_file: Path
    log_file: Path
    state: Path
    slots: int
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Standing:
    """How it stands with a cluster manager that has not ended."""

    state: PlaceState = PlaceState.UP
    node: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at before any analysis; what is wrong says how to mend it."""

    where: str
    what: str
    is_well: bool
    says: str


class Kind(ABC):
    """One way to bring cluster managers up. Handles are plain text (a process, a job number of a queue)."""

    name: ClassVar[str]
    Settings: ClassVar[type[KindSettings]] = KindSettings
    look_seconds: ClassVar[float] = 0.5
    key_seconds: ClassVar[int] = 3600  # in this time a cluster manager has presented its key, or it is void

    def close(self) -> None:  # noqa: B027 - most kinds hold nothing
        """Let go of what is held, after all cluster managers have ended."""

    @abstractmethod
    def configure(self, settings: Any) -> None:
        """Take settings (of `Settings`), at the start and whenever they change; what is up stays as it is."""

    def begin(self, directions: Directions) -> None:  # noqa: B027 - most kinds need nothing of it
        """Take what is the same for all cluster managers; called once, before all else."""

    def wanted(self, directions: BackendDirections) -> int:
        """Return how many cluster managers are wanted now.

        Where that is less than the unit's settings allow, those that are up may leave by themselves: only such as wait
        in a queue are called back.
        """
        return directions.cluster_managers

    def allowed(self, directions: BackendDirections) -> int:
        """Return how many cluster managers there may be: those above drain."""
        return directions.cluster_managers

    def slots(self, share: int) -> int:
        """Return the slots of a cluster manager, whose share of the unit's is `share`."""
        return share

    @abstractmethod
    def bring_up(self, directions: Directions) -> str:
        """Start a cluster manager and return its handle; raise `BringUpError` with a clear reason."""

    @abstractmethod
    def ended(self, handles: Iterable[str]) -> Mapping[str, str]:
        """Return those of the handles whose cluster manager is no more, and how each ended (`DRAINED` in order)."""

    def standing(self, handles: Iterable[str]) -> Mapping[str, Standing]:
        """Return how the others stand; what a kind does not name is up."""
        return {}

    def test(self, directions: Directions) -> list[Check]:
        """Look at what cluster managers will need, and start nothing."""
        return []

    @abstractmethod
    def drain(self, handle: str) -> None:
        """Ask a cluster manager to finish its jobs, take no more, and leave."""

    @abstractmethod
    def stop(self, handle: str) -> None:
        """Ask a cluster manager to leave at once; its jobs are run again elsewhere."""

    @abstractmethod
    def kill(self, handle: str) -> None:
        """End a cluster manager that does not listen."""


def settings_of(kind: type[Kind], given: Mapping[str, Any]) -> KindSettings:
    """Return settings as the kind understands them.

    Raises
    ------
    SettingsError
        Something is unknown or has a wrong value; says what.
    """
    try:
        return kind.Settings.model_validate(dict(given))
    except ValidationError as error:
        known = ", ".join(kind.Settings.model_fields) or "none"
        raise SettingsError(f"{first_fault(error)}; settings of kind {kind.name}: {known}") from error
