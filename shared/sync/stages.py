"""The stages of a part's run, each in transactions that hold rows, cursor and counters together.

Incremental   listing → retries → deletions → cleanup
Full          listing → deletedItems → applyAll  → sweepAll  → deletions → sweepLinks → cleanup
                                  └──→ applyLive → sweepLive ──┘             └──→ holdLinks ──┘
              (…Live when Graph does not list the soft-deleted objects, holdLinks when too many links were not named)
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from shared.cache import escrows, jobs, pages, slices, staged_pages, sweep
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice, Stage
from shared.services import Services
from shared.sync.listing import apply_put_aside, read_deleted_items, read_listing
from shared.sync.retries import read_again
from shared.sync.steps import transact


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
                work = await read_listing(services, work, deadline)
            case Stage.RETRIES:
                work = await read_again(services, work, deadline)
            case Stage.DELETED_ITEMS:
                work = await read_deleted_items(services, work, deadline)
            case Stage.APPLY_LIVE | Stage.APPLY_ALL:
                work = await transact(services, work, partial(apply_put_aside, services))
            case Stage.SWEEP_LIVE | Stage.SWEEP_ALL:
                work = await transact(services, work, _sweep_objects)
            case Stage.DELETIONS:
                work = await transact(services, work, partial(_carry_out_deletions, services))
            case Stage.HOLD_LINKS | Stage.SWEEP_LINKS:
                work = await transact(services, work, _sweep_links)
            case Stage.CLEANUP:
                cleaned, work = await asyncio.to_thread(_forget, services, work)
                if cleaned:
                    return work
        if services.now() >= deadline:
            return None


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


def _forget(services: Services, work: Slice) -> tuple[bool, Slice]:
    now = services.now()
    with services.database.write() as connection:
        left = sweep.forget_seen(connection, work) or staged_pages.forget_abandoned(connection, work)
        slices.advance(connection, work, Counts(), now, services.settings.lease)
    return not left, work
