"""Follows a listing's links: fetches the next page while the caller still works on the one before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from hashlib import blake2b
from typing import Protocol, TypeVar

from shared.models.errors import PartFailure


class Linked(Protocol):
    """A page, whether it has been read or not."""

    @property
    def next_link(self) -> str | None:
        """Where the listing goes on."""
        ...


AnyPage = TypeVar("AnyPage", bound=Linked)


def next_checkpoint(checkpoint: str | None, link: str) -> str:
    """What to remember of a listing's links, once a page has led on to ``link``, to notice that it goes in a circle.

    Nothing else may be taken for endless: many pages in a row may be empty (graph.md §4.2.4). One link is remembered,
    every time the number of pages doubles (R. P. Brent, "An improved Monte Carlo factorization algorithm", 1980): a
    circle of any length is found, at the latest after about three times the pages up to its first end.

    Args:
        checkpoint: What was remembered after the page before; None at a listing's start.

    Raises:
        PartFailure: The listing leads to that link once more.
    """
    number, _, remembered = (checkpoint or "0:").partition(":")
    pages, digest = int(number) + 1, blake2b(link.encode(), digest_size=16).hexdigest()
    if digest == remembered:
        raise PartFailure("RepeatedLink", "Graph's listing goes in a circle.")
    doubled = pages & (pages - 1) == 0
    return f"{pages}:{digest if doubled else remembered}"


async def read_ahead(
    first: Callable[[], Awaitable[AnyPage]], follow: Callable[[str], Awaitable[AnyPage]], link: str | None
) -> AsyncGenerator[AnyPage, None]:
    """The pages from ``link`` on, or from the first one when there is no link yet.

    Closing the generator gives up the page that is on its way.

    Raises:
        PartFailure: A page links to itself; an endless reading would follow (graph.md §4.2.4).
    """

    async def fetch(link: str | None) -> AnyPage:
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
