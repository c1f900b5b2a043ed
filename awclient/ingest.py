"""Upload a directory of raw frames: what is new goes in, what cannot be understood is reported and left alone."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from awclient.catalogues import FOLDER as CATALOGUES
from awclient.client import Json, Portal
from awclient.errors import ClientError, NotAllowed, UsageProblem
from awclient.terminal import Progress
from awclient.transfer import sha256_of

# Endings under which observatories keep FITS, each also packed.
_ENDINGS = (".fits", ".fit", ".fts", ".fz")
_PACKED = (".gz",)


@dataclass(frozen=True)
class TypeRule:
    """Files whose path matches the pattern are of that type."""

    pattern: str
    type: str

    def fits(self, relative: Path) -> bool:
        """Return whether a file, by its path below the directory that was named, is meant."""
        path = relative.as_posix().lower()
        pattern = self.pattern.lower()
        return fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(path, f"*/{pattern}")


@dataclass
class IngestReport:
    """What became of each file."""

    new: list[Json] = field(default_factory=list)
    known: list[Json] = field(default_factory=list)
    refused: list[Json] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    hints: dict[str, int] = field(default_factory=dict)

    @property
    def frames(self) -> list[Json]:
        """The frames that are in the archive now, each once."""
        return list({product["id"]: product for product in [*self.new, *self.known]}.values())

    def summary(self) -> str:
        """Return it in a line."""
        text = f"{len(self.new)} ingested, {len(self.known)} there already, {len(self.refused)} refused"
        return text + (f", {len(self.skipped)} other files left alone" if self.skipped else "")

    def refusals(self) -> list[str]:
        """Return why files were refused, a line a reason."""
        files: dict[str, list[str]] = {}
        for entry in self.refused:
            hint = f" ({entry['hint']})" if entry["hint"] else ""
            files.setdefault(f"{entry['reason']}{hint}", []).append(entry["file"])
        return [
            f"  refused: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}: {reason}"
            for reason, names in files.items()
        ]

    def hinted(self) -> list[str]:
        """Return what was seen in the frames that their headers do not tell, a line a hint."""
        return [f"  {hint} ({count} frame{'s' if count > 1 else ''})" for hint, count in self.hints.items()]

    def as_json(self) -> Json:
        """Return it for a script."""
        return {
            "ingested": [product["id"] for product in self.new],
            "there": [product["id"] for product in self.known],
            "refused": self.refused,
            "skipped": self.skipped,
        }


def read_type_rules(texts: Iterable[str]) -> list[TypeRule]:
    """Read ``RawDomeFlat`` and ``domeflat/*=RawDomeFlat``; a rule with a pattern counts before one without."""
    rules = []
    for text in texts:
        pattern, equals, kind = text.rpartition("=")
        if not kind or (equals and not pattern):
            raise UsageProblem(f"--type {text}: write a type, or PATTERN=TYPE like 'domeflat/*=RawDomeFlat'")
        rules.append(TypeRule(pattern if equals else "*", kind))
    return sorted(rules, key=lambda rule: rule.pattern == "*")


def frames_below(paths: Sequence[Path]) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return (file, path below the directory named) of all FITS files in order, and the files that are none."""
    frames, others = [], []
    for path in paths:
        if path.is_file():
            # Named one by one, a file is tried whatever it is called.
            frames.append((path, Path(path.parent.name) / path.name))
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                relative = file.relative_to(path)
                if not file.is_file() or any(part.startswith(".") for part in relative.parts):
                    continue
                if CATALOGUES in relative.parts[:-1]:  # no frames: awclient.catalogues brings them in
                    continue
                if is_fits_name(file.name):
                    frames.append((file, relative))
                else:
                    others.append(str(relative))
        else:
            raise UsageProblem(
                f"{path} does not exist" if not path.exists() else f"{path} is neither file nor directory"
            )
    if not frames:
        raise UsageProblem(
            f"there are no FITS files in {', '.join(map(str, paths))}",
            hint="they end in .fits, .fit or .fts, and may be packed as .gz or .fz",
        )
    return frames, others


def is_fits_name(name: str) -> bool:
    """Whether a file is called as observatories call FITS files."""
    lower = name.lower()
    for ending in _PACKED:
        lower = lower.removesuffix(ending)
    return lower.endswith(_ENDINGS)


def ingest_paths(
    portal: Portal,
    paths: Sequence[Path],
    rules: Sequence[TypeRule],
    *,
    instrument: str = "",
    camera: Path | None = None,
    progress: Progress,
) -> IngestReport:
    """Upload all frames below the paths; raise only where going on makes no sense."""
    frames, others = frames_below(paths)
    camera_file = _read_camera(camera)
    report = IngestReport(skipped=others)
    for number, (file, relative) in enumerate(frames, 1):
        kind = next((rule.type for rule in rules if rule.fits(relative)), "")
        _ingest_one(portal, file, relative, kind, instrument, camera_file, report)
        progress.show("ingest", number / len(frames), f"{number} of {len(frames)} files" if progress.is_live else "")
    return report


def _ingest_one(
    portal: Portal, file: Path, relative: Path, kind: str, instrument: str, camera: bytes | None, report: IngestReport
) -> None:
    try:
        digest = sha256_of(file)
        known = _known(portal, digest, kind, instrument, camera)
        if known:
            report.known += known
            return
        fields = {"type": kind, "instrument": instrument, "sha256": digest, "path": relative.as_posix()}
        answer = portal.ingest(file, {name: value for name, value in fields.items() if value}, camera)
    except OSError as problem:
        report.refused.append({"file": str(relative), "reason": f"cannot be read: {problem.strerror}", "hint": ""})
    except NotAllowed:
        raise
    except ClientError as problem:
        if problem.status is None or problem.status >= 500:
            raise
        report.refused.append({"file": str(relative), "reason": problem.message, "hint": problem.hint})
    else:
        (report.new if answer["outcome"] == "ingested" else report.known).extend(answer["products"])
        is_there = answer["outcome"] == "there"  # then a note tells what became, or not, of what the user told
        for note in answer.get("notes", []):
            if is_there or note.startswith("hint: "):
                report.hints[note] = report.hints.get(note, 0) + 1


def _known(portal: Portal, digest: str, kind: str, instrument: str, camera: bytes | None) -> list[Json]:
    """Return the frames that this file is already, so that it need not be sent; none where something new is told."""
    frames = [product for product in portal.products(sha256=digest) if product["run"] is None]
    if camera is not None:
        by = hashlib.sha256(camera).hexdigest()
        frames = [product for product in frames if product["attributes"].get("camera_description") == by]
    if instrument:
        frames = [product for product in frames if product["instrument"] == instrument]
    told = kind.lower().removeprefix("raw")
    if told in {"", "suggested"} or all(product["kind"].lower().removeprefix("raw") == told for product in frames):
        return frames
    return []


def _read_camera(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as problem:
        raise UsageProblem(f"{path} cannot be read: {problem.strerror}") from None
