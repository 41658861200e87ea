"""Of a page that a full run reads beside the visible cache: notes what the cache holds already, and finds the rest.

What tells nothing new needs neither to be kept until the listing is complete nor to be read a second time; it is most
of what a full run brings.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from shared.cache import bulk, escrows, held_deletions, links
from shared.cache.changes import Effect, decide
from shared.cache.objects import look_up
from shared.cache.tables import seen_objects
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
    known = look_up(connection, work, page.records)
    compared = links.compare(connection, work, page.records) if part.relations else ()
    # Where something of an object waits, that it came has to be told there.
    waiting = escrows.among(connection, work, known.first)
    waiting |= held_deletions.among(connection, work, [*known.first, *("/".join(one.key) for one in compared)])
    different = {one.key[1] for one in compared if not one.same or "/".join(one.key) in waiting} | waiting
    unchanged: list[ObjectRecord] = []
    left: list[ObjectRecord] = []
    for record in page.records:
        old, first = known.stored.get(record.object_id), known.first[record.object_id]
        same = not (
            work.rebuild or record.removal or record.object_id in known.put_aside or record.object_id in different
        )
        if same and part.keeps_objects:
            same = decide(part, record, old, replaces=first, now=work.started_at).effect is Effect.KEEP
        (unchanged if same else left).append(record)
    sources = {record.object_id for record in unchanged}
    links.note(connection, work, [one for one in compared if one.key[1] in sources])
    new = [object_id for object_id in sources if known.first[object_id]]
    aside = {record.object_id for record in left} | {broken.object_id for broken in page.broken}
    marks = [(object_id, False) for object_id in new] + [(object_id, True) for object_id in aside - known.put_aside]
    bulk.upsert(
        connection, seen_objects, [(key, part.name.value, generation, object_id, mark) for object_id, mark in marks]
    )
    reference_deltas = sum(len(record.links) for record in unchanged)
    counts = Counts(
        imported=len(new),
        imported_deltas=sum(record.occurrences for record in unchanged) + reference_deltas,
        imported_reference_deltas=reference_deltas,
        entitled=len(new),
        entitled_for_provisioning=len(new),
    )
    return counts, left
