"""Running IRAF's ccdred on FITS files of a folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_SETTINGS = ("noao", "imred", "ccdred", 'ccdred.instrument=""', 'ccdred.pixeltype="real real"', "ccdred.verbose=no")


def run_ccdred(folder: Path, *commands: str) -> None:
    """Run commands of ccdred in `folder`; raise AssertionError with what IRAF wrote where it met an error."""
    (folder / "script.cl").write_text("\n".join([*_SETTINGS, *commands, "logout"]) + "\n", "utf-8")
    ended = subprocess.run(
        ["irafcl", "-f", "script.cl"], cwd=folder, env=os.environ | {"USER": "astronomer", "uparm": f"{folder}/"},
        capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    written = ended.stdout + ended.stderr
    assert "ERROR" not in written, written


def write_list(folder: Path, name: str, entries: Sequence[object]) -> str:
    """Write an IRAF list, one entry a line; return how a task takes it."""
    (folder / name).write_text("".join(f"{entry}\n" for entry in entries), "utf-8")
    return f"@{name}"


def overscan_and_trim(sources: str, products: str, overscan: str, data: str, axis: str) -> str:
    """Return the command that subtracts the median of each line (or column) of the overscan, and trims."""
    return (
        f'ccdproc ("{sources}", output="{products}", ccdtype="", noproc=no, fixpix=no, overscan=yes, trim=yes, '
        "zerocor=no, darkcor=no, flatcor=no, illumcor=no, fringecor=no, "
        f'readaxis="{axis}", biassec="{overscan}", trimsec="{data}", interactive=no, function="median")'
    )


def combine(task: str, sources: str, product: str, threshold: float, gain: float, read_noise: float, more: str) -> str:
    """Return the command of zerocombine or flatcombine: average, ccdclip about the median."""
    return (
        f'{task} ("{sources}", output="{product}", combine="average", reject="ccdclip", ccdtype="", process=no, '
        f'delete=no, clobber=no, statsec="", mclip=yes, lsigma={threshold}, hsigma={threshold}, '
        f'rdnoise="{read_noise}", gain="{gain}", snoise="0", nkeep=1, blank=0., {more})'
    )
