"""When the parts' cursors have to be used again, lest Graph forgets them: ``parts.refresh_at`` (graph.md §4.5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, update

from shared.cache.tables import jobs, parts, run_parts
from shared.models.parts import CATALOGUE, PartName
from shared.models.runs import RunStatus
from shared.models.slices import WITHOUT_DELTA
from shared.models.synchronization import StatusCode


class DueCursors(NamedTuple):
    """What would grow too old of one organization.

    Attributes:
        stored: The parts whose deltaLink is due.
        links_under_way: Whether a nextLink of a run that has begun is due.
    """

    stored: Sequence[PartName]
    links_under_way: bool


def refresh_at(connection: Connection, key: int, name: PartName, at: datetime | None) -> None:
    """Has the part's cursor, which was stored just now, refreshed at this time; None if it does not age."""
    connection.execute(update(parts).where(parts.c.organization_id == key, parts.c.part == name).values(refresh_at=at))


def refresh_links_under_way(connection: Connection, key: int, at: datetime) -> None:
    """Has the nextLinks of the parts that are being read used by this time: those of a run that is to rest age too."""
    begun = select(run_parts.c.part).where(run_parts.c.organization_id == key, run_parts.c.status == RunStatus.RUNNING)
    connection.execute(
        update(parts)
        .where(
            parts.c.organization_id == key,
            parts.c.part.in_(begun),
            parts.c.part.in_([part.name for part in CATALOGUE.values() if part.source is None]),
            or_(parts.c.refresh_at.is_(None), parts.c.refresh_at > at),
        )
        .values(refresh_at=at)
    )


def due(now: ColumnElement[datetime]) -> Select[Any, Any]:
    """The numbers of the organizations with a cursor that is due, and since when; those of jobs in quarantine are left
    alone."""
    return (
        select(parts.c.organization_id, parts.c.refresh_at.label("since"))
        .join(jobs, jobs.c.organization_id == parts.c.organization_id)
        .where(parts.c.refresh_at <= now, jobs.c.status_code != StatusCode.QUARANTINE)
    )


def take_due(
    connection: Connection, key: int, enabled: Collection[PartName], now: datetime, next_try: datetime
) -> DueCursors:
    """What is due of the organization, which is then due again at ``next_try`` unless it is refreshed before.

    A part that is switched off, or has to be read in full, keeps no cursor alive: the full run brings a new one. What
    it has begun to read is worth keeping all the same.
    """
    under_way = (
        select(run_parts.c.part)
        .where(
            run_parts.c.organization_id == parts.c.organization_id,
            run_parts.c.part == parts.c.part,
            run_parts.c.status == RunStatus.RUNNING,
        )
        .exists()
    )
    of_organization = and_(parts.c.organization_id == key, parts.c.refresh_at <= now)
    rows = connection.execute(
        select(parts.c.part, parts.c.full_run_required, parts.c.delta_link, under_way.label("under_way")).where(
            of_organization
        )
    ).all()
    rows = [row for row in rows if row.part in enabled]
    stored = [PartName(row.part) for row in rows if not row.full_run_required and row.delta_link != WITHOUT_DELTA]
    kept = {row.part for row in rows if row.under_way or row.part in stored}
    connection.execute(update(parts).where(of_organization, parts.c.part.not_in(kept)).values(refresh_at=None))
    connection.execute(update(parts).where(of_organization, parts.c.part.in_(kept)).values(refresh_at=next_try))
    return DueCursors(stored, any(row.under_way for row in rows))
