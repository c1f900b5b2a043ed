"""``python -m tests.walk.filling``: people of every role, and of all that pages show something, in a reduced night.

Prints as JSON who is logged in with which session, and what routes are to be filled with. Runs beside the portal, with
its settings; what takes hours to come about (a run that failed half, jobs that wait) is written into the database.
"""

from __future__ import annotations

import datetime
import io
import json
import os

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "awportal.settings")
django.setup()

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402

from archive.context import context_of  # noqa: E402
from archive.models import Membership, Privilege, Product, Profile, Project, SavedSelection, Validity  # noqa: E402
from awportal.environment import keep_environment  # noqa: E402
from awportal.models import JoinRequest  # noqa: E402
from awportal.tokens import make_token  # noqa: E402
from processing_units.contract import BatchMakeRequest, BatchRequest  # noqa: E402
from processing_units.frontend import batches  # noqa: E402
from processing_units.frontend.clock import database_now  # noqa: E402
from processing_units.frontend.models import (  # noqa: E402
    Attempt,
    Batch,
    CachingDataServer,
    CodeBundle,
    Job,
    JobInput,
    LogChunk,
    Notice,
    NoticeChoice,
    ProcessingUnit,
    Run,
)
from processing_units.frontend.notices.texts import address_token  # noqa: E402

PASSWORD = "a long sentence indeed"
# Text of a user or a header that would do something where it were not made harmless (S7).
HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m"
ROLES = {
    "type 1": {"user_type": 1},
    "type 2": {"user_type": 2},
    "type 3": {"user_type": 3},
    "type 4": {"user_type": 4},
    "project manager": {"user_type": 2, "manages_project": True},
    "process manager": {"user_type": 2, "is_staff": True},
    "administrator": {"user_type": 2, "is_staff": True, "is_superuser": True},
}
OWNER = "type 4"


def main() -> None:
    """Fill the portal and tell what is where."""
    project = Project.objects.create(
        name="survey", description="The small survey of the simulated camera.", is_listed=True
    )
    people = {role: _person(role, project, **given) for role, given in ROLES.items()}
    owner = people[OWNER]
    _give_all_to(owner, project)
    unit = _units(owner)
    JoinRequest.objects.create(
        project=project,
        user=User.objects.create_user("newcomer"),
        words=f"I took the night. {HOSTILE}",
        made=database_now(),
    )
    run = _half_failed_run(owner, project, ProcessingUnit.objects.get(name="local"))
    _waiting_run(owner, unit)
    planned, made = _batches(owner)
    bundle = _bundle(owner)
    _token, _text = make_token(owner, f"laptop {HOSTILE}")
    SavedSelection.objects.create(key="walk", name="ccd1 in r", owner=owner, filters={"chip": "ccd1"})
    night = Product.objects.filter(kind="RawScience").order_by("pk")[0]
    print(
        json.dumps(
            {
                "cookie": settings.SESSION_COOKIE_NAME,
                "sessions": {role: _session(user) for role, user in people.items()},
                "password": PASSWORD,
                "owner": owner.username,
                "raw": night.pk,
                "places": {
                    "products/<int:pk>": [f"products/{pk}" for pk in _one_of_each_kind()],
                    "<int:other>": [str(_one_of_each_kind("RawScience")[-1])],
                    "runs/<int:pk>": [f"runs/{pk}" for pk in _runs(run)],
                    "<int:ordinal>": ["1"],
                    "batches/<int:pk>": [f"batches/{planned.pk}", f"batches/{made.pk}"],
                    "code/<int:pk>": [f"code/{bundle.pk}"],
                    "recipes/<slug:name>": ["recipes/Bias", "recipes/Reduce", "recipes/Science"],
                    "units/<slug:name>": ["units/local", f"units/{unit.name}"],
                    "<path:instrument>/<slug:night>": [f"{night.instrument}/{night.night}"],
                    "<slug:role>": ["raw_bias"],
                    "projects/<int:pk>": [f"projects/{project.pk}"],
                    "people/<int:pk>": [f"people/{owner.pk}"],
                    "<slug:uidb64>/<slug:token>": ["MQ/a-b"],
                    "help/<path:name>": ["help/users", "help/batches", "help/performance"],
                    "<str:token>": [_notices(owner, run)],
                },
            }
        )
    )


def _person(role: str, project: Project, *, user_type: int, manages_project: bool = False, **given: bool) -> User:
    user = User.objects.create_user(role.replace(" ", "_"), password=PASSWORD, **given)
    Profile.objects.update_or_create(user=user, defaults={"user_type": user_type, "project": project})
    Membership.objects.create(user=user, project=project, is_manager=manages_project)
    return user


def _session(user: User) -> str:
    """Return the key of a session in which the user is logged in."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def _give_all_to(owner: User, project: Project) -> None:
    """Let the night be the owner's, its raw frames public, the rest the project's; one is bad, one of a bad name."""
    Run.objects.filter(user__username="astronomer").update(user=owner, project=project, privilege=Privilege.PROJECT)
    Product.objects.update(creator=owner, project=project, privilege=Privilege.PROJECT)
    Product.objects.filter(kind__startswith="Raw").update(privilege=Privilege.WORLD)
    bias = Product.objects.filter(kind="BiasFrame").order_by("pk")[0]
    Product.objects.filter(pk=bias.pk).update(is_valid=Validity.BAD)
    Product.objects.filter(lineage__source=bias).update(stale_because=bias.pk)
    last = Product.objects.filter(kind="RawScience").order_by("pk").last()
    if last is not None:
        last.object_name, last.attributes = HOSTILE, {**last.attributes, "object": HOSTILE}
        last.save(update_fields=["object_name", "attributes"])


def _one_of_each_kind(*only: str) -> list[int]:
    others = Product.objects.exclude(kind="ReducedScienceFrame").order_by("kind")
    kinds = only or ("ReducedScienceFrame", *others.values_list("kind", flat=True).distinct())
    return [Product.objects.filter(kind=kind).order_by("-pk")[0].pk for kind in kinds]


def _runs(half_failed: Run) -> list[int]:
    reduce = Run.objects.filter(recipe="Reduce", jobs__state="done").order_by("pk").values_list("pk", flat=True)
    return [half_failed.pk, half_failed.pk + 1, *reduce[:1]]


def _units(owner: User) -> ProcessingUnit:
    """Make a unit of a LAN whose frontend is silent, and a caching data server that nobody answers for."""
    CachingDataServer.objects.create(
        name="near", address="http://127.0.0.1:1", peer="near-1", registered_at=database_now(), registered_by=owner
    )
    hosts = [{"name": "dome", "host": "10.0.0.7", "slots": 2}]
    return ProcessingUnit.objects.create(
        name="afar", alias="Cluster far away", port=8199, key_hash="x", kind="lan", kind_settings={"hosts": hosts}
    )


def _half_failed_run(owner: User, project: Project, unit: ProcessingUnit) -> Run:
    now = database_now()
    biases = list(Product.objects.filter(kind="RawBias").order_by("pk")[:4])
    run = Run.objects.create(
        user=owner, project=project, privilege=Privilege.PROJECT, recipe="Bias", recipe_version="1", unit=unit,
        unit_reason="the only unit", idempotency_key="walk half failed", submitted=now, ended=now, remark=HOSTILE,
        parameters={"sigma_clip": 3.0},
        submission={"recipe": "Bias", "inputs": {"raw_bias": [bias.pk for bias in biases]}},
    )  # fmt: skip
    for ordinal, state in enumerate(("failed", "failed", "done", "cancelled"), 1):
        job = Job.objects.create(
            run=run, unit=unit, ordinal=ordinal, label=f"ccd{ordinal}", state=state, created=now, started=now,
            ended=now, attempt=2, failures=2 if state == "failed" else 0,
            reason="fewer than three frames are left after rejection" if state == "failed" else "",
            hint="add frames, or take a larger sigma_clip" if state == "failed" else "",
        )  # fmt: skip
        JobInput.objects.create(job=job, product=biases[ordinal - 1], role="raw_bias")
        for number in (1, 2):
            attempt = Attempt.objects.create(
                job=job, ordinal=number, node=f"node{number}", token_hash=f"walk {ordinal} {number}", started=now,
                ended=now, outcome="usage" if state == "failed" else "done", message="fewer than three frames",
            )  # fmt: skip
            LogChunk.objects.create(
                attempt=attempt,
                first_byte=0,
                text=f"20:00:00.000 begin\n{HOSTILE}\nUsageError: fewer than three frames\n",
            )
    return run


def _waiting_run(owner: User, unit: ProcessingUnit) -> Run:
    now = database_now()
    run = Run.objects.create(
        user=owner, recipe="ReadNoise", recipe_version="1", unit=unit, unit_reason="as you asked",
        idempotency_key="walk waiting", submitted=now,
        submission={"recipe": "ReadNoise", "inputs": {"raw_bias": []}},
    )  # fmt: skip
    lease = now + datetime.timedelta(days=1)
    Job.objects.create(run=run, unit=unit, ordinal=1, label="ccd1", created=now)
    Job.objects.create(
        run=run, unit=unit, ordinal=2, label="ccd2", state="running", created=now, started=now, attempt=1,
        lease_until=lease, progress=0.4, stage="stacking",
    )  # fmt: skip
    return run


def _batches(owner: User) -> tuple[Batch, Batch]:
    """Draft two batches of one script, and make one."""
    context = context_of(owner)
    text = "for chip in ['ccd1', 'ccd2']:\n    run('ReadNoise', frames(kind='RawBias', chip=chip))\n"
    planned = batches.draft(BatchRequest(text=text, language="star", name=f"two chips {HOSTILE}"), context)
    made = batches.draft(BatchRequest(text=text, language="star", name="two chips"), context)
    return planned, batches.make(made, BatchMakeRequest(digest=made.plan["digest"], leave_out=True), context)


def _notices(owner: User, run: Run) -> str:
    """Let the owner be told of runs: one mail went out, a webhook did not; return what confirms the address."""
    address = "owner@example.org"
    NoticeChoice.objects.create(user=owner, runs="failed", address=address, webhook="https://example.org/hook")
    Notice.objects.create(user=owner, way="mail", occasion="mail walk", run=run, sent=database_now(), tries=1)
    Notice.objects.create(
        user=owner, way="webhook", occasion="webhook walk", run=run, tries=9, given_up=database_now(),
        problem=f"it answered with status 500 {HOSTILE}",
    )  # fmt: skip
    return address_token(owner.pk, address)


def _bundle(owner: User) -> CodeBundle:
    keep_environment(io.BytesIO(b"[global]\ndatabase_password : x\n[Bias]\nsigma_clip : 4.5\n"), context_of(owner))
    return CodeBundle.objects.create(
        owner=owner, digest="ab" * 32, file_size=1000, files=1, compared_with="cd" * 32,
        contents=[{"path": "<b>x.txt", "size": 10, "change": "new", "added": 1, "removed": 0}],
        differences="--- /dev/null\n+++ bundle/<b>x.txt\n@@ -0,0 +1 @@\n+<script>alert(1)</script>\x1b[31m",
    )  # fmt: skip


if __name__ == "__main__":
    main()
