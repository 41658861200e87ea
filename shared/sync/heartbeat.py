"""The heartbeat of a slice: renews its lease while a request takes longer than the lease lasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from shared.cache import slices
from shared.models.slices import Slice, StaleSlice
from shared.services import Services
from shared.telemetry.labels import labels

logger = logging.getLogger(__name__)

LONGEST_SLICE = timedelta(minutes=10)
"""The functionTimeout in host.json: a slice that has not ended by then is dead, whatever its process does."""


@asynccontextmanager
async def heartbeat(services: Services, work: Slice) -> AsyncGenerator[None]:
    """Keeps the lease alive within this block, three times as often as it runs out.

    A process that is killed stops beating with it. One that hangs stops after ``LONGEST_SLICE``, and the part goes to
    another. A lost lease shows at the slice's next write.
    """
    over = asyncio.Event()
    beating = asyncio.create_task(_beat(services, work, over))
    try:
        yield
    finally:
        over.set()
        await beating


async def _beat(services: Services, work: Slice, over: asyncio.Event) -> None:
    def renew() -> None:
        with services.database.write() as connection:
            slices.beat(connection, work, services.now(), services.settings.lease)

    interval = services.settings.lease.total_seconds() / 3
    for _ in range(int(LONGEST_SLICE.total_seconds() / interval)):
        with suppress(TimeoutError):
            async with asyncio.timeout(interval):
                await over.wait()
        if over.is_set():
            return
        try:
            await asyncio.to_thread(renew)
        except StaleSlice:
            return
        except Exception as error:
            # The next beat may succeed; if none does, the lease runs out as that of any dead worker.
            told = "the lease of %s was not renewed (%s)"
            logger.warning(told, work.part.name, type(error).__name__, extra=labels(work))
