"""A worker process whose lives are cheap to end: a first life is lived to its end, and each further one is a fork of
what that has left: all that is imported and compiled, no thread, no connection.

A life is the whole function app in the local host, with queues of its own: it starts a run if told to, fires the
planner's timer, works until nothing is left to do, and ends. It tells on its standard output, which is the server's,
whenever one of its transactions is about to be committed: ``commit``, and ``idle`` at its end. The server itself
(``python -m tests.reliability.worker``) reads one JSON document a line, which describes a life, and tells ``born PID``
and ``dead STATUS``. Nothing of a dead life is left but what the database holds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import event

import function_app
import shared.services
from local.host import FunctionsHost
from shared.services import services

ROOT = Path(__file__).parent.parent.parent
INSTANCES = 4
PATIENCE_SECONDS = 90


@dataclass(frozen=True)
class Life:
    """What a life does.

    Attributes:
        later: Seconds by which its clock is ahead of the machine's.
        start: The type of the run that it starts, if any.
        organization: The name of the organization whose run that is.
        parts: The parts that are read; None for all.
    """

    later: float
    start: str | None = None
    organization: str = ""
    parts: Sequence[str] | None = None


class Worker:
    """The server in a process of its own, as the test sees it. One life at a time may be awaited."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._last = ""
        self.pid = 0

    def begin(self, life: Life) -> None:
        """Begins a life; ``pid`` is its process."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asdict(life)) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._told("born"))

    def commits(self) -> Iterator[None]:
        """Comes once for each transaction that is about to be committed, until the life has nothing left to do."""
        while (line := self._read()) == "commit":
            yield
        self._last = line

    def end(self, number: int) -> None:
        """Sends the life's process a signal."""
        os.kill(self.pid, number)

    def outcome(self) -> int:
        """Waits for the life's end: minus the signal that ended it, or its exit code. One without end is killed."""
        impatience = threading.Timer(PATIENCE_SECONDS, self.end, [signal.SIGKILL])
        impatience.start()
        try:
            return int(self._told("dead"))
        finally:
            impatience.cancel()

    def _told(self, what: str) -> str:
        word, _, value = self._last.partition(" ")
        while word != what:
            word, _, value = self._read().partition(" ")
        self._last = ""
        return value

    def _read(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the worker's server has ended"
        return line.strip()


@contextmanager
def worker(database_url: str, tenant_url: str, **settings: str) -> Iterator[Worker]:
    """A worker on this database and tenant; ``settings`` are app settings."""
    values = {
        "DATABASE_URL": database_url,
        "GRAPH_URL": tenant_url,
        "IDENTITY_ENDPOINT": f"{tenant_url}/msi/token",
        "IDENTITY_HEADER": "local-identity-header",
        "SYNC_SCHEDULE": "0 * * * * *",
        # Runs are started by the test alone.
        "SYNC_INTERVAL_MINUTES": "1000000",
        # A worker that dies again and again at the same page has its part failed; these die faster than any real one.
        "SLICE_ATTEMPTS": "1000",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        env={**os.environ, **values, **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Worker(process)
    finally:
        process.kill()
        process.communicate()


# --- The server and its lives -----------------------------------------------------------------------------------------


def _serve() -> None:
    logging.disable(logging.CRITICAL)
    first = Life(**json.loads(sys.stdin.readline()))
    _tell(f"born {os.getpid()}")
    asyncio.run(_work(first))
    _be_alone()
    _tell("dead 0")
    for line in sys.stdin:
        life = Life(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            _live(life)
        _tell(f"born {pid}")
        _, status = os.waitpid(pid, 0)
        _tell(f"dead {-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)}")


def _be_alone() -> None:
    """Waits for the end of the first life's threads: a process that has some cannot be forked safely."""
    services().database.close()
    while threading.active_count() > 1:
        time.sleep(0.01)


def _live(life: Life) -> None:
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        asyncio.run(_work(life))
        code = 0
    finally:
        os._exit(code)


async def _work(life: Life) -> None:
    _CLOCK.later = timedelta(seconds=life.later)
    async with FunctionsHost(
        function_app.app,
        host_json=json.loads((ROOT / "host.json").read_text()),
        timers=False,
        instances=INSTANCES,
        port=None,
        in_process_queues=True,
        grace_seconds=0,
    ) as host:
        if life.start:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(host.asgi_app), base_url="http://host") as api:
                asked = {"type": life.start} | ({} if life.parts is None else {"parts": life.parts})
                answer = await api.post(f"/organizations/{life.organization}/sync", json=asked)
                answer.raise_for_status()
        await host.fire_timer("plan_synchronizations")
        await host.drain()
        await services().graph.close()
    _tell("idle")


class _Clock:
    """The machine's clock, put forward."""

    later = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.later


_CLOCK = _Clock()


def _tell(line: str) -> None:
    # One write each, so that lines of several threads and processes do not mix.
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    shared.services.utc_now = _CLOCK
    event.listen(services().database.engine, "commit", lambda _: _tell("commit"))
    _serve()
