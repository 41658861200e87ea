"""What the end of a run's parts means for the run and for the job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.cache.escrows import EscrowCounts
from shared.models.jobs import Job, Quarantine
from shared.models.parts import PartName
from shared.models.runs import Counts, PartRun, Run, RunStatus, conclusive
from shared.models.synchronization import QuarantineReason, ScheduleState, SynchronizationError
from shared.sync.lifecycle import Condition, Event, after
from shared.sync.quarantine import (
    ESCROW_REASONS,
    TOO_MANY_DELETES,
    Backlog,
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
    part: PartName, error: SynchronizationError | None, escrowed: EscrowCounts, held_deletions: int
) -> tuple[RunStatus, SynchronizationError | None]:
    """How a part's run ended, and what to tell of it.

    Args:
        part: The part.
        error: What it failed with, if it did.
        escrowed: Its objects that wait for a retry.
        held_deletions: How many of its deletions are held back.
    """
    if error is not None:
        return RunStatus.FAILED, error
    if held_deletions:
        return RunStatus.ENTRY_LEVEL_ERRORS, SynchronizationError(
            code=TOO_MANY_DELETES,
            message=f"{held_deletions} deletion(s) of {part} are held back: more than the job's "
            "QuarantineTooManyDeletesThreshold, or too large a share. A restart with ForceDeletes carries them out.",
            tenant_actionable=True,
        )
    if escrowed.waiting:
        return RunStatus.ENTRY_LEVEL_ERRORS, SynchronizationError(
            code=RunStatus.ENTRY_LEVEL_ERRORS.value,
            message=f"{escrowed.waiting} object(s) of {part} could not be read or written; most often: "
            f"{escrowed.commonest_error}",
        )
    return RunStatus.SUCCEEDED, None


def job_after_run(
    job: Job, run: Run, backlog: Backlog, rules: QuarantineRules, now: datetime, counted_from: datetime | None = None
) -> Job:
    """The job after a finished run (graph.md appendix B.3).

    When a run of all parts succeeded and no object waits for a retry, nothing is left over: the steady state. A run of
    all parts in which every part failed is a complete failure; one good part ends the series. When so many objects fail
    in the initial run that the job would be put in quarantine, their errors are thrown away instead and the job pauses
    (graph.md §3.3).

    Args:
        job: The job as it was.
        run: The run with its finished parts, and its own status and counts.
        backlog: What is left of the organization's parts.
        rules: The numbers of quarantine.
        now: When it ended.
        counted_from: The start that the job's interval is counted from; None for the run's own.
    """
    failed_completely = all(part.status is RunStatus.FAILED for part in conclusive(run.parts))
    cause = reason_to_quarantine(run, backlog, rules)
    pruned = _prunes(job, cause)
    if pruned:
        condition, quarantine = after(Condition.of(job.schedule_state, job.status_code), Event.ESCROWS_PRUNED), None
    else:
        condition, quarantine = _judge(job, cause, failed_completely, backlog, rules, now)
    job = replace(
        job,
        escrows_pruned=pruned or (job.escrows_pruned and run.status is not RunStatus.SUCCEEDED),
        initial_run_pending=job.initial_run_pending and bool(backlog.unread),
        last_run=run.activity_identifier,
        successive_complete_failures=_failures(job, failed_completely=failed_completely, of_all=backlog.is_all_of(run)),
        quarantine=quarantine,
        next_run_time=_next_run(condition, quarantine, (counted_from or run.start_time or now) + job.interval, now),
    )
    if run.status is RunStatus.SUCCEEDED:
        job = replace(job, last_successful_run=run.activity_identifier)
        if backlog.is_all_of(run) and not any(backlog.escrows.values()):
            job = replace(job, steady_state_first=job.steady_state_first or now, steady_state_last=now)
        if run.counts.exported:
            job = replace(job, last_successful_run_with_exports=run.activity_identifier)
    return in_condition(job, condition)


def prunes_escrows(job: Job, run: Run, backlog: Backlog, rules: QuarantineRules) -> bool:
    """Whether the escrows are thrown away with the end of this run; ``job`` as it was before."""
    return _prunes(job, reason_to_quarantine(run, backlog, rules))


def in_condition(job: Job, condition: Condition) -> Job:
    """The job, showing this condition."""
    return replace(
        job,
        schedule_state=condition.schedule_state,
        status_code=condition.status_code(has_run=job.last_run is not None),
        quarantine=job.quarantine if condition in (Condition.QUARANTINED, Condition.EXPIRED) else None,
        next_run_time=job.next_run_time if condition.schedule_state is ScheduleState.ACTIVE else None,
    )


def _failures(job: Job, *, failed_completely: bool, of_all: bool) -> int:
    if not failed_completely:
        return 0
    return job.successive_complete_failures + of_all


def _prunes(job: Job, cause: Cause | None) -> bool:
    return job.initial_run_pending and cause is not None and cause[0] in ESCROW_REASONS


def _judge(
    job: Job, cause: Cause | None, failed_completely: bool, backlog: Backlog, rules: QuarantineRules, now: datetime
) -> tuple[Condition, Quarantine | None]:
    """Where a finished run leaves the job: in quarantine while what caused it goes on, out of it when a run works."""
    condition, before = Condition.of(job.schedule_state, job.status_code), job.quarantine
    if condition not in (Condition.STARTED, Condition.QUARANTINED):
        return condition, before
    if cause is None and before is not None:
        goes_on = backlog.deletions_held and before.reason is QuarantineReason.TOO_MANY_DELETES
        cause = (before.reason, before.error) if failed_completely or goes_on else None
    if cause is None:
        return after(condition, Event.RUN_ENDED), None
    quarantine = impose(before, cause, now, rules)
    condition = after(condition, Event.QUARANTINE)
    return after(condition, Event.EXPIRE) if is_given_up(quarantine, now, rules) else condition, quarantine


def _next_run(condition: Condition, quarantine: Quarantine | None, regular: datetime, now: datetime) -> datetime | None:
    if condition.schedule_state is not ScheduleState.ACTIVE:
        return None
    return max(now, regular) if quarantine is None else quarantine.next_attempt
