"""Bring frames: several files at once, each with its own result and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from archive.catalogues.ingest import Directions, ingest_catalogue
from archive.catalogues.product import SYSTEMS
from archive.context import context_of
from archive.ingest import TYPES, BadRequest, Outcome, Refused, ingest_many, night_summary
from archive.instruments.catalogue import all_cameras
from awportal.htmx import wants_part
from awportal.stored_files import the_store
from dataserver.errors import DataServerError
from processing_units.frontend.quotas import require_bytes
from processing_units.frontend.refusals import NotNow


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest) -> HttpResponse:
    """Show the form; ingest what was sent."""
    given = {"instrument": request.POST.get("instrument", "").strip(), "type": request.POST.get("type", "").strip()}
    answer: dict[str, Any] = {"given": given, "types": TYPES, "maximum": settings.MAX_UPLOAD_BYTES}
    answer["instruments"] = list(all_cameras())
    answer["systems"] = SYSTEMS
    status = 200
    if request.method == "POST":
        files = request.FILES.getlist("files")
        try:
            require_bytes(request.user.pk or 0)
            answer["outcomes"] = _outcomes(request, files, given) if files else []
            answer["counts"] = night_summary(answer["outcomes"])
            answer["nothing_sent"] = not files
            answer["ours"] = [number for outcome in answer["outcomes"] for number in getattr(outcome, "products", [])]
        except BadRequest as refused:
            answer["error"] = str(refused)
        except NotNow as problem:
            answer["error"] = f"{problem.message}; {problem.hint}"
        except DataServerError as problem:
            answer["error"] = f"{problem.message}; what came before it is in the archive"
        status = 422 if "error" in answer or not files else 200
    return render(request, "parts/outcomes.html" if wants_part(request) else "upload.html", answer, status=status)


def _outcomes(request: HttpRequest, files: list[UploadedFile], given: dict[str, str]) -> list[Outcome]:
    if "catalogue" not in request.POST:
        return _ingest(request, files, given)
    of_catalogue = {name: request.POST.get(name, "") for name in ("columns", "system", "epoch", "use")}
    directions = Directions.parse(request.POST["catalogue"], **of_catalogue)
    sources = [(_source(file), file.name or "unnamed") for file in files]
    return [ingest_catalogue(sources, directions, context_of(request.user), the_store(), settings.MAX_UPLOAD_BYTES)]


def _ingest(request: HttpRequest, files: list[UploadedFile], given: dict[str, str]) -> list[Outcome]:
    fitting = [file for file in files if (file.size or 0) <= settings.MAX_UPLOAD_BYTES]
    sources = [(_source(file), file.name or "unnamed.fits") for file in fitting]
    context = context_of(request.user)
    outcomes = list(ingest_many(sources, context, the_store(), given["instrument"] or None, given["type"] or None))
    largest = f"a file may have at most {settings.MAX_UPLOAD_BYTES >> 20} MiB here"
    too_large = [Refused(file.name or "", largest, "use awrecipe ingest") for file in files if file not in fitting]
    return outcomes + too_large


def _source(file: UploadedFile) -> Any:
    """Return where the upload lies on disk, or the small one in memory."""
    return Path(file.temporary_file_path()) if isinstance(file, TemporaryUploadedFile) else file.file
