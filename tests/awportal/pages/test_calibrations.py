"""The chart of calibration timestamps."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.models import Privilege, Product

Browser = Callable[..., Client]
Make = Callable[..., Product]
DAY = datetime.timedelta(days=1)
FIRST = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)


@pytest.fixture
def biases(make_product: Make) -> list[Product]:
    """Three biases: one eclipsed in its middle by the next, the last called bad."""
    spans = ((0, 20, 2), (8, 12, 2), (0, 20, 0))
    return [
        make_product(b"x", kind="BiasFrame", name=f"bias{place}.fits", timestamp_start=FIRST + start * DAY,
                     timestamp_end=FIRST + end * DAY, is_valid=verdict)
        for place, (start, end, verdict) in enumerate(spans)
    ]  # fmt: skip


def test_bars_lie_where_calibrations_are_valid(biases: list[Product], anna: User, browser_of: Browser) -> None:
    html = browser_of(anna).get("/calibrations/").content.decode()
    bars = re.findall(r'<a href="/products/(\d+)/" aria-label="([^"]+)">(.*?)</a>', html, re.DOTALL)
    assert [int(number) for number, _, _ in bars] == [product.pk for product in reversed(biases)]
    assert "bias2.fits: valid 2026-03-01 00:00 to 2026-03-21 00:00" in bars[0][1]
    assert "called bad, never chosen" in bars[0][1]
    assert "eclipsed in part" in bars[2][1]
    drawn = [
        [(style, float(x), float(width)) for style, x, width in re.findall(
            r'class="calts-(\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', parts)]
        for _, _, parts in bars
    ]  # fmt: skip
    assert [[style for style, _, _ in parts] for parts in drawn] == [
        ["bad"], ["pale", "chosen"], ["pale", "chosen", "chosen"]]  # fmt: skip
    whole, left, right = drawn[2]
    new = drawn[1][1]
    # Coordinates are rounded to 0.1 px.
    assert left[1] + left[2] == pytest.approx(new[1], abs=0.2)
    assert right[1] == pytest.approx(new[1] + new[2], abs=0.2)
    assert new[2] / whole[2] == pytest.approx(4 / 20, abs=0.002)


def test_what_is_asked_for_and_what_cannot_be(biases: list[Product], anna: User, browser_of: Browser) -> None:
    browser = browser_of(anna)
    assert "bias1.fits" not in browser.get("/calibrations/?from=2026-03-15&to=2026-03-16").content.decode()
    assert "take them off" in browser.get("/calibrations/?kind=DarkFrame").content.decode()
    wrong = browser.get("/calibrations/?from=often")
    assert wrong.status_code == 422
    assert "from: &#x27;often&#x27; is neither now" in wrong.content.decode()
    assert "No calibration is public yet" in browser_of(None).get("/calibrations/").content.decode()


def test_timestamps_are_changed_on_the_products_page(
    biases: list[Product], anna: User, ben: User, browser_of: Browser
) -> None:
    Product.objects.update(privilege=Privilege.ALL_USERS)
    page = f"/products/{biases[0].pk}/"
    browser = browser_of(anna)
    assert 'name="start" size="20" value="2026-03-01 00:00:00"' in browser.get(page).content.decode()
    answer = browser.post(f"{page}timestamps/", {"start": "2026-02-01 06:00", "end": ""}, follow=True)
    assert "The timestamps are changed" in answer.content.decode()
    changed = Product.objects.get(pk=biases[0].pk)
    assert (changed.timestamp_start, changed.timestamp_end) == (
        datetime.datetime(2026, 2, 1, 6, tzinfo=datetime.UTC), None)  # fmt: skip
    refused = browser.post(f"{page}timestamps/", {"start": "never", "end": ""}, follow=True)
    assert "Not changed. valid from" in refused.content.decode()
    assert "timestamps/" not in browser_of(ben).get(page).content.decode()
    assert browser_of(ben).post(f"{page}timestamps/", {"start": "", "end": ""}).status_code == 403
