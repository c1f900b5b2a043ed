"""The data server: a content-addressed store, a read-through cache, an HTTP service and the download formats.

Stands alone: no Django, no database, none of our other packages. `docs/data-servers.md` tells how to run one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from dataserver.store import Store


def application(
    store: Store,
    keys: bytes | Sequence[bytes],
    *,
    max_size: int | None = None,
    is_peer: Callable[[str], bool] = lambda _: False,
) -> WSGIApplication:
    """Return the WSGI application that serves `store`; see :func:`dataserver.service.application`."""
    from dataserver.service import application as make

    return make(store, keys, max_size=max_size, is_peer=is_peer)
