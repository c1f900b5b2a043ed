"""The pages of users' own code: what it says of itself is shown as text, whoever may accepts, the form runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile

from archive.models import Membership, Product, Profile, Project
from processing_units.code_shipping.packing import pack
from processing_units.frontend import own_recipes
from processing_units.frontend.models import CodeBundle, ProcessingUnit, Run
from recipes.catalogue import find_recipe


def zip_file(text: bytes = b"x = '<script>alert(1)</script>'\n") -> SimpleUploadedFile:
    return SimpleUploadedFile("mine.zip", pack([("recipes/mine.py", text)]).content)


@pytest.fixture
def shipper(anna: User) -> User:
    """Anna, as a user of type 3."""
    Profile.objects.filter(user=anna).update(user_type=Profile.UserType.SHIPS_CODE)
    return anna


def test_a_bundle_is_brought_and_shown_as_text(shipper: User, browser_of: Callable[..., Any]) -> None:
    browser = browser_of(shipper)
    sent = browser.post("/code/", {"file": zip_file()}, follow=True)
    page = sent.content.decode()
    assert sent.status_code == 200
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert "recipes/mine.py" in page
    assert CodeBundle.objects.get().digest[:12] in browser.get("/code/").content.decode()


def test_what_it_adds_and_takes_away_is_told_apart(
    bundle: CodeBundle, shipper: User, browser_of: Callable[..., Any]
) -> None:
    bundle.differences = "--- standard/a.py\n+++ bundle/a.py\n@@ -1 +1 @@\n-old = 1\n+new = '<b>'\x1b[31m\n kept"
    bundle.save()
    page = browser_of(shipper).get(f"/code/{bundle.pk}/").content.decode()
    assert '<span class="place">+++ bundle/a.py</span>' in page
    assert '<span class="removed">-old = 1</span>' in page
    assert '<span class="added">+new = &#x27;&lt;b&gt;&#x27;␛[31m</span>\n kept' in page


def test_what_is_wrong_with_it_is_told(shipper: User, ben: User, browser_of: Callable[..., Any]) -> None:
    answer = browser_of(shipper).post("/code/", {"file": SimpleUploadedFile("x.zip", b"no zip")})
    assert (answer.status_code, "cannot be read" in answer.content.decode()) == (422, True)
    assert browser_of(shipper).post("/code/", {}).status_code == 422
    answer = browser_of(ben).post("/code/", {"file": zip_file()})
    assert "ship no code of their own" in answer.content.decode()
    assert not CodeBundle.objects.exists()


def test_hostile_words_of_a_bundle_do_nothing(
    bundle: CodeBundle, shipper: User, browser_of: Callable[..., Any], private: Product, unit: ProcessingUnit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    told = find_recipe("Bias").told() | {
        "name": "Evil", "documentation": "<script>alert(1)</script> and <img src=x onerror=alert(1)>",
    }  # fmt: skip
    told["parameters"][0]["description"] = "<script>alert(2)</script>"
    bundle.contents = [{"path": "recipes/<b>x.py", "size": 10, "change": "new", "added": 1, "removed": 0}]
    bundle.save()
    monkeypatch.setattr(own_recipes, "_ask", lambda _: ([told], ""))
    browser = browser_of(shipper)
    assert "Which recipes has it?" in browser.get(f"/code/{bundle.pk}/").content.decode()
    page = browser.get(f"/code/{bundle.pk}/recipes/", follow=True).content.decode()
    assert f"/recipes/Evil/run/?code={bundle.digest}" in page
    form = browser.get(f"/recipes/Evil/run/?code={bundle.digest}&product={private.pk}")
    assert form.status_code == 200
    for text in (page, form.content.decode()):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "<b>x" not in text
        assert "\x1b" not in text
    assert "&lt;script&gt;alert(2)" in form.content.decode()


def test_the_form_submits_from_own_code(
    bundle: CodeBundle, shipper: User, browser_of: Callable[..., Any], make_product: Callable[..., Product],
    unit: ProcessingUnit, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("processing_units.frontend.dispatch.send_hints", lambda unit: None)
    frames = [make_product().pk for _ in range(3)]
    browser = browser_of(shipper)
    posted = {"action": "submit", "code": bundle.digest, "in-raw_bias": [str(pk) for pk in frames], "privilege": "3"}
    answer = browser.post("/recipes/Bias/run/", posted)
    assert answer.status_code == 302, answer.content.decode()[:3000]
    run = Run.objects.get()
    assert (run.code_digest, run.privilege) == (bundle.digest, 1)
    page = browser.get(f"/runs/{run.pk}/").content.decode()
    assert f'href="/code/{bundle.pk}/"' in page
    assert "--code FOLDER" in page
    assert f'href="/runs/{run.pk}/"' in browser.get(f"/code/{bundle.pk}/").content.decode()
    assert browser.post(f"/code/{bundle.pk}/remove/").status_code == 409
    assert f"code={bundle.digest}" in browser.get(f"/runs/{run.pk}/again/")["Location"]


def test_another_s_code_cannot_be_run(bundle: CodeBundle, ben: User, browser_of: Callable[..., Any]) -> None:
    Profile.objects.filter(user=ben).update(user_type=Profile.UserType.SHIPS_CODE)
    assert browser_of(ben).get(f"/recipes/Bias/run/?code={bundle.digest}").status_code == 404


def test_a_project_manager_accepts_it(
    bundle: CodeBundle, anna: User, ben: User, project: Project, browser_of: Callable[..., Any]
) -> None:
    Membership.objects.create(project=project, user=anna)
    Membership.objects.create(project=project, user=ben, is_manager=True)
    browser = browser_of(ben)
    assert "Accept the code" in browser.get(f"/code/{bundle.pk}/").content.decode()
    page = browser.post(f"/code/{bundle.pk}/accept/", follow=True).content.decode()
    assert "The code is accepted" in page
    assert "Accept the code" not in page
    bundle.refresh_from_db()
    assert bundle.accepted_by == ben


def test_a_bundle_that_no_run_used_can_go(bundle: CodeBundle, anna: User, browser_of: Callable[..., Any]) -> None:
    assert browser_of(anna).post(f"/code/{bundle.pk}/remove/").status_code == 302
    assert not CodeBundle.objects.exists()


def test_who_sees_a_product_sees_how_its_code_differs(
    bundle: CodeBundle, public: Product, ben: User, browser_of: Callable[..., Any]
) -> None:
    browser = browser_of(ben)
    assert browser.get(f"/code/{bundle.pk}/").status_code == 404
    Product.objects.filter(pk=public.pk).update(code_digest=bundle.digest, recipe="Reduce")
    assert f'href="/code/{bundle.pk}/"' in browser.get(f"/products/{public.pk}/").content.decode()
    assert browser.get(f"/code/{bundle.pk}/").status_code == 200


def test_its_results_are_published_on_their_page_once_it_is_accepted(
    bundle: CodeBundle, private: Product, anna: User, ben: User, project: Project, browser_of: Callable[..., Any]
) -> None:
    Membership.objects.create(project=project, user=anna)
    Membership.objects.create(project=project, user=ben, is_manager=True)
    Product.objects.filter(pk=private.pk).update(code_digest=bundle.digest, recipe="Bias", made_by_job=1)
    page = browser_of(anna).get(f"/products/{private.pk}/").content.decode()
    assert "It stays in MyDB" in page
    assert 'id="publish"' not in page
    refused = browser_of(anna).post(f"/products/{private.pk}/publish/", {"privilege": "3"})
    assert (refused.status_code, "no project manager has accepted" in refused.content.decode()) == (403, True)
    browser_of(ben).post(f"/code/{bundle.pk}/accept/")
    page = browser_of(anna).get(f"/products/{private.pk}/").content.decode()
    assert "It stays in MyDB" not in page
    assert '<option value="4">' not in page  # the world is for managers
    asked = {"privilege": "2", "project": "survey"}
    done = browser_of(anna).post(f"/products/{private.pk}/publish/", asked, follow=True)
    assert "MyDB to project (survey), by anna" in done.content.decode()
    assert '<option value="4">' in browser_of(ben).get(f"/products/{private.pk}/").content.decode()
    done = browser_of(ben).post(f"/products/{private.pk}/publish/", {"privilege": "4"}, follow=True)
    assert "seen by world now" in done.content.decode()
    seen_by_all = browser_of(None).get(f"/products/{private.pk}/")
    assert (seen_by_all.status_code, "by anna" in seen_by_all.content.decode()) == (200, False)


def test_all_of_a_runs_products_are_published_at_once(
    run: Run, bundle: CodeBundle, private: Product, anna: User, staff: User, browser_of: Callable[..., Any]
) -> None:
    made = Product.objects.get(made_by_run=run.pk)
    Product.objects.create(kind="BiasFrame", name="b.fits", sha256="0" * 64, file_size=1, creator=anna,
                           identity="another of the run", made_by_run=run.pk, made_by_job=made.made_by_job)  # fmt: skip
    Product.objects.filter(pk=made.pk).update(code_digest=bundle.digest)
    browser, address = browser_of(anna), f"/runs/{run.pk}/publish/"
    page = browser.get(f"/runs/{run.pk}/").content.decode()
    assert "They stay in MyDB" in page
    assert 'id="publish"' not in page
    assert browser.post(address, {"privilege": "3"}).status_code == 403
    assert set(Product.objects.values_list("privilege", flat=True)) == {1}, "all of them or none"
    CodeBundle.objects.update(accepted_at=run.ended)
    assert "Publish all 2" in browser.get(f"/runs/{run.pk}/").content.decode()
    assert 'id="publish"' not in browser_of(staff).get(f"/runs/{run.pk}/").content.decode()
    done = browser.post(address, {"privilege": "3"}, follow=True).content.decode()
    assert "2 products are seen by all users now" in done
    assert 'id="publish"' not in done
    assert set(Product.objects.filter(made_by_run=run.pk).values_list("privilege", flat=True)) == {3}
    assert "nothing that is not published" in browser.post(address, {"privilege": "3"}, follow=True).content.decode()


def test_a_run_tells_how_many_of_its_products_are_held_back(
    run: Run, anna: User, browser_of: Callable[..., Any]
) -> None:
    assert "in MyDB: made with code" not in browser_of(anna).get(f"/runs/{run.pk}/").content.decode()
    Run.objects.update(privilege=3)
    assert "but 1 product in MyDB: made with code" in browser_of(anna).get(f"/runs/{run.pk}/").content.decode()
