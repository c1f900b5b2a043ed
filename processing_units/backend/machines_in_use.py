"""Which machines a backend has cluster managers on, and whose data folders it still has to clean, kept in a file.

So a backend that is started anew knows what it has on a machine that was taken off while it was down.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from processing_units.backend.lan_host import LanHost

log = logging.getLogger(__name__)


class _Noted(BaseModel):
    """What the file holds; cluster managers by their handles."""

    model_config = ConfigDict(extra="forbid")

    held: dict[str, LanHost] = Field(default_factory=dict)
    draining: set[str] = Field(default_factory=set)
    lost: list[str] = Field(default_factory=list)
    to_clean: list[LanHost] = Field(default_factory=list)


class MachinesInUse:
    """What is noted in ``file``, which is written with each change."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._noted = _Noted.model_validate_json(file.read_bytes()) if file.exists() else _Noted()
        except (OSError, ValidationError) as error:
            log.warning("%s is not understood, what it says of machines is forgotten: %s", file, error)
            self._noted = _Noted()

    @property
    def held(self) -> dict[str, LanHost]:
        """On which machine, as it was registered then, each cluster manager is."""
        return dict(self._noted.held)

    def is_draining(self, handle: str) -> bool:
        """Whether it was asked to leave."""
        return handle in self._noted.draining

    def begins(self, host: LanHost) -> None:
        """Something is about to be started on a machine: from now on there may be something to clean."""
        self._noted.to_clean = [*self._others(host), host]
        self._write()

    def is_up(self, handle: str, host: LanHost) -> None:
        """It was started."""
        self._noted.held[handle] = host
        self._write()

    def drains(self, handle: str) -> None:
        """It was asked to leave."""
        self._noted.draining.add(handle)
        self._write()

    def have_ended(self, handles: Collection[str], *, lost: Iterable[str] = ()) -> None:
        """They are no more; those that are lost with their machine may still run, and are to be ended there."""
        if not handles:
            return
        for handle in handles:
            self._noted.held.pop(handle, None)
            self._noted.draining.discard(handle)
        self._noted.lost += lost
        self._write()

    def pop_lost(self, on: str) -> list[str]:
        """Forget those that were lost whose handles begin so, and return them."""
        popped = [handle for handle in self._noted.lost if handle.startswith(on)]
        if popped:
            self._noted.lost = [handle for handle in self._noted.lost if handle not in popped]
            self._write()
        return popped

    def to_clean(self, registered: Sequence[LanHost]) -> list[LanHost]:
        """Return machines with a data folder of ours that are no longer registered, and have nothing up any more."""
        used = [*registered, *self._noted.held.values()]
        return [host for host in self._noted.to_clean if not any(host.shares_data_with(each) for each in used)]

    def is_clean(self, host: LanHost) -> None:
        """There is nothing more to clean on a machine."""
        self._noted.to_clean = self._others(host)
        self._write()

    def _others(self, host: LanHost) -> list[LanHost]:
        return [each for each in self._noted.to_clean if not each.shares_data_with(host)]

    def _write(self) -> None:
        partial = self._file.with_suffix(".part")
        partial.write_text(self._noted.model_dump_json())
        partial.replace(self._file)
