"""Every error as JSON of one shape, ``{"error": what, "hint": how to mend it, "field": where}``, and its status."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

from django.core.exceptions import PermissionDenied, RequestDataTooBig, TooManyFieldsSent
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from pydantic import BaseModel

from archive.filter_texts import BadSelection
from dataserver.errors import DataServerError
from processing_units.frontend.refusals import NotAllowed, NotFound, TooLate
from recipes.errors import RecipeError, UsageError

_log = logging.getLogger(__name__)
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}


class ErrorAnswer(BaseModel):
    """What was wrong, how to mend it, and in which field, where it is one."""

    error: str
    hint: str = ""
    field: str = ""


class Refusal(Exception):
    """An operation's own no."""

    def __init__(self, status: int, error: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(error)
        self.status = status
        self.hint = hint
        self.field = field


def answer(status: int, error: str, hint: str = "", field: str = "") -> HttpResponse:
    """Return an error as JSON."""
    return JsonResponse(ErrorAnswer(error=error, hint=hint, field=field).model_dump(), status=status)


def install(api: NinjaAPI) -> None:
    """Make the API answer all errors in this shape; none of them shows a traceback."""
    for kind, handler in _HANDLERS:
        api.add_exception_handler(kind, handler)


def methods_told(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer a wrong method below /api/ in the same shape (middleware: no handler is asked about it)."""

    def told(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.status_code != 405 or not request.path_info.startswith("/api/"):
            return response
        methods = response.get("Allow", "")
        refused = answer(405, f"this address does not take {request.method}", f"it takes {methods}", "method")
        refused["Allow"] = methods
        return refused

    return told


def _unknown_user(request: HttpRequest, _: Exception) -> HttpResponse:
    given = "Authorization" in request.headers
    response = answer(
        401,
        "this token is not known, or was revoked" if given else "log in first",
        "make a token on the portal's page of tokens, then `awrecipe login`",
    )
    response["WWW-Authenticate"] = "Bearer"
    return response


def _http_error(request: HttpRequest, problem: Exception) -> HttpResponse:
    assert isinstance(problem, HttpError)  # noqa: S101 - registered for it
    return answer(problem.status_code, str(problem))


def _not_valid(request: HttpRequest, problem: Exception) -> HttpResponse:
    assert isinstance(problem, ValidationError)  # noqa: S101 - registered for it
    first = problem.errors[0]
    # Ninja puts "body" or "query" and its own name of the argument in front of the field's place.
    place = [str(part) for part in first.get("loc", ())][1:]
    if first.get("loc", ("",))[0] in {"body", "form", "file"} and len(place) > 1:
        place = place[1:]
    field = ".".join(place)
    return answer(400, f"{field or 'the request'}: {first.get('msg', 'is not right')}", field=field)


def _refusal(request: HttpRequest, problem: Exception) -> HttpResponse:
    assert isinstance(problem, Refusal)  # noqa: S101 - registered for it
    return answer(problem.status, str(problem), problem.hint, problem.field)


def _recipes_no(status: int) -> Callable[[HttpRequest, Exception], HttpResponse]:
    def handler(request: HttpRequest, problem: Exception) -> HttpResponse:
        assert isinstance(problem, RecipeError)  # noqa: S101 - registered for it
        return answer(status, problem.message, problem.hint)

    return handler


def _of_data_server(request: HttpRequest, problem: Exception) -> HttpResponse:
    assert isinstance(problem, DataServerError)  # noqa: S101 - registered for it
    if problem.status >= 500:
        _log.error("%s %s: %s", request.method, request.path, problem)
    return answer(problem.status, problem.message, problem.hint)


def _plain(status: int, default: str) -> Callable[[HttpRequest, Exception], HttpResponse]:
    def handler(request: HttpRequest, problem: Exception) -> HttpResponse:
        return answer(status, str(problem) or default)

    return handler


def _not_there(request: HttpRequest, _: Exception) -> HttpResponse:
    return answer(404, "there is no such thing, or none that you may see")


def _system(request: HttpRequest, problem: Exception) -> HttpResponse:
    if isinstance(problem, OSError) and problem.errno in _FULL_DISK:
        _log.error("%s %s: the disk is full: %s", request.method, request.path, problem)
        return answer(507, "the portal's disk is full", "an administrator has to make room; then try again")
    return _defect(request, problem)


def _defect(request: HttpRequest, problem: Exception) -> HttpResponse:
    _log.exception("%s %s", request.method, request.path, exc_info=problem)
    return answer(500, "the portal failed at this request; its log tells the reason", "report it to an administrator")


# Ninja takes the handler of the nearest class of an exception.
_HANDLERS: list[tuple[type[Exception], Callable[[HttpRequest, Exception], HttpResponse]]] = [
    (AuthenticationError, _unknown_user),
    (HttpError, _http_error),
    (ValidationError, _not_valid),
    (Refusal, _refusal),
    (NotAllowed, _recipes_no(403)),
    (NotFound, _recipes_no(404)),
    (TooLate, _recipes_no(409)),
    (UsageError, _recipes_no(400)),
    (DataServerError, _of_data_server),
    (BadSelection, _plain(400, "the filters cannot be understood")),
    (PermissionDenied, _plain(403, "you may not do this")),
    (Http404, _not_there),
    (RequestDataTooBig, _plain(413, "the request is too large")),
    (TooManyFieldsSent, _plain(413, "the request has too many fields")),
    (OSError, _system),
    (Exception, _defect),
]
