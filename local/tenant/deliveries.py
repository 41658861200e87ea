"""Sends notifications over HTTP in the background, again and again where they are not taken."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx
import orjson

from local.tenant.options import Options

SECONDS_TO_ANSWER = 10.0
# Read once, for it takes its time; only addresses outside this machine need it.
TRUSTED: ssl.SSLContext = httpx.create_ssl_context()

_GIVEN_UP_AFTER_SECONDS = 4 * 3600.0


class Deliveries:
    """What is being delivered, and what became of the attempts."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_work = 0
        self._changed = asyncio.Event()
        self.taken = 0
        self.refused = 0
        self.slowest_seconds = 0.0

    def send(self, url: str, items: list[dict[str, Any]]) -> None:
        """Delivers the items in one request; to be called on the server's loop."""
        self._at_work += 1
        task = asyncio.get_running_loop().create_task(self._deliver(url, orjson.dumps({"value": items})))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Waits until nothing is being delivered; what waits to be tried again is not waited for."""
        while self._at_work:
            self._changed.clear()
            await self._changed.wait()

    def as_json(self) -> dict[str, Any]:
        return {
            "taken": self.taken,
            "refused": self.refused,
            "waiting": len(self._tasks),
            "slowestSeconds": round(self.slowest_seconds, 4),
        }

    async def _deliver(self, url: str, body: bytes) -> None:
        gap, waited = self._options.delivery_retry_ms / 1000, 0.0
        while not await self._attempt(url, body):
            if waited >= _GIVEN_UP_AFTER_SECONDS:
                return
            await asyncio.sleep(gap)
            gap, waited = gap * 2, waited + gap
            self._at_work += 1

    async def _attempt(self, url: str, body: bytes) -> bool:
        loop = asyncio.get_running_loop()
        try:
            async with httpx.AsyncClient(timeout=SECONDS_TO_ANSWER, verify=TRUSTED) as client:
                began = loop.time()
                answer = await client.post(url, content=body, headers={"Content-Type": "application/json"})
                self.slowest_seconds = max(self.slowest_seconds, loop.time() - began)
                taken = answer.is_success
        except httpx.HTTPError:
            taken = False
        finally:
            self._at_work -= 1
            self._changed.set()
        self.taken += taken
        self.refused += not taken
        return taken
