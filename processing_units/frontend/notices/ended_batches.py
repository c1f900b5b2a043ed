"""A batch has no end of its own: chains and nights may go on after its last job. The keeper looks, and tells once."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from processing_units.frontend.changes import OPEN_STATES
from processing_units.frontend.models import Batch, Chain, Job, NoticeChoice
from processing_units.frontend.notices.writing import write


def tell() -> int:
    """Write the notices of batches of which nothing is open any more; return how many batches there were."""
    is_open = Job.objects.filter(run__batch=OuterRef("pk"), state__in=OPEN_STATES)
    goes_on = Chain.objects.filter(runs__batch=OuterRef("pk"), ended__isnull=True)
    since = F("user__notice_choice__batches_since")
    ended = Batch.objects.filter(Q(goal={}) | Q(goal_ended__isnull=False), told__isnull=True, made__gte=since)
    count = 0
    for batch in ended.filter(~Exists(is_open), ~Exists(goes_on)):
        with transaction.atomic():
            if Batch.objects.filter(pk=batch.pk, told__isnull=True).update(told=Now()):
                choice = NoticeChoice.objects.get(user=batch.user_id)
                # Failed jobs that are run again make new runs, and an end of its own.
                write(choice, f"batch {batch.pk} of {batch.runs.count()} runs", batch=batch)
                count += 1
    return count
