"""Reads a derived part: takes the next objects of its source from the cache and asks Graph about them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared.cache import organizations
from shared.cache.derived import SourceObject, find_derived, find_objects, find_some, next_objects
from shared.graph.batches import LARGEST_BATCH, Answers
from shared.graph.derived import page_body, records, removal, source_id
from shared.graph.pages import ReceivedPage, parse_page, receive
from shared.models.derivation import Place, place_of
from shared.models.errors import GraphRefused, GraphThrottled, SharedWait, SynchronizationFailure
from shared.models.escrows import UNIDENTIFIED
from shared.models.runs import RunType
from shared.models.slices import Slice
from shared.services import Services
from shared.sync import waits

_ROWS_AT_ONCE = 3 * LARGEST_BATCH
"""Rows that are looked at for one batch, since some of them are not asked about."""
_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The objects of the source that one page is about, and where to go on; one of the links is None."""

    sources: Sequence[SourceObject]
    next_link: str | None = None
    delta_link: str | None = None
    place: Place | None = None

    def before(self, object_id: str) -> _Batch:
        """The batch of what precedes this object, and a link that goes on with it."""
        place = [one.object_id for one in self.sources].index(object_id)
        if self.place is None or not place:
            return _Batch(())
        sources = self.sources[:place]
        return _Batch(sources, next_link=replace(self.place, after=sources[-1].object_id).link)


async def read_page(services: Services, work: Slice, cursor: str | None = None) -> ReceivedPage:
    """The page at the cursor; without one, the first of a listing of everything.

    Raises:
        SynchronizationFailure: As GraphClient's methods.
    """
    return await _answered(services, work, await asyncio.to_thread(_next_batch, services, work, cursor))


async def read_again(services: Services, work: Slice, keys: Sequence[str]) -> ReceivedPage:
    """What Graph answers now about the objects behind these keys of the derived part, or of its source.

    Raises:
        SynchronizationFailure: As GraphClient's methods.
    """
    assert work.part.source is not None
    source, ids = work.part.source, sorted({source_id(key) for key in keys})

    def found() -> _Batch:
        with services.database.read() as connection:
            return _Batch(find_objects(connection, work.organization.key, source, ids))

    return await _answered(services, work, await asyncio.to_thread(found))


def _next_batch(services: Services, work: Slice, cursor: str | None) -> _Batch:
    part, key, changed_only = work.part, work.organization.key, work.type is RunType.INCREMENTAL
    assert part.source is not None
    with services.database.read() as connection:
        place = place_of(cursor, organizations.last_change_number(connection, key))
        found, after = next_objects(connection, key, part.source, place, _ROWS_AT_ONCE, changed_only=changed_only)
    taken: list[SourceObject] = []
    asked = 0
    for one in found:
        asked += _is_asked(work, one)
        if asked > LARGEST_BATCH:
            after = taken[-1].object_id
            break
        taken.append(one)
    if after is None:
        return _Batch(taken, delta_link=place.following, place=place)
    return _Batch(taken, next_link=replace(place, after=after).link, place=place)


def _is_asked(work: Slice, one: SourceObject) -> bool:
    assert work.part.question is not None
    return one.live and work.part.question.asks(one.properties)


async def _answered(services: Services, work: Slice, batch: _Batch) -> ReceivedPage:
    part = work.part
    asked = {one.object_id: one.properties for one in batch.sources if _is_asked(work, one)}
    answers: Answers = await _ask(services, work, list(asked)) if asked else {}
    if throttled := {object_id: wait for object_id, wait in answers.items() if isinstance(wait, GraphThrottled)}:
        batch = batch.before(min(throttled))
        wait = next(iter(throttled.values()))
        if not batch.sources:
            raise wait
        # What was answered is kept, and nothing more is asked until the wait is over.
        await waits.share(services, work.organization.key, part.family, wait)
        answers = {one.object_id: answers[one.object_id] for one in batch.sources if one.object_id in answers}
    values = [
        record for object_id, answer in answers.items() for record in records(part, object_id, asked[object_id], answer)
    ]
    if work.type is RunType.INCREMENTAL:
        # What a listing of everything does not name, its end finds.
        values += await asyncio.to_thread(_removals, services, work, batch, answers, values)
    return receive(page_body(values, batch.next_link, batch.delta_link), part)


def _removals(
    services: Services, work: Slice, batch: _Batch, answers: Answers, values: Sequence[object]
) -> list[dict[str, object]]:
    """Records of the end of what was derived from these objects and is not among the answers any more."""
    page = parse_page(page_body(values, None, None), work.part)
    named = {record.object_id for record in page.records} | {broken.object_id for broken in page.broken}
    if any(object_id.startswith(UNIDENTIFIED) for object_id in named):
        # It may be any of those that are missed.
        return []
    known = [
        one.object_id for one in batch.sources if not isinstance(answers.get(one.object_id), SynchronizationFailure)
    ]
    with services.database.read() as connection:
        derived = find_derived(connection, work.organization.key, work.part, known)
    return [removal(work.part, object_id) for object_id in derived if object_id not in named]


async def _ask(services: Services, work: Slice, ids: Sequence[str]) -> Answers:
    """Asks about the objects; when all are refused, whether it is for the want of a permission.

    Raises:
        GraphRefused: Graph refuses others just the same, or there are none to be asked about.
        SharedWait: Graph may not be asked yet.
    """
    client, part = services.graph.get(work.organization), work.part
    low_priority = work.type is RunType.FULL
    # The batch before this one is perhaps not written yet: a slice asks one ahead.
    if (until := await waits.until(services, work.organization.key, part.family)) is not None:
        raise SharedWait(part.family, until)
    answers = await client.ask(part, ids, low_priority=low_priority)
    refusals = [answer for answer in answers.values() if isinstance(answer, GraphRefused) and answer.status in _REFUSED]
    # That there is nothing of an object is told without a permission too.
    if not refusals or len(refusals) < sum(answer != [] for answer in answers.values()):
        return answers

    def others() -> Sequence[str]:
        with services.database.read() as connection:
            keys = find_some(connection, work.organization.key, part, ids, LARGEST_BATCH)
        return sorted({source_id(key) for key in keys})

    witnesses = await asyncio.to_thread(others)
    told: Answers = await client.ask(part, witnesses, low_priority=low_priority) if witnesses else {}
    if all(isinstance(answer, GraphRefused) for answer in told.values()):
        raise refusals[0]
    return answers
