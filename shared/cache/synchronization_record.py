"""Reads the whole record of an organization's synchronization, in one statement: a request about state is no more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Row,
    and_,
    null,
    select,
    true,
    type_coerce,
    union,
    union_all,
)

from shared.cache import jobs, organizations, runs, selections, tables
from shared.cache.database import Database
from shared.cache.parity_columns import FOUND, read_parity
from shared.models.callers import EVERY_ORGANIZATION, Scope
from shared.models.jobs import PartState, SynchronizationRecord
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.runs import RunStatus

_RUN = tuple(column for column in tables.runs.c if column.name != "organization_id")
_PART = (
    tables.parts.c.part,
    tables.parts.c.last_run,
    tables.parts.c.last_successful_at,
    tables.parts.c.entry_count,
    tables.parts.c.wanted_selection,
    *FOUND,
)
_PROGRESS = (tables.run_parts.c.part, tables.run_parts.c.run_id, *runs.PROGRESS)
_RECORD = (*organizations.COLUMNS, *(column for column in tables.jobs.c if column.name != "organization_id"))

_OF_PART = slice(len(_RECORD) + len(_RUN), len(_RECORD) + len(_RUN) + len(_PART))
_OF_PROGRESS = slice(_OF_PART.stop, _OF_PART.stop + len(_PROGRESS))


# Made once: to put the statement together takes longer than the database takes to answer it.
@cache
def _statement(way: str) -> Executable:
    """All rows of the record of the organization that is found in this way, each with the columns of all three kinds:
    the organization with its job, beside each of the runs that the job names or that are under way; each part, with
    its share of its last run; and each part's share of the runs under way.

    Tables are joined by whole keys alone. By a list of alternatives (``run_id IN (last_run, …)``) PostgreSQL would
    compare every run that the organization ever had.
    """
    record = select(*_RECORD).select_from(organizations.JOINED).where(organizations.IS_REGISTERED)
    record = record.where(organizations.WAYS[way]).cte("record")
    key = record.c.organization_id
    under_way = union_all(*(select(key, run_id.label("run_id")) for run_id in runs.unfinished_ids(key)))
    under_way = under_way.cte("under_way")
    named = ("last_run", "last_successful_run", "last_successful_run_with_exports")
    concerned = union(*(select(record.c[name].label("run_id")) for name in named), select(under_way.c.run_id))
    concerned = concerned.cte("concerned")

    t_runs, t_parts, t_shares = tables.runs.c, tables.parts.c, tables.run_parts.c
    its_run = and_(t_runs.organization_id == key, t_runs.run_id == concerned.c.run_id)
    its_last_share = and_(
        t_shares.organization_id == t_parts.organization_id,
        t_shares.run_id == t_parts.last_run,
        t_shares.part == t_parts.part,
    )
    of_it = and_(t_shares.organization_id == under_way.c.organization_id, t_shares.run_id == under_way.c.run_id)
    # The first of the three tells the types of all.
    others = [type_coerce(null(), column.type) for column in (*_PART, *_PROGRESS)]
    columns_with_runs: list[ColumnElement[Any]] = [*record.c, *_RUN, *others]
    columns_of_parts: list[ColumnElement[Any]] = [*[null()] * _OF_PART.start, *_PART, *_PROGRESS]
    columns_of_shares: list[ColumnElement[Any]] = [*[null()] * _OF_PROGRESS.start, *_PROGRESS]
    return union_all(
        select(*columns_with_runs).select_from(record.join(concerned, true()).outerjoin(tables.runs, its_run)),
        select(*columns_of_parts).select_from(
            record.join(tables.parts, t_parts.organization_id == key).outerjoin(tables.run_parts, its_last_share)
        ),
        select(*columns_of_shares).select_from(under_way.join(tables.run_parts, of_it)),
    )


def find_record(database: Database, identifier: str, scope: Scope, now: datetime) -> SynchronizationRecord:
    """The record of the organization with this tenant id or domain name, in any case.

    Raises:
        NotFound: There is none in the caller's scope.
        DatabaseFailure: As ``Database.rows``.
    """
    way = organizations.way_of(identifier)
    return _read(database.rows(_statement(way), {"wanted": identifier.lower()}), way, scope, now)


def find_record_of_job(database: Database, job_id: str, scope: Scope, now: datetime) -> SynchronizationRecord:
    """The record of the organization whose job has this id, in any letter case.

    Raises:
        NotFound: There is none in the caller's scope.
        DatabaseFailure: As ``Database.rows``.
    """
    return _read(database.rows(_statement("job"), {"wanted": jobs.kept_id(job_id)}), "job", scope, now)


def read_record(connection: Connection, organization: Organization, now: datetime) -> SynchronizationRecord:
    """The organization's record."""
    rows = connection.execute(_statement("key"), {"wanted": organization.key}).all()
    return _read(rows, "key", EVERY_ORGANIZATION, now)


def _read(rows: Sequence[Row[Any]], way: str, scope: Scope, now: datetime) -> SynchronizationRecord:
    with_runs = [row for row in rows if row[0] is not None]
    if not with_runs or not scope.holds(with_runs[0].tenant_id):
        raise organizations.not_found(way)
    organization, job = organizations.read_organization(with_runs[0]), jobs.read_job(with_runs[0])
    found = {row.run_id: runs.read_run(row, organization, ()) for row in with_runs if row.run_id is not None}
    under_way = {run.status: run for run in found.values() if not run.status.finished}
    running, queued = under_way.get(RunStatus.RUNNING), under_way.get(RunStatus.QUEUED)
    shares = {
        (part, run_id): runs.read_progress(values)
        for part, run_id, *values in (row[_OF_PROGRESS] for row in rows)
        if part is not None
    }
    parts: dict[PartName, PartState] = {}
    for part, last_run, last_successful_at, entry_count, selection, *compared in (row[_OF_PART] for row in rows):
        if part is not None:
            name = PartName(part)
            parts[name] = PartState(
                part=selections.selected(name, selection),
                last_run=shares.get((part, last_run)),
                running=running and shares.get((part, running.activity_identifier)),
                queued=queued and shares.get((part, queued.activity_identifier)),
                last_successful_sync_time=last_successful_at,
                entry_count=entry_count,
                parity=read_parity(*compared),
            )
    return SynchronizationRecord(
        organization=organization,
        job=job,
        running=running,
        queued=queued,
        last=found.get(job.last_run),
        last_successful=found.get(job.last_successful_run),
        last_successful_with_exports=found.get(job.last_successful_run_with_exports),
        parts=parts,
        observed=now,
    )
