"""What `awrecipe run --dry-run` prints: the same plan as the portal's page shows."""

from __future__ import annotations

from awclient.terminal import out, out_json, out_table
from processing_units.contract import Plan, PlannedJob, PlannedUnit
from processing_units.wording import counted

# So many jobs are told one by one; the counts are of all. With --json there are all of them.
JOBS_SHOWN = 50


def show_plan(plan: Plan, json: bool, exactly: str = "the same command with --plan {} in place of --dry-run") -> None:
    """Print a plan for a person, or as JSON; `exactly` tells how to run just that."""
    if json:
        out_json(plan.model_dump(mode="json"))
        return
    counts = plan.counts
    out(f"{plan.recipe} {plan.version} on unit {plan.unit} ({plan.unit_reason}); nothing has been submitted")
    out("parameters: " + ", ".join(f"{name}={value}" for name, value in plan.parameters.items()))
    if plan.then:
        steps = (f"{step.recipe}: {'?' if step.jobs is None else counted(step.jobs, 'job')}" for step in plan.steps)
        out(f"then, on what it makes: {' > '.join(plan.then)}; " + ", ".join(steps))
    if plan.held_back:
        out(f"note: {plan.held_back}")
    for number, job in enumerate(plan.jobs, 1):
        _show_job(number, job)
    if counts.jobs > len(plan.jobs):
        out(f"and {counts.jobs - len(plan.jobs)} more jobs; --json gives all")
    out(
        f"{counted(counts.jobs, 'job')}, {counts.not_possible} not possible, {counts.made_before} would be made twice; "
        f"{counts.bytes / 2**20:.1f} MiB in {counted(counts.files, 'file')} to move"
    )
    out_table(("unit", "", "slots", "one job", "begins in", "all done in"), [_unit_row(unit) for unit in plan.units])
    if exactly:
        out("to run exactly this: " + exactly.format(plan.fingerprint))


def _show_job(number: int, job: PlannedJob) -> None:
    inputs = "; ".join(f"{role}: {','.join(map(str, ids))}" for role, ids in job.inputs.items())
    out(f"job {number} {job.label}: {inputs}")
    for choice in job.calibrations:
        out(f"    {choice.role}: {choice.name or 'none'} ({choice.reason})")
        for rival in choice.rivals:
            out(f"        not {rival}")
    if job.made_before:
        how = f"with {job.made_before.differs}" if job.made_before.differs else "just so"
        out(f"    made before, {how}: {job.made_before.product} {job.made_before.name}")
    if job.problem:
        out(f"    not possible: {job.problem}" + (f"; {job.hint}" if job.hint else ""))


def _unit_row(unit: PlannedUnit) -> tuple[object, ...]:
    if unit.why_not:
        return unit.name, unit.why_not, "-", "-", "-", "-"
    times = (unit.seconds_a_job, unit.seconds_to_start, unit.seconds)
    told = ("not known yet" if seconds is None else f"{seconds:.1f} s" for seconds in times)
    return unit.name, "chosen" if unit.chosen else "", unit.slots, *told
