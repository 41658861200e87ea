"""What the planner has something to do for, found by one query however many organizations there are."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, literal_column, select, union_all

from shared.cache import cursors, dirty_parts, jobs, parity, purge, subscriptions, waiting_parts
from shared.cache.types import UtcDateTime


class Due(NamedTuple):
    """The numbers of the organizations that something is due of, the longest waiting first.

    Attributes:
        registered: Those whose run, cursors, waiting parts, changed parts or second look are due.
        removed: Those that were removed and still have rows.
        subscribing: Those with a subscription that is to be created, renewed or removed, whether they are registered
            or not.
    """

    registered: list[int]
    removed: list[int]
    subscribing: list[int]


def find(connection: Connection, now: datetime) -> Due:
    """What is due at this moment.

    Each kind is read by an index that holds little more than what is due: what is not costs nothing.
    """
    # Written out: of a parameter PostgreSQL may assume that a third of every table is due, and plan for that (a tick
    # with 1,000 organizations, of which 100 were due, then took 10 ms in place of 5).
    moment = bindparam("now", now, UtcDateTime, literal_execute=True)
    kinds = {
        "registered": (
            jobs.due(moment),
            waiting_parts.due(moment),
            cursors.due(moment),
            dirty_parts.due(moment),
            parity.due(moment),
        ),
        "removed": (purge.removed(),),
        "subscribing": (subscriptions.due(moment),),
    }
    due = union_all(*(_named(name, one) for name, some in kinds.items() for one in some)).subquery("due")
    rows = connection.execute(
        select(due.c.organization_id, due.c.kind)
        .group_by(due.c.organization_id, due.c.kind)
        .order_by(func.min(due.c.since))
    ).all()
    return Due(**{name: [row.organization_id for row in rows if row.kind == name] for name in kinds})


def _named(name: str, due: Select[Any, Any]) -> Select[Any, Any]:
    kind: ColumnElement[str] = literal_column(f"'{name}'")
    return due.add_columns(kind.label("kind"))
