"""What crosses the wire: between users and the portal, and between a cluster manager and its frontend.

Imports nothing of ours. Every message names the protocol's version; a frontend refuses one it does not know (426) with
the version it speaks.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

PROTOCOL_VERSION = 1

LEASE_SECONDS = 20.0
HEARTBEAT_SECONDS = 5.0
SWEEP_SECONDS = 5.0
MAXIMUM_FAILURES = 3
MAXIMUM_LOST_NODES = 10
STAGING_KEPT_SECONDS = 24 * 3600.0
# What stands for a recipe in a job that only shows that its unit works.
CANARY = "canary"


class JobState(StrEnum):
    """States of a job. QUEUED and RUNNING are open; the others are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


# The one table of allowed changes (from, to); a change is a conditional UPDATE on the state it comes from.
ALLOWED_CHANGES: frozenset[tuple[JobState, JobState]] = frozenset(
    {
        (JobState.QUEUED, JobState.RUNNING),  # claimed
        (JobState.QUEUED, JobState.CANCELLED),
        (JobState.QUEUED, JobState.FAILED),  # nothing left that could run it
        (JobState.RUNNING, JobState.DONE),  # committed
        (JobState.RUNNING, JobState.QUEUED),  # lease expired, node lost, or a failure that is tried again
        (JobState.RUNNING, JobState.FAILED),
        (JobState.RUNNING, JobState.CANCELLED),
    }
)


class FaultKind(StrEnum):
    """Whose fault an end was. The first three are the recipes' own; the rest is said by the cluster manager."""

    USAGE = "usage"
    FATAL = "fatal"
    TRANSIENT = "transient"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_TIME = "out_of_time"
    STAGE_IN = "stage_in"
    STAGE_OUT = "stage_out"
    DISK_FULL = "disk_full"
    NODE_LOST = "node_lost"
    PREEMPTED = "preempted"


class Message(BaseModel):
    """Base of all messages: unknown fields are refused, so that a typing error is found at once."""

    model_config = ConfigDict(extra="forbid")


# ---------------------------------------------------------------------------------------------- users and the portal


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text may not hold a NUL character")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]


class Submission(Message):
    """What a user asks for: one recipe, or a chain (``Reduce>Science>Coadd``), on chosen inputs.

    In a chain a parameter or calibration goes to every recipe that knows it, or to one: ``Science.pixel_scale``.

    ``inputs`` maps the roles of primary inputs (and of any calibration the user wants to name) to product ids; with
    one primary role the empty role name ``""`` may be used and the kinds decide.
    """

    recipe: Text
    inputs: dict[Text, list[int]]
    parameters: dict[Text, Any] = Field(default_factory=dict)
    unit: Text | None = None
    privilege: int | None = Field(default=None, ge=1, le=5)
    idempotency_key: Text = Field(default="", max_length=100)
    plan: str = Field(
        default="",
        pattern=r"^([0-9a-f]{64})?$",
        description="fingerprint of a dry run: submit exactly that, or be refused where it would be another by now",
    )
    comment: Text = Field(default="", max_length=500)
    code: Text = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="digest of the shipped code to run from")
    environment: dict[Text, Text] = Field(
        default_factory=dict,
        max_length=300,
        description="of Environment.cfg: project, privilege, unit, RECIPE.PARAMETER; what is said above goes before it",
    )
    overruled_by: list[Text] = Field(
        default_factory=list,
        max_length=300,
        description="variables that overruled Environment.cfg: AWE_PROJECT ...",
    )


class PlannedCalibration(Message):
    """A calibration of a planned job: which one, and why it and not its rivals; or why there is none."""

    role: str
    kind: str
    product: int | None = None
    name: str = ""
    quality_flags: int = 0
    reason: str
    rivals: list[str] = Field(default_factory=list)


class MadeBefore(Message):
    """A product of the same recipe and the same frames that is there; ``differs`` is empty where it is just that."""

    product: int
    name: str
    differs: str = Field(default="", description="in what: other calibrations, parameters, version; called bad")


class PlannedJob(Message):
    """One parallel piece of a run, as a dry run shows it."""

    label: str
    inputs: dict[str, list[int]]
    calibrations: list[PlannedCalibration] = Field(default_factory=list)
    bytes: int = 0
    problem: str = ""
    hint: str = Field(default="", description="how to mend the problem")
    made_before: MadeBefore | None = None


class PlannedStep(Message):
    """A recipe of a chain and how many jobs it comes to; None: that shows when the one before it has ended."""

    recipe: str
    version: str
    jobs: int | None


class PlannedUnit(Message):
    """A unit and how long the jobs would take there; None where nothing tells."""

    name: str
    chosen: bool
    why_not: str = Field(default="", description="why the user cannot have it; empty where they can")
    slots: int = 0
    seconds_a_job: float | None = Field(default=None, description="median of this recipe's last jobs there")
    jobs_known: int = Field(default=0, description="how many jobs that is the median of")
    seconds_to_start: float | None = None
    seconds: float | None = Field(default=None, description="from now until the last job has ended")


class PlanCounts(Message):
    """A plan in numbers, of all its jobs."""

    jobs: int
    not_possible: int
    made_before: int = Field(description="jobs whose products are there, from the same inputs, parameters and version")
    files: int = Field(description="different input files")
    bytes: int = Field(description="of these files: what moves where each is fetched once, by one node")


class Plan(Message):
    """What a submission would do."""

    recipe: str
    version: str
    parameters: dict[str, Any]
    unit: str
    unit_reason: str
    counts: PlanCounts
    jobs: list[PlannedJob] = Field(description="all, or as many as were asked for; those not possible come first then")
    steps: list[PlannedStep]
    units: list[PlannedUnit]
    then: list[str] = Field(default_factory=list, description="recipes of the chain that follow on what this makes")
    held_back: str = Field(default="", description="why results stay in MyDB, where more was asked for")
    fingerprint: str = Field(description="of recipe, parameters, jobs and their inputs: Submission.plan takes it")


class BatchRequest(Message):
    """A batch as a user brings it: a script (Starlark), or a table of runs (YAML, CSV)."""

    text: Text = Field(max_length=100_000)
    language: Literal["star", "yaml", "csv"] = "star"
    name: Text = Field(default="", max_length=100)
    idempotency_key: Text = Field(default="", max_length=100)


class BatchPlanRun(Message):
    """One run of a batch, as its plan shows it; ``line`` is where the script asks for it."""

    line: int
    recipe: str
    version: str
    then: list[str] = Field(default_factory=list)
    unit: str
    unit_reason: str
    parameters: dict[str, Any] = Field(description="those that the script sets")
    comment: str = ""
    jobs: int
    inputs: int
    bytes: int
    problems: int = Field(default=0, description="jobs that cannot run")
    first_problems: list[str] = Field(default_factory=list)
    held_back: str = ""


class BatchPlan(Message):
    """What a batch would do; ``digest`` is the same as long as it would do the same."""

    runs: list[BatchPlanRun]
    jobs: int
    problems: int
    digest: str


class BatchMakeRequest(Message):
    """The plan that was seen is to be made."""

    digest: str = Field(description="of the plan that was seen: what would do another thing is refused")
    leave_out: bool = Field(default=False, description="leave out the jobs that cannot run")


class ReprocessPlan(Message):
    """What would be made anew of what is stale for a product: a plan a step, in order.

    The jobs of later steps are shown with the frames and calibrations that there are now; when their turn comes they
    get what the steps before have made.
    """

    product: int
    name: str
    steps: list[Plan]
    left_out: list[str] = Field(default_factory=list, description="stale products that cannot be made anew, and why")
    fingerprint: str


class JobStatus(Message):
    """A job as users see it."""

    number: int
    label: str
    state: JobState
    reason: str = ""
    fault: str = ""  # of a failed job: the kind of its last fault (FaultKind); "usage" is the frames' own
    attempt: int = 0
    node: str = ""
    progress: float = 0.0
    seconds: float | None = None
    products: list[int] = Field(default_factory=list)


class ChainStep(Message):
    """One recipe of a chain: its run, once there is one; ``waiting`` for those before, or ``not run`` any more."""

    recipe: str
    run: int | None = None
    state: Literal["waiting", "queued", "running", "done", "failed", "cancelled", "not run"]


class RunStatus(Message):
    """A run as users see it; its state is derived from its jobs."""

    id: int
    recipe: str
    version: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    reason: str = ""
    unit: str
    unit_reason: str = ""
    user: str
    submitted: str
    ended: str | None = None
    counts: dict[JobState, int]
    parameters: dict[str, Any]
    comment: str = ""
    chain: list[ChainStep] = Field(default_factory=list, description="all steps of its chain, where it is one's")
    chain_reason: str = Field(default="", description="why the chain ended before its last step")
    jobs: list[JobStatus] = Field(default_factory=list)


class BatchRunStatus(Message):
    """A run of a batch, without its jobs."""

    id: int
    recipe: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    counts: dict[JobState, int]
    comment: str = ""


class BatchStatus(Message):
    """A batch as users see it: planned until it is made, then as its runs stand."""

    id: int
    name: str
    language: str
    user: str
    state: Literal["planned", "queued", "running", "done", "failed", "cancelled"]
    created: str
    made: str | None = None
    counts: dict[JobState, int] = Field(description="of its jobs; a failed one that was retried counts as its retry")
    to_come: int = Field(default=0, description="chains of which steps are still to come")
    goes_on: bool = Field(default=False, description="it fills the gaps of a night, and what rests on them follows")
    plan: BatchPlan
    runs: list[BatchRunStatus] = Field(default_factory=list)


# ------------------------------------------------------------------------------- a cluster manager and its frontend


class Limits(Message):
    """Limits of one job; memory of the whole process group."""

    memory_mib: int = Field(default=4096, ge=64)
    wall_seconds: int = Field(default=3600, ge=1)
    threads: int = Field(default=1, ge=1)
    disk_mib: int = Field(default=16384, ge=1, description="of shipped code: all that it has written at a time")
    processes: int = Field(default=256, ge=1, description="of shipped code: processes and threads at a time")


class InputFile(Message):
    """An input of a job: what it is, and where its bytes are."""

    role: str
    kind: str
    product: int
    name: str
    sha256: str
    size: int
    url: str
    attributes: dict[str, Any]


class CodeFile(Message):
    """The bundle of shipped code that a job runs from; ``sha256`` is its digest."""

    product: int = 0
    name: str = "the shipped code"
    sha256: str
    size: int
    url: str


class JobSpec(Message):
    """All that a node needs to run one attempt of a job."""

    protocol: int = PROTOCOL_VERSION
    job: int
    label: str
    attempt: int
    token: str
    recipe: str
    recipe_version: str
    parameters: dict[str, Any]
    quality_limits: dict[str, float] = Field(default_factory=dict)
    limit_origins: dict[str, dict[str, str]] = Field(default_factory=dict)
    inputs: list[InputFile]
    code_digest: str = ""
    code: CodeFile | None = None
    limits: Limits = Field(default_factory=Limits)
    staging_url: str


class Claim(Message):
    """A slot asks for a job."""

    protocol: int = PROTOCOL_VERSION
    cluster_manager: str
    node: str
    slot: int = 0
    cached: list[str] = Field(default_factory=list, max_length=200, description="sha256 of files the node holds")
    seconds_left: float | None = Field(default=None, description="a queueing system ends the node after so long")
    seconds_at_most: float | None = Field(default=None, description="what it had for jobs when it came up")


class ClusterManagerUp(Message):
    """A cluster manager reports that it is up."""

    protocol: int = PROTOCOL_VERSION
    cluster_manager: str
    node: str
    slots: int = Field(ge=1)
    code_digest: str = ""
    sandbox: bool = Field(default=False, description="whether it takes shipped code: its sandbox was tried and holds")


class ClusterManagerDown(Message):
    """A cluster manager takes its leave (POST /unit/down): it holds no job any more, or names those it had to drop."""

    protocol: int = PROTOCOL_VERSION
    cluster_manager: str
    node: str
    reason: str = ""


class Welcome(Message):
    """The frontend's answer to a cluster manager that is up: what it needs to know of its unit."""

    protocol: int = PROTOCOL_VERSION
    unit: str
    broker_url: str
    queue: str
    lease_seconds: float = LEASE_SECONDS
    heartbeat_seconds: float = HEARTBEAT_SECONDS


class PlaceState(StrEnum):
    """How it stands with one of the cluster managers that a backend is to keep up."""

    WAITING = "waiting"  # to be brought up, or between two tries: the reason says why
    QUEUED = "queued"  # in a queueing system, which has not started it yet
    HELD = "held"  # in a queueing system, which will not start it by itself
    UP = "up"
    DRAINING = "draining"


class PlaceReport(Message):
    """A cluster manager as its backend sees it; ``reason`` says how the one before it ended, or what is in the way."""

    number: int
    state: PlaceState
    handle: str = Field(default="", max_length=200)
    node: str = Field(default="", max_length=120)
    reason: str = Field(default="", max_length=1000)
    seconds: float = Field(default=0.0, ge=0.0, description="how long it has been so")
    before: str = Field(default="", max_length=1000, description="how the one before it ended, if not in order")


class CheckReport(Message):
    """One thing that a backend looked at before any analysis; what is wrong says how to mend it."""

    where: str = Field(max_length=200)
    what: str = Field(max_length=40)
    is_well: bool
    says: str = Field(max_length=1000)


class BackendReport(Message):
    """A backend says how its cluster managers stand (POST /unit/backend, with the unit's key)."""

    protocol: int = PROTOCOL_VERSION
    backend: str = Field(max_length=200, description="host and process")
    kind: str = Field(max_length=20)
    places: list[PlaceReport] = Field(default_factory=list, max_length=10_000)
    tested: int = Field(default=0, ge=0, description="the number of the test whose outcome this is")
    checks: list[CheckReport] = Field(default_factory=list, max_length=10_000)
    only_asks: bool = Field(default=False, description="it tests and brings nothing up: the report is not kept")


class BackendDirections(Message):
    """The frontend's answer to a backend: what the process manager wants of it now."""

    protocol: int = PROTOCOL_VERSION
    unit: str
    kind: str
    cluster_managers: int = Field(ge=0)
    slots: int = Field(ge=1, description="of the whole unit")
    settings: dict[str, Any] = Field(default_factory=dict, description="of the kind of backend")
    accepting: bool = True
    reach: list[str] = Field(
        default_factory=list, description="what nodes must reach beside the frontend, as scheme://host:port"
    )
    test: int = Field(default=0, ge=0, description="a test that is wanted, by its number; 0: none")
    open_jobs: int = Field(default=0, ge=0, description="jobs that run or could run on the unit")


class KeyRequest(Message):
    """A backend asks for a key for the cluster manager it brings up (POST /unit/keys, with the unit's key)."""

    protocol: int = PROTOCOL_VERSION
    place: int = Field(ge=1)
    valid_seconds: int = Field(default=24 * 3600, ge=1, le=30 * 24 * 3600, description="to be presented in this time")
    void: list[int] = Field(default_factory=list, description="keys of cluster managers that have ended")


class NewKey(Message):
    """A key that one cluster manager may join with; the first that presents it is the one."""

    protocol: int = PROTOCOL_VERSION
    number: int
    key: str


class CarryRequest(Message):
    """A node that reaches no data server asks its backend to carry a file by sftp (one line of JSON on a connection).

    Brought in, it fills the file of this name below ``incoming/`` of the node's cache; taken out, it is the one below
    ``outgoing/``, and is put to the signed URL.
    """

    protocol: int = PROTOCOL_VERSION
    way: Literal["in", "out"]
    name: str = Field(pattern=r"^[0-9a-f]{32}(-[0-9]{1,19})?$")
    url: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class CarryAnswer(Message):
    """The backend's answer, after empty lines that only say that it is at work; no error: the file was carried."""

    protocol: int = PROTOCOL_VERSION
    error: str = ""
    hint: str = ""
    refused: int = Field(default=0, description="the data server's status, where it does not take the file")
    transient: bool = True
    wrong_digest: bool = False


class CodeRequest(Message):
    """A node asks which standard code the unit runs (POST /unit/code)."""

    protocol: int = PROTOCOL_VERSION


class CodeManifest(Message):
    """The standard code of the unit: GET /unit/code/DIGEST gives it, packed, with that sha256 and size."""

    digest: str
    sha256: str
    size: int
    python: str = Field(description="the oldest Python that runs it, as 3.11")
    requirements: list[str] = Field(description="what it needs, pinned, one line a package")


class JobBeat(Message):
    """What a heartbeat says of one job: where it is, and what its log has said since ``log_offset`` (bytes)."""

    job: int
    attempt: int
    progress: float = Field(default=0.0, ge=0.0, le=1.0)
    stage: str = Field(default="", max_length=100)
    log_offset: int = Field(default=0, ge=0)
    log: str = ""


class Heartbeat(Message):
    """One a cluster manager every 5 s: all its jobs."""

    protocol: int = PROTOCOL_VERSION
    cluster_manager: str
    node: str
    slots: int
    busy: int
    load: float = 0.0
    jobs: list[JobBeat] = Field(default_factory=list)


class HeartbeatReply(Message):
    """What the frontend answers: jobs to kill (cancelled, or no longer this attempt's), and whether to drain."""

    stop: list[tuple[int, int]] = Field(
        default_factory=list, description="(job, attempt) whose process is to be killed"
    )
    log_offsets: dict[int, int] = Field(default_factory=dict, description="job: bytes of its log that have arrived")
    drain: bool = False


class StagedProduct(Message):
    """A product that lies in the attempt's staging, as the recipe described it in its result file."""

    kind: str
    name: str
    sha256: str
    size: int
    attributes: dict[str, Any] = Field(default_factory=dict)
    measurements: list[dict[str, Any]] = Field(default_factory=list)
    quality_flags: int = 0
    made_without: list[str] = Field(default_factory=list)


class Commit(Message):
    """An attempt is done. Answered 200 {"products": [ids]}, again 200 when it is repeated, 409 when it is too late."""

    protocol: int = PROTOCOL_VERSION
    job: int
    attempt: int
    products: list[StagedProduct]
    left_out: list[dict[str, str]] = Field(default_factory=list)
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    log_offset: int = 0
    log: str = ""


class Failure(Message):
    """An attempt failed. Answered 200, or 409 when it is too late."""

    protocol: int = PROTOCOL_VERSION
    job: int
    attempt: int
    fault: FaultKind
    message: str
    hint: str = ""
    log_offset: int = 0
    log: str = ""
