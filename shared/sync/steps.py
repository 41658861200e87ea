"""One transaction of a slice: what a stage writes, and how far the part has come by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from shared.cache import slices, throttles
from shared.graph.pages import ReceivedPage
from shared.models.errors import SharedWait
from shared.models.records import Page
from shared.models.runs import Counts
from shared.models.slices import Slice
from shared.services import Services
from shared.telemetry.spans import note_received

Step = Callable[[Connection, Slice, datetime], tuple[Counts, Slice]]
"""Writes, and tells what counts and the part's state after it."""


async def transact(services: Services, work: Slice, step: Step, page: Page | ReceivedPage | None = None) -> Slice:
    """One transaction: what the step writes, how far the part has come, its counts, and what Graph took for it.

    Args:
        page: The page that the step writes, if it writes one.

    Raises:
        StaleSlice: The lease is lost; nothing was written.
        SharedWait: All is committed, but Graph may not be asked for what comes next.
    """

    resource_units = 0 if page is None else page.resource_units

    def write(connection: Connection) -> tuple[Slice, Counts, datetime | None]:
        now = services.now()
        counts, following = step(connection, work, now)
        slices.advance(connection, following, counts, now, services.settings.lease, resource_units)
        if not following.stage.asks_graph:
            return following, counts, None
        return following, counts, throttles.until(connection, work.organization.key, work.part.family, now)

    following, counts, until = await asyncio.to_thread(services.database.transact, write)
    note_received(work, pages=page is not None, objects=counts.imported)
    if until is not None:
        raise SharedWait(work.part.family, until)
    return following
