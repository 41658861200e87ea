"""One transaction of a slice: what a stage writes, and how far the part has come by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection

from shared.cache import slices, throttles
from shared.models.errors import SharedWait
from shared.models.runs import Counts
from shared.models.slices import Slice
from shared.services import Services
from shared.telemetry.spans import note_objects

Step = Callable[[Connection, Slice, datetime], tuple[Counts, Slice]]
"""Writes, and tells what counts and the part's state after it."""


async def transact(services: Services, work: Slice, step: Step, resource_units: int = 0) -> Slice:
    """One transaction: what the step writes, how far the part has come, its counts, and what Graph took for it.

    Raises:
        StaleSlice: The lease is lost; nothing was written.
        SharedWait: All is committed, but Graph may not be asked for what comes next.
    """

    def write(connection: Connection) -> tuple[Slice, Counts, datetime | None]:
        now = services.now()
        counts, following = step(connection, work, now)
        slices.advance(connection, following, counts, now, services.settings.lease, resource_units)
        if not following.stage.asks_graph:
            return following, counts, None
        return following, counts, throttles.until(connection, work.organization.key, work.part.family, now)

    following, counts, until = await asyncio.to_thread(services.database.transact, write)
    note_objects(work, counts.imported)
    if until is not None:
        raise SharedWait(work.part.family, until)
    return following
