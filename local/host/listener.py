"""The queue trigger's listener: batches, retries, poison messages and lease renewal of one function on one instance."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Any

from azure.functions.meta import Datum

from .invocation import InvocationFailed, Invoker, decode_trigger
from .metadata import FunctionInfo, QueueOptions
from .queues import MessageQueue, QueueItem

log = logging.getLogger("local.host")

# The listener hides a message for so long and renews at half of it; visibilityTimeout is for failed ones only.
LEASE_SECONDS = 600.0
MINIMUM_POLLING_SECONDS = 0.1


class Backoff:
    """The polling delay: 100 ms after a message was found, then doubling with 20 % of chance up to the maximum."""

    def __init__(self, maximum: float) -> None:
        self._maximum = maximum
        self._current = 0.0
        self._exponent = 0

    def next(self, found: bool) -> float:
        """The delay before the next look at the queue."""
        if found:
            self._current, self._exponent = MINIMUM_POLLING_SECONDS, 1
        elif self._current != self._maximum:
            delay = MINIMUM_POLLING_SECONDS
            if self._exponent > 0:
                delay += random.uniform(0.8, 1.2) * 2.0 ** (self._exponent - 1) * MINIMUM_POLLING_SECONDS
            if delay < self._maximum:
                self._current = delay
                self._exponent += 1
            else:
                self._current = self._maximum
        return self._current


def queue_argument(function: FunctionInfo, item: QueueItem) -> Any:
    """The QueueMessage of an item; bytes arrive as text, which is how the host hands them to the worker."""
    body = item.body if isinstance(item.body, str) else item.body.decode("utf-8", "replace")
    metadata = {
        "Id": Datum(item.id, "string"),
        "DequeueCount": Datum(item.dequeue_count, "int"),
        "InsertionTime": Datum(item.insertion_time.isoformat(), "string"),
        "ExpirationTime": Datum(item.expiration_time.isoformat(), "string"),
        "NextVisibleTime": Datum(item.next_visible_time.isoformat(), "string"),
        "PopReceipt": Datum(item.pop_receipt, "string"),
    }
    return decode_trigger(function, Datum(body, "string"), metadata)


class QueueListener:
    """Takes messages for one function; every simulated instance has its own listener per function."""

    def __init__(
        self,
        function: FunctionInfo,
        queue: MessageQueue,
        poison: MessageQueue | None,
        options: QueueOptions,
        invoker: Invoker,
        lease_seconds: float = LEASE_SECONDS,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.function = function
        self.queue = queue
        self._poison = poison
        self._options = options
        self._invoker = invoker
        self._lease_seconds = lease_seconds
        self._on_change = on_change
        self._backoff = Backoff(options.max_polling_interval)
        self._processing: set[asyncio.Task[None]] = set()
        self._finished = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether messages are being worked on."""
        return bool(self._processing)

    def start(self) -> None:
        """Begin to take messages."""
        self._loop = asyncio.create_task(self._listen(), name=f"queue {self.queue.name} of {self.function.name}")

    async def stop(self) -> None:
        """Take no more messages and wait for those that are being worked on."""
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
        while self._processing:
            await asyncio.wait(set(self._processing))

    def abandon(self) -> None:
        """Cancel what is still running after the grace period; the messages stay in the queue."""
        for task in self._processing:
            task.cancel()

    async def _listen(self) -> None:
        found_since_delay = False
        while True:
            batch = await self._receive()
            if not batch:
                await self.queue.wait(self._backoff.next(found_since_delay))
                found_since_delay = False
                continue
            found_since_delay = True
            for item in batch:
                task = asyncio.create_task(self._process(item))
                self._processing.add(task)
                task.add_done_callback(self._done)
            while len(self._processing) > self._options.new_batch_threshold:
                self._finished.clear()
                await self._finished.wait()

    async def _receive(self) -> list[QueueItem]:
        # Shielded: cancelled in the middle, the messages of the answer would stay invisible for the whole lease.
        receiving = asyncio.ensure_future(self.queue.receive(self._options.batch_size, self._lease_seconds))
        try:
            return await asyncio.shield(receiving)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                for item in await receiving:
                    await self.queue.release(item, 0)
            raise
        except Exception as error:
            log.error("queue '%s' could not be read: %s: %s", self.queue.name, type(error).__name__, error)
            return []

    def _done(self, task: asyncio.Task[None]) -> None:
        self._processing.discard(task)
        self._finished.set()
        self._on_change()
        if not task.cancelled() and task.exception() is not None:
            log.error("queue '%s': a message could not be completed", self.queue.name, exc_info=task.exception())

    async def _process(self, item: QueueItem) -> None:
        if item.dequeue_count > self._options.max_dequeue_count:
            await self._to_poison(item)
            return
        renewal = asyncio.create_task(self._renew(item)) if self.queue.renews_leases else None
        try:
            succeeded = await self._invoke(item)
        finally:
            if renewal is not None:
                renewal.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await renewal
        if succeeded:
            await self.queue.delete(item)
        elif self._poison is None:
            # As in the real listener: released at once, a message without a poison queue would loop without end.
            log.warning("message %s of queue '%s' stays invisible until its lease ends", item.id, self.queue.name)
            await self.queue.leave(item)
        elif item.dequeue_count >= self._options.max_dequeue_count:
            await self._to_poison(item)
        else:
            await self.queue.release(item, self._options.visibility_timeout)

    async def _invoke(self, item: QueueItem) -> bool:
        if item.decoding_error is not None:
            log.error("message %s of queue '%s': %s", item.id, self.queue.name, item.decoding_error)
            return False
        reason = f"New queue message detected on '{self.queue.name}'"
        try:
            await self._invoker.invoke(self.function, queue_argument(self.function, item), reason)
        except InvocationFailed:
            return False
        return True

    async def _to_poison(self, item: QueueItem) -> None:
        if self._poison is None:
            await self.queue.leave(item)
            return
        log.warning(
            "message %s has reached MaxDequeueCount of %d, moving it to queue '%s'",
            item.id,
            self._options.max_dequeue_count,
            self._poison.name,
        )
        await self._poison.send(item.body)
        await self.queue.delete(item)

    async def _renew(self, item: QueueItem) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 2)
            try:
                if not await self.queue.renew(item, self._lease_seconds):
                    return
            except Exception:
                log.exception("the lease of message %s of queue '%s' was not renewed", item.id, self.queue.name)
