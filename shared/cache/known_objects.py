"""What the cache knows of the objects on a page before anything of the page is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, select

from shared.cache import bulk
from shared.cache.changes import StoredObject, needs_payload
from shared.cache.tables import objects, seen_objects
from shared.models.records import ObjectRecord
from shared.models.runs import RunType
from shared.models.slices import Slice


@dataclass(frozen=True, slots=True)
class Marks:
    """Ids of objects that the run has received without writing their rows.

    Attributes:
        noted: Those that were found unchanged.
        put_aside: Those of which something waits for the end of the run's listing.
    """

    noted: Set[str]
    put_aside: Set[str]


@dataclass(frozen=True, slots=True)
class Known:
    """What the cache knows of the objects of some records.

    Attributes:
        first: By id, whether the run has not received the object before.
        marks: What the run has made of them so far.
        stored: The rows, by id; their payloads only where they are needed to decide.
    """

    first: Mapping[str, bool]
    marks: Marks
    stored: Mapping[str, StoredObject]


def look_up(
    connection: Connection, work: Slice, records: Sequence[ObjectRecord], presumed_new: Collection[str] = frozenset()
) -> Known:
    """What the cache knows of these objects; each has one record.

    Args:
        presumed_new: Ids of those that are not looked for.
    """
    if not records:
        return Known({}, Marks(frozenset(), frozenset()), {})
    ids = [record.object_id for record in records]
    marks = find_marks(connection, work, ids)
    mine = (objects.c.organization_id == work.organization.key, objects.c.part == work.part.name)
    query = select(
        objects.c.object_id,
        objects.c.record_digest,
        objects.c.generation,
        objects.c.soft_deleted_at,
        objects.c.deleted_at,
    ).where(*mine)
    wanted = [one for one in ids if one not in presumed_new]
    rows = connection.execute(_by_id(connection, query, objects, wanted)).all() if wanted else ()
    stored = {row.object_id: StoredObject(*row[1:]) for row in rows}
    first = {
        one: one not in marks.noted and (one not in stored or stored[one].generation < work.generation) for one in ids
    }
    merged = [
        record.object_id
        for record in records
        if record.object_id in stored
        and needs_payload(record, stored[record.object_id], replaces=replaces(work, first=first[record.object_id]))
    ]
    if merged:
        payloads = select(objects.c.object_id, objects.c.payload).where(*mine)
        for row in connection.execute(_by_id(connection, payloads, objects, merged)):
            stored[row.object_id] = stored[row.object_id]._replace(payload=row.payload)
    return Known(first, marks, stored)


def find_marks(connection: Connection, work: Slice, ids: Sequence[str]) -> Marks:
    """Which of these objects the run has received without writing their rows."""
    query = select(seen_objects.c.object_id, seen_objects.c.noted, seen_objects.c.put_aside).where(
        seen_objects.c.organization_id == work.organization.key,
        seen_objects.c.part == work.part.name,
        seen_objects.c.generation == work.generation,
    )
    # A first run writes nearly all that it receives, and to look for a page's ids takes some milliseconds.
    if connection.execute(query.limit(1)).first() is None:
        return Marks(frozenset(), frozenset())
    rows = connection.execute(_by_id(connection, query, seen_objects, ids)).all()
    return Marks({row.object_id for row in rows if row.noted}, {row.object_id for row in rows if row.put_aside})


def replaces(work: Slice, *, first: bool) -> bool:
    """Whether a record replaces what was known of the object: a full run's first one does."""
    return first and work.type is RunType.FULL


def _by_id(
    connection: Connection, query: Select[*tuple[Any, ...]], table: Table, ids: Sequence[str]
) -> Select[*tuple[Any, ...]]:
    return bulk.by_keys(connection, query, [table.c.object_id], [(object_id,) for object_id in ids])
