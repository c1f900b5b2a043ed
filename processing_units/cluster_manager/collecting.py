"""Taking over what shipped code leaves behind: its folder is hostile, so nothing in it is followed or believed.

By then all its processes are dead, so nothing changes any more while it is looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from processing_units.cluster_manager.faults import FaultError
from processing_units.cluster_manager.fits_structure import what_is_wrong
from processing_units.contract import FaultKind, StagedProduct

MOST_OUTPUTS = 5_000
_MIB = 1024 * 1024


def take_over(work: Path, target: Path, most_bytes: int) -> None:
    """Move the plain files of the job's ``outputs`` into `target`, a folder that the job never saw.

    Links, pipes, sockets and folders stay behind; nothing can be run or written by others any more.

    Raises
    ------
    FaultError
        There are too many, or they claim more bytes than the job may write.
    """
    try:
        folder = os.open(work / "outputs", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return  # it put something else there: there is no result
    claimed = 0
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(MOST_OUTPUTS + 1), strict=False)]
        if len(names) > MOST_OUTPUTS:
            raise FaultError(FaultKind.FATAL, f"The shipped code left more than {MOST_OUTPUTS} files as its products.")
        for name in names:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                continue
            claimed += found.st_size
            if claimed > most_bytes:
                raise FaultError(
                    FaultKind.FATAL, f"The products of the shipped code claim more than {most_bytes // _MIB} MiB."
                )
            os.rename(name, target / name, src_dir_fd=folder)
            os.chmod(target / name, 0o600)
    finally:
        os.close(folder)


def check_products(products: Iterable[tuple[Path, StagedProduct]]) -> None:
    """Raise FaultError for the first product that is no FITS file from its first byte to its last."""
    for path, product in products:
        with path.open("rb") as file:
            wrong = what_is_wrong(file, os.fstat(file.fileno()).st_size)
        if wrong:
            raise FaultError(
                FaultKind.FATAL,
                f"The product {product.name} is no FITS file: {wrong}",
                hint="Return products from the recipe and let `python -m recipes` write them.",
            )


def read_small_file(path: Path, most: int) -> bytes | None:
    """Return the content of a plain file that a running job may change at any time; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(descriptor, "rb", buffering=0) as file:
        found = os.fstat(descriptor)
        return file.read(most) if stat.S_ISREG(found.st_mode) and found.st_size <= most else None
