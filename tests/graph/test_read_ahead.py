"""Pages come in order, one of them ahead of the reader, and none is left on its way."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import orjson
import pytest

from shared.graph.pages import ReceivedPage, receive
from shared.graph.read_ahead import next_checkpoint, read_ahead
from shared.models.errors import GraphUnavailable, PartFailure
from shared.models.parts import CATALOGUE, PartName

T = TypeVar("T")


def empty_page(next_link: str | None = None, delta_link: str | None = None) -> ReceivedPage:
    body = {"value": [], "@odata.nextLink": next_link, "@odata.deltaLink": delta_link}
    return receive(orjson.dumps(body), CATALOGUE[PartName.USERS])


class Chain:
    """Pages that link to one another: "1" to "2" and so on up to ``length``."""

    def __init__(self, length: int, **special: ReceivedPage | Exception) -> None:
        self.special = {name.removeprefix("page"): page for name, page in special.items()}
        self.length = length
        self.asked: list[str] = []
        self.under_way = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def first(self) -> ReceivedPage:
        return await self.follow("1")

    async def follow(self, link: str) -> ReceivedPage:
        self.asked.append(link)
        self.under_way += 1
        try:
            await asyncio.sleep(0)
            await self.gate.wait()
        finally:
            self.under_way -= 1
        page = self.special.get(link)
        if isinstance(page, Exception):
            raise page
        last = int(link) == self.length
        return page or empty_page(None if last else str(int(link) + 1), f"delta{link}" if last else None)


def run(body: Callable[[], Awaitable[T]]) -> T:
    async def main() -> T:
        async with asyncio.timeout(10):
            return await body()

    return asyncio.run(main())


async def settle() -> None:
    """Lets everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("link", "expected"), [(None, ["1", "2", "3"]), ("2", ["2", "3"]), ("3", ["3"])])
def test_all_pages_come_in_order_from_the_link_on(link: str | None, expected: list[str]) -> None:
    async def body() -> None:
        chain = Chain(3)
        pages = [page async for page in read_ahead(chain.first, chain.follow, link)]
        assert chain.asked == expected
        assert [page.next_link for page in pages] == [*expected[1:], None]
        assert pages[-1].delta_link == "delta3"

    run(body)


def test_one_page_is_fetched_ahead_and_not_more() -> None:
    async def body() -> None:
        chain = Chain(5)
        async with aclosing(read_ahead(chain.first, chain.follow, None)) as pages:
            await anext(pages)
            await settle()
            assert chain.asked == ["1", "2"]
            await anext(pages)
            await settle()
            assert chain.asked == ["1", "2", "3"]

    run(body)


def test_the_page_on_its_way_is_given_up_when_the_reader_stops() -> None:
    async def body() -> None:
        chain = Chain(5)
        async with aclosing(read_ahead(chain.first, chain.follow, None)) as pages:
            await anext(pages)
            chain.gate.clear()
            await settle()
            assert chain.under_way == 1
        assert chain.under_way == 0
        assert chain.asked == ["1", "2"]

    run(body)


def test_a_reader_that_is_cancelled_leaves_no_page_on_its_way() -> None:
    async def body() -> None:
        chain = Chain(5)
        chain.gate.clear()

        async def read() -> None:
            async with aclosing(read_ahead(chain.first, chain.follow, None)) as pages:
                async for _ in pages:
                    pass

        reader = asyncio.create_task(read())
        await settle()
        assert chain.under_way == 1
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert chain.under_way == 0

    run(body)


@pytest.mark.parametrize("link", [None, "2"])
def test_a_page_that_links_to_itself_ends_the_reading_with_a_failure(link: str | None) -> None:
    async def body() -> None:
        chain = Chain(5, page2=empty_page("2"))
        with pytest.raises(PartFailure) as failed:
            async for _ in read_ahead(chain.first, chain.follow, link):
                pass
        assert failed.value.code == "RepeatedLink"
        assert chain.asked == (["1", "2"] if link is None else ["2"])

    run(body)


def test_many_empty_pages_with_links_of_their_own_are_read_to_the_end() -> None:
    async def body() -> None:
        chain = Chain(500)
        pages = [page async for page in read_ahead(chain.first, chain.follow, None)]
        assert len(pages) == 500

    run(body)


def test_a_failure_ahead_comes_after_the_page_before_it() -> None:
    async def body() -> None:
        chain = Chain(5, page2=GraphUnavailable("serviceNotAvailable", "later"))
        read: list[ReceivedPage] = []

        async def read_all() -> None:
            async for page in read_ahead(chain.first, chain.follow, None):
                read.append(page)

        with pytest.raises(GraphUnavailable):
            await read_all()
        assert [page.next_link for page in read] == ["2"]

    run(body)


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 7, 20])
@pytest.mark.parametrize("length", [1, 2, 3, 8, 21])
def test_a_circle_of_any_length_is_found_however_late_it_begins(tail: int, length: int) -> None:
    checkpoint: str | None = None

    def pages_until_it_is_found() -> int:
        nonlocal checkpoint
        for page in range(3 * (tail + length) + 2):
            number = page if page < tail else tail + (page - tail) % length
            try:
                checkpoint = next_checkpoint(checkpoint, f"https://graph/{number}")
            except PartFailure:
                return page
        pytest.fail("The circle was not found.")

    # Not before a link was there twice.
    assert pages_until_it_is_found() >= tail + length


def test_a_long_listing_without_a_circle_goes_on_and_is_remembered_in_few_characters() -> None:
    checkpoint: str | None = None
    for number in range(20_000):
        checkpoint = next_checkpoint(checkpoint, f"https://graph/{number}")
        assert len(checkpoint) < 60
    assert checkpoint is not None
    assert "graph" not in checkpoint
