"""The unit's frontend as its backend sees it: reports go there, directions and keys come back."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from processing_units.backend.kind import BringUpError
from processing_units.contract import BackendDirections, BackendReport, KeyRequest, NewKey

_Answer = TypeVar("_Answer", bound=BaseModel)

_TIMEOUT = httpx.Timeout(10.0, connect=3.0)


class FrontendAwayError(BringUpError):
    """No answer, or none that means anything: asked again soon."""


class FrontendRefusesError(BringUpError):
    """The frontend does not know the unit's key."""


class FrontendLink:
    """Talks to the frontend with the unit's key, which is read anew each time: a manager may have written another."""

    def __init__(self, url: str, key_file: Path) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT)
        self._key_file = key_file

    def report(self, message: BackendReport) -> BackendDirections:
        """Say how the cluster managers stand; return what is wanted."""
        return self._ask("/unit/backend", message, BackendDirections)

    def new_key(self, message: KeyRequest) -> NewKey:
        """Return a key for one new cluster manager."""
        return self._ask("/unit/keys", message, NewKey)

    def _ask(self, path: str, message: BaseModel, model: type[_Answer]) -> _Answer:
        headers = {"Content-Type": "application/json"}
        try:
            headers["Authorization"] = f"Bearer {self._key_file.read_text().strip()}"
            answer = self._http.post(path, content=message.model_dump_json(), headers=headers)
        except OSError as error:
            raise FrontendRefusesError(f"the unit's key file {self._key_file} cannot be read: {error}") from error
        except httpx.HTTPError as error:
            raise FrontendAwayError(f"the frontend is away ({type(error).__name__}: {error})") from error
        if answer.is_client_error:
            raise FrontendRefusesError(f"the frontend refuses: HTTP {answer.status_code} {answer.text[:200]}")
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            raise FrontendAwayError(f"the frontend gives no {model.__name__}: HTTP {answer.status_code}") from error
