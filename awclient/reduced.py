"""Exposures that others reduced: image, weight and mask found together by their names, and brought in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from awclient.client import Portal
from awclient.errors import ClientError, NotAllowed, UsageProblem
from awclient.ingest import IngestReport, is_fits_name

if TYPE_CHECKING:
    from awclient.terminal import Progress

# How the files of one exposure differ by name. NOIRLab: ooi, oow, ood; Astro-WISE and SExtractor: .weight, .flag.
_MARKS = tuple(
    (part, re.compile(pattern, re.IGNORECASE))
    for part, pattern in (
        ("weight", r"(?<=[_.-]o)ow(?=[_.-])|[._-](weight|wht|wt|ivar)(?=[._-])"),
        ("mask", r"(?<=[_.-]o)od(?=[_.-])|[._-](mask|flags?|dq|bpm|dqm)(?=[._-])"),
        ("image", r"(?<=[_.-]o)oi(?=[_.-])|[._-](image|sci)(?=[._-])"),
    )
)


@dataclass(frozen=True)
class ReducedExposure:
    """The files of one exposure by what they hold: ``image``, and where there are such ``weight`` and ``mask``."""

    parts: dict[str, Path]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.parts["image"].name


def find_exposures(paths: Sequence[Path]) -> list[ReducedExposure]:
    """Return the exposures among files and below directories; a weight or mask without an image is a usage problem."""
    groups: dict[str, dict[str, Path]] = {}
    for path in _files(paths):
        part, key = _part_of(path.name)
        group = groups.setdefault(f"{path.parent}/{key}", {})
        if part in group:
            raise UsageProblem(f"{group[part]} and {path} are both the {part} of one exposure")
        group[part] = path
    alone = next((group for group in groups.values() if "image" not in group), None)
    if alone:
        raise UsageProblem(
            f"there is no image to {next(iter(alone.values()))}", hint="name image, --weight and --mask of one exposure"
        )
    return [ReducedExposure(group) for group in groups.values()]


def ingest_exposures(
    portal: Portal,
    exposures: Sequence[ReducedExposure],
    fields: dict[str, str],
    camera: Path | None,
    progress: Progress,
) -> IngestReport:
    """Bring the exposures in; what cannot be one is reported with its reason and left alone."""
    report = IngestReport()
    told = {name: value for name, value in fields.items() if value}
    for number, exposure in enumerate(exposures, 1):
        try:
            answer = portal.ingest_reduced(exposure.parts | ({"camera": camera} if camera else {}), told)
        except OSError as problem:
            report.refused.append({"file": exposure.name, "reason": f"cannot be read: {problem.strerror}", "hint": ""})
        except NotAllowed:
            raise
        except ClientError as problem:
            if problem.status is None or problem.status >= 500:
                raise
            report.refused.append({"file": exposure.name, "reason": problem.message, "hint": problem.hint})
        else:
            (report.new if answer["outcome"] == "ingested" else report.known).extend(answer["products"])
        done = f"{number} of {len(exposures)} exposures" if progress.is_live else ""
        progress.show("ingest", number / len(exposures), done)
    return report


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageProblem(f"{path} does not exist")
        found += [path] if path.is_file() else sorted(file for file in path.rglob("*") if is_fits_name(file.name))
    if not found:
        raise UsageProblem(f"there are no FITS files in {', '.join(map(str, paths))}")
    return found


def _part_of(name: str) -> tuple[str, str]:
    """Return what a file holds by its name, and the name without the word that says so."""
    for part, mark in _MARKS:
        if mark.search(name):
            return part, mark.sub("", name, count=1)
    return "image", name
