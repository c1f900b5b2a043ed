"""Cluster managers as jobs of Torque and other classic PBS."""

from __future__ import annotations

from typing import ClassVar

from processing_units.backend.queueing import BatchQueue


class PbsClassic(BatchQueue):
    """As much as PSI/J tells of this system."""

    name: ClassVar[str] = "pbs_classic"
    executor: ClassVar[str] = "pbs_classic"


KIND = PbsClassic
