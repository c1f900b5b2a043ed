"""The viewer: tiles and sources for those who may see the frame, and for nobody else."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from django.contrib.auth.models import User
from django.test import Client

from archive.models import Lineage, Product

COLUMNS = {"NUMBER": [1, 2], "X_IMAGE": [10.0, 30.5], "Y_IMAGE": [20.0, 90.0], "A_IMAGE": [2.0, 1.0],
           "B_IMAGE": [1.0, 1.0], "THETA_IMAGE": [30.0, 0.0], "KRON_RADIUS": [3.5, 0.0]}  # fmt: skip


@pytest.fixture
def frame(make_product: Callable[..., Product]) -> Product:
    """A calibrated frame of Anna's: SCI and MASK of 96 × 64."""
    return make_product(kind="CalibratedScienceFrame", filter_name="r", name="calibrated")


@pytest.fixture
def source_list(frame: Product, make_product: Callable[..., Product]) -> Product:
    """Its list of two sources."""
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(Table(COLUMNS, units={"X_IMAGE": "pixel"}))]).writeto(stream)
    made = make_product(stream.getvalue(), kind="SourceList", filter_name="r", name="its_sources")
    Lineage.objects.create(product=made, source=frame, role="frame")
    return made


def test_a_tile_is_the_files_numbers_and_is_kept_by_the_browser(
    frame: Product, anna: User, browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(anna)
    told = browser.get(f"/products/{frame.pk}/view/frame.json").json()
    assert (told["width"], told["height"], told["levels"]) == (64, 96, 1)
    address = f"/products/{frame.pk}/view/{told['planes'][0]['place']}/0/0/0.tile"
    answer = browser.get(address)
    assert answer["Cache-Control"] == "private, max-age=86400"
    values = np.frombuffer(answer.content, "<f4").reshape(96, 64)
    assert np.mean(values) == pytest.approx(200, abs=5 * 10 / np.sqrt(values.size))
    again = browser.get(address, headers={"If-None-Match": answer["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert browser.get(f"/products/{frame.pk}/view/1/1/0/0.tile").status_code == 404
    assert browser.get(f"/products/{frame.pk}/view/0/0/0/0.tile").status_code == 404


def test_a_masks_tile_is_packed_for_who_can_unpack_it(
    frame: Product, anna: User, browser_of: Callable[..., Client]
) -> None:
    address = f"/products/{frame.pk}/view/2/0/0/0.tile"
    plain = browser_of(anna).get(address)
    packed = browser_of(anna).get(address, headers={"Accept-Encoding": "gzip, br"})
    assert packed["Content-Encoding"] == "gzip"
    assert len(packed.content) < len(plain.content) / 10
    bits = np.frombuffer(gzip.decompress(packed.content), "<u2").reshape(96, 64)
    assert (bits[3, 5], bits[50, 20], bits[50, 21]) == (1, 4, 0)
    assert plain.content == bits.tobytes()


def test_sources_lie_on_the_frames_pixels(
    source_list: Product, frame: Product, anna: User, ben: User, browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(anna)
    told = browser.get(f"/products/{source_list.pk}/sources.json").json()
    assert told == {"rows": [0, 1], "in_all": 2, "x": [9.0, 29.5], "y": [19.0, 89.0], "major": [7.0, 3.0],
                    "minor": [3.5, 3.0], "angle": [30.0, 0.0]}  # fmt: skip
    row = browser.get(f"/products/{source_list.pk}/sources/1.json").json()
    assert {"name": "X_IMAGE", "value": "30.5", "unit": "pix"} in row["cells"]
    for address in (f"/products/{source_list.pk}/sources.json", f"/products/{source_list.pk}/sources/1.json"):
        assert browser_of(ben).get(address).status_code == 404
        assert browser_of(None).get(address).status_code == 404
    for row_number in (2, 10**18):
        assert browser.get(f"/products/{source_list.pk}/sources/{row_number}.json").status_code == 404


def test_list_and_frame_lead_to_each_other(
    source_list: Product, frame: Product, anna: User, browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(anna)
    assert (
        f"/products/{frame.pk}/view/?list={source_list.pk}"
        in browser.get(f"/products/{source_list.pk}/").content.decode()
    )
    assert f"/products/{frame.pk}/view/" in browser.get(f"/products/{frame.pk}/").content.decode()
    viewer = browser.get(f"/products/{frame.pk}/view/?list={source_list.pk}").content.decode()
    assert f'<option value="{source_list.pk}" selected>its_sources</option>' in viewer
    assert browser.get(f"/products/{source_list.pk}/view/").status_code == 404  # no image


def test_a_list_that_one_may_not_see_is_not_offered(
    source_list: Product, frame: Product, ben: User, browser_of: Callable[..., Client]
) -> None:
    Product.objects.filter(pk=frame.pk).update(privilege=4)
    viewer = browser_of(ben).get(f"/products/{frame.pk}/view/").content.decode()
    assert "its_sources" not in viewer


@pytest.mark.parametrize("content", [b"", b"SIMPLE  =                    T", b"not FITS at all" * 999])
def test_a_damaged_file_is_told_not_raised(
    content: bytes, make_product: Callable[..., Product], anna: User, browser_of: Callable[..., Client]
) -> None:
    damaged = make_product(content or b" ", kind="RawBias")
    answer = browser_of(anna).get(f"/products/{damaged.pk}/view/frame.json")
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert browser_of(anna).get(f"/products/{damaged.pk}/view/").status_code == 200
    assert browser_of(anna).get(f"/products/{damaged.pk}/view/0/0/0/0.tile").status_code == 404


def test_a_table_without_positions_has_no_sources(
    make_product: Callable[..., Product], anna: User, browser_of: Callable[..., Client]
) -> None:
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(Table({"A": np.arange(3)}))]).writeto(stream)
    made: Any = make_product(stream.getvalue(), kind="SourceList")
    assert browser_of(anna).get(f"/products/{made.pk}/sources.json").status_code == 404
