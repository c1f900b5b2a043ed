"""`awrecipe night`: from a directory of raw frames, or from what the archive has of a night, to source lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awclient.data_commands import CameraOption, InstrumentOption, TypeOption, quality_line
from awclient.errors import RecipeFailed, UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import Progress, clean, out, out_json, out_table, say

if TYPE_CHECKING:
    from awclient.client import Json, Portal
    from awclient.ingest import IngestReport
    from awclient.night import NightReport


_REASONS_TOLD = 10


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(night)


def night(
    context: typer.Context,
    directory: Annotated[list[Path] | None, typer.Argument(help="Directory of raw frames to ingest first.")] = None,
    date: Annotated[str, typer.Option("--night", help="A night in the archive (date of its evening).")] = "",
    instrument: InstrumentOption = "",
    type: TypeOption = None,
    camera: CameraOption = None,
    unit: Annotated[str, typer.Option(help="Processing unit; else the portal picks one.")] = "",
    timeout: Annotated[float | None, typer.Option(help="Give up after so many seconds; the runs go on.")] = None,
    json: JsonOption = False,
) -> None:
    """Reduce a night as far as its frames allow: each recipe in turn, on each chip and filter.

    Reference catalogues are taken from a folder `catalogues` inside the directory or beside it.

    Exit code 0 only if everything that the night allows is there; what it does not allow is listed with the reason.
    Started again it goes on where it was, and makes nothing twice.
    """
    from awclient.night import Night
    from processing_units.nights.frames import group_frames

    if bool(directory) == bool(date):
        raise UsageProblem("name a directory of raw frames, or a night of the archive with --night")
    with session_of(context).open() as portal, Progress(quiet=json) as progress:
        ingested = None
        if directory:
            ingested = _ingest(portal, directory, type or [], instrument, camera, progress)
            frames = ingested.frames
        else:
            frames = frames_of_night(portal, date, instrument)
        sets = group_frames(frames)
        progress.line("frames: " + "; ".join(_count(found.title, found.products) for found in sets))
        report = Night(portal, sets, unit=unit, progress=progress, timeout=timeout).reduce()
    if json:
        out_json(as_json(report, ingested))
    else:
        show(report)
    raise_unless_complete(report)


def _ingest(
    portal: Portal, paths: list[Path], types: list[str], instrument: str, camera: Path | None, progress: Progress
) -> IngestReport:
    from awclient.catalogues import find_catalogues, ingest_catalogues
    from awclient.ingest import ingest_paths, read_type_rules

    report = ingest_paths(
        portal, paths, read_type_rules(types), instrument=instrument, camera=camera, progress=progress
    )
    progress.line(report.summary())
    for line in [*report.refusals(), *report.hinted()]:
        progress.line(line)
    catalogues = ingest_catalogues(portal, find_catalogues(paths), progress)
    for line in catalogues.lines():
        progress.line(line)
    if not report.frames:
        raise RecipeFailed("no frame could be ingested", hint="--type and --instrument tell what the headers do not")
    return report


def frames_of_night(portal: Portal, date: str, instrument: str) -> list[Json]:
    """Return the raw frames of a night; raise UsageProblem where there are none."""
    kinds = {kind for recipe in portal.recipes() for entry in recipe["inputs"] for kind in entry["kinds"]}
    made = {kind for recipe in portal.recipes() for kind in recipe["outputs"]}
    raw = ",".join(sorted(kinds - made))
    frames = list(portal.products(kind=raw, night=date, instrument=instrument))
    if not frames:
        of = f" of {instrument}" if instrument else ""
        raise UsageProblem(f"the archive has no raw frames{of} of the night {date} that you may see")
    return frames


def _count(title: str, products: list[Json]) -> str:
    kinds: dict[str, int] = {}
    for product in products:
        kinds[product["kind"]] = kinds.get(product["kind"], 0) + 1
    return f"{title}: " + ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))


def as_json(report: NightReport, ingested: IngestReport | None) -> Json:
    """Return what came of a night for programs."""
    new = {product["id"] for product in report.made}
    return {
        "products": [{**product, "new": product["id"] in new} for product in report.products],
        "not_possible": report.not_possible,
        "failed": report.failed,
        "runs": report.runs,
        "ingest": ingested.as_json() if ingested else None,
    }


def show(report: NightReport) -> None:
    """Write what came of a night: its products, what it did not allow, what failed."""
    new = {product["id"] for product in report.made}
    out()
    out_table(("product", "kind", "chip", "filter", "", "flags", "quality", "link"), [
        (product["id"], product["kind"], product["chip"], product["filter"] or "-",
         "new" if product["id"] in new else "there", product["quality_flags"] or "-", quality_line(product, most=3),
         product["page"])
        for product in report.products
    ])  # fmt: skip
    if report.not_possible:
        out("\nNot possible with these frames:")
        for line in told_together(report.not_possible):
            out(f"  {line}")
    for entry in report.failed:
        say(f"failed: {entry['recipe']} {entry['what']} (run {entry['run']}, job {entry['job']}): {entry['reason']}")
    counts = f"{len(report.products)} products, {len(new)} of them new"
    out(f"\n{counts}; {len(report.not_possible)} not possible; {len(report.failed)} failed")


def told_together(entries: list[Json]) -> list[str]:
    """Return a line for each recipe and reason; of many reasons of one recipe the first few."""
    whats: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        whats.setdefault((entry["recipe"], clean(entry["reason"])), []).append(clean(entry["what"]))
    lines: list[str] = []
    told: dict[str, int] = {}
    for (recipe, reason), of in whats.items():
        told[recipe] = told.get(recipe, 0) + 1
        if told[recipe] <= _REASONS_TOLD:
            others = f" and {len(of) - 1} more" if len(of) > 1 else ""
            lines.append(f"{recipe} {of[0]}{others}: {reason}")
    lines += [
        f"{recipe}: {number - _REASONS_TOLD} more reasons (--json lists all)"
        for recipe, number in told.items()
        if number > _REASONS_TOLD
    ]
    return lines


def raise_unless_complete(report: NightReport) -> None:
    """Raise RecipeFailed where something failed, or nothing at all was possible."""
    if report.failed:
        first = report.failed[0]
        raise RecipeFailed(
            f"{len(report.failed)} of the night's jobs did not end well, first {first['recipe']} {first['what']}",
            hint=f"`awrecipe logs {first['run']} {first['job']}` shows its log; the same command tries it again",
        )
    if not report.products:
        raise RecipeFailed("these frames allow no product at all")
