"""Raw frames for the tests of the interface: small FITS files with the usual keywords."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from astropy.io import fits
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client


def raw_frame(seed: int = 0, **cards: Any) -> bytes:
    """Return a FITS file of 16 × 16 pixels."""
    usual = {
        "INSTRUME": "testcam",
        "IMAGETYP": "bias",
        "DATE-OBS": f"2024-05-13T04:{seed:02d}:00",
        "EXPTIME": 0.0,
        "FILTER": "R",
    }
    pixels = np.random.default_rng(seed).normal(1000, 5, (16, 16)).astype(np.uint16)
    stream = io.BytesIO()
    fits.PrimaryHDU(pixels, header=fits.Header({**usual, **cards})).writeto(stream)
    return stream.getvalue()


def upload(client: Client, content: bytes, name: str = "frame.fits", **fields: Any) -> Any:
    """Send a file to the interface and return the answer."""
    return client.post("/api/v1/ingest", {"file": SimpleUploadedFile(name, content), **fields})


def ingest_biases(client: Client, count: int) -> list[int]:
    """Ingest biases and return their numbers."""
    numbers = []
    for seed in range(count):
        answer = upload(client, raw_frame(seed), f"b{seed}.fits")
        assert answer.status_code == 201, answer.content
        numbers.append(answer.json()["products"][0]["id"])
    return numbers
