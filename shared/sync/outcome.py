"""What the end of a run's parts means for the run and for the job. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from shared.models.jobs import Job, Quarantine
from shared.models.parts import PartName
from shared.models.runs import Counts, PartRun, Run, RunStatus
from shared.models.synchronization import ScheduleState, SynchronizationError
from shared.sync.lifecycle import Condition, Event, after
from shared.sync.quarantine import (
    ESCROW_REASONS,
    TOO_MANY_DELETES,
    Cause,
    QuarantineRules,
    impose,
    is_given_up,
    reason_to_quarantine,
)


def run_status(parts: Sequence[PartRun]) -> RunStatus:
    """Failed when a part failed, EntryLevelErrors when objects were put aside, else Succeeded."""
    statuses = {part.status for part in parts}
    for status in (RunStatus.FAILED, RunStatus.ENTRY_LEVEL_ERRORS):
        if status in statuses:
            return status
    return RunStatus.SUCCEEDED


def run_error(parts: Sequence[PartRun]) -> SynchronizationError | None:
    """The failed parts' errors as one; its code is the first one's."""
    errors = [(part.part, part.error) for part in parts if part.error is not None]
    if not errors:
        return None
    return SynchronizationError(
        code=errors[0][1].code,
        message=" ".join(f"{name}: {error.message}" for name, error in errors),
        tenant_actionable=any(error.tenant_actionable for _, error in errors),
    )


def total(parts: Sequence[PartRun]) -> Counts:
    """The run's counts."""
    return sum((part.counts for part in parts), Counts())


def part_outcome(
    part: PartName, error: SynchronizationError | None, escrows: int, held_deletions: int
) -> tuple[RunStatus, SynchronizationError | None]:
    """How a part's run ended, and what to tell of it.

    Args:
        part: The part.
        error: What it failed with, if it did.
        escrows: How many of its objects wait for a retry.
        held_deletions: How many of its deletions are held back.
    """
    if error is not None:
        return RunStatus.FAILED, error
    if held_deletions:
        return RunStatus.ENTRY_LEVEL_ERRORS, SynchronizationError(
            code=TOO_MANY_DELETES,
            message=f"{held_deletions} deletions of {part} are held back: more than the job's "
            "QuarantineTooManyDeletesThreshold. A restart with ForceDeletes carries them out.",
            tenant_actionable=True,
        )
    if escrows:
        return RunStatus.ENTRY_LEVEL_ERRORS, SynchronizationError(
            code=RunStatus.ENTRY_LEVEL_ERRORS.value, message=f"{escrows} objects of {part} wait to be tried again."
        )
    return RunStatus.SUCCEEDED, None


def job_after_run(job: Job, run: Run, escrows: Mapping[PartName, int], rules: QuarantineRules, now: datetime) -> Job:
    """The job after a finished run (graph.md appendix B.3).

    A run that succeeded leaves nothing to be read: the steady state. A run in which every part failed is a complete
    failure; one good part ends the series. When so many objects fail in the initial run that the job would be put in
    quarantine, their errors are thrown away instead and the job pauses (graph.md §3.3).

    Args:
        job: The job as it was.
        run: The run with its finished parts, and its own status and counts.
        escrows: How many objects of each part wait for a retry, from earlier runs too.
        rules: The numbers of quarantine.
        now: When it ended.
    """
    failed_completely = all(part.status is RunStatus.FAILED for part in run.parts)
    cause = reason_to_quarantine(run, escrows, rules)
    pruned = job.initial_run_pending and cause is not None and cause[0] in ESCROW_REASONS
    if pruned:
        condition, quarantine = after(Condition.of(job.schedule_state, job.status_code), Event.ESCROWS_PRUNED), None
    else:
        condition, quarantine = _judge(job, cause, failed_completely, rules, now)
    job = replace(
        job,
        escrows_pruned=job.escrows_pruned or pruned,
        initial_run_pending=job.initial_run_pending and failed_completely,
        last_run=run.activity_identifier,
        successive_complete_failures=job.successive_complete_failures + 1 if failed_completely else 0,
        quarantine=quarantine,
        next_run_time=_next_run(condition, quarantine, (run.start_time or now) + job.interval, now),
    )
    if run.status is RunStatus.SUCCEEDED:
        job = replace(
            job,
            last_successful_run=run.activity_identifier,
            steady_state_first=job.steady_state_first or now,
            steady_state_last=now,
        )
        if run.counts.exported:
            job = replace(job, last_successful_run_with_exports=run.activity_identifier)
    return in_condition(job, condition)


def in_condition(job: Job, condition: Condition) -> Job:
    """The job, showing this condition."""
    return replace(
        job,
        schedule_state=condition.schedule_state,
        status_code=condition.status_code(has_run=job.last_run is not None),
        quarantine=job.quarantine if condition in (Condition.QUARANTINED, Condition.EXPIRED) else None,
        next_run_time=job.next_run_time if condition.schedule_state is ScheduleState.ACTIVE else None,
    )


def _judge(
    job: Job, cause: Cause | None, failed_completely: bool, rules: QuarantineRules, now: datetime
) -> tuple[Condition, Quarantine | None]:
    """Where a finished run leaves the job: in quarantine while what caused it goes on, out of it when a run works."""
    condition = Condition.of(job.schedule_state, job.status_code)
    if condition not in (Condition.STARTED, Condition.QUARANTINED):
        return condition, job.quarantine
    if cause is None and failed_completely and job.quarantine is not None:
        cause = job.quarantine.reason, job.quarantine.error
    if cause is None:
        return after(condition, Event.RUN_ENDED), None
    quarantine = impose(job.quarantine, cause, now, rules)
    condition = after(condition, Event.QUARANTINE)
    return after(condition, Event.EXPIRE) if is_given_up(quarantine, now, rules) else condition, quarantine


def _next_run(condition: Condition, quarantine: Quarantine | None, regular: datetime, now: datetime) -> datetime | None:
    if condition.schedule_state is not ScheduleState.ACTIVE:
        return None
    return max(now, regular) if quarantine is None else quarantine.next_attempt
