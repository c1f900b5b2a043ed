"""The pages of batches: an editor that says which line is wrong, a plan to agree to, the whole as it stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.models import Product
from awportal.batch_examples import EXAMPLES
from processing_units.frontend.models import Batch, Job, ProcessingUnit, Run

BIASES = "run('ReadNoise', frames(kind='RawBias'))\n"


@pytest.fixture
def anna_s(browser_of: Callable[..., Client], anna: User) -> Client:
    """Anna's browser."""
    return browser_of(anna)


@pytest.fixture
def biases(make_product: Callable[..., Product], unit: ProcessingUnit) -> list[Product]:
    """Two biases of each of two chips."""
    chips = ("ccd1", "ccd2", "ccd1", "ccd2")
    return [make_product(chip=chip, attributes={"instrument": "simcam", "chip": chip}) for chip in chips]


def planned(client: Client, text: str, **given: str) -> Batch:
    answer = client.post("/batches/new/", {"text": text, "language": "star", "name": "x", "key": "k1", **given})
    assert answer.status_code == 302, answer.content.decode()
    return Batch.objects.get(pk=int(answer["Location"].split("/")[2]))


def test_from_the_editor_to_the_runs(anna_s: Client, biases: list[Product]) -> None:
    batch = planned(anna_s, BIASES, name="noise")
    page = anna_s.get(f"/batches/{batch.pk}/").content.decode()
    assert "<b>2 jobs</b> in <b>1 run</b>" in page
    assert Run.objects.count() == 0
    for _ in range(2):
        assert anna_s.post(f"/batches/{batch.pk}/make/", {"digest": batch.plan["digest"]}).status_code == 302
    assert (Run.objects.count(), Job.objects.count()) == (1, 2)
    page = anna_s.get(f"/batches/{batch.pk}/").content.decode()
    assert 'hx-trigger="every 2s"' in page
    run = Run.objects.get()
    assert f'href="/runs/{run.pk}/"' in page
    assert f'href="/batches/{batch.pk}/"' in anna_s.get(f"/runs/{run.pk}/").content.decode()
    Job.objects.filter(ordinal=1).update(state="failed", reason="it broke")
    part = anna_s.get(f"/batches/{batch.pk}/", headers={"HX-Request": "true"}).content.decode()
    assert "1 job failed." in part
    assert "it broke" in part
    anna_s.post(f"/batches/{batch.pk}/retry/")
    anna_s.post(f"/batches/{batch.pk}/cancel/")
    assert sorted(Job.objects.values_list("state", flat=True)) == ["cancelled", "cancelled", "failed"]
    assert "noise" in anna_s.get("/batches/").content.decode()


def test_the_wrong_line_is_marked_and_what_was_written_stays(anna_s: Client, biases: list[Product]) -> None:
    text = "x = 1\r\nrun('ReadNoises', 1)\r\n# <i>end\r\n"
    answer = anna_s.post("/batches/new/", {"text": text, "language": "star", "name": "x", "key": "k1"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'data-error-line="2"' in page
    assert "<mark>2 ▸ run(&#x27;ReadNoises&#x27;, 1)</mark>" in page
    assert "# &lt;i&gt;end" in page
    assert Batch.objects.count() == 0
    for wrong in ({"language": "perl"}, {"text": "x = '\0'"}, {"text": "x" * 100_001}):
        answer = anna_s.post("/batches/new/", {"text": "x = 1", "language": "star", "name": "x", "key": "k", **wrong})
        assert answer.status_code == 422


def test_jobs_that_cannot_run_are_shown_and_left_out(anna_s: Client, biases: list[Product]) -> None:
    batch = planned(anna_s, f"run('ReadNoise', {[product.pk for product in biases[:3]]})")
    page = anna_s.get(f"/batches/{batch.pk}/").content.decode()
    assert "1 cannot run" in page
    assert "Make the other 1 job" in page
    anna_s.post(f"/batches/{batch.pk}/make/", {"digest": batch.plan["digest"], "leave_out": "yes"})
    assert Job.objects.count() == 1


def test_what_has_changed_is_shown_anew(anna_s: Client, biases: list[Product]) -> None:
    batch = planned(anna_s, BIASES)
    answer = anna_s.post(f"/batches/{batch.pk}/make/", {"digest": "another"}, follow=True)
    assert "The archive has changed" in answer.content.decode()
    assert Run.objects.count() == 0


def test_the_same_again_and_a_new_one_from_it(anna_s: Client, biases: list[Product]) -> None:
    batch = planned(anna_s, BIASES)
    answer = anna_s.post(f"/batches/{batch.pk}/again/")
    again = Batch.objects.get(pk=int(answer["Location"].split("/")[2]))
    assert again.plan["digest"] == batch.plan["digest"]
    assert "run(&#x27;ReadNoise&#x27;" in anna_s.get(f"/batches/new/?from={batch.pk}").content.decode()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.key)
def test_examples_work_on_the_newest_night(
    example: object, anna_s: Client, make_product: Callable[..., Product], unit: ProcessingUnit
) -> None:
    for number, kind in enumerate(("RawBias", "RawBias", "RawBias", "RawScience", "ReducedScienceFrame")):
        make_product(kind=kind, filter_name="" if number < 3 else "r", exposure_time=20.0)
    key, language = example.key, example.language  # type: ignore[attr-defined]
    page = anna_s.get(f"/batches/new/?example={key}")
    batch = planned(anna_s, page.context["form"]["text"], language=language)
    assert (batch.plan["problems"], batch.plan["jobs"] > 0) == (0, True)


def test_hostile_text_does_nothing(anna_s: Client, batch: Batch) -> None:
    for path in (f"/batches/{batch.pk}/", "/batches/", f"/batches/new/?from={batch.pk}"):
        page = anna_s.get(path).content.decode()
        assert "<script>alert" not in page
        assert "<b>lists" not in page
        assert "\x1b" not in page or path.startswith("/batches/new")
