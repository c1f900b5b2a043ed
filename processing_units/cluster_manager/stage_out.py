"""Hand an attempt's products in to the attempt's own staging, synced to disk and checked against their sha256."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from dataserver.client import UploadRefused, stage
from dataserver.errors import FetchFailed
from dataserver.store import Stored
from processing_units.cluster_manager.backoff import Backoff
from processing_units.cluster_manager.faults import FaultError
from processing_units.contract import FaultKind, StagedProduct

log = logging.getLogger(__name__)

# Longer than the ten minutes that a portal may be away (R8), whose data server may go while its frontend answers.
PATIENCE_SECONDS = 15 * 60.0
_WRONG_DIGEST = 422
_NO_ROOM = 507
_TRIES = 3


def stage_out(
    path: Path,
    product: StagedProduct,
    staging_url: str,
    pause: Callable[[float], None],
    portal_is_away: Callable[[], bool],
    send: Callable[[str, str, Path, str], Stored] = stage,
) -> None:
    """Send one product; ``pause`` sleeps while the data server is away, or raises when the attempt is to end.

    While all of the portal is away there is no hurry. A data server that alone is away for `PATIENCE_SECONDS`, or that
    hangs up each time, is a failure that somebody should see.

    The bytes are hashed once, by the data server, which refuses them if they have not the sha256 that the recipe found
    while it wrote them.

    Raises
    ------
    FaultError
        The file is not what the recipe said it is, or the data server does not take it.
    """
    _sync(path)
    backoff = Backoff()
    damaged = 0
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            stored = send(staging_url, path.name, path, product.sha256)
        except FetchFailed as error:
            if portal_is_away():
                until = time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > until:
                raise FaultError(
                    FaultKind.STAGE_OUT,
                    f"The product {product.name} could not be handed in for {PATIENCE_SECONDS / 60:.0f} minutes: "
                    f"{error.message}",
                    hint=error.hint,
                ) from error
            log.info("%s cannot be handed in (%s); it is tried again", product.name, error)
        except UploadRefused as error:
            damaged += error.status == _WRONG_DIGEST
            if damaged >= _TRIES or not error.transient or error.status == _NO_ROOM:
                raise _refused(product, error) from error
        else:
            if stored.size != product.size:
                raise _changed(product, f"it has {stored.size} bytes instead of {product.size}")
            return
        pause(backoff.pause())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(product: StagedProduct, error: UploadRefused) -> FaultError:
    if error.status == _NO_ROOM:
        return FaultError(
            FaultKind.DISK_FULL,
            f"The data server has no room for {product.name}: {error.message}",
            hint=error.hint or "Ask the administrator to make room on the data server, then retry.",
        )
    if error.status == _WRONG_DIGEST:
        return _changed(product, error.message)
    return FaultError(FaultKind.STAGE_OUT, f"The data server refused {product.name}: {error.message}", hint=error.hint)


def _changed(product: StagedProduct, how: str) -> FaultError:
    return FaultError(
        FaultKind.STAGE_OUT,
        f"The product {product.name} is not the file that the recipe described: {how}",
        hint="It was changed after it was written, or the node's disk or network is failing.",
    )
