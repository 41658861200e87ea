"""The stages that read a part's listings, and apply what they bring.

The first full run of a part writes what it receives at once: readers have nothing yet. Later ones put it aside until
both listings are complete, so that a run that is aborted before leaves the cache as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from shared.cache import pages, staged_pages, unchanged
from shared.graph.pages import ReceivedPage
from shared.graph.read_ahead import next_checkpoint, read_ahead
from shared.models.errors import GraphRefused, PartFailure
from shared.models.records import Page
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice, Stage
from shared.services import Services
from shared.sync import derived
from shared.sync.steps import transact

_AnyPage = Page | ReceivedPage


async def read_listing(services: Services, work: Slice, deadline: datetime) -> Slice:
    """Reads the part's own listing until it is complete or the deadline has passed."""
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


async def read_deleted_items(services: Services, work: Slice, deadline: datetime) -> Slice:
    """Reads the listing of the part's soft-deleted objects until it is complete or the deadline has passed."""
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

        work = await transact(services, work, skip)
    return work


def apply_put_aside(services: Services, connection: Connection, work: Slice, now: datetime) -> tuple[Counts, Slice]:
    """Applies the next of what was put aside while the listings were read."""
    staged = staged_pages.find_first(connection, work)
    if staged is None:
        return Counts(), replace(work, stage=Stage.SWEEP_ALL if work.stage is Stage.APPLY_ALL else Stage.SWEEP_LIVE)
    counts = pages.apply_page(connection, work, staged.page, now, services.settings.escrow_retry)
    staged_pages.remove(connection, work, staged.number)
    return counts, replace(work, staged=work.staged - len(staged.page.records) - len(staged.page.broken))


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

    return await transact(services, work, receive, received)


def _forget_abandoned(services: Services, work: Slice) -> bool:
    with services.database.write() as connection:
        return staged_pages.forget_abandoned(connection, work)
