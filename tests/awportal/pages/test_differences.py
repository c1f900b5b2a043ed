"""Two products side by side, from the product's page and from the archive's choice of two."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User
from django.test import Client

from archive.models import Lineage, Product
from tests.awportal.pages.conftest import frame_bytes
from tests.awportal.pages.test_pages import text_of

Browser = Callable[..., Client]


def test_two_products_side_by_side(make_product: Callable[..., Product], anna: User, browser_of: Browser) -> None:
    given = {"kind": "BiasFrame", "recipe": "Bias", "recipe_version": "2"}
    first = make_product(name="a.fits", parameters={"sigma_clip": 3.0, "same": 1}, **given)
    second = make_product(name="b.fits", parameters={"sigma_clip": 4.0, "same": 1}, **given)
    raws = [make_product(name=f"raw_{n}.fits", content=b"x") for n in range(3)]
    for product, used in ((first, raws[:2]), (second, raws[1:])):
        for place, raw in enumerate(used):
            Lineage.objects.create(product=product, source=raw, role="raw_bias", ordinal=place)
    browser = browser_of(anna)
    choice = browser.get(f"/products/{first.pk}/diff/")
    assert f'href="/products/{first.pk}/diff/{second.pk}/"' in choice.content.decode()
    assert browser.get(f"/products/{first.pk}/diff/?with={second.pk}")["Location"].endswith(f"/diff/{second.pk}/")
    assert browser.get(f"/products/{first.pk}/diff/?with=many").status_code == 422
    page = browser.get(f"/products/{first.pk}/diff/{second.pk}/")
    text = text_of(page)
    assert "6 144 of 6 144 pixels differ" in text
    assert "Masks are the same" in text
    assert "sigma_clip 3 4 ≠" in text
    assert "same 1 1 " in text
    assert "raw_bias 1 raw_0.fits raw_2.fits" in text
    picture = browser.get(f"/products/{first.pk}/diff/{second.pk}/picture.png")
    assert picture["Content-Type"] == "image/png"
    same = make_product(content=frame_bytes(1), name="again.fits", **given)
    told = text_of(browser.get(f"/products/{first.pk}/diff/{same.pk}/"))
    assert "The files are the same, byte for byte" in told
    assert "All 6 144 pixels are the same" in told


def test_files_that_cannot_be_compared_break_no_page(
    make_product: Callable[..., Product], private: Product, anna: User, ben: User, browser_of: Browser
) -> None:
    broken = make_product(content=b"not FITS")
    page = browser_of(anna).get(f"/products/{private.pk}/diff/{broken.pk}/")
    assert page.status_code == 200
    assert "The files cannot be compared" in text_of(page)
    assert browser_of(anna).get(f"/products/{private.pk}/diff/{broken.pk}/picture.png").status_code == 404
    bens = make_product(creator=ben)
    assert browser_of(ben).get(f"/products/{bens.pk}/diff/{private.pk}/").status_code == 404
    assert browser_of(ben).get(f"/products/{bens.pk}/diff/{private.pk}/picture.png").status_code == 404


def test_the_archives_choice_of_two(make_product: Callable[..., Product], anna: User, browser_of: Browser) -> None:
    first, second = make_product(), make_product()
    browser = browser_of(anna)
    way = browser.post("/archive/use/", {"product": [first.pk, second.pk], "compare": "1", "recipe": "Bias"})
    assert way["Location"] == f"/products/{first.pk}/diff/{second.pk}/"
    one = browser.post("/archive/use/", {"product": [first.pk], "compare": "1"}, follow=True)
    assert "Choose two products to compare; 1 were chosen." in text_of(one)
