"""The stage that reads objects again that failed in earlier runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection

from shared.cache import escrows, objects, pages, part_states, throttles
from shared.graph.client import GraphClient
from shared.graph.failures import in_time
from shared.models.errors import GraphThrottled, GraphUnavailable, SynchronizationFailure
from shared.models.parts import Part, PartName
from shared.models.records import BrokenRecord, ObjectRecord, Page, Removal
from shared.models.runs import Counts
from shared.models.slices import Slice, Stage
from shared.services import Services
from shared.sync import derived
from shared.sync.steps import transact

_RETRIES_AT_ONCE = 8
_PAGES_TIME = 3
"""How often the time of one page an object may take with all its links: well within a slice's ten minutes."""


async def read_again(services: Services, work: Slice, deadline: datetime) -> Slice:
    """Reads the objects again, some at a time, that failed in earlier runs and whose time has come."""
    client, part = services.graph.get(work.organization), work.part

    def due() -> tuple[Sequence[BrokenRecord], Sequence[str]]:
        with services.database.read() as connection:
            found = escrows.list_due(connection, work, services.now(), _RETRIES_AT_ONCE)
            return found, [objects.graph_id(connection, work.organization.key, part, one.graph_id) for one in found]

    while True:
        failed_before, ids = await asyncio.to_thread(due)
        if not failed_before:
            return await transact(services, work, partial(_retried, services))
        if part.source is not None:
            try:
                answered = await derived.read_again(services, work, [broken.object_id for broken in failed_before])
            except GraphUnavailable as failure:
                return await transact(services, work, partial(_retries_put_off, services, [failure]))
            work = await transact(services, work, partial(_apply_answers, services, failed_before, answered.read()))
            if services.now() >= deadline:
                return work
            continue
        seconds = _PAGES_TIME * services.settings.graph_timeout_seconds
        answers = await asyncio.gather(*(_answer_about(client, part, identifier, seconds) for identifier in ids))
        work = await transact(services, work, partial(_apply_retries, services, failed_before, answers))
        if any(isinstance(answer, GraphUnavailable) for answer in answers):
            # What else is due waits for the next run: where Graph has no time for these, the rest must go on.
            return await transact(services, work, partial(_retries_put_off, services, answers))
        if services.now() >= deadline:
            return work


async def _answer_about(
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
