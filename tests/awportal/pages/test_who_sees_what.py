"""Every address × {visitor, another user, its owner, staff}, in one table: what the table does not know fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from archive.models import Membership, Product, Project, SavedSelection
from awportal.models import ApiToken
from awportal.tokens import make_token
from processing_units.frontend.models import Batch, CodeBundle, NoticeChoice, ProcessingUnit, Run
from processing_units.frontend.notices.texts import address_token

LOGIN = "login"  # sent to the log-in page

# name: (method, statuses for visitor, another user, owner, staff). 302 alone is a way on, "login" one to the log-in.
TABLE: dict[str, tuple[str, Any, Any, Any, Any]] = {
    "home": ("get", 200, 200, 200, 200),
    "login": ("get", 200, 200, 200, 200),
    "logout": ("post", 302, 302, 302, 302),
    "help": ("get", 200, 200, 200, 200),
    "help-page": ("get", 200, 200, 200, 200),
    "api-operations": ("get", 200, 200, 200, 200),
    "help-picture": ("get", 200, 200, 200, 200),
    "account": ("get", LOGIN, 200, 200, 200),
    "change-password": ("post", LOGIN, 422, 422, 422),
    "change-context": ("post", LOGIN, 422, 422, 422),
    "bring-environment": ("post", LOGIN, 422, 422, 422),
    "remove-environment": ("post", LOGIN, 302, 302, 302),
    "new-token": ("post", LOGIN, 422, 422, 422),
    "end-token": ("post", LOGIN, 404, 302, 404),
    "notices": ("get", LOGIN, 200, 200, 200),
    "new-webhook-key": ("post", LOGIN, 302, 302, 302),
    "test-notices": ("post", LOGIN, 302, 302, 302),
    "confirm-address": ("get", LOGIN, 404, 200, 404),
    "archive": ("get", 200, 200, 200, 200),
    "download-products": ("get", 302, 302, 302, 302),  # without a product there is nothing to send
    "samp-messages": ("get", 422, 422, 422, 422),  # without a product there is nothing to send
    "use-products": ("get", 302, 302, 302, 302),
    "calibrations": ("get", 200, 200, 200, 200),
    "change-timestamps": ("post", LOGIN, 404, 302, 404),
    "nights": ("get", 200, 200, 200, 200),
    "night": ("get", 404, 404, 200, 404),
    "selections": ("get", LOGIN, 200, 200, 200),
    "save-selection": ("post", LOGIN, 302, 302, 302),
    "change-selection": ("post", LOGIN, 404, 302, 404),
    "remove-selection": ("post", LOGIN, 404, 302, 404),
    "upload": ("get", LOGIN, 200, 200, 200),
    "product": ("get", 404, 404, 200, 404),
    "product-header": ("get", 404, 404, 200, 404),
    "product-inputs": ("get", 404, 404, 200, 404),
    "product-diff-with": ("get", 404, 404, 200, 404),
    "product-diff": ("get", 404, 404, 200, 404),
    "product-diff-picture": ("get", 404, 404, 200, 404),
    "impact": ("get", 404, 404, 200, 404),
    "reprocess": ("get", LOGIN, 404, 200, 404),
    "judge": ("post", LOGIN, 404, 404, 404),  # without a verdict there is nothing to write, whoever asks
    "publish-run": ("post", LOGIN, 404, 422, 422),  # likewise
    "publish-product": ("post", LOGIN, 404, 422, 404),  # without a level there is nowhere to publish to
    "product-picture": ("get", 404, 404, 200, 404),
    "view-frame": ("get", 404, 404, 200, 404),
    "frame-description": ("get", 404, 404, 200, 404),
    "frame-tile": ("get", 404, 404, 200, 404),
    "sources": ("get", 404, 404, 404, 404),  # a bias has no sources: of lists see test_viewer.py
    "source": ("get", 404, 404, 404, 404),
    "download": ("get", 404, 404, 302, 404),
    "design": ("get", 200, 200, 200, 200),
    "projects": ("get", LOGIN, 200, 200, 200),
    "new-project": ("post", LOGIN, 403, 403, 403),  # staff is no administrator
    "project": ("get", LOGIN, 200, 200, 200),  # what each sees there: test_projects.py
    "change-project": ("post", LOGIN, 403, 403, 403),  # Anna is a member of it, and no manager
    "publish-project": ("post", LOGIN, 403, 403, 403),
    "join-project": ("post", LOGIN, 302, 422, 302),  # Anna is in it already
    "answer-request": ("post", LOGIN, 403, 403, 403),
    "change-member": ("post", LOGIN, 403, 403, 403),
    "people": ("get", LOGIN, 403, 403, 403),  # for administrators: test_people.py
    "new-person": ("post", LOGIN, 403, 403, 403),
    "person": ("get", LOGIN, 403, 403, 403),
    "change-person": ("post", LOGIN, 403, 403, 403),
    "person-link": ("post", LOGIN, 403, 403, 403),
    "person-sign-out": ("post", LOGIN, 403, 403, 403),
    "person-quota": ("post", LOGIN, 403, 403, 403),
    "set-password": ("get", 200, 200, 200, 200),  # the link of the table is void, and says so
    "changes": ("get", LOGIN, 200, 200, 200),  # each their own: test_changes.py
    "recipes": ("get", 200, 200, 200, 200),
    "recipe": ("get", 200, 200, 200, 200),
    "run-recipe": ("get", LOGIN, 200, 200, 200),
    "recipe-inputs": ("post", LOGIN, 200, 200, 200),
    "code": ("get", LOGIN, 200, 200, 200),
    "bundle": ("get", LOGIN, 404, 200, 200),
    "bundle-recipes": ("get", LOGIN, 404, 302, 302),
    "accept-bundle": ("post", LOGIN, 404, 403, 403),  # Anna manages no project, and staff is no administrator
    "remove-bundle": ("post", LOGIN, 404, 302, 403),
    "runs": ("get", LOGIN, 200, 200, 200),
    "run": ("get", LOGIN, 404, 200, 200),
    "cancel-run": ("post", LOGIN, 404, 302, 302),
    "cancel-runs": ("post", LOGIN, 302, 302, 302),
    "move-run": ("post", LOGIN, 404, 404, 404),  # without a unit there is nowhere to move, whoever asks
    "retry-run": ("post", LOGIN, 404, 302, 302),
    "run-again": ("get", LOGIN, 404, 302, 302),
    "run-log": ("get", LOGIN, 404, 200, 200),
    "run-products": ("get", LOGIN, 404, 200, 200),
    "job": ("get", LOGIN, 404, 200, 200),
    "job-log": ("get", LOGIN, 404, 200, 200),
    "converge": ("get", LOGIN, 200, 200, 200),
    "batches": ("get", LOGIN, 200, 200, 200),
    "new-batch": ("get", LOGIN, 200, 200, 200),
    "batch": ("get", LOGIN, 404, 200, 200),
    "make-batch": ("post", LOGIN, 404, 302, 403),  # a batch is made by its author alone
    "batch-again": ("post", LOGIN, 404, 302, 404),  # staff does not see Anna's own frame
    "cancel-batch": ("post", LOGIN, 404, 302, 302),
    "retry-batch": ("post", LOGIN, 404, 409, 409),  # none of its jobs failed
    "units": ("get", LOGIN, 200, 200, 200),
    "unit": ("get", LOGIN, 200, 200, 200),
    "awworker": ("get", 200, 200, 200, 200),
    "unit-settings": ("get", LOGIN, 403, 403, 200),
    "data-servers": ("get", LOGIN, 403, 403, 200),
    "unit-machines": ("get", LOGIN, 403, 403, 422),  # a unit of kind local has none
    "cancel-unit": ("post", LOGIN, 403, 403, 302),
}
# The users' interface has a table of its own, made from its own description: tests/awportal_api.
ELSEWHERE = {"api"}


def addresses() -> dict[str, str]:
    """Return name -> route of every page in the URLconf."""
    found = {}
    for entry in get_resolver().url_patterns:
        if isinstance(entry, URLResolver):
            assert entry.namespace in ELSEWHERE, f"the table does not know what is below {entry.pattern}"
        else:
            assert isinstance(entry, URLPattern)
            found[str(entry.name)] = str(entry.pattern)
    return found


def test_the_table_knows_every_address() -> None:
    assert set(addresses()) == set(TABLE)


def test_the_walk_through_every_page_knows_every_address() -> None:
    from tests.walk.places import unknown

    assert unknown() == []


@pytest.fixture
def filled(
    private: Product, run: Run, unit: ProcessingUnit, anna: User, bundle: CodeBundle, batch: Batch
) -> dict[str, str]:
    """The values that routes are filled with: things of Anna's."""
    token, _ = make_token(anna, "laptop")
    NoticeChoice.objects.create(user=anna, address="anna@example.org")
    selection = SavedSelection.objects.create(key="k", name="mine", owner=anna, filters={"chip": "ccd1"})
    project = Project.objects.create(name="M13", is_listed=True)
    Membership.objects.create(project=project, user=anna)
    return {
        "projects/<int:pk>": f"projects/{project.pk}",
        "people/<int:pk>": f"people/{anna.pk}",
        "<slug:uidb64>/<slug:token>": "MQ/a-b",
        "products/<int:pk>": f"products/{private.pk}",
        "runs/<int:pk>": f"runs/{run.pk}",
        "code/<int:pk>": f"code/{bundle.pk}",
        "batches/<int:pk>": f"batches/{batch.pk}",
        "tokens/<int:pk>": f"tokens/{token.pk}",
        "selections/<int:pk>": f"selections/{selection.pk}",
        "<int:ordinal>": "1",
        "<int:other>": str(private.pk),
        "help/<path:name>": "help/users",
        "help/images/<str:name>": "help/images/product.png",
        "recipes/<slug:name>": "recipes/Bias",
        "units/<slug:name>": f"units/{unit.name}",
        "<path:instrument>/<slug:night>": "simcam/2026-03-14",
        "<slug:role>": "raw_bias",
        "<str:token>": address_token(anna.pk, "anna@example.org"),
        "<slug:size>": "thumb",
        "<slug:format_name>": "fits",
        "<int:place>/<int:level>/<int:column>/<int:row>": "1/0/0/0",
        "<int:row>": "0",
    }


def outcome(answer: Any) -> Any:
    """Return the status, or LOGIN for the way to the log-in page."""
    if answer.status_code == 302 and answer["Location"].startswith("/login/?next="):
        return LOGIN
    return answer.status_code


@pytest.mark.parametrize("who", ["visitor", "another user", "owner", "staff"])
@pytest.mark.parametrize("name", sorted(TABLE))
def test_default_deny(
    name: str, who: str, filled: dict[str, str], anna: User, ben: User, staff: User, browser_of: Callable[..., Client]
) -> None:
    route = addresses()[name]
    for pattern, value in filled.items():
        route = route.replace(pattern, value)
    assert "<" not in route
    user = {"visitor": None, "another user": ben, "owner": anna, "staff": staff}[who]
    method, *expected = TABLE[name]
    answer = getattr(browser_of(user), method)(f"/{route}")
    assert outcome(answer) == expected[["visitor", "another user", "owner", "staff"].index(who)]


@pytest.mark.parametrize("name", sorted(name for name in TABLE if TABLE[name][0] == "post"))
def test_changes_need_the_csrf_token(name: str, filled: dict[str, str], anna: User) -> None:
    route = addresses()[name]
    for pattern, value in filled.items():
        route = route.replace(pattern, value)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(anna)
    answer = browser.post(f"/{route}")
    assert answer.status_code == 403
    assert "The form is too old" in answer.content.decode()
    assert ApiToken.objects.filter(revoked__isnull=True).count() == 1


def test_a_visitor_sees_what_is_public_and_nothing_else(
    private: Product, public: Product, browser_of: Callable[..., Client]
) -> None:
    visitor = browser_of(None)
    listed = visitor.get("/archive/").content.decode()
    assert public.name in listed
    assert private.name not in listed
    assert visitor.get(f"/products/{public.pk}/").status_code == 200
    assert visitor.get(f"/products/{public.pk}/picture/page.png")["Content-Type"] == "image/png"
    assert visitor.get(f"/products/{public.pk}/download/fits/").status_code == 302


def test_another_users_frames_cannot_be_chosen(private: Product, ben: User, browser_of: Callable[..., Client]) -> None:
    form = browser_of(ben).get(f"/recipes/Bias/run/?product={private.pk}").content.decode()
    assert private.name not in form
