"""Pages of products: the same numbers whether few are sorted here or many by the database."""

import datetime
from collections.abc import Callable

import pytest

from archive import paging
from archive.context import Context
from archive.models import Product
from archive.queries import Selection, select

Make = Callable[..., Product]


@pytest.mark.parametrize("order", ["", "name", "-name", "exposure_time", "-exposure_time", "kind,-date_obs", "created"])
@pytest.mark.parametrize("counted", [100, 5])
def test_pages_are_slices_of_the_whole(
    make_product: Make, context: Context, monkeypatch: pytest.MonkeyPatch, order: str, counted: int
) -> None:
    for number in range(20):
        make_product(
            name=f"{number * 7 % 20:02d}", kind=("BiasFrame", "DarkFrame")[number % 2],
            exposure_time=None if number % 3 == 0 else float(number % 4),
            date_obs=datetime.datetime(2024, 5, 1 + number % 5, tzinfo=datetime.UTC) if number % 4 else None,
        )  # fmt: skip
    monkeypatch.setattr(paging, "COUNTED_AT_MOST", counted)
    found = select(context, Selection.parse({"order": order}))
    whole = list(found.values_list("pk", flat=True))
    for start in (0, 6, 18, 30):
        numbers, total = paging.numbers_of(found, start, 6)
        assert numbers == whole[start : start + 6]
        assert total == min(20, counted + 1)
