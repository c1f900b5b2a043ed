"""Bring a job's inputs from the node's cache into its directory, and write its job file."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from dataserver.cache import Lease, ReadThroughCache
from dataserver.errors import CacheFull, DataServerError, DiskFull, FetchFailed, WrongDigest
from processing_units.cluster_manager.backoff import Backoff
from processing_units.cluster_manager.faults import FaultError, disk_full
from processing_units.contract import CodeFile, FaultKind, InputFile, JobSpec

PATIENCE_SECONDS = 15 * 60.0
WRONG_DIGEST_TRIES = 3
_UNSAFE = re.compile(r"[^A-Za-z0-9._+=-]")
_NAMED_IN_CLAIM = 200


class NodeCache:
    """The node's cache as its slots use it: patient with a data server that is away, and it knows what it holds."""

    def __init__(self, cache: ReadThroughCache) -> None:
        self._cache = cache
        self._recent: OrderedDict[str, None] = OrderedDict.fromkeys(reversed(cache.names()[:_NAMED_IN_CLAIM]))
        self._lock = threading.Lock()

    def recent(self) -> list[str]:
        """Name files that the node holds, the last used first; a claim carries them."""
        with self._lock:
            return list(reversed(self._recent))

    def fetch(self, wanted: InputFile | CodeFile, pause: Callable[[float], None]) -> Lease:
        """Return a lease on a verified file; ``pause`` sleeps, or raises when the attempt is to end."""
        backoff = Backoff()
        until = time.monotonic() + PATIENCE_SECONDS
        wrong = 0
        while True:
            try:
                lease = self._cache.fetch(wanted.sha256, wanted.size, wanted.url)
                break
            except (DiskFull, CacheFull) as error:
                raise disk_full(f"No room on the node for {wanted.name}: {error.message}") from error
            except (FetchFailed, WrongDigest) as error:
                wrong += isinstance(error, WrongDigest)
                if not error.transient or wrong >= WRONG_DIGEST_TRIES or time.monotonic() > until:
                    raise _fault(wanted, error) from error
            except DataServerError as error:
                raise _fault(wanted, error) from error
            pause(backoff.pause())
        with self._lock:
            self._recent[wanted.sha256] = None
            self._recent.move_to_end(wanted.sha256)
            if len(self._recent) > _NAMED_IN_CLAIM:
                self._recent.popitem(last=False)
        return lease


def stage_in(
    spec: JobSpec, directory: Path, cache: NodeCache, leases: ExitStack, pause: Callable[[float], None], threads: int
) -> Path:
    """Put all inputs below ``inputs/`` and write ``job.json``; return its path.

    The files are the cache's own, linked and read-only. ``leases`` keeps them in the cache as long as the job lasts.
    ``threads`` is the slot's share of the node's cores; the spec may ask for more.
    """
    taken: set[str] = set()
    inputs: list[dict[str, Any]] = []
    for wanted in spec.inputs:
        name = _file_name(wanted, taken)
        lease = leases.enter_context(cache.fetch(wanted, pause))
        _link(lease.path, directory / "inputs" / name)
        inputs.append(
            {
                "role": wanted.role,
                "kind": wanted.kind,
                "path": f"inputs/{name}",
                "name": wanted.name,
                "sha256": wanted.sha256,
                "attributes": wanted.attributes,
            }
        )
    job_file = directory / "job.json"
    job_file.write_text(
        json.dumps(
            {
                "recipe": spec.recipe,
                "parameters": spec.parameters,
                "inputs": inputs,
                "output_directory": "outputs",
                "threads": max(spec.limits.threads, threads),
                "quality_limits": spec.quality_limits,
                "limit_origins": spec.limit_origins,
                "code_digest": spec.code_digest,
            },
            indent=1,
        )
    )
    return job_file


def _file_name(wanted: InputFile, taken: set[str]) -> str:
    """Make a safe name that keeps the suffix, which tells how a file is packed."""
    name = _UNSAFE.sub("_", wanted.name).lstrip(".")[-180:] or "input"
    if name in taken:
        name = f"{wanted.product}_{name}"
    while name in taken:
        name = f"_{name}"
    taken.add(name)
    return name


def _link(source: Path, target: Path) -> None:
    with suppress(OSError):  # another file system, or another user's file
        os.link(source, target)
        return
    target.symlink_to(source)


def _fault(wanted: InputFile | CodeFile, error: DataServerError) -> FaultError:
    return FaultError(
        FaultKind.STAGE_IN,
        f"The input {wanted.name} (product {wanted.product}) cannot be had: {error.message}",
        hint=error.hint or "Ask the administrator to check the data server (its scrub finds damaged files).",
    )
