"""What rests on a product called bad is stale, and only that, in whatever order verdicts come."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from archive.calibration import Wanted, choose
from archive.context import Context
from archive.models import Lineage, Privilege, Product, Validity
from archive.queries import Selection, select
from archive.staleness import impact_of, inherit, judge
from tests.archive.test_calibration_choice import NOON

Make = Callable[..., Product]


def made_from(make_product: Make, *sources: Product, role: str = "frame", **given: object) -> Product:
    product = make_product(**given)
    for place, source in enumerate(sources):
        Lineage.objects.create(product=product, source=source, role=role, ordinal=place)
    return product


def stale() -> dict[int, int]:
    rows = Product.objects.filter(stale_because__isnull=False)
    return {pk: because for pk, because in rows.values_list("pk", "stale_because") if because is not None}


def test_all_generations_become_stale_and_no_longer(make_product: Make) -> None:
    bias, other = make_product(), make_product()
    flat = made_from(make_product, bias)
    reduced = made_from(make_product, flat, bias)
    stack = made_from(make_product, reduced, other)
    made_from(make_product, other)
    assert judge(bias, Validity.BAD) == 3
    assert stale() == dict.fromkeys((flat.pk, reduced.pk, stack.pk), bias.pk)
    assert judge(bias, Validity.GOOD) == 3
    assert stale() == {}


def test_what_rests_on_two_bad_ones_stays_stale(make_product: Make) -> None:
    first, second = make_product(), make_product()
    both = made_from(make_product, first, second)
    below = made_from(make_product, both)
    only = made_from(make_product, first)
    judge(first, Validity.BAD)
    judge(second, Validity.BAD)
    assert judge(first, Validity.PROPOSED) == 1
    assert stale() == {both.pk: second.pk, below.pk: second.pk}
    assert only.pk not in stale()


def test_a_calibration_that_was_only_compared_with_makes_nothing_stale(make_product: Make) -> None:
    bias = make_product()
    later = made_from(make_product, bias, role="previous")
    assert judge(bias, Validity.BAD) == 0
    assert impact_of(bias, Context(later.creator)).total == 0
    assert inherit([later.pk]) == 0


def test_what_is_made_from_what_is_stale_inherits_it(make_product: Make) -> None:
    bias = make_product()
    flat = made_from(make_product, bias)
    judge(bias, Validity.BAD)
    late, later = made_from(make_product, bias), made_from(make_product, flat)
    assert inherit([late.pk, later.pk]) == 2
    assert stale() == dict.fromkeys((flat.pk, late.pk, later.pk), bias.pk)


@pytest.mark.parametrize("seed", range(6))
def test_it_is_as_if_reckoned_anew_whatever_was_judged(make_product: Make, seed: int) -> None:
    chance = random.Random(seed)
    products: list[Product] = []
    sources: dict[int, set[int]] = {}
    for _ in range(18):
        some = chance.sample(products, min(len(products), chance.randint(0, 3)))
        products.append(made_from(make_product, *some))
        sources[products[-1].pk] = {source.pk for source in some}
    for _ in range(14):
        judge(chance.choice(products), chance.choice(list(Validity)))
        bad = set(Product.objects.filter(is_valid=Validity.BAD).values_list("pk", flat=True))
        below: dict[int, set[int]] = {}  # the bad ones that each rests on
        for product in products:
            below[product.pk] = {pk for source in sources[product.pk] for pk in below[source] | ({source} & bad)}
        found = stale()
        assert set(found) == {pk for pk, causes in below.items() if causes}
        assert all(because in below[pk] for pk, because in found.items())


def test_the_impact_counts_what_may_not_be_seen(make_product: Make, bob: User, context: Context) -> None:
    bias = make_product(privilege=Privilege.ALL_USERS)
    flat = made_from(make_product, bias, kind="MasterFlatFrame", privilege=Privilege.ALL_USERS)
    hidden = made_from(make_product, flat, kind="ReducedScienceFrame")
    judge(bias, Validity.BAD)
    seen = impact_of(bias, Context(bob))
    assert (seen.generations, seen.kinds, seen.stale, seen.hidden) == ([[flat.pk], []], {"MasterFlatFrame": 1}, 1, 1)
    assert seen.total == 2
    assert impact_of(bias, context).generations == [[flat.pk], [hidden.pk]]
    assert [product.pk for product in select(Context(bob), Selection.parse({"quality": "stale"}))] == [flat.pk]


def test_many_descendants_cost_few_queries(
    make_product: Make, context: Context, django_assert_max_num_queries: Callable[..., object]
) -> None:
    bias = make_product()
    rows = [
        Product(kind="ReducedScienceFrame", name=f"r{n}", sha256="0" * 64, file_size=1, instrument="cam", chip="1",
                creator=bias.creator)
        for n in range(2000)
    ]  # fmt: skip
    made = Product.objects.bulk_create(rows, batch_size=200)
    Lineage.objects.bulk_create([Lineage(product=each, source=bias, role="bias_frame") for each in made])
    with django_assert_max_num_queries(40):
        assert judge(bias, Validity.BAD) == 2000
    with django_assert_max_num_queries(30):
        assert impact_of(bias, context).stale == 2000


def test_a_stale_calibration_stands_behind_others(make_product: Make, context: Context) -> None:
    raw = make_product(kind="RawBias")
    older = make_product(name="older.fits", quality_flags=4, created=NOON)
    newer = made_from(make_product, raw, name="newer.fits")
    wanted = Wanted("cam", "ccd1", overscan_correction=6)
    assert choose(context, "BiasFrame", wanted, NOON).product == newer
    judge(raw, Validity.BAD)
    choice = choose(context, "BiasFrame", wanted, NOON)
    assert choice.product == older
    assert choice.rivals == ["newer.fits: stale, it rests on a product called bad"]
    older.delete()
    assert "although it is stale" in choose(context, "BiasFrame", wanted, NOON).reason
