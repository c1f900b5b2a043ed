"""Users' own code at the frontend: who ships, what is kept, where its jobs go, and that its results stay in MyDB."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archive.context import Context, context_of
from archive.models import Membership, Privilege, Product, Profile, Project
from dataserver.store import Store
from processing_units.code_shipping.packing import pack
from processing_units.contract import Claim, ClusterManagerUp, Submission
from processing_units.frontend import bundles, keeping
from processing_units.frontend.bundles import (
    accept_bundle,
    find_bundle,
    is_accepted,
    keep_bundle,
    remove_bundle,
    visible_bundles,
)
from processing_units.frontend.claim import claim
from processing_units.frontend.cluster_managers import up
from processing_units.frontend.models import ProcessingUnit, Run
from processing_units.frontend.refusals import NotAllowed, NotFound, TooLate
from processing_units.frontend.retry import retry_failed
from processing_units.frontend.status import run_status
from processing_units.frontend.submit import plan, submit
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import Claimed, biases, claimed, make_user, submitted

pytestmark = pytest.mark.django_db


def tree(text: bytes = b"x = 1\n") -> io.BytesIO:
    return io.BytesIO(pack([("recipes/mine.py", text), ("Environment.cfg", b"[global]\n")]).content)


@pytest.fixture
def shipper(db: None) -> Context:
    """A user of type 3."""
    return context_of(make_user("sue", Profile.UserType.SHIPS_CODE))


def node_up(unit: ProcessingUnit, *, sandbox: bool, node: str = "node1") -> None:
    up(unit, ClusterManagerUp(cluster_manager=f"manager of {node}", node=node, slots=2, sandbox=sandbox))


def test_a_tree_is_kept_once_however_it_was_packed(shipper: Context, store: Store) -> None:
    first = keep_bundle(tree(), shipper)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("recipes") if hasattr(archive, "mkdir") else None
        archive.writestr("recipes/mine.py", b"x = 1\n")
        archive.writestr("Environment.cfg", b"[global]\n")
    assert keep_bundle(other, shipper).pk == first.pk
    assert store.has(first.digest)
    assert first.files == 2
    assert [entry["change"] for entry in first.contents] == ["new", "new"]
    assert "+x = 1" in first.differences


def test_what_a_bundle_changes_of_the_standard_code_is_kept(shipper: Context, store: Store) -> None:
    from recipes import bias

    changed = Path(bias.__file__).read_bytes() + b"# mine\n"
    bundle = keep_bundle(io.BytesIO(pack([("recipes/bias.py", changed)]).content), shipper)
    [entry] = bundle.contents
    assert (entry["change"], entry["added"], entry["removed"]) == ("changed", 1, 0)
    assert "+# mine" in bundle.differences


def test_types_1_and_2_ship_no_code(context: Context, store: Store) -> None:
    with pytest.raises(NotAllowed, match="ship no code"):
        keep_bundle(tree(), context)
    with pytest.raises(NotAllowed, match="ship no code"):
        submitted(context, code="0" * 64)


def test_what_breaks_a_rule_is_refused_with_the_file(shipper: Context, store: Store) -> None:
    bad = io.BytesIO()
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("../evil.py", b"1")
    with pytest.raises(UsageError, match=r"\.\./evil\.py"):
        keep_bundle(bad, shipper)
    assert list(store.listing()) == []


def test_bundles_are_counted_against_the_user(shipper: Context, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAXIMUM_BYTES_A_USER", 1000)
    keep_bundle(tree(b"a" * 300), shipper)
    with pytest.raises(UsageError, match="with this one they would take more"):
        keep_bundle(tree(b"b" * 600), shipper)
    keep_bundle(tree(b"a" * 300), shipper)  # the same again takes nothing


def test_another_s_digest_gives_no_right_to_it(shipper: Context, store: Store) -> None:
    bundle = keep_bundle(tree(), shipper)
    other = context_of(make_user("tom", Profile.UserType.SHIPS_CODE))
    with pytest.raises(NotFound, match="you have shipped no code"):
        submitted(other, code=bundle.digest)
    assert list(visible_bundles(other)) == []
    with pytest.raises(NotFound):
        find_bundle(bundle.pk, other)


def test_only_a_node_with_a_sandbox_gets_shipped_code(shipper: Context, unit: ProcessingUnit, store: Store) -> None:
    bundle = keep_bundle(tree(), shipper)
    run = submitted(shipper, code=bundle.digest)
    node_up(unit, sandbox=False)
    assert claim(unit, Claim(cluster_manager="manager of node1", node="node1")) is None
    assert "whose sandbox takes users' own code" in run_status(run).reason
    standard = submitted(shipper)
    assert Claimed(claim(unit, Claim(cluster_manager="manager of node1", node="node1"))).job.run == standard  # type: ignore[arg-type]
    node_up(unit, sandbox=True, node="node2")
    spec = claimed(unit, "node2").spec
    assert spec.code_digest == bundle.digest
    assert spec.code is not None
    assert (spec.code.sha256, spec.code.size) == (bundle.digest, bundle.file_size)
    assert f"/files/{bundle.digest}?" in spec.code.url
    assert "signature=" in spec.code.url or "sig" in spec.code.url


def test_results_go_to_mydb_whatever_was_asked_and_tell_the_code(
    shipper: Context, unit: ProcessingUnit, store: Store
) -> None:
    assert shipper.user is not None
    project = Project.objects.create(name="KIDS")
    Membership.objects.create(project=project, user=shipper.user, is_manager=True)
    bundle = keep_bundle(tree(), shipper)
    asked = replace(shipper, project=project)
    run = submitted(asked, code=bundle.digest, privilege=Privilege.WORLD)
    assert run.privilege == Privilege.MYDB
    # Even if somebody had written another level into the run, the commit decides by its code.
    Run.objects.update(privilege=Privilege.WORLD, project=project)
    node_up(unit, sandbox=True)
    claimed(unit).commit(store)
    product = Product.objects.get(made_by_run=run.pk)
    assert (product.privilege, product.project, product.code_digest) == (Privilege.MYDB, None, bundle.digest)


def test_a_retry_runs_from_the_same_code(shipper: Context, unit: ProcessingUnit, store: Store) -> None:
    from processing_units.contract import FaultKind

    bundle = keep_bundle(tree(), shipper)
    run = submitted(shipper, code=bundle.digest)
    node_up(unit, sandbox=True)
    claimed(unit).fail(FaultKind.USAGE)
    assert retry_failed(run, shipper).code_digest == bundle.digest


def test_a_project_manager_accepts(shipper: Context, store: Store) -> None:
    assert shipper.user is not None
    bundle = keep_bundle(tree(), shipper)
    boss, stranger = make_user("boss"), make_user("stranger")
    project = Project.objects.create(name="KIDS")
    Membership.objects.create(project=project, user=shipper.user)
    Membership.objects.create(project=project, user=boss, is_manager=True)
    Membership.objects.create(project=Project.objects.create(name="other"), user=stranger, is_manager=True)
    for nobody in (context_of(stranger), shipper):
        with pytest.raises(NotAllowed):
            accept_bundle(bundle, nobody)
    assert not is_accepted(bundle.digest, shipper.user.pk)
    accept_bundle(find_bundle(bundle.pk, context_of(boss)), context_of(boss))
    assert is_accepted(bundle.digest, shipper.user.pk)
    bundle.refresh_from_db()
    assert bundle.accepted_by == boss


def test_a_bundle_goes_only_if_no_run_used_it_and_its_file_is_not_collected_before(
    shipper: Context, unit: ProcessingUnit, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "STAGING_KEPT_SECONDS", -10.0)
    used, unused = keep_bundle(tree(), shipper), keep_bundle(tree(b"y = 2\n"), shipper)
    keeping.collect()
    assert store.has(used.digest)
    assert store.has(unused.digest)
    submitted(shipper, code=used.digest)
    with pytest.raises(TooLate, match="a run used this code"):
        remove_bundle(used, shipper)
    remove_bundle(unused, shipper)
    keeping.collect()
    assert store.has(used.digest)
    assert not store.has(unused.digest)


@pytest.mark.parametrize(
    ("entries", "parameters", "expected"),
    [
        ({"Bias.sigma_clip": "4"}, {}, 4.0),
        ({"bias.sigma_clip": "4"}, {}, 4.0),
        ({"Bias.sigma_clip": "4"}, {"sigma_clip": 5}, 5.0),
        ({"Dark.sigma_clip": "4"}, {}, 3.0),
    ],
)
def test_environment_cfg_gives_parameters_where_nothing_else_was_said(
    context: Context, unit: ProcessingUnit, entries: dict[str, str], parameters: dict[str, Any], expected: float
) -> None:
    assert context.user is not None
    asked = Submission(recipe="Bias", inputs={"": biases(context.user)}, parameters=parameters, environment=entries)
    assert plan(asked, context).parameters["sigma_clip"] == expected


def test_environment_cfg_chooses_context_and_unit(context: Context, unit: ProcessingUnit) -> None:
    assert context.user is not None
    project = Project.objects.create(name="KIDS")
    Membership.objects.create(project=project, user=context.user)
    entries = {"project": "KIDS", "privilege": "project", "unit": "local"}
    asked = Submission(recipe="Bias", inputs={"": biases(context.user)}, environment=entries)
    run = submit(asked, context)
    assert (run.project, run.privilege, run.unit_reason) == (project, Privilege.PROJECT, "you chose it")
    assert run.submission["environment"] == entries


def test_environment_cfg_gives_no_more_than_the_user_may(context: Context, unit: ProcessingUnit) -> None:
    assert context.user is not None
    Project.objects.create(name="KIDS")
    inputs = {"": biases(context.user)}
    for entries, said in [
        ({"project": "KIDS"}, "you are in no project"),
        ({"project": "nowhere"}, "you are in no project"),
        ({"privilege": "4"}, "cannot be published"),
        ({"privilege": "9"}, "is no privilege"),
        ({"unit": "other"}, "there is no unit"),
        ({"Bias.sigma_clip": "many"}, "is not a number"),
    ]:
        with pytest.raises(UsageError, match=said):
            submit(Submission(recipe="Bias", inputs=inputs, environment=entries), context)
    beginner = context_of(make_user("new", Profile.UserType.STANDARD))
    with pytest.raises(NotAllowed, match="users of type 1"):
        submit(Submission(recipe="Bias", inputs={"": biases(beginner.user)}, environment={"Bias.sigma_clip": "4"}),  # type: ignore[arg-type]
               beginner)  # fmt: skip
