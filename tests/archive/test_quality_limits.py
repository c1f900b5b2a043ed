"""Limits are learned from a chip's own valid history, set by an administrator, and the more precise one holds."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from archive.context import Context
from archive.models import Measurement, Product, QualityLimit, Validity
from archive.quality_limits import BadLimit, Scope, clear, learn, limits_for, set_limit, shown

pytestmark = pytest.mark.django_db

Make = Callable[..., Product]
CAM = Scope("cam", "ccd1")


@pytest.fixture
def manager(alice: User) -> Context:
    """Alice as administrator."""
    alice.is_staff = True
    alice.save()
    return Context(alice)


def history(make: Make, kind: str, name: str, values: list[float], **given: object) -> list[Product]:
    made = []
    for night, value in enumerate(values):
        date = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC) + datetime.timedelta(days=night)
        product = make(kind=kind, date_obs=date, **given)
        Measurement.objects.create(product=product, name=name, measured=value)
        made.append(product)
    return made


def test_learned_limits_are_median_and_robust_sigmas(manager: Context, make_product: Make) -> None:
    values = list(np.random.default_rng(1).normal(5.0, 0.1, 40))
    values[7] = 50.0  # one bad night moves neither
    history(make_product, "ReadNoise", "read_noise", values)
    (proposal,) = (found for found in learn(manager, CAM) if found.measurement == "read_noise")
    middle = statistics.median(values)
    sigma = 1.4826 * statistics.median(abs(value - middle) for value in values)
    assert (proposal.minimum, proposal.maximum) == pytest.approx((middle - 5 * sigma, middle + 5 * sigma))
    row = QualityLimit.objects.get(measurement="read_noise")
    assert (row.source, row.learned_from, row.chip, row.set_by) == ("learned", 40, "ccd1", manager.user)
    found = limits_for(["ReadNoise"], "cam", "ccd1")
    assert found.limits["ReadNoise.maximum_read_noise"] == row.maximum
    assert found.origins["ReadNoise.read_noise"]["source"] == "learned"
    assert not limits_for(["ReadNoise"], "cam", "ccd2").limits
    assert not limits_for(["ReadNoise"], "other", "ccd1").limits


def test_learning_again_keeps_the_day_where_nothing_changed(manager: Context, make_product: Make) -> None:
    history(make_product, "ReadNoise", "read_noise", [5.0, 5.1, 4.9, 5.0, 5.2])
    learn(manager, CAM)
    first = QualityLimit.objects.get()
    learn(manager, CAM)
    assert QualityLimit.objects.get().since == first.since
    learn(manager, CAM, sigmas=3.0)
    assert QualityLimit.objects.get().since > first.since


def test_what_was_called_bad_or_flagged_is_no_history(manager: Context, make_product: Make) -> None:
    history(make_product, "ReadNoise", "read_noise", [5.0] * 4)
    history(make_product, "ReadNoise", "read_noise", [9.0] * 3, is_valid=Validity.BAD)
    history(make_product, "ReadNoise", "read_noise", [9.0] * 3, quality_flags=2)
    history(make_product, "ReadNoise", "read_noise", [9.0] * 3, code_digest="0" * 64)
    (proposal,) = learn(manager, CAM)
    assert (proposal.products, proposal.reason) == (4, "4 products, 5 are needed")
    history(make_product, "ReadNoise", "read_noise", [5.2], quality_flags=2, is_valid=Validity.GOOD)
    (proposal,) = learn(manager, CAM)
    assert (proposal.products, proposal.reason) == (5, "")
    # Four equal values: the least scatter, a hundredth of the value, stands for the deviation.
    assert (proposal.minimum, proposal.maximum) == pytest.approx((4.75, 5.25))


def test_no_limit_is_looser_than_the_published_one_or_absurd(manager: Context, make_product: Make) -> None:
    history(make_product, "BiasFrame", "stdev", [1.0, 9.0, 2.0, 8.0, 5.0])
    history(make_product, "BiasFrame", "mean", [0.1, -0.2, 0.1, 0.0, -0.1], chip="ccd2")
    history(make_product, "DarkFrame", "dark_current", [1.0, 9.0, 2.0, 18.0, 5.0])
    found = {(entry.measurement, entry.scope.chip): entry for entry in learn(manager, Scope("cam"))}
    assert (found["stdev", "ccd1"].minimum, found["stdev", "ccd1"].maximum) == (0.001, 10.0)
    symmetric = found["mean", "ccd2"]
    assert symmetric.minimum == -(symmetric.maximum or 0)
    assert symmetric.maximum == pytest.approx(5 * 1.4826 * 0.1)
    assert "scatters by" in found["dark_current", "ccd1"].reason


def test_a_set_limit_goes_before_a_learned_one_and_the_more_precise_before_the_general(
    manager: Context, make_product: Make
) -> None:
    history(make_product, "DomeFlatFrame", "subwindow_flatness", [0.1, 0.11, 0.09, 0.1, 0.1], filter_name="V")
    set_limit(manager, "DomeFlatFrame", "subwindow_flatness", Scope("cam"), None, 0.4)
    set_limit(manager, "DomeFlatFrame", "subwindow_flatness", Scope("cam", "ccd1", "V"), None, 0.3)
    learn(manager, CAM)
    key = "DomeFlatFrame.maximum_subwindow_flatness"
    assert limits_for(["DomeFlatFrame"], "cam", "ccd1", "V").limits == {key: 0.3}
    assert limits_for(["DomeFlatFrame"], "cam", "ccd1", "R").limits == {key: 0.4}
    assert limits_for(["DomeFlatFrame"], "cam", "ccd9", "V").limits == {key: 0.4}
    assert limits_for(["BiasFrame"], "cam", "ccd1").limits == {}
    assert [row.maximum for row in shown(Scope("cam"))] == [0.4, 0.3]
    assert clear(manager, Scope("cam", "ccd1")) == 1
    assert limits_for(["DomeFlatFrame"], "cam", "ccd1", "V").limits == {key: 0.4}


def test_a_dry_run_keeps_nothing(context: Context, make_product: Make) -> None:
    history(make_product, "ReadNoise", "read_noise", [5.0, 5.1, 4.9, 5.0, 5.2])
    (proposal,) = learn(context, CAM, keep=False)
    assert not proposal.reason
    assert not QualityLimit.objects.exists()


def test_only_administrators_change_limits(context: Context) -> None:
    for change in (
        lambda: set_limit(context, "BiasFrame", "stdev", CAM, None, 5.0),
        lambda: learn(context, CAM),
        lambda: clear(context, CAM),
    ):
        with pytest.raises(PermissionDenied, match="an administrator changes them"):
            change()


@pytest.mark.parametrize(
    ("kind", "name", "scope", "minimum", "maximum", "problem"),
    [
        ("Sofa", "stdev", CAM, None, 1.0, "none of the kinds"),
        ("BiasFrame", "sofa", CAM, None, 1.0, "BiasFrame has no 'sofa'; it has mean, stdev"),
        ("BiasFrame", "stdev", CAM, None, None, "a minimum, a maximum, or both"),
        ("BiasFrame", "stdev", CAM, 2.0, 1.0, "above the maximum"),
        ("BiasFrame", "stdev", CAM, None, float("nan"), "finite"),
        ("BiasFrame", "stdev", Scope(""), None, 1.0, "of which instrument"),
        ("BiasFrame", "stdev", Scope("cam", "c" * 41), None, 1.0, "is no chip"),
    ],
)
def test_what_cannot_be_a_limit_is_said(
    manager: Context, kind: str, name: str, scope: Scope, minimum: float | None, maximum: float | None, problem: str
) -> None:
    with pytest.raises(BadLimit, match=problem):
        set_limit(manager, kind, name, scope, minimum, maximum)
