"""The record as a Microsoft Graph synchronizationJob (graph.md §1)."""

from __future__ import annotations

from shared.models.base import NEVER
from shared.models.job_settings import settings_of
from shared.models.jobs import TEMPLATE_ID, Job, SynchronizationRecord
from shared.models.parts import CATALOGUE
from shared.models.runs import Run, RunStatus
from shared.models.synchronization import (
    ScheduleState,
    StringKeyLongValuePair,
    SynchronizationJob,
    SynchronizationProgress,
    SynchronizationQuarantine,
    SynchronizationSchedule,
    SynchronizationStatus,
    SynchronizationTaskExecution,
    TaskExecutionResult,
)
from shared.models.troubleshooting import page_for


def synchronization_job(record: SynchronizationRecord, service_url: str) -> SynchronizationJob:
    """The whole job of an organization that has one.

    Args:
        record: The record.
        service_url: Where this service is reached, for the link to its page on an error.
    """
    job = record.job
    assert job.id is not None
    return SynchronizationJob(
        id=job.id,
        template_id=TEMPLATE_ID,
        schedule=SynchronizationSchedule(interval=job.interval, state=job.schedule_state),
        status=SynchronizationStatus(
            code=job.status_code,
            count_successive_complete_failures=job.successive_complete_failures,
            escrows_pruned=job.escrows_pruned,
            last_execution=_execution(record.last),
            last_successful_execution=_execution(record.last_successful),
            last_successful_execution_with_exports=_execution(record.last_successful_with_exports),
            progress=_progress(record),
            quarantine=_quarantine(job),
            steady_state_first_achieved_time=job.steady_state_first or NEVER,
            steady_state_last_achieved_time=job.steady_state_last or NEVER,
            synchronized_entry_count_by_type=[
                StringKeyLongValuePair(key=part.entry_type, value=record.parts[name].entry_count)
                for name, part in CATALOGUE.items()
                if name in record.organization.entity.parts
                and (record.parts[name].last_run is not None or record.parts[name].entry_count)
            ],
            troubleshooting_url=_troubleshooting_url(record, service_url),
        ),
        synchronization_job_settings=settings_of(job, record.organization.entity.parts),
    )


def _troubleshooting_url(record: SynchronizationRecord, service_url: str) -> str | None:
    """Our page on the error that the job shows: that of its quarantine, of pruned escrows, or of its last run."""
    job, last = record.job, record.last
    if job.quarantine is not None:
        # What somebody told of a quarantine on demand is no error of ours.
        code = job.quarantine.error.code or job.quarantine.reason.value
    elif job.escrows_pruned and last is not None and last.status is not RunStatus.FAILED:
        code = "EscrowsPruned"
    elif last is not None and last.error is not None:
        code = last.error.code
    else:
        return None
    return f"{service_url}/docs/troubleshooting/{page_for(code or '').code}"


def _quarantine(job: Job) -> SynchronizationQuarantine | None:
    quarantine = job.quarantine
    if quarantine is None:
        return None
    given_up = job.schedule_state is not ScheduleState.ACTIVE
    return SynchronizationQuarantine(
        current_began=quarantine.current_began,
        error=quarantine.error,
        next_attempt=NEVER if given_up else quarantine.next_attempt,
        reason=quarantine.reason,
        series_began=quarantine.series_began,
        series_count=quarantine.series_count,
    )


def _execution(run: Run | None) -> SynchronizationTaskExecution | None:
    if run is None:
        return None
    return SynchronizationTaskExecution(
        activity_identifier=run.activity_identifier,
        state=TaskExecutionResult(run.status),
        error=run.error,
        time_began=run.start_time or NEVER,
        time_ended=run.end_time or NEVER,
        **run.counts.as_members(),
    )


def _progress(record: SynchronizationRecord) -> list[SynchronizationProgress]:
    """One entry per part of the running run; where Graph does not tell the total, it is what has come so far."""
    return [
        SynchronizationProgress(
            completed_units=part.completed,
            total_units=max(part.completed, part.total or 0),
            units=name,
            progress_observation_date_time=record.observed,
        )
        for name in CATALOGUE
        if name in record.parts and (part := record.parts[name].running) is not None
    ]
