"""Cluster managers as jobs of PBS Pro and OpenPBS."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from processing_units.backend.psij_queue import PsijQueue
from processing_units.backend.queueing import BatchQueue, Phase, Seen, of_status


class Pbs(BatchQueue):
    """Sees besides what PSI/J tells which jobs are held."""

    name: ClassVar[str] = "pbs"
    executor: ClassVar[str] = "pbs"

    def look(self, queue: PsijQueue, handles: list[str]) -> Mapping[str, Seen]:
        """Ask with ``qstat``, whose answer has PBS' own state beside the reason."""
        seen = {}
        for handle, (status, said) in queue.states(handles).items():
            seen[handle] = of_status(status)
            with contextlib.suppress(ValueError, KeyError, TypeError):
                if json.loads(said)["Jobs"][handle]["job_state"] == "H":
                    seen[handle] = replace(seen[handle], phase=Phase.HELD, reason=seen[handle].reason or "held")
        return seen


KIND = Pbs
