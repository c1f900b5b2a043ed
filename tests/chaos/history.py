"""What the database itself writes down of every change of a job's state, by triggers in the same transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from django.db import connection

_SQLITE = """
CREATE TABLE chaos_history (id INTEGER PRIMARY KEY, at REAL, job INTEGER, old TEXT, new TEXT, attempt INTEGER);
CREATE TRIGGER chaos_begin AFTER INSERT ON frontend_job BEGIN
  INSERT INTO chaos_history (at, job, old, new, attempt)
  VALUES ((julianday('now') - 2440587.5) * 86400, NEW.id, '', NEW.state, NEW.attempt); END;
CREATE TRIGGER chaos_change AFTER UPDATE OF state, attempt ON frontend_job
  WHEN OLD.state <> NEW.state OR OLD.attempt <> NEW.attempt BEGIN
  INSERT INTO chaos_history (at, job, old, new, attempt)
  VALUES ((julianday('now') - 2440587.5) * 86400, NEW.id, OLD.state, NEW.state, NEW.attempt); END;
CREATE TRIGGER chaos_removal AFTER DELETE ON frontend_job BEGIN
  INSERT INTO chaos_history (at, job, old, new, attempt)
  VALUES ((julianday('now') - 2440587.5) * 86400, OLD.id, OLD.state, 'removed', OLD.attempt); END;
"""
_POSTGRESQL = """
CREATE TABLE chaos_history
  (id BIGSERIAL PRIMARY KEY, at DOUBLE PRECISION, job BIGINT, old TEXT, new TEXT, attempt INTEGER);
CREATE FUNCTION chaos_note() RETURNS trigger AS $$ BEGIN
  IF TG_OP = 'DELETE' THEN
    INSERT INTO chaos_history (at, job, old, new, attempt)
    VALUES (extract(epoch FROM clock_timestamp()), OLD.id, OLD.state, 'removed', OLD.attempt);
  ELSIF TG_OP = 'INSERT' OR OLD.state <> NEW.state OR OLD.attempt <> NEW.attempt THEN
    INSERT INTO chaos_history (at, job, old, new, attempt)
    VALUES (extract(epoch FROM clock_timestamp()), NEW.id,
            CASE WHEN TG_OP = 'INSERT' THEN '' ELSE OLD.state END, NEW.state, NEW.attempt);
  END IF;
  RETURN NULL; END $$ LANGUAGE plpgsql;
CREATE TRIGGER chaos_changes AFTER INSERT OR UPDATE OR DELETE ON frontend_job
  FOR EACH ROW EXECUTE FUNCTION chaos_note();
"""


class Change(NamedTuple):
    """One change of a job: when [Unix time, s], from which state to which, at which attempt."""

    at: float
    job: int
    old: str
    new: str
    attempt: int


def keep() -> None:
    """Let the database begin to write."""
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        connection.connection.executescript(_SQLITE)
    else:
        with connection.cursor() as cursor:
            cursor.execute(_POSTGRESQL)


def read() -> dict[int, list[Change]]:
    """Return all changes by job, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT at, job, old, new, attempt FROM chaos_history ORDER BY id")
        changes = [Change(*row) for row in cursor.fetchall()]
    by_job: dict[int, list[Change]] = defaultdict(list)
    for change in changes:
        by_job[change.job].append(change)
    return by_job


def faults_of(changes: Sequence[Change]) -> list[str]:
    """Return what is wrong with the life of one job: every change must be one that the contract allows."""
    from processing_units.contract import ALLOWED_CHANGES

    wrong = []
    if (changes[0].old, changes[0].new) != ("", "queued"):
        wrong.append(f"begins as {changes[0].new}")
    for before, after in pairwise(changes):
        if after.old != before.new:
            wrong.append(f"was {before.new} and then goes from {after.old} to {after.new}")
        if (after.old, after.new) not in ALLOWED_CHANGES:
            wrong.append(f"goes from {after.old} to {after.new}")
        taken = (after.old, after.new) == ("queued", "running") and after.attempt == before.attempt + 1
        if after.attempt != before.attempt and not taken:
            wrong.append(f"attempt {before.attempt} becomes {after.attempt} as it goes from {after.old} to {after.new}")
    ends = sum(change.new in ("done", "failed", "cancelled") for change in changes)
    if ends != 1:
        wrong.append(f"has {ends} ends")
    return wrong
