"""The messages that set a run's waiting parts going: the first ones, those of resumed jobs, those of the planner."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, or_, select, tuple_, update

from shared.cache import runs
from shared.cache.tables import jobs, run_parts
from shared.cache.tables import runs as runs_table
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import RunStatus
from shared.models.slices import SliceMessage
from shared.models.synchronization import StatusCode


def enqueue(
    connection: Connection,
    key: int,
    run_id: str,
    now: datetime,
    requeue_after: timedelta,
    *,
    source: PartName | None = None,
) -> list[SliceMessage]:
    """The messages that set a run's queued parts going; the planner sends them again if nothing comes of them.

    A part whose source is in the run too has to wait until that is over.

    Args:
        source: The part that is over, of whose derived parts alone the messages are wanted.
    """
    waiting = find_waiting(connection, key, run_id)
    wanted = [part.name for part in CATALOGUE.values() if source is None or part.source == source]
    rows = connection.execute(
        update(run_parts)
        .where(
            run_parts.c.organization_id == key,
            run_parts.c.run_id == run_id,
            run_parts.c.status == RunStatus.QUEUED,
            run_parts.c.part.in_(wanted),
        )
        .values(wake_at=now + requeue_after)
        .returning(*run_parts.c)
    ).all()
    ready = [row for row in rows if row.part not in waiting]
    return [_message(row) for row in sorted(ready, key=lambda row: list(CATALOGUE).index(PartName(row.part)))]


def resume(connection: Connection, key: int, now: datetime, requeue_after: timedelta) -> list[SliceMessage]:
    """The messages with which the running run of a job goes on that was paused."""
    rows = connection.execute(
        update(run_parts)
        .where(
            run_parts.c.organization_id == key,
            run_parts.c.wake_at.is_not(None),
            run_parts.c.lease_until.is_(None),
        )
        .values(wake_at=now + requeue_after)
        .returning(*run_parts.c)
    ).all()
    return [_message(row) for row in rows]


def due(now: ColumnElement[datetime]) -> Select[Any, Any]:
    """The numbers of the organizations with parts whose time to be woken has come, and since when: expired leases,
    waits that are over, lost messages."""
    return select(run_parts.c.organization_id, run_parts.c.wake_at.label("since")).where(
        run_parts.c.wake_at <= now, _goes_on()
    )


def wake(connection: Connection, key: int, now: datetime, requeue_after: timedelta) -> list[SliceMessage]:
    """The messages for the organization's parts that are due.

    A part that another transaction works on this very moment is left to it: that one may want the organization's row
    next, which this one holds.
    """
    identity = run_parts.primary_key.columns
    waiting = (
        select(*identity)
        .where(run_parts.c.organization_id == key, run_parts.c.wake_at <= now, _goes_on())
        .with_for_update(of=run_parts, skip_locked=True)
        .cte("waiting")
    )
    rows = connection.execute(
        update(run_parts)
        .where(tuple_(*identity).in_(select(waiting)))
        .values(wake_at=now + requeue_after)
        .returning(*run_parts.c)
    ).all()
    return [_message(row) for row in rows]


def find_waiting(connection: Connection, key: int, run_id: str) -> Collection[str]:
    """The run's parts whose source is in the run too and is not over yet."""
    unfinished = set(
        connection.execute(
            select(run_parts.c.part).where(
                run_parts.c.organization_id == key,
                run_parts.c.run_id == run_id,
                run_parts.c.status.in_(runs.UNFINISHED),
            )
        ).scalars()
    )
    return {part.name for part in CATALOGUE.values() if part.source in unfinished}


def rests(connection: Connection, key: int, run_id: str) -> bool:
    """Whether the job is paused, and the run is none that goes on all the same."""
    resting = select(run_parts.c.part).where(
        run_parts.c.organization_id == key, run_parts.c.run_id == run_id, ~_goes_on()
    )
    return connection.execute(resting).first() is not None


def _message(row: Row[Any]) -> SliceMessage:
    return SliceMessage(
        organization_key=row.organization_id,
        activity_identifier=row.run_id,
        part=PartName(row.part),
        fence=row.fence,
    )


def _goes_on() -> ColumnElement[bool]:
    """Of a row of ``run_parts``: that its job is not paused, or its run keeps cursors, which a pause must not let grow
    too old."""
    going_on = (
        select(runs_table.c.run_id)
        .join(jobs, jobs.c.organization_id == runs_table.c.organization_id)
        .where(
            runs_table.c.organization_id == run_parts.c.organization_id,
            runs_table.c.run_id == run_parts.c.run_id,
            or_(jobs.c.status_code != StatusCode.PAUSED, runs_table.c.keeps_cursors),
        )
    )
    return going_on.correlate(run_parts).exists()
