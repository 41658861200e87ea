"""Runs and their parts: create, read, finish."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Table, and_, insert, literal_column, select, update

from shared.cache.tables import run_parts, runs
from shared.models.errors import TOO_MANY_REQUESTS
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import Counts, PartProgress, PartRun, Run, RunStatus, RunType
from shared.models.synchronization import SynchronizationError

UNFINISHED = (RunStatus.QUEUED, RunStatus.RUNNING)

PROGRESS = (
    run_parts.c.type,
    run_parts.c.status,
    (run_parts.c.imported + run_parts.c.staged).label("completed"),
    run_parts.c.total,
    run_parts.c.started_at,
    run_parts.c.ended_at,
    run_parts.c.error_code,
    run_parts.c.error_message,
    run_parts.c.error_tenant_actionable,
)
"""What ``read_progress`` takes of ``run_parts``; a driver takes its time for each column that is asked for."""

_ORDER = list(CATALOGUE)
_counts_of = attrgetter(*Counts().as_dict())


def create(
    connection: Connection,
    organization: Organization,
    run_type: RunType,
    part_types: Mapping[PartName, RunType],
    now: datetime,
    *,
    keeps_cursors: bool = False,
    notified: bool = False,
) -> str:
    """Adds a queued run and returns its activityIdentifier; ``keeps_cursors`` and ``notified`` as in ``Run``."""
    run_id = str(uuid4())
    connection.execute(
        insert(runs).values(
            organization_id=organization.key,
            run_id=run_id,
            type=run_type,
            status=RunStatus.QUEUED,
            queued_at=now,
            keeps_cursors=keeps_cursors,
            notified=notified,
        )
    )
    add_parts(connection, organization.key, run_id, part_types)
    return run_id


def add_parts(connection: Connection, key: int, run_id: str, part_types: Mapping[PartName, RunType]) -> None:
    """Adds parts to a run that has not begun."""
    if part_types:
        connection.execute(
            insert(run_parts),
            [
                {
                    "organization_id": key,
                    "run_id": run_id,
                    "part": part,
                    "type": part_type,
                    "status": RunStatus.QUEUED,
                    "stage": "listing",
                }
                for part, part_type in part_types.items()
            ],
        )


def widen(connection: Connection, key: int, run_id: str, run_type: RunType, in_full: Collection[PartName]) -> None:
    """Makes a queued run do more: it becomes of this type, and reads these of its parts in full."""
    connection.execute(update(runs).where(runs.c.organization_id == key, runs.c.run_id == run_id).values(type=run_type))
    connection.execute(
        update(run_parts)
        .where(run_parts.c.organization_id == key, run_parts.c.run_id == run_id, run_parts.c.part.in_(in_full))
        .values(type=RunType.FULL)
    )


def set_keeps_cursors(connection: Connection, key: int, *, keeps_cursors: bool) -> None:
    """Says of the organization's queued and running runs whether a pause lets them through."""
    connection.execute(
        update(runs)
        .where(runs.c.organization_id == key, runs.c.status.in_(UNFINISHED))
        .values(keeps_cursors=keeps_cursors)
    )


def set_asked_for(connection: Connection, key: int, run_id: str) -> None:
    """Says of a run that people or the schedule ask for it too, and not only notifications."""
    mine = and_(runs.c.organization_id == key, runs.c.run_id == run_id, runs.c.notified)
    connection.execute(update(runs).where(mine).values(notified=False))


def last_start_by_plan(connection: Connection, key: int) -> datetime | None:
    """When the last of the organization's runs began that did more than to keep cursors or to follow notifications."""
    query = (
        select(runs.c.started_at)
        .where(runs.c.organization_id == key, ~runs.c.keeps_cursors, ~runs.c.notified, runs.c.started_at.is_not(None))
        .order_by(runs.c.queued_at.desc())
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()


def last_start(connection: Connection, key: int) -> datetime | None:
    """When the last of the organization's runs began, whatever it was asked for."""
    query = (
        select(runs.c.started_at)
        .where(runs.c.organization_id == key, runs.c.started_at.is_not(None))
        .order_by(runs.c.queued_at.desc())
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()


def find(connection: Connection, organization: Organization, run_id: str) -> Run | None:
    """The organization's run with this activityIdentifier, with its parts."""
    row = connection.execute(
        select(runs).where(runs.c.organization_id == organization.key, runs.c.run_id == run_id)
    ).one_or_none()
    if row is None:
        return None
    return read_run(row, organization, _parts_of(connection, organization.key, [run_id]).get(run_id, ()))


def find_unfinished(connection: Connection, organization: Organization) -> Mapping[RunStatus, Run]:
    """The organization's queued and its running run, with their parts; at most one of each."""
    key = organization.key
    unfinished = runs.c.run_id.in_(unfinished_ids(key))
    rows = connection.execute(select(runs).where(runs.c.organization_id == key, unfinished)).all()
    part_runs = _parts_of(connection, key, [row.run_id for row in rows])
    return {RunStatus(row.status): read_run(row, organization, part_runs.get(row.run_id, ())) for row in rows}


def unfinished_ids(key: int | ColumnElement[int]) -> Sequence[ScalarSelect[str]]:
    """Expressions for the ids of an organization's queued and of its running run.

    Each finds its run by the partial index that keeps it the only one, so that no run is looked at that has ended; for
    this the word has to be in the statement itself.
    """
    others = runs.alias()
    return [
        select(others.c.run_id)
        .where(others.c.organization_id == key, others.c.status == literal_column(f"'{status.value}'"))
        .scalar_subquery()
        for status in UNFINISHED
    ]


def at_work_on(table: Table) -> ColumnElement[bool]:
    """Whether a queued or running run has the part that a row of this table is of."""
    shares = select(run_parts.c.part).where(
        run_parts.c.organization_id == table.c.organization_id,
        run_parts.c.part == table.c.part,
        run_parts.c.status.in_(UNFINISHED),
    )
    return shares.correlate(table).exists()


def find_many(connection: Connection, organization: Organization, run_ids: Iterable[str]) -> Mapping[str, Run]:
    """The runs with these activityIdentifiers, without their parts."""
    rows = connection.execute(
        select(runs).where(runs.c.organization_id == organization.key, runs.c.run_id.in_(list(run_ids)))
    )
    return {row.run_id: read_run(row, organization, ()) for row in rows}


def start(connection: Connection, key: int, run_id: str, now: datetime) -> bool:
    """Turns a queued run into a running one; False while another run of the organization is running."""
    others = select(runs.c.run_id).where(runs.c.organization_id == key, runs.c.status == RunStatus.RUNNING)
    if connection.execute(others).first() is not None:
        return False
    result = connection.execute(
        update(runs)
        .where(runs.c.organization_id == key, runs.c.run_id == run_id, runs.c.status == RunStatus.QUEUED)
        .values(status=RunStatus.RUNNING, started_at=now)
    )
    return result.rowcount == 1


def finish(connection: Connection, key: int, run: Run, now: datetime) -> None:
    """Ends a run with the status, counts and error that it now has."""
    connection.execute(
        update(runs)
        .where(runs.c.organization_id == key, runs.c.run_id == run.activity_identifier)
        .values(status=run.status, ended_at=now, **run.counts.as_dict(), **error_columns(run.error))
    )


def cancel_unfinished(connection: Connection, key: int, now: datetime) -> None:
    """Ends the organization's queued and running runs where they are; a slice that is at work cannot write any more."""
    for table in (run_parts, runs):
        ended: dict[str, Any] = {"status": RunStatus.CANCELLED, "ended_at": now}
        if table is run_parts:
            ended |= {"lease_until": None, "wake_at": None}
        connection.execute(
            update(table).where(table.c.organization_id == key, table.c.status.in_(UNFINISHED)).values(**ended)
        )


def error_columns(error: SynchronizationError | None) -> dict[str, Any]:
    """The columns that keep an error."""
    return {
        "error_code": error.code if error else None,
        "error_message": error.message if error else None,
        "error_tenant_actionable": error.tenant_actionable if error else None,
    }


def _part_run(row: Row[Any]) -> PartRun:
    """A row of ``run_parts`` as people see it."""
    counts = Counts(*_counts_of(row))
    waits = row.lease_until is None and row.error_code == TOO_MANY_REQUESTS
    return PartRun(
        part=PartName(row.part),
        type=RunType(row.type),
        status=RunStatus(row.status),
        completed=counts.imported + row.staged,
        total=row.total,
        counts=counts,
        start_time=row.started_at,
        end_time=row.ended_at,
        error=read_error(row),
        resource_units=row.resource_units,
        next_attempt=row.wake_at if waits else None,
    )


def read_progress(values: Sequence[Any]) -> PartProgress:
    """What the values of PROGRESS tell."""
    run_type, status, completed, total, started_at, ended_at, *error = values
    return PartProgress(
        type=RunType(run_type),
        status=RunStatus(status),
        completed=completed,
        total=total,
        start_time=started_at,
        end_time=ended_at,
        error=_error(*error),
    )


def read_run(row: Row[Any], organization: Organization, part_runs: tuple[PartRun, ...]) -> Run:
    """A row of ``runs`` as people see it; what a run that is under way counts is what these parts of it do."""
    status = RunStatus(row.status)
    return Run(
        activity_identifier=row.run_id,
        organization=organization.name,
        type=RunType(row.type),
        status=status,
        queued_time=row.queued_at,
        start_time=row.started_at,
        end_time=row.ended_at,
        error=read_error(row),
        counts=Counts(*_counts_of(row)) if status.finished else sum((part.counts for part in part_runs), Counts()),
        parts=part_runs,
        keeps_cursors=row.keeps_cursors,
        notified=row.notified,
    )


def _parts_of(connection: Connection, key: int, run_ids: Sequence[str]) -> Mapping[str, tuple[PartRun, ...]]:
    rows = connection.execute(
        select(run_parts).where(run_parts.c.organization_id == key, run_parts.c.run_id.in_(run_ids))
    ).all()
    found: dict[str, list[PartRun]] = {}
    for row in rows:
        found.setdefault(row.run_id, []).append(_part_run(row))
    return {
        run_id: tuple(sorted(part_runs, key=lambda part: _ORDER.index(part.part)))
        for run_id, part_runs in found.items()
    }


def read_error(row: Row[Any]) -> SynchronizationError | None:
    """The error that a row of ``runs`` or ``run_parts`` keeps."""
    return _error(row.error_code, row.error_message, row.error_tenant_actionable)


def _error(code: str | None, message: str, tenant_actionable: bool) -> SynchronizationError | None:
    if code is None:
        return None
    return SynchronizationError(code=code, message=message, tenant_actionable=tenant_actionable)
