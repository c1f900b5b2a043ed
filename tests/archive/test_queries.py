"""Finding products: by what is known of them, by place on the sky, by lineage."""

import datetime
import math
import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from archive.context import VISITOR, Context
from archive.filter_texts import BadSelection, coordinate
from archive.models import Lineage, Privilege, Product, Project
from archive.queries import Selection, ancestors, descendants, select
from archive.sky import healpix_of

Make = Callable[..., Product]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {0, 1, 2, 3}),
        ({"kind": "RawScience"}, {0}),
        ({"kind": "RawScience,BiasFrame"}, {0, 1}),
        ({"kind": ["RawScience", "BiasFrame"]}, {0, 1}),
        ({"instrument": "nickel"}, {0}),
        ({"chip": "ccd2"}, {2}),
        ({"filter": "V"}, {0}),
        ({"night": "2024-05-12"}, {0}),
        ({"night_from": "2024-05-13", "night_to": "2024-05-14"}, {1}),
        ({"object": "ngc"}, {0}),
        ({"name": "BIAS"}, {1}),
        ({"is_valid": "bad"}, {2}),
        ({"is_valid": "2"}, {0, 1, 3}),
        ({"run": "7"}, {1}),
        ({"job": "70"}, {1}),
        ({"recipe": "Bias"}, {1}),
        ({"project": "survey"}, {2}),
        ({"creator": "alice"}, {0, 1, 2, 3}),
        ({"creator": "bob"}, set()),
        ({"unflagged": "yes"}, {0, 1}),
        ({"quality": "passed"}, {0, 1}),
        ({"quality": "flagged"}, {2, 3}),
        ({"quality": "bad"}, {2}),
        ({"validity": "valid", "valid_at": "2024-05-13"}, {0, 1, 3}),
        ({"valid_at": "2024-06-30T00:00"}, {3}),
        ({"validity": "invalid", "valid_at": "2024-06-30"}, {0, 1, 2}),
        ({"validity": "invalid", "valid_at": "2024-05-13"}, {2}),
        ({"ra": "0:40:00", "dec": "+20d03m", "radius": "1'"}, {0}),
        ({"ra": "0h40m", "dec": "20.05"}, {0}),
        ({"ra": "10", "dec": "20", "radius": "0.1"}, {0}),
        ({"kind": "RawScience", "chip": "ccd2"}, set()),
        ({"kind": "", "name": None}, {0, 1, 2, 3}),
    ],
)
def test_filters(
    context: Context, make_product: Make, project: Project, given: dict[str, object], expected: set[int]
) -> None:
    products = [
        make_product(kind="RawScience", instrument="nickel", filter_name="V", night=datetime.date(2024, 5, 12),
                     object_name="NGC 4147", ra=10.0, dec=20.05, healpix=healpix_of(10.0, 20.05)),
        make_product(kind="BiasFrame", name="bias_1.fits", night=datetime.date(2024, 5, 14), made_by_run=7,
                     made_by_job=70, recipe="Bias"),
        make_product(kind="DarkFrame", chip="ccd2", is_valid=0, quality_flags=2, project=project,
                     night=datetime.date(2024, 5, 16)),
        make_product(kind="SourceList", quality_flags=1, timestamp_start=None, timestamp_end=None),
    ]  # fmt: skip
    found = select(context, Selection.parse(given))
    assert {products.index(product) for product in found} == expected


def test_a_visitor_finds_what_is_public(make_product: Make) -> None:
    make_product()
    public = make_product(privilege=Privilege.WORLD)
    assert list(select(VISITOR)) == [public]


@pytest.mark.parametrize(
    ("name", "text", "degrees"),
    [
        ("ra", "187.25", 187.25),
        ("ra", "12:29:00", 187.25),
        ("ra", "12h29m00.0s", 187.25),
        ("ra", "12 29", 187.25),
        ("ra", "187d15m", 187.25),
        ("dec", "-41:30:00", -41.5),
        ("dec", "−0° 30′ 36″", -0.51),
        ("dec", "+41.5", 41.5),
    ],
)
def test_coordinates_are_read_as_people_write_them(name: str, text: str, degrees: float) -> None:
    assert coordinate(name, text) == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "degrees"), [("0.1", 0.1), ("6'", 0.1), ("6arcmin", 0.1), ("36″", 0.01), ("2 deg", 2)]
)
def test_a_radius_has_a_unit(text: str, degrees: float) -> None:
    found = Selection.parse({"ra": "1", "dec": "1", "radius": text}).cone
    assert found == pytest.approx((1, 1, degrees))


def test_one_selection_within_another(context: Context, make_product: Make) -> None:
    wanted = make_product(kind="RawBias", chip="ccd2")
    make_product(kind="RawBias", chip="ccd1")
    make_product(kind="RawDark", chip="ccd2")
    biases = Selection.parse({"kind": "RawBias,RawDomeFlat"})
    assert list(select(context, Selection.parse({"chip": "ccd2"}, within=biases))) == [wanted]


def test_order(context: Context, make_product: Make) -> None:
    for name in ("b.fits", "c.fits", "a.fits"):
        make_product(name=name)
    assert [product.name for product in select(context, Selection.parse({"order": "name"}))] == [
        "a.fits", "b.fits", "c.fits"]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "BiasFrame,Bais"}, "there is no kind 'Bais'; the kinds are: RawBias, "),
        ({"colour": "red"}, "there is no filter 'colour'; the filters are: chip, creator"),
        ({"night": "12.5.2024"}, "night: '12.5.2024' is not a date like 2024-05-12"),
        ({"run": "seven"}, "run: 'seven' is not a whole number"),
        ({"is_valid": "perhaps"}, "is_valid: 'perhaps' is none of"),
        ({"ra": "10"}, "given by ra, dec and radius together"),
        ({"ra": "10", "dec": "100", "radius": "1"}, "dec from -90 to 90"),
        ({"ra": "a", "dec": "1", "radius": "1"}, "ra: 'a' is no coordinate; write it like 187.25"),
        ({"ra": "nan", "dec": "1", "radius": "1"}, "ra: 'nan' is no coordinate"),
        ({"ra": "361", "dec": "1", "radius": "1"}, "ra lies from 0 to 360"),
        ({"ra": "25:00", "dec": "1", "radius": "1"}, "ra: '25:00' is more than 24 hours"),
        ({"ra": "1", "dec": "1:61", "radius": "1"}, "dec: '1:61' is no coordinate"),
        ({"ra": "1", "dec": "1", "radius": "wide"}, "radius above 0"),
        ({"quality": "fine"}, "quality: 'fine' is none of passed, flagged, bad"),
        ({"validity": "often"}, "validity: 'often' is none of valid, invalid"),
        ({"valid_at": "soon"}, "valid_at: 'soon' is neither now nor a date or time"),
        ({"ids": "1-30000"}, "ids: more than 20000 products are named"),
        ({"ids": "9-"}, "ids: '' is not a whole number"),
        ({"order": "password"}, "order: 'password' is none of"),
    ],
)
def test_what_cannot_be_understood_says_what_is_expected(given: dict[str, str], message: str) -> None:
    with pytest.raises(BadSelection, match=message):
        Selection.parse(given)


@pytest.mark.parametrize(
    ("ra", "dec", "radius"),
    [
        (0.0, 0.0, 2.0),
        (359.9, 10.0, 1.5),
        (120.0, 89.5, 3.0),
        (200.0, -90.0, 5.0),
        (80.0, 45.0, 70.0),
        (30.0, -30.0, 0.3),
    ],
)
def test_a_cone_finds_all_that_lies_in_it_and_nothing_else(
    context: Context, make_product: Make, ra: float, dec: float, radius: float
) -> None:
    dice = random.Random(1)
    inside = set()
    for _ in range(60):
        distance, direction = radius * dice.uniform(0, 2), dice.uniform(0, 2 * math.pi)
        there = _step(ra, dec, distance, direction)
        product = make_product(ra=there[0], dec=there[1], healpix=healpix_of(*there))
        if distance <= radius:
            inside.add(product.pk)
    make_product()  # without a place
    found = select(context, Selection(cone=(ra, dec, radius)))
    assert {product.pk for product in found} == inside


def _step(ra: float, dec: float, distance: float, direction: float) -> tuple[float, float]:
    """Return the place at a distance [deg] in a direction, by spherical trigonometry."""
    start, far = math.radians(dec), math.radians(distance)
    end = math.asin(math.sin(start) * math.cos(far) + math.cos(start) * math.sin(far) * math.cos(direction))
    turn = math.atan2(
        math.sin(direction) * math.sin(far) * math.cos(start), math.cos(far) - math.sin(start) * math.sin(end)
    )
    return (ra + math.degrees(turn)) % 360, math.degrees(end)


@pytest.fixture
def family(make_product: Make) -> dict[str, Product]:
    """A raw frame and a raw bias, the bias made of it, the reduced frame of both, its source list."""
    names = ("raw", "raw_bias", "bias", "reduced", "sources")
    made = {name: make_product(name=name, privilege=Privilege.WORLD) for name in names}
    for product, source in (("bias", "raw_bias"), ("reduced", "raw"), ("reduced", "bias"), ("sources", "reduced")):
        Lineage.objects.create(product=made[product], source=made[source], role=source)
    return made


def test_ancestors_go_up_to_the_raw_frames(family: dict[str, Product], django_assert_num_queries) -> None:
    with django_assert_num_queries(5):  # four generations, the last of which is empty, and the products
        found = ancestors(VISITOR, family["sources"])
    by_number = {product.pk: name for name, product in family.items()}
    assert [(by_number[step.product_id], by_number[step.source_id], step.role, step.depth) for step in found.steps] == [
        ("sources", "reduced", "reduced", 1),
        ("reduced", "bias", "bias", 2),
        ("reduced", "raw", "raw", 2),
        ("bias", "raw_bias", "raw_bias", 3),
    ]
    assert {product.name for product in found.products.values()} == {"raw", "raw_bias", "bias", "reduced"}
    assert (found.hidden, found.is_cut) == (0, False)


def test_descendants_go_down_to_the_last(family: dict[str, Product]) -> None:
    found = descendants(VISITOR, family["raw_bias"])
    assert {product.name for product in found.products.values()} == {"bias", "reduced", "sources"}


def test_a_lineage_of_thousands_is_cut(make_product: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archive.queries._FAMILY", 3)
    flat = make_product(privilege=Privilege.WORLD)
    Lineage.objects.bulk_create(
        Lineage(product=make_product(privilege=Privilege.WORLD), source=flat, role="flat") for _ in range(5)
    )
    found = descendants(VISITOR, flat)
    assert (len(found.products), found.is_cut) == (3, True)


def test_what_may_not_be_seen_is_counted_and_not_shown(family: dict[str, Product], bob: User) -> None:
    Product.objects.filter(name="bias").update(privilege=Privilege.MYDB)
    found = ancestors(Context(bob), family["sources"])
    assert {product.name for product in found.products.values()} == {"raw", "raw_bias", "reduced"}
    assert found.hidden == 1
    assert all(family["bias"].pk not in (step.product_id, step.source_id) for step in found.steps)
