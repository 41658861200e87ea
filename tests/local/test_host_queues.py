"""Queue triggers and outputs of the local host, in process."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import azure.functions as func
import httpx
import pytest

from local.host import FunctionsHost, HostStartupError, InvocationFailed
from local.host.listener import Backoff
from local.host.metadata import read_host_options
from local.host.queues import QueueItem

CONNECTION = "AzureWebJobsStorage"


def queue_settings(**values: Any) -> dict[str, Any]:
    return {"extensions": {"queues": values}}


def chain_app(received: list[func.QueueMessage]) -> func.FunctionApp:
    """http -> first -> second."""
    app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

    @app.route(route="start/{kind}", methods=["POST"])
    @app.queue_output(arg_name="out", queue_name="First", connection=CONNECTION)
    def start(req: func.HttpRequest, out: func.Out[Any]) -> func.HttpResponse:
        text = req.get_body().decode()
        kind = req.route_params["kind"]
        values: dict[str, Any] = {
            "text": text,
            "bytes": text.encode(),
            "list": text.split(","),
            "message": func.QueueMessage(body=text),
            "none": None,
            "raises": text,
        }
        out.set(values[kind])
        if kind == "raises":
            raise RuntimeError("after the output was set")
        return func.HttpResponse(status_code=202)

    @app.queue_trigger(arg_name="msg", queue_name="first", connection=CONNECTION)
    @app.queue_output(arg_name="out", queue_name="%NEXT%", connection=CONNECTION)
    async def first(msg: func.QueueMessage, out: func.Out[list[str]]) -> None:
        out.set([msg.get_body().decode() + "!"])

    @app.queue_trigger(arg_name="msg", queue_name="second", connection=CONNECTION)
    def second(msg: func.QueueMessage) -> None:
        received.append(msg)

    return app


def run_chain(kind: str, body: str) -> tuple[int, list[str]]:
    received: list[func.QueueMessage] = []

    async def run() -> int:
        async with FunctionsHost(chain_app(received), settings={"NEXT": "second"}) as host:
            async with httpx.AsyncClient() as client:
                response = await client.post(f"{host.url}/api/start/{kind}", content=body)
            await host.drain()
            return response.status_code

    return asyncio.run(run()), [message.get_body().decode() for message in received]


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("text", "a", ["a!"]),
        ("bytes", "ü", ["ü!"]),
        ("list", "a,b,c", ["a!", "b!", "c!"]),
        ("message", "m", ["m!"]),
        ("none", "x", []),
        ("list", "", ["!"]),
        ("text", '{"a": 1}', ['{"a": 1}!']),
        ("text", '["a", {"b": 2}]', ["a!", '{"b": 2}!']),
    ],
)
def test_outputs_go_from_http_through_two_queues(kind: str, body: str, expected: list[str]) -> None:
    status, received = run_chain(kind, body)
    # Messages of one batch run at the same time, so their order is not promised.
    assert (status, sorted(received)) == (202, sorted(expected))


def test_outputs_of_a_function_that_raised_are_not_delivered() -> None:
    assert run_chain("raises", "a") == (500, [])


def test_text_that_only_looks_like_json_fails_the_invocation() -> None:
    assert run_chain("text", "{braces}") == (500, [])


def test_a_message_beyond_64_kib_fails_the_invocation() -> None:
    assert run_chain("text", "x" * 48 * 1024)[0] == 202
    assert run_chain("text", "x" * (48 * 1024 + 1))[0] == 500


def single_app(work: Callable[[func.QueueMessage], Awaitable[None]], queue: str = "work") -> func.FunctionApp:
    app = func.FunctionApp()

    @app.queue_trigger(arg_name="msg", queue_name=queue, connection=CONNECTION)
    async def worker(msg: func.QueueMessage) -> None:
        await work(msg)

    return app


def test_a_message_has_the_properties_of_the_queue_service() -> None:
    seen: list[func.QueueMessage] = []

    async def keep(msg: func.QueueMessage) -> None:
        seen.append(msg)

    async def run() -> None:
        async with FunctionsHost(single_app(keep), settings={}, port=None) as host:
            await host.queue("work").send('{"a": "ü"}')
            await host.drain()

    asyncio.run(run())
    (message,) = seen
    assert message.get_json() == {"a": "ü"}
    assert message.dequeue_count == 1
    assert message.id
    assert message.pop_receipt
    assert message.insertion_time is not None
    assert message.expiration_time is not None
    assert message.time_next_visible is not None
    assert (message.expiration_time - message.insertion_time).days == 7
    assert (message.time_next_visible - message.insertion_time).total_seconds() >= 599


def test_a_failing_message_is_retried_with_its_dequeue_count_and_then_poison() -> None:
    counts: list[int | None] = []

    async def fail(msg: func.QueueMessage) -> None:
        counts.append(msg.dequeue_count)
        raise ValueError("no")

    async def run() -> None:
        async with FunctionsHost(single_app(fail), settings={}, port=None) as host:
            await host.queue("work").send("bad")
            await host.drain()
            assert len(host.memory_queue("work")) == 0
            (poison,) = host.memory_queue("work-poison").peek()
            assert (poison.body, poison.dequeue_count) == ("bad", 0)

    asyncio.run(run())
    assert counts == [1, 2, 3, 4, 5]


def test_a_message_that_succeeds_at_last_is_not_poison() -> None:
    async def fail_twice(msg: func.QueueMessage) -> None:
        if (msg.dequeue_count or 0) < 3:
            raise ValueError("not yet")

    async def run() -> None:
        host_json = queue_settings(visibilityTimeout="00:00:00.010")
        async with FunctionsHost(single_app(fail_twice), settings={}, host_json=host_json, port=None) as host:
            await host.queue("work").send("x")
            await host.drain()
            assert len(host.memory_queue("work")) == len(host.memory_queue("work-poison")) == 0

    asyncio.run(run())


def test_a_poison_queue_may_have_a_function_whose_failure_is_not_repeated_at_once() -> None:
    calls: list[str] = []
    app = func.FunctionApp()

    @app.queue_trigger(arg_name="msg", queue_name="work", connection=CONNECTION)
    def work(msg: func.QueueMessage) -> None:
        calls.append("work")
        raise ValueError

    @app.queue_trigger(arg_name="msg", queue_name="work-poison", connection=CONNECTION)
    def poison(msg: func.QueueMessage) -> None:
        calls.append("poison")
        raise ValueError

    async def run() -> None:
        async with FunctionsHost(app, settings={}, host_json=queue_settings(maxDequeueCount=2), port=None) as host:
            await host.queue("work").send("x")
            await host.drain()
            assert len(host.memory_queue("work-poison")) == 1
            assert host.memory_queue("work-poison").peek() == []

    asyncio.run(run())
    assert calls == ["work", "work", "poison"]


@pytest.mark.parametrize(
    ("batch", "threshold", "instances", "expected"), [(1, 0, 1, 1), (1, 0, 3, 3), (4, 0, 1, 4), (2, 1, 1, 3)]
)
def test_concurrency_is_batch_size_and_threshold_per_instance(
    batch: int, threshold: int, instances: int, expected: int
) -> None:
    async def run() -> int:
        gates: deque[asyncio.Event] = deque()
        running = most = 0

        async def work(msg: func.QueueMessage) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            gates.append(gate := asyncio.Event())
            await gate.wait()
            running -= 1

        host_json = queue_settings(batchSize=batch, newBatchThreshold=threshold)
        async with FunctionsHost(
            single_app(work), settings={}, host_json=host_json, instances=instances, port=None
        ) as host:
            for number in range(12):
                await host.queue("work").send(str(number))
            while await host.queue("work").pending():
                # Whatever the listeners would start now, they start in these turns of the loop.
                for _ in range(20):
                    await asyncio.sleep(0)
                if gates:
                    gates.popleft().set()
            return most

    assert asyncio.run(asyncio.wait_for(run(), 20)) == expected


def test_a_waiting_listener_wakes_at_once() -> None:
    async def run() -> float:
        done = asyncio.Event()

        async def work(msg: func.QueueMessage) -> None:
            done.set()

        async with FunctionsHost(single_app(work), settings={}, port=None) as host:
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            await host.queue("work").send("x")
            await done.wait()
            return loop.time() - begun

    assert asyncio.run(run()) < 0.09


def test_a_function_that_returns_a_value_without_a_return_binding_fails() -> None:
    app = func.FunctionApp()

    @app.queue_trigger(arg_name="msg", queue_name="work", connection=CONNECTION)
    def worker(msg: func.QueueMessage) -> str:
        return "surplus"

    async def run() -> int:
        async with FunctionsHost(app, settings={}, host_json=queue_settings(maxDequeueCount=1), port=None) as host:
            await host.queue("work").send("x")
            await host.drain()
            return len(host.memory_queue("work-poison"))

    assert asyncio.run(run()) == 1


def test_the_admin_endpoint_invokes_a_queue_function_without_a_message() -> None:
    seen: list[tuple[bytes, int | None]] = []

    async def keep(msg: func.QueueMessage) -> None:
        seen.append((msg.get_body(), msg.dequeue_count))

    async def run() -> None:
        async with FunctionsHost(single_app(keep), settings={}) as host, httpx.AsyncClient() as client:
            url = f"{host.url}/admin/functions/WORKER"
            response = await client.post(url, json={"input": "by hand"})
            assert (response.status_code, response.content) == (202, b"")
            await host.drain()
            assert (await client.post(f"{host.url}/admin/functions/unknown", json={})).status_code == 404
            assert (await client.post(url, content="no")).status_code == 415
            headers = {"content-type": "application/json"}
            assert (await client.post(url, content="no", headers=headers)).status_code == 400
            assert len(host.memory_queue("work")) == 0

    asyncio.run(run())
    assert seen == [(b"by hand", 0)]


def test_stopping_waits_for_running_messages_and_takes_no_more() -> None:
    finished: list[str] = []

    async def run() -> None:
        begun, gate = asyncio.Event(), asyncio.Event()

        async def work(msg: func.QueueMessage) -> None:
            begun.set()
            await gate.wait()
            finished.append(msg.get_body().decode())

        host_json = queue_settings(batchSize=1, newBatchThreshold=0)
        host = FunctionsHost(single_app(work), settings={}, host_json=host_json, port=None)
        await host.start()
        for text in ("one", "two"):
            await host.queue("work").send(text)
        await begun.wait()
        stopping = asyncio.create_task(host.stop())
        await asyncio.sleep(0)
        gate.set()
        await stopping
        assert [item.body for item in host.memory_queue("work").peek()] == ["two"]

    asyncio.run(run())
    assert finished == ["one"]


def test_an_invocation_that_outlasts_the_grace_period_is_cancelled_and_keeps_its_message() -> None:
    async def run() -> None:
        begun = asyncio.Event()

        async def work(msg: func.QueueMessage) -> None:
            begun.set()
            await asyncio.Event().wait()

        host = FunctionsHost(single_app(work), settings={}, port=None, grace_seconds=0.01)
        await host.start()
        await host.queue("work").send("x")
        await begun.wait()
        await host.stop()
        assert host.running == 0
        assert len(host.memory_queue("work")) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batchSize", 0),
        ("batchSize", 33),
        ("newBatchThreshold", -1),
        ("maxDequeueCount", 0),
        ("visibilityTimeout", "soon"),
        ("maxPollingInterval", "00:00:00.05"),
        ("messageEncoding", "utf16"),
    ],
)
def test_queue_settings_out_of_range_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(HostStartupError, match=f"extensions.queues.{key}"):
        read_host_options(queue_settings(**{key: value}))


def test_the_defaults_of_host_json_are_those_of_the_storage_extension() -> None:
    options = read_host_options(json.loads('{"version": "2.0"}')).queues
    assert (options.batch_size, options.new_batch_threshold, options.max_dequeue_count) == (16, 8, 5)
    assert (options.visibility_timeout, options.max_polling_interval, options.message_encoding) == (0, 60, "base64")


def test_polling_backs_off_from_100_ms_to_the_maximum_and_starts_anew_after_a_message() -> None:
    backoff = Backoff(maximum=2.0)
    delays = [backoff.next(False) for _ in range(12)]
    assert delays[0] == 0.1
    assert delays == sorted(delays)
    assert delays[-1] == 2.0
    assert backoff.next(True) == 0.1


def test_a_missing_queue_name_setting_stops_the_start_and_is_named() -> None:
    with pytest.raises(HostStartupError, match="function 'first': '%NEXT%' does not resolve"):
        FunctionsHost(chain_app([]), settings={})


def test_a_failure_by_hand_is_told_to_the_caller() -> None:
    app = func.FunctionApp()

    @app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
    def yearly(timer: func.TimerRequest) -> None:
        raise ValueError

    async def run() -> None:
        async with FunctionsHost(app, settings={}, timers=False, port=None) as host:
            with pytest.raises(InvocationFailed, match="yearly: ValueError"):
                await host.fire_timer("Yearly")

    asyncio.run(run())


def test_a_message_that_moves_on_to_a_queue_already_asked_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues of a storage account are asked one after the other, while functions go on working."""
    received: list[str] = []
    app = func.FunctionApp()

    @app.queue_trigger(arg_name="msg", queue_name="asked-first", connection=CONNECTION)
    async def a(msg: func.QueueMessage) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        received.append(msg.get_body().decode())

    @app.queue_trigger(arg_name="msg", queue_name="asked-last", connection=CONNECTION)
    @app.queue_output(arg_name="out", queue_name="asked-first", connection=CONNECTION)
    def b(msg: func.QueueMessage, out: func.Out[str]) -> None:
        out.set(msg.get_body().decode())

    async def run() -> list[str]:
        async with FunctionsHost(app, settings={}, port=None) as host:
            last = host.memory_queue("asked-last")
            delete, moved = last.delete, asyncio.Event()

            async def deleted(item: QueueItem) -> None:
                await delete(item)
                moved.set()

            async def pending() -> int:
                if not moved.is_set():
                    await last.send("x")
                    await moved.wait()
                return 0

            monkeypatch.setattr(last, "delete", deleted)
            monkeypatch.setattr(last, "pending", pending)
            await host.drain()
            return list(received)

    assert asyncio.run(asyncio.wait_for(run(), 60)) == ["x"]
