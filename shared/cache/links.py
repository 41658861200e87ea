"""Writes a page's links (memberships and ownerships), and takes the links of deleted objects along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, select, tuple_, update

from shared.cache import bulk
from shared.cache.tables import links, objects, seen_links
from shared.models.parts import CATALOGUE, PartName, Relation
from shared.models.records import LinkChange, ObjectRecord, Removal
from shared.models.runs import RunType
from shared.models.slices import Slice

LinkKey = tuple[Relation, str, str]
"""A link's relation, source id and target id."""

RELATIONS: tuple[Relation, ...] = ("members", "owners")
LINK_ONLY_PARTS = {
    relation: part.name for part in CATALOGUE.values() if not part.keeps_objects for relation in part.relations
}
"""The part whose entries the links of a relation are."""

_DIRECTORY_PARTS = (PartName.USERS, PartName.GROUPS)


def write_links(
    connection: Connection, work: Slice, records: Iterable[ObjectRecord], change_number: int, now: datetime
) -> tuple[int, Counter[PartName]]:
    """Brings the link rows in step with the records; the last word of a page on a link counts.

    Returns:
        The number of rows written, and by how much the numbers of live entries changed.
    """
    changes: dict[LinkKey, LinkChange] = {
        (change.relation, record.object_id, change.target_id): change
        for record in records
        if record.removal is not Removal.HARD_DELETED
        for change in record.links
    }
    key, generation = work.organization.key, work.generation
    stored = _stored(connection, key, list(changes))
    gone = _tombstones(connection, key, {end for _, source, target in changes for end in (source, target)})
    rows: list[bulk.Row] = []
    noted: list[bulk.Row] = []
    entries: Counter[PartName] = Counter()
    for (relation, source, target), change in changes.items():
        there, target_type, old_generation = stored.get((relation, source, target), (False, None, None))
        wanted = not change.removed and source not in gone and target not in gone
        if wanted == there and (not wanted or target_type == change.target_type):
            if wanted and work.type is RunType.FULL and old_generation != generation:
                noted.append((key, relation, generation, source, target))
            continue
        deleted_at = None if wanted else now
        rows.append((key, relation, source, target, change.target_type, deleted_at, change_number, generation))
        if relation in LINK_ONLY_PARTS:
            entries[LINK_ONLY_PARTS[relation]] += wanted - there
    bulk.upsert(connection, links, rows)
    bulk.upsert(connection, seen_links, noted)
    return len(rows), entries


def delete_links_of(
    connection: Connection, key: int, ids: Sequence[str], change_number: int, now: datetime
) -> tuple[int, Counter[PartName]]:
    """Makes tombstones of all links from and to objects that are gone for good; Graph need not name them.

    Returns:
        As ``write_links``.
    """
    written = 0
    entries: Counter[PartName] = Counter()
    gone = bulk.keys(connection, ids)
    for end in (links.c.relation.in_(RELATIONS) & links.c.source_id.in_(gone), links.c.target_id.in_(gone)):
        relations = connection.execute(
            update(links)
            .where(links.c.organization_id == key, end, links.c.deleted_at.is_(None))
            .values(deleted_at=now, change_number=change_number)
            .returning(links.c.relation)
        ).scalars()
        for relation in relations:
            written += 1
            if relation in LINK_ONLY_PARTS:
                entries[LINK_ONLY_PARTS[relation]] -= 1
    return written, entries


def _stored(connection: Connection, key: int, keys: Sequence[LinkKey]) -> dict[LinkKey, tuple[bool, str | None, int]]:
    if not keys:
        return {}
    identity = tuple_(links.c.relation, links.c.source_id, links.c.target_id)
    rows = connection.execute(
        select(links).where(links.c.organization_id == key, identity.in_(bulk.keys(connection, keys)))
    )
    return {
        (row.relation, row.source_id, row.target_id): (row.deleted_at is None, row.target_type, row.generation)
        for row in rows
    }


def _tombstones(connection: Connection, key: int, ids: Collection[str]) -> set[str]:
    """Of these ids the ones that are known to be gone for good: a slow listing may still name them."""
    return set(
        connection.execute(
            select(objects.c.object_id).where(
                objects.c.organization_id == key,
                objects.c.part.in_(_DIRECTORY_PARTS),
                objects.c.object_id.in_(bulk.keys(connection, list(ids))),
                objects.c.deleted_at.is_not(None),
            )
        ).scalars()
    )
