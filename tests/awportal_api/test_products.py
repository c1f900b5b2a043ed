"""Products are found by what is known of them, seen by those who may, and downloaded by a link for one file."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as portal_settings
from django.contrib.auth.models import User
from django.test import Client

from archive.models import Lineage, Measurement, Privilege, Product
from dataserver.signing import verify

Make = Callable[..., Product]


@pytest.fixture
def make(anna: User) -> Make:
    """Make a product of Anna's."""
    numbers = itertools.count()

    def one(**given: Any) -> Product:
        number = next(numbers)
        usual: dict[str, Any] = {
            "kind": "BiasFrame", "name": f"Bias{number}", "sha256": hashlib.sha256(b"%d" % number).hexdigest(),
            "file_size": 10, "instrument": "cam", "chip": "ccd1", "creator": anna,
            "attributes": {"read_noise": 4.5, "instrument": "cam"},
        }  # fmt: skip
        return Product.objects.create(**(usual | given))

    return one


def test_attributes_and_measurements_are_given(client: Client, make: Make) -> None:
    bias = make()
    Measurement.objects.create(product=bias, name="mean", measured=0.5, error=0.1, unit="adu", lower_limit=-10,
                               upper_limit=10, verdict="good", limit_source="published")  # fmt: skip
    (item,) = client.get("/api/v1/products?kind=BiasFrame").json()["items"]
    assert item["attributes"] == {"read_noise": 4.5, "instrument": "cam"}
    assert item["measurements"] == [
        {"name": "mean", "value": 0.5, "error": 0.1, "unit": "adu", "minimum": -10, "maximum": 10, "verdict": "good",
         "limit_source": "published", "limit_since": None}
    ]  # fmt: skip
    assert item["page"].endswith(f"/products/{bias.pk}/")


def test_pages_follow_each_other_and_cost_the_same(
    client: Client, make: Make, django_assert_num_queries: Callable[[int], Any]
) -> None:
    made = [make(kind="RawBias").pk for _ in range(5)]
    page = client.get("/api/v1/products?limit=2&order=name").json()
    assert ([item["id"] for item in page["items"]], page["count"], page["next"]) == (made[:2], 5, 2)
    last = client.get("/api/v1/products?limit=2&offset=4&order=name").json()
    assert ([item["id"] for item in last["items"]], last["next"]) == (made[4:], None)
    # token, profile, which there are, what sorts them, products, measurements, lineage
    for limit in (1, 5):
        with django_assert_num_queries(7):
            client.get(f"/api/v1/products?limit={limit}")


def test_others_see_what_they_may(client: Client, make: Make, ben: User) -> None:
    hidden = make(creator=ben)
    shown = make(creator=ben, privilege=Privilege.ALL_USERS)
    assert [item["id"] for item in client.get("/api/v1/products").json()["items"]] == [shown.pk]
    for path in (f"/api/v1/products/{hidden.pk}", f"/api/v1/products/{hidden.pk}/download", "/api/v1/products/999999"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "none that you may see" in answer.json()["error"]


def test_the_lineage_goes_back_to_the_raw_frames(client: Client, make: Make, ben: User) -> None:
    raw, secret, bias, flat = (
        make(kind="RawBias"),
        make(kind="RawBias", creator=ben),
        make(),
        make(kind="DomeFlatFrame"),
    )
    for product, source, role in ((bias, raw, "raw_bias"), (bias, secret, "raw_bias"), (flat, bias, "bias_frame")):
        ordinal = Lineage.objects.filter(product=product, role=role).count()
        Lineage.objects.create(product=product, source=source, role=role, ordinal=ordinal)
    found = client.get(f"/api/v1/products/{flat.pk}").json()
    assert [(step["product"], step["source"], step["role"]) for step in found["lineage"]] == [
        (flat.pk, bias.pk, "bias_frame"),
        (bias.pk, raw.pk, "raw_bias"),
    ]
    assert found["hidden"] == 1
    assert found["inputs"] == {"bias_frame": [bias.pk]}


@pytest.mark.parametrize(("format", "name"), [("fits", "Bias0.fits"), ("asdf", "Bias0.asdf")])
def test_a_download_is_a_link_for_that_file_alone(client: Client, make: Make, format: str, name: str) -> None:
    bias = make()
    answer = client.get(f"/api/v1/products/{bias.pk}/download?format={format}")
    assert answer.status_code == 302
    parts = urlsplit(answer["Location"])
    assert parts.path == f"/data/files/{bias.sha256}"
    grant = verify([portal_settings.DATA_KEY], "GET", f"/files/{bias.sha256}", parts.query)
    assert grant.name == name
    assert parse_qs(parts.query).get("format") == (None if format == "fits" else ["asdf"])


def test_a_format_that_it_cannot_be_given_in_is_said_with_those_it_can(client: Client, make: Make) -> None:
    answer = client.get(f"/api/v1/products/{make().pk}/download?format=votable")
    assert (answer.status_code, answer.json()["field"]) == (400, "format")
    assert answer.json()["hint"] == "it can be given as: fits, asdf"


@pytest.mark.parametrize(
    ("query", "field", "word"),
    [
        ("night=May", "", "May"),
        ("sofa=1", "sofa", "sofa"),
        ("limit=0", "limit", "limit"),
        ("limit=x", "limit", "limit"),
    ],
)
def test_filters_that_cannot_be_are_usage_errors(client: Client, query: str, field: str, word: str) -> None:
    answer = client.get(f"/api/v1/products?{query}")
    assert answer.status_code == 400
    assert answer.json()["field"] == field
    assert word in answer.json()["error"]


def test_products_are_published_once_and_tell_by_whom(client: Client, make: Make) -> None:
    numbers = [make().pk, make().pk]
    asked = {"products": numbers, "privilege": 3}
    ask = partial(client.post, "/api/v1/products/publish", content_type="application/json")
    assert ask(asked).json() == {"published": 2, "privilege": 3}
    assert ask(asked).json() == {"published": 0, "privilege": 3}
    details = client.get(f"/api/v1/products/{numbers[0]}").json()
    (step,) = details["publications"]
    assert (step["who"], step["privilege_before"], step["privilege_after"], step["project"]) == ("anna", 1, 3, "")
    assert (details["privilege"], details["held_back"]) == (3, "")
    refused = ask({"products": numbers, "privilege": 4})
    assert (refused.status_code, "shows it to the world" in refused.json()["error"]) == (403, True)
    assert ask({"products": numbers, "privilege": 1}).status_code == 400
    assert ask({"products": [], "privilege": 3}).status_code == 400


def test_what_rests_on_unaccepted_code_says_so(client: Client, make: Make, anna: User) -> None:
    own = make(code_digest="ab" * 32, made_by_job=1)
    after = make(made_by_job=2)
    Lineage.objects.create(product=after, source=own, role="bias")
    assert client.get(f"/api/v1/products/{after.pk}").json()["held_back"] == (
        "the code abababababab of anna, which no project manager has accepted"
    )
