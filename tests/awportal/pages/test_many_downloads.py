"""Many products in one archive: chosen or found, as stored or converted, cut off and gone on with."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from django.contrib.auth.models import User
from django.test import Client

from archive.models import Product
from awportal import products_archive


@pytest.fixture
def three(make_product: Callable[..., Product]) -> list[Product]:
    """Two frames of one name and a source list, Anna's."""
    stream = io.BytesIO()
    table = fits.BinTableHDU(Table({"NUMBER": np.arange(3), "FLUX": np.array([1.5, np.nan, 2.25], "f4")}))
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream)
    frames = [make_product(name="twice.fits", chip=chip) for chip in ("ccd1", "ccd2")]
    return [*frames, make_product(stream.getvalue(), kind="SourceList", name="found")]


def content_of(answer: Any) -> bytes:
    """Return a streamed body."""
    return b"".join(answer.streaming_content)


def test_the_chosen_come_as_they_are_stored(
    three: list[Product], anna: User, browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(anna)
    way = browser.post("/archive/download/", {"product": [each.pk for each in three], "format": "fits"})
    assert way.status_code == 302
    answer = browser.get(way["Location"])
    content = content_of(answer)
    assert int(answer["Content-Length"]) == len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["products/twice.fits", "products/twice-2.fits", "products/found.fits"]
        assert archive.testzip() is None
        assert [archive.getinfo(name).file_size for name in archive.namelist()] == [each.file_size for each in three]


def test_a_download_that_was_cut_off_goes_on(
    three: list[Product], anna: User, browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(anna)
    whole = browser.get("/archive/download/?chip=ccd1,ccd2")
    content, tag = content_of(whole), whole["ETag"]
    for begin in (1, 1000, len(content) - 1):
        rest = browser.get("/archive/download/?chip=ccd1,ccd2", headers={"Range": f"bytes={begin}-", "If-Range": tag})
        assert rest.status_code == 206
        assert rest["Content-Range"] == f"bytes {begin}-{len(content) - 1}/{len(content)}"
        assert content_of(rest) == content[begin:]
    Product.objects.filter(pk=three[0].pk).update(name="other.fits")  # it is another archive now
    anew = browser.get("/archive/download/?chip=ccd1,ccd2", headers={"Range": "bytes=9-", "If-Range": tag})
    assert (anew.status_code, anew["ETag"] != tag) == (200, True)


def test_tables_are_converted_and_what_cannot_be_comes_as_stored(
    three: list[Product], anna: User, browser_of: Callable[..., Client]
) -> None:
    answer = browser_of(anna).get("/archive/download/?all=1&format=csv")
    assert "Content-Length" not in answer
    with zipfile.ZipFile(io.BytesIO(content_of(answer))) as archive:
        assert archive.namelist() == ["products/twice.fits", "products/twice-2.fits", "products/found.csv"]
        assert archive.read("products/found.csv").decode().splitlines() == ["NUMBER,FLUX", "0,1.5", "1,", "2,2.25"]


def test_a_file_that_cannot_be_converted_costs_no_other(
    three: list[Product], make_product: Callable[..., Product], anna: User, browser_of: Callable[..., Client]
) -> None:
    make_product(b"no FITS at all", kind="SourceList", name="broken")
    answer = browser_of(anna).get("/archive/download/?kind=SourceList&format=votable")
    with zipfile.ZipFile(io.BytesIO(content_of(answer))) as archive:
        assert archive.read("products/broken.vot").startswith(b"broken could not be given as VOTable: ")
        assert b"<VOTABLE" in archive.read("products/found.vot")


def test_nobody_gets_what_they_may_not_see(
    three: list[Product], public: Product, ben: User, browser_of: Callable[..., Client]
) -> None:
    for user in (ben, None):
        answer = browser_of(user).get("/archive/download/?all=1")
        with zipfile.ZipFile(io.BytesIO(content_of(answer))) as archive:
            assert archive.namelist() == [f"products/{public.name}"]
        assert browser_of(user).get(f"/archive/download/?ids={three[0].pk}")["Location"].startswith("/archive/?")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "Choose the products to download first."),
        ("all=1&format=jpeg", "there is no format &#x27;jpeg&#x27;"),
        ("all=1&ra=north", "ra"),
        ("ids=99999", "No product matches"),
        ("all=1", "One download holds at most 2 products"),
    ],
)
def test_what_cannot_be_downloaded_is_told(
    query: str, told: str, three: list[Product], anna: User, browser_of: Callable[..., Client], monkeypatch: Any
) -> None:
    monkeypatch.setattr("awportal.views.archive.MOST_PRODUCTS", 2)
    answer = browser_of(anna).get(f"/archive/download/?{query}", follow=True)
    assert answer.status_code in {200, 422}
    assert told in answer.content.decode()
    assert products_archive.MOST_PRODUCTS == 2000
