"""From the log-in to a submitted run in a real browser, and every page at two widths."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from archive.models import Product
from processing_units.frontend.models import Job, Run

pytestmark = pytest.mark.browser


def test_a_whole_night_in_few_clicks(portal: Page, live_server: Any) -> None:
    portal.goto(f"{live_server.url}/recipes/Bias/run/")
    portal.get_by_text("All 6 RawBias that match the filters").click()
    portal.get_by_role("button", name="Dry run").click()
    expect(portal.get_by_text("2 jobs on local")).to_be_visible()
    portal.get_by_role("button", name="Run these 2 jobs").click()
    run = Run.objects.get()
    portal.wait_for_url(f"{live_server.url}/runs/{run.pk}/")
    expect(portal.locator("h1")).to_contain_text("queued")
    expect(portal.get_by_text("no cluster manager up").first).to_be_visible()
    assert portal.complaints == []  # type: ignore[attr-defined]


def test_the_run_page_lives(portal: Page, live_server: Any) -> None:
    portal.goto(f"{live_server.url}/recipes/Bias/run/")
    portal.get_by_text("All 6 RawBias that match the filters").click()
    portal.get_by_role("button", name="Run", exact=True).click()
    expect(portal.locator("h1")).to_contain_text("queued")
    run = Run.objects.get()
    Job.objects.filter(ordinal=1).update(state="running", stage="stacking", progress=0.4, attempt=1)
    expect(portal.locator("h1")).to_contain_text("running", timeout=3000)  # U1: within 3 s, without reload
    expect(portal.get_by_text("stacking")).to_be_visible()
    portal.get_by_role("button", name="Cancel").click()
    expect(portal.locator("h1")).to_contain_text("cancelled")
    assert set(Job.objects.values_list("state", flat=True)) == {"cancelled"}
    assert run.pk == Run.objects.get().pk
    assert portal.complaints == []  # type: ignore[attr-defined]


def test_filters_renew_the_choice_and_keep_what_is_ticked(portal: Page, live_server: Any) -> None:
    portal.goto(f"{live_server.url}/recipes/Bias/run/")
    portal.get_by_label("bias_0_ccd1.fits").first.check()
    portal.get_by_label("chip").select_option("ccd2")
    expect(portal.get_by_text("All 3 RawBias that match the filters")).to_be_visible()
    expect(portal.get_by_label("bias_0_ccd1.fits").first).to_be_checked()
    expect(portal.get_by_label("bias_2_ccd1.fits")).to_have_count(0)


def test_the_archive_leads_to_a_recipe(portal: Page, live_server: Any) -> None:
    portal.goto(f"{live_server.url}/archive/")
    portal.get_by_label("chip").select_option("ccd1")
    expect(portal.get_by_text("1–3 of 3")).to_be_visible()
    portal.get_by_label("Choose all on this page").check()
    portal.get_by_label("Use as input of").select_option("ReadNoise")
    portal.get_by_role("button", name="Use the chosen").click()
    expect(portal.locator("h1")).to_have_text("Run ReadNoise")
    assert portal.locator("input[name='in-raw_bias']:checked").count() == 3


def test_the_archive_is_sorted_narrowed_and_kept_by_the_keyboard(portal: Page, live_server: Any) -> None:
    portal.goto(f"{live_server.url}/archive/?chip=ccd1")
    portal.get_by_role("columnheader", name="name").get_by_role("link").focus()
    portal.keyboard.press("Enter")
    expect(portal.get_by_role("columnheader", name="name")).to_have_attribute("aria-sort", "ascending")
    portal.get_by_label("Keep as").focus()
    portal.keyboard.type("first chip")
    portal.keyboard.press("Tab")
    portal.keyboard.press("Enter")
    expect(portal.get_by_role("link", name="first chip")).to_be_visible()
    portal.get_by_role("link", name="first chip").focus()
    portal.keyboard.press("Enter")
    expect(portal.get_by_text("1–3 of 3")).to_be_visible()
    portal.get_by_role("link", name="Take off: selection first chip").focus()
    portal.keyboard.press("Enter")
    expect(portal.get_by_text("1–6 of 6")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_the_window(portal: Page, live_server: Any, night: list[Product], width: int) -> None:
    portal.set_viewport_size({"width": width, "height": 900})
    paths = ["/", "/archive/", "/archive/upload/", "/recipes/", "/recipes/Reduce/", "/recipes/Reduce/run/", "/runs/",
             "/units/", "/units/local/", "/account/", f"/products/{night[0].pk}/", f"/products/{night[0].pk}/header/",
             "/archive/?chip=ccd1&quality=passed", "/nights/", "/nights/simcam/2026-03-14/", "/calibrations/",
             "/selections/", "/nowhere/"]  # fmt: skip
    for path in paths:
        portal.goto(live_server.url + path)
        too_wide = portal.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide == 0, path
        assert portal.locator("h1").count() == 1, path
        unnamed = portal.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')]"
            ".filter(field => !field.labels.length && !field.ariaLabel).length"
        )
        assert unnamed == 0, path


def test_the_picture_is_there_for_a_visitor(live_server: Any, night: list[Product], page: Page) -> None:
    page.goto(f"{live_server.url}/products/{night[0].pk}/")
    picture = page.get_by_role("img", name="Picture of bias_0_ccd1.fits")
    expect(picture).to_be_visible()
    page.wait_for_function("document.querySelector('.picture img').naturalWidth === 200")
    page.get_by_text("FITS header").click()
    expect(page.get_by_text("BITPIX")).to_be_visible()
    assert page.goto(f"{live_server.url}/products/{night[1].pk}/").status == 404  # type: ignore[union-attr]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_stand_out_from_their_ground(portal: Page, live_server: Any, night: list[Product], theme: str) -> None:
    portal.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    for path in ("/", "/archive/", "/recipes/Bias/run/", f"/products/{night[0].pk}/", "/account/"):
        portal.goto(live_server.url + path)
        assert portal.evaluate(FAINT_WORDS) == [], path


# Return the words whose contrast with their ground is below 4.5 (WCAG 2.2, 1.4.3).
FAINT_WORDS = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("svg, option, [disabled], :disabled")) continue;
    const [one, two] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (contrast < 4.5) faint.push([element.textContent.trim().slice(0, 30), contrast.toFixed(2)]);
  }
  return faint.slice(0, 5);
}"""
