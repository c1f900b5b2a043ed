"""What a joining machine asks the unit's frontend: which code it is to run, and the code."""

from __future__ import annotations

import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

PROTOCOL_VERSION = 1
_TIMEOUT_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 10.0
_MAXIMUM_ANSWER = 64 * 2**20
_ASK_AGAIN = frozenset({408, 425, 429})

_Answer = TypeVar("_Answer")


class AwayError(Exception):
    """No answer, or none that means anything: ask again later."""


class RefusedError(Exception):
    """The frontend understood and said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Manifest:
    """What the frontend says of the standard code (``CodeManifest`` of the contract)."""

    digest: str
    sha256: str
    size: int
    python: tuple[int, ...]
    requirements: list[str]


class Frontend:
    """The two questions, asked again while the frontend is away."""

    def __init__(self, url: str, key: str, say: Callable[[str], None]) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._say = say
        # No redirects: they would carry the key to another address.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPErrorProcessor,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.UnknownHandler,
        ):
            self._opener.add_handler(handler())

    def manifest(self) -> Manifest:
        """Ask which code the unit runs (``POST /unit/code``); raises `RefusedError`."""
        return self._patiently(self._ask_for_manifest)

    def bundle(self, manifest: Manifest) -> bytes:
        """Fetch the code (``GET /unit/code/DIGEST``); raises `RefusedError`."""
        return self._patiently(lambda: self._ask(f"/unit/code/{manifest.digest}", None, manifest.size))

    def _ask_for_manifest(self) -> Manifest:
        answer = self._ask("/unit/code", json.dumps({"protocol": PROTOCOL_VERSION}).encode(), 2**20)
        try:
            said: dict[str, Any] = json.loads(answer)
            return Manifest(
                digest=_hexadecimal(said["digest"]),
                sha256=_hexadecimal(said["sha256"]),
                size=min(int(said["size"]), _MAXIMUM_ANSWER),
                python=tuple(int(number) for number in str(said["python"]).split(".")),
                requirements=[str(line) for line in said["requirements"]],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise AwayError(f"{self._url} does not answer as a unit's frontend does") from error

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        pause, away_since = 0.25, 0.0
        while True:
            try:
                answer = ask()
            except AwayError as error:
                if not away_since:
                    away_since = time.monotonic()
                    self._say(f"the frontend at {self._url} is away ({error}); it is asked again until it answers")
                time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, keeps no secret
                pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
            else:
                if away_since:
                    self._say(f"the frontend answers again, after {time.monotonic() - away_since:.0f} s")
                return answer

    def _ask(self, path: str, body: bytes | None, most_bytes: int) -> bytes:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data=body, headers=headers)  # noqa: S310 - checked: http(s)
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                text: bytes = answer.read(most_bytes + 1)
        except urllib.error.HTTPError as error:
            with error:
                what = _what(error)
            if 300 <= error.code < 500 and error.code not in _ASK_AGAIN:
                raise RefusedError(error.code, what) from error
            raise AwayError(what) from error
        except (OSError, http.client.HTTPException) as error:
            raise AwayError(str(getattr(error, "reason", error)) or type(error).__name__) from error
        if len(text) > most_bytes:
            raise AwayError(f"{self._url}{path} sends more than it announced")
        return text


def _what(error: urllib.error.HTTPError) -> str:
    """Read ``{"error": what, "hint": how}``, or make do with the status."""
    if 300 <= error.code < 400:
        where = error.headers.get("Location", "elsewhere")
        return f"it sends on to {where}: give the address of the unit's frontend itself"
    try:
        said = json.loads(error.read(65536))
        return "; ".join(text for text in (str(said["error"]), str(said.get("hint", ""))) if text)
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return f"HTTP {error.code} {error.reason}"


def _hexadecimal(text: object) -> str:
    if not isinstance(text, str) or len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise ValueError("no sha256")
    return text
