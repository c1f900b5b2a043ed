"""What a job gets besides its primary inputs: by sky, by the job that made its frame, by the run; a named one wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from astropy import units
from astropy_healpix import lonlat_to_healpix
from django.contrib.auth.models import User

from archive.context import Context
from archive.models import Lineage, Product
from archive.reduced.ingest import BELONGS_TO
from processing_units.contract import Submission
from processing_units.frontend.models import ProcessingUnit
from processing_units.frontend.submit import plan, submit
from recipes.catalogue import all_recipes
from recipes.errors import UsageError
from recipes.recipe import Input, Recipe
from tests.processing_units.frontend.conftest import make_product

pytestmark = pytest.mark.django_db


def align(frame: Any, weight: Any = None, reference_catalogue: Any = None, alignment_frame: Any = None, *,
          grid: str = "") -> None:  # fmt: skip
    """Bring a frame to the run's grid.

    Parameters
    ----------
    grid : str, optional
        Settled for the run where it is empty.
    """


def settle(parameters: dict[str, Any], frames: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {**parameters, "grid": parameters["grid"] or "+".join(str(frame["chip"]) for frame in frames)}


def with_coordinates(frames: Sequence[Mapping[str, Any]]) -> list[int | None]:
    best = next((place for place, frame in enumerate(frames) if frame.get("ra") is not None), None)
    return [None if frame.get("ra") is not None else best for frame in frames]


ALIGN = Recipe(
    name="Align",
    version="1",
    function=align,
    inputs=(
        Input("frame", ("ReducedScienceFrame", "RegriddedFrame"), primary=True),
        Input("weight", ("WeightFrame",), minimum=0, chosen_by="job"),
        Input("reference_catalogue", ("ReferenceCatalogue",), minimum=0, chosen_by="sky", use="astrometry"),
        Input("alignment_frame", ("ReducedScienceFrame",), minimum=0, chosen_by="run"),
    ),
    outputs=("RegriddedFrame",),
    split_by=("product",),
    settle=settle,
    choose_in_run=with_coordinates,
)


@pytest.fixture(autouse=True)
def with_that_recipe(monkeypatch: pytest.MonkeyPatch, unit: ProcessingUnit) -> None:
    """The catalogue of recipes has the one of these tests besides."""
    monkeypatch.setitem(all_recipes(), "Align", ALIGN)


def frame(user: User, chip: str = "1", kind: str = "ReducedScienceFrame", **attributes: Any) -> Product:
    return make_product(user, kind, attributes={"chip": chip, "filter": "V", **attributes})


def catalogue(user: User, name: str, ra: float, dec: float, **told: Any) -> Product:
    cell = int(lonlat_to_healpix(ra * units.deg, dec * units.deg, 2**11, order="nested"))
    attributes = {
        "instrument": "", "chip": "", "night": None, "date_obs": None, "catalogue": name, "use": ["astrometry"],
        "star_count": 40, "coverage_order": 11, "coverage": [cell], "coverage_counts": [40], "ra": ra, "dec": dec,
        **told,
    }  # fmt: skip
    return make_product(user, "ReferenceCatalogue", attributes=attributes)


def asked(*frames: Product, **named: list[int]) -> Submission:
    return Submission(recipe="Align", inputs={"frame": [product.pk for product in frames], **named})


def chosen(submission: Submission, context: Context, role: str) -> list[tuple[int | None, str]]:
    return [
        (choice.product, choice.reason)
        for job in plan(submission, context).jobs
        for choice in job.calibrations
        if choice.role == role
    ]


def test_parameters_that_all_jobs_share_are_settled_once(user: User, context: Context) -> None:
    frames = [frame(user, chip) for chip in "312"]
    run = submit(asked(*frames), context)
    assert run.jobs.count() == 3
    assert run.parameters == {"grid": "3+1+2"}
    assert plan(asked(*frames), context).parameters == {"grid": "3+1+2"}
    told = asked(*frames).model_copy(update={"parameters": {"grid": "mine"}})
    assert plan(told, context).parameters == {"grid": "mine"}


def test_a_frame_without_coordinates_goes_by_the_runs_best(user: User, context: Context) -> None:
    lost, found = frame(user, "1"), frame(user, "2", ra=10.0, dec=2.0)
    assert chosen(asked(lost, found), context, "alignment_frame") == [
        (found.pk, "of the run's 2 frames the one to go by"),
        (None, "none of the run's frames is needed for it"),
    ]
    named = frame(user, "7", ra=10.0, dec=2.0)
    assert (
        chosen(asked(lost, found, alignment_frame=[named.pk]), context, "alignment_frame")
        == [(named.pk, "you named it")] * 2
    )


def test_a_catalogue_is_chosen_by_the_sky_that_it_covers(user: User, context: Context) -> None:
    here, there = catalogue(user, "here", 10.0, 2.0), catalogue(user, "there", 190.0, -2.0)
    first, second = frame(user, "1", ra=10.0, dec=2.0), frame(user, "1", ra=190.01, dec=-2.0)
    nowhere, unknown = frame(user, "1", ra=100.0, dec=50.0), frame(user, "1")
    answers = chosen(asked(first, second, nowhere, unknown), context, "reference_catalogue")
    assert [product for product, _ in answers] == [here.pk, there.pk, None, None]
    assert answers[2][1].startswith("no catalogue for astrometry has stars within 17.0′ of RA 100.0000 Dec +50.0000")
    assert answers[3][1] == "the frame does not tell where it points"
    named = asked(first, reference_catalogue=[there.pk])
    assert chosen(named, context, "reference_catalogue") == [(there.pk, "you named it")]


def test_a_weight_fits_only_the_kind_of_frame_that_it_belongs_to(user: User, context: Context) -> None:
    by_job = {"made_by_job": 5, "made_by_run": 1}
    given = {"chip": "1", "filter": "V"}
    regridded = make_product(user, "RegriddedFrame", attributes=given, **by_job)
    own = make_product(user, "WeightFrame", attributes={**given, "belongs_to": "RegriddedFrame"}, **by_job)
    make_product(user, "WeightFrame", attributes=given, **by_job)
    assert chosen(asked(regridded), context, "weight") == [(own.pk, f"made together with {regridded.name}")]
    reduced = frame(user)
    with pytest.raises(UsageError, match=f"{own.name} is of a frame that is a RegriddedFrame, not ReducedScienceFrame"):
        submit(asked(reduced, weight=[own.pk]), context)


def test_what_came_in_together_belongs_together(user: User, context: Context) -> None:
    reduced, other = frame(user), frame(user)
    weight = make_product(user, "WeightFrame", attributes={"filter": "V"})
    Lineage.objects.create(product=weight, source=reduced, role=BELONGS_TO)
    assert [product for product, _ in chosen(asked(reduced, other), context, "weight")] == [weight.pk, None]
