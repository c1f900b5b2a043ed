"""The page of what a night lacks: a matrix of recipe by chip, and one button that fills the gaps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.models import Product
from processing_units.frontend.models import Batch, Job, ProcessingUnit, Run

ASKED = "/converge/?instrument=simcam&night=2026-03-14&kind=BiasFrame"


@pytest.fixture
def biases(make_product: Callable[..., Product], unit: ProcessingUnit) -> list[Product]:
    """Three biases of a chip."""
    return [make_product() for _ in range(3)]


def test_the_gaps_are_shown_and_filled_by_one_button(
    browser_of: Callable[..., Client], anna: User, biases: list[Product]
) -> None:
    browser = browser_of(anna)
    assert 'value="2026-03-14"' in browser.get("/converge/").content.decode()
    page = browser.get(ASKED)
    assert page.context["rows"] == [("ReadNoise", [[("waiting", "1 gap")]]), ("Bias", [[("unlimited", "to come")]])]
    asked = {"instrument": "simcam", "night": "2026-03-14", "kind": "BiasFrame", "key": page.context["key"]}
    for _ in range(2):
        answer = browser.post("/converge/", asked)
        assert answer.status_code == 302
    batch = Batch.objects.get()
    assert answer["Location"] == f"/batches/{batch.pk}/"
    assert (Run.objects.get().recipe, Job.objects.count()) == ("ReadNoise", 1)
    page = browser.get(answer["Location"]).content.decode()
    assert "follows by itself" in page
    assert "awrecipe converge BiasFrame --night 2026-03-14 --instrument simcam" in page
    assert browser.post(f"/batches/{batch.pk}/again/").status_code == 422
    assert browser.get(f"/batches/new/?from={batch.pk}").status_code == 302


@pytest.mark.parametrize("asked", ["night=2026-03-15", "night=soon", "night=2026-03-14&kind=RawBias"])
def test_what_cannot_be_is_told(
    asked: str, browser_of: Callable[..., Client], anna: User, biases: list[Product]
) -> None:
    answer = browser_of(anna).get(f"/converge/?instrument=simcam&{asked}")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert browser_of(anna).post("/converge/", {"instrument": "simcam", "night": "soon"}).status_code == 422
    posted = browser_of(anna).post("/converge/", {"instrument": "simcam", "night": "2026-03-15"})
    assert (posted.status_code, Batch.objects.count()) == (404, 0)
