"""Upload of raw frames, one a request: checked, understood, stored as they are, entered once; and of catalogues."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from ninja import Router, Status
from pydantic import BaseModel

from archive.catalogues.ingest import Directions, ingest_catalogue
from archive.context import visible
from archive.ingest import BadRequest, Ingested, Outcome, Refused, ingest_file
from archive.instruments.generic import BadCamera, camera_from_toml
from archive.reduced.ingest import ingest_reduced
from archive.reduced.reading import PARTS, WEIGHT_TYPES, ReducedFiles
from archive.translation.camera import Camera
from awportal.api.authentication import context_of_request, user_of
from awportal.api.errors import Refusal
from awportal.api.multipart import file_part, multipart_form, text_part
from awportal.api.products import ProductInformation, describe_all
from dataserver.store import Store
from processing_units.frontend.quotas import require_bytes

router = Router(tags=["ingest"])

_LARGEST_CAMERA_FILE = 64 * 1024
# What a multipart form adds to its file.
_FORM_BYTES = 256 * 1024
_LONGEST_NAME = 1000

_CAMERA = "a camera's TOML file"
_INSTRUMENT = text_part("where the header does not tell")
_FORM = multipart_form(
    ["file"],
    file=file_part("one FITS file, as it is"),
    path=text_part("its name with its folder, as the user knows it"),
    type=text_part("its type, where the header does not tell"),
    instrument=_INSTRUMENT,
    sha256=text_part("of the file, to be compared on arrival"),
    camera=file_part(_CAMERA),
)
_CATALOGUE_FORM = multipart_form(
    ["file", "name"],
    file={
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "description": "FITS table, VOTable or text with named columns; its parts, if several",
    },
    name=text_part("the catalogue's name"),
    columns=text_part("which column is what, like ra=RAJ2000,dec=DEJ2000,V=Vmag,V_error=e_Vmag"),
    system=text_part(enum=["", "Vega", "AB"]),
    epoch=text_part("of its positions, like 2000.0"),
    use=text_part("astrometry, photometry, or both with a comma"),
)
_REDUCED_FORM = multipart_form(
    ["image"],
    image=file_part("the reduced exposure, FITS"),
    weight=file_part("where it is another file"),
    mask=file_part("where it is another file"),
    weight_type=text_part(enum=["", *WEIGHT_TYPES]),
    instrument=_INSTRUMENT,
    camera=file_part(f"{_CAMERA}, which tells what the values of the mask mean"),
)


class IngestAnswer(BaseModel):
    """What became of the file: its products (one a chip), and notes on how its header was read."""

    outcome: Literal["ingested", "there"]
    products: list[ProductInformation]
    notes: list[str]


@router.post("/ingest", response={201: IngestAnswer, 200: IngestAnswer}, openapi_extra=_FORM)
def ingest(request: HttpRequest) -> Status[IngestAnswer]:
    """Ingest one raw frame; sent twice, it is there once. What cannot be understood is refused with the reason."""
    upload = _uploaded(request)
    context = context_of_request(request)
    name = request.POST.get("path", "")[-_LONGEST_NAME:] or upload.name or "unnamed"
    try:
        outcome = ingest_file(
            upload.file,
            name,
            context,
            Store(settings.DATA_ROOT),
            instrument=_camera(request) or request.POST.get("instrument") or None,
            type=request.POST.get("type") or None,
        )
    except BadRequest as problem:
        raise Refusal(400, str(problem)) from None
    return _answered(request, outcome)


def _answered(request: HttpRequest, outcome: Outcome, *, of_several: bool = False) -> Status[IngestAnswer]:
    """Return the answer that tells what became of a file, or raise the refusal; of several files it says which."""
    if isinstance(outcome, Refused):
        hint = outcome.hint
        if outcome.suggested_type and "suggest" not in hint:
            hint = f"{hint}; its name suggests {outcome.suggested_type}".removeprefix("; ")
        if of_several:
            raise Refusal(400, f"{outcome.name}: {outcome.reason}", hint=hint)
        raise Refusal(400, outcome.reason, hint=hint, field="file")
    ours = visible(context_of_request(request)).filter(pk__in=outcome.products)
    products = describe_all(request, ours.order_by("pk"))
    is_new = isinstance(outcome, Ingested)
    answer = IngestAnswer(outcome="ingested" if is_new else "there", products=products, notes=outcome.notes)
    return Status(201 if is_new else 200, answer)


@router.post("/ingest/catalogue", response={201: IngestAnswer, 200: IngestAnswer}, openapi_extra=_CATALOGUE_FORM)
def ingest_a_catalogue(request: HttpRequest) -> Status[IngestAnswer]:
    """Ingest one reference catalogue, from one file or from several that are its parts."""
    _refuse_large(request)
    given = {name: request.POST.get(name, "") for name in ("name", "columns", "system", "epoch", "use")}
    uploads = [upload for upload in request.FILES.getlist("file") if isinstance(upload, UploadedFile)]
    sources = [(upload.file, (upload.name or "unnamed")[-_LONGEST_NAME:]) for upload in uploads]
    try:
        outcome = ingest_catalogue(
            sources, Directions.parse(**given), context_of_request(request), Store(settings.DATA_ROOT)
        )
    except BadRequest as problem:
        raise Refusal(400, str(problem)) from None
    return _answered(request, outcome, of_several=True)


@router.post("/ingest/reduced", response={201: IngestAnswer, 200: IngestAnswer}, openapi_extra=_REDUCED_FORM)
def ingest_a_reduced_exposure(request: HttpRequest) -> Status[IngestAnswer]:
    """Ingest an exposure that others reduced: image, weight and mask become a frame and its weight of each chip."""
    _refuse_large(request)
    files = {
        part: (upload.file, (upload.name or "unnamed")[-_LONGEST_NAME:])
        for part in PARTS
        if isinstance(upload := request.FILES.get(part), UploadedFile)
    }
    if "image" not in files:
        raise Refusal(400, "there is no image in the request", hint="send it as part `image`", field="image")
    given = ReducedFiles(
        files["image"], files.get("weight"), files.get("mask"), request.POST.get("weight_type", "").strip()
    )
    instrument = _camera(request) or request.POST.get("instrument") or None
    try:
        outcome = ingest_reduced(given, context_of_request(request), Store(settings.DATA_ROOT), instrument)
    except BadRequest as problem:
        raise Refusal(400, str(problem)) from None
    return _answered(request, outcome)


def _refuse_large(request: HttpRequest) -> None:
    """Refuse what is too large for the portal, or comes from a user whose files have reached their limit."""
    require_bytes(user_of(request).pk)
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if length > settings.MAX_UPLOAD_BYTES + _FORM_BYTES:
        largest = settings.MAX_UPLOAD_BYTES // 2**20
        raise Refusal(
            413,
            f"the file is larger than the {largest} MiB that this portal takes",
            hint="an administrator can raise AWPORTAL_MAX_UPLOAD_MIB",
            field="file",
        )


def _uploaded(request: HttpRequest) -> UploadedFile[Any]:
    """Return the uploaded file, whole and as it was sent; its size is looked at before a byte of it is read."""
    _refuse_large(request)
    upload = request.FILES.get("file")
    if not isinstance(upload, UploadedFile):
        raise Refusal(
            400, "there is no file in the request", hint="send it as multipart/form-data, part `file`", field="file"
        )
    expected = request.POST.get("sha256", "").lower()
    if expected and hashlib.file_digest(upload.file, "sha256").hexdigest() != expected:  # type: ignore[arg-type]
        raise Refusal(400, "the file arrived damaged: its sha256 is another", hint="send it again", field="sha256")
    upload.file.seek(0)
    return upload


def _camera(request: HttpRequest) -> Camera | None:
    upload = request.FILES.get("camera")
    if not isinstance(upload, UploadedFile):
        return None
    if (upload.size or 0) > _LARGEST_CAMERA_FILE:
        raise Refusal(413, "the camera's file is larger than 64 KiB", field="camera")
    try:
        return camera_from_toml(upload.read().decode())
    except (BadCamera, UnicodeDecodeError) as problem:
        raise Refusal(400, f"the camera's file: {problem}", hint="docs/cameras.md shows one", field="camera") from None
