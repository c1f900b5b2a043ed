"""Processing units, runs and jobs. The job row is the truth; a message is a hint."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from archive.models import Privilege, Product, Project
from processing_units.contract import FaultKind, JobState


def _choices(states: type[JobState] | type[FaultKind]) -> list[tuple[str, str]]:
    return [(state.value, state.value.replace("_", " ")) for state in states]


class CachingDataServer(models.Model):
    """A data server near some nodes, from which they read through; its identifier names the key that it was given."""

    name = models.SlugField(max_length=40, unique=True)
    address = models.CharField(max_length=200)
    peer = models.CharField(max_length=80, unique=True)
    registered_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    registered_at = models.DateTimeField()
    trouble = models.CharField(max_length=300, blank=True, help_text="what the keeper found wrong when it looked last")
    trouble_since = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class ProcessingUnit(models.Model):
    """A virtual processor with a name, an alias, a host and port.

    An empty list of recipes or user types allows all. ``key_hash`` is the sha256 of the unit's key, which is in a file.
    """

    name = models.SlugField(max_length=40, unique=True)
    alias = models.CharField(max_length=100, blank=True)
    host = models.CharField(max_length=200, default="127.0.0.1")
    port = models.PositiveIntegerField()
    kind = models.CharField(max_length=20, default="local", help_text="how its backend brings cluster managers up")
    kind_settings = models.JSONField(default=dict, blank=True, help_text="what that kind needs to know: hosts, queue")
    cluster_managers_wanted = models.PositiveIntegerField(default=1, help_text="how many its backend keeps up")
    key_hash = models.CharField(max_length=64)
    accepting = models.BooleanField(default=True)
    slots = models.PositiveIntegerField(default=0, help_text="over all its cluster managers; 0: as many as they bring")
    recipes_allowed = models.JSONField(default=list, blank=True)
    user_types_allowed = models.JSONField(default=list, blank=True)
    memory_mib = models.PositiveIntegerField(default=4096)
    wall_seconds = models.PositiveIntegerField(default=3600)
    data_server = models.ForeignKey(
        CachingDataServer,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="units",
        help_text="from which its nodes read; null: from the portal's own",
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    alive_at = models.DateTimeField(null=True, blank=True, help_text="when its frontend last said that it is alive")
    alive_since = models.DateTimeField(null=True, blank=True, help_text="since when without a gap")

    def __str__(self) -> str:
        return self.alias or self.name


class JoinKey(models.Model):
    """A key that cluster managers join a unit with, kept hashed.

    One of a ``place`` was made for a backend and is good for one cluster manager: the first that presented it. One
    without is for workers: good for any number until it is revoked.
    """

    unit = models.ForeignKey(ProcessingUnit, on_delete=models.CASCADE, related_name="join_keys")
    key_hash = models.CharField(max_length=64, unique=True)
    place = models.PositiveIntegerField(null=True, blank=True)
    cluster_manager = models.CharField(max_length=80, blank=True, help_text="the one that it is good for")
    note = models.CharField(max_length=200, blank=True)
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="when it can no longer be presented first")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["unit", "place"], name="join_key_place")]

    def __str__(self) -> str:
        return f"key of {self.unit} for {self.note or f'place {self.place}'}"


class BackendState(models.Model):
    """What a unit's backend said last of its cluster managers (``contract.PlaceReport``)."""

    unit = models.OneToOneField(ProcessingUnit, on_delete=models.CASCADE, related_name="backend_state")
    backend = models.CharField(max_length=200)
    kind = models.CharField(max_length=20)
    places = models.JSONField(default=list)
    seen_at = models.DateTimeField()
    test_wanted = models.PositiveIntegerField(default=0, help_text="number of the test that was asked for last")
    test_done = models.PositiveIntegerField(default=0, help_text="number of the test whose outcome `checks` is")
    checks = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"backend of {self.unit}"


class UnitDefault(models.Model):
    """The unit of runs for which none was named: of a recipe (``*``: all) and a type of user (0: all)."""

    recipe = models.CharField(max_length=40)
    user_type = models.PositiveSmallIntegerField(default=0)
    unit = models.ForeignKey(ProcessingUnit, on_delete=models.CASCADE, related_name="default_for")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["recipe", "user_type"], name="unit_default_once")]

    def __str__(self) -> str:
        return f"{self.unit_id} for {self.recipe} of users of type {self.user_type}"


class ClusterManagerRecord(models.Model):
    """A cluster manager that reported to a unit's frontend."""

    unit = models.ForeignKey(ProcessingUnit, on_delete=models.CASCADE, related_name="cluster_managers")
    key = models.CharField(max_length=80)
    node = models.CharField(max_length=120)
    slots = models.PositiveIntegerField()
    busy = models.PositiveIntegerField(default=0)
    load = models.FloatField(default=0.0)
    up_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    down_at = models.DateTimeField(null=True, blank=True)
    drain = models.BooleanField(default=False)
    sandbox = models.BooleanField(default=False, help_text="it takes shipped code: its sandbox was tried and holds")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["unit", "key"], name="cluster_manager_once")]

    def __str__(self) -> str:
        return f"{self.key} on {self.node}"


class CodeBundle(models.Model):
    """A user's own code, addressed by the sha256 of its packed bytes; two users with the same tree have a row each.

    ``contents`` lists its files beside the standard code's: path, size, change, lines added and removed.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="bundles")
    digest = models.CharField(max_length=64)
    file_size = models.BigIntegerField()
    files = models.PositiveIntegerField()
    contents = models.JSONField(default=list)
    differences = models.TextField(blank=True, help_text="unified diff against the standard code of that day")
    differences_cut = models.BooleanField(default=False)
    compared_with = models.CharField(max_length=64, help_text="digest of the standard recipes of that day")
    description = models.JSONField(default=list, help_text="its recipes, as its own code told them in the sandbox")
    description_problem = models.CharField(max_length=500, blank=True)
    environment = models.JSONField(default=dict, help_text="what its Environment.cfg says, as a submission has it")
    created = models.DateTimeField(auto_now_add=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="bundles_accepted"
    )
    accepted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["owner", "digest"], name="bundle_once")]
        indexes: ClassVar = [models.Index(fields=["digest"], name="bundle_digest")]

    def __str__(self) -> str:
        return self.digest[:12]


class ParameterSet(models.Model):
    """Parameters of a recipe under a name: of their owner alone, or shared with a project.

    ``entries`` are the parameters that differ from the defaults of the version they were kept for.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="parameter_sets")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, blank=True)
    recipe = models.CharField(max_length=40)
    recipe_version = models.CharField(max_length=20)
    name = models.CharField(max_length=60)
    entries = models.JSONField(default=dict)
    kept_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["owner", "recipe", "name"], name="parameter_set_once")]

    def __str__(self) -> str:
        return self.name


class Chain(models.Model):
    """Recipes that run one after the other, each on what the one before has made."""

    recipes = models.JSONField(default=list)
    directions = models.JSONField(default=dict, help_text="the message as the user sent it")
    created = models.DateTimeField()
    ended = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=1000, blank=True, help_text="why it ended before its last step")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["ended"], name="chain_open")]

    def __str__(self) -> str:
        return ">".join(self.recipes)


class Batch(models.Model):
    """Many runs asked for at once, by a script: what it said, what it was answered, what it comes to, and by whom.

    Read again with the same answers it asks for the same runs. ``made`` is empty until its user has agreed to the plan.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="batches")
    name = models.CharField(max_length=100, blank=True)
    language = models.CharField(max_length=10)
    text = models.TextField()
    digest = models.CharField(max_length=64, help_text="sha256 of language and text")
    evaluator = models.CharField(max_length=60, help_text="the version of the language that read it")
    answers = models.JSONField(default=list, help_text="the frames that it asked for, as they were then")
    wishes = models.JSONField(default=list, help_text="the runs that it asks for")
    plan = models.JSONField(default=dict, help_text="as it was shown (contract.BatchPlan)")
    idempotency_key = models.CharField(max_length=100)
    created = models.DateTimeField()
    made = models.DateTimeField(null=True, blank=True)
    told = models.DateTimeField(null=True, blank=True, help_text="when a notice of its end was written")
    goal = models.JSONField(default=dict, help_text="of a night whose gaps it fills: instrument, night, kinds, unit")
    goal_ended = models.DateTimeField(null=True, blank=True, help_text="when no gap was left that could be filled")
    goal_reason = models.CharField(max_length=1000, blank=True, help_text="why it ended before")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "idempotency_key"], name="batch_once")]
        indexes: ClassVar = [models.Index(fields=["user", "created"], name="batch_of_user")]

    def __str__(self) -> str:
        return f"batch {self.pk}"


class Run(models.Model):
    """One submission of a recipe; its state is derived from its jobs."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="runs")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, null=True, blank=True)
    privilege = models.PositiveSmallIntegerField(choices=Privilege, default=Privilege.MYDB)
    recipe = models.CharField(max_length=40)
    recipe_version = models.CharField(max_length=20)
    code_digest = models.CharField(max_length=64, blank=True, help_text="of the shipped code that it runs from")
    parameters = models.JSONField(default=dict)
    submission = models.JSONField(default=dict, help_text="the message as the user sent it")
    unit = models.ForeignKey(ProcessingUnit, on_delete=models.PROTECT, related_name="runs")
    unit_reason = models.CharField(max_length=200, blank=True)
    remark = models.CharField(max_length=500, blank=True)
    idempotency_key = models.CharField(max_length=100)
    submitted = models.DateTimeField()
    ended = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.DateTimeField(null=True, blank=True)
    chain = models.ForeignKey(Chain, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")
    chain_step = models.PositiveSmallIntegerField(default=0)
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "idempotency_key"], name="run_submitted_once")]
        indexes: ClassVar = [
            models.Index(fields=["user", "submitted"], name="run_of_user"),
            models.Index(fields=["ended", "id", "user"], name="run_open"),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"


class Job(models.Model):
    """One parallel piece of a run; its state changes as ``contract.ALLOWED_CHANGES`` says, by conditional update."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="jobs")
    unit = models.ForeignKey(ProcessingUnit, on_delete=models.PROTECT, related_name="jobs")
    ordinal = models.PositiveIntegerField(help_text="1, 2, ... within the run")
    label = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=_choices(JobState), default=JobState.QUEUED)
    reason = models.CharField(max_length=1000, blank=True)
    hint = models.CharField(max_length=1000, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True, help_text="a pause after a fault of the machine")
    cluster_manager = models.ForeignKey(ClusterManagerRecord, on_delete=models.SET_NULL, null=True, blank=True)
    failures = models.PositiveSmallIntegerField(default=0)
    lost_nodes = models.PositiveSmallIntegerField(default=0)
    progress = models.FloatField(default=0.0)
    stage = models.CharField(max_length=100, blank=True)
    created = models.DateTimeField()
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)
    left_out = models.JSONField(default=list)
    made_without = models.JSONField(default=list)
    choices_made = models.JSONField(
        default=list, help_text="the calibrations chosen, with the reason (PlannedCalibration)"
    )
    # A failed job is retried as a new job of a new run, so that no state ever goes back; one to one: at most once.
    retry_of = models.OneToOneField("self", on_delete=models.PROTECT, null=True, blank=True, related_name="retried_as")
    again_of = models.BigIntegerField(null=True, blank=True, help_text="the job that this does anew (reprocess.py)")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["run", "ordinal"], name="job_once_in_run")]
        indexes: ClassVar = [
            models.Index(fields=["unit", "state", "run"], name="job_waiting"),
            models.Index(fields=["state", "lease_until"], name="job_lease"),
            models.Index(fields=["unit", "ended"], name="job_ended"),
            models.Index(fields=["again_of"], name="job_again"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id}/{self.ordinal}"


class JobInput(models.Model):
    """An input of a job with its role."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="inputs")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="used_by_jobs")
    role = models.CharField(max_length=40)
    ordinal = models.PositiveIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["role", "ordinal"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "role", "ordinal"], name="job_input_once")]

    def __str__(self) -> str:
        return f"{self.product_id} as {self.role}"


class Attempt(models.Model):
    """One try at a job: where, when, how it ended. Its token, which dies with it, is kept hashed."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts")
    ordinal = models.PositiveIntegerField()
    cluster_manager = models.ForeignKey(ClusterManagerRecord, on_delete=models.SET_NULL, null=True)
    node = models.CharField(max_length=120)
    token_hash = models.CharField(max_length=64)
    started = models.DateTimeField()
    ended = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True, help_text="done, cancelled, expired, or a kind of fault")
    message = models.CharField(max_length=1000, blank=True)
    hint = models.CharField(max_length=1000, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    peak_memory_mib = models.FloatField(null=True, blank=True)
    log_bytes = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "ordinal"], name="attempt_once")]

    def __str__(self) -> str:
        return f"attempt {self.ordinal} of {self.job_id}"


class LogChunk(models.Model):
    """A piece of an attempt's log, brought by a heartbeat or the end; ``first_byte`` makes its arrival idempotent."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="log_chunks")
    first_byte = models.PositiveIntegerField()
    text = models.TextField()

    class Meta:
        ordering: ClassVar = ["first_byte"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["attempt", "first_byte"], name="log_chunk_once")]

    def __str__(self) -> str:
        return f"log of {self.attempt_id} from {self.first_byte}"


class Quota(models.Model):
    """What one user may have at a time, where it is not the default of the settings (null); 0 is no limit.

    ``used_bytes`` is what their files came to when they were last counted.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="quota")
    queued_jobs = models.PositiveIntegerField(null=True, blank=True)
    running_jobs = models.PositiveIntegerField(null=True, blank=True)
    stored_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    used_bytes = models.PositiveBigIntegerField(default=0)
    counted_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"quota of {self.user}"


class Outbox(models.Model):
    """Hints that are to be sent to a unit's queue; written in the transaction that makes the jobs."""

    unit = models.ForeignKey(ProcessingUnit, on_delete=models.CASCADE, related_name="outbox")
    hints = models.PositiveIntegerField(default=1)
    written = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.hints} hints for {self.unit}"


class NoticeChoice(models.Model):
    """Of what a user is told when it ends, and how; the key that signs webhooks is made from ``webhook_salt``."""

    class Runs(models.TextChoices):
        """Of which runs."""

        NONE = "none", "no run"
        FAILED = "failed", "runs with a failed job"
        LONG = "long", "failed ones, and those that took long"
        ALL = "all", "every run"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notice_choice")
    runs = models.CharField(max_length=10, choices=Runs, default=Runs.NONE)
    minutes = models.PositiveIntegerField(default=10, help_text="from which on a run took long")
    batches_since = models.DateTimeField(null=True, blank=True, help_text="told of batches made later; null: of none")
    address = models.EmailField(blank=True)
    confirmed = models.DateTimeField(null=True, blank=True, help_text="when the address was confirmed by its link")
    webhook = models.CharField(max_length=500, blank=True)
    webhook_salt = models.CharField(max_length=64, blank=True)

    def __str__(self) -> str:
        return f"what {self.user} is told of"

    @property
    def ways(self) -> list[str]:
        """The ways that notices take to this user."""
        mail = [Notice.Way.MAIL.value] if self.address and self.confirmed else []
        return mail + ([Notice.Way.WEBHOOK.value] if self.webhook else [])


class Notice(models.Model):
    """One message to one user, written with what it tells of and sent by the keeper; ``occasion`` is there once."""

    class Way(models.TextChoices):
        """How it goes."""

        MAIL = "mail", "e-mail"
        WEBHOOK = "webhook", "webhook"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notices")
    way = models.CharField(max_length=10, choices=Way)
    occasion = models.CharField(max_length=200, unique=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, null=True, blank=True)
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, null=True, blank=True)
    address = models.EmailField(blank=True, help_text="that is to be confirmed; a test where run and batch are null")
    written = models.DateTimeField(db_default=Now())
    not_before = models.DateTimeField(db_default=Now())
    tries = models.PositiveSmallIntegerField(default=0)
    sent = models.DateTimeField(null=True, blank=True)
    given_up = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=500, blank=True, help_text="why the last try failed")

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["sent", "given_up", "not_before"], name="notice_due"),
            models.Index(fields=["user", "written"], name="notice_of_user"),
        ]

    def __str__(self) -> str:
        return self.occasion


class KeeperLock(models.Model):
    """Who is the keeper: one at a time, until the time written here (by the database's clock)."""

    name = models.CharField(max_length=20, unique=True)
    holder = models.CharField(max_length=120, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder}"
