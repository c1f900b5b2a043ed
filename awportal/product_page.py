"""What a product's page shows beside its row: the picture's numbers, plots, table, histories of its QC values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.urls import reverse

from archive.context import Context, readable, visible
from archive.headers import is_private
from archive.models import Change, Lineage, Measurement, Privilege, Product, Project
from awportal.pictures.charts import Chart, histogram_chart, trend_chart
from awportal.pictures.frame_file import Card, FrameError, open_frame
from awportal.pictures.preview import CAUSES
from awportal.pictures.tables import Table, read_table
from awportal.product_plots import Titled, plots_of, profiles_of
from awportal.stored_files import content_of, has_picture, local_file, picture_facts
from processing_units.frontend.models import Run
from processing_units.frontend.publishing import Unaccepted, open_levels, publications_of, unaccepted_code

HISTORY = 40
# Kinds whose tables hold positions on the pixels of a frame that they were made from, and as what it served.
LISTS_ON_FRAMES = {
    "SourceList": "frame",
    "PhotSrcCatalog": "calibrated_science",
    "AstrometricParameters": "reduced_science",
}
_CURVE_POINTS = 2000
# Frames with stars: medians of their columns and rows tell little.
_OF_THE_SKY = {"RegriddedFrame", "CoaddedRegriddedFrame", "WeightFrame"}
_MOST_LISTS = 20


@dataclass
class Look:
    """The picture's numbers and plots; `problem` says why there are none."""

    facts: dict[str, Any] = field(default_factory=dict)
    legend: list[tuple[str, int, str]] = field(default_factory=list)
    histogram: Chart | None = None
    curves: list[Titled] = field(default_factory=list)
    profiles: list[Titled] = field(default_factory=list)
    table: Table | None = None
    drawn: bool = False
    problem: str = ""


def look_at(product: Product) -> Look:
    """Return what can be shown of the product's file; a damaged one gives its problem, never an error."""
    look = Look()
    try:
        if has_picture(product):
            look.facts = picture_facts(product)
            look.drawn = True
            look.legend = _legend(look.facts)
            look.histogram = histogram_chart(
                look.facts.get("histogram", []),
                look.facts.get("edges", []),
                str(look.facts.get("unit", "")),
                float(look.facts.get("low", 0)),
                float(look.facts.get("high", 1)),
            )
        if content_of(product) in {"table", "values"}:
            with local_file(product) as path:
                look.table = read_table(path, _CURVE_POINTS)
            look.curves = plots_of(look.table, product.attributes.get("plots") or []) if look.table else []
        if content_of(product) in {"raw", "image"} and product.kind not in _OF_THE_SKY:
            look.profiles = profiles_of(look.facts)
    except FrameError as problem:
        look.problem = str(problem)
    return look


def frame_of(product: Product, context: Context) -> Product | None:
    """Return the frame on whose pixels the sources of a table lie, where one may see it."""
    role = LISTS_ON_FRAMES.get(product.kind)
    if role is None:
        return None
    return visible(context).filter(descendants__product=product, descendants__role=role).order_by("pk").first()


def lists_on(frame: Product, context: Context) -> list[Product]:
    """Return the tables whose sources lie on the pixels of `frame`, the newest of each kind first."""
    tables = Q()
    for kind, role in LISTS_ON_FRAMES.items():
        tables |= Q(kind=kind, pk__in=Lineage.objects.filter(source=frame, role=role).values("product"))
    return list(visible(context).filter(tables).order_by("-kind", "-pk")[:_MOST_LISTS])


def headers_of(product: Product) -> list[tuple[str, tuple[Card, ...]]]:
    """Return the headers of the product's file, by unit, without licence numbers; raise FrameError if unreadable."""
    with local_file(product) as path, open_frame(path) as frame:
        return [
            (hdu.name or str(place), tuple(card for card in hdu.cards if not is_private(card.keyword, card.comment)))
            for place, hdu in enumerate(frame.hdus)
        ]


def trends(product: Product, context: Context) -> list[tuple[Measurement, Chart | None]]:
    """Return each QC value with its history among the products of the same kind, instrument, chip and filter."""
    measurements = list(product.measurements.order_by("pk"))
    names = [measurement.name for measurement in measurements]
    alike = {f"product__{name}": getattr(product, name) for name in ("kind", "instrument", "chip", "filter_name")}
    recent = (
        Product.objects.filter(
            readable(context), **{name.removeprefix("product__"): value for name, value in alike.items()}
        )
        .order_by("-date_obs", "-pk")
        .values_list("pk", flat=True)[:HISTORY]
    )
    rows = (
        Measurement.objects.filter(product__in=[*recent, product.pk], name__in=names, measured__isnull=False)
        .select_related("product")
        .order_by("product__date_obs", "product")
    )
    histories: dict[str, list[tuple[float, str, str, bool]]] = {}
    for row in rows:
        title = f"{row.product.name}: {row.measured:.5g} {row.unit}"
        point = (
            float(row.measured or 0),
            title,
            reverse("product", args=[row.product_id]),
            row.product_id == product.pk,
        )
        histories.setdefault(row.name, []).append(point)
    return [(each, _trend(each, histories.get(each.name, []))) for each in measurements]


@dataclass
class Publishing:
    """Who may see a product next, and who let it be seen so far.

    ``held`` is the code for which it stays in MyDB; ``projects`` are offered where it belongs to none.
    """

    levels: list[Privilege]
    projects: list[Project]
    held: list[Unaccepted]
    log: list[Change]


def publishing_of(product: Product, context: Context) -> Publishing:
    """Return what the product's page offers and tells of publishing it."""
    levels = open_levels(product, context)
    # What rests on code that nobody accepted is in MyDB: nothing else need be looked at.
    held = unaccepted_code([product.pk]) if levels and product.privilege == Privilege.MYDB else []
    projects = Project.objects.filter(memberships__user=context.user).order_by("name") if not product.project else []
    return Publishing(levels, list(projects), held, list(publications_of(product)))


def publishing_of_run(run: Run, context: Context) -> Publishing | None:
    """Return what the run's page offers for all of its products at once, or None where nothing can be published."""
    made = visible(context).filter(made_by_run=run.pk)
    lowest = made.select_related("project").order_by("privilege", "pk").first()
    if lowest is None:
        return None
    found = publishing_of(lowest, context)
    if not found.levels:
        return None
    # Those that are seen by more people already rest on nothing that was not accepted.
    in_mydb = made.filter(privilege=Privilege.MYDB).values_list("pk", flat=True)
    return Publishing(found.levels, found.projects, unaccepted_code(in_mydb), [])


def _trend(measurement: Measurement, history: list[tuple[float, str, str, bool]]) -> Chart | None:
    label = f"{measurement.name} [{measurement.unit}]" if measurement.unit else measurement.name
    return trend_chart(history, label, measurement.lower_limit, measurement.upper_limit)


def _legend(facts: dict[str, Any]) -> list[tuple[str, int, str]]:
    colours = {cause: "#{:02x}{:02x}{:02x}".format(*tint) for cause, tint in CAUSES.values()}
    return [(cause, count, colours[cause]) for cause, count in facts.get("masked", {}).items() if cause in colours]
