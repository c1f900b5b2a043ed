"""The HTTP interface of a unit's frontend for its cluster managers and its backend.

Plain views that check, call one function, return.

``Authorization: Bearer`` carries the unit's key or a key to join it with, for backends the unit's key alone, for commit
and fail the token of the attempt. Errors are JSON,
``{"error": what, "hint": how}``: 400 not understood, 401 wrong key or token, 409 too late, 413 too large, 422 cannot be
committed as it is, 426 another protocol, 503 ask again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from functools import partial, wraps
from typing import TypeVar

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel, ValidationError

from archive.products import storable
from processing_units import contract
from processing_units.frontend import backends, cluster_managers, join_keys, staging, standard_code
from processing_units.frontend.attempts import find_attempt, hash_of
from processing_units.frontend.claim import claim
from processing_units.frontend.commit import commit
from processing_units.frontend.fail import fail
from processing_units.frontend.heartbeat import heartbeat
from processing_units.frontend.models import Attempt, ProcessingUnit
from processing_units.frontend.refusals import TooLate
from processing_units.joining.single_file import single_file
from processing_units.wording import first_fault
from recipes.errors import UsageError

log = logging.getLogger(__name__)

MAXIMUM_BODY_BYTES = 16 * 1024 * 1024
# Set by `manage.py frontend UNIT`: the one unit whose keys this process knows.
UNIT_SERVED = "awportal.unit"

_Message = TypeVar("_Message", bound=BaseModel)
View = Callable[..., HttpResponse]


class _Refused(Exception):
    def __init__(self, status: int, error: str, hint: str = "") -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint


def _endpoint(view: View, method: str = "POST") -> View:
    @csrf_exempt
    @wraps(view)
    def sized(request: HttpRequest, **parts: str) -> HttpResponse:
        response = answer(request, **parts)
        if response.content:  # else the server would send it in chunks, of which there is one
            response["Content-Length"] = str(len(response.content))
        return response

    def answer(request: HttpRequest, **parts: str) -> HttpResponse:
        try:
            if request.method != method:
                raise _Refused(405, f"{request.method} is not possible here", f"use {method}")
            return view(request, **parts)
        except _Refused as refused:
            return _error(refused.status, refused.error, refused.hint)
        except TooLate as late:
            return _error(409, late.message, late.hint)
        except UsageError as error:
            return _error(400, error.message, error.hint)
        except staging.NothingStaged as error:
            return _error(422, str(error), "stage the products again, then commit")
        except staging.DataServerAway as error:
            return _error(503, str(error), "ask again")
        except (DatabaseError, InterfaceError):
            log.exception("%s: the database failed", request.path)
            return _error(503, "the database is away", "ask again")

    return sized


@_endpoint
def up(request: HttpRequest) -> HttpResponse:
    """``POST /unit/up``: ClusterManagerUp → Welcome."""
    message = _read(request, contract.ClusterManagerUp)
    return _json(cluster_managers.up(_unit_joined(request, message.cluster_manager), message))


@_endpoint
def down(request: HttpRequest) -> HttpResponse:
    """``POST /unit/down``: ClusterManagerDown → 200."""
    message = _read(request, contract.ClusterManagerDown)
    cluster_managers.down(_unit_joined(request, message.cluster_manager), message)
    return JsonResponse({})


@_endpoint
def claim_job(request: HttpRequest) -> HttpResponse:
    """``POST /unit/claim``: Claim → JobSpec, or 204."""
    message = _read(request, contract.Claim)
    spec = claim(_unit_joined(request, message.cluster_manager), message)
    return HttpResponse(status=204) if spec is None else _json(spec)


@_endpoint
def beat(request: HttpRequest) -> HttpResponse:
    """``POST /unit/heartbeat``: Heartbeat → HeartbeatReply."""
    message = _read(request, contract.Heartbeat)
    return _json(heartbeat(_unit_joined(request, message.cluster_manager), message))


@_endpoint
def commit_attempt(request: HttpRequest) -> HttpResponse:
    """``POST /unit/commit``: Commit → {"products": [numbers]}."""
    message = _read(request, contract.Commit)
    return JsonResponse({"products": commit(_attempt_of(request, message.job, message.attempt), message)})


@_endpoint
def fail_attempt(request: HttpRequest) -> HttpResponse:
    """``POST /unit/fail``: Failure → 200."""
    message = _read(request, contract.Failure)
    fail(_attempt_of(request, message.job, message.attempt), message)
    return JsonResponse({})


@_endpoint
def backend(request: HttpRequest) -> HttpResponse:
    """``POST /unit/backend``: BackendReport → BackendDirections."""
    message = _read(request, contract.BackendReport)
    return _json(backends.report(_unit_of(request), message))


@_endpoint
def keys(request: HttpRequest) -> HttpResponse:
    """``POST /unit/keys``: KeyRequest → NewKey."""
    message = _read(request, contract.KeyRequest)
    return _json(join_keys.make_for_place(_unit_of(request), message))


@_endpoint
def code(request: HttpRequest) -> HttpResponse:
    """``POST /unit/code``: CodeRequest → CodeManifest."""
    _read(request, contract.CodeRequest)
    _unit_joined(request, "")
    return _json(standard_code.manifest())


@partial(_endpoint, method="GET")
def code_bundle(request: HttpRequest, digest: str) -> HttpResponse:
    """``GET /unit/code/DIGEST``: the standard code, packed."""
    _unit_joined(request, "")
    ours = standard_code.packed()
    if digest != ours.digest:
        raise _Refused(404, f"the unit runs the standard code {ours.digest[:12]} now", "start awworker again")
    return HttpResponse(ours.bundle, content_type="application/zip")


@partial(_endpoint, method="GET")
def awworker(request: HttpRequest) -> HttpResponse:
    """``GET /awworker``: the one file with which any machine joins; it holds no secret."""
    return HttpResponse(single_file(), content_type="application/octet-stream")


def _read(request: HttpRequest, model: type[_Message]) -> _Message:
    too_large = _Refused(413, f"the message is larger than {MAXIMUM_BODY_BYTES} bytes", "send the log in pieces")
    announced = request.META.get("CONTENT_LENGTH") or "0"
    if not announced.isdigit() or int(announced) > MAXIMUM_BODY_BYTES:
        raise too_large
    try:
        body = request.read(MAXIMUM_BODY_BYTES + 1)
    except OSError:  # nothing came for a while, or the connection broke
        raise _Refused(408, "the message did not arrive whole", "send it again") from None
    if len(body) > MAXIMUM_BODY_BYTES:
        raise too_large
    _check_protocol(body)
    try:
        if b"\\u0000" in body:  # no database stores it, and whoever sent it would ask again for ever
            body = json.dumps(storable(json.loads(body))).encode()
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _Refused(400, first_fault(error, whole="the message"), f"send a {model.__name__}") from None
    except (ValueError, RecursionError):  # also bytes that are no UTF-8, and numbers too long to read
        raise _Refused(400, "the message is not JSON", f"send a {model.__name__}") from None


class _Protocol(BaseModel):
    protocol: int = contract.PROTOCOL_VERSION


def _check_protocol(body: bytes) -> None:
    """Look at the version first: a message of another version may well look right and mean another thing."""
    try:
        spoken = _Protocol.model_validate_json(body).protocol
    except ValidationError:
        return  # what is wrong with it is told by whoever reads the whole
    if spoken != contract.PROTOCOL_VERSION:
        raise _Refused(
            426,
            f"this frontend speaks protocol {contract.PROTOCOL_VERSION}, the message says {spoken}",
            "install the version of awportal that the portal runs",
        )


def _bearer(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise _Refused(401, "no key was sent", "send Authorization: Bearer KEY")
    return token.strip()


def _unit_of(request: HttpRequest) -> ProcessingUnit:
    unit = ProcessingUnit.objects.filter(key_hash=hash_of(_bearer(request))).first()
    if unit is None or request.META.get(UNIT_SERVED, unit.name) != unit.name:
        raise _Refused(401, "this is not the unit's key", "`manage.py unit key UNIT` writes a new one")
    return unit


def _unit_joined(request: HttpRequest, cluster_manager: str) -> ProcessingUnit:
    """Return the unit that a cluster manager may join with the key it presents."""
    unit = join_keys.unit_joined(_bearer(request), cluster_manager)
    if unit is None or request.META.get(UNIT_SERVED, unit.name) != unit.name:
        return _unit_of(request)
    return unit


def _attempt_of(request: HttpRequest, job: int, number: int) -> Attempt:
    attempt = find_attempt(job, number, _bearer(request))
    if attempt is None or request.META.get(UNIT_SERVED, attempt.job.unit.name) != attempt.job.unit.name:
        raise _Refused(401, f"this is not the token of attempt {number} of job {job}", "drop the attempt")
    return attempt


def _json(message: BaseModel) -> HttpResponse:
    return HttpResponse(message.model_dump_json(), content_type="application/json")


def _error(status: int, error: str, hint: str) -> HttpResponse:
    return JsonResponse({"error": error, "hint": hint}, status=status)
