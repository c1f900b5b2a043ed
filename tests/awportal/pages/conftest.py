"""People, a store with real frames in it, products of every privilege, a unit and a run: what pages show."""

from __future__ import annotations

import datetime
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from archive.models import Measurement, Privilege, Product, Profile, Project
from awportal.stored_files import the_store
from processing_units.frontend.clock import database_now
from processing_units.frontend.models import Attempt, Batch, CodeBundle, Job, JobInput, LogChunk, ProcessingUnit, Run

PASSWORD = "a long sentence indeed"
NIGHT = datetime.date(2026, 3, 14)


@pytest.fixture(autouse=True)
def own_files(settings: Any, tmp_path: Path) -> None:
    """Keep files in the test's own directory, and serve static files as they lie in the tree."""
    settings.DATA_ROOT = tmp_path / "data"
    settings.PREVIEW_ROOT = tmp_path / "previews"
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    settings.BROKER_URL = "redis://127.0.0.1:1/0"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the real one takes its time
    cache.clear()


def _user(name: str, **given: Any) -> User:
    user = User.objects.create_user(name, password=PASSWORD, **given)
    Profile.objects.update_or_create(user=user, defaults={"user_type": Profile.UserType.CHOOSES})
    return user


@pytest.fixture
def anna(db: None) -> User:
    """A user."""
    return _user("anna")


@pytest.fixture
def ben(db: None) -> User:
    """Another user."""
    return _user("ben")


@pytest.fixture
def staff(db: None) -> User:
    """A process manager."""
    return _user("staff", is_staff=True)


@pytest.fixture
def browser_of() -> Callable[[User | None], Client]:
    """Return a client that is logged in as somebody, or as nobody."""

    def make(user: User | None) -> Client:
        client = Client()
        if user is not None:
            client.force_login(user)
        return client

    return make


def frame_bytes(seed: int = 1, shape: tuple[int, int] = (96, 64)) -> bytes:
    """Return a reduced frame with noise of 10 about 200, a hot pixel and a saturated column."""
    random = np.random.default_rng(seed)
    science = random.normal(200, 10, shape).astype(np.float32)
    mask = np.zeros(shape, np.uint16)
    mask[3, 5] = 1
    mask[:, 20] = 4
    header = fits.Header({"BUNIT": "electron", "EVIL": "<img src=x onerror=alert(1)>", "SWSERIAL": "1AJSF-V5KK5"})
    units = [fits.PrimaryHDU(), fits.ImageHDU(science, header, name="SCI"), fits.ImageHDU(mask, name="MASK")]
    stream = io.BytesIO()
    fits.HDUList(units).writeto(stream)
    return stream.getvalue()


@pytest.fixture
def make_product(anna: User) -> Callable[..., Product]:
    """Make a product of Anna's with a real file; anything can be said otherwise."""
    counter = itertools.count(1)

    def make(content: bytes | None = None, **given: Any) -> Product:
        number = next(counter)
        stored = the_store().put(io.BytesIO(frame_bytes(number) if content is None else content))
        columns = {
            "kind": "RawBias",
            "name": f"frame_{number}.fits",
            "sha256": stored.sha256,
            "file_size": stored.size,
            "instrument": "simcam",
            "chip": "ccd1",
            "night": NIGHT,
            "date_obs": datetime.datetime(2026, 3, 14, 20, number % 60, tzinfo=datetime.UTC),
            "exposure_time": 0.0,
            "attributes": {"instrument": "simcam", "chip": "ccd1", "date_obs": f"2026-03-14T20:{number % 60:02d}:00"},
            "creator": anna,
            "identity": f"test {number}",
        }
        return Product.objects.create(**{**columns, **given})

    return make


@pytest.fixture
def private(make_product: Callable[..., Product]) -> Product:
    """A product that Anna alone sees."""
    return make_product(name="private_frame.fits")


@pytest.fixture
def public(make_product: Callable[..., Product]) -> Product:
    """A product that the world sees."""
    return make_product(
        name="public_frame.fits", kind="ReducedScienceFrame", filter_name="r", privilege=Privilege.WORLD
    )


@pytest.fixture
def unit(db: None) -> ProcessingUnit:
    """A unit whose frontend is alive."""
    return ProcessingUnit.objects.create(name="local", port=8100, key_hash="x", slots=2, alive_at=database_now())


@pytest.fixture
def run(anna: User, unit: ProcessingUnit, private: Product) -> Run:
    """A run of Anna's with one job that failed and one that is done."""
    now = database_now()
    made = Run.objects.create(
        user=anna,
        recipe="Bias",
        recipe_version="1",
        unit=unit,
        unit_reason="the only unit",
        idempotency_key="k",
        submitted=now,
        ended=now,
        parameters={"sigma_clip": 3.0},
        submission={"recipe": "Bias", "inputs": {"raw_bias": [private.pk]}, "parameters": {"sigma_clip": 3.0}},
    )
    failed = Job.objects.create(
        run=made, unit=unit, ordinal=1, label="ccd1", state="failed", created=now, started=now, ended=now, attempt=1,
        reason="fewer than three frames", hint="add frames",
    )  # fmt: skip
    JobInput.objects.create(job=failed, product=private, role="raw_bias")
    attempt = Attempt.objects.create(
        job=failed, ordinal=1, node="node1", token_hash="t", started=now, ended=now, outcome="usage", message="too few"
    )
    LogChunk.objects.create(
        attempt=attempt, first_byte=0, text="20:00:00.000 begin\n\x1b[31mred\x1b[0m <script>x</script>\n"
    )
    done = Job.objects.create(
        run=made, unit=unit, ordinal=2, label="ccd2", state="done", created=now, started=now, ended=now, attempt=1
    )
    product = Product.objects.get(pk=private.pk)
    product.pk, product.identity, product.kind, product.name = None, "bias of the run", "BiasFrame", "bias_ccd2.fits"
    product.made_by_run, product.made_by_job, product.recipe = made.pk, done.pk, "Bias"
    product.save()
    Measurement.objects.create(
        product=product, name="stdev", measured=2.2, unit="adu", upper_limit=10.0, verdict=Measurement.Verdict.GOOD
    )
    return made


@pytest.fixture
def batch(anna: User, private: Product) -> Batch:
    """A batch of Anna's that is planned and not made: the read noise of a frame."""
    wish = {"line": 1, "recipe": "ReadNoise", "inputs": {"": [private.pk]}, "parameters": {}}
    return Batch.objects.create(
        user=anna,
        name="<b>lists",
        language="star",
        text=f"run('ReadNoise', {private.pk})  # <script>alert(1)</script>\x1b[31m\n",
        digest="ab" * 32,
        evaluator="starlark-pyo3 1",
        wishes=[wish],
        plan={"runs": [], "jobs": 1, "problems": 0, "digest": "not the one of now"},
        idempotency_key="b",
        created=database_now(),
    )


@pytest.fixture
def bundle(anna: User) -> CodeBundle:
    """A bundle of Anna's with a hostile name and text, that no run used."""
    return CodeBundle.objects.create(
        owner=anna,
        digest="ab" * 32,
        file_size=1000,
        files=1,
        contents=[{"path": "<b>x.txt", "size": 10, "change": "new", "added": 1, "removed": 0}],
        differences="--- /dev/null\n+++ bundle/<b>x.txt\n+<script>alert(1)</script>\x1b[31m",
        compared_with="cd" * 32,
    )


@pytest.fixture
def project(db: None) -> Project:
    """A project without members."""
    return Project.objects.create(name="survey")
