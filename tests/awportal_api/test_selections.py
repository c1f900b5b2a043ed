"""Saved selections for programs."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client

from tests.awportal_api.conftest import TokenClient
from tests.awportal_api.frames import ingest_biases


def test_saved_listed_used_shared_and_removed(client: Client, ben: User) -> None:
    numbers = ingest_biases(client, 3)
    made = client.post("/api/v1/selections", {"name": "two", "products": numbers[:2]}, content_type="application/json")
    assert made.status_code == 201
    assert made.json() | {"key": ""} == {
        "key": "", "name": "two", "owner": "anna", "project": "", "shared": "owner", "fixed": True,
        "filters": {"ids": f"{numbers[0]}-{numbers[1]}"},
    }  # fmt: skip
    key = made.json()["key"]
    listed = client.get("/api/v1/products?selection=two").json()
    assert sorted(item["id"] for item in listed["items"]) == numbers[:2]
    assert client.get("/api/v1/selections/two").json()["key"] == key
    other = TokenClient(ben)
    assert other.get(f"/api/v1/selections/{key}").status_code == 404
    assert other.get(f"/api/v1/products?selection={key}").status_code == 400
    shared = client.post(f"/api/v1/selections/{key}", {"shared": "link"}, content_type="application/json")
    assert shared.json()["shared"] == "link"
    assert other.get(f"/api/v1/products?selection={key}").json()["items"] == []
    refused = other.post(f"/api/v1/selections/{key}", {"name": "mine"}, content_type="application/json")
    assert (refused.status_code, "only its owner" in refused.json()["error"]) == (403, True)
    assert other.delete(f"/api/v1/selections/{key}").status_code == 403
    assert client.delete(f"/api/v1/selections/{key}").status_code == 204
    assert client.get("/api/v1/selections").json() == {"items": []}


def test_what_cannot_be_saved_says_why(client: Client) -> None:
    answer = client.post(
        "/api/v1/selections", {"name": "a", "filters": {"colour": "red"}}, content_type="application/json"
    )
    assert answer.status_code == 400
    assert "there is no filter 'colour'" in answer.json()["error"]


def test_the_quality_and_validity_of_products_are_asked_for(client: Client) -> None:
    numbers = ingest_biases(client, 2)
    for query, expected in (("quality=passed", 2), ("quality=bad", 0), ("validity=valid", 2), ("validity=invalid", 0)):
        assert client.get(f"/api/v1/products?{query}").json()["count"] == expected, query
    assert client.get("/api/v1/products?order=-created").json()["items"][0]["id"] == numbers[1]
