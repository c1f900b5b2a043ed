"""The messages by which other programs load products: for those who may see them."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User
from django.test import Client

from archive.models import Product


def test_an_image_and_a_table_are_told_as_such(
    private: Product, make_product: Callable[..., Product], anna: User, browser_of: Callable[..., Client]
) -> None:
    sources = make_product(kind="SourceList", name="found")
    values = make_product(kind="GainLinearity", name="gain")
    wanted = "&".join(f"product={each.pk}" for each in (private, sources, values))
    told = browser_of(anna).get(f"/archive/samp.json?{wanted}").json()["products"]
    assert [[message["samp.mtype"] for message in each["messages"]] for each in told] == [
        ["image.load.fits"],
        ["table.load.votable", "table.load.fits"],
        ["table.load.fits"],
    ]
    params = told[0]["messages"][0]["samp.params"]
    assert params["name"] == private.name
    assert f"/files/{private.sha256}?" in params["url"]
    assert "format=votable" in told[1]["messages"][0]["samp.params"]["url"]


def test_what_one_may_not_see_is_left_out(
    private: Product, public: Product, ben: User, browser_of: Callable[..., Client]
) -> None:
    for user in (ben, None):
        answer = browser_of(user).get(f"/archive/samp.json?product={private.pk}&product={public.pk}")
        assert [each["name"] for each in answer.json()["products"]] == [public.name]
        assert private.sha256 not in answer.content.decode()


def test_too_many_are_refused(anna: User, browser_of: Callable[..., Client]) -> None:
    many = "&".join(f"product={number}" for number in range(1, 52))
    answer = browser_of(anna).get(f"/archive/samp.json?{many}")
    assert (answer.status_code, answer.json()["error"]) == (422, "choose 1 to 50 products; 51 were chosen")


def test_only_pages_that_send_may_call_a_hub(public: Product, anna: User, browser_of: Callable[..., Client]) -> None:
    browser = browser_of(anna)
    for path, may in ((f"/products/{public.pk}/", True), ("/archive/", True), (f"/products/{public.pk}/view/", True),
                      ("/runs/", False), ("/account/", False)):  # fmt: skip
        policy = browser.get(path)["Content-Security-Policy"]
        assert ("connect-src 'self' http://127.0.0.1:21012;" in policy + ";") is may, policy
        assert ("21012" in policy) is may
