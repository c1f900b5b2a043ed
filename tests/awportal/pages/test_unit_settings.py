"""A process manager changes a unit in the web; what is wrong is told beside its field."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from processing_units.contract import BackendReport
from processing_units.frontend.backends import report as report_of_backend
from processing_units.frontend.models import Job, ProcessingUnit, Run
from tests.awportal.pages.test_pages import text_of

Browser = Callable[..., Client]


@pytest.fixture
def waiting(run: Run, unit: ProcessingUnit) -> Run:
    """A run of Anna's of which a job waits."""
    Run.objects.update(ended=None)
    Job.objects.create(run=run, unit=unit, ordinal=9, label="waits", created=timezone.now())
    return run


def test_the_form_shows_what_is_and_changes_it(unit: ProcessingUnit, staff: User, browser_of: Browser) -> None:
    browser = browser_of(staff)
    form = browser.get("/units/local/settings/").content.decode()
    assert re.search(r'name="slots" value="2"', form)
    assert 'name="port"' not in form
    sent = {"accepting": "yes", "slots": "3", "walltime": "2h", "recipes": "Bias", "alias": "here", "memory": "4096"}
    answer = browser.post("/units/local/settings/", sent, follow=True)
    told = text_of(answer)
    assert all(part in told for part in ("slots: 3", "walltime: 7200", "recipes: Bias", "alias: here"))
    unit.refresh_from_db()
    assert (unit.slots, unit.wall_seconds, unit.recipes_allowed, unit.alias) == (3, 7200, ["Bias"], "here")
    page = text_of(browser.get("/units/local/"))
    assert re.search(r"staff slots 2 → 3 ", page)
    assert re.search(r"staff walltime 3600 → 7200 ", page)


def test_what_is_wrong_is_told_beside_its_field(unit: ProcessingUnit, staff: User, browser_of: Browser) -> None:
    answer = browser_of(staff).post("/units/local/settings/", {"slots": "many", "recipes": "Bias"})
    assert answer.status_code == 422
    html = answer.content.decode()
    assert re.search(r'name="slots" value="many"[^>]*aria-invalid="true"', html)
    assert "is no whole number from 0 to 100000" in html
    unit.refresh_from_db()
    assert unit.recipes_allowed == []


def test_one_button_drains_and_one_accepts(unit: ProcessingUnit, staff: User, anna: User, browser_of: Browser) -> None:
    browser = browser_of(staff)
    assert "Drain" in text_of(browser.get("/units/local/"))
    browser.post("/units/local/settings/", {"accepting": "no"})
    unit.refresh_from_db()
    assert (unit.accepting, unit.slots) == (False, 2)
    assert "Accept jobs" in text_of(browser.get("/units/local/"))
    theirs = text_of(browser_of(anna).get("/units/local/"))
    assert "Accept jobs" not in theirs
    assert re.search(r"staff accepting yes → no ", theirs), "whoever uses the unit sees who changed it"


def test_what_waits_is_moved(waiting: Run, unit: ProcessingUnit, anna: User, browser_of: Browser) -> None:
    browser = browser_of(anna)
    page = f"/runs/{waiting.pk}/"
    assert "Move what waits" not in text_of(browser.get(page))
    ProcessingUnit.objects.create(name="other", port=8200, key_hash="y", alias="The other one")
    assert re.search(r"The other one\s+Move what waits", text_of(browser.get(page)))
    answer = browser.post(f"{page}move/", {"unit": "other"}, follow=True)
    assert "1 job moved to unit The other one" in text_of(answer)
    assert list(waiting.jobs.filter(state="queued").values_list("unit__name", flat=True)) == ["other"]


def test_everything_of_a_unit_is_cancelled_on_purpose_only(waiting: Run, staff: User, browser_of: Browser) -> None:
    browser = browser_of(staff)
    answer = browser.post("/units/local/cancel/", follow=True)
    assert "Nothing was cancelled" in text_of(answer)
    answer = browser.post("/units/local/cancel/", {"sure": "yes"}, follow=True)
    assert "1 job of 1 run cancelled" in text_of(answer)
    assert not Job.objects.filter(state="queued").exists()


def test_all_of_ones_own_is_cancelled(waiting: Run, anna: User, ben: User, browser_of: Browser) -> None:
    assert "0 jobs of 0 runs cancelled" in text_of(browser_of(ben).post("/runs/cancel/", follow=True))
    assert "1 job of 1 run cancelled" in text_of(browser_of(anna).post("/runs/cancel/", follow=True))


def test_the_page_tells_who_waits_what_was_done_and_what_the_backend_says(
    waiting: Run, unit: ProcessingUnit, staff: User, anna: User, ben: User, browser_of: Browser
) -> None:
    report = BackendReport.model_validate(
        {"backend": "login1 77", "kind": "slurm", "places": [{"number": 1, "state": "held", "handle": "4711",
         "reason": "JobHeldUser <script>"}]}
    )  # fmt: skip
    report_of_backend(unit, report)
    page = browser_of(staff).get("/units/local/")
    assert re.search(r"anna 0 1 ", text_of(page))
    assert re.search(r"4711 ", text_of(page))
    assert "JobHeldUser &lt;script&gt;" in page.content.decode()
    assert re.search(r"<b class=\"num\">1</b> job done, <b class=\"num\">1</b> failed", page.content.decode())
    assert "1 other user 0 1" in text_of(browser_of(ben).get("/units/local/"))
    assert "anna 0 1" in text_of(browser_of(anna).get("/units/local/"))
