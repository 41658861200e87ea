"""Writes a page's links (memberships and ownerships), and takes the links of deleted objects along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, select

from shared.cache import bulk, held_deletions
from shared.cache.tables import links, objects, seen_links
from shared.models.parts import CATALOGUE, PartName, Relation
from shared.models.records import LinkChange, LinkKey, ObjectRecord, Removal
from shared.models.runs import RunType
from shared.models.slices import Slice

RELATIONS: tuple[Relation, ...] = ("members", "owners")
LINK_ONLY_PARTS = {
    relation: part.name for part in CATALOGUE.values() if not part.keeps_objects for relation in part.relations
}
"""The part whose entries the links of a relation are."""

LINKED_PARTS = tuple(part.name for part in CATALOGUE.values() if part.relations)
"""The parts that read links."""

UNLISTED_TYPE = "#microsoft.graph.servicePrincipal"
"""Members of this type are told by the delta feed alone: Graph does not name them in the list of a group's members."""
_UNKNOWN = (False, None, None)
_DELETED_AT = list(links.c.keys()).index("deleted_at")
_DIRECTORY_PARTS = tuple(part.name for part in CATALOGUE.values() if part.takes_links_along)


class ComparedLink(NamedTuple):
    """What a page says of a link beside what the cache has.

    Attributes:
        key: The link.
        change: The page's last word on it.
        known: Whether there is a row of it, be it a tombstone.
        there: Whether the cache has it.
        wanted: Whether it is to have it: not a link of something that is gone for good.
        same: Whether the cache has it as it is to be.
        first: Whether a full run names it, and for the first time.
    """

    key: LinkKey
    change: LinkChange
    known: bool
    there: bool
    wanted: bool
    same: bool
    first: bool


def compare(connection: Connection, work: Slice, records: Sequence[ObjectRecord]) -> Sequence[ComparedLink]:
    """The links that the records tell of, each once."""
    changes: dict[LinkKey, LinkChange] = {
        (change.relation, record.object_id, change.target_id): change
        for record in records
        if record.removal is not Removal.HARD_DELETED
        for change in record.links
    }
    key, full = work.organization.key, work.type is RunType.FULL
    stored = _stored(connection, key, list(changes))
    gone = _tombstones(connection, key, {end for _, source, target in changes for end in (source, target)})
    compared: list[ComparedLink] = []
    for link, change in changes.items():
        there, target_type, generation = stored.get(link, _UNKNOWN)
        wanted = not change.removed and link[1] not in gone and link[2] not in gone
        first = wanted and full and generation != work.generation
        same = wanted == there and (not wanted or target_type == change.target_type) and not (work.rebuild and first)
        compared.append(ComparedLink(link, change, link in stored, there, wanted, same, first))
    return compared


def note(connection: Connection, work: Slice, compared: Sequence[ComparedLink]) -> None:
    """Notes that the run's listing named these links, which are as the cache has them."""
    key, generation = work.organization.key, work.generation
    named = [one.key for one in compared if one.same and one.first]
    bulk.upsert(
        connection,
        seen_links,
        [(key, relation, generation, source, target) for relation, source, target in named],
    )


def write_links(
    connection: Connection, work: Slice, records: Sequence[ObjectRecord], change_number: int, now: datetime
) -> tuple[int, Counter[PartName], bool]:
    """Brings the link rows in step with the records; the last word of a page on a link counts.

    Returns:
        The number of rows written, by how much the numbers of live entries changed, and whether links ended only
        because a list of all links did not name them: it leaves out what was soft-deleted a moment ago too.
    """
    key, generation = work.organization.key, work.generation
    compared = compare(connection, work, records)
    new: list[bulk.Row] = []
    changed: list[bulk.Row] = []
    entries: Counter[PartName] = Counter()
    for (relation, source, target), change, known, there, wanted, same, _ in compared:
        if same:
            continue
        deleted_at = None if wanted else now
        row = (key, relation, source, target, change.target_type, deleted_at, change_number, generation)
        (changed if known else new).append(row)
        if relation in LINK_ONLY_PARTS:
            entries[LINK_ONLY_PARTS[relation]] += wanted - there
    bulk.insert(connection, links, new)
    bulk.upsert(connection, links, changed)
    note(connection, work, compared)
    held_deletions.release_links(connection, key, [one.key for one in compared])
    ended = _not_among(connection, work, [record for record in records if record.links_complete])
    more_rows, more_entries = delete_links(connection, ended, change_number, now)
    entries.update(more_entries)
    return len(new) + len(changed) + more_rows, entries, bool(ended)


def delete_links_of(
    connection: Connection, key: int, ids: Sequence[str], change_number: int, now: datetime
) -> tuple[int, Counter[PartName]]:
    """Makes tombstones of all links from and to objects that are gone for good; Graph need not name them.

    Returns:
        As ``delete_links``.
    """
    query = select(links).where(links.c.organization_id == key, links.c.deleted_at.is_(None))
    outgoing = [(relation, object_id) for relation in RELATIONS for object_id in ids]
    found = {
        (row.relation, row.source_id, row.target_id): row
        for one_way in (
            bulk.by_keys(connection, query, [links.c.relation, links.c.source_id], outgoing),
            bulk.by_keys(connection, query, [links.c.target_id], [(object_id,) for object_id in ids]),
        )
        for row in connection.execute(one_way)
    }
    return delete_links(connection, list(found.values()), change_number, now)


def delete_links(
    connection: Connection,
    rows: Sequence[Row[Any]],
    change_number: int,
    now: datetime,
    generation: int | None = None,
) -> tuple[int, Counter[PartName]]:
    """Makes tombstones of live links; ``generation`` replaces theirs where it is given.

    Returns:
        The number of rows written, and by how much the numbers of live entries changed.
    """
    entries: Counter[PartName] = Counter()
    tombstones: list[bulk.Row] = []
    for row in rows:
        written_in = row.generation if generation is None else generation
        tombstones.append((*row[:_DELETED_AT], now, change_number, written_in))
        if row.relation in LINK_ONLY_PARTS:
            entries[LINK_ONLY_PARTS[row.relation]] -= 1
    bulk.upsert(connection, links, tombstones)
    if rows:
        named = [(row.relation, row.source_id, row.target_id) for row in rows]
        held_deletions.release_links(connection, rows[0].organization_id, named)
    return len(tombstones), entries


def find_live(connection: Connection, key: int, wanted: Sequence[LinkKey]) -> Sequence[Row[Any]]:
    """The rows of those of these links that are live."""
    query = select(links).where(links.c.organization_id == key, links.c.deleted_at.is_(None))
    identity = [links.c.relation, links.c.source_id, links.c.target_id]
    return connection.execute(bulk.by_keys(connection, query, identity, wanted)).all()


def _not_among(connection: Connection, work: Slice, complete: Sequence[ObjectRecord]) -> list[Row[Any]]:
    """The live links of objects whose links are all known that are not among these.

    A link to an object that the cache knows as soft-deleted stays, and so does one to a service principal: Graph lists
    neither among the links of an object.
    """
    if not complete:
        return []
    named = {(link.relation, record.object_id, link.target_id) for record in complete for link in record.links}
    query = select(links).where(links.c.organization_id == work.organization.key, links.c.deleted_at.is_(None))
    sources = [(relation, record.object_id) for record in complete for relation in work.part.relations]
    rows = connection.execute(bulk.by_keys(connection, query, [links.c.relation, links.c.source_id], sources))
    unnamed = [row for row in rows if (row.relation, row.source_id, row.target_id) not in named]
    resting = _soft_deleted(connection, work.organization.key, {row.target_id for row in unnamed})
    return [row for row in unnamed if row.target_id not in resting and row.target_type != UNLISTED_TYPE]


def _stored(connection: Connection, key: int, wanted: Sequence[LinkKey]) -> dict[LinkKey, tuple[bool, str | None, int]]:
    if not wanted:
        return {}
    query = select(links).where(links.c.organization_id == key)
    identity = [links.c.relation, links.c.source_id, links.c.target_id]
    return {
        (row.relation, row.source_id, row.target_id): (row.deleted_at is None, row.target_type, row.generation)
        for row in connection.execute(bulk.by_keys(connection, query, identity, wanted))
    }


def _tombstones(connection: Connection, key: int, ids: Collection[str]) -> set[str]:
    """Of these ids the ones that are known to be gone for good: a slow listing may still name them."""
    return _found(connection, key, ids, objects.c.deleted_at.is_not(None))


def _soft_deleted(connection: Connection, key: int, ids: Collection[str]) -> set[str]:
    resting = and_(objects.c.soft_deleted_at.is_not(None), objects.c.deleted_at.is_(None))
    return _found(connection, key, ids, resting)


def _found(connection: Connection, key: int, ids: Collection[str], condition: ColumnElement[bool]) -> set[str]:
    query = select(objects.c.object_id).where(objects.c.organization_id == key, condition)
    wanted = [(part.value, object_id) for part in _DIRECTORY_PARTS for object_id in ids]
    rows = connection.execute(bulk.by_keys(connection, query, [objects.c.part, objects.c.object_id], wanted))
    return set(rows.scalars())
