"""Cluster managers as jobs of Cobalt."""

from __future__ import annotations

from typing import ClassVar

from processing_units.backend.queueing import BatchQueue


class Cobalt(BatchQueue):
    """As much as PSI/J tells of this system."""

    name: ClassVar[str] = "cobalt"
    executor: ClassVar[str] = "cobalt"


KIND = Cobalt
