"""The viewer in a real browser: what it reads under the pointer and by keyboard is what the file holds."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from playwright.sync_api import Page, expect

from archive.models import Lineage, Product
from awportal.stored_files import the_store

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 1300, 900
WCS_CARDS = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 650.0,
             "CRPIX2": 450.0, "CD1_1": -8e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 8e-5}  # fmt: skip


@pytest.fixture
def frame(night: list[Product]) -> Product:
    """A calibrated frame of several tiles: each pixel's value is its number, one is masked; with a list of a source."""
    science = np.arange(WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    mask = np.zeros((HEIGHT, WIDTH), np.uint16)
    mask[700, 1200] = 8
    header = fits.Header({**WCS_CARDS, "BUNIT": "electron"})
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(science, header, name="SCI"), fits.ImageHDU(mask, name="MASK")]
    made = _stored(night[0], "CalibratedScienceFrame", "calibrated", hdus)
    table = Table({"NUMBER": [7], "X_IMAGE": [1000.0], "Y_IMAGE": [800.0]})
    source_list = _stored(night[0], "SourceList", "its_sources", [fits.PrimaryHDU(), fits.BinTableHDU(table)])
    Lineage.objects.create(product=source_list, source=made, role="frame")
    return made


def _stored(like: Product, kind: str, name: str, hdus: list[Any]) -> Product:
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream)
    stored = the_store().put(io.BytesIO(stream.getvalue()))
    return Product.objects.create(
        kind=kind, name=name, sha256=stored.sha256, file_size=stored.size, instrument="simcam", chip="ccd1",
        filter_name="r", night=like.night, date_obs=like.date_obs, creator=like.creator, identity=name, attributes={},
    )  # fmt: skip


@pytest.fixture
def viewer(portal: Page, live_server: Any, frame: Product) -> Page:
    """The viewer of the frame, ready."""
    portal.goto(f"{live_server.url}/products/{frame.pk}/view/")
    expect(portal.locator(".viewer[data-ready]")).to_be_visible()
    return portal


def test_by_keyboard_alone_a_place_is_found_and_read(viewer: Page) -> None:
    viewer.get_by_label("pixel or position").focus()
    viewer.keyboard.type("1201 701")
    viewer.keyboard.press("Enter")
    expect(viewer.locator(".read-value")).to_have_text(f"{700 * WIDTH + 1200} electron")
    expect(viewer.locator(".read-mask")).to_have_text("cosmic ray")
    ra, dec = WCS(WCS_CARDS).pixel_to_world_values(1200, 700)
    told = viewer.locator(".read-sky").inner_text().replace("−", "-")
    there = SkyCoord(told, unit=("hourangle", "deg"))
    assert there.separation(SkyCoord(ra, dec, unit="deg")).arcsec < 0.15  # told to 0.01 s and 0.1″
    viewer.get_by_role("application").focus()
    viewer.keyboard.press("Shift+ArrowRight")
    viewer.keyboard.press("Shift+ArrowUp")
    expect(viewer.locator(".read-value")).to_have_text(f"{701 * WIDTH + 1201} electron")
    expect(viewer.locator(".read-mask")).to_have_text("none")
    viewer.get_by_label("pixel or position").fill(told)
    viewer.keyboard.press("Enter")
    viewer.get_by_label("pixel or position").press("Enter")
    expect(viewer.locator(".read-value")).to_have_text(f"{700 * WIDTH + 1200} electron")
    assert viewer.complaints == []  # type: ignore[attr-defined]


def test_the_pointer_zooms_where_it_is_and_reads(viewer: Page) -> None:
    canvas = viewer.locator("canvas.sky")
    box = canvas.bounding_box()
    assert box is not None
    place = (box["x"] + 200, box["y"] + 300)
    viewer.mouse.move(*place)
    before = viewer.locator(".read-pixel").inner_text()
    viewer.mouse.wheel(0, -600)
    expect(viewer.locator(".num.zoom")).to_contain_text("×")
    viewer.mouse.move(place[0] + 1, place[1])
    after = viewer.locator(".read-pixel").inner_text()
    for old, new in zip(before.split(", "), after.split(", "), strict=True):
        assert abs(float(old) - float(new)) < 2.5  # a screen pixel was 1.6 of the frame before
    column, row = (int(float(number) + 0.5) for number in after.split(", "))
    expect(viewer.locator(".read-value")).to_have_text(f"{(row - 1) * WIDTH + column - 1} electron")
    viewer.mouse.down()
    viewer.mouse.move(place[0] + 101, place[1])
    viewer.mouse.up()
    expect(viewer.locator(".read-pixel")).to_have_text(after)  # the frame went with the pointer


def test_a_source_is_clicked_for_its_row(viewer: Page) -> None:
    viewer.get_by_label("list").select_option(label="its_sources")
    expect(viewer.get_by_text("1 sources. Click one")).to_be_visible()
    viewer.get_by_label("pixel or position").fill("1000 800")
    viewer.get_by_role("button", name="Go").click()
    canvas = viewer.locator("canvas.sky")
    box = canvas.bounding_box()
    assert box is not None
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    expect(viewer.get_by_role("heading", name="Source in row 1")).to_be_visible()
    expect(viewer.locator(".source dl")).to_contain_text("X_IMAGE")
    assert viewer.complaints == []  # type: ignore[attr-defined]


def test_cuts_and_colours_change_what_is_drawn_and_a_link_keeps_them(viewer: Page) -> None:
    canvas = "document.querySelector('canvas.sky')"
    centre = f"(c => [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data])({canvas})"
    viewer.get_by_label("cuts").select_option("all")
    expect(viewer.get_by_label("white")).to_have_value(str(float(WIDTH * HEIGHT - 1)).removesuffix(".0"))
    viewer.get_by_label("black").fill(str(WIDTH * HEIGHT))
    viewer.get_by_label("white").fill(str(WIDTH * HEIGHT + 1))
    expect(viewer.get_by_label("cuts")).to_have_value("hand")
    _drawn(viewer, centre, [0, 0, 0, 255])
    viewer.get_by_label("invert").check()
    _drawn(viewer, centre, [255, 255, 255, 255])
    viewer.get_by_label("colours").select_option("viridis")
    _drawn(viewer, centre, [253, 231, 37, 255])
    viewer.get_by_role("application").focus()
    viewer.keyboard.press("m")
    expect(viewer.get_by_role("button", name="Take mark 1 away")).to_be_visible()
    viewer.wait_for_url(re.compile("marks="))
    viewer.reload()
    expect(viewer.locator(".viewer[data-ready]")).to_be_visible()
    _drawn(viewer, centre.replace("c.height / 2, 1", "c.height / 2 + 40, 1"), [253, 231, 37, 255])
    with viewer.expect_download() as download:
        viewer.get_by_role("button", name="Save as DS9 regions").click()
    assert "circle(650.50,450.50," in download.value.path().read_text()


def _drawn(viewer: Page, script: str, colour: list[int]) -> None:
    for _ in range(200):
        if viewer.evaluate(script) == colour:
            return
        viewer.wait_for_timeout(50)
    assert viewer.evaluate(script) == colour


@pytest.mark.parametrize("width", [1280, 390])
def test_the_viewer_is_no_wider_than_the_window(viewer: Page, width: int) -> None:
    viewer.set_viewport_size({"width": width, "height": 900})
    assert viewer.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
