"""A unit is changed while it works: the change holds from the next claim on, no job is lost, and it is written down."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from archive.audit import Subject, changes_of
from archive.context import Context, context_of
from archive.models import Change, Privilege
from dataserver.store import Store
from processing_units.contract import Claim, JobState, RunStatus
from processing_units.frontend.cancel import cancel_on_unit, cancel_own
from processing_units.frontend.chains import continue_chains
from processing_units.frontend.claim import _take, claim
from processing_units.frontend.cluster_managers import seen
from processing_units.frontend.commit import commit
from processing_units.frontend.data_servers import register
from processing_units.frontend.models import Chain, ClusterManagerRecord, Job, ProcessingUnit, Run
from processing_units.frontend.move import move_run, units_to_move_to
from processing_units.frontend.permissions import runs_allowed_on, type_of, why_not_allowed
from processing_units.frontend.refusals import NotAllowed, NotNow, TooLate
from processing_units.frontend.retry import retry_failed
from processing_units.frontend.status import run_status
from processing_units.frontend.unit_changes import change_unit, settings_for
from processing_units.frontend.unit_settings import SETTINGS, apply_changes, shown
from recipes.errors import UsageError
from tests.processing_units.frontend.conftest import claimed, make_user, submitted, together
from tests.processing_units.frontend.test_chains import chained, reduce_one, states

pytestmark = pytest.mark.django_db
ASK = Claim(cluster_manager="manager of node1", node="node1")


@pytest.fixture
def manager(db: None) -> Context:
    """A process manager, who is no administrator."""
    user = make_user("mona")
    user.is_staff = True
    user.save()
    return context_of(user)


def change(unit: ProcessingUnit, **changes: str) -> dict[str, tuple[str, str]]:
    made = apply_changes(unit, changes, by=None, who="test", on_server=True)
    return {each.setting: (each.before, each.after) for each in made}


def standing(run: Run) -> RunStatus:
    """Return how a run stands, read anew as a request reads it."""
    return run_status(Run.objects.get(pk=run.pk))


def other_unit(name: str = "other", **given: object) -> ProcessingUnit:
    now = timezone.now()
    times = {"alive_at": now, "alive_since": now - timedelta(hours=1)}
    return ProcessingUnit.objects.create(name=name, port=8002, key_hash=name, **times, **given)


@pytest.mark.parametrize(
    ("setting", "text", "kept"),
    [
        ("accepting", "NO", "no"),
        ("slots", "12", "12"),
        ("recipes", "Bias, ReadNoise,Bias", "Bias,ReadNoise"),
        ("user_types", "3,1", "1,3"),
        ("memory", "4G", "4096"),
        ("memory", "1.5 GiB", "1536"),
        ("memory", "2048 MiB", "2048"),
        ("walltime", "1h30m", "5400"),
        ("walltime", "90m", "5400"),
        ("walltime", "45 s", "45"),
        ("walltime", "2d", "172800"),
        ("alias", " The big one ", "The big one"),
        ("default", "Reduce, *:1", "*:1,Reduce"),
        ("owner", "ann", "ann"),
        ("data_server", " near ", "near"),
        ("kind_settings", '{"niceness": 5}', '{"niceness": 5}'),
        ("port", "9000", "9000"),
    ],
)
def test_values_are_written_as_people_write_them(
    user: User, unit: ProcessingUnit, setting: str, text: str, kept: str
) -> None:
    register("near", "http://cache:9000", None)
    change(unit, **{setting: text})
    assert shown(unit)[setting] == kept
    assert change(unit, **{setting: kept}) == {}, "what is shown can be typed again"


@pytest.mark.parametrize(
    ("setting", "text", "told"),
    [
        ("accepting", "perhaps", "accepting: 'perhaps' is neither yes nor no"),
        ("slots", "-1", "slots: '-1' is no whole number from 0 to 100000"),
        ("slots", "٣", "slots: '٣' is no whole number"),
        ("slots", "9" * 5000, "slots: "),
        ("recipes", "Bies", "recipes: there is no recipe 'Bies'"),
        ("user_types", "2,7", "user_types: user type '7' is none of 1, 2, 3, 4"),
        ("memory", "1", "memory: '1' is no memory from 64 MiB on"),
        ("walltime", "", "walltime: '' is no time from a second to a year"),
        ("walltime", "tomorrow", "walltime: 'tomorrow' is no time"),
        ("alias", "a\nb", "alias: at most 100 characters of one line"),
        ("default", "Bies:2", "default: there is no recipe 'Bies'"),
        ("default", "Bias:9", "default: user type '9' is none of 1, 2, 3, 4"),
        ("owner", "nobody", "owner: there is no user 'nobody'"),
        ("data_server", "http://cache:9000", "data_server: there is no data server 'http://cache:9000'"),
        ("kind_settings", "[1]", "kind_settings: a JSON object is wanted"),
        ("kind_settings", "{", "kind_settings: this is no JSON"),
        ("colour", "red", "a unit has no setting 'colour'"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_changed(
    unit: ProcessingUnit, setting: str, text: str, told: str
) -> None:
    with pytest.raises(UsageError) as refused:
        change(unit, **{"slots": "7", setting: text})
    assert refused.value.message.startswith(told)
    assert refused.value.hint
    unit.refresh_from_db()
    assert unit.slots == 0
    assert not Change.objects.exists()


def test_it_is_written_down_who_changed_what(unit: ProcessingUnit, manager: Context) -> None:
    change_unit(unit, {"slots": "4", "accepting": "yes"}, manager)
    change_unit(unit, {"accepting": "no"}, manager)
    rows = Change.objects.order_by("pk").values_list("who", "what", "value_before", "value_after")
    assert list(rows) == [("mona", "slots", "0", "4"), ("mona", "accepting", "yes", "no")]
    assert abs((timezone.now() - Change.objects.earliest("pk").made).total_seconds()) < 60
    User.objects.filter(username="mona").delete()
    assert Change.objects.filter(who="mona", user=None).count() == 2


def test_who_may_change_what(unit: ProcessingUnit, user: User, context: Context, manager: Context) -> None:
    with pytest.raises(NotAllowed, match="only a process manager changes unit local"):
        change_unit(unit, {"slots": "4"}, context)
    with pytest.raises(UsageError, match="goes with programs that are started on the server"):
        change_unit(unit, {"port": "4000"}, manager)
    change(unit, owner="ann")
    change_unit(unit, {"slots": "4", "recipes": "Bias"}, context)
    for setting, text in (("owner", ""), ("user_types", "1"), ("default", "*"), ("data_server", "near")):
        with pytest.raises(NotAllowed, match=f"{setting}: only a process manager"):
            change_unit(unit, {setting: text}, context)
    names = {setting.name for setting in settings_for(unit, manager)}
    assert names == {setting.name for setting in SETTINGS.values() if not setting.on_server_only}


def test_no_more_run_than_the_unit_has_slots(context: Context, unit: ProcessingUnit, store: Store) -> None:
    run = submitted(context, jobs=4)
    change(unit, slots="2")
    first, _ = claimed(unit), claimed(unit, node="node2")
    assert claim(unit, ASK) is None
    assert "unit local is full, 1st in line" in standing(run).jobs[2].reason
    change(unit, slots="3")
    claimed(unit)
    change(unit, slots="1")
    assert claim(unit, ASK) is None
    first.commit(store)
    assert claim(unit, ASK) is None, "two run still, where one is allowed: none was killed for it"
    assert run.jobs.filter(state=JobState.RUNNING).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_race_of_claims_takes_no_more_than_the_slots(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context, jobs=12)
    change(unit, slots="3")
    taken = together(8, lambda place: claim(unit, Claim(cluster_manager=f"m{place}", node=f"n{place}")))
    assert not [each for each in taken if isinstance(each, Exception)]
    assert sum(each is not None for each in taken) == 3
    assert run.jobs.filter(state=JobState.RUNNING).count() == 3


def test_a_change_holds_for_a_claim_that_read_the_unit_before(context: Context, unit: ProcessingUnit) -> None:
    submitted(context, jobs=4)
    stale = ProcessingUnit.objects.get()
    change(unit, memory="8192", walltime="60")
    spec = claim(stale, ASK)
    assert spec is not None
    assert (spec.limits.memory_mib, spec.limits.wall_seconds) == (8192, 60)
    for changes in ({"accepting": "no"}, {"accepting": "yes", "recipes": "Bias"}, {"recipes": "", "owner": "bob"}):
        make_user("bob") if "owner" in changes else None
        stale = ProcessingUnit.objects.get()
        change(unit, **changes)
        assert claim(stale, ASK) is None


def test_a_drained_unit_ends_what_runs_and_keeps_what_waits(
    context: Context, unit: ProcessingUnit, store: Store
) -> None:
    run = submitted(context, jobs=2)
    one = claimed(unit)
    change(unit, accepting="no")
    assert claim(unit, ASK) is None
    assert "unit local is drained" in standing(run).jobs[1].reason
    one.commit(store)
    assert claim(unit, ASK) is None
    with pytest.raises(NotNow, match="accepts no jobs at the moment"):
        submitted(context)
    change(unit, accepting="yes")
    claimed(unit).commit(store)
    assert standing(run).state == "done"


def test_jobs_that_the_rules_are_against_say_so_and_can_be_moved(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    run = submitted(context, jobs=3)
    running = claimed(unit)
    change(unit, recipes="Bias")
    assert claim(unit, ASK) is None
    status = standing(run)
    told = f"waiting: unit local does not run ReadNoise; move it to another unit: awrecipe units move {run.pk} UNIT"
    assert status.jobs[1].reason == told
    assert status.reason == f"1 of 3 jobs run, 2 wait; {told.removeprefix('waiting: ')}"
    other = other_unit()
    closed = other_unit("closed", accepting=False)
    assert units_to_move_to(run, context) == [other]
    with pytest.raises(NotAllowed, match="unit closed accepts no jobs"):
        move_run(run, closed.name, context)
    moved = move_run(run, "other", context)
    assert (moved.jobs, moved.running) == (2, 1)
    assert claim(unit, ASK) is None
    run.refresh_from_db()
    assert (run.unit, run.unit_reason) == (other, "moved there by ann")
    for each in (running, claimed(other), claimed(other)):
        each.commit(store)
    assert standing(run).state == "done"
    with pytest.raises(TooLate):
        move_run(run, "other", context)


def test_who_may_move_a_run(unit: ProcessingUnit, manager: Context) -> None:
    simple, ben = make_user("ann", 1), make_user("ben")
    run = submitted(context_of(simple))
    other_unit()
    with pytest.raises(NotAllowed, match="users of type 1 do not choose units"):
        move_run(run, "other", context_of(simple))
    with pytest.raises(NotAllowed, match="is ann's"):
        move_run(run, "other", context_of(ben))
    assert units_to_move_to(run, context_of(simple)) == []
    assert move_run(run, "other", manager).jobs == 1


def test_what_is_moved_to_a_unit_of_ones_own_goes_to_mydb(user: User, context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context, privilege=int(Privilege.ALL_USERS))
    other_unit(owner=user)
    move_run(run, "other", context)
    run.refresh_from_db()
    assert run.privilege == Privilege.MYDB


def test_a_claim_does_not_take_what_was_just_moved_away(context: Context, unit: ProcessingUnit) -> None:
    run = submitted(context)
    other = other_unit()
    Job.objects.update(unit=other)  # between the choice and the taking it was this unit's
    assert _take(unit, run.jobs.get().pk, 0, seen(unit, "m", "n")) is None


def test_the_rules_of_the_claim_are_those_of_the_submit(unit: ProcessingUnit) -> None:
    users = [make_user(f"type{number}", number) for number in (1, 2, 3, 4)]
    users.append(User.objects.create_user("staff", is_staff=True))
    bare = User.objects.create_user("bare")
    bare.profile.delete() if hasattr(bare, "profile") else None
    users.append(bare)
    runs = [
        Run.objects.create(
            user=each, unit=unit, recipe=recipe, recipe_version="1", idempotency_key=recipe, submitted=timezone.now()
        )
        for each, recipe in product(users, ("Bias", "Reduce"))
    ]
    owners = (None, users[1])
    for recipes, types, owner in product(([], ["Bias"]), ([], [1], [2, 4], [3]), owners):
        unit.recipes_allowed, unit.user_types_allowed, unit.owner = recipes, types, owner
        allowed = set(Run.objects.filter(runs_allowed_on(unit)))
        kinds = {each.pk: type_of(each) for each in users}
        assert allowed == {
            run for run in runs if not why_not_allowed(unit, run.recipe, run.user_id, kinds[run.user_id])
        }


def test_the_default_that_fits_best_is_taken(unit: ProcessingUnit) -> None:
    simple, chooser = (context_of(make_user(name, kind)) for name, kind in (("simple", 1), ("chooser", 2)))
    for name in ("all", "ones", "noise", "noise-ones"):
        other_unit(name)
    units = {each.name: each for each in ProcessingUnit.objects.all()}
    change(units["all"], default="*")
    assert submitted(chooser).unit.name == "all"
    change(units["ones"], default="*:1")
    assert [submitted(each).unit.name for each in (simple, chooser)] == ["ones", "all"]
    change(units["noise"], default="ReadNoise")
    change(units["noise-ones"], default="ReadNoise:1,Bias:1")
    runs = [submitted(each) for each in (simple, chooser)]
    assert [run.unit.name for run in runs] == ["noise-ones", "noise"]
    assert [run.unit_reason for run in runs] == [
        "the default for ReadNoise of users of type 1",
        "the default for ReadNoise",
    ]
    change(units["noise"], accepting="no")
    assert submitted(chooser).unit.name != "noise", "a default that takes nothing now is passed over"
    change(units["all"], default="ReadNoise:1")
    assert shown(units["noise-ones"])["default"] == "Bias:1"
    taken = changes_of(Subject.UNIT, units["noise-ones"].pk).latest("pk")
    assert (taken.value_before, taken.value_after) == ("Bias:1,ReadNoise:1", "Bias:1")


def test_a_retry_goes_to_a_unit_that_takes_it(context: Context, unit: ProcessingUnit) -> None:
    submitted(context)
    Job.objects.update(state=JobState.FAILED)
    other = other_unit()
    change(unit, recipes="Bias")
    again = retry_failed(Run.objects.get(), context)
    assert again.unit == other
    assert again.unit_reason == "the only unit that takes it; unit local does not run ReadNoise"


def test_a_chain_waits_while_its_unit_is_drained(
    user: User, context: Context, unit: ProcessingUnit, store: Store
) -> None:
    run = chained(user, context, store)
    Chain.objects.update(directions={**Chain.objects.get().directions, "unit": "local"})
    reduce_one(unit, store)
    last = claimed(unit)
    change(unit, accepting="no")
    commit(last.attempt, last.commit_message(last.stage(store, b"r", kind="ReducedScienceFrame", name="r")))
    chain = Chain.objects.get()
    assert chain.ended is None, chain.reason
    assert "waits: unit local accepts no jobs at the moment" in chain.reason
    assert states(run) == [("Reduce", "done"), ("SourceList", "waiting")]
    change(unit, accepting="yes")
    assert continue_chains() == 1
    assert states(run) == [("Reduce", "done"), ("SourceList", "queued")]
    assert Chain.objects.get().reason == ""


def test_all_of_ones_own_or_of_a_unit_is_cancelled(unit: ProcessingUnit, manager: Context) -> None:
    ann, ben = (context_of(make_user(name)) for name in ("ann", "ben"))
    submitted(ann, jobs=2)
    submitted(ann)
    his = submitted(ben, jobs=2)
    claimed(unit)
    done = cancel_own(ann)
    assert (done.runs, done.jobs) == (2, 3)
    assert standing(his).state == "queued"
    assert cancel_own(ann).jobs == 0
    with pytest.raises(NotAllowed):
        cancel_on_unit(unit, ben)
    assert cancel_on_unit(unit, manager).jobs == 2
    assert not Job.objects.filter(state__in=[JobState.QUEUED, JobState.RUNNING]).exists()


def test_a_unit_without_a_number_of_its_own_takes_what_comes(context: Context, unit: ProcessingUnit) -> None:
    submitted(context, jobs=5)
    for number in range(5):
        claimed(unit, node=f"node{number}")
    assert ClusterManagerRecord.objects.count() == 5
