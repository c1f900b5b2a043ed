"""The unit's frontend as a cluster manager sees it: one method a message, three kinds of no for an answer."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from processing_units.contract import (
    Claim,
    ClusterManagerDown,
    ClusterManagerUp,
    Commit,
    Failure,
    Heartbeat,
    HeartbeatReply,
    JobSpec,
    Welcome,
)
from processing_units.wording import first_fault

_Answer = TypeVar("_Answer", bound=BaseModel)

NOT_OURS_ANY_MORE = frozenset({401, 403, 404, 409, 410})
ASK_AGAIN = frozenset({408, 425, 429})


class FrontendAwayError(Exception):
    """No answer, or none that means anything: ask again later."""


class RefusedError(Exception):
    """The frontend understood and said no; asking again does not help."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint


class TooLateError(RefusedError):
    """The attempt is no longer ours (409, or its token died with it): drop everything."""


class Frontend:
    """HTTP client of a unit's frontend; may be used from many threads."""

    def __init__(self, url: str, key: str, *, connections: int = 8) -> None:
        self._key = key
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            timeout=httpx.Timeout(30.0, connect=5.0),
            limits=httpx.Limits(max_connections=connections + 4, max_keepalive_connections=connections + 4),
        )

    def up(self, message: ClusterManagerUp) -> Welcome:
        """Report that the cluster manager is up; learn broker, queue and lease."""
        return self._parsed(Welcome, self._post("/unit/up", message, self._key))

    def down(self, message: ClusterManagerDown, timeout: float) -> None:
        """Take leave."""
        self._post("/unit/down", message, self._key, timeout=timeout)

    def claim(self, message: Claim) -> JobSpec | None:
        """Ask for a job; ``None`` when there is none."""
        answer = self._post("/unit/claim", message, self._key)
        return None if answer.status_code == httpx.codes.NO_CONTENT else self._parsed(JobSpec, answer)

    def heartbeat(self, message: Heartbeat) -> HeartbeatReply:
        """Report all jobs; learn which to stop."""
        return self._parsed(HeartbeatReply, self._post("/unit/heartbeat", message, self._key))

    def commit(self, message: Commit, token: str) -> None:
        """Commit an attempt; raises `TooLateError` when it is not ours any more."""
        self._post("/unit/commit", message, token, of_attempt=True)

    def fail(self, message: Failure, token: str, timeout: float | None = None) -> None:
        """Report that an attempt failed; raises `TooLateError` when it is not ours any more."""
        self._post("/unit/fail", message, token, of_attempt=True, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(
        self, path: str, message: BaseModel, key: str, *, of_attempt: bool = False, timeout: float | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        try:
            answer = self._http.post(
                path,
                content=message.model_dump_json(),
                headers=headers,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout,
            )
        except httpx.HTTPError as error:
            raise FrontendAwayError(f"{type(error).__name__}: {error}") from error
        if answer.is_success:
            return answer
        what, hint = what_and_hint(answer)
        if answer.is_client_error and answer.status_code not in ASK_AGAIN:
            if of_attempt and answer.status_code in NOT_OURS_ANY_MORE:
                raise TooLateError(answer.status_code, what, hint)
            raise RefusedError(answer.status_code, what, hint)
        raise FrontendAwayError(f"HTTP {answer.status_code}: {what}")

    @staticmethod
    def _parsed(model: type[_Answer], answer: httpx.Response) -> _Answer:
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            raise FrontendAwayError(f"an answer that is no {model.__name__}: {first_fault(error)}") from error


def what_and_hint(answer: httpx.Response) -> tuple[str, str]:
    """Read what an error's answer says: ``{"error": what, "hint": how}``, or its first line of text."""
    try:
        body: Any = json.loads(answer.content)
    except ValueError:
        body = None
    if isinstance(body, dict):
        return str(body.get("error", f"HTTP {answer.status_code}")), str(body.get("hint", ""))
    text = answer.text.strip().splitlines() if len(answer.content) < 2000 else []
    return f"HTTP {answer.status_code}" + (f": {text[0][:200]}" if text else ""), ""
