"""A portal in a thread with a unit, a night of small frames and a user: what a browser is led through."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import override_settings
from playwright.sync_api import Page

from archive.models import Privilege, Product, Profile
from awportal.stored_files import the_store
from processing_units.frontend.clock import database_now
from processing_units.frontend.models import ProcessingUnit

PASSWORD = "a long sentence indeed"
CHIPS = ("ccd1", "ccd2")
BIASES = 3


@pytest.fixture(scope="session", autouse=True)
def _static_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Serve static files as they lie in the tree; the live server reads this before any test's settings."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    storages = {**django_settings.STORAGES, "staticfiles": plain}
    with override_settings(STATIC_ROOT=tmp_path_factory.mktemp("static"), STORAGES=storages):
        yield


@pytest.fixture(autouse=True)
def _own_files(settings: Any, tmp_path: Path) -> None:
    """Keep files in the test's own directory."""
    settings.DATA_ROOT = tmp_path / "data"
    settings.PREVIEW_ROOT = tmp_path / "previews"
    settings.BROKER_URL = "redis://127.0.0.1:1/0"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


@pytest.fixture
def night(transactional_db: None) -> list[Product]:
    """Biases of two chips, the first public; a unit whose frontend is alive; the user anna."""
    anna = User.objects.create_user("anna", password=PASSWORD)
    Profile.objects.update_or_create(user=anna, defaults={"user_type": Profile.UserType.CHOOSES})
    ProcessingUnit.objects.create(name="local", port=8100, key_hash="x", slots=2, alive_at=database_now())
    products = []
    for number in range(BIASES * len(CHIPS)):
        chip = CHIPS[number % len(CHIPS)]
        at = datetime.datetime(2026, 3, 14, 20, number, tzinfo=datetime.UTC)
        counts = np.random.default_rng(number).normal(1000, 5, (300, 200)).astype(np.uint16)
        stream = io.BytesIO()
        fits.PrimaryHDU(counts).writeto(stream)
        stored = the_store().put(io.BytesIO(stream.getvalue()))
        products.append(
            Product.objects.create(
                kind="RawBias", name=f"bias_{number}_{chip}.fits", sha256=stored.sha256, file_size=stored.size,
                instrument="simcam", chip=chip, night=at.date(), date_obs=at, exposure_time=0.0, creator=anna,
                attributes={"instrument": "simcam", "chip": chip, "date_obs": at.isoformat()[:19]},
                privilege=Privilege.MYDB if number else Privilege.WORLD, identity=f"test {number}",
            )
        )  # fmt: skip
    return products


@pytest.fixture
def portal(live_server: Any, night: list[Product], page: Page) -> Page:
    """A page of a browser that is logged in, by the keyboard alone; what the console complains of fails the test."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{live_server.url}/login/")
    page.wait_for_function("document.activeElement.name === 'username'")  # the first field has the focus by itself
    page.keyboard.type("anna")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{live_server.url}/")
    page.complaints = complaints  # type: ignore[attr-defined]
    return page
