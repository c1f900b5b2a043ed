"""The archive page: filters that hold, each taken off by a click; columns that sort; many products."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from archive.models import FacetValue, Membership, Privilege, Product, Project
from processing_units.frontend.models import ProcessingUnit
from tests.bench.many_products import FILTERS, fill, pages

Browser = Callable[..., Client]
Make = Callable[..., Product]


def names_on(html: str) -> list[str]:
    """Return the names of the products that a page lists, in order."""
    return re.findall(r'<td><a href="/products/\d+/">([^<]+)</a></td>', html)


@pytest.fixture
def three(make_product: Make, anna: User, project: Project) -> list[Product]:
    """Three products that differ in all that is filtered by."""
    Membership.objects.create(user=anna, project=project)
    return [
        make_product(b"a", name="b.fits", ra=187.25, dec=-41.5, object_name="NGC 1"),
        make_product(b"b", name="c.fits", chip="ccd2", quality_flags=4, project=project, privilege=Privilege.PROJECT),
        make_product(b"c", name="a.fits", kind="BiasFrame", is_valid=0, night=datetime.date(2026, 3, 15),
                     timestamp_start=datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC),
                     timestamp_end=datetime.datetime(2026, 3, 20, tzinfo=datetime.UTC)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("night=2026-03-14", ["c.fits", "b.fits"]),
        ("night_from=2026-03-15", ["a.fits"]),
        ("quality=flagged", ["c.fits"]),
        ("quality=bad", ["a.fits"]),
        ("quality=passed", ["b.fits"]),
        ("validity=invalid", ["a.fits"]),
        ("valid_at=2026-05-01", ["c.fits", "b.fits"]),
        ("project=survey", ["c.fits"]),
        ("order=name", ["a.fits", "b.fits", "c.fits"]),
        ("order=-name", ["c.fits", "b.fits", "a.fits"]),
        ("order=name&chip=ccd1&kind=RawBias", ["b.fits"]),
    ],
)
def test_filters_and_order(
    three: list[Product], anna: User, browser_of: Browser, query: str, expected: list[str]
) -> None:
    assert names_on(browser_of(anna).get(f"/archive/?{query}").content.decode()) == expected


def test_a_cone_in_sexagesimals(make_product: Make, anna: User, browser_of: Browser) -> None:
    from archive.sky import healpix_of

    make_product(b"a", name="there.fits", ra=187.25, dec=-41.5, healpix=healpix_of(187.25, -41.5))
    make_product(b"b", name="away.fits", ra=188.25, dec=-41.5, healpix=healpix_of(188.25, -41.5))
    answer = browser_of(anna).get("/archive/", {"ra": "12:29:00", "dec": "-41:30:00", "radius": "6′"})
    assert names_on(answer.content.decode()) == ["there.fits"]


def test_filters_that_hold_are_told_and_each_is_taken_off(
    three: list[Product], anna: User, browser_of: Browser
) -> None:
    browser = browser_of(anna)
    given = "night_from=2026-03-14&night_to=2026-03-14&chip=ccd2&quality=flagged&order=name"
    html = browser.get(f"/archive/?{given}").content.decode()
    held = re.findall(r"<li><span>(\S+) <b>([^<]+)</b></span><a href=\"([^\"]+)\"", html)
    assert [(what, words) for what, words, _ in held] == [
        ("night", "2026-03-14"), ("chip", "ccd2"), ("quality", "flagged")]  # fmt: skip
    without_chip = browser.get("/archive/" + held[1][2].replace("&amp;", "&")).content.decode()
    assert re.findall(r"<li><span>(\S+) <b>", without_chip) == ["night", "quality"]
    assert 'aria-sort="ascending"><a href="?night_from' in without_chip, "the order stays"
    assert "Nothing matches" in browser.get("/archive/?chip=ccd9").content.decode()


def test_the_address_that_htmx_shows_has_what_was_given_alone(
    three: list[Product], anna: User, browser_of: Browser
) -> None:
    answer = browser_of(anna).get("/archive/?instrument=&chip=ccd2&kind=", headers={"HX-Request": "true"})
    assert answer["HX-Push-Url"] == "/archive/?chip=ccd2"


def test_a_page_past_the_end_says_so(three: list[Product], anna: User, browser_of: Browser) -> None:
    html = browser_of(anna).get("/archive/?chip=ccd2&page=7").content.decode()
    assert "No page 7" in html
    assert 'href="?chip=ccd2"' in html


def test_the_recipes_form_keeps_the_archives_filters(
    three: list[Product], unit: ProcessingUnit, anna: User, browser_of: Browser
) -> None:
    browser = browser_of(anna)
    answer = browser.get("/archive/use/?recipe=Bias&all=1&quality=flagged&night_from=2026-03-14&night_to=2026-03-14")
    html = browser.get(answer["Location"]).content.decode()
    assert "All 1 RawBias that match the filters" in html
    assert "quality <b>flagged</b>" in html
    assert '<input type="hidden" name="quality" value="flagged">' in html
    assert "the whole night of 2026-03-14" in html
    inputs = browser.post("/recipes/Bias/inputs/", {"quality": "flagged", "night": "2026-03-14"}).content.decode()
    assert "All 1 RawBias" in inputs


ROWS = 1500


@pytest.fixture
def many(db: None) -> Client:
    """A small archive of the bench, and the browser of one of its users."""
    fill(ROWS)
    browser = Client()
    browser.force_login(User.objects.get(username="user3"))
    return browser


def test_every_page_of_the_bench_is_answered_by_indexes(many: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked for: a bounded number of queries, and none that sorts or reads all products."""
    assert FacetValue.objects.filter(name="filter", scope="world").count() == len(FILTERS)
    monkeypatch.setattr("archive.paging.COUNTED_AT_MOST", 50)  # as if they were very many
    many.get("/archive/")
    for name, path in pages().items():
        with CaptureQueriesContext(connection) as asked:
            answer = many.get(path)
        assert answer.status_code == 200, name
        assert len(asked) <= 20, name
        if connection.vendor == "sqlite" and name.startswith("sorted by"):
            page = next(entry["sql"] for entry in asked if "ORDER BY" in entry["sql"] and "LIMIT 51" in entry["sql"])
            with connection.cursor() as cursor:
                plan = " ".join(row[-1] for row in cursor.execute(f"EXPLAIN QUERY PLAN {page}").fetchall())
            assert "TEMP B-TREE" not in plan, f"{name}: {plan}"
