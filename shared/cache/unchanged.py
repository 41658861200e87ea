"""Of a page that a full run reads beside the visible cache: notes what the cache holds already, and finds the rest.

What tells nothing new needs neither to be kept until the listing is complete nor to be read a second time; it is most
of what a full run brings.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from shared.cache import bulk, escrows, held_deletions, links
from shared.cache.changes import Effect, decide, hash_of_replacement
from shared.cache.known_objects import find_marks, look_up
from shared.cache.tables import objects, seen_objects
from shared.models.records import ObjectRecord, Page
from shared.models.runs import Counts
from shared.models.slices import Slice


def note(connection: Connection, work: Slice, page: Page) -> tuple[Counts, Sequence[ObjectRecord]]:
    """Notes the objects and links of the page that are as the cache has them.

    Once something of an object has been put aside, what comes of it later is too: it is applied in the order in which
    it came.

    Returns:
        The counts of what was noted, and the records that have to be put aside.
    """
    key, part, generation = work.organization.key, work.part, work.generation
    ids = [record.object_id for record in page.records]
    compared = links.compare(connection, work, page.records) if part.relations else ()
    # Where something of an object waits, that it came has to be told there.
    waiting = escrows.among(connection, work, ids)
    waiting |= held_deletions.among(connection, work, [*ids, *("/".join(one.key) for one in compared)])
    different = {one.key[1] for one in compared if not one.same or "/".join(one.key) in waiting} | waiting
    found = _find_same(connection, work, [record for record in page.records if record.object_id not in different])
    unchanged = [record for record in page.records if record.object_id in found]
    rest = [record for record in page.records if record.object_id not in found]
    known = look_up(connection, work, rest)
    left: list[ObjectRecord] = []
    for record in rest:
        old, first = known.stored.get(record.object_id), known.first[record.object_id]
        same = not (
            work.rebuild or record.removal or record.object_id in known.marks.put_aside or record.object_id in different
        )
        if same and part.keeps_objects:
            same = decide(part, record, old, replaces=first, now=work.started_at).effect is Effect.KEEP
        (unchanged if same else left).append(record)
    sources = {record.object_id for record in unchanged}
    links.note(connection, work, [one for one in compared if one.key[1] in sources])
    new = [object_id for object_id in sources if known.first.get(object_id, True)]
    marks = [(object_id, True, False) for object_id in new]
    marks += [(record.object_id, record.object_id in known.marks.noted, True) for record in left]
    if page.broken:
        failed = [broken.object_id for broken in page.broken]
        noted = find_marks(connection, work, failed).noted
        marks += [(object_id, object_id in noted, True) for object_id in failed]
    bulk.upsert(connection, seen_objects, [(key, part.name.value, generation, *mark) for mark in marks])
    reference_deltas = sum(len(record.links) for record in unchanged)
    counts = Counts(
        imported=len(new),
        imported_deltas=sum(record.occurrences for record in unchanged) + reference_deltas,
        imported_reference_deltas=reference_deltas,
        entitled=len(new),
        entitled_for_provisioning=len(new),
    )
    return counts, left


def _find_same(connection: Connection, work: Slice, records: Sequence[ObjectRecord]) -> set[str]:
    """Those of the objects that people see, that the run has not received before, and whose rows are as the records
    say: nearly all, so that nothing more of them is read from the database than their hashes, in one value."""
    part = work.part
    if work.rebuild or not part.keeps_objects or part.collection == "sites":
        return set()
    hashes = {
        record.object_id: hash_of_replacement(part, record).hex()
        for record in records
        if record.removal is None and record.properties
    }
    received = select(seen_objects.c.object_id).where(
        seen_objects.c.organization_id == objects.c.organization_id,
        seen_objects.c.part == objects.c.part,
        seen_objects.c.generation == work.generation,
        seen_objects.c.object_id == objects.c.object_id,
    )
    query = select(objects.c.object_id, bulk.hexadecimal(connection, objects.c.payload_hash)).where(
        objects.c.organization_id == work.organization.key,
        objects.c.part == part.name,
        objects.c.generation < work.generation,
        objects.c.soft_deleted_at.is_(None),
        objects.c.deleted_at.is_(None),
        ~received.exists(),
    )
    pairs = bulk.fetch_pairs(
        connection, bulk.by_keys(connection, query, [objects.c.object_id], [(object_id,) for object_id in hashes])
    )
    return {object_id for object_id, kept in pairs if hashes[object_id] == kept}
