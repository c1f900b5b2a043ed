"""A raw frame goes in once, as it is; what cannot be understood or did not arrive whole stays out with the reason."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from archive.models import Product

from .frames import raw_frame, upload


def test_a_frame_goes_in_once_and_unaltered(client: Client, own_store: Path) -> None:
    content = raw_frame()
    digest = hashlib.sha256(content).hexdigest()
    first = upload(client, content, sha256=digest, path="night/bias/b1.fits")
    again = upload(client, content, sha256=digest)
    assert (first.status_code, first.json()["outcome"]) == (201, "ingested")
    assert (again.status_code, again.json()["outcome"]) == (200, "there")
    product = first.json()["products"][0]
    assert again.json()["products"][0]["id"] == product["id"]
    assert (product["kind"], product["instrument"], product["name"]) == ("RawBias", "testcam", "b1.fits")
    assert (product["night"], product["sha256"]) == ("2024-05-12", digest)
    assert Product.objects.count() == 1
    assert [path.read_bytes() for path in own_store.rglob(digest)] == [content]


def test_a_damaged_arrival_stays_out(client: Client) -> None:
    answer = upload(client, raw_frame(), sha256="0" * 64)
    assert (answer.status_code, answer.json()["field"]) == (400, "sha256")
    assert not Product.objects.exists()


def test_what_is_no_fits_is_refused_with_the_reason(client: Client) -> None:
    answer = upload(client, b"<html>", "page.fits")
    assert answer.status_code == 400
    assert answer.json()["field"] == "file"
    assert answer.json()["error"] == "it is a web page, whatever its name says"


def test_a_type_that_only_the_user_knows_is_taken(client: Client) -> None:
    content = raw_frame(IMAGETYP="Light Frame", EXPTIME=23.0)
    product = upload(client, content, "flat1.fits", type="domeflat").json()["products"][0]
    assert (product["kind"], product["filter"]) == ("RawDomeFlat", "R")


def test_a_type_that_there_is_not_is_a_usage_error(client: Client) -> None:
    answer = upload(client, raw_frame(), type="sofa")
    assert answer.status_code == 400
    assert "sofa" in answer.json()["error"]


def test_a_camera_is_described_in_toml(client: Client) -> None:
    camera = b'name = "homecam"\n[keywords]\nfilter = "WHEEL"\n[fixed]\nsaturation = 60000.0\n'
    content = raw_frame(INSTRUME="nobody knows", IMAGETYP="flat field dome", WHEEL="Ha", EXPTIME=2.0)
    product = upload(client, content, camera=SimpleUploadedFile("c.toml", camera)).json()["products"][0]
    assert (product["instrument"], product["filter"], product["kind"]) == ("homecam", "Ha", "RawDomeFlat")
    assert product["attributes"]["saturation"] == 60000.0
    wrong = upload(client, content, camera=SimpleUploadedFile("c.toml", b"name = "))
    assert (wrong.status_code, wrong.json()["field"]) == (400, "camera")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(client: Client, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 1000
    answer = upload(client, b"x" * 400_000)
    assert (answer.status_code, answer.json()["field"]) == (413, "file")


def test_a_request_without_a_file_says_so(client: Client) -> None:
    answer = client.post("/api/v1/ingest", {"type": "bias"})
    assert (answer.status_code, answer.json()["field"]) == (400, "file")
