"""The queue that the host works with, as an interface, and the in-process queue."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

MESSAGE_TTL = timedelta(days=7)
POISON_SUFFIX = "-poison"
MAX_QUEUE_NAME = 63
MAX_MESSAGE_BYTES = 65536


@dataclass
class QueueItem:
    """A message as received: the body decoded, the properties as the queue service has them."""

    id: str
    body: str | bytes
    dequeue_count: int
    insertion_time: datetime
    expiration_time: datetime
    next_visible_time: datetime
    pop_receipt: str
    # A storage message that isn't in the configured encoding has no body to hand over, only this reason.
    decoding_error: str | None = field(default=None)


class MessageQueue(ABC):
    """One queue of a storage account."""

    name: str
    # Whether a message that is being worked on must be kept invisible by renewing its lease.
    renews_leases: bool = False

    @abstractmethod
    async def send(self, body: str | bytes) -> None:
        """Append a message; the queue is created if it does not exist."""

    @abstractmethod
    async def receive(self, count: int, lease_seconds: float) -> list[QueueItem]:
        """Up to `count` visible messages, now invisible for the lease; never waits for one."""

    @abstractmethod
    async def delete(self, item: QueueItem) -> None:
        """Remove a received message; a message that somebody else has taken over is left alone."""

    @abstractmethod
    async def release(self, item: QueueItem, visibility_timeout: float) -> None:
        """Give a received message back, visible again after the timeout."""

    @abstractmethod
    async def renew(self, item: QueueItem, lease_seconds: float) -> bool:
        """Prolong a lease; False once the message is no longer ours."""

    @abstractmethod
    async def wait(self, seconds: float | None) -> None:
        """Return when a message may be visible, or after the polling delay where the queue has to be polled."""

    @abstractmethod
    async def leave(self, item: QueueItem) -> None:
        """Neither delete nor release a received message: it comes back when its lease ends."""

    @abstractmethod
    async def pending(self) -> int:
        """Messages that are still to be worked on, or being worked on, or waiting for a retry."""


class QueueStore(ABC):
    """The queues of one storage account (one connection)."""

    # Seconds between looks at the lengths, or None where a change of them is signalled.
    drain_poll_seconds: float | None = None

    @abstractmethod
    def queue(self, name: str) -> MessageQueue:
        """The queue of that name, the same object for the same name."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections and timers."""


def poison_name(name: str) -> str | None:
    """The poison queue's name; None where the real listener has none (poison of poison, or too long a name)."""
    if name.endswith(POISON_SUFFIX) or len(name) + len(POISON_SUFFIX) > MAX_QUEUE_NAME:
        return None
    return name + POISON_SUFFIX


def check_size(queue: str, body: str | bytes, encoding: str) -> None:
    """Refuse what the queue service refuses, so that an oversized message fails here and not only in Azure."""
    size = len(body if isinstance(body, bytes) else body.encode("utf-8"))
    stored = (size + 2) // 3 * 4 if encoding == "base64" else size
    if stored > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {size} bytes ({stored} stored) is too large for queue '{queue}'")


def _now() -> datetime:
    return datetime.now(UTC)


class InProcessQueue(MessageQueue):
    """A queue in memory that wakes its readers at once; inspect it with `len(queue)` and `peek()`.

    It belongs to the host's event loop: only `len` and `peek` may be called from another thread.
    """

    def __init__(self, name: str, encoding: str = "base64", on_change: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self._encoding = encoding
        self._visible: deque[QueueItem] = deque()
        self._taken: dict[str, QueueItem] = {}
        self._delayed: dict[str, tuple[QueueItem, asyncio.TimerHandle]] = {}
        self._left: set[str] = set()
        self._arrived = asyncio.Event()
        self._receipts = itertools.count(1)
        self._on_change = on_change

    def __len__(self) -> int:
        return len(self._visible) + len(self._taken) + len(self._delayed)

    def peek(self) -> list[QueueItem]:
        """Copies of the visible messages, oldest first."""
        return [replace(item) for item in list(self._visible)]

    async def send(self, body: str | bytes) -> None:
        check_size(self.name, body, self._encoding)
        now = _now()
        item = QueueItem(
            id=str(uuid.uuid4()),
            body=body,
            dequeue_count=0,
            insertion_time=now,
            expiration_time=now + MESSAGE_TTL,
            next_visible_time=now,
            pop_receipt="",
        )
        self._show(item)

    async def receive(self, count: int, lease_seconds: float) -> list[QueueItem]:
        batch: list[QueueItem] = []
        while self._visible and len(batch) < count:
            item = self._visible.popleft()
            item.dequeue_count += 1
            item.pop_receipt = f"{next(self._receipts):08d}"
            item.next_visible_time = _now() + timedelta(seconds=lease_seconds)
            self._taken[item.id] = item
            batch.append(replace(item))
        if not self._visible:
            self._arrived.clear()
        return batch

    async def delete(self, item: QueueItem) -> None:
        if self._take_back(item) is not None:
            self._on_change()

    async def release(self, item: QueueItem, visibility_timeout: float) -> None:
        held = self._take_back(item)
        if held is None:
            return
        if visibility_timeout <= 0:
            held.next_visible_time = _now()
            self._show(held)
            return
        held.next_visible_time = _now() + timedelta(seconds=visibility_timeout)
        self._delay(held, visibility_timeout)

    async def renew(self, item: QueueItem, lease_seconds: float) -> bool:
        return item.id in self._taken

    async def wait(self, seconds: float | None) -> None:
        await self._arrived.wait()

    async def leave(self, item: QueueItem) -> None:
        held = self._take_back(item)
        if held is None:
            return
        self._left.add(held.id)
        self._delay(held, max(0.0, (held.next_visible_time - _now()).total_seconds()))
        self._on_change()

    async def pending(self) -> int:
        return len(self) - len(self._left)

    def cancel_timers(self) -> None:
        """Drop the timers of delayed messages, which would otherwise outlive the host on its loop."""
        for _, timer in self._delayed.values():
            timer.cancel()

    def _take_back(self, item: QueueItem) -> QueueItem | None:
        held = self._taken.get(item.id)
        if held is None or held.pop_receipt != item.pop_receipt:
            return None
        return self._taken.pop(item.id)

    def _show(self, item: QueueItem) -> None:
        self._visible.append(item)
        self._arrived.set()
        self._on_change()

    def _delay(self, item: QueueItem, seconds: float) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._show_delayed, item.id)
        self._delayed[item.id] = (item, timer)

    def _show_delayed(self, message_id: str) -> None:
        item, _ = self._delayed.pop(message_id)
        self._left.discard(message_id)
        self._show(item)


class InProcessQueueStore(QueueStore):
    """All in-process queues of a host; a queue exists from its first mention."""

    def __init__(self, encoding: str = "base64", on_change: Callable[[], None] = lambda: None) -> None:
        self._encoding = encoding
        self._on_change = on_change
        self._queues: dict[str, InProcessQueue] = {}

    def queue(self, name: str) -> InProcessQueue:
        if name not in self._queues:
            self._queues[name] = InProcessQueue(name, self._encoding, self._on_change)
        return self._queues[name]

    def queues(self) -> Iterable[InProcessQueue]:
        """Every queue that has been mentioned."""
        return tuple(self._queues.values())

    async def close(self) -> None:
        for queue in self.queues():
            queue.cancel_timers()
