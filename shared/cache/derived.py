"""The rows that a derived part is about: objects of its source by key, and what was derived from them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from shared.cache import bulk
from shared.cache.tables import objects
from shared.models.derivation import Place
from shared.models.parts import Part, PartName, Properties

ROWS_PER_READING = 20_000
"""Rows of the source that one reading goes through in search of those that changed."""


@dataclass(frozen=True, slots=True)
class SourceObject:
    """An object of the source.

    Attributes:
        live: Whether people see it: neither soft-deleted nor gone.
    """

    object_id: str
    properties: Properties
    live: bool


def next_objects(
    connection: Connection, key: int, source: PartName, place: Place, limit: int, *, changed_only: bool
) -> tuple[Sequence[SourceObject], str | None]:
    """The next objects by key from the place on: those that changed, or those that people see.

    Returns:
        The objects, at most ``limit``, and the key behind which to go on; None at the end.
    """
    behind = (*_of(key, source), objects.c.object_id > place.after)
    query = select(objects.c.object_id, objects.c.payload, _is_live().label("live")).where(*behind)
    last: str | None = None
    if changed_only:
        keys = select(objects.c.object_id).where(*behind).order_by(objects.c.object_id)
        last = connection.execute(keys.offset(ROWS_PER_READING - 1).limit(1)).scalar_one_or_none()
        query = query.where(objects.c.change_number > place.since, objects.c.change_number <= place.until)
        if last is not None:
            query = query.where(objects.c.object_id <= last)
    else:
        query = query.where(_is_live())
    rows = connection.execute(query.order_by(objects.c.object_id).limit(limit)).all()
    found = [SourceObject(row.object_id, row.payload, bool(row.live)) for row in rows]
    return found, found[-1].object_id if len(found) == limit else last


def find_objects(connection: Connection, key: int, source: PartName, ids: Collection[str]) -> Sequence[SourceObject]:
    """The objects with these keys; those that the cache does not know are as good as gone."""
    query = select(objects.c.object_id, objects.c.payload).where(*_of(key, source), _is_live())
    rows = connection.execute(bulk.by_keys(connection, query, [objects.c.object_id], [(one,) for one in ids]))
    live = {row.object_id: row.payload for row in rows}
    return [SourceObject(object_id, live.get(object_id, {}), object_id in live) for object_id in ids]


def find_derived(connection: Connection, key: int, part: Part, source_ids: Sequence[str]) -> Sequence[str]:
    """The keys of the live objects that were derived from these."""
    if not source_ids:
        return []
    query = select(objects.c.object_id).where(*_of(key, part.name), _is_live(), _derived_from(source_ids))
    return connection.execute(query.order_by(objects.c.object_id)).scalars().all()


def find_some(connection: Connection, key: int, part: Part, but: Collection[str], number: int) -> Sequence[str]:
    """The keys of some live objects of the part that were not derived from any of these."""
    query = select(objects.c.object_id).where(*_of(key, part.name), _is_live(), ~_derived_from(list(but)))
    return connection.execute(query.limit(number)).scalars().all()


def find_orphans(connection: Connection, key: int, part: Part, ids: Collection[str]) -> Collection[str]:
    """Which of the part's objects go because what they were derived from is gone."""
    if part.source is None or not ids:
        return ()
    sources = {object_id: object_id.partition("/")[0] for object_id in ids}
    there = {one.object_id for one in find_objects(connection, key, part.source, set(sources.values())) if one.live}
    return {object_id for object_id, source_id in sources.items() if source_id not in there}


def _of(key: int, name: PartName) -> tuple[ColumnElement[bool], ...]:
    return (objects.c.organization_id == key, objects.c.part == name)


def _is_live() -> ColumnElement[bool]:
    return and_(objects.c.soft_deleted_at.is_(None), objects.c.deleted_at.is_(None))


def _derived_from(source_ids: Sequence[str]) -> ColumnElement[bool]:
    """Those of the source's own key, and those in the range of keys below it."""
    ranges = [
        and_(objects.c.object_id > f"{source_id}/", objects.c.object_id < f"{source_id}0") for source_id in source_ids
    ]
    return or_(objects.c.object_id.in_(source_ids), *ranges)
