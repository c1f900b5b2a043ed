"""The portal as one WSGI application: the pages, and below /data the data server of the embedded default."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.core.wsgi import get_wsgi_application

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def make_application() -> WSGIApplication:
    """Return the pages, with the data server mounted where settings.DATA_URL says that the portal serves it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "awportal.settings")
    pages: WSGIApplication = get_wsgi_application()

    from django.conf import settings

    if not settings.DATA_URL.startswith(settings.BASE_URL + "/"):
        return pages  # the data server is a process of its own

    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    import dataserver
    from dataserver.store import Store
    from processing_units.frontend.data_servers import is_registered

    files = dataserver.application(
        Store(settings.DATA_ROOT), settings.DATA_KEYS, max_size=settings.MAX_UPLOAD_BYTES, is_peer=is_registered
    )
    return DispatcherMiddleware(pages, {urlsplit(settings.DATA_URL).path: files})


application = make_application()
