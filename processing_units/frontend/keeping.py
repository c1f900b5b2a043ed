"""What the keeper does, and the lock in the database by which there is one at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from archive.facets import gather
from archive.models import Product
from processing_units.contract import STAGING_KEPT_SECONDS
from processing_units.frontend import canary, dispatch, quotas, staging
from processing_units.frontend.cancel import cancel_jobs
from processing_units.frontend.chains import continue_chains
from processing_units.frontend.changes import OPEN_STATES, close_ended_runs
from processing_units.frontend.clock import seconds_from_now
from processing_units.frontend.models import ClusterManagerRecord, CodeBundle, KeeperLock, Run
from processing_units.frontend.night_goals import continue_goals
from processing_units.frontend.notices import ended_batches
from processing_units.frontend.reap import reap_all

log = logging.getLogger(__name__)

LOCK = "keeper"
SILENT_FOR_GOOD_SECONDS = 3600.0
# A collection of more than this, and of more than half of all, does not begin: the database may be another's.
_MANY_OBJECTS = 100


def hold_lock(holder: str) -> bool:
    """Take or renew the keeper's lock for two sweeps and a little; return whether `holder` has it now."""
    lasts = 2 * settings.SWEEP_SECONDS + 2
    KeeperLock.objects.get_or_create(name=LOCK)
    free = Q(holder=holder) | Q(held_until__isnull=True) | Q(held_until__lt=Now())
    return bool(KeeperLock.objects.filter(free, name=LOCK).update(holder=holder, held_until=seconds_from_now(lasts)))


def release_lock(holder: str) -> None:
    """Let the next keeper begin at once."""
    KeeperLock.objects.filter(name=LOCK, holder=holder).update(held_until=None)


def sweep() -> dict[str, int]:
    """Do what is due every few seconds; return what was done, by name.

    Every step is tried, whatever becomes of the others; the first error is raised at the end.
    """
    steps: dict[str, Callable[[], int]] = {
        "jobs reaped": reap_all,
        "jobs cancelled": finish_cancels,
        "runs closed": close_ended_runs,
        "chains continued": continue_chains,
        "hints sent": dispatch.sweep,
        "batches told of": ended_batches.tell,
        "users' files counted": quotas.count_bytes,
        "canaries sent": canary.keep_canaries,
        "canaries removed": canary.remove_old_canaries,
        "cluster managers forgotten": forget_silent_cluster_managers,
        "products in the archive's filters": gather,
        "nights continued": continue_goals,  # last: it may take seconds
    }
    done: dict[str, int] = {}
    errors: list[Exception] = []
    for name, step in steps.items():
        try:
            done[name] = step()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)
    if errors:
        raise errors[0]
    return done


def finish_cancels() -> int:
    """Cancel what is left open of runs whose cancel was requested: its process may have died in between."""
    runs = Run.objects.filter(cancel_requested__isnull=False, ended__isnull=True, jobs__state__in=OPEN_STATES)
    return sum(cancel_jobs(pk, "cancelled") for pk in runs.distinct().values_list("pk", flat=True))


def forget_silent_cluster_managers() -> int:
    """Note as down what has not been heard of for an hour."""
    silent = ClusterManagerRecord.objects.filter(
        down_at__isnull=True, seen_at__lt=seconds_from_now(-SILENT_FOR_GOOD_SECONDS)
    )
    return silent.update(down_at=Now(), busy=0)


def collect() -> int:
    """Remove staging that was never committed and files that no product refers to, a day after they were written.

    Only where the store is on this machine. Returns how many files went.
    """
    store = staging.local_store()
    if store is None:
        return 0
    would_go = store.collect(_referenced(), STAGING_KEPT_SECONDS, dry_run=True).objects
    if would_go > _MANY_OBJECTS and would_go > sum(1 for _ in store.listing()) / 2:
        log.error(
            "%d files, more than half of the store, belong to no product: nothing is collected. "
            "Do AWPORTAL_DATABASE_URL and AWPORTAL_DATA_ROOT belong together?",
            would_go,
        )
        return 0
    gone = store.collect(_referenced(), STAGING_KEPT_SECONDS)
    return gone.objects + gone.staged


def _referenced() -> Iterator[str]:
    """Yield the sha256 of every file that products and bundles of shipped code refer to."""
    yield from Product.objects.order_by().values_list("sha256", flat=True).iterator()
    yield from CodeBundle.objects.order_by().values_list("digest", flat=True).iterator()


COLLECT_EVERY = timedelta(hours=1)
