"""The GPUs of this machine: a job has one of its own, and is told which by CUDA_VISIBLE_DEVICES."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Gpus:
    """Gives GPUs to jobs; a job that finds none free gets none, and sees none."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._free = sorted(set(numbers), reverse=True)
        self._lock = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[str]:
        """Yield the number of a GPU that is ours alone, or "" where none is free."""
        with self._lock:
            number = self._free.pop() if self._free else None
        try:
            yield "" if number is None else str(number)
        finally:
            if number is not None:
                with self._lock:
                    self._free.append(number)


def variables(gpu: str) -> dict[str, str]:
    """Return the variables that tell a job its GPU; numbered as nvidia-smi does, not by speed."""
    return {"CUDA_VISIBLE_DEVICES": gpu, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def devices(gpu: str) -> list[str]:
    """Return the device files that a job needs for its GPU."""
    return [f"/dev/nvidia{gpu}", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"] if gpu else []
