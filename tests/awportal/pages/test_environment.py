"""Environment.cfg in the web: brought on the account page, the start of every form, kept and shown with the run."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile

from archive.context import context_of
from archive.models import Membership, Product, Profile, Project
from awportal.models import KeptEnvironment
from processing_units.code_shipping.packing import pack
from processing_units.frontend.bundles import keep_bundle
from processing_units.frontend.models import ProcessingUnit, Run

FILE = b"""[global]
project : survey
privileges : 2
database_password : secret-word
[Bias]
sigma_clip : 4.50
[Elsewhere]
depth : 3
"""
Browser = Callable[[User | None], Any]


def cfg(content: bytes = FILE) -> dict[str, SimpleUploadedFile]:
    return {"file": SimpleUploadedFile("Environment.cfg", content)}


@pytest.fixture
def member(anna: User, project: Project) -> User:
    """Anna, of type 2, in the project."""
    Membership.objects.create(project=project, user=anna)
    return anna


@pytest.fixture
def frames(make_product: Callable[..., Product], unit: ProcessingUnit, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Numbers of three biases of Anna's."""
    monkeypatch.setattr("processing_units.frontend.dispatch.send_hints", lambda unit: None)
    return [str(make_product().pk) for _ in range(3)]


def test_it_is_brought_shown_with_what_overrules_it_and_forgotten(member: User, browser_of: Browser) -> None:
    browser = browser_of(member)
    page = browser.post("/account/environment/", cfg(), follow=True).content.decode()
    assert "AWE_BIAS_SIGMA_CLIP" in page
    assert "AWE_PROJECT" in page
    assert "Passed over: <code>[global] database_password</code>, <code>Elsewhere.depth</code>" in page
    kept = KeptEnvironment.objects.get()
    assert kept.entries == {"project": "survey", "privilege": "2", "Bias.sigma_clip": "4.50"}
    assert "secret-word" not in page + str(vars(kept))
    browser.post("/account/environment/", cfg(b"[Bias]\nsigma_clip = 5\n"))
    assert KeptEnvironment.objects.get().entries == {"Bias.sigma_clip": "5"}
    browser.post("/account/environment/remove/")
    assert not KeptEnvironment.objects.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[global]\nproject = nowhere\n", "in no project"),
        (b"[global]\nprivilege = world\n", "cannot be published"),
        (b"[global]\nprivilege = 9\n", "is no privilege"),
        (b"[global]\nunit = other\n", "there is no unit"),
        (b"[Bias]\nsigma_clip = many\n", "[Bias] sigma_clip"),
        (b"[bias]\nsigma = 3\n", "no such parameter"),
        (b"no section\n", "Environment.cfg"),
        (b"\xff\xfe", "is not a text file"),
        (b"x" * 70_000, "larger than 64 KiB"),
        (b"[Bias]\nsigma_clip = <script>alert(1)</script>\n", "&lt;script&gt;"),
    ],
)
def test_what_is_wrong_is_told_at_once_and_changes_nothing(
    content: bytes, told: str, member: User, unit: ProcessingUnit, browser_of: Browser
) -> None:
    browser = browser_of(member)
    browser.post("/account/environment/", cfg(b"[Bias]\nsigma_clip = 5\n"))
    answer = browser.post("/account/environment/", cfg(content))
    assert (answer.status_code, told in answer.content.decode()) == (422, True)
    assert "<script>alert" not in answer.content.decode()
    assert KeptEnvironment.objects.get().entries == {"Bias.sigma_clip": "5"}


def test_type_1_may_bring_a_context_and_no_settings(member: User, browser_of: Browser) -> None:
    Profile.objects.filter(user=member).update(user_type=Profile.UserType.STANDARD)
    browser = browser_of(member)
    assert "users of type 1" in browser.post("/account/environment/", cfg()).content.decode()
    assert browser.post("/account/environment/", cfg(b"[global]\nproject = survey\n")).status_code == 302


def test_it_travels_with_the_run_and_is_shown_on_its_page(
    member: User, frames: list[str], project: Project, browser_of: Browser
) -> None:
    browser = browser_of(member)
    browser.post("/account/environment/", cfg())
    form = browser.get("/recipes/Bias/run/").content.decode()
    assert 'name="p-sigma_clip" value="4.5"' in form
    assert '<option value="2" selected>' in form
    assert browser.post("/recipes/Bias/run/", {"action": "submit", "in-raw_bias": frames}).status_code == 302
    run = Run.objects.get()
    assert (run.project, run.privilege, run.parameters["sigma_clip"]) == (project, 2, 4.5)
    page = browser.get(f"/runs/{run.pk}/").content.decode()
    assert "From Environment.cfg" in page
    assert "Bias.sigma_clip" in page


def test_what_the_form_says_goes_before_it_even_the_default(
    member: User, frames: list[str], browser_of: Browser
) -> None:
    browser = browser_of(member)
    browser.post("/account/environment/", cfg())
    posted = {"action": "submit", "in-raw_bias": frames, "p-sigma_clip": "3", "privilege": "1"}
    browser.post("/recipes/Bias/run/", posted)
    browser.post("/recipes/Bias/run/", {"action": "submit", "in-raw_bias": frames, "environment": "no"})
    with_it, without = Run.objects.order_by("pk")
    assert (with_it.privilege, with_it.parameters["sigma_clip"]) == (1, 3.0)
    assert (without.project, without.parameters["sigma_clip"], without.submission["environment"]) == (None, 3.0, {})


def test_a_bundle_s_own_file_goes_before_the_account_s(
    member: User, frames: list[str], browser_of: Browser, settings: Any
) -> None:
    Profile.objects.filter(user=member).update(user_type=Profile.UserType.SHIPS_CODE)
    browser = browser_of(member)
    browser.post("/account/environment/", cfg())
    tree = pack([("recipes/mine.py", b"x = 1\n"), ("Environment.cfg", b"[Bias]\nsigma_clip = 6\n")])
    bundle = keep_bundle(io.BytesIO(tree.content), context_of(member))
    browser.post("/recipes/Bias/run/", {"action": "submit", "in-raw_bias": frames, "code": bundle.digest})
    run = Run.objects.get()
    assert (run.code_digest, run.parameters["sigma_clip"], run.project) == (bundle.digest, 6.0, None)


def test_a_run_of_the_command_line_tells_which_variable_overruled(run: Run, anna: User, browser_of: Browser) -> None:
    run.submission |= {"environment": {"Bias.sigma_clip": "4", "project": "x"}, "overruled_by": ["AWE_BIAS_SIGMA_CLIP"]}
    run.save()
    page = browser_of(anna).get(f"/runs/{run.pk}/").content.decode()
    assert 'Bias.sigma_clip<br><span class="dim small">AWE_BIAS_SIGMA_CLIP</span>' in page
    assert 'project<br><span class="dim small">Environment.cfg</span>' in page
    assert "AWE_PROJECT" not in page
