"""The keeper collects what was never committed, and nothing that is anybody's."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from archive.context import Context
from dataserver.store import Store
from processing_units.frontend import keeping
from processing_units.frontend.attempts import staging_key
from processing_units.frontend.models import ClusterManagerRecord, KeeperLock, ProcessingUnit, Run
from tests.processing_units.frontend.conftest import claimed, make_product, submitted

pytestmark = pytest.mark.django_db


def two_days_later(monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 2 * 86400
    monkeypatch.setattr(time, "time", lambda: later)


def test_staging_and_files_that_nobody_refers_to_go_after_a_day(
    user: User, context: Context, unit: ProcessingUnit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = make_product(user, store=store)
    orphan = store.put(io.BytesIO(b"promoted, then the process died"))
    submitted(context)
    one = claimed(unit)
    one.stage(store)
    assert keeping.collect() == 0
    two_days_later(monkeypatch)
    assert keeping.collect() == 2
    assert store.has(kept.sha256)
    assert not store.has(orphan.sha256)
    assert store.staged(staging_key(one.attempt)) == []


def test_a_store_that_is_not_the_databases_is_left_alone(
    store: Store, db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(101):
        store.put(io.BytesIO(f"file {number}".encode()))
    two_days_later(monkeypatch)
    assert keeping.collect() == 0
    assert len(list(store.listing())) == 101
    assert "Do AWPORTAL_DATABASE_URL and AWPORTAL_DATA_ROOT belong together?" in caplog.text


def test_without_a_store_here_nothing_is_collected(store: Store, settings: Any, db: None) -> None:
    settings.DATA_URL = "http://elsewhere:9000"
    assert keeping.collect() == 0


def test_the_lock_is_held_by_one_until_it_ends(db: None) -> None:
    assert keeping.hold_lock("a") is True
    assert keeping.hold_lock("b") is False
    assert keeping.hold_lock("a") is True
    keeping.release_lock("b")
    assert keeping.hold_lock("b") is False
    keeping.release_lock("a")
    assert keeping.hold_lock("b") is True
    assert KeeperLock.objects.get().holder == "b"


def test_silent_cluster_managers_are_forgotten(context: Context, unit: ProcessingUnit) -> None:
    from datetime import timedelta

    from django.utils import timezone

    submitted(context, jobs=2)
    claimed(unit, node="node1")
    claimed(unit, node="node2")
    ClusterManagerRecord.objects.filter(node="node1").update(seen_at=timezone.now() - timedelta(hours=2))
    assert keeping.forget_silent_cluster_managers() == 1
    assert ClusterManagerRecord.objects.get(down_at__isnull=False).node == "node1"


def test_a_sweep_with_nothing_to_do_does_nothing(unit: ProcessingUnit) -> None:
    assert set(keeping.sweep().values()) == {0}


def test_a_step_that_fails_does_not_keep_the_others_from_being_done(
    context: Context, unit: ProcessingUnit, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submitted(context)
    Run.objects.update(cancel_requested=timezone.now())

    def defect() -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(keeping, "reap_all", defect)
    with pytest.raises(ZeroDivisionError):
        keeping.sweep()
    assert run.jobs.get().state == "cancelled"
