"""The same night by the browser alone and by `awrecipe` alone gives the same bytes in the science arrays."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from astropy.io import fits
from playwright.sync_api import Page, expect

from tests.night.installation import Installation

pytestmark = [pytest.mark.processes, pytest.mark.browser, pytest.mark.timeout(900)]

# In the order of a night, once through; of several kinds the first there is, unless one is named. On so small a chip
# not every exposure has standards enough, and a run with a failed job is no "done": Zeropoint is left out.
RECIPES = ["ReadNoise", "Bias", "Dark", "Gain", "HotPixels", "DomeFlat", "ColdPixels", "TwilightFlat", "MasterFlat",
           "NightSkyFlat", "Reduce", "FringeFlat", "Science", "Coadd", "SourceList",
           "SourceList CoaddedRegriddedFrame", "AssociateList"]  # fmt: skip
SECONDS = 1000.0


def log_in(page: Page, installation: Installation) -> None:
    page.goto(f"{installation.url}/login/")
    page.get_by_label("Username").fill("astronomer")
    page.get_by_label("Password").fill(installation.password)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Recipes").first).to_be_visible()


def bring(page: Page, installation: Installation, night: Path) -> None:
    page.goto(f"{installation.url}/archive/upload/")
    files = sorted(night.glob("*.fits"))
    page.locator("#files").set_input_files(files)
    page.get_by_role("button", name="Bring them in").click()
    expect(page.locator("#outcomes")).to_contain_text(files[-1].name, timeout=120 * SECONDS)
    page.goto(f"{installation.url}/archive/upload/")
    page.get_by_label("Name", exact=True).fill("simcat")
    page.locator("#catalogue-files").set_input_files(sorted((night / "catalogues").glob("*.fits")))
    page.get_by_role("button", name="Bring it in").click()
    expect(page.locator("#outcomes")).to_contain_text("simcat", timeout=60 * SECONDS)


def run(page: Page, installation: Installation, recipe: str, kind: str) -> None:
    """Choose all frames of the night, look at the dry run, run it, and wait on the run's page until it is done."""
    page.goto(f"{installation.url}/recipes/{recipe}/run/")
    if kind:
        with page.expect_response(re.compile("/inputs/")):
            page.get_by_label("Kind", exact=True).select_option(kind)
        expect(page.locator("#inputs")).to_contain_text(f"{kind}s that match")
    for box in page.locator("input[name^=all-]").all():
        box.check()
    page.get_by_role("button", name="Dry run").click()
    page.get_by_role("button", name=re.compile(r"^Run (this|these)")).click()
    page.wait_for_url(re.compile(r"/runs/\d+/"))
    # The page lives: no reload here.
    expect(page.locator("h1 .pill")).to_have_text(re.compile("done|failed|cancelled"), timeout=180 * SECONDS)
    expect(page.locator("h1 .pill")).to_contain_text("done")


def science_arrays(installation: Installation, directory: Path) -> dict[str, str]:
    """Return the sha256 of the arrays of every product that a recipe made, by its name and extension."""
    made = [product for product in installation.products() if not product["kind"].startswith("Raw")]
    installation.awrecipe("get", ",".join(str(product["id"]) for product in made), "-o", str(directory))
    digests = {}
    for path in sorted(directory.iterdir()):
        with fits.open(path) as hdus:
            for hdu in hdus:
                if hdu.data is not None:
                    digests[f"{path.name}[{hdu.name}]"] = hashlib.sha256(hdu.data.tobytes()).hexdigest()
    return digests


def test_the_browser_and_the_command_line_make_the_same_bytes(
    page: Page, installation: Installation, small_night: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log_in(page, installation)
    bring(page, installation, small_night)
    for recipe in RECIPES:
        name, _, kind = recipe.partition(" ")
        run(page, installation, name, kind)
    by_browser = science_arrays(installation, tmp_path / "browser")

    other = Installation(tmp_path_factory.mktemp("other") / "home")
    other.start()
    try:
        other.awrecipe("ingest", str(small_night))
        other.awrecipe("ingest", "--catalogue", "simcat", *map(str, (small_night / "catalogues").glob("*.fits")))
        for recipe in RECIPES:
            name, _, kind = recipe.partition(" ")
            other.awrecipe("run", name, "--instrument", "simcam", "--wait", *(["--type", kind] if kind else []))
        by_command = science_arrays(other, tmp_path / "command")
    finally:
        other.stop()
    assert by_browser == by_command
    assert len(by_browser) > 120  # of 100 products, most with several arrays
