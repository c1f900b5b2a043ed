"""Cluster managers as jobs of LSF."""

from __future__ import annotations

from typing import ClassVar

from processing_units.backend.queueing import BatchQueue


class Lsf(BatchQueue):
    """As much as PSI/J tells of this system."""

    name: ClassVar[str] = "lsf"
    executor: ClassVar[str] = "lsf"


KIND = Lsf
