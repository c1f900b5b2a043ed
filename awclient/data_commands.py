"""`awrecipe products | get | publish | ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awclient.errors import RecipeFailed, UsageProblem
from awclient.session import JsonOption, session_of
from awclient.terminal import Progress, out, out_json, out_table, say
from processing_units.wording import counted

if TYPE_CHECKING:
    from awclient.client import Json, Portal
    from awclient.ingest import IngestReport

TypeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="Type of the frames where the headers do not tell it, or tell it wrong: RawDomeFlat, or "
        "'domeflat/*=RawDomeFlat' for the files that match; may be given several times, the first that fits counts.",
    ),
]
InstrumentOption = Annotated[str, typer.Option(help="Instrument, where the headers do not tell.")]
CameraOption = Annotated[Path | None, typer.Option(help="TOML file that describes an unknown camera.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(products)
    app.command()(get)
    app.command()(publish)
    app.command()(ingest)


def products(  # noqa: PLR0913, PLR0917 - an option each
    context: typer.Context,
    kind: Annotated[str, typer.Option("--kind", "--type", help="Kind, like BiasFrame or RawBias.")] = "",
    instrument: Annotated[str, typer.Option(help="Instrument.")] = "",
    chip: Annotated[str, typer.Option(help="Chip.")] = "",
    filter: Annotated[str, typer.Option(help="Filter.")] = "",
    night: Annotated[str, typer.Option(help="Night (date of its evening).")] = "",
    night_from: Annotated[str, typer.Option(help="From that night on.")] = "",
    night_to: Annotated[str, typer.Option(help="Up to that night.")] = "",
    object: Annotated[str, typer.Option(help="Part of the object's name.")] = "",
    ra: Annotated[str, typer.Option(help="Right ascension: 187.25 (degrees) or 12:29:00 (hours); with --dec.")] = "",
    dec: Annotated[str, typer.Option(help="Declination: -41.5 or -41:30:00 (degrees).")] = "",
    radius: Annotated[str, typer.Option(help="Radius around it: 0.1 (degrees), 6arcmin, 30arcsec.")] = "",
    quality: Annotated[
        str, typer.Option(help="passed, flagged, bad (a person said so), stale (made from a bad one).")
    ] = "",
    validity: Annotated[str, typer.Option(help="valid or invalid, now or --valid-at a time.")] = "",
    valid_at: Annotated[str, typer.Option(help="Time (UT) or date at which it is to be valid.")] = "",
    project: Annotated[str, typer.Option(help="Project.")] = "",
    creator: Annotated[str, typer.Option(help="User who made or brought it.")] = "",
    selection: Annotated[str, typer.Option(help="Of that saved selection.")] = "",
    run: Annotated[int | None, typer.Option(help="Products of that run.")] = None,
    name: Annotated[str, typer.Option(help="Part of the name.")] = "",
    number: Annotated[int | None, typer.Option("--id", help="That product.")] = None,
    order: Annotated[str, typer.Option(help="Sort by name, kind, chip, date_obs ...; -date_obs: newest first.")] = "",
    limit: Annotated[int | None, typer.Option(help="At most so many.", min=1)] = None,
    numbers: Annotated[
        bool, typer.Option("--numbers", help="Print the numbers alone, for other commands: awrecipe get $(...).")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List products with attributes, QC values and lineage (all of them with --json)."""
    filters: dict[str, Any] = {
        "kind": kind, "instrument": instrument, "chip": chip, "filter": filter, "night": night,
        "night_from": night_from, "night_to": night_to, "object": object, "ra": ra, "dec": dec, "radius": radius,
        "quality": quality, "validity": validity, "valid_at": valid_at, "project": project, "creator": creator,
        "selection": selection, "run": run, "name": name, "order": order,
    }  # fmt: skip
    with session_of(context).open() as portal:
        found = [portal.product(number)] if number is not None else list(portal.products(limit=limit, **filters))
    if json:
        out_json(found)
        return
    if numbers:
        for entry in found:
            out(entry["id"])
        return
    out_table(("product", "kind", "name", "chip", "filter", "night", "flags", "quality"), [
        (entry["id"], entry["kind"], entry["name"], entry["chip"], entry["filter"] or "-", entry["night"] or "-",
         entry["quality_flags"] or "-", quality_line(entry))
        for entry in found
    ])  # fmt: skip


def quality_line(product: Json, most: int = 4) -> str:
    """Return a product's first QC values in a line; those beyond their limits come first and are marked."""
    measurements = sorted(product["measurements"], key=lambda entry: entry["verdict"] != "bad")
    parts = []
    for entry in measurements[:most]:
        value = "none" if entry["value"] is None else f"{entry['value']:.5g}"
        error = "" if entry["error"] is None else f"±{entry['error']:.2g}"
        unit = f" {entry['unit']}" if entry["unit"] else ""
        parts.append(f"{entry['name']} {value}{error}{unit}{' BAD' if entry['verdict'] == 'bad' else ''}")
    return ", ".join(parts)


def get(  # noqa: PLR0913, PLR0917 - an option each
    context: typer.Context,
    numbers: Annotated[list[str] | None, typer.Argument(help="Products' numbers, like 12,15 or 12-18.")] = None,
    run: Annotated[int | None, typer.Option(help="All products of that run.")] = None,
    kind: Annotated[str, typer.Option("--kind", "--type", help="Only products of that kind.")] = "",
    night: Annotated[str, typer.Option(help="Products of that night.")] = "",
    instrument: Annotated[str, typer.Option(help="Products of that instrument.")] = "",
    selection: Annotated[str, typer.Option(help="Products of that saved selection.")] = "",
    format: Annotated[str, typer.Option(help="fits (as stored), asdf; of tables votable, csv, parquet.")] = "fits",
    directory: Annotated[Path, typer.Option("--output", "-o", help="Directory to write to.")] = Path(),
    json: JsonOption = False,
) -> None:
    """Download products; cut off, it goes on where it was, and each FITS file is held to its sha256."""
    with session_of(context).open() as portal:
        filters: dict[str, Any] = {"run": run, "kind": kind, "night": night, "instrument": instrument,
                                   "selection": selection}  # fmt: skip
        wanted = _wanted(portal, numbers or [], filters)
        written = _download_all(portal, wanted, directory, format, quiet=json)
    if json:
        out_json(written)
    else:
        for entry in written:
            out(entry["path"] + ("" if entry["downloaded"] else "  (was there)"))


def publish(
    context: typer.Context,
    numbers: Annotated[list[str] | None, typer.Argument(help="Products' numbers, like 12,15 or 12-18.")] = None,
    run: Annotated[int | None, typer.Option(help="All products of that run.")] = None,
    kind: Annotated[str, typer.Option("--kind", "--type", help="With --run: only products of that kind.")] = "",
    privilege: Annotated[int, typer.Option(help="Who is to see them: 2 project, 3 all users, 4 world, 5 VO.",
                                           min=2, max=5)] = ...,  # type: ignore[assignment]  # typer's: required
    project: Annotated[str, typer.Option(help="Project for those that belong to none; else your context's.")] = "",
    json: JsonOption = False,
) -> None:  # fmt: skip
    """Let more people see products: levels go up only, all of them or none, and it is kept who did so.

    Your own go to your project and to all users; to the world by a manager of their project. What rests on code of
    your own goes nowhere before a project manager has accepted the code.
    """
    if bool(numbers) == (run is not None) or (kind and run is None):
        raise UsageProblem("say which products", hint="awrecipe publish 12-18 --privilege 3, or --run 7 --privilege 3")
    with session_of(context).open() as portal:
        wanted = numbers_of(numbers) if numbers else [int(each["id"]) for each in portal.products(run=run, kind=kind)]
        if not wanted:
            raise UsageProblem(
                f"run {run} has made no such product", hint=f"`awrecipe products --run {run}` lists them"
            )
        answer = portal.publish(wanted, privilege, project)
    if json:
        out_json(answer)
        return
    raised, rest = int(answer["published"]), len(set(wanted)) - int(answer["published"])
    before = f"; {rest} {'was' if rest == 1 else 'were'} there before" if rest else ""
    say(f"{counted(raised, 'product')} published to level {privilege}{before}")


def numbers_of(texts: list[str]) -> list[int]:
    """Return the products' numbers that were typed."""
    from awclient.recipe_options import parse_ids

    return [number for text in texts for number in parse_ids(text, "products")]


def _wanted(portal: Portal, numbers: list[str], filters: dict[str, Any]) -> list[Json]:
    if numbers:
        return [portal.product(number) for number in numbers_of(numbers)]
    if not any(filters.values()):
        raise UsageProblem(
            "no product is named", hint="name them by number, or by --run, --kind, --night, --instrument, --selection"
        )
    found = list(portal.products(**filters))
    if not found:
        raise UsageProblem("no product matches", hint="`awrecipe products` with the same filters shows what there is")
    return found


def _download_all(portal: Portal, wanted: list[Json], directory: Path, kind_of_file: str, quiet: bool) -> list[Json]:
    from awclient.transfer import download, file_name

    names = [file_name(product, kind_of_file) for product in wanted]
    written = []
    with Progress(quiet=quiet) as progress:
        for product, name in zip(wanted, names, strict=True):
            # Two products of one name (made twice) would overwrite each other: the number tells them apart.
            target = directory / (name if names.count(name) == 1 else f"{product['id']}_{name}")

            def report(done: int, size: int, name: str = name) -> None:
                progress.show(name, done / size if size else 0.0, f"{done / 2**20:.1f} MiB" if progress.is_live else "")

            fetched = download(portal, product, target, kind_of_file, report)
            written.append({"product": product["id"], "path": str(target), "downloaded": fetched})
    return written


def ingest(  # noqa: PLR0913, PLR0917 - an option each
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Directories or files.")],
    type: TypeOption = None,
    instrument: InstrumentOption = "",
    camera: CameraOption = None,
    catalogue: Annotated[str, typer.Option(help="The files are the reference catalogue of that name.")] = "",
    columns: Annotated[
        str, typer.Option(help="Which column of it is what: ra=RAJ2000,dec=DEJ2000,V=Vmag,V_error=e_Vmag,B=V+B-V.")
    ] = "",
    system: Annotated[str, typer.Option(help="Its magnitudes are Vega or AB.")] = "",
    epoch: Annotated[str, typer.Option(help="Year of its positions, like 2000.0.")] = "",
    use: Annotated[str, typer.Option(help="What it is good for: astrometry,photometry.")] = "",
    reduced: Annotated[
        bool, typer.Option("--reduced", help="The files are exposures that others reduced, with weights and masks.")
    ] = False,
    weight: Annotated[Path | None, typer.Option(help="Weight of the one reduced image that is named.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Mask of the one reduced image that is named.")] = None,
    weight_type: Annotated[str, typer.Option(help="Its weights are weight (1/variance), variance or sigma.")] = "",
    json: JsonOption = False,
) -> None:
    """Upload raw frames, reduced ones or a reference catalogue: what is not understood is reported, the rest goes in.

    Of reduced exposures image, weight and mask are found together by their names (ooi, oow, ood; .weight; _mask).
    """
    from awclient.ingest import ingest_paths, read_type_rules

    of_catalogue = {"columns": columns, "system": system, "epoch": epoch, "use": use}
    if catalogue:
        _ingest_catalogue(context, paths, {"name": catalogue, **of_catalogue}, json)
        return
    if any(of_catalogue.values()):
        raise UsageProblem("--columns, --system, --epoch and --use are of a catalogue", hint="name it by --catalogue")
    if (weight or mask or weight_type) and not reduced:
        raise UsageProblem(
            "--weight, --mask and --weight-type are of exposures that others reduced", hint="add --reduced"
        )
    rules = read_type_rules(type or [])
    with session_of(context).open() as portal, Progress(quiet=json) as progress:
        if reduced:
            fields = {"instrument": instrument, "weight_type": weight_type}
            report = _ingest_reduced(portal, paths, {"weight": weight, "mask": mask}, fields, camera, progress)
        else:
            report = ingest_paths(portal, paths, rules, instrument=instrument, camera=camera, progress=progress)
    _tell(report, json)


def _ingest_reduced(
    portal: Portal,
    paths: list[Path],
    parts: dict[str, Path | None],
    fields: dict[str, str],
    camera: Path | None,
    progress: Progress,
) -> IngestReport:
    from awclient.reduced import ReducedExposure, find_exposures, ingest_exposures

    named = {part: path for part, path in parts.items() if path is not None}
    if named and (len(paths) != 1 or not paths[0].is_file()):
        raise UsageProblem("--weight and --mask are those of one image", hint="name that image alone")
    exposures = [ReducedExposure({"image": paths[0], **named})] if named else find_exposures(paths)
    return ingest_exposures(portal, exposures, fields, camera, progress)


def _tell(report: IngestReport, json: bool) -> None:
    """Print what became of the files."""
    if json:
        out_json(report.as_json())
    else:
        say(report.summary())
        for line in [*report.refusals(), *report.hinted()]:
            say(line)
        rows: dict[tuple[str, ...], int] = {}
        for product in report.frames:
            key = (
                product["instrument"],
                product["night"] or "-",
                product["kind"],
                product["chip"],
                product["filter"] or "-",
            )
            rows[key] = rows.get(key, 0) + 1
        if rows:
            out_table(
                ("instrument", "night", "type", "chip", "filter", "frames"),
                [(*key, n) for key, n in sorted(rows.items())],
            )
    if not report.frames:
        raise RecipeFailed("nothing was ingested", hint="--type and --instrument tell what the headers do not")


def _ingest_catalogue(context: typer.Context, paths: list[Path], fields: dict[str, str], json: bool) -> None:
    from awclient.catalogues import CatalogueFiles, CatalogueReport, ingest_one

    with session_of(context).open() as portal:
        answer = ingest_one(portal, CatalogueFiles(paths, fields))
    if json:
        out_json(answer)
        return
    say(answer["outcome"])
    for line in [*CatalogueReport(products=answer["products"]).lines(), *(f"  {note}" for note in answer["notes"])]:
        say(line)
