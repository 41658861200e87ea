"""The job's own columns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, insert, select, update

from shared.cache import escrows, held_deletions
from shared.cache.tables import dirty_parts, jobs, parts, run_parts
from shared.cache.tables import runs as runs_table
from shared.models.jobs import TEMPLATE_ID, Job, Quarantine, Restart
from shared.models.restart import RestartScope
from shared.models.synchronization import QuarantineReason, ScheduleState, StatusCode, SynchronizationError


def new_job_id(tenant: UUID) -> str:
    """An id for a job of this tenant."""
    return f"{TEMPLATE_ID}.{tenant.hex}.{uuid4().hex}"


def kept_id(given: str) -> str:
    """A job's id as ``new_job_id`` writes it, of the same in any letter case."""
    return given.lower().replace(TEMPLATE_ID.lower(), TEMPLATE_ID, 1)


def add(connection: Connection, key: int, tenant: UUID, interval: timedelta, deletion_threshold: int | None) -> None:
    """Adds the job of an organization that is being registered, born disabled (graph.md appendix B.3)."""
    values = _newborn(new_job_id(tenant), interval, deletion_threshold)
    connection.execute(insert(jobs).values(organization_id=key, **values))


def create(connection: Connection, key: int, tenant: UUID, interval: timedelta, deletion_threshold: int | None) -> None:
    """Gives an organization whose job was deleted a new one."""
    values = _newborn(new_job_id(tenant), interval, deletion_threshold)
    connection.execute(update(jobs).where(jobs.c.organization_id == key).values(**values))


def erase(connection: Connection, key: int) -> None:
    """Deletes the job with all its state; what the cache holds of the organization stays (graph.md §2.1)."""
    for table in (dirty_parts, run_parts, runs_table):
        connection.execute(delete(table).where(table.c.organization_id == key))
    escrows.clear(connection, key)
    held_deletions.clear(connection, key)
    connection.execute(
        update(parts)
        .where(parts.c.organization_id == key)
        .values(
            delta_link=None,
            selection=None,
            wanted_selection=None,
            rebuild=False,
            full_run_required=True,
            full_run_required_after=parts.c.generation,
            last_run=None,
            last_successful_at=None,
            refresh_at=None,
            parity_checked_at=None,
            parity_expected=None,
            parity_cached=None,
            parity_recheck_at=None,
        )
    )
    job = read(connection, key)
    values = _newborn(None, job.interval, job.deletion_threshold)
    connection.execute(update(jobs).where(jobs.c.organization_id == key).values(**values))


def _newborn(job_id: str | None, interval: timedelta, deletion_threshold: int | None) -> dict[str, Any]:
    """The columns of a job that was never started; without an id, of the place of a job."""
    return {
        "job_id": job_id,
        **_columns(
            Job(
                id=job_id,
                schedule_state=ScheduleState.DISABLED,
                interval=interval,
                deletion_threshold=deletion_threshold,
                status_code=StatusCode.NOT_CONFIGURED,
            )
        ),
    }


def read(connection: Connection, key: int) -> Job:
    """What the job itself keeps."""
    return read_job(connection.execute(select(jobs).where(jobs.c.organization_id == key)).one())


def read_job(row: Row[Any]) -> Job:
    """A row of ``jobs``."""
    return Job(
        id=row.job_id,
        schedule_state=ScheduleState(row.schedule_state),
        interval=timedelta(seconds=row.interval_seconds),
        status_code=StatusCode(row.status_code),
        next_run_time=row.next_run_at,
        successive_complete_failures=row.successive_complete_failures,
        last_run=row.last_run,
        last_successful_run=row.last_successful_run,
        last_successful_run_with_exports=row.last_successful_run_with_exports,
        steady_state_first=row.steady_state_first_at,
        steady_state_last=row.steady_state_last_at,
        quarantine=_quarantine(row),
        deletion_threshold=row.deletion_threshold,
        initial_run_pending=row.initial_run_pending,
        escrows_pruned=row.escrows_pruned,
        restarted=None if row.restarted_run is None else _restart(row),
    )


def save(connection: Connection, key: int, job: Job) -> None:
    """Keeps the job as it now is."""
    connection.execute(update(jobs).where(jobs.c.organization_id == key).values(**_columns(job)))


def _columns(job: Job) -> dict[str, Any]:
    quarantine, restarted = job.quarantine, job.restarted
    return {
        "schedule_state": job.schedule_state,
        "interval_seconds": int(job.interval.total_seconds()),
        "status_code": job.status_code,
        "next_run_at": job.next_run_time,
        "successive_complete_failures": job.successive_complete_failures,
        "last_run": job.last_run,
        "last_successful_run": job.last_successful_run,
        "last_successful_run_with_exports": job.last_successful_run_with_exports,
        "steady_state_first_at": job.steady_state_first,
        "steady_state_last_at": job.steady_state_last,
        "deletion_threshold": job.deletion_threshold,
        "initial_run_pending": job.initial_run_pending,
        "escrows_pruned": job.escrows_pruned,
        "restarted_run": restarted and restarted.run_id,
        "restart_scope": restarted and restarted.scope.value,
        "restarted_at": restarted and restarted.at,
        "quarantine_reason": quarantine and quarantine.reason,
        "quarantine_error_code": quarantine and quarantine.error.code,
        "quarantine_error_message": quarantine and quarantine.error.message,
        "quarantine_error_tenant_actionable": quarantine and quarantine.error.tenant_actionable,
        "quarantine_current_began_at": quarantine and quarantine.current_began,
        "quarantine_series_began_at": quarantine and quarantine.series_began,
        "quarantine_series_count": quarantine and quarantine.series_count,
        "quarantine_next_attempt_at": quarantine and quarantine.next_attempt,
    }


def due(now: ColumnElement[datetime]) -> Select[Any, Any]:
    """The numbers of the organizations whose next run's time has come, and since when."""
    return select(jobs.c.organization_id, jobs.c.next_run_at.label("since")).where(jobs.c.next_run_at <= now)


def _restart(row: Row[Any]) -> Restart:
    return Restart(row.restarted_run, RestartScope(row.restart_scope), row.restarted_at)


def _quarantine(row: Row[Any]) -> Quarantine | None:
    if row.quarantine_reason is None:
        return None
    return Quarantine(
        reason=QuarantineReason(row.quarantine_reason),
        error=SynchronizationError(
            code=row.quarantine_error_code,
            message=row.quarantine_error_message,
            tenant_actionable=bool(row.quarantine_error_tenant_actionable),
        ),
        current_began=row.quarantine_current_began_at,
        series_began=row.quarantine_series_began_at,
        series_count=row.quarantine_series_count,
        next_attempt=row.quarantine_next_attempt_at,
    )
