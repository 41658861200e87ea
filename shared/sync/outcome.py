"""What the end of a run's parts means for the run and for the job. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from shared.models.jobs import Job, Quarantine
from shared.models.runs import Counts, PartRun, Run, RunStatus
from shared.models.synchronization import ScheduleState, SynchronizationError
from shared.sync.lifecycle import Condition, Event, after
from shared.sync.quarantine import impose, is_given_up, reason_to_quarantine


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


def job_after_run(job: Job, run: Run, now: datetime) -> Job:
    """The job after a finished run (graph.md appendix B.3).

    A run that succeeded leaves nothing to be read: the steady state. A run in which every part failed is a complete
    failure; one good part ends the series.

    Args:
        job: The job as it was.
        run: The run with its finished parts, and its own status and counts.
        now: When it ended.
    """
    failed_completely = all(part.status is RunStatus.FAILED for part in run.parts)
    condition, quarantine = _judge(job, run.parts, failed_completely, now)
    job = replace(
        job,
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
    job: Job, parts: Sequence[PartRun], failed_completely: bool, now: datetime
) -> tuple[Condition, Quarantine | None]:
    """Where a finished run leaves the job: in quarantine while what caused it goes on, out of it when a run works."""
    condition = Condition.of(job.schedule_state, job.status_code)
    if condition not in (Condition.STARTED, Condition.QUARANTINED):
        return condition, job.quarantine
    cause = reason_to_quarantine(parts)
    if cause is None and failed_completely and job.quarantine is not None:
        cause = job.quarantine.reason, job.quarantine.error
    if cause is None:
        return after(condition, Event.RUN_ENDED), None
    quarantine = impose(job.quarantine, *cause, now)
    condition = after(condition, Event.QUARANTINE)
    return after(condition, Event.EXPIRE) if is_given_up(quarantine, now) else condition, quarantine


def _next_run(condition: Condition, quarantine: Quarantine | None, regular: datetime, now: datetime) -> datetime | None:
    if condition.schedule_state is not ScheduleState.ACTIVE:
        return None
    return max(now, regular) if quarantine is None else quarantine.next_attempt
