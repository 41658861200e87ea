"""Forgets the runs that ended long ago."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select, union_all

from shared.cache.tables import jobs, parts, run_parts, runs

RUNS_AT_ONCE = 20
"""More than one, so that runs do not pile up though each that ends forgets others, and few, because it waits for it."""

_NAMING = (
    jobs.c.last_run,
    jobs.c.last_successful_run,
    jobs.c.last_successful_run_with_exports,
    jobs.c.restarted_run,
    parts.c.last_run,
)


def forget_runs(connection: Connection, key: int, before: datetime) -> None:
    """Deletes the oldest of the organization's runs that were asked for before then, with their parts.

    Those stay that are under way or that the job's state or a part's still names, however old they are.
    """
    named = union_all(
        *(select(column).where(column.table.c.organization_id == key, column.is_not(None)) for column in _NAMING)
    )
    oldest = (
        select(runs.c.run_id)
        .where(
            runs.c.organization_id == key,
            runs.c.queued_at < before,
            runs.c.ended_at.is_not(None),
            runs.c.run_id.not_in(named),
        )
        .order_by(runs.c.queued_at)
        .limit(RUNS_AT_ONCE)
    )
    forgotten = connection.execute(oldest).scalars().all()
    if forgotten:
        for table in (run_parts, runs):
            mine = (table.c.organization_id == key, table.c.run_id.in_(forgotten))
            connection.execute(delete(table).where(*mine))
