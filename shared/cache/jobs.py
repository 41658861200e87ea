"""The job's own columns, and the whole record of an organization's synchronization."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from shared.cache import runs
from shared.cache.tables import jobs, parts
from shared.models.jobs import Job, PartState, SynchronizationRecord
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.runs import RunStatus
from shared.models.synchronization import ScheduleState, StatusCode


def read_record(connection: Connection, organization: Organization, now: datetime) -> SynchronizationRecord:
    """Everything there is to say about the organization's synchronization."""
    row = _job_row(connection, organization.key)
    unfinished = runs.find_unfinished(connection, organization)
    named = (row.last_run, row.last_successful_run, row.last_successful_run_with_exports)
    finished = runs.find_many(connection, organization, {run_id for run_id in named if run_id is not None})
    last, last_successful, last_with_exports = (finished.get(run_id) for run_id in named)
    return SynchronizationRecord(
        organization=organization,
        job=_job(row),
        running=unfinished.get(RunStatus.RUNNING),
        queued=unfinished.get(RunStatus.QUEUED),
        last=last,
        last_successful=last_successful,
        last_successful_with_exports=last_with_exports,
        parts=_part_states(connection, organization.key),
        observed=now,
    )


def read_job(connection: Connection, key: int) -> Job:
    """The job's own columns."""
    return _job(_job_row(connection, key))


def list_due(connection: Connection, now: datetime) -> Sequence[int]:
    """The numbers of the organizations whose next run's time has come, the longest waiting first."""
    return (
        connection.execute(select(jobs.c.organization_id).where(jobs.c.next_run_at <= now).order_by(jobs.c.next_run_at))
        .scalars()
        .all()
    )


def update_job(connection: Connection, key: int, **values: Any) -> None:
    """Sets columns of the job."""
    connection.execute(update(jobs).where(jobs.c.organization_id == key).values(**values))


def _job_row(connection: Connection, key: int) -> Row[Any]:
    return connection.execute(select(jobs).where(jobs.c.organization_id == key)).one()


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.job_id,
        schedule_state=ScheduleState(row.schedule_state),
        interval=timedelta(seconds=row.interval_seconds),
        status_code=StatusCode(row.status_code),
        next_run_time=row.next_run_at,
        successive_complete_failures=row.successive_complete_failures,
        steady_state_first=row.steady_state_first_at,
        steady_state_last=row.steady_state_last_at,
    )


def _part_states(connection: Connection, key: int) -> dict[PartName, PartState]:
    last_runs = runs.find_last_part_runs(connection, key)
    rows = connection.execute(select(parts).where(parts.c.organization_id == key))
    return {
        PartName(row.part): PartState(
            part=PartName(row.part),
            last_run=last_runs.get(PartName(row.part)),
            last_successful_sync_time=row.last_successful_at,
            entry_count=row.entry_count,
        )
        for row in rows
    }
