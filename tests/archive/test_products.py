"""What a job made becomes rows: products, measurements, lineage; checked, because a job may run shipped code."""

import datetime
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from archive.calibration import Wanted, choose
from archive.context import VISITOR, Context
from archive.models import Measurement, Privilege, Product, Project
from archive.products import InvalidProduct, MadeBy, UsedInput, register, register_all
from processing_units.contract import StagedProduct

MADE_BY = MadeBy(run=7, job=70, recipe="Bias", recipe_version="1.0", parameters={"sigma_clip": 3.0})
Make = Callable[..., Product]


def staged(**given: Any) -> StagedProduct:
    usual: dict[str, Any] = {
        "kind": "BiasFrame", "name": "BiasFrame_cam_ccd1.fits", "sha256": "ab" * 32, "size": 1000,
        "attributes": {"instrument": "cam", "chip": "ccd1", "night": "2024-05-12", "temperature": -110.0,
                       "date_obs": "2024-05-13T01:59:58.110", "overscan_correction": 6, "stdev": float("nan")},
        "measurements": [{"name": "stdev", "value": 5.3, "error": 0.1, "unit": "adu", "maximum": 10.0,
                          "verdict": "good"}, {"name": "mean", "value": float("inf")}],
        "made_without": ["ReadNoise"],
    }  # fmt: skip
    return StagedProduct(**(usual | given))


def test_a_product_with_all_that_is_known(alice: User, project: Project, make_product: Make) -> None:
    raws = [make_product(kind="RawBias") for _ in range(3)]
    product = register(
        staged(),
        Context(alice, project, Privilege.PROJECT),
        MADE_BY,
        [UsedInput(raw.pk, "raw_bias", ordinal) for ordinal, raw in enumerate(raws)],
    )
    product.refresh_from_db()
    assert (product.instrument, product.chip, product.overscan_correction, product.temperature) == (
        "cam",
        "ccd1",
        6,
        -110,
    )
    assert product.night == datetime.date(2024, 5, 12)
    assert product.date_obs == datetime.datetime(2024, 5, 13, 1, 59, 58, 110000, tzinfo=datetime.UTC)
    assert (product.project, product.privilege, product.creator) == (project, Privilege.PROJECT, alice)
    assert (product.made_by_run, product.made_by_job, product.recipe, product.parameters) == (
        7, 70, "Bias", {"sigma_clip": 3.0})  # fmt: skip
    assert product.attributes["stdev"] is None  # NaN is no JSON
    assert product.made_without == ["ReadNoise"]
    assert [(line.source_id, line.role, line.ordinal) for line in product.lineage.all()] == [
        (raw.pk, "raw_bias", ordinal) for ordinal, raw in enumerate(raws)
    ]
    stdev = product.measurements.get(name="stdev")
    assert (stdev.measured, stdev.error, stdev.unit, stdev.lower_limit, stdev.upper_limit, stdev.verdict) == (
        5.3, 0.1, "adu", None, 10.0, "good")  # fmt: skip
    assert str(product.measurements.get(name="mean")) == "mean = not measured"


def test_it_is_valid_around_its_night(context: Context) -> None:
    product = register(staged(), context, MADE_BY, [])
    night = datetime.datetime(2024, 5, 12, 12, tzinfo=datetime.UTC)
    assert product.timestamp_start == night - datetime.timedelta(days=14)
    assert product.timestamp_end == night + datetime.timedelta(days=15)
    assert choose(context, "BiasFrame", Wanted("cam", "ccd1"), "2024-05-13T02:00:00").product == product


def test_a_recipe_may_say_its_own_validity(context: Context) -> None:
    attributes = staged().attributes | {"timestamp_start": "2024-01-01T00:00:00", "timestamp_end": "2024-02-01"}
    product = register(staged(attributes=attributes), context, MADE_BY, [])
    assert product.timestamp_start == datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    assert product.timestamp_end == datetime.datetime(2024, 2, 1, tzinfo=datetime.UTC)


def test_a_product_without_a_night_has_its_inputs(context: Context, make_product: Make) -> None:
    raws = [make_product(kind="RawBias", night=datetime.date(2024, 5, day)) for day in (10, 12)]
    product = register(
        staged(attributes={"instrument": "cam", "chip": "ccd1"}),
        context,
        MADE_BY,
        [UsedInput(raw.pk, "raw_bias", ordinal) for ordinal, raw in enumerate(raws)],
    )
    assert product.timestamp_start == datetime.datetime(2024, 4, 26, 12, tzinfo=datetime.UTC)
    assert product.timestamp_end == datetime.datetime(2024, 5, 27, 12, tzinfo=datetime.UTC)


def test_what_is_no_calibration_has_no_validity_and_a_place(context: Context) -> None:
    attributes = staged().attributes | {"filter": "V", "ra": 370.0, "dec": -8.8}
    frame = staged(kind="ReducedScienceFrame", name="r.fits", attributes=attributes)
    product = register(frame, context, MADE_BY, [])
    assert (product.timestamp_start, product.timestamp_end) == (None, None)
    assert (product.filter_name, product.ra, product.dec) == ("V", 10.0, -8.8)
    assert isinstance(product.healpix, int)


def test_a_bias_belongs_to_no_filter(context: Context) -> None:
    product = register(staged(attributes=staged().attributes | {"filter": "V"}), context, MADE_BY, [])
    assert product.filter_name == ""


def test_what_shipped_code_made_is_mydb_always(alice: User, project: Project) -> None:
    made_by = MadeBy(run=7, job=70, recipe="Bias", recipe_version="1.0", code_digest="cd" * 32)
    product = register(staged(), Context(alice, project, Privilege.WORLD), made_by, [])
    assert (product.privilege, product.project, product.code_digest) == (Privilege.MYDB, None, "cd" * 32)


def test_a_job_registers_a_name_once(context: Context) -> None:
    register(staged(), context, MADE_BY, [])
    with pytest.raises(IntegrityError), transaction.atomic():
        register(staged(sha256="cd" * 32), context, MADE_BY, [])
    other = MadeBy(run=7, job=71, recipe="Bias", recipe_version="1.0")
    assert register(staged(), context, other, []).pk


def test_many_products_are_three_statements(context: Context, make_product: Make, django_assert_num_queries) -> None:
    raws = [make_product(kind="RawBias").pk for _ in range(10)]
    with django_assert_num_queries(3):
        products = register_all(
            [staged(name=f"b{number}.fits") for number in range(4)],
            context,
            MADE_BY,
            [UsedInput(raw, "raw_bias", ordinal) for ordinal, raw in enumerate(raws)],
        )
    assert len({product.pk for product in products}) == 4
    assert Measurement.objects.count() == 8
    assert [product.lineage.count() for product in products] == [10] * 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "RawScience"}, "a job cannot make a product of the kind 'RawScience'"),
        ({"kind": "Nonsense"}, "a job cannot make a product of the kind 'Nonsense'"),
        ({"name": "../../x.fits"}, "cannot be a product's name"),
        ({"name": "x" * 201}, "cannot be a product's name"),
        ({"sha256": "xyz"}, "'xyz' is not a sha256"),
        ({"size": -1}, "must be whole numbers from 0"),
        ({"attributes": {"instrument": "x" * 61}}, "instrument .* is longer than 60 characters"),
        ({"measurements": [{"name": "a", "value": 1.0, "verdict": "superb"}]}, "'superb' is no verdict"),
        ({"measurements": [{"name": "a", "value": 1.0}, {"name": "a", "value": 2.0}]}, "a is measured twice"),
    ],
)
def test_what_cannot_be_is_refused(context: Context, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidProduct, match=message):
        register(staged(**given), context, MADE_BY, [])
    assert not Product.objects.exists()


def test_a_visitor_makes_nothing(db: None) -> None:
    with pytest.raises(InvalidProduct, match="creator"):
        register(staged(), VISITOR, MADE_BY, [])


def test_hostile_attributes_are_stored_harmless(context: Context) -> None:
    attributes = {
        "instrument": "cam\x00\n<b>", "chip": None, "ra": "x", "dec": 1e400, "night": "never", "object": "o" * 500,
        "deep": {"list": [math.inf, "a\x00b", {1: 2}]},
    }  # fmt: skip
    product = register(staged(attributes=attributes), context, MADE_BY, [])
    product.refresh_from_db()
    assert (product.instrument, product.chip, product.ra, product.night) == ("cam  <b>", "", None, None)
    assert len(product.object_name) == 100
    assert product.attributes["deep"] == {"list": [None, "ab", {"1": 2}]}


def test_places_on_the_sky_are_numbered_as_healpix_does(context: Context) -> None:
    from astropy import units
    from astropy_healpix import HEALPix

    grid = HEALPix(nside=4096, order="nested")
    for number, (ra, dec) in enumerate(itertools.product((0.0, 123.4, 359.999), (-90.0, 0.0, 45.6, 90.0))):
        attributes = {"instrument": "cam", "chip": "1", "ra": ra, "dec": dec}
        frame = staged(kind="ReducedScienceFrame", name=f"f{number}.fits", attributes=attributes)
        product = register(frame, context, MADE_BY, [])
        assert product.healpix == int(grid.lonlat_to_healpix(ra * units.deg, dec * units.deg))
