"""uvicorn on a socket that is bound beforehand, inside an event loop that belongs to somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Generator
from typing import Any

import uvicorn

from .metadata import HostStartupError


def bind(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off, which would cost 40 ms a response.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        # Listening at once makes a second host on the port fail here, where SO_REUSEADDR would let it bind.
        sock.listen(2048)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise HostStartupError(f"port {port} on {host} is in use") from error
        raise HostStartupError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return sock


class HttpServer(uvicorn.Server):
    """A uvicorn server that leaves the signals alone and tells when it accepts connections."""

    def __init__(self, app: Any, sock: socket.socket, grace_seconds: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                ws="none",
                timeout_keep_alive=120,
                timeout_graceful_shutdown=max(1, round(grace_seconds)),
            )
        )
        self._sock = sock
        self._ready = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The host's owner handles the signals."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn's own start, after which `start` returns."""
        await super().startup(sockets=sockets)
        self._ready.set()

    async def start(self) -> None:
        """Serve in the background."""
        self._serving = asyncio.create_task(self.serve(sockets=[self._sock]), name="http server")
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({self._serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            self._serving.result()
            raise HostStartupError("the HTTP server ended before it had started")

    async def stop(self) -> None:
        """Accept nothing more and let the requests that are under way end."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving
