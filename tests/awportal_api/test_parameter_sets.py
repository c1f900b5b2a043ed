"""Parameter sets over the interface."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client

from archive.models import Profile
from processing_units.frontend.models import ParameterSet


def test_they_are_kept_listed_and_removed(client: Client, anna: User) -> None:
    Profile.objects.create(user=anna)
    wanted = {"recipe": "Bias", "name": "deep", "parameters": {"sigma_clip": 4}}
    kept = client.post("/api/v1/parameter-sets", wanted, content_type="application/json").json()
    assert (kept["reference"], kept["parameters"], kept["problems"]) == ("deep", {"sigma_clip": 4.0}, {})
    ParameterSet.objects.update(entries={"colour": 1})
    (listed,) = client.get("/api/v1/parameter-sets?recipe=Bias&name=deep").json()["items"]
    assert list(listed["problems"]) == ["colour"]
    assert client.get("/api/v1/parameter-sets?recipe=Reduce").json()["items"] == []
    assert client.get("/api/v1/parameter-sets?recipe=Bias&name=other").status_code == 404
    ParameterSet.objects.update(recipe="Gone")
    assert client.get("/api/v1/parameter-sets").json()["items"][0]["problems"] == {
        "recipe": "there is no recipe Gone any more"
    }
    assert client.delete(f"/api/v1/parameter-sets/{kept['id']}").status_code == 204
    assert client.delete(f"/api/v1/parameter-sets/{kept['id']}").status_code == 404
