"""Reads the whole record of an organization's synchronization, in two statements: a request about state is no more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, and_, bindparam, select

from shared.cache import jobs, organizations, runs, tables
from shared.cache.parity_columns import FOUND, read_parity
from shared.models.jobs import PartState, SynchronizationRecord
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.runs import RunStatus

_CONCERNED = (
    tables.jobs.c.last_run,
    tables.jobs.c.last_successful_run,
    tables.jobs.c.last_successful_run_with_exports,
    *runs.unfinished_ids(tables.jobs.c.organization_id),
)
_ORGANIZATION_JOB_AND_RUNS = (
    select(
        *organizations.COLUMNS,
        *(column for column in tables.jobs.c if column.name != "organization_id"),
        *(column for column in tables.runs.c if column.name != "organization_id"),
    )
    .select_from(
        organizations.JOINED.outerjoin(
            tables.runs,
            and_(
                tables.runs.c.organization_id == tables.jobs.c.organization_id,
                tables.runs.c.run_id.in_(_CONCERNED),
            ),
        )
    )
    .where(organizations.IS_REGISTERED)
)
# Made once: to put a statement together takes longer than the database takes to answer it.
_FOUND = {way: _ORGANIZATION_JOB_AND_RUNS.where(condition) for way, condition in organizations.WAYS.items()}

_RUNNING: BindParameter[str] = bindparam("running")
_QUEUED: BindParameter[str] = bindparam("queued")
_PARTS_AND_RUNS = (
    select(
        tables.parts.c.part,
        tables.parts.c.last_run,
        tables.parts.c.last_successful_at,
        tables.parts.c.entry_count,
        *FOUND,
        *runs.PROGRESS,
    )
    .select_from(tables.parts)
    .outerjoin(
        tables.run_parts,
        and_(
            tables.run_parts.c.organization_id == tables.parts.c.organization_id,
            tables.run_parts.c.part == tables.parts.c.part,
            tables.run_parts.c.run_id.in_((tables.parts.c.last_run, _RUNNING, _QUEUED)),
        ),
    )
    .where(tables.parts.c.organization_id == bindparam("key"))
)


def find_record(connection: Connection, identifier: str, now: datetime) -> SynchronizationRecord:
    """The record of the organization with this tenant id or domain name, in any case.

    Raises:
        NotFound: There is none.
    """
    return _read(connection, organizations.way_of(identifier), identifier.lower(), now)


def find_record_of_job(connection: Connection, job_id: str, now: datetime) -> SynchronizationRecord:
    """The record of the organization whose job has this id, in any letter case.

    Raises:
        NotFound: There is none.
    """
    return _read(connection, "job", jobs.kept_id(job_id), now)


def read_record(connection: Connection, organization: Organization, now: datetime) -> SynchronizationRecord:
    """The organization's record."""
    return _read(connection, "key", organization.key, now)


def _read(connection: Connection, way: str, wanted: str | int, now: datetime) -> SynchronizationRecord:
    rows = connection.execute(_FOUND[way], {"wanted": wanted}).all()
    if not rows:
        raise organizations.not_found(way)
    organization, job = organizations.read_organization(rows[0]), jobs.read_job(rows[0])
    ids = {row.status: row.run_id for row in rows if row.status in runs.UNFINISHED}
    running, queued = ids.get(RunStatus.RUNNING), ids.get(RunStatus.QUEUED)
    part_rows = connection.execute(
        _PARTS_AND_RUNS, {"key": organization.key, "running": running, "queued": queued}
    ).all()
    found = {row.run_id: runs.read_run(row, organization, ()) for row in rows if row.run_id is not None}
    return SynchronizationRecord(
        organization=organization,
        job=job,
        running=found.get(running),
        queued=found.get(queued),
        last=found.get(job.last_run),
        last_successful=found.get(job.last_successful_run),
        last_successful_with_exports=found.get(job.last_successful_run_with_exports),
        parts=_part_states(part_rows, running, queued),
        observed=now,
    )


def _part_states(rows: Sequence[Row[Any]], running: str | None, queued: str | None) -> dict[PartName, PartState]:
    # Of a part there is a row for each of its runs, or one without a run.
    states = {row.part: row for row in rows}
    progress = {(row.part, row.run_id): runs.read_progress(row) for row in rows if row.run_id is not None}
    return {
        PartName(name): PartState(
            part=PartName(name),
            last_run=progress.get((name, row.last_run)),
            running=progress.get((name, running)),
            queued=progress.get((name, queued)),
            last_successful_sync_time=row.last_successful_at,
            entry_count=row.entry_count,
            parity=read_parity(row),
        )
        for name, row in states.items()
    }
