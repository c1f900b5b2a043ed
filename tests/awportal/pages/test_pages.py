"""What the pages say: hostile text does nothing, empty pages help, forms tell what is wrong beside the field."""

from __future__ import annotations

import io
import re
import time
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from werkzeug.test import Client as WsgiClient

import dataserver
from archive.models import Lineage, Membership, Product, Profile, Project, QualityLimit
from awportal.models import ApiToken
from awportal.stored_files import the_store
from awportal.tokens import find_token
from processing_units.frontend.models import Job, ParameterSet, ProcessingUnit, Run
from tests.awportal.pages.conftest import PASSWORD, frame_bytes

Browser = Callable[..., Client]


def text_of(answer: Any) -> str:
    """Return the page's text without tags, runs of space as one."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_no_page_has_inline_script_or_style(run: Run, private: Product, anna: User, browser_of: Browser) -> None:
    pages = [
        "/",
        "/archive/",
        f"/products/{private.pk}/",
        f"/runs/{run.pk}/",
        f"/runs/{run.pk}/1/",
        "/recipes/Bias/run/",
    ]
    for page in pages:
        answer = browser_of(anna).get(page)
        html = answer.content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", html), page
        assert "script-src 'self'" in answer["Content-Security-Policy"]
        assert re.search(r"<title>[^<]+ · awportal</title>", html), page


def test_hostile_headers_and_logs_do_nothing(
    run: Run, make_product: Callable[..., Product], anna: User, browser_of: Browser
) -> None:
    evil = "<img src=x onerror=alert(1)>"
    product = make_product(name="evil.fits", object_name=evil, attributes={"OBJECT": evil + "\x1b[2J"})
    browser = browser_of(anna)
    for page in (f"/products/{product.pk}/", f"/products/{product.pk}/header/", "/archive/", f"/runs/{run.pk}/1/"):
        html = browser.get(page).content.decode()
        assert evil not in html, page
        assert "<script>x" not in html, page
        assert "\x1b" not in html, page
    log = browser.get(f"/runs/{run.pk}/1/log/")
    assert "\x1b" not in log.content.decode()
    assert "␛[31mred" in log.content.decode()
    assert log["Content-Type"].startswith("text/plain")
    assert log["X-Content-Type-Options"] == "nosniff"


def test_an_empty_portal_says_what_to_do(anna: User, browser_of: Browser) -> None:
    browser = browser_of(anna)
    assert "Bring a night of raw frames" in text_of(browser.get("/"))
    assert "The archive is empty" in text_of(browser.get("/archive/"))
    assert "No run yet" in text_of(browser.get("/runs/"))
    assert "No processing unit yet" in text_of(browser.get("/units/"))
    assert "No token yet" in text_of(browser.get("/account/"))
    assert "Nothing is public yet" in text_of(browser_of(None).get("/"))
    assert "there is no processing unit yet" in text_of(browser.get("/recipes/Bias/run/"))


def test_the_archive_filters_and_pages(make_product: Callable[..., Product], anna: User, browser_of: Browser) -> None:
    for number in range(55):
        make_product(content=b"x", chip="ccd2" if number < 3 else "ccd1", object_name="M 13" if number == 0 else "")
    browser = browser_of(anna)
    assert "1–50 of 55" in text_of(browser.get("/archive/"))
    assert "51–55 of 55" in text_of(browser.get("/archive/?page=2"))
    assert "1–3 of 3" in text_of(browser.get("/archive/?chip=ccd2"))
    assert "1–1 of 1" in text_of(browser.get("/archive/?object=13"))
    assert "Nothing matches" in text_of(browser.get("/archive/?instrument=other"))
    wrong = browser.get("/archive/?night=yesterday")
    assert wrong.status_code == 422
    assert "is not a date like 2024-05-12" in text_of(wrong)
    for odd in ("page=0", "page=-1", "page=1e9", "page=99999999999999999999", "instrument=%27--"):
        assert browser.get(f"/archive/?{odd}").status_code == 200, odd
    assert browser.get("/archive/?kind=%00").status_code == 422  # PostgreSQL could not even be asked


def test_a_part_of_the_archive_answers_htmx(private: Product, anna: User, browser_of: Browser) -> None:
    html = browser_of(anna).get("/archive/", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in html
    assert private.name in html


def test_the_form_is_made_from_the_signature(
    unit: ProcessingUnit, private: Product, anna: User, browser_of: Browser
) -> None:
    html = browser_of(anna).get("/recipes/Bias/run/").content.decode()
    assert re.search(r'name="p-sigma_clip" value="3"', html)
    assert "Pixels farther than this many read noises" in html
    assert "Default 3; 1 to 50." in html
    assert private.name in html, "the newest night is chosen to begin with"
    assert "the whole night of 2026-03-14" in html


def test_the_form_offers_the_usual_kind_first_and_names_it(
    unit: ProcessingUnit, private: Product, make_product: Callable[..., Product], anna: User, browser_of: Browser
) -> None:
    dark = make_product(kind="RawDark", date_obs=private.date_obs + timedelta(minutes=5))  # newer than the bias
    html = browser_of(anna).get("/recipes/Bias/run/").content.decode()
    assert re.findall(r"<option( selected)?>(Raw\w+)</option>", html) == [(" selected", "RawBias"), ("", "RawDark")]
    assert "All 1 RawBias that match" in re.sub(r"RawBiass?", "RawBias", html)
    assert f'name="in-raw_bias" value="{private.pk}"' in html
    assert f'name="in-raw_bias" value="{dark.pk}"' not in html
    html = browser_of(anna).post("/recipes/Bias/inputs/", {"kind-raw_bias": "RawDark"}).content.decode()
    assert f'name="in-raw_bias" value="{dark.pk}"' in html
    assert f'name="in-raw_bias" value="{private.pk}"' not in html


def test_a_wrong_parameter_is_told_beside_its_field(
    unit: ProcessingUnit, private: Product, anna: User, browser_of: Browser
) -> None:
    answer = browser_of(anna).post(
        "/recipes/Bias/run/", {"action": "submit", "p-sigma_clip": "many", "in-raw_bias": [private.pk], "key": "k"}
    )
    assert answer.status_code == 422
    assert re.search(r'name="p-sigma_clip" value="many"[^>]*aria-invalid="true"', answer.content.decode())
    assert "is not a number from 1 to 50" in text_of(answer)
    assert not Run.objects.exists()


def test_nothing_chosen_is_told_at_the_input(
    unit: ProcessingUnit, private: Product, anna: User, browser_of: Browser
) -> None:
    answer = browser_of(anna).post("/recipes/Bias/run/", {"action": "plan", "key": "k"})
    assert answer.status_code == 422
    assert "choose at least 3 a job" in text_of(answer)


def test_check_then_submit_makes_one_run(
    unit: ProcessingUnit, make_product: Callable[..., Product], anna: User, browser_of: Browser
) -> None:
    for chip in ("ccd1", "ccd2"):
        for _ in range(3):
            make_product(chip=chip)
    browser = browser_of(anna)
    filled = {"instrument": "simcam", "night": "2026-03-14", "all-raw_bias": "1", "key": "one", "p-sigma_clip": "4"}
    plan = browser.post("/recipes/Bias/run/", {**filled, "action": "plan"})
    assert plan.status_code == 200
    assert "2 jobs on local" in text_of(plan)
    assert "no ReadNoise serves simcam chip ccd1" in text_of(plan)
    assert not Run.objects.exists()
    first = browser.post("/recipes/Bias/run/", {**filled, "action": "submit"})
    again = browser.post("/recipes/Bias/run/", {**filled, "action": "submit"})
    run = Run.objects.get()
    assert first["Location"] == again["Location"] == f"/runs/{run.pk}/"
    assert run.jobs.count() == 2
    assert run.parameters["sigma_clip"] == 4.0
    page = text_of(browser.get(f"/runs/{run.pk}/"))
    assert "waiting: unit local has no cluster manager up, 1st in line" in page
    assert "awrecipe run Bias --raw-bias" in page


def test_a_plan_with_a_problem_cannot_be_submitted(
    unit: ProcessingUnit, private: Product, anna: User, browser_of: Browser
) -> None:
    chosen = {"in-raw_bias": [private.pk], "key": "k"}
    plan = browser_of(anna).post("/recipes/Bias/run/", {**chosen, "action": "plan"})
    html = plan.content.decode()
    assert "not possible" in html
    assert re.search(r'value="submit" disabled', html)
    refused = browser_of(anna).post("/recipes/Bias/run/", {**chosen, "action": "submit"})
    assert refused.status_code == 422
    assert not Run.objects.exists()


def test_a_dry_run_is_run_exactly_or_shown_anew(
    unit: ProcessingUnit, make_product: Callable[..., Product], anna: User, browser_of: Browser
) -> None:
    filled = {"in-raw_bias": [make_product().pk for _ in range(3)], "key": "k"}
    browser = browser_of(anna)
    html = browser.post("/recipes/Bias/run/", {**filled, "action": "plan"}).content.decode()
    shown = re.search(r'name="plan" value="([0-9a-f]{64})"', html)
    assert shown is not None
    assert "Time on each unit" in html
    noise = make_product(kind="ReadNoise", name="new_noise.fits", content=b"x")
    changed = browser.post("/recipes/Bias/run/", {**filled, "action": "submit", "plan": shown[1]})
    assert changed.status_code == 422
    assert "not what the dry run showed any more" in text_of(changed)
    assert noise.name in text_of(changed), "what it would be now is shown below"
    assert not Run.objects.exists()
    now = re.search(r'name="plan" value="([0-9a-f]{64})"', changed.content.decode())
    assert now is not None
    way = browser.post("/recipes/Bias/run/", {**filled, "action": "submit", "plan": now[1]})
    assert way["Location"] == f"/runs/{Run.objects.get().pk}/"


def test_parameters_are_kept_and_filled_in(
    unit: ProcessingUnit, private: Product, anna: User, browser_of: Browser
) -> None:
    browser = browser_of(anna)
    typed = {"p-sigma_clip": "4", "set-name": "deep", "action": "keep-set"}
    assert "Kept as deep" in text_of(browser.post("/recipes/Bias/run/", typed))
    assert ParameterSet.objects.get().entries == {"sigma_clip": 4.0}
    for page in (
        browser.get("/recipes/Bias/run/?set=deep"),
        browser.post("/recipes/Bias/run/", {"p-sigma_clip": "9", "set": "deep", "action": "use-set"}),
    ):
        assert re.search(r'name="p-sigma_clip" value="4"', page.content.decode())
        assert "The set deep says 4." in text_of(page)
    ParameterSet.objects.update(entries={"sigma_clip": 4, "colour": "red"})
    told = browser.get("/recipes/Bias/run/?set=deep")
    assert "does not fit as it is" in text_of(told)
    assert "has no parameter colour" in text_of(told)
    assert "has no parameter set" in text_of(browser.get("/recipes/Bias/run/?set=nothing"))
    assert "Removed" in text_of(browser.post("/recipes/Bias/run/", {"set": "deep", "action": "remove-set"}))
    assert not ParameterSet.objects.exists()


def test_the_form_says_what_the_instrument_changes(
    unit: ProcessingUnit, make_product: Callable[..., Product], anna: User, browser_of: Browser
) -> None:
    make_product(attributes={"overscan_y": "[1:64,90:96]"})
    QualityLimit.objects.create(
        kind="BiasFrame", measurement="stdev", instrument="simcam", maximum=7.5, source="learned",
        since=timezone.now(), set_by=anna, learned_from=12,
    )  # fmt: skip
    text = text_of(browser_of(anna).get("/recipes/Bias/run/"))
    assert "On frames of simcam chip ccd1 8 takes effect: header and camera file tell of no overscan_x." in text
    assert "Results of simcam are held to limits of its own 1" in text
    assert "learned from 12 products" in text


def test_the_archives_choice_becomes_the_forms_input(
    unit: ProcessingUnit, private: Product, anna: User, browser_of: Browser
) -> None:
    browser = browser_of(anna)
    way = browser.get(f"/archive/use/?recipe=Bias&product={private.pk}")
    html = browser.get(way["Location"]).content.decode()
    assert re.search(rf'value="{private.pk}"[^>]* checked', html)
    every = browser.get("/archive/use/?recipe=Bias&all=1&night=2026-03-14&kind=RawBias")
    assert re.search(r'name="all-raw_bias" value="1" checked', browser.get(every["Location"]).content.decode())


def test_the_live_part_asks_only_while_the_run_is_open(run: Run, anna: User, browser_of: Browser) -> None:
    browser = browser_of(anna)
    assert "hx-trigger" not in browser.get(f"/runs/{run.pk}/").content.decode()
    Job.objects.filter(run=run, ordinal=2).update(state="running", stage="stacking", progress=0.5)
    Run.objects.update(ended=None)
    live = browser.get(f"/runs/{run.pk}/", headers={"HX-Request": "true"}).content.decode()
    assert 'hx-trigger="every 2s"' in live
    assert "<html" not in live
    assert "stacking" in live


def test_the_run_page_tells_cause_and_mend(run: Run, anna: User, browser_of: Browser) -> None:
    page = text_of(browser_of(anna).get(f"/runs/{run.pk}/"))
    assert "1 job failed." in page
    assert "fewer than three frames" in page
    assert "Add frames" in page
    assert "Retry the failed" in page
    job = text_of(browser_of(anna).get(f"/runs/{run.pk}/1/"))
    assert "too few" in job
    assert "awrecipe run Bias --raw-bias" in job
    only_failed = browser_of(anna).get(f"/runs/{run.pk}/?state=failed").content.decode()
    assert "ccd1" in only_failed
    assert f'id="job-2" href="/runs/{run.pk}/2/"' not in only_failed


def test_all_products_of_a_run_as_one_archive(run: Run, anna: User, browser_of: Browser) -> None:
    answer = browser_of(anna).get(f"/runs/{run.pk}/products.zip")
    content = b"".join(answer.streaming_content)
    assert int(answer["Content-Length"]) == len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [f"run-{run.pk}/bias_ccd2.fits"]
        assert archive.read(archive.namelist()[0]) == frame_bytes(1)


def test_a_products_page_shows_picture_quality_and_lineage(
    run: Run, private: Product, anna: User, browser_of: Browser
) -> None:
    product = Product.objects.get(made_by_run=run.pk)
    Lineage.objects.create(product=product, source=private, role="raw_bias")
    page = browser_of(anna).get(f"/products/{product.pk}/")
    text = text_of(page)
    assert "64 × 96 pixels" in text
    assert "hot 1 " in text
    assert "saturated 96" in text
    assert "stdev 2.2 adu" in text
    assert f'href="/products/{private.pk}/"' in page.content.decode()
    header = text_of(browser_of(anna).get(f"/products/{product.pk}/header/"))
    assert "BUNIT" in header
    assert "1AJSF" not in header  # a licence number is nobody else's to read


@pytest.mark.parametrize("content", [b"", b"not FITS at all", b"SIMPLE  =" + b" " * 5000])
def test_a_damaged_file_is_told_and_breaks_no_page(
    content: bytes, make_product: Callable[..., Product], anna: User, browser_of: Browser
) -> None:
    product = make_product(content=content)
    page = browser_of(anna).get(f"/products/{product.pk}/")
    assert page.status_code == 200
    assert "It cannot be shown" in text_of(page)
    assert browser_of(anna).get(f"/products/{product.pk}/picture/thumb.png").status_code == 404
    assert browser_of(anna).get(f"/products/{product.pk}/header/").status_code == 200


def test_a_verdict_is_for_those_who_may(public: Product, anna: User, ben: User, browser_of: Browser) -> None:
    refused = browser_of(ben).post(f"/products/{public.pk}/verdict/", {"is_valid": "0"})
    assert refused.status_code == 403
    assert "only its creator" in text_of(refused)
    assert browser_of(anna).post(f"/products/{public.pk}/verdict/", {"is_valid": "0"}).status_code == 302
    public.refresh_from_db()
    assert public.is_valid == 0


def test_a_file_that_is_too_large_is_refused_alone(anna: User, browser_of: Browser, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 1 << 20
    files = [SimpleUploadedFile("large.fits", bytes((1 << 20) + 1)), SimpleUploadedFile("bad.fits", b"hello")]
    text = text_of(browser_of(anna).post("/archive/upload/", {"files": files}))
    assert "large.fits" in text
    assert "a file may have at most 1 MiB here" in text
    assert "0 new , 0 there before, 2 refused" in text


def test_downloads_are_signed_and_named(private: Product, anna: User, browser_of: Browser, settings: Any) -> None:
    Product.objects.filter(pk=private.pk).update(name="without_ending")
    way = browser_of(anna).get(f"/products/{private.pk}/download/fits/")["Location"]
    assert way.startswith(f"{settings.DATA_URL}/files/{private.sha256}?")
    assert "name=without_ending.fits" in way
    files = WsgiClient(dataserver.application(the_store(), settings.DATA_KEY))
    given = files.get(way.removeprefix(settings.DATA_URL))
    assert (given.status_code, given.data) == (200, frame_bytes(1))
    given.close()
    assert files.get(way.removeprefix(settings.DATA_URL).replace("without", "with")).status_code == 403
    assert browser_of(anna).get(f"/products/{private.pk}/download/odd/").status_code == 404


def test_uploads_go_in_one_by_one_with_their_reasons(anna: User, browser_of: Browser) -> None:
    header = fits.Header({"INSTRUME": "simcam", "IMAGETYP": "bias", "DATE-OBS": "2026-03-14T20:00:00", "EXPTIME": 0.0})
    stream = io.BytesIO()
    fits.PrimaryHDU(np.zeros((32, 32), np.uint16), header).writeto(stream)
    files = [SimpleUploadedFile("good.fits", stream.getvalue()), SimpleUploadedFile("bad.fits", b"hello")]
    answer = browser_of(anna).post("/archive/upload/", {"files": files})
    text = text_of(answer)
    assert "1 new, 0 there before, 1 refused" in text.replace(" ,", ",")
    assert Product.objects.get().kind == "RawBias"
    again = browser_of(anna).post("/archive/upload/", {"files": [SimpleUploadedFile("good.fits", stream.getvalue())]})
    assert "there before" in text_of(again)
    assert Product.objects.count() == 1
    assert "No file was chosen" in text_of(browser_of(anna).post("/archive/upload/", {}))
    wrong = browser_of(anna).post("/archive/upload/", {"files": [SimpleUploadedFile("g.fits", b"x")], "type": "odd"})
    assert "type 'odd' is none of" in wrong.content.decode().replace("&#x27;", "'")


def test_a_token_is_shown_once(anna: User, browser_of: Browser) -> None:
    browser = browser_of(anna)
    made = browser.post("/account/tokens/", {"label": "laptop", "scope": "all"}).content.decode()
    shown = re.search(r"<code>(aw_[\w-]+)</code>", made)
    assert shown is not None
    token = find_token(shown[1])
    assert token is not None
    assert token.user == anna
    assert shown[1] not in browser.get("/account/").content.decode()
    browser.post(f"/account/tokens/{token.pk}/revoke/")
    assert find_token(shown[1]) is None
    assert ApiToken.objects.get().revoked is not None


def test_log_in_password_and_context(anna: User, project: Project) -> None:
    browser = Client()
    wrong = browser.post("/login/", {"username": "anna", "password": "no"})
    assert "Please enter a correct username and password" in text_of(wrong)
    assert browser.post("/login/", {"username": "anna", "password": PASSWORD}).status_code == 302
    new = {"old_password": PASSWORD, "new_password1": "another long sentence", "new_password2": "another long sentence"}
    assert browser.post("/account/password/", new).status_code == 302
    anna.refresh_from_db()
    assert anna.check_password("another long sentence")
    assert browser.get("/account/").status_code == 200, "this session stays"
    not_a_member = browser.post("/account/context/", {"project": project.pk, "privilege": 2})
    assert not_a_member.status_code == 422
    Membership.objects.create(project=project, user=anna)
    assert browser.post("/account/context/", {"project": project.pk, "privilege": 2}).status_code == 302
    profile = Profile.objects.get(user=anna)
    assert (profile.project, profile.privilege) == (project, 2)
    assert browser.post("/logout/").status_code == 302
    assert browser.get("/account/").status_code == 302


def test_guessing_passwords_is_throttled(anna: User) -> None:
    browser = Client()
    for _ in range(11):
        answer = browser.post("/login/", {"username": "anna", "password": "no"})
    assert answer.status_code == 429
    assert "Too many attempts" in text_of(answer)


def test_errors_are_pages_of_the_same_look(anna: User, browser_of: Browser) -> None:
    answer = browser_of(anna).get("/nowhere/")
    assert answer.status_code == 404
    assert "There is no such page" in text_of(answer)
    assert browser_of(anna).get("/recipes/Nonsense/").status_code == 404
    assert browser_of(anna).get("/products/99999999999999999999999/").status_code == 404
    assert browser_of(anna).get("/runs/99999999999999999999999/").status_code == 404
    assert browser_of(anna).get("/archive/", headers={"Host": "evil.example"}).status_code == 400


def test_every_recipe_has_its_page_and_form(unit: ProcessingUnit, anna: User, browser_of: Browser) -> None:
    from recipes.catalogue import all_recipes

    for recipe in all_recipes().values():
        page = browser_of(None).get(f"/recipes/{recipe.name}/")
        assert page.status_code == 200
        for parameter in recipe.parameters:
            assert parameter.name in page.content.decode()
        form = browser_of(anna).get(f"/recipes/{recipe.name}/run/").content.decode()
        for parameter in recipe.parameters:
            assert f'name="p-{parameter.name}"' in form


def test_the_back_button_gets_a_whole_page(private: Product, anna: User, browser_of: Browser) -> None:
    restoring = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
    assert "<html" in browser_of(anna).get("/archive/", headers=restoring).content.decode()


def test_head_is_answered_as_get_is(private: Product, anna: User, browser_of: Browser) -> None:
    for page in ("/", "/archive/", "/recipes/", f"/products/{private.pk}/", "/recipes/Bias/run/"):
        assert browser_of(anna).head(page).status_code == 200, page


def test_a_run_of_many_inputs_can_be_run_again(
    run: Run, make_product: Callable[..., Product], anna: User, browser_of: Browser
) -> None:
    numbers = [make_product(content=b"x").pk for _ in range(30)]
    Run.objects.update(
        submission={"recipe": "Bias", "inputs": {"raw_bias": numbers + list(range(10**6, 10**6 + 5000))}}
    )
    browser = browser_of(anna)
    way = browser.get(f"/runs/{run.pk}/again/")["Location"]
    assert len(way) < 200
    assert browser.get(way).content.decode().count(" checked") == 30


def test_a_run_of_ten_thousand_jobs_is_shown_at_once(
    run: Run, unit: ProcessingUnit, anna: User, browser_of: Browser
) -> None:
    jobs = [Job(run=run, unit=unit, ordinal=n, label=f"job {n}", created=run.submitted) for n in range(3, 10_001)]
    Job.objects.bulk_create(jobs, batch_size=1000)
    begun = time.process_time()
    page = browser_of(anna).get(f"/runs/{run.pk}/")
    assert time.process_time() - begun < 1.0
    text = text_of(page)
    assert "9998 queued" in text
    assert "page 1" in text
    assert len(page.content) < 100_000


def test_pages_ask_the_database_a_bounded_number_of_times(
    run: Run, make_product: Callable[..., Product], anna: User, browser_of: Browser, django_assert_max_num_queries: Any
) -> None:
    for _ in range(40):
        make_product(content=b"x", kind="BiasFrame", made_by_run=run.pk)
    browser = browser_of(anna)
    for page, most in (
        ("/", 20),
        ("/archive/", 14),
        (f"/runs/{run.pk}/", 33),
        ("/runs/", 14),
        ("/recipes/Bias/run/", 36),
    ):
        browser.get(page)
        with django_assert_max_num_queries(most):
            browser.get(page)


def test_a_living_page_whose_session_ended_goes_to_the_log_in(run: Run, anna: User, browser_of: Browser) -> None:
    asked = {"HX-Request": "true", "HX-Current-URL": f"http://testserver/runs/{run.pk}/"}
    answer = browser_of(None).get(f"/runs/{run.pk}/", headers=asked, follow=True)
    assert answer["HX-Redirect"] == f"/login/?next=%2Fruns%2F{run.pk}%2F"


def test_a_mistake_of_ours_shows_no_traceback(anna: User, browser_of: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("awportal.views.home.visible", broken)
    browser = browser_of(anna)
    browser.raise_request_exception = False
    answer = browser.get("/")
    assert answer.status_code == 500
    assert "The portal made a mistake" in text_of(answer)
    assert "secret detail" not in answer.content.decode()
