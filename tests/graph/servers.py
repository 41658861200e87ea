"""Servers that answer what a test tells them to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


@dataclass
class ScriptedServer:
    """Answers every GET alike, and every batch by a function.

    Attributes:
        batch: Makes a batch's responses of its requests.
        batches: The requests of every batch, in order.
        requests: Path and Authorization header of what was asked, in order.
        preferences: The Prefer headers of the same.
    """

    url: str = ""
    status: int = 200
    content_type: str = "application/json"
    body: bytes = b'{"value": []}'
    headers: dict[str, str] = field(default_factory=dict[str, str])
    requests: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])
    preferences: list[str | None] = field(default_factory=list[str | None])
    batch: Callable[[list[dict[str, Any]]], Any] = lambda requests: []
    batches: list[list[dict[str, Any]]] = field(default_factory=list[list[dict[str, Any]]])


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.requests.append((self.path, self.headers.get("Authorization")))
            script.preferences.append(self.headers.get("Prefer"))
            self.send_response(script.status)
            if script.content_type:
                self.send_header("Content-Type", script.content_type)
            self.send_header("Content-Length", str(len(script.body)))
            for name, value in script.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(script.body)

        def do_POST(self) -> None:
            assert self.path == "/v1.0/$batch"
            requests = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))["requests"]
            script.batches.append(requests)
            body = orjson.dumps({"responses": script.batch(requests)})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def answering_server(answer: Callable[[str], bytes]) -> Iterator[str]:
    """A server of JSON: what it answers depends on the address that is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def raw_server(answer: bytes, drop: bytes = b"") -> Iterator[str]:
    """A server that answers every connection with these bytes, then closes it or lets ``drop`` fall without end."""
    over = threading.Event()

    def serve(listener: socket.socket) -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                received = b""
                while b"\r\n\r\n" not in received and (more := connection.recv(65_536)):
                    received += more
                try:
                    connection.sendall(answer)
                    while drop and not over.wait(0.05):
                        connection.sendall(drop)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()
