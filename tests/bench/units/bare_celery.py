"""The peer: bare Celery with a task that does nothing but count itself, on the same Redis."""

from __future__ import annotations

import os

import redis
from celery import Celery

app = Celery("bare", broker=os.environ.get("BARE_BROKER_URL", "redis://127.0.0.1:1/0"))
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, task_acks_late=True)
COUNTER = "bare-celery-done"


@app.task
def nothing() -> None:
    """Count, so that the end is known."""
    redis.Redis.from_url(str(app.conf.broker_url)).incr(COUNTER)
