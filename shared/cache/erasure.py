"""Erases a job with all that belongs to it."""

from __future__ import annotations

from sqlalchemy import Connection, delete, update

from shared.cache import escrows, held_deletions, jobs
from shared.cache.tables import dirty_parts, parts, run_parts, runs


def erase_job(connection: Connection, key: int) -> None:
    """Deletes the job with all its state; what the cache holds of the organization stays (graph.md §2.1)."""
    for table in (dirty_parts, run_parts, runs):
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
    jobs.empty(connection, key)
