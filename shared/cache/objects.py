"""Writes a page's objects: reads what is there, decides, and writes only what changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

from sqlalchemy import Connection, bindparam, select, update

from shared.cache import bulk
from shared.cache.changes import Decision, Effect, StoredObject, decide, stays_in_scope
from shared.cache.known_objects import look_up, replaces
from shared.cache.tables import links, objects, seen_objects
from shared.models.documents import Document, document_of, is_whole
from shared.models.parts import Part, PartName, Properties
from shared.models.records import ObjectRecord, Removal
from shared.models.sites import is_composite
from shared.models.slices import Slice

OUT_OF_SCOPE = "outOfScope"
"""The reason of a deletion that no ``@removed`` announced: the object does not belong to the part any more."""


@dataclass(slots=True)
class ObjectsWritten:
    """What a page did to the objects.

    Attributes:
        imported: Objects that the run had not received before.
        entitled: Of these, the ones in the part's scope.
        written: Rows inserted, updated or turned into tombstones.
        added_entries: Change of the number of live entries.
        hard_deleted: Ids of objects that are gone for good.
        links_unknown: Whether an object is live again whose links Graph may not name again: one that was taken for
            gone, or a restored group.
        incomplete: Whether an object came into the part's scope with less than its selected properties.
        held: Removals of objects that people see, which wait for the run's end: the id and the reason.
    """

    imported: int = 0
    entitled: int = 0
    written: int = 0
    added_entries: int = 0
    hard_deleted: list[str] = field(default_factory=list[str])
    links_unknown: bool = False
    incomplete: bool = False
    held: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def write_objects(
    connection: Connection,
    work: Slice,
    records: Sequence[ObjectRecord],
    change_number: int,
    now: datetime,
    *,
    holds_deletions: bool,
    presumes_new: bool,
) -> ObjectsWritten:
    """Brings the rows in step with the records, which hold each object once.

    Args:
        holds_deletions: Whether removals of objects that people see are held back instead of carried out.
        presumes_new: Whether objects are taken for new without a look, where the primary key would tell otherwise.

    Raises:
        RowsRefused: The database does not take one of the rows, or one was there that was presumed to be new.
    """
    key, part, generation = work.organization.key, work.part, work.generation
    presumed_new = {record.object_id for record in records if presumes_new and _becomes_row(part, record)}
    known = look_up(connection, work, records, presumed_new)
    left_to_groups = _left_to_groups(connection, work, records)
    linked = _linked(connection, work, records)
    written = ObjectsWritten()
    new: list[bulk.Row] = []
    changed: list[bulk.Row] = []
    noted: list[bulk.Row] = []
    digests: dict[str, bytes] = {}
    for record in records:
        old, first = known.stored.get(record.object_id), known.first[record.object_id]
        written.imported += first
        if record.object_id in left_to_groups:
            written.entitled += first
            continue
        replaced = replaces(work, first=first)
        if holds_deletions and (reason := _reason_to_hold(work, record, old, linked, replaces=replaced)):
            written.held.append((record.object_id, reason))
            if first:
                written.entitled += 1
                noted.append((key, part.name.value, generation, record.object_id, True, False))
            continue
        if record.removal is Removal.HARD_DELETED:
            written.hard_deleted.append(record.object_id)
        if part.keeps_objects or record.removal is Removal.HARD_DELETED:
            # A part that keeps no objects keeps their tombstones, against older records that may still come.
            decision = decide(part, record, old, replaces=replaced, now=now)
            written.entitled += first and decision.effect is not Effect.IGNORE
            if replaced and decision.effect is Effect.KEEP:
                digests[record.object_id] = decision.record_digest
            if decision.effect is Effect.WRITE or (work.rebuild and first and decision.effect is Effect.KEEP):
                row = _row(key, part, record.object_id, decision, change_number, generation, now)
                (new if old is None else changed).append(row)
                written.added_entries += decision.live - (old is not None and old.live)
                written.links_unknown |= decision.live and _has_lost_links(part, old)
                written.incomplete |= decision.live and _is_incomplete(work, record, old)
                continue
        else:
            written.entitled += first
        # Of a soft-deleted group no members are listed, so a listing of members alone does not count it as named.
        named = part.keeps_objects or record.removal is not Removal.SOFT_DELETED
        if first and named:
            noted.append((key, part.name.value, generation, record.object_id, True, False))
    # In the order of their ids rows touch SQLite's index more orderly: a commit takes a tenth less.
    new.sort(key=itemgetter(2))
    # Who writes objects of the organization has a change number, and the next one is given when this one is done.
    bulk.insert(connection, objects, new)
    bulk.upsert(connection, objects, changed)
    bulk.upsert(connection, seen_objects, noted)
    write_digests(connection, work, digests)
    written.written = len(new) + len(changed)
    return written


def write_digests(connection: Connection, work: Slice, digests: Mapping[str, bytes]) -> None:
    """Remembers of which records rows could have been made as they are, so that these are known when they come again.

    Nothing that people see changes.
    """
    made_of = (
        update(objects)
        .where(
            objects.c.organization_id == work.organization.key,
            objects.c.part == work.part.name,
            objects.c.object_id == bindparam("named"),
        )
        .values(record_digest=bindparam("digest"))
    )
    if rows := [{"named": object_id, "digest": digest} for object_id, digest in digests.items() if digest]:
        connection.execute(made_of, rows)


def find_live(connection: Connection, key: int, name: PartName, object_id: str) -> Properties | None:
    """The properties of an object that people see; None where there is none."""
    query = select(objects.c.payload).where(
        objects.c.organization_id == key,
        objects.c.part == name,
        objects.c.object_id == object_id,
        objects.c.soft_deleted_at.is_(None),
        objects.c.deleted_at.is_(None),
    )
    return connection.execute(query).scalar_one_or_none()


def graph_id(connection: Connection, key: int, part: Part, identifier: str) -> str:
    """The id by which Graph finds an object: a site's whole one, where the cache knows it for the web's alone."""
    if part.collection != "sites" or is_composite(identifier):
        return identifier
    known = (find_live(connection, key, part.name, identifier.lower()) or {}).get("id")
    return known if isinstance(known, str) and is_composite(known) else identifier


def is_written_after(connection: Connection, key: int, part: Part, object_id: str, change_number: int) -> bool:
    """Whether a later change than this one wrote the object, or a link of its own in the part's relations."""
    written = select(objects.c.object_id).where(
        objects.c.organization_id == key,
        objects.c.part == part.name,
        objects.c.object_id == object_id,
        objects.c.change_number > change_number,
    )
    linked = select(links.c.target_id).where(
        links.c.organization_id == key,
        links.c.relation.in_(part.relations),
        links.c.source_id == object_id,
        links.c.change_number > change_number,
    )
    return any(connection.execute(query.limit(1)).first() is not None for query in (written, linked))


def _left_to_groups(connection: Connection, work: Slice, records: Sequence[ObjectRecord]) -> Collection[str]:
    """In a part that keeps no objects: the groups that are gone for good, and that the part groups has yet.

    It hears of their end as well, and takes the links along when it lets go of them, which may be held back.
    """
    if work.part.keeps_objects or PartName.GROUPS not in work.organization.entity.parts:
        return ()
    query = select(objects.c.object_id).where(
        objects.c.organization_id == work.organization.key,
        objects.c.part == PartName.GROUPS,
        objects.c.deleted_at.is_(None),
    )
    gone = [(record.object_id,) for record in records if record.removal is Removal.HARD_DELETED]
    return set(connection.execute(bulk.by_keys(connection, query, [objects.c.object_id], gone)).scalars())


def _becomes_row(part: Part, record: ObjectRecord) -> bool:
    """Whether the record is written whatever the cache knows, so that the primary key tells if anything is there.

    A part that keeps no objects selects the id alone, of which no document is made.
    """
    return record.removal is None and isinstance(record.properties, Document) and part.in_scope(record.properties)


def _reason_to_hold(
    work: Slice, record: ObjectRecord, old: StoredObject | None, linked: Collection[str], *, replaces: bool
) -> str | None:
    """Why the record takes away what people see, if it does: the object, or in a part of links alone its links."""
    if not work.part.keeps_objects:
        return record.removal if record.object_id in linked else None
    if old is None or not old.live:
        return None
    return record.removal or (None if stays_in_scope(work.part, record, old, replaces=replaces) else OUT_OF_SCOPE)


def _linked(connection: Connection, work: Slice, records: Sequence[ObjectRecord]) -> Collection[str]:
    """In a part that keeps no objects: those that are gone for good and have links yet."""
    gone = [record.object_id for record in records if record.removal is Removal.HARD_DELETED]
    if work.part.keeps_objects or not gone:
        return ()
    query = select(links.c.source_id).where(
        links.c.organization_id == work.organization.key, links.c.deleted_at.is_(None)
    )
    sources = [(relation, object_id) for relation in work.part.relations for object_id in gone]
    found = bulk.by_keys(connection, query, [links.c.relation, links.c.source_id], sources)
    return set(connection.execute(found).scalars())


def _has_lost_links(part: Part, old: StoredObject | None) -> bool:
    if old is None or not part.takes_links_along:
        return False
    return old.deleted_at is not None or (bool(part.relations) and old.soft_deleted_at is not None)


def _is_incomplete(work: Slice, record: ObjectRecord, old: StoredObject | None) -> bool:
    """Whether the part left the object out until now, and Graph sent only what changed to bring it in."""
    known = old is not None and old.deleted_at is None
    left_out = not work.part.in_scope({})
    return left_out and not known and not is_whole(work.part, record.properties)


def _row(
    key: int, part: Part, object_id: str, decision: Decision, change_number: int, generation: int, now: datetime
) -> bulk.Row:
    document = document_of(part, decision.payload)
    return (
        key,
        part.name.value,
        object_id,
        *document.columns,
        decision.soft_deleted_at,
        decision.deleted_at,
        now,
        change_number,
        generation,
        decision.record_digest,
        document.json,
    )
