"""Attempts: the token that is good for one of them alone, and the key of its staging."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from processing_units.contract import JobState
from processing_units.frontend.changes import change, wanted_run
from processing_units.frontend.clock import lease_seconds, seconds_from_now
from processing_units.frontend.models import Attempt, ClusterManagerRecord, Job

EXPIRED = "expired"
DONE = "done"


def hash_of(token: str) -> str:
    """Return what is kept of a token or key: they are of 256 random bits, so a plain sha256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def begin_attempt(job_id: int, ordinal: int, cluster_manager: ClusterManagerRecord) -> tuple[Attempt, str]:
    """Write an attempt; return it with its token, which is told once and kept hashed."""
    token = secrets.token_urlsafe(32)
    attempt = Attempt.objects.create(
        job_id=job_id,
        ordinal=ordinal,
        cluster_manager=cluster_manager,
        node=cluster_manager.node,
        token_hash=hash_of(token),
        started=Now(),
    )
    return attempt, token


def find_attempt(job_id: int, ordinal: int, token: str) -> Attempt | None:
    """Return the attempt if the token is its own."""
    attempt = Attempt.objects.select_related("job__run__user", "job__run__project", "job__unit").filter(
        job=job_id, ordinal=ordinal
    )
    found = attempt.first()
    if found is None or not hmac.compare_digest(found.token_hash, hash_of(token)):
        return None
    return found


def staging_key(attempt: Attempt) -> str:
    """Return the name of the attempt's staging; the hash keeps two databases on one data server apart."""
    return f"{attempt.job_id}-{attempt.ordinal}-{attempt.token_hash[:16]}"


def revive(job_id: int, ordinal: int) -> bool:
    """Give an attempt whose lease expired, and whose job nobody claimed anew, its lease back; return whether it was so.

    Its node was not lost, so that is not counted any more.
    """
    with transaction.atomic():
        jobs = Job.objects.filter(pk=job_id, attempt=ordinal, run__in=wanted_run(job_id))
        expired = Attempt.objects.filter(job=job_id, ordinal=ordinal, outcome=EXPIRED)
        row = expired.values_list("cluster_manager", flat=True)
        if not row.exists():
            return False
        changed = change(
            jobs,
            JobState.QUEUED,
            JobState.RUNNING,
            lease_until=seconds_from_now(lease_seconds()),
            cluster_manager=row[0],
            lost_nodes=F("lost_nodes") - 1,
            not_before=None,
        )
        return bool(changed) and bool(expired.update(outcome="", message="", ended=None))
