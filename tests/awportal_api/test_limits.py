"""Limits over the interface: shown to all, changed by administrators."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from archive.models import Measurement, Product


def post(client: Client, what: str, **asked: Any) -> Any:
    return client.post(f"/api/v1/limits{what}", asked, content_type="application/json")


def test_an_administrator_learns_sets_and_clears_them(anna: User, client: Client) -> None:
    anna.is_staff = True
    anna.save()
    for number in range(6):
        product = Product.objects.create(
            kind="ReadNoise", name=f"rn{number}", sha256=f"{number:064d}", file_size=1, instrument="cam", chip="1",
            creator=anna,
        )  # fmt: skip
        Measurement.objects.create(product=product, name="read_noise", measured=5.0 + 0.01 * number)
    dry = post(client, "/learn", instrument="cam", dry_run=True).json()
    assert (dry["kept"], len(dry["items"])) == (False, 1)
    assert not client.get("/api/v1/limits").json()["items"]
    learned = post(client, "/learn", instrument="cam").json()["items"][0]
    assert (learned["measurement"], learned["products"], learned["reason"]) == ("read_noise", 6, "")
    given = post(client, "", kind="BiasFrame", measurement="stdev", instrument="cam", maximum=4.5)
    assert (given.json()["source"], given.json()["set_by"]) == ("set", "anna")
    listed = client.get("/api/v1/limits?instrument=cam&published=true").json()["items"]
    assert [entry["source"] for entry in listed][:3] == ["set", "learned", "published"]
    assert post(client, "/clear", instrument="cam").json() == {"cleared": 2}


def test_others_may_look_and_get_reasons(client: Client) -> None:
    assert client.get("/api/v1/limits?published=true&kind=BiasFrame").json()["items"]
    refused = post(client, "", kind="BiasFrame", measurement="stdev", instrument="cam", maximum=4.5)
    assert (refused.status_code, "administrator" in refused.json()["error"]) == (403, True)
    assert post(client, "/learn", instrument="cam").status_code == 403
    assert post(client, "/learn", instrument="", dry_run=True).json()["error"] == "say of which instrument"
    assert post(client, "/clear", instrument="cam").status_code == 403
