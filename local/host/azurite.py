"""Storage queues, of Azurite or of a real account, through the azure-storage-queue package."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .metadata import HostStartupError
from .queues import MessageQueue, QueueItem, QueueStore, check_size

T = TypeVar("T")

# Azurite's published account and key; nothing secret.
DEVELOPMENT_STORAGE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
)
# A version that Azurite 3.35 knows, so that it need not be told to skip the check.
API_VERSION = "2025-05-05"
_GONE = ("MessageNotFound", "PopReceiptMismatch", "QueueNotFound", "QueueBeingDeleted", "QueueDisabled")


class StorageQueueStore(QueueStore):
    """The queues of a storage account. The package's client is synchronous; its calls run in threads of their own."""

    drain_poll_seconds = 0.1

    def __init__(self, connection_string: str, encoding: str) -> None:
        try:
            from azure.storage.queue import QueueServiceClient
        except ImportError as error:
            raise HostStartupError("storage queues need the development dependency azure-storage-queue") from error
        if connection_string.replace(" ", "").rstrip(";").lower() == "usedevelopmentstorage=true":
            connection_string = DEVELOPMENT_STORAGE
        self._service = QueueServiceClient.from_connection_string(
            connection_string, api_version=API_VERSION, retry_total=3
        )
        self._encoding = encoding
        self._queues: dict[str, StorageQueue] = {}
        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="storage")

    def queue(self, name: str) -> StorageQueue:
        if name not in self._queues:
            self._queues[name] = StorageQueue(name, self._service.get_queue_client(name), self._encoding, self._pool)
        return self._queues[name]

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._service.close()


class StorageQueue(MessageQueue):
    """One storage queue."""

    renews_leases = True

    def __init__(self, name: str, client: Any, encoding: str, pool: ThreadPoolExecutor) -> None:
        self.name = name
        self._client = client
        self._encoding = encoding
        self._pool = pool

    async def send(self, body: str | bytes) -> None:
        check_size(self.name, body, self._encoding)
        text = self._encode(body)
        try:
            await self._call(lambda: self._client.send_message(text))
        except Exception as error:
            if _code(error) != "QueueNotFound":
                raise
            await self._create()
            await self._call(lambda: self._client.send_message(text))

    async def receive(self, count: int, lease_seconds: float) -> list[QueueItem]:
        def receive() -> list[Any]:
            # One page is one request; a second one would ask for more than the batch.
            pages = self._client.receive_messages(
                messages_per_page=count, visibility_timeout=int(lease_seconds)
            ).by_page()
            return list(next(pages, ()))

        try:
            return [self._item(message) for message in await self._call(receive)]
        except Exception as error:
            if _code(error) in _GONE:
                return []
            raise

    async def delete(self, item: QueueItem) -> None:
        await self._unless_gone(lambda: self._client.delete_message(item.id, item.pop_receipt))

    async def release(self, item: QueueItem, visibility_timeout: float) -> None:
        await self._unless_gone(
            lambda: self._client.update_message(item.id, item.pop_receipt, visibility_timeout=int(visibility_timeout))
        )

    async def renew(self, item: QueueItem, lease_seconds: float) -> bool:
        updated = await self._unless_gone(
            lambda: self._client.update_message(item.id, item.pop_receipt, visibility_timeout=int(lease_seconds))
        )
        if updated is None:
            return False
        item.pop_receipt = updated.pop_receipt
        return True

    async def wait(self, seconds: float | None) -> None:
        await asyncio.sleep(seconds or 0)

    async def leave(self, item: QueueItem) -> None:
        """Nothing to do: the service shows the message again when the lease ends."""

    async def pending(self) -> int:
        properties = await self._unless_gone(self._client.get_queue_properties)
        return 0 if properties is None else int(properties.approximate_message_count)

    async def _create(self) -> None:
        try:
            await self._call(self._client.create_queue)
        except Exception as error:
            if _code(error) != "QueueAlreadyExists":
                raise

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def _unless_gone(self, call: Callable[[], T]) -> T | None:
        try:
            return await self._call(call)
        except Exception as error:
            if _code(error) in _GONE:
                return None
            raise

    def _encode(self, body: str | bytes) -> str:
        if self._encoding == "base64":
            return base64.b64encode(body if isinstance(body, bytes) else body.encode("utf-8")).decode("ascii")
        return body.decode("utf-8") if isinstance(body, bytes) else body

    def _item(self, message: Any) -> QueueItem:
        body: str | bytes = message.content
        problem: str | None = None
        if self._encoding == "base64":
            try:
                body = base64.b64decode(body, validate=True)
            except (binascii.Error, ValueError):
                problem = "the message is not base64, which host.json (extensions.queues.messageEncoding) demands"
        return QueueItem(
            id=message.id,
            body=body,
            dequeue_count=int(message.dequeue_count),
            insertion_time=message.inserted_on,
            expiration_time=message.expires_on,
            next_visible_time=message.next_visible_on,
            pop_receipt=message.pop_receipt,
            decoding_error=problem,
        )


def _code(error: Exception) -> str:
    """The service's error code; anything else than a service error has none."""
    return str(getattr(getattr(error, "error_code", None), "value", getattr(error, "error_code", "")))
