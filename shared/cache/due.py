"""What the planner has something to do for, found by one query however many organizations there are."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, false, func, select, true, union_all

from shared.cache import cursors, jobs, parity, purge, waiting_parts
from shared.cache.types import UtcDateTime


class Due(NamedTuple):
    """The numbers of the organizations that something is due of, the longest waiting first.

    Attributes:
        registered: Those whose run, cursors, waiting parts or second look are due.
        removed: Those that were removed and still have rows.
    """

    registered: list[int]
    removed: list[int]


def find(connection: Connection, now: datetime) -> Due:
    """What is due at this moment.

    Each kind is read by an index that holds little more than what is due: what is not costs nothing.
    """
    # Written out: of a parameter PostgreSQL may assume that a third of every table is due, and plan for that (a tick
    # with 1,000 organizations, of which 100 were due, then took 10 ms in place of 5).
    moment = bindparam("now", now, UtcDateTime, literal_execute=True)
    kinds = [kind.add_columns(false().label("removed")) for kind in (
        jobs.due(moment), waiting_parts.due(moment), cursors.due(moment), parity.due(moment)
    )]  # fmt: skip
    due = union_all(*kinds, purge.removed().add_columns(true().label("removed"))).subquery("due")
    rows = connection.execute(
        select(due.c.organization_id, due.c.removed)
        .group_by(due.c.organization_id, due.c.removed)
        .order_by(func.min(due.c.since))
    ).all()
    return Due(
        [row.organization_id for row in rows if not row.removed], [row.organization_id for row in rows if row.removed]
    )
