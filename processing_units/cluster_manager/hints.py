"""The Celery worker inside the cluster manager. A message is a hint that there may be work, no more.

Celery runs in a thread of its own beside the main thread, which keeps the signals and the fork server; its pool of
threads has one thread a slot, each of which watches one job's process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.worker import WorkController, state
from kombu.entity import Exchange, Queue

from processing_units.contract import Welcome

log = logging.getLogger(__name__)

HINT_TASK = "processing_units.hint"
_STOP_SECONDS = 5.0


def make_app(welcome: Welcome) -> Celery:
    """Make the Celery application that listens to the unit's queue."""
    app = Celery("processing_units", broker=welcome.broker_url, set_as_current=False, backend="disabled://", fixups=[])
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_detect_quorum_queues=False,
        broker_heartbeat=0,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=5.0,
        # The anonymous exchange needs no binding: a Redis that lost everything has lost nothing of it.
        task_queues=[Queue(welcome.queue, Exchange(""), routing_key=welcome.queue)],  # type: ignore[no-untyped-call]
        task_default_queue=welcome.queue,
        broker_transport_options={
            # A hint that its slot still works on is delivered again after this long; the second does no harm.
            "visibility_timeout": 24 * 3600,
            "socket_keepalive": True,
            "socket_connect_timeout": 5.0,
            "health_check_interval": 10,
        },
    )
    return app


class SaidOnce(logging.Filter):
    """Says once that the broker is not reached, where Celery says it at every try: work is asked for all the same.

    Nor is it worth a word that a hint could not be acknowledged: it comes again, and does no harm.
    """

    _TRIED_IN_VAIN = (
        "consumer: Cannot connect to",
        "consumer: Connection to broker lost",
        "Frequent restarts detected",
    )

    def __init__(self) -> None:
        super().__init__()
        self._away = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Drop what Celery says of a broker that is away."""
        if str(record.msg).startswith("Couldn't ack"):
            return False
        if not str(record.msg).startswith(self._TRIED_IN_VAIN):
            return True
        if not self._away:
            where = f" at {record.args[0]}" if isinstance(record.args, tuple) and record.args else ""
            log.warning("the broker%s is not reached: without hints, work is asked for every few seconds", where)
        self._away = True
        return False

    def has_come(self) -> None:
        """A hint came."""
        if self._away:
            log.info("the broker is reached again")
        self._away = False


class Hints:
    """The worker: calls ``work`` in one of its threads for every hint."""

    def __init__(self, welcome: Welcome, slots: int, node_name: str, work: Callable[[], None]) -> None:
        self._queue = welcome.queue
        app = make_app(welcome)
        said_once = SaidOnce()
        for celery_s in ("celery.worker.consumer.consumer", "celery.worker.request"):
            logging.getLogger(celery_s).addFilter(said_once)

        @app.task(name=HINT_TASK, ignore_result=True)  # type: ignore[untyped-decorator]
        def hint(unit: str = "") -> None:
            said_once.has_come()
            work()

        state.should_stop = None
        self._worker: Any = WorkController(
            app=app,
            hostname=node_name,
            pool_cls="threads",
            concurrency=slots,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="WARNING",
            quiet=True,
        )
        self._thread = threading.Thread(target=self._worker.start, name="hints", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def be_deaf(self) -> None:
        """Take no more hints, finish those that are being worked on."""
        consumer = getattr(self._worker, "consumer", None)
        if consumer is None or getattr(consumer, "task_consumer", None) is None:
            return
        consumer.call_soon(self._cancel, consumer)

    def _cancel(self, consumer: Any) -> None:
        try:
            consumer.cancel_task_queue(self._queue)
        except Exception as error:  # noqa: BLE001 - the broker may be away this very moment; slots take nothing any more
            log.debug("the queue could not be left: %s", error)

    def stop(self) -> None:
        """End the worker."""
        state.should_stop = 0
        self._thread.join(_STOP_SECONDS)
        if self._thread.is_alive():
            log.debug("the Celery worker is left to end with the process")
