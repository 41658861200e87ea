"""Fetches the next page while the caller still works on the one before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from shared.models.errors import PartFailure
from shared.models.records import Page


async def read_ahead(
    first: Callable[[], Awaitable[Page]], follow: Callable[[str], Awaitable[Page]], link: str | None
) -> AsyncGenerator[Page, None]:
    """The pages from ``link`` on, or from the first one when there is no link yet.

    Closing the generator gives up the page that is on its way.

    Raises:
        PartFailure: A page links to itself; an endless reading would follow (graph.md §4.2.4).
    """

    async def fetch(link: str | None) -> Page:
        return await (first() if link is None else follow(link))

    coming = asyncio.ensure_future(fetch(link))
    try:
        while True:
            page = await coming
            if page.next_link is None:
                yield page
                return
            if page.next_link == link:
                raise PartFailure("RepeatedLink", "Graph's page links to itself.")
            link = page.next_link
            coming = asyncio.ensure_future(fetch(link))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
