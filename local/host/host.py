"""Puts the host together: starts and stops HTTP, timers and queue listeners of one function app."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import azure.functions as func

from .http import HttpFrontend
from .invocation import Invoker, thread_count
from .listener import QueueListener, queue_argument
from .metadata import Binding, FunctionInfo, HostStartupError, read_functions, read_host_options
from .queues import InProcessQueue, InProcessQueueStore, MessageQueue, QueueItem, QueueStore, poison_name
from .routing import RouteOrder, Router
from .timers import ScheduleMonitor, Timer, utc_now

if TYPE_CHECKING:
    from .server import HttpServer

log = logging.getLogger("local.host")

T = TypeVar("T")

DEFAULT_CONNECTION = "AzureWebJobsStorage"


class FunctionsHost:
    """Runs a function app on the current event loop; an async context manager.

    `settings` are taken as they are (None: the process environment). `port=None` runs without an HTTP server, and
    `asgi_app` can then be called in-process. `timers=False` leaves the schedules alone; `fire_timer` still works.
    """

    def __init__(
        self,
        app: func.FunctionApp,
        *,
        settings: Mapping[str, str] | None = None,
        host_json: Mapping[str, Any] | None = None,
        timers: bool = True,
        instances: int = 1,
        bind_address: str = "127.0.0.1",
        port: int | None = 0,
        function_keys: Iterable[str] = (),
        route_order: RouteOrder = "name",
        in_process_queues: bool = False,
        timer_state: Path | None = None,
        grace_seconds: float = 10.0,
        directory: str = "",
        clock: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        if instances < 1:
            raise HostStartupError(f"at least one instance is needed, not {instances}")
        self.settings = dict(os.environ if settings is None else settings)
        self.options = read_host_options(host_json or {})
        self.functions = read_functions(app, self.settings, directory)
        self.router = Router(self.functions, self.options.route_prefix, route_order)
        self._bind_address = bind_address
        self._port = port
        self._grace_seconds = grace_seconds
        self._in_process_queues = in_process_queues
        self._stores: dict[str, QueueStore] = {}
        self._changed = asyncio.Event()
        self._invoker = Invoker(self._queue_of, thread_count(self.settings) * instances, self._changed.set)
        self.asgi_app = HttpFrontend(
            self.router, self.functions, self._invoker, self.invoke_by_hand, function_keys, self._changed.set
        )
        monitor = ScheduleMonitor(timer_state)
        self._timers = {
            function.name.lower(): Timer(function, self._invoker, monitor, clock, sleep)
            for function in self.functions
            if function.trigger.type == "timerTrigger"
        }
        self._run_timers = timers
        self._listeners = [
            self._listener(function)
            for function in self.functions
            if function.trigger.type == "queueTrigger" and not function.disabled
            for _ in range(instances)
        ]
        self._server: HttpServer | None = None
        self._stopped = False

    @property
    def url(self) -> str:
        """The base URL, without the route prefix."""
        if self._server is None:
            raise RuntimeError("the host does not listen")
        name = f"[{self._bind_address}]" if ":" in self._bind_address else self._bind_address
        return f"http://{name}:{self._port}"

    @property
    def running(self) -> int:
        """Invocations that are under way."""
        return self._invoker.running

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to listen, to take messages and to wait for the timers."""
        for earlier, later in self.router.shadowed():
            log.warning(
                "route '%s' of '%s' is tried after the less specific '%s' of '%s', which takes requests meant for it: "
                "the Functions host tries routes in the order of the function names",
                later.template,
                later.function.name,
                earlier.template,
                earlier.function.name,
            )
        if self._port is not None:
            from .server import HttpServer, bind

            sock = bind(self._bind_address, self._port)
            self._port = int(sock.getsockname()[1])
            self._server = HttpServer(self.asgi_app, sock, self._grace_seconds)
            await self._server.start()
        for listener in self._listeners:
            listener.start()
        if self._run_timers:
            for timer in self._timers.values():
                if not timer.function.disabled:
                    timer.start()

    async def stop(self) -> None:
        """Take no more work, let what runs end within the grace period, then cancel the rest."""
        if self._stopped:
            return
        self._stopped = True
        stopping: list[Coroutine[Any, Any, None]] = [listener.stop() for listener in self._listeners]
        stopping += [timer.stop() for timer in self._timers.values()]
        if self._server is not None:
            stopping.append(self._server.stop())
        tasks = [asyncio.ensure_future(item) for item in (*stopping, self.asgi_app.wait_for_background())]
        _, late = await asyncio.wait(tasks, timeout=self._grace_seconds)
        if late:
            log.warning("%d invocations did not end within the grace period", self._invoker.running)
            for listener in self._listeners:
                listener.abandon()
            for timer in self._timers.values():
                timer.abandon()
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._invoker.close()
        for store in self._stores.values():
            await store.close()

    async def drain(self) -> None:
        """Wait until every triggering queue is worked off, retries included, and nothing runs.

        Messages in a queue without a function, and those of a poison queue whose function failed, are not waited for.
        """
        while True:
            self._changed.clear()
            if await self._idle():
                return
            polls = [store.drain_poll_seconds for store in self._stores.values() if store.drain_poll_seconds]
            try:
                await asyncio.wait_for(self._changed.wait(), min(polls, default=None))
            except TimeoutError:
                continue

    async def fire_timer(self, name: str, past_due: bool = False) -> None:
        """Invoke a timer now and wait for its end; raises InvocationFailed where the function raised."""
        timer = self._timers.get(name.lower())
        if timer is None:
            raise KeyError(f"no timer function '{name}'")
        await timer.fire(past_due)

    async def invoke_by_hand(self, function: FunctionInfo, text: str) -> None:
        """What POST /admin/functions/{name} does in the background."""
        if function.trigger.type == "timerTrigger":
            await self.fire_timer(function.name)
            return
        now = datetime.now(UTC)
        item = QueueItem("", text, 0, now, now, now, "")
        await self._invoker.invoke(
            function, queue_argument(function, item), "This function was programmatically called via the host APIs"
        )

    def queue(self, name: str, connection: str = DEFAULT_CONNECTION) -> MessageQueue:
        """A queue, to put messages in."""
        return self._store(connection).queue(name)

    def memory_queue(self, name: str, connection: str = DEFAULT_CONNECTION) -> InProcessQueue:
        """An in-process queue, to look into: `len(queue)`, `queue.peek()`."""
        queue = self.queue(name, connection)
        if not isinstance(queue, InProcessQueue):
            raise TypeError(f"'{name}' is a queue of a storage account")
        return queue

    async def _idle(self) -> bool:
        if self._working:
            return False
        for queue in {id(listener.queue): listener.queue for listener in self._listeners}.values():
            if await queue.pending():
                return False
        # A message that was taken meanwhile may have been answered by one on a queue that was asked before.
        return not self._working and not self._changed.is_set()

    @property
    def _working(self) -> bool:
        return bool(self._invoker.running or self.asgi_app.busy or any(listener.busy for listener in self._listeners))

    def _listener(self, function: FunctionInfo) -> QueueListener:
        queue = self._queue_of(function.trigger)
        poison = poison_name(queue.name)
        return QueueListener(
            function,
            queue,
            self.queue(poison, _connection(function.trigger)) if poison is not None else None,
            self.options.queues,
            self._invoker,
            on_change=self._changed.set,
        )

    def _queue_of(self, binding: Binding) -> MessageQueue:
        return self.queue(str(binding.properties["queueName"]), _connection(binding))

    def _store(self, connection: str) -> QueueStore:
        store = self._stores.get(connection.lower())
        if store is None:
            store = self._stores[connection.lower()] = self._open_store(connection)
        return store

    def _open_store(self, connection: str) -> QueueStore:
        encoding = self.options.queues.message_encoding
        value = self.settings.get(f"AzureWebJobs{connection}") or self.settings.get(connection)
        if self._in_process_queues or not value:
            if not self._in_process_queues and any(key.startswith(f"{connection}__") for key in self.settings):
                raise HostStartupError(f"'{connection}': the local host knows no identity-based connections")
            return InProcessQueueStore(encoding, self._changed.set)
        from .azurite import StorageQueueStore

        return StorageQueueStore(value, encoding)


def _connection(binding: Binding) -> str:
    return str(binding.properties.get("connection") or DEFAULT_CONNECTION)


class HostServer:
    """A FunctionsHost in a thread of its own, for synchronous tests; a context manager with `.url`."""

    def __init__(self, app: func.FunctionApp, **options: Any) -> None:
        self._app = app
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="functions host", daemon=True)
        self._host: FunctionsHost | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.call(self._start())
        except BaseException:
            self._end_loop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.call(self.host.stop())
        finally:
            self._end_loop()

    @property
    def host(self) -> FunctionsHost:
        """The host; its coroutines are to be run by `call`."""
        if self._host is None:
            raise RuntimeError("the host is not started")
        return self._host

    @property
    def url(self) -> str:
        """The base URL, without the route prefix."""
        return self.host.url

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = 60.0) -> T:
        """Run a coroutine on the host's loop and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def drain(self, timeout: float | None = 60.0) -> None:
        """`FunctionsHost.drain`."""
        self.call(self.host.drain(), timeout)

    def fire_timer(self, name: str, past_due: bool = False) -> None:
        """`FunctionsHost.fire_timer`."""
        self.call(self.host.fire_timer(name, past_due))

    def send(self, queue: str, body: str | bytes) -> None:
        """Put a message into a queue of the default connection."""
        self.call(self.host.queue(queue).send(body))

    async def _start(self) -> None:
        self._host = FunctionsHost(self._app, **self._options)
        await self._host.start()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
