"""Publishing: who raises which product to which level, what is held back and for how long, and what is kept of it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from archive.context import Context, context_of
from archive.models import Lineage, Membership, Privilege, Product, Profile, Project
from archive.queries import codes_behind
from dataserver.store import Store
from processing_units.code_shipping.packing import pack
from processing_units.contract import ClusterManagerUp, Submission
from processing_units.frontend.bundles import accept_bundle, keep_bundle
from processing_units.frontend.cluster_managers import up
from processing_units.frontend.models import CodeBundle, ProcessingUnit, Run
from processing_units.frontend.publishing import open_levels, publications_of, publish, unaccepted_code
from processing_units.frontend.refusals import NotAllowed, NotFound
from processing_units.frontend.submit import plan, submit
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import claimed, make_product, make_user, submitted

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(db: None) -> Project:
    """A project of a manager (boss) and of sue, a member of type 3."""
    return Project.objects.create(name="KIDS")


@pytest.fixture
def boss(project: Project) -> Context:
    """The project's manager, in its context."""
    user = make_user("boss", project=project)
    Membership.objects.create(project=project, user=user, is_manager=True)
    return context_of(user)


@pytest.fixture
def sue(project: Project) -> Context:
    """A member of the project who ships code, in its context."""
    user = make_user("sue", Profile.UserType.SHIPS_CODE, project)
    Membership.objects.create(project=project, user=user)
    return context_of(user)


@pytest.fixture
def bundle(sue: Context, store: Store) -> CodeBundle:
    """Code of sue's that nobody has accepted."""
    return keep_bundle(io.BytesIO(pack([("recipes/mine.py", b"x = 1\n")]).content), sue)


def made_of(product: Product, *sources: Product, code: str = "") -> Product:
    """Write down that a job made `product` from `sources`."""
    for ordinal, source in enumerate(sources):
        Lineage.objects.create(product=product, source=source, role="input", ordinal=ordinal)
    Product.objects.filter(pk=product.pk).update(made_by_job=product.pk, code_digest=code)
    return Product.objects.get(pk=product.pk)


def level_of(product: Product) -> int:
    return Product.objects.get(pk=product.pk).privilege


def test_a_product_rises_level_by_level_by_those_who_may_and_each_step_is_kept(
    sue: Context, boss: Context, project: Project
) -> None:
    assert sue.user is not None
    product = make_product(sue.user)
    with pytest.raises(NotFound):  # a manager sees nothing of MyDB
        publish([product.pk], Privilege.WORLD, boss)
    with pytest.raises(NotAllowed, match="only a manager of KIDS shows it to the world"):
        publish([product.pk], Privilege.WORLD, sue)
    assert level_of(product) == Privilege.MYDB
    assert open_levels(product, sue) == [Privilege.PROJECT, Privilege.ALL_USERS]
    assert publish([product.pk], Privilege.PROJECT, sue) == 1
    assert Product.objects.get(pk=product.pk).project == project
    assert publish([product.pk], Privilege.VO, boss) == 1
    assert publish([product.pk], Privilege.WORLD, boss) == 0  # nothing goes down
    steps = publications_of(product).values_list("who", "value_before", "value_after", "project__name")
    assert list(steps) == [
        ("sue", "1", "2", "KIDS"),
        ("boss", "2", "3", "KIDS"),
        ("boss", "3", "4", "KIDS"),
        ("boss", "4", "5", "KIDS"),
    ]
    assert level_of(product) == Privilege.VO


def test_what_belongs_to_no_project_goes_to_all_users_and_no_further(context: Context) -> None:
    assert context.user is not None
    product = make_product(context.user)
    with pytest.raises(NotAllowed, match="belongs to no project"):
        publish([product.pk], Privilege.PROJECT, context)
    with pytest.raises(NotAllowed, match="only a manager of a project"):
        publish([product.pk], Privilege.WORLD, context)
    assert publish([product.pk], Privilege.ALL_USERS, context) == 1
    assert publications_of(product).values_list("value_before", "value_after").get() == ("1", "3")


def test_a_project_that_is_not_one_s_own_cannot_be_named(sue: Context, context: Context, project: Project) -> None:
    assert context.user is not None
    assert sue.user is not None
    stranger_s = make_product(context.user)
    for name in ("KIDS", "nowhere"):
        with pytest.raises(NotAllowed, match=f"in no project {name}"):
            publish([stranger_s.pk], Privilege.PROJECT, context, name)
    other = Project.objects.create(name="other")
    Membership.objects.create(project=other, user=sue.user, is_manager=True)
    hers = make_product(sue.user, project=project)
    with pytest.raises(NotAllowed, match="belongs to project KIDS"):  # to be its manager elsewhere helps nothing
        publish([hers.pk], Privilege.WORLD, sue, "other")


def test_all_of_them_or_none(sue: Context, context: Context) -> None:
    assert sue.user is not None
    assert context.user is not None
    his = make_product(context.user, privilege=Privilege.ALL_USERS)
    hers = make_product(sue.user)
    with pytest.raises(NotAllowed, match="only its creator"):
        publish([hers.pk, his.pk], Privilege.WORLD, sue)
    with pytest.raises(NotFound, match="no product 99999"):
        publish([hers.pk, 99999], Privilege.ALL_USERS, sue)
    with pytest.raises(UsageError, match="no level to publish to"):
        publish([hers.pk], Privilege.MYDB, sue)
    with pytest.raises(UsageError, match="are more than"):
        publish(range(1, 5002), Privilege.ALL_USERS, sue)
    with pytest.raises(NotAllowed, match="visitors"):
        publish([hers.pk], Privilege.ALL_USERS, Context())
    assert level_of(hers) == Privilege.MYDB
    assert not publications_of(hers).exists()


def test_results_of_shipped_code_wait_until_a_manager_has_accepted_it(
    sue: Context, boss: Context, bundle: CodeBundle
) -> None:
    assert sue.user is not None
    product = made_of(make_product(sue.user, "BiasFrame"), code=bundle.digest)
    with pytest.raises(
        NotAllowed, match=f"made with the code {bundle.digest[:12]} of sue, which no project"
    ) as refusal:
        publish([product.pk], Privilege.PROJECT, sue)
    assert "accept it" in refusal.value.hint
    accept_bundle(bundle, boss)
    assert publish([product.pk], Privilege.PROJECT, sue) == 1


def test_the_hold_is_inherited_however_far_down(sue: Context, boss: Context, bundle: CodeBundle) -> None:
    assert sue.user is not None
    raw = make_product(sue.user)
    own = made_of(make_product(sue.user, "BiasFrame"), raw, code=bundle.digest)
    step = made_of(make_product(sue.user, "DomeFlatFrame"), own)
    last = made_of(make_product(sue.user, "ReducedScienceFrame"), raw, step)
    beside = made_of(make_product(sue.user, "BiasFrame"), raw)
    assert codes_behind([last.pk]) == {(sue.user.pk, bundle.digest)}
    assert [str(code.digest) for code in unaccepted_code([last.pk])] == [bundle.digest]
    assert unaccepted_code([raw.pk, beside.pk]) == []
    with pytest.raises(NotAllowed, match="cannot be published"):
        publish([beside.pk, last.pk], Privilege.ALL_USERS, sue)
    assert publish([beside.pk], Privilege.ALL_USERS, sue) == 1
    accept_bundle(bundle, boss)
    assert publish([last.pk], Privilege.ALL_USERS, sue) == 1


def test_code_is_accepted_for_its_owner_alone(sue: Context, boss: Context, bundle: CodeBundle) -> None:
    """The same tree of another user, whom nobody vouched for, is another bundle."""
    tom = make_user("tom", Profile.UserType.SHIPS_CODE)
    accept_bundle(bundle, boss)
    his = made_of(make_product(tom), code=bundle.digest)
    with pytest.raises(NotAllowed, match="of tom"):
        publish([his.pk], Privilege.ALL_USERS, context_of(tom))


def test_a_standard_recipe_on_results_of_unaccepted_code_ends_in_mydb_whatever_was_asked(
    sue: Context, boss: Context, bundle: CodeBundle, unit: ProcessingUnit, store: Store
) -> None:
    assert sue.user is not None
    frames = [make_product(sue.user, store=store) for _ in range(2)]
    asked = Submission(recipe="ReadNoise", inputs={"": [frame.pk for frame in frames]}, privilege=Privilege.ALL_USERS)
    assert plan(asked, sue).held_back == ""
    made_of(frames[0], code=bundle.digest)
    assert "stay in MyDB" in plan(asked, sue).held_back
    assert plan(asked.model_copy(update={"privilege": 1}), sue).held_back == ""
    run = submit(asked, sue)
    up(unit, ClusterManagerUp(cluster_manager="manager of node1", node="node1", slots=2))
    claimed(unit).commit(store)
    product = Product.objects.get(made_by_run=run.pk)
    assert (run.privilege, product.privilege, product.code_digest) == (Privilege.ALL_USERS, Privilege.MYDB, "")
    with pytest.raises(NotAllowed, match=bundle.digest[:12]):
        publish([product.pk], Privilege.ALL_USERS, sue)
    accept_bundle(bundle, boss)
    assert plan(asked, sue).held_back == ""
    again = submit(asked.model_copy(update={"idempotency_key": "again"}), sue)
    claimed(unit).commit(store)
    assert Product.objects.get(made_by_run=again.pk).privilege == Privilege.ALL_USERS


def test_results_of_accepted_code_go_to_mydb_first(
    sue: Context, boss: Context, bundle: CodeBundle, unit: ProcessingUnit, store: Store
) -> None:
    accept_bundle(bundle, boss)
    run = submitted(replace(sue, privilege=Privilege.PROJECT), code=bundle.digest)
    up(unit, ClusterManagerUp(cluster_manager="manager of node1", node="node1", slots=2, sandbox=True))
    claimed(unit).commit(store)
    product = Product.objects.get(made_by_run=run.pk)
    assert (Run.objects.get(pk=run.pk).privilege, product.privilege) == (Privilege.MYDB, Privilege.MYDB)
    assert publish([product.pk], Privilege.PROJECT, sue) == 1
