"""``make pictures``: the pictures of the tutorials, made anew by leading Chromium through a portal.

Starts a portal of its own, observes and reduces the night of `make demo` there (minutes), and writes docs/images/*.png.
``--portal URL --password FILE`` takes a portal that is up already, on which that has been done.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import SHARED
from tests.night.installation import TREE, Installation, observe
from tests.programs import chromium

IMAGES = TREE / "docs" / "images"
WIDTH, HEIGHT = 1280, 860
PATIENCE_MS = 60_000
LARGEST = 150_000
SCRIPT = """# A source list of each reduced frame of the night; in g only what is bright.
for frame in frames(kind = "ReducedScienceFrame", night = "2026-03-14", chip = "ccd1", quality = "passed"):
    run("SourceList", frame, detect_thresh = 3.0 if frame.filter == "g" else 1.5)
"""


def first_page(page: Page) -> None:
    page.goto("/")


def reduced_frame(page: Page) -> None:
    page.goto("/archive/?kind=ReducedScienceFrame&object=SIMFIELD&filter=r&chip=ccd1&order=date_obs")
    page.locator("tbody tr td a").nth(1).click()
    page.locator("figure.picture img").wait_for()


def night_log(page: Page) -> None:
    page.goto("/nights/simcam/2026-03-14/")


def dry_run(page: Page) -> None:
    page.goto("/recipes/Bias/run/")
    for box in page.locator("input[name^=all-]").all():
        box.check()
    page.get_by_label(re.compile("sigma.clip", re.I)).first.fill("4")
    page.get_by_role("button", name="Dry run").click()
    page.get_by_role("button", name=re.compile("^Run (this|these)")).scroll_into_view_if_needed()


def run_page(page: Page) -> None:
    dry_run(page)
    page.get_by_role("button", name=re.compile("^Run (this|these)")).click()
    page.wait_for_url(re.compile(r"/runs/\d+/"))
    page.locator("h1 .pill", has_text="done").wait_for()


def impact(page: Page) -> None:
    page.goto("/archive/?kind=BiasFrame&chip=ccd1&order=created")
    page.locator("tbody tr td a").nth(1).click()
    page.get_by_role("button", name="Bad").click()


def calibrations(page: Page) -> None:
    page.goto("/calibrations/")


def batch(page: Page) -> None:
    page.goto("/batches/new/")
    page.locator("textarea").first.fill(SCRIPT)
    page.get_by_role("button", name=re.compile("plan|show|check", re.I)).first.click()
    page.wait_for_load_state("networkidle")


def source_list(page: Page) -> None:
    page.goto("/archive/?kind=SourceList&chip=ccd1&filter=r&order=created")
    page.locator("tbody tr td a").nth(1).click()


def own_frame(page: Page) -> None:
    page.goto("/archive/?kind=ReducedScienceFrame&instrument=my-nickel&object=NGC_6205")
    page.locator("tbody tr td a").nth(1).click()


def own_zeropoint(page: Page) -> None:
    page.goto("/archive/?kind=PhotometricParameters&instrument=my-nickel&order=date_obs")
    page.locator("tbody tr td a").nth(1).click()


# In the order in which they can be made: a run that is to be seen comes after the dry run of the same.
PICTURES: dict[str, Callable[[Page], None]] = {
    "tutorial-home": first_page,
    "product": reduced_frame,
    "tutorial-night": night_log,
    "tutorial-dry-run": dry_run,
    "run": run_page,
    "tutorial-impact": impact,
    "calibrations": calibrations,
    "tutorial-batch": batch,
    "source-list": source_list,
}
# Of the second tutorial, where its night lies beside the checkout.
OWN_PICTURES: dict[str, Callable[[Page], None]] = {"own-frame": own_frame, "own-zeropoint": own_zeropoint}


def _reduce_own(portal: Installation, frames: list[Path], folder: Path) -> None:
    """Do what the second tutorial does: its camera file stands in its text."""
    text = (TREE / "docs" / "tutorial-own-frames.md").read_text(encoding="utf-8")
    [camera] = re.findall(r"camera.toml <<'END'\n(.*?)^END$", text, re.M | re.S)
    (folder / "camera.toml").write_text(camera)
    portal.awrecipe("ingest", "--catalogue", "Landolt09", str(SHARED / "data" / "catalogues" / "Landolt09.fit"))
    portal.awrecipe("ingest", *map(str, frames), "--camera", str(folder / "camera.toml"))
    portal.awrecipe("night", "--night", "2024-05-12", "--instrument", "my-nickel")


def take(url: str, password: str, folder: Path, names: list[str]) -> None:
    """Log in, go to each page, and keep a picture of it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        try:
            page = _logged_in(browser, url, password)
            for name in names:
                {**PICTURES, **OWN_PICTURES}[name](page)
                page.wait_for_load_state("networkidle") if name not in {"tutorial-home"} else page.wait_for_timeout(500)
                _keep(page.screenshot(full_page=False, animations="disabled"), folder / f"{name}.png")
        finally:
            browser.close()


def _logged_in(browser: Browser, url: str, password: str) -> Page:
    context = browser.new_context(
        base_url=url,
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="light",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto("/login/")
    page.get_by_label("Username").fill("astronomer")
    page.get_by_label("Password").fill(password)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Archive").first.wait_for()
    return page


def _keep(picture: bytes, path: Path) -> None:
    """Write a picture with so many colours, and so large, that it is small enough for the repository."""
    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours, scale in ((256, 1.0), (128, 1.0), (128, 0.8), (64, 0.8), (32, 0.7)):
        size = (round(whole.width * scale), round(whole.height * scale))
        stream = io.BytesIO()
        whole.resize(size, Image.Resampling.LANCZOS).quantize(colours, dither=Image.Dither.NONE).save(
            stream, "PNG", optimize=True
        )
        if stream.tell() <= LARGEST:
            break
    path.write_bytes(stream.getvalue())
    print(f"{path.name}: {stream.tell() / 1000:.0f} kB, {colours} colours", flush=True)


def main() -> None:
    """Make all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PICTURES)}; all where none is named")
    parser.add_argument("--portal", default="", help="address of a portal that is up")
    parser.add_argument("--password", type=Path, help="file with the password of its user astronomer")
    parser.add_argument("--folder", type=Path, default=IMAGES, help="where they go")
    arguments = parser.parse_args()
    own = sorted(SHARED.glob("data/nickel_lick_v_2024/*/*.gz"))
    names = arguments.names or [*PICTURES, *(OWN_PICTURES if own else [])]
    if arguments.portal:
        take(arguments.portal, arguments.password.read_text().strip(), arguments.folder, names)
        return
    with tempfile.TemporaryDirectory() as folder:
        portal = Installation(Path(folder) / "home")
        portal.start()
        try:
            portal.awrecipe("night", str(observe(Path(folder) / "simulated")))
            if set(names) & set(OWN_PICTURES):
                _reduce_own(portal, own, Path(folder))
            take(portal.url, portal.password, arguments.folder, names)
        finally:
            portal.stop()


if __name__ == "__main__":
    main()
