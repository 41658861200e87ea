"""Which parts have changed in Graph since a run last began to read them, as its notifications say.

A mark is kept from the first notification until a run of the part begins, and taken away in the transaction that
begins it: Graph is asked after that. What it tells later marks the part anew, for the run may have read past it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, select

from shared.cache import bulk, runs
from shared.cache.tables import dirty_parts, jobs, run_parts
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import RunStatus
from shared.models.synchronization import ScheduleState, StatusCode


def mark(connection: Connection, key: int, names: Iterable[PartName], due_at: datetime) -> bool:
    """Has the parts read at this time, or earlier if that was asked for before; whether any of them would not have been
    read by then."""
    # In one order, lest two that do the same wait for each other.
    rows = [
        {"organization_id": key, "part": name, "due_at": due_at} for name in sorted(names, key=list(CATALOGUE).index)
    ]
    if not rows:
        return False
    marked = bulk.merging(connection, dirty_parts).values(rows)
    sooner = marked.on_conflict_do_update(
        index_elements=list(dirty_parts.primary_key),
        set_={"due_at": marked.excluded.due_at},
        where=dirty_parts.c.due_at > marked.excluded.due_at,
    )
    return bool(connection.execute(sooner.returning(dirty_parts.c.part)).all())


def find(connection: Connection, keys: Iterable[int]) -> Mapping[tuple[int, PartName], datetime]:
    """The marks of these organizations: when each of their parts is to be read."""
    rows = connection.execute(select(dirty_parts).where(dirty_parts.c.organization_id.in_(list(keys))))
    return {(row.organization_id, PartName(row.part)): row.due_at for row in rows}


def forget(connection: Connection, key: int, names: Iterable[PartName]) -> None:
    """Takes the marks away: the parts are about to be read, or are read no more."""
    connection.execute(
        delete(dirty_parts).where(dirty_parts.c.organization_id == key, dirty_parts.c.part.in_(list(names)))
    )


def due(now: ColumnElement[datetime]) -> Select[Any, Any]:
    """The numbers of the organizations with a part that is due and in no queued run yet, and since when; those of jobs
    that are not going are left alone."""
    awaited = (
        select(run_parts.c.part)
        .where(
            run_parts.c.organization_id == dirty_parts.c.organization_id,
            run_parts.c.part == dirty_parts.c.part,
            run_parts.c.run_id.in_(runs.unfinished_ids(dirty_parts.c.organization_id)),
            run_parts.c.status == RunStatus.QUEUED,
        )
        .exists()
    )
    return (
        select(dirty_parts.c.organization_id, dirty_parts.c.due_at.label("since"))
        .join(jobs, jobs.c.organization_id == dirty_parts.c.organization_id)
        .where(
            dirty_parts.c.due_at <= now,
            jobs.c.schedule_state == ScheduleState.ACTIVE,
            jobs.c.status_code != StatusCode.QUARANTINE,
            ~awaited,
        )
    )
