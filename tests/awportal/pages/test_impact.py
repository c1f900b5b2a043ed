"""Before a calibration is called bad one sees what becomes stale; it says so everywhere, and can be made anew."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.contrib.auth.models import User
from django.test import Client

from archive.models import Lineage, Product
from processing_units.frontend.models import ProcessingUnit, Run
from tests.awportal.pages.test_pages import text_of

Browser = Callable[..., Client]


def test_from_a_verdict_to_making_it_anew(
    unit: ProcessingUnit, make_product: Callable[..., Product], anna: User, ben: User, browser_of: Browser
) -> None:
    bias = make_product(kind="BiasFrame", name="bias.fits")
    raws = [make_product(kind="RawScience", filter_name="r", content=b"x") for _ in range(2)]
    for number, raw in enumerate(raws):
        made = make_product(
            kind="ReducedScienceFrame", name=f"reduced_{number}.fits", filter_name="r", content=b"x", recipe="Reduce",
            made_by_job=900 + number,
        )  # fmt: skip
        Lineage.objects.create(product=made, source=bias, role="bias_frame")
        Lineage.objects.create(product=made, source=raw, role="raw_science")
    browser = browser_of(anna)
    asked = browser.post(f"/products/{bias.pk}/verdict/", {"is_valid": "0"})
    assert asked["Location"] == f"/products/{bias.pk}/impact/?verdict=bad"
    shown = text_of(browser.get(asked["Location"]))
    assert "Call it bad? 2 products made from it would become stale" in shown
    bias.refresh_from_db()
    assert bias.is_valid != 0, "only shown so far"
    done = browser.post(f"/products/{bias.pk}/verdict/", {"is_valid": "0", "confirmed": "1"}, follow=True)
    assert "2 products made from it: stale now." in text_of(done)
    assert "2 of them are stale" in text_of(done)
    page = browser.get(f"/products/{made.pk}/").content.decode()
    assert "Stale:" in page
    assert f'href="/products/{bias.pk}/reprocess/"' in page
    assert "reduced_0.fits" in text_of(browser.get("/archive/?quality=stale"))
    assert "bias.fits" not in text_of(browser.get("/archive/?quality=stale"))

    dry = browser.get(f"/products/{bias.pk}/reprocess/")
    assert "2 jobs in 1 step : Reduce" in text_of(dry)
    fingerprint = re.search(r'name="plan" value="([0-9a-f]{64})"', dry.content.decode())
    assert fingerprint is not None
    wrong = browser.post(f"/products/{bias.pk}/reprocess/", {"plan": "0" * 64, "key": "k"})
    assert (wrong.status_code, Run.objects.count()) == (422, 0)
    way = browser.post(f"/products/{bias.pk}/reprocess/", {"plan": fingerprint[1], "key": "k"})
    run = Run.objects.get()
    assert way["Location"] == f"/runs/{run.pk}/"
    assert run.jobs.count() == 2
    assert "nothing that rests on this is stale" in text_of(browser.get(f"/products/{raws[0].pk}/reprocess/")).lower()


def test_a_long_list_is_paged_and_counted(
    make_product: Callable[..., Product], anna: User, browser_of: Browser, django_assert_max_num_queries: Browser
) -> None:
    bias = make_product(kind="BiasFrame")
    rows = [
        Product(kind="ReducedScienceFrame", name=f"r{n}.fits", sha256="0" * 64, file_size=1, instrument="simcam",
                chip="1", creator=anna)
        for n in range(1200)
    ]  # fmt: skip
    made = Product.objects.bulk_create(rows, batch_size=200)
    Lineage.objects.bulk_create([Lineage(product=each, source=bias, role="bias_frame") for each in made])
    browser = browser_of(anna)
    with django_assert_max_num_queries(40):
        text = text_of(browser.get(f"/products/{bias.pk}/impact/"))
    assert "1 200 products in 1 generation" in text
    assert "1–50 of 1200" in text
    assert "1151–1200 of 1200" in text_of(browser.get(f"/products/{bias.pk}/impact/?page=24"))
    assert browser.get(f"/products/{bias.pk}/impact/?page=9999").status_code == 200
