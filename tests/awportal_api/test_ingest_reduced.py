"""An exposure that others reduced goes in over the interface, and may be reduced on."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from astropy.io import fits
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

CAMERA = b'name = "pipecam"\n[mask_codes]\n1 = "cold"\n'


def part(value: float, kind: type = np.float32) -> SimpleUploadedFile:
    cards = {"INSTRUME": "Pipecam", "DATE-OBS": "2021-03-14T04:05:06", "EXPTIME": 120.0, "FILTER": "r", "OBJECT": "M1"}
    stream = io.BytesIO()
    fits.PrimaryHDU(np.full((8, 10), value, kind), fits.Header(cards)).writeto(stream)
    return SimpleUploadedFile("frame.fits", stream.getvalue())


def send(client: Client, **fields: Any) -> Any:
    return client.post("/api/v1/ingest/reduced", fields)


def test_image_weight_and_mask_go_in_together(client: Client) -> None:
    def given() -> dict[str, Any]:
        camera = SimpleUploadedFile("camera.toml", CAMERA)
        return {"image": part(100), "weight": part(0.04), "mask": part(1, np.int16), "camera": camera}

    answer = send(client, **given())
    assert answer.status_code == 201, answer.content
    kinds = [product["kind"] for product in answer.json()["products"]]
    assert kinds == ["ReducedScienceFrame", "WeightFrame"]
    assert "reduced elsewhere" in answer.json()["notes"]
    assert send(client, **given()).json()["outcome"] == "there"


def test_what_is_missing_is_said(client: Client) -> None:
    assert send(client, weight=part(1)).json()["error"] == "there is no image in the request"
    unsaid = send(client, image=part(100), mask=part(1, np.int16))
    assert unsaid.json()["error"] == "the mask frame.fits does not say what its values mean"
    assert send(client, image=part(100), weight_type="rms").status_code == 400
