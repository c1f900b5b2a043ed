"""The upload page takes a reference catalogue too."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from archive.models import Product

GIVEN = {"catalogue": "stars", "columns": "", "system": "Vega", "epoch": "2000", "use": ""}


def test_a_catalogue_goes_in_or_the_reason_is_shown(anna: User, browser_of: Callable[[User], Client]) -> None:
    browser = browser_of(anna)
    stars = SimpleUploadedFile("s.csv", b"id,ra,dec,V,B\n1,10.0,2.0,12.1,12.9\n2,10.1,2.0,13.1,13.9\n")
    page = browser.post("/archive/upload/", {"files": [stars], **GIVEN})
    assert "ReferenceCatalogue" in page.content.decode()
    wrong = browser.post("/archive/upload/", {"files": [SimpleUploadedFile("s.csv", b"x,y\n1,2\n")], **GIVEN})
    assert "there are x, y" in wrong.content.decode()
    odd = browser.post("/archive/upload/", {"files": [SimpleUploadedFile("s.csv", b"x")], **GIVEN, "epoch": "now"})
    assert "is no year like 2000.0" in odd.content.decode()
    assert Product.objects.count() == 1
