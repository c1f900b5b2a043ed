"""Caching data servers: registered, named by units, looked at, forgotten; the portal's own takes links through them."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.models.functions import Now

from dataserver.errors import NotAllowed
from dataserver.signing import peer_key, read_keys, read_peer_key, sign, verify
from processing_units.frontend import data_servers
from processing_units.frontend.data_servers import is_registered, register, remove
from processing_units.frontend.health import health_of
from processing_units.frontend.models import CachingDataServer, ProcessingUnit
from processing_units.frontend.unit_settings import apply_changes
from processing_units.frontend.waiting import unit_load
from recipes.errors import UsageError

pytestmark = pytest.mark.django_db
PATH = "/files/" + "ab" * 32


def command(*arguments: str) -> str:
    said = StringIO()
    call_command("data_server", *arguments, stdout=said)
    return said.getvalue()


def health_now(unit: ProcessingUnit) -> str:
    unit = ProcessingUnit.objects.get(pk=unit.pk)
    return health_of(unit, unit_load(unit)).state


def test_its_key_is_in_a_file_of_its_owner_alone(tmp_path: Path) -> None:
    key_file = tmp_path / "secrets" / "near.key"
    said = command("register", "near", "http://cache:9000/", "--key-file", str(key_file))
    assert f"--upstream {django_settings.DATA_URL}" in said
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    row = CachingDataServer.objects.get()
    assert (row.name, row.address) == ("near", "http://cache:9000")
    assert read_peer_key(key_file) == peer_key(django_settings.DATA_KEY, row.peer)
    assert command("peers") == f"{row.peer}\n"
    assert command("list") == f"near  http://cache:9000  {row.peer}  units: none\n"


def test_registered_anew_its_old_key_is_void() -> None:
    first, second = (register("near", f"http://cache:900{number}", None).data_server.peer for number in (0, 1))
    assert CachingDataServer.objects.get().address == "http://cache:9001"
    keys = django_settings.DATA_KEYS
    old, new = (sign(keys[0], "GET", PATH, int(time.time()) + 60, via=peer) for peer in (first, second))
    assert verify(keys, "GET", PATH, new, is_peer=is_registered)
    with pytest.raises(NotAllowed, match="not registered here"):
        verify(keys, "GET", PATH, old, is_peer=is_registered)


def test_one_that_a_unit_names_stays(unit: ProcessingUnit) -> None:
    register("near", "http://cache:9000", None)
    apply_changes(unit, {"data_server": "near"}, by=None, who="test")
    with pytest.raises(UsageError, match="nodes of local read from near"):
        remove("near")
    apply_changes(unit, {"data_server": ""}, by=None, who="test")
    assert command("remove", "near") == "data server near is forgotten\n"
    assert not CachingDataServer.objects.exists()


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("Near", "http://cache"),
        ("", "http://cache"),
        ("near", "ftp://cache"),
        ("near", "http://user:key@cache"),
        ("near", "http://cache/?a=b"),
        ("near", "http://"),
        ("near", "http://[cache"),
        ("near", "cache:9000"),
    ],
)
def test_what_cannot_be_is_told(name: str, address: str) -> None:
    with pytest.raises(UsageError) as refused:
        register(name, address, None)
    assert refused.value.hint
    assert not CachingDataServer.objects.exists()


def test_links_are_taken_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = register("near", "http://cache:9000", None).data_server.peer
    assert is_registered(peer)
    data_servers._seen_registered[peer] -= 3600

    def away(*_: object, **__: object) -> None:
        raise OperationalError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(CachingDataServer.objects, "filter", away)
        assert is_registered(peer)
        assert not is_registered("other-00000000")
    remove("near")
    assert not is_registered(peer)


def test_a_data_server_of_its_own_reads_the_portals_key_file() -> None:
    assert read_keys(django_settings.SECRETS / "data-server") == django_settings.DATA_KEYS


@pytest.mark.processes
def test_one_that_is_up_is_told_from_one_that_is_not(
    live_data_server: str, tmp_path: Path, unit: ProcessingUnit
) -> None:
    key_file = tmp_path / "near.key"
    command("register", "near", "http://127.0.0.1:1", "--key-file", str(key_file))
    assert data_servers.note_trouble() == 0  # no unit names it
    ProcessingUnit.objects.filter(pk=unit.pk).update(data_server=CachingDataServer.objects.get(), alive_at=Now())
    assert data_servers.note_trouble() == 1
    assert health_now(unit) == "down"
    since = CachingDataServer.objects.get().trouble_since
    assert data_servers.note_trouble() == 0  # as before
    assert CachingDataServer.objects.get().trouble_since == since is not None
    with pytest.raises(CommandError, match="near: it does not answer"):
        command("check", "near")
    line = [sys.executable, "-m", "dataserver", "serve", "--root", str(tmp_path / "cache"), "--max-bytes", "1M"]
    line += ["--port", "0", "--upstream", live_data_server, "--key-file", str(key_file)]
    cache = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert cache.stdout is not None
        address = cache.stdout.readline().rsplit(" on ", 1)[-1].strip()
        CachingDataServer.objects.update(address=address)
        assert "reaches the portal's data server" in command("check", "near")
        assert data_servers.note_trouble() == 1
        assert CachingDataServer.objects.get().trouble_since is None
        assert health_now(unit) != "down"
        register("near", address, None)
        with pytest.raises(CommandError, match="it holds another key"):
            command("check", "near")
        peer = CachingDataServer.objects.get().peer
        query = sign(django_settings.DATA_KEY, "GET", PATH, int(time.time()) + 60, via=peer)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}{PATH}?{query}", timeout=30)  # noqa: S310 - http, of this machine
        assert refused.value.code == 403
        refused.value.close()
    finally:
        cache.terminate()
        cache.communicate(timeout=60)
