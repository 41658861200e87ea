"""Of a page that a full run reads beside the visible cache: notes what the cache holds already, and finds the rest.

What tells nothing new needs neither to be kept until the listing is complete nor to be read a second time; it is most
of what a full run brings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, select

from shared.cache import bulk, escrows, held_deletions, links
from shared.cache.changes import Effect, decide
from shared.cache.known_objects import find_marks, look_up
from shared.cache.objects import write_digests
from shared.cache.tables import objects, seen_objects
from shared.models.records import ObjectRecord, Page
from shared.models.runs import Counts
from shared.models.slices import Slice


def note_same(connection: Connection, work: Slice, digests: Mapping[str, bytes]) -> tuple[Counts, Collection[str]]:
    """Notes those objects of a page whose rows were made of the very records that came again; nearly all of them.

    Args:
        digests: Of the records, by object.

    Returns:
        The counts, and the ids of these objects: nothing more need be known of their records.
    """
    if work.part.relations:
        # Their links may have changed since.
        return Counts(), frozenset()
    waiting = _waiting(connection, work, digests)
    same = _note_same(connection, work, {one: digest for one, digest in digests.items() if one not in waiting})
    return _counts(objects=len(same), deltas=len(same)), same


def note(connection: Connection, work: Slice, page: Page) -> tuple[Counts, Sequence[ObjectRecord]]:
    """Notes the objects and links of the page that are as the cache has them.

    Once something of an object has been put aside, what comes of it later is too: it is applied in the order in which
    it came.

    Args:
        page: What ``note_same`` has not noted.

    Returns:
        The counts of what was noted, and the records that have to be put aside.
    """
    key, part, generation = work.organization.key, work.part, work.generation
    compared = links.compare(connection, work, page.records) if part.relations else ()
    named = ["/".join(one.key) for one in compared]
    waiting = _waiting(connection, work, [record.object_id for record in page.records], named)
    different = {one.key[1] for one in compared if not one.same or "/".join(one.key) in waiting} | waiting
    told = {one.object_id: one.digest for one in page.records if one.digest and one.object_id not in different}
    found = _note_same(connection, work, told) if part.relations else frozenset[str]()
    unchanged = [record for record in page.records if record.object_id in found]
    rest = [record for record in page.records if record.object_id not in found]
    known = look_up(connection, work, rest)
    left: list[ObjectRecord] = []
    new: list[str] = []
    digests = dict[str, bytes]()
    for record in rest:
        old, first = known.stored.get(record.object_id), known.first[record.object_id]
        same = not (
            work.rebuild or record.removal or record.object_id in known.marks.put_aside or record.object_id in different
        )
        if same and part.keeps_objects:
            decision = decide(part, record, old, replaces=first, now=work.started_at)
            same = decision.effect is Effect.KEEP
            if same and first:
                digests[record.object_id] = decision.record_digest
        (unchanged if same else left).append(record)
        if same and first:
            new.append(record.object_id)
    write_digests(connection, work, digests)
    sources = {record.object_id for record in unchanged}
    links.note(connection, work, [one for one in compared if one.key[1] in sources])
    marks = [(object_id, True, False) for object_id in new]
    marks += [(record.object_id, record.object_id in known.marks.noted, True) for record in left]
    if page.broken:
        failed = [broken.object_id for broken in page.broken]
        noted = find_marks(connection, work, failed).noted
        marks += [(object_id, object_id in noted, True) for object_id in failed]
    bulk.upsert(connection, seen_objects, [(key, part.name.value, generation, *mark) for mark in marks])
    links_told = sum(len(record.links) for record in unchanged)
    deltas = sum(record.occurrences for record in unchanged) + links_told
    return _counts(objects=len(found) + len(new), deltas=deltas, reference_deltas=links_told), left


def _waiting(connection: Connection, work: Slice, ids: Collection[str], links_named: Collection[str] = ()) -> set[str]:
    """Those of which something waits, a new try or a deletion: that they came has to be told there."""
    return escrows.among(connection, work, ids) | held_deletions.among(connection, work, [*ids, *links_named])


def _note_same(connection: Connection, work: Slice, digests: Mapping[str, bytes]) -> Collection[str]:
    """Notes, and returns, those of the objects that people see, that the run has not received before, and whose rows
    were made of these records."""
    if work.rebuild or not digests:
        return frozenset()
    of_part = {"organization_id": work.organization.key, "part": work.part.name.value, "generation": work.generation}
    received = select(seen_objects.c.object_id).where(
        *(seen_objects.c[name] == value for name, value in of_part.items()),
        seen_objects.c.object_id == objects.c.object_id,
    )
    query = select(objects.c.object_id).where(
        objects.c.organization_id == work.organization.key,
        objects.c.part == work.part.name,
        objects.c.generation < work.generation,
        objects.c.soft_deleted_at.is_(None),
        objects.c.deleted_at.is_(None),
        ~received.exists(),
    )
    columns = [objects.c.object_id, bulk.hexadecimal(connection, objects.c.record_digest)]
    wanted = [(object_id, digest.hex()) for object_id, digest in digests.items()]
    same = bulk.fetch_words(connection, bulk.by_keys(connection, query, columns, wanted))
    bulk.insert_keys(connection, seen_objects, {**of_part, "noted": True, "put_aside": False}, same)
    return set(same)


def _counts(*, objects: int, deltas: int, reference_deltas: int = 0) -> Counts:
    return Counts(
        imported=objects,
        imported_deltas=deltas,
        imported_reference_deltas=reference_deltas,
        entitled=objects,
        entitled_for_provisioning=objects,
    )
