"""The pages of nights."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.models import Product
from awportal.views import nights

Browser = Callable[..., Client]
Make = Callable[..., Product]


def test_the_list_leads_to_a_nights_log(make_product: Make, anna: User, browser_of: Browser) -> None:
    make_product(b"1", name="b.fits")
    make_product(b"2", name="s.fits", kind="RawScience", object_name="<M 67>", filter_name="r", exposure_time=30.0,
                 attributes={"airmass": 1.2}, instrument="cam of ours")  # fmt: skip
    browser = browser_of(anna)
    html = browser.get("/nights/").content.decode()
    assert "<b>1</b> Bias" in html
    link = re.search(r'href="(/nights/cam[^"]+)"', html)
    assert link
    log = browser.get(link[1])
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", log.content.decode()))
    assert log.status_code == 200
    assert re.search(r"20:02:00 s.fits Science &lt;M 67&gt; r 30 s 1.20 ccd1", text)
    assert "awrecipe nightlog &#x27;cam of ours&#x27; 2026-03-14" in text
    assert "cam of ours" not in browser.get("/nights/?instrument=simcam").content.decode().split("</form>")[1]


def test_a_long_night_comes_in_pages(
    make_product: Make, anna: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nights, "_EXPOSURES_SHOWN", 2)
    for number in range(5):
        make_product(b"x", name=f"f{number}.fits")
    browser = browser_of(anna)
    shown = [
        re.findall(r">(f\d\.fits)<", browser.get(f"/nights/simcam/2026-03-14/?page={page}").content.decode())
        for page in (1, 2, 3)
    ]
    assert shown == [["f0.fits", "f1.fits"], ["f2.fits", "f3.fits"], ["f4.fits"]]


def test_neighbouring_nights_are_linked(make_product: Make, anna: User, browser_of: Browser) -> None:
    for day in (13, 14, 15):
        make_product(b"x", night=datetime.date(2026, 3, day))
    html = browser_of(anna).get("/nights/simcam/2026-03-14/").content.decode()
    assert re.findall(r'rel="(prev|next)" href="/nights/simcam/2026-03-(\d\d)/"', html) == [
        ("prev", "13"), ("next", "15")]  # fmt: skip


@pytest.mark.parametrize("path", ["/nights/simcam/2026-03-14/", "/nights/simcam/soon/", "/nights/a/b/2026-13-40/"])
def test_no_such_night(anna: User, browser_of: Browser, path: str) -> None:
    assert browser_of(anna).get(path).status_code == 404


def test_an_archive_without_nights_says_what_to_do(anna: User, browser_of: Browser) -> None:
    assert "Bring one" in browser_of(anna).get("/nights/").content.decode()
