"""Hints to the queue of a unit: a message says that there may be work, the job rows say which.

The queue is topped up to min(waiting jobs, 2 x slots), on the commit of a submission and by the keeper's sweep. A
broker that is away never fails the caller: the hint stays in the outbox, and nodes ask by themselves now and then.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import cache

from amqp.exceptions import ChannelError  # type: ignore[import-untyped]
from celery import Celery
from django.conf import settings
from django.db.models import Q, Sum
from kombu.connection import Connection
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from processing_units.contract import JobState
from processing_units.frontend.models import Job, Outbox, ProcessingUnit
from processing_units.frontend.waiting import live_cluster_managers, slots_in_use
from processing_units.named_points import reach

log = logging.getLogger(__name__)

HINT_TASK = "processing_units.hint"
HINTS_A_SLOT = 2
_TIMEOUT_SECONDS = 1.0
# After a failure the broker is left alone for so long, so that a thousand submits do not each wait for its timeout.
_PAUSE_SECONDS = 3.0
_NO_PATIENCE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


def queue_name(unit: ProcessingUnit) -> str:
    """Return the name of the unit's queue."""
    return f"unit.{unit.name}"


def send_hints(unit: ProcessingUnit) -> int:
    """Top the unit's queue up; return how many hints were sent, 0 where none are needed or the broker is away."""
    reach("dispatch.begun")
    written = list(Outbox.objects.filter(unit=unit).values_list("pk", flat=True))
    waiting = Job.objects.filter(unit=unit, state=JobState.QUEUED).count() if unit.accepting else 0
    sent = _top_up(unit, waiting) if waiting else 0
    if sent is None:
        return 0
    reach("dispatch.sent")
    Outbox.objects.filter(pk__in=written).delete()
    return sent


def sweep() -> int:
    """Top up the queues of all units that have work; return how many hints were sent."""
    waiting = Job.objects.filter(state=JobState.QUEUED).order_by().values("unit").distinct()
    units = ProcessingUnit.objects.filter(Q(pk__in=waiting) | Q(pk__in=Outbox.objects.values("unit")))
    return sum(send_hints(unit) for unit in units)


def _top_up(unit: ProcessingUnit, waiting: int) -> int | None:
    brought = live_cluster_managers(unit).aggregate(slots=Sum("slots"))["slots"] or 0
    wanted = min(waiting, HINTS_A_SLOT * (slots_in_use(unit, brought) or unit.slots or 1))
    broker = _broker(settings.BROKER_URL)
    return broker.top_up(queue_name(unit), unit.name, wanted)


class Broker:
    """The producer's side of the broker; used by many threads."""

    def __init__(self, url: str) -> None:
        self._app = Celery("processing_units.frontend", broker=url, backend="disabled://", set_as_current=False)
        self._app.conf.update(
            task_serializer="json",
            accept_content=["json"],
            broker_connection_timeout=_TIMEOUT_SECONDS,
            broker_connection_retry=False,
            broker_transport_options={
                "socket_connect_timeout": _TIMEOUT_SECONDS,
                "socket_timeout": _TIMEOUT_SECONDS,
                **_NO_PATIENCE,
            },
        )
        self._lock = threading.Lock()
        self._left_alone_until = 0.0
        self._is_away = False

    def top_up(self, queue: str, unit: str, wanted: int) -> int | None:
        """Send hints until `wanted` are in the queue; return how many were sent, None if the broker is away."""
        with self._lock:
            if time.monotonic() < self._left_alone_until:
                return None
            try:
                sent = self._send(queue, unit, wanted)
            except (OperationalError, RedisError, OSError) as error:
                if not self._is_away:  # once, not at every sweep
                    log.warning("the broker is away (%s); hints follow when it is back", error)
                self._is_away = True
                self._left_alone_until = time.monotonic() + _PAUSE_SECONDS
                return None
            if self._is_away:
                log.info("the broker is back")
            self._is_away = False
            return sent

    def _send(self, queue: str, unit: str, wanted: int) -> int:
        # The anonymous exchange needs no binding: a broker that lost everything has lost nothing of it.
        where = Queue(queue, Exchange(""), routing_key=queue)  # type: ignore[no-untyped-call]
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(timeout=_TIMEOUT_SECONDS, **_NO_PATIENCE)
            missing = wanted - _length(connection, queue)
            if missing <= 0:
                return 0
            with self._app.amqp.Producer(connection) as producer:
                for _ in range(missing):
                    self._app.send_task(
                        HINT_TASK,
                        kwargs={"unit": unit},
                        queue=where,
                        producer=producer,
                        ignore_result=True,
                        retry=False,
                    )
            return missing


def _length(connection: Connection, queue: str) -> int:
    try:
        declared = connection.default_channel.queue_declare(queue=queue, passive=True)  # type: ignore[no-untyped-call]
        return int(declared.message_count)
    except ChannelError:
        return 0  # nothing in it: it does not exist


@cache
def _broker(url: str) -> Broker:
    return Broker(url)
