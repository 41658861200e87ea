"""After a complete full listing: finds what it did not name, in transactions of bounded size.

Nothing here runs before the listing ended with a deltaLink; the CHECK constraint on ``run_parts.stage`` says so too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, func, literal, or_, select, tuple_

from shared.cache.tables import held_deletions, links, objects, seen_links, seen_objects
from shared.models.parts import CATALOGUE, PartName
from shared.models.records import Removal
from shared.models.slices import Slice

ROWS_PER_TRANSACTION = 1_000


def find_unseen_objects(
    connection: Connection, work: Slice, *, soft_deleted_too: bool
) -> tuple[Sequence[str], Sequence[str], str | None]:
    """The next objects that the listing did not name.

    Args:
        soft_deleted_too: Whether the listing of soft-deleted objects was complete as well.

    Returns:
        The ids of live objects, those of soft-deleted ones, and where to go on; None at the end.
    """
    noted = _by_itself(
        seen_objects.c.organization_id == objects.c.organization_id,
        seen_objects.c.part == objects.c.part,
        seen_objects.c.generation == work.generation,
        seen_objects.c.object_id == objects.c.object_id,
        seen_objects.c.noted,
    )
    conditions: list[ColumnElement[bool]] = [
        objects.c.organization_id == work.organization.key,
        objects.c.part == work.part.name,
        objects.c.object_id > (work.cursor or ""),
        objects.c.generation < work.generation,
        objects.c.deleted_at.is_(None),
        ~noted,
    ]
    if not soft_deleted_too:
        soft_deletion_waits = _by_itself(
            held_deletions.c.organization_id == objects.c.organization_id,
            held_deletions.c.part == objects.c.part,
            held_deletions.c.object_id == objects.c.object_id,
            held_deletions.c.reason == Removal.SOFT_DELETED,
        )
        conditions += [objects.c.soft_deleted_at.is_(None), ~soft_deletion_waits]
    unseen = connection.execute(
        select(objects.c.object_id, objects.c.soft_deleted_at)
        .where(*conditions)
        .order_by(objects.c.object_id)
        .limit(ROWS_PER_TRANSACTION)
    ).all()
    live = [row.object_id for row in unseen if row.soft_deleted_at is None]
    resting = [row.object_id for row in unseen if row.soft_deleted_at is not None]
    return live, resting, _next([row.object_id for row in unseen])


def find_unseen_links(connection: Connection, work: Slice) -> tuple[Sequence[Row[Any]], str | None]:
    """The next live links that the listing did not name, and where to go on; None at the end."""
    identity = tuple_(links.c.relation, links.c.source_id, links.c.target_id)
    query = select(links).where(*_unseen_links(work))
    if work.cursor:
        query = query.where(identity > tuple_(*orjson.loads(work.cursor)))
    unseen = connection.execute(
        query.order_by(links.c.relation, links.c.source_id, links.c.target_id).limit(ROWS_PER_TRANSACTION)
    ).all()
    keys = [orjson.dumps((row.relation, row.source_id, row.target_id)).decode() for row in unseen]
    return unseen, _next(keys)


def count_unseen_links(connection: Connection, work: Slice) -> int:
    """How many live links the listing did not name."""
    unseen = select(func.count()).select_from(links).where(*_unseen_links(work))
    return connection.execute(unseen).scalar_one()


def count_live_links(connection: Connection, work: Slice) -> int:
    """How many live links of the part's relations there are."""
    live = _live_links(work.organization.key, work.part.relations)
    return connection.execute(select(func.count()).select_from(links).where(live)).scalar_one()


def count_live(connection: Connection, key: int, name: PartName) -> int:
    """How many live entries of a part the cache holds."""
    part = CATALOGUE[name]
    if part.keeps_objects:
        live = and_(
            objects.c.organization_id == key,
            objects.c.part == part.name,
            objects.c.soft_deleted_at.is_(None),
            objects.c.deleted_at.is_(None),
        )
        return connection.execute(select(func.count()).select_from(objects).where(live)).scalar_one()
    live = _live_links(key, part.relations)
    return connection.execute(select(func.count()).select_from(links).where(live)).scalar_one()


def forget_seen(connection: Connection, work: Slice) -> bool:
    """Throws away the next notes on what was seen, those of abandoned runs too; False when none is left."""
    key, part = work.organization.key, work.part
    removed = _delete_some(
        connection, seen_objects, and_(seen_objects.c.organization_id == key, seen_objects.c.part == part.name)
    )
    if part.relations:
        removed += _delete_some(
            connection,
            seen_links,
            and_(seen_links.c.organization_id == key, or_(*(seen_links.c.relation == name for name in part.relations))),
        )
    return removed > 0


def _unseen_links(work: Slice) -> list[ColumnElement[bool]]:
    """What is true of a live link that the listing did not name.

    A group that the part groups knows, and that this listing did not name, keeps its links until that part finds it
    restored or gone; its deletion may be held back.
    """
    noted = _by_itself(
        seen_links.c.organization_id == links.c.organization_id,
        seen_links.c.relation == links.c.relation,
        seen_links.c.generation == work.generation,
        seen_links.c.source_id == links.c.source_id,
        seen_links.c.target_id == links.c.target_id,
    )
    named = _by_itself(
        seen_objects.c.organization_id == links.c.organization_id,
        seen_objects.c.part == work.part.name,
        seen_objects.c.generation == work.generation,
        seen_objects.c.object_id == links.c.source_id,
        seen_objects.c.noted,
    )
    known = (
        objects.c.organization_id == links.c.organization_id,
        objects.c.part == PartName.GROUPS,
        objects.c.object_id == links.c.source_id,
        objects.c.deleted_at.is_(None),
    )
    unnamed = and_(_by_itself(*known), ~named)
    if work.part.keeps_objects:
        soft_deleted = _by_itself(*known, objects.c.soft_deleted_at.is_not(None))
        unnamed = or_(soft_deleted, and_(_by_itself(*known, objects.c.generation < work.generation), ~named))
    # The listing may have named it as deleted, which is no word on its links.
    held_back = _by_itself(
        held_deletions.c.organization_id == links.c.organization_id,
        held_deletions.c.part == work.part.name,
        held_deletions.c.object_id == links.c.source_id,
    )
    conditions = [
        links.c.organization_id == work.organization.key,
        links.c.relation.in_(work.part.relations),
        links.c.generation < work.generation,
        links.c.deleted_at.is_(None),
        ~noted,
        ~held_back,
    ]
    return [*conditions, ~unnamed] if PartName.GROUPS in work.organization.entity.parts else conditions


def _live_links(key: int, relations: Sequence[str]) -> ColumnElement[bool]:
    return and_(links.c.organization_id == key, links.c.relation.in_(relations), links.c.deleted_at.is_(None))


def _by_itself(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """EXISTS that is answered by an index for each row: OFFSET 0 keeps PostgreSQL, which has no statistics of what was
    written a moment ago, from joining."""
    return select(literal(1)).where(*conditions).offset(0).correlate(objects, links).exists()


def _delete_some(connection: Connection, table: Table, condition: ColumnElement[bool]) -> int:
    identity = tuple_(*table.primary_key.columns)
    some = select(*table.primary_key.columns).where(condition).limit(ROWS_PER_TRANSACTION * 10)
    return connection.execute(delete(table).where(identity.in_(some))).rowcount


def _next(keys: Sequence[str]) -> str | None:
    return keys[-1] if len(keys) == ROWS_PER_TRANSACTION else None
