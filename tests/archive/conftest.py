"""What the tests of the archive share: people, a store, products by the handful, raw files with any header."""

from __future__ import annotations

import datetime
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import User

from archive.context import Context
from archive.models import Privilege, Product, Project
from dataserver.store import Store

NOON = datetime.datetime(2024, 5, 13, 4, tzinfo=datetime.UTC)


@pytest.fixture
def alice(db: None) -> User:
    """A user."""
    return User.objects.create_user("alice")


@pytest.fixture
def bob(db: None) -> User:
    """Another user."""
    return User.objects.create_user("bob")


@pytest.fixture
def project(db: None) -> Project:
    """A project without members."""
    return Project.objects.create(name="survey")


@pytest.fixture
def context(alice: User) -> Context:
    """Alice's context, with MyDB."""
    return Context(alice)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A real store."""
    return Store(tmp_path / "store")


@pytest.fixture
def make_product(alice: User) -> Callable[..., Product]:
    """Make a product of Alice's that is valid around NOON; anything can be said otherwise."""
    counter = itertools.count()

    def make(**given: Any) -> Product:
        number = next(counter)
        created = given.pop("created", None)
        usual: dict[str, Any] = {
            "kind": "BiasFrame",
            "name": f"product{number}.fits",
            "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
            "file_size": 1,
            "instrument": "cam",
            "chip": "ccd1",
            "overscan_correction": 6,
            "creator": alice,
            "privilege": Privilege.MYDB,
            "timestamp_start": NOON - datetime.timedelta(days=10),
            "timestamp_end": NOON + datetime.timedelta(days=10),
        }
        product = Product.objects.create(**(usual | given))
        if created is not None:
            Product.objects.filter(pk=product.pk).update(created=created)
            product.refresh_from_db()
        return product

    return make


@pytest.fixture
def raw_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a raw file with a header of any camera."""

    def write(name: str = "frame.fits", cards: dict[str, Any] | None = None, shape: tuple[int, int] = (16, 20)) -> Path:
        usual = {"INSTRUME": "My Camera", "IMAGETYP": "OBJECT", "OBJECT": "NGC 1", "DATE-OBS": "2024-05-13T02:00:00",
                 "EXPTIME": 30.0, "FILTER": "V"}  # fmt: skip
        hdu = fits.PrimaryHDU(np.full(shape, 1000, np.uint16))
        for keyword, value in (usual | (cards or {})).items():
            if value is not None:
                hdu.header[keyword] = value
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hdu.writeto(path, overwrite=True)
        return path

    return write
