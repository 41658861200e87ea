"""The stages of a part's run, each in transactions that hold rows, cursor and counters together.

Incremental   listing → retries → deletions → cleanup
Full          listing → deletedItems → applyAll  → sweepAll  → deletions → sweepLinks → cleanup
                                  └──→ applyLive → sweepLive ──┘             └──→ holdLinks ──┘
              (…Live when Graph does not list the soft-deleted objects, holdLinks when too many links were not named)

The first full run of a part writes what it receives at once: readers have nothing yet. Later ones put it aside until
both listings are complete, so that a run that is aborted before leaves the cache as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from shared.cache import escrows, jobs, objects, pages, part_states, slices, staged_pages, sweep, throttles, unchanged
from shared.graph.client import GraphClient
from shared.graph.failures import in_time
from shared.graph.pages import ReceivedPage
from shared.graph.read_ahead import next_checkpoint, read_ahead
from shared.models.errors import (
    GraphRefused,
    GraphThrottled,
    GraphUnavailable,
    PartFailure,
    SharedWait,
    SynchronizationFailure,
)
from shared.models.parts import Part, PartName
from shared.models.records import BrokenRecord, ObjectRecord, Page, Removal
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice, Stage
from shared.services import Services
from shared.sync import derived

_RETRIES_AT_ONCE = 8
_PAGES_TIME = 3
"""How often the time of one page an object may take with all its links: well within a slice's ten minutes."""

_AnyPage = Page | ReceivedPage
_Step = Callable[[Connection, Slice, datetime], tuple[Counts, Slice]]


async def work_on(services: Services, work: Slice, deadline: datetime) -> Slice | None:
    """Works on the part until it is done or the deadline has passed; at least one transaction gets it on.

    Returns:
        The part's last state when it is done, None when work is left.

    Raises:
        StaleSlice: The lease is lost.
        SharedWait: Another slice was told to wait; what was done is committed.
        SynchronizationFailure: As GraphClient's methods.
    """
    while True:
        match work.stage:
            case Stage.LISTING:
                work = await _list(services, work, deadline)
            case Stage.RETRIES:
                work = await _retry(services, work, deadline)
            case Stage.DELETED_ITEMS:
                work = await _list_deleted_items(services, work, deadline)
            case Stage.APPLY_LIVE | Stage.APPLY_ALL:
                work = await _step(services, work, partial(_apply_staged, services))
            case Stage.SWEEP_LIVE | Stage.SWEEP_ALL:
                work = await _step(services, work, _sweep_objects)
            case Stage.DELETIONS:
                work = await _step(services, work, partial(_carry_out_deletions, services))
            case Stage.HOLD_LINKS | Stage.SWEEP_LINKS:
                work = await _step(services, work, _sweep_links)
            case Stage.CLEANUP:
                cleaned, work = await asyncio.to_thread(_forget, services, work)
                if cleaned:
                    return work
        if services.now() >= deadline:
            return None


async def _list(services: Services, work: Slice, deadline: datetime) -> Slice:
    client, part = services.graph.get(work.organization), work.part
    low_priority = work.type is RunType.FULL
    if work.beside and work.cursor is None:
        while await asyncio.to_thread(_forget_abandoned, services, work):
            pass

    def listed(work: Slice, page: _AnyPage) -> Slice:
        work = replace(work, total=total)
        if page.next_link is not None:
            checkpoint = next_checkpoint(work.checkpoint, page.next_link)
            return replace(work, cursor=page.next_link, checkpoint=checkpoint)
        if page.delta_link is None:
            raise PartFailure("IncompleteListing", "Graph ended the listing without a deltaLink.")
        stage = Stage.RETRIES
        if work.type is RunType.FULL:
            stage = Stage.APPLY_ALL if part.deleted_items is None else Stage.DELETED_ITEMS
        return replace(work, cursor=None, checkpoint=None, delta_link=page.delta_link, stage=stage)

    total = work.total

    async def first_page_and_total() -> ReceivedPage:
        nonlocal total
        # At once: where an answer takes long, neither is to wait for the other.
        asked = client.first_page(part, low_priority=low_priority), client.count(part, low_priority=low_priority)
        page, number = await asyncio.gather(*asked, return_exceptions=True)
        if isinstance(page, BaseException):
            raise page
        if isinstance(number, BaseException):
            raise number
        total = number
        return page

    first = partial(client.first_page, part, low_priority=low_priority)
    if work.type is RunType.FULL and work.total is None and work.last_error is None:
        # Only at the first attempt: nothing waits for a total, should it be refused again and again.
        first = first_page_and_total
    follow = partial(client.next_page, part, low_priority=low_priority)
    if part.source is not None:
        first = follow = partial(derived.read_page, services, work)
    coming_pages = read_ahead(_read(work, first), _read(work, follow), work.cursor)
    async with aclosing(coming_pages) as coming:
        async for page in coming:
            work = await _receive(services, work, page, listed)
            if services.now() >= deadline:
                break
    return work


async def _retry(services: Services, work: Slice, deadline: datetime) -> Slice:
    """Reads the objects again, some at a time, that failed in earlier runs and whose time has come."""
    client, part = services.graph.get(work.organization), work.part

    def due() -> tuple[Sequence[BrokenRecord], Sequence[str]]:
        with services.database.read() as connection:
            found = escrows.list_due(connection, work, services.now(), _RETRIES_AT_ONCE)
            return found, [objects.graph_id(connection, work.organization.key, part, one.graph_id) for one in found]

    while True:
        failed_before, ids = await asyncio.to_thread(due)
        if not failed_before:
            return await _step(services, work, partial(_retried, services))
        if part.source is not None:
            try:
                answered = await derived.read_again(services, work, [broken.object_id for broken in failed_before])
            except GraphUnavailable as failure:
                return await _step(services, work, partial(_retries_put_off, services, [failure]))
            work = await _step(services, work, partial(_apply_answers, services, failed_before, answered.read()))
            if services.now() >= deadline:
                return work
            continue
        seconds = _PAGES_TIME * services.settings.graph_timeout_seconds
        answers = await asyncio.gather(*(_read_again(client, part, identifier, seconds) for identifier in ids))
        work = await _step(services, work, partial(_apply_retries, services, failed_before, answers))
        if any(isinstance(answer, GraphUnavailable) for answer in answers):
            # What else is due waits for the next run: where Graph has no time for these, the rest must go on.
            return await _step(services, work, partial(_retries_put_off, services, answers))
        if services.now() >= deadline:
            return work


async def _read_again(
    client: GraphClient, part: Part, identifier: str, seconds: float
) -> ObjectRecord | SynchronizationFailure | None:
    try:
        return await in_time(client.read_object(part, identifier), seconds)
    except SynchronizationFailure as failure:
        # That Graph answers nothing but errors for this one object must not fail the part every time.
        return failure


def _apply_retries(
    services: Services,
    failed_before: Sequence[BrokenRecord],
    answers: Sequence[ObjectRecord | SynchronizationFailure | None],
    connection: Connection,
    work: Slice,
    now: datetime,
) -> tuple[Counts, Slice]:
    disappeared = [broken.object_id for broken, answer in zip(failed_before, answers, strict=True) if answer is None]
    escrows.forget(connection, work.organization.key, work.part.name, disappeared)
    # What could not be read was perhaps the object's removal, and no other word of it will come.
    removal = Removal.SOFT_DELETED if work.part.deleted_items else Removal.HARD_DELETED
    gone = [
        ObjectRecord(object_id, removal=removal)
        for object_id in disappeared
        if objects.find_live(connection, work.organization.key, work.part.name, object_id) is not None
    ]
    another_part_knows = not work.part.keeps_objects and PartName.GROUPS in work.organization.entity.parts
    if disappeared and not another_part_knows and (work.part.deleted_items or work.part.relations):
        # Nor is it known whether it went for good, and its links with it: complete listings tell.
        part_states.require_full_run(connection, work.organization.key, [work.part.name])
    page = Page(
        records=gone + [answer for answer in answers if isinstance(answer, ObjectRecord)],
        broken=[
            replace(broken, error=answer.told())
            for broken, answer in zip(failed_before, answers, strict=True)
            if isinstance(answer, SynchronizationFailure)
        ],
        next_link=None,
        delta_link=None,
    )
    counts = pages.apply_page(connection, work, page, now, services.settings.escrow_retry)
    return counts, replace(work, cursor=failed_before[-1].object_id)


def _apply_answers(
    services: Services,
    failed_before: Sequence[BrokenRecord],
    page: Page,
    connection: Connection,
    work: Slice,
    now: datetime,
) -> tuple[Counts, Slice]:
    failed_again = {broken.object_id for broken in page.broken}
    answered = [broken.object_id for broken in failed_before if broken.object_id not in failed_again]
    escrows.forget(connection, work.organization.key, work.part.name, answered)
    counts = pages.apply_page(connection, work, page, now, services.settings.escrow_retry)
    return counts, replace(work, cursor=failed_before[-1].object_id)


def _retried(services: Services, connection: Connection, work: Slice, now: datetime) -> tuple[Counts, Slice]:
    """Ends the stage. Objects without a usable id cannot be asked for: when they are due, a full run is."""
    nameless = escrows.list_due_without_id(connection, work, now)
    if nameless:
        escrows.put(connection, work, nameless, now, services.settings.escrow_retry)
        part_states.require_full_run(connection, work.organization.key, [work.part.name])
    return Counts(), replace(work, cursor=None, stage=Stage.DELETIONS)


def _retries_put_off(
    services: Services,
    answers: Sequence[ObjectRecord | SynchronizationFailure | None],
    connection: Connection,
    work: Slice,
    now: datetime,
) -> tuple[Counts, Slice]:
    """Ends the stage early; that Graph asked for a wait is told to the other parts."""
    for answer in answers:
        if isinstance(answer, GraphThrottled):
            until = now + timedelta(seconds=answer.retry_after)
            throttles.extend(connection, work.organization.key, work.part.family, until)
    return _retried(services, connection, work, now)


async def _list_deleted_items(services: Services, work: Slice, deadline: datetime) -> Slice:
    client, part = services.graph.get(work.organization), work.part

    def listed(work: Slice, page: _AnyPage) -> Slice:
        if page.next_link is None:
            return replace(work, cursor=None, checkpoint=None, stage=Stage.APPLY_ALL)
        return replace(work, cursor=page.next_link, checkpoint=next_checkpoint(work.checkpoint, page.next_link))

    coming_pages = read_ahead(
        _read(work, partial(client.first_deleted_page, part, low_priority=True)),
        _read(work, partial(client.next_deleted_page, part, low_priority=True)),
        work.cursor,
    )
    try:
        async with aclosing(coming_pages) as coming:
            async for page in coming:
                work = await _receive(services, work, page, listed)
                if services.now() >= deadline:
                    break
    except GraphRefused:
        # Without that listing nothing is known of soft-deleted objects, so they are left alone.
        def skip(connection: Connection, work: Slice, now: datetime) -> tuple[Counts, Slice]:
            return Counts(), replace(work, cursor=None, checkpoint=None, stage=Stage.APPLY_LIVE)

        work = await _step(services, work, skip)
    return work


def _read(work: Slice, ask: Callable[..., Awaitable[ReceivedPage]]) -> Callable[..., Awaitable[_AnyPage]]:
    """Asks for pages, and reads those that are to be written: while the page before is being written. Of those that are
    compared with the cache first, little has to be read."""

    async def answered(*link: str) -> _AnyPage:
        page = await ask(*link)
        return page if work.beside else page.read()

    return answered


async def _receive(
    services: Services, work: Slice, received: _AnyPage, after: Callable[[Slice, _AnyPage], Slice]
) -> Slice:
    def receive(connection: Connection, work: Slice, now: datetime) -> tuple[Counts, Slice]:
        following = after(work, received)
        if isinstance(received, Page):
            return pages.apply_page(connection, work, received, now, services.settings.escrow_retry), following
        same_counts, same = unchanged.note_same(connection, work, received.digests)
        page = received.read(without=same)
        counts, new = unchanged.note(connection, work, page)
        staged = work.staged + staged_pages.put(connection, work, new, page.broken)
        return same_counts + counts, replace(following, staged=staged)

    return await _step(services, work, receive, received.resource_units)


def _apply_staged(services: Services, connection: Connection, work: Slice, now: datetime) -> tuple[Counts, Slice]:
    staged = staged_pages.find_first(connection, work)
    if staged is None:
        return Counts(), replace(work, stage=Stage.SWEEP_ALL if work.stage is Stage.APPLY_ALL else Stage.SWEEP_LIVE)
    counts = pages.apply_page(connection, work, staged.page, now, services.settings.escrow_retry)
    staged_pages.remove(connection, work, staged.number)
    return counts, replace(work, staged=work.staged - len(staged.page.records) - len(staged.page.broken))


async def _step(services: Services, work: Slice, step: _Step, resource_units: int = 0) -> Slice:
    """One transaction: what the step writes, how far the part has come, its counts, and what Graph took for it.

    Raises:
        StaleSlice: The lease is lost; nothing was written.
        SharedWait: All is committed, but Graph may not be asked for what comes next.
    """

    def write(connection: Connection) -> tuple[Slice, datetime | None]:
        now = services.now()
        counts, following = step(connection, work, now)
        slices.advance(connection, following, counts, now, services.settings.lease, resource_units)
        if not following.stage.asks_graph:
            return following, None
        return following, throttles.until(connection, work.organization.key, work.part.family, now)

    following, until = await asyncio.to_thread(services.database.transact, write)
    if until is not None:
        raise SharedWait(work.part.family, until)
    return following


def _sweep_objects(connection: Connection, work: Slice, now: datetime) -> tuple[Counts, Slice]:
    if not work.part.keeps_objects:
        return Counts(), replace(work, cursor=None, stage=Stage.DELETIONS)
    counts, cursor = pages.sweep_objects(connection, work, now, soft_deleted_too=work.stage is Stage.SWEEP_ALL)
    return counts, replace(work, cursor=cursor, stage=work.stage if cursor else Stage.DELETIONS)


def _carry_out_deletions(
    services: Services, connection: Connection, work: Slice, now: datetime
) -> tuple[Counts, Slice]:
    if work.type is RunType.FULL:
        # The listing is complete: an object that failed earlier and was not named is as gone as the others.
        escrows.forget_unseen(connection, work)
    threshold = jobs.read(connection, work.organization.key).deletion_threshold
    share = services.settings.deletion_share
    counts, left = pages.carry_out_deletions(connection, work, now, threshold, share)
    if left:
        return counts, work
    if work.type is RunType.INCREMENTAL:
        return counts, replace(work, stage=Stage.CLEANUP)
    held_back = pages.holds_links_back(connection, work, threshold, share)
    return counts, replace(work, stage=Stage.HOLD_LINKS if held_back else Stage.SWEEP_LINKS)


def _sweep_links(connection: Connection, work: Slice, now: datetime) -> tuple[Counts, Slice]:
    if not work.part.relations:
        return Counts(), replace(work, cursor=None, stage=Stage.CLEANUP)
    sweep_links = pages.sweep_links if work.stage is Stage.SWEEP_LINKS else pages.hold_links
    counts, cursor = sweep_links(connection, work, now)
    return counts, replace(work, cursor=cursor, stage=work.stage if cursor else Stage.CLEANUP)


def _forget_abandoned(services: Services, work: Slice) -> bool:
    with services.database.write() as connection:
        return staged_pages.forget_abandoned(connection, work)


def _forget(services: Services, work: Slice) -> tuple[bool, Slice]:
    now = services.now()
    with services.database.write() as connection:
        left = sweep.forget_seen(connection, work) or staged_pages.forget_abandoned(connection, work)
        slices.advance(connection, work, Counts(), now, services.settings.lease)
    return not left, work
