"""Waits that Graph asked for: heeded before it is asked, and told to all who ask the same services."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from shared.cache import throttles
from shared.models.errors import GraphThrottled
from shared.models.parts import Family
from shared.services import Services


async def until(services: Services, key: int, family: Family) -> datetime | None:
    """Until when these services are not to be asked for the organization; None when they may be."""

    def read() -> datetime | None:
        with services.database.read() as connection:
            return throttles.until(connection, key, family, services.now())

    return await asyncio.to_thread(read)


async def share(services: Services, key: int, family: Family, wait: GraphThrottled) -> None:
    """Has everybody wait who would ask these services for the organization."""

    def write() -> None:
        with services.database.write() as connection:
            throttles.extend(connection, key, family, services.now() + timedelta(seconds=wait.retry_after))

    await asyncio.to_thread(write)
