"""Users' own code: upload of a bundle, once a tree, and what became of it."""

from __future__ import annotations

from datetime import datetime

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from ninja import Router, Status
from pydantic import BaseModel

from awportal.api.authentication import context_of_request
from awportal.api.errors import Refusal
from awportal.api.multipart import file_part, multipart_form
from processing_units.code_shipping.rules import MAXIMUM_ARCHIVE_BYTES
from processing_units.frontend.bundles import keep_bundle, require_shipping, visible_bundles
from processing_units.frontend.models import CodeBundle

router = Router(tags=["code"])

_FORM_BYTES = 64 * 1024
_MOST = 500
_FORM = multipart_form(["file"], file=file_part("a zip file of recipes/ and more"))


class BundleInformation(BaseModel):
    """A bundle of somebody's code."""

    id: int
    digest: str
    owner: str
    files: int
    bytes: int
    changed: list[str]
    new: list[str]
    created: datetime
    accepted_by: str
    accepted_at: datetime | None


class BundleList(BaseModel):
    """Bundles, the newest first."""

    items: list[BundleInformation]


@router.post("/code", response={201: BundleInformation, 200: BundleInformation}, openapi_extra=_FORM)
def upload_code(request: HttpRequest) -> Status[BundleInformation]:
    """Take a bundle; the same tree, sent again, is the same bundle (200)."""
    context = context_of_request(request)
    require_shipping(context)
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAXIMUM_ARCHIVE_BYTES + _FORM_BYTES:
        raise Refusal(413, f"a bundle has at most {MAXIMUM_ARCHIVE_BYTES // 10**6} MB",
                      hint="ship code and configuration alone", field="file")  # fmt: skip
    upload = request.FILES.get("file")
    if not isinstance(upload, UploadedFile) or upload.file is None:
        raise Refusal(400, "there is no file in the request", hint="send it as part `file`", field="file")
    before = CodeBundle.objects.filter(owner=context.user).count()
    bundle = keep_bundle(upload.file, context)  # type: ignore[arg-type]
    is_new = CodeBundle.objects.filter(owner=context.user).count() > before
    return Status(201 if is_new else 200, _told(bundle))


@router.get("/code", response=BundleList)
def list_code(request: HttpRequest) -> BundleList:
    """List one's bundles, and those of the members of projects that one manages."""
    return BundleList(
        items=[_told(found) for found in visible_bundles(context_of_request(request)).order_by("-pk")[:500]]
    )


@router.get("/code/{digest}", response=BundleInformation)
def one_code(request: HttpRequest, digest: str) -> BundleInformation:
    """Return one's own bundle of that digest; 404 says that it has to be sent."""
    context = context_of_request(request)
    found = CodeBundle.objects.filter(owner=context.user, digest=digest).first()
    if found is None:
        raise Refusal(404, f"you have shipped no code {digest[:12]!r}", hint="send it: POST /code", field="digest")
    return _told(found)


def _told(bundle: CodeBundle) -> BundleInformation:
    def paths(change: str) -> list[str]:
        return [entry["path"] for entry in bundle.contents if entry["change"] == change]

    return BundleInformation(
        id=bundle.pk,
        digest=bundle.digest,
        owner=bundle.owner.get_username(),
        files=bundle.files,
        bytes=bundle.file_size,
        changed=paths("changed"),
        new=paths("new"),
        created=bundle.created,
        accepted_by=bundle.accepted_by.get_username() if bundle.accepted_by else "",
        accepted_at=bundle.accepted_at,
    )
