"""Fills a database with organizations, each with a run behind it and in the middle of another."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from sqlalchemy import Connection, insert, select, text, update

from shared.cache import jobs, organizations, runs
from shared.cache import tables as t
from shared.cache.database import Database
from shared.models.callers import EVERY_ORGANIZATION
from shared.models.organizations import Organization, OrganizationRegistration
from shared.models.parts import PartName
from shared.models.runs import Counts, RunStatus, RunType
from shared.models.synchronization import ScheduleState, StatusCode
from tests.application import APPLICATION, NAME

_NOW = datetime(2026, 11, 2, 3, 0, tzinfo=UTC)
_INTERVAL = timedelta(minutes=40)
_TENANT = UUID("5f0c2a1e-9d7b-4c3a-8e6f-102938475665")
_READ = Counts(1_000, 1_200, 200, 1_000, 1_000, 900, 900)


def populate(database: Database, size: int) -> None:
    """Registers so many organizations with one application, as those of a service provider are.

    The first one is registered, goes through a run and begins another; the others are copies of it.
    """
    body = {"tenantId": _TENANT, "name": NAME, "application": APPLICATION}
    registration = OrganizationRegistration.model_validate(body)
    with database.write() as connection:
        first = organizations.register(connection, registration, _INTERVAL, 500, _NOW)
        _go_through(connection, first, _NOW)
        _begin(connection, first, _NOW + _INTERVAL, read=list(PartName)[:3])
        _copy(connection, first.key, size - 1)
    _analyze(database)


def add_history(database: Database, size: int) -> None:
    """Gives the first organization so many runs more that lie behind it."""
    with database.write() as connection:
        first = organizations.list_all(connection, EVERY_ORGANIZATION)[0]
        running = runs.find_unfinished(connection, first)[RunStatus.RUNNING]
        runs.finish(connection, first.key, replace(running, status=RunStatus.SUCCEEDED), _NOW)
        for number in range(1, size + 1):
            _go_through(connection, first, _NOW + number * _INTERVAL)
        _begin(connection, first, _NOW + (size + 1) * _INTERVAL, read=list(PartName)[:3])
    _analyze(database)


def _go_through(connection: Connection, organization: Organization, at: datetime) -> None:
    """A run from its beginning to its end, and what the job and the parts then know of it."""
    run_id = _begin(connection, organization, at, read=list(PartName))
    run = runs.find(connection, organization, run_id)
    assert run
    runs.finish(connection, organization.key, replace(run, status=RunStatus.SUCCEEDED), at + _INTERVAL / 2)
    connection.execute(
        update(t.parts)
        .where(t.parts.c.organization_id == organization.key)
        .values(last_run=run_id, last_successful_at=at, entry_count=_READ.imported)
    )
    job = replace(
        jobs.read(connection, organization.key),
        schedule_state=ScheduleState.ACTIVE,
        status_code=StatusCode.ACTIVE,
        last_run=run_id,
        last_successful_run=run_id,
        last_successful_run_with_exports=run_id,
        steady_state_first=at,
        steady_state_last=at,
    )
    jobs.save(connection, organization.key, job)


def _begin(connection: Connection, organization: Organization, at: datetime, read: Collection[PartName]) -> str:
    """Starts a run of all parts, of which these have been read already; the others are being read."""
    types = dict.fromkeys(PartName, RunType.INCREMENTAL)
    run_id = runs.create(connection, organization, RunType.INCREMENTAL, types, at)
    assert runs.start(connection, organization.key, run_id, at)
    of_run = update(t.run_parts).where(
        t.run_parts.c.organization_id == organization.key, t.run_parts.c.run_id == run_id
    )
    begun = {"started_at": at, "total": _READ.imported, **_READ.as_dict()}
    connection.execute(of_run.values(status=RunStatus.RUNNING, lease_until=at + _INTERVAL, **begun))
    connection.execute(
        of_run.where(t.run_parts.c.part.in_(read)).values(
            status=RunStatus.SUCCEEDED, ended_at=at + _INTERVAL / 4, lease_until=None
        )
    )
    return run_id


def _analyze(database: Database) -> None:
    """What PostgreSQL does by itself before long, and SQLite never."""
    if database.engine.dialect.name == "postgresql":
        with database.write() as connection:
            connection.execute(text("ANALYZE"))


def _copy(connection: Connection, key: int, number: int) -> None:
    """Adds so many organizations that have what this one has, with a tenant, a name and a job of their own."""
    organization = connection.execute(select(t.organizations).where(t.organizations.c.organization_id == key)).one()
    job = connection.execute(select(t.jobs).where(t.jobs.c.organization_id == key)).one()
    keys = range(key + 1, key + 1 + number)
    if not keys:
        return
    tenants = {other: uuid5(_TENANT, str(other)) for other in keys}
    connection.execute(
        insert(t.organizations),
        [
            {**organization._mapping, "organization_id": other, "tenant_id": str(tenant), "name": f"{other}.{NAME}"}
            for other, tenant in tenants.items()
        ],
    )
    connection.execute(
        insert(t.jobs),
        [
            {**job._mapping, "organization_id": other, "job_id": jobs.new_job_id(tenant)}
            for other, tenant in tenants.items()
        ],
    )
    for table in (t.parts, t.runs, t.run_parts):
        kept = [column for column in table.c if column.name != "organization_id"]
        others = t.organizations.c.organization_id > table.c.organization_id
        rows = select(t.organizations.c.organization_id, *kept).join(table, others)
        rows = rows.where(table.c.organization_id == key)
        connection.execute(insert(table).from_select(["organization_id", *kept], rows))
