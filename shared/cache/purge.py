"""Takes the cached rows of a removed organization out of the database, in transactions of bounded size."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, delete, select, tuple_

from shared.cache.tables import (
    dirty_parts,
    escrows,
    held_deletions,
    links,
    objects,
    organizations,
    seen_links,
    seen_objects,
    staged_pages,
    subscriptions,
    throttles,
)

ROWS_PER_TRANSACTION = 10_000
_TABLES = (
    dirty_parts, throttles, staged_pages, seen_links, seen_objects, held_deletions, escrows, links, objects,
)  # fmt: skip


def removed() -> Select[Any, Any]:
    """The numbers of the organizations that were removed and still have a row, and since when."""
    return select(organizations.c.organization_id, organizations.c.removed_at.label("since")).where(
        organizations.c.removed_at.is_not(None)
    )


def purge(connection: Connection, key: int) -> bool:
    """Deletes the next rows of a removed organization; False when nothing is left, the organization's row included, or
    nothing but that row and the subscriptions that Graph still has."""
    mine = removed().where(organizations.c.organization_id == key)
    if connection.execute(mine.with_for_update()).first() is None:
        return False
    for table in _TABLES:
        identity = tuple_(*table.primary_key.columns)
        some = select(*table.primary_key.columns).where(table.c.organization_id == key).limit(ROWS_PER_TRANSACTION)
        if connection.execute(delete(table).where(identity.in_(some))).rowcount:
            return True
    subscribed = select(subscriptions.c.collection).where(subscriptions.c.organization_id == key)
    connection.execute(delete(organizations).where(organizations.c.organization_id == key, ~subscribed.exists()))
    return False
