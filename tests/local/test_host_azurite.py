"""Queue triggers of the local host on Azurite."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import azure.functions as func
import pytest

from local.host import FunctionsHost
from local.host.azurite import StorageQueue
from tests.azurite.account import Azurite

POLLING = {"extensions": {"queues": {"maxPollingInterval": "00:00:00.200"}}}


@pytest.fixture(scope="module")
def connection(azurite: Azurite) -> Iterator[str]:
    with azurite.account() as connection:
        yield connection


def make_app(seen: list[Any], name: str) -> func.FunctionApp:
    app = func.FunctionApp()

    @app.queue_trigger(arg_name="msg", queue_name=f"{name}-in", connection="AzureWebJobsStorage")
    @app.queue_output(arg_name="out", queue_name=f"{name}-out", connection="AzureWebJobsStorage")
    def forward(msg: func.QueueMessage, out: func.Out[str]) -> None:
        seen.append((msg.get_body().decode(), msg.dequeue_count, msg.insertion_time, msg.pop_receipt))
        if msg.get_body() == b"bad":
            raise ValueError
        out.set("<" + msg.get_body().decode() + ">")

    return app


@pytest.mark.parametrize("encoding", ["base64", "none"])
def test_messages_pass_through_storage_queues_with_the_encoding_of_host_json(connection: str, encoding: str) -> None:
    seen: list[Any] = []
    host_json = {"extensions": {"queues": {"maxPollingInterval": "00:00:00.200", "messageEncoding": encoding}}}

    async def run() -> list[Any]:
        settings = {"AzureWebJobsStorage": connection}
        async with FunctionsHost(make_app(seen, encoding), settings=settings, host_json=host_json, port=None) as host:
            for text in ("a", "ü & <x>"):
                await host.queue(f"{encoding}-in").send(text)
            await host.drain()
            return await host.queue(f"{encoding}-out").receive(10, 30)

    received = asyncio.run(asyncio.wait_for(run(), 60))
    assert sorted(text for text, _, _, _ in seen) == ["a", "ü & <x>"]
    assert all(count == 1 and inserted is not None and receipt for _, count, inserted, receipt in seen)
    bodies = sorted(item.body.decode() if isinstance(item.body, bytes) else item.body for item in received)
    assert bodies == ["<a>", "<ü & <x>>"]


def test_a_failing_message_ends_in_the_poison_queue_of_the_account(connection: str) -> None:
    seen: list[Any] = []

    async def run() -> list[Any]:
        settings = {"AzureWebJobsStorage": connection}
        async with FunctionsHost(make_app(seen, "bad"), settings=settings, host_json=POLLING, port=None) as host:
            await host.queue("bad-in").send("bad")
            await host.drain()
            return await host.queue("bad-in-poison").receive(10, 30)

    (poison,) = asyncio.run(asyncio.wait_for(run(), 60))
    assert poison.body == b"bad"
    assert [count for _, count, _, _ in seen] == [1, 2, 3, 4, 5]


def test_a_message_that_is_not_base64_ends_as_poison_without_an_invocation(connection: str) -> None:
    seen: list[Any] = []

    async def run() -> int:
        settings = {"AzureWebJobsStorage": connection}
        async with FunctionsHost(make_app(seen, "raw"), settings=settings, host_json=POLLING, port=None) as host:
            queue = host.queue("raw-in")
            assert isinstance(queue, StorageQueue)
            await queue.send("first, so that the queue exists")
            await asyncio.to_thread(queue._client.send_message, "not base64!")
            await host.drain()
            return await host.queue("raw-in-poison").pending()

    assert asyncio.run(asyncio.wait_for(run(), 60)) == 1
    assert len(seen) == 1


def test_a_message_is_hidden_while_it_is_worked_on_and_for_as_long_as_it_is_given_back_for(connection: str) -> None:
    async def run() -> list[tuple[int, int]]:
        settings = {"AzureWebJobsStorage": connection}
        host = FunctionsHost(make_app([], "hidden"), settings=settings, port=None)
        queue = host.queue("hidden")
        await queue.send("x")
        seen: list[tuple[int, int]] = []
        for visibility in (0, 0, 600):
            (item,) = await queue.receive(1, 30)
            seen.append((item.dequeue_count, len(await queue.receive(1, 30))))
            await queue.release(item, visibility)
        assert await queue.receive(1, 30) == []
        assert await queue.pending() == 1
        await host.stop()
        return seen

    # Each time it is told how often it was taken out, and nobody else gets it meanwhile.
    assert asyncio.run(asyncio.wait_for(run(), 60)) == [(1, 0), (2, 0), (3, 0)]


def test_a_lease_is_renewed_and_a_lost_one_is_noticed(connection: str) -> None:
    async def run() -> None:
        settings = {"AzureWebJobsStorage": connection}
        host = FunctionsHost(make_app([], "lease"), settings=settings, port=None)
        queue = host.queue("lease")
        await queue.send("x")
        (item,) = await queue.receive(1, 30)
        stale = item.pop_receipt
        assert await queue.renew(item, 60)
        assert item.pop_receipt != stale
        item.pop_receipt, fresh = stale, item.pop_receipt
        assert not await queue.renew(item, 60)
        await queue.delete(item)
        assert await queue.pending() == 1
        item.pop_receipt = fresh
        await queue.delete(item)
        assert await queue.pending() == 0
        await host.stop()

    asyncio.run(asyncio.wait_for(run(), 60))
