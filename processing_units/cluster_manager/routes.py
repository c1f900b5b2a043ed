"""Other addresses for what the frontend names, where a node reaches broker and data server only through a tunnel."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from processing_units.contract import JobSpec, Welcome


class Routes:
    """Pairs of ``scheme://host:port``: what begins with the first is reached at the second.

    A signature covers path and query alone, so a signed address stays good; user and password of a broker stay too.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self._targets = {_origin(origin): urlsplit(target) for origin, target in pairs}

    def apply(self, url: str) -> str:
        """Return where ``url`` is reached from here."""
        target = self._targets.get(_origin(url))
        if target is None:
            return url
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        return urlunsplit(
            parts._replace(scheme=target.scheme, netloc=f"{login}@{target.netloc}" if login else target.netloc)
        )

    def of_welcome(self, welcome: Welcome) -> Welcome:
        """Return what the frontend told of its unit, with the broker as it is reached from here."""
        return welcome.model_copy(update={"broker_url": self.apply(welcome.broker_url)})

    def of_job(self, spec: JobSpec) -> JobSpec:
        """Return a job whose files are reached from here."""
        if not self._targets:
            return spec
        inputs = [wanted.model_copy(update={"url": self.apply(wanted.url)}) for wanted in spec.inputs]
        code = spec.code and spec.code.model_copy(update={"url": self.apply(spec.code.url)})
        return spec.model_copy(update={"inputs": inputs, "code": code, "staging_url": self.apply(spec.staging_url)})


_USUAL_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379}


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _USUAL_PORTS.get(parts.scheme)
