"""A reference catalogue goes in over the interface, in one file or several."""

from __future__ import annotations

from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from archive.models import Product

FIRST = b"id,ra,dec,V,B\n1,10.0,2.0,12.1,12.9\n2,10.1,2.0,13.1,13.9\n"
SECOND = b"id,ra,dec,V,B\n2,10.1,2.0,13.1,13.9\n3,10.2,2.0,14.1,14.9\n"


def send(client: Client, *contents: bytes, **fields: str) -> Any:
    files = [SimpleUploadedFile(f"part{number}.csv", content) for number, content in enumerate(contents)]
    return client.post("/api/v1/ingest/catalogue", {"file": files, "name": "stars", **fields})


def test_its_parts_become_one_catalogue_with_each_star_once(client: Client) -> None:
    answer = send(client, FIRST, SECOND, use="photometry")
    assert answer.status_code == 201, answer.content
    product = answer.json()["products"][0]
    assert (product["kind"], product["name"], product["attributes"]["star_count"]) == ("ReferenceCatalogue", "stars", 3)
    assert product["attributes"]["use"] == ["photometry"]
    assert "columns: ra=ra,dec=dec,V=V,B=B,id=id" in answer.json()["notes"]
    again = send(client, FIRST, SECOND, use="photometry")
    assert (again.status_code, again.json()["outcome"]) == (200, "there")


def test_what_is_wrong_is_said_with_the_columns_there_are(client: Client) -> None:
    answer = send(client, FIRST, columns="ra=RAJ2000,dec=dec")
    assert (answer.status_code, answer.json()["error"]) == (400, "part0.csv: --columns: there is no column 'RAJ2000'")
    assert answer.json()["hint"] == "there are id, ra, dec, V, B"
    assert send(client, FIRST, b"id,ra,dec,V,B\n").json() == {
        "error": "part1.csv: it names 5 columns and has no line of data",
        "hint": "a catalogue has a line for each star",
        "field": "",
    }
    assert send(client, FIRST, name="a b").status_code == 400
    assert "name the files" in send(client).json()["error"]
    assert Client().post("/api/v1/ingest/catalogue", {"name": "x"}).status_code == 401
    assert not Product.objects.exists()
