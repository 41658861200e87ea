"""The ASGI application, with faults and waits around it, and a server that runs it in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Self

import uvicorn

from local.tenant import control, graph_api, identity, issuer, notices
from local.tenant.directory import Directory
from local.tenant.faults import Rule
from local.tenant.options import Options
from local.tenant.state import Tenant
from local.tenant.web import Answer, Request, json_answer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DEFAULT_IDENTITY_HEADER = "local-identity-header"
_BODY_KINDS = ("malformed", "rewrite")


class TenantApp:
    """The ASGI application of one tenant."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _request(scope, receive)
        if request.path == "/control" or request.path.startswith("/control/"):
            if request.path == "/control/deliveries":
                await self.tenant.deliveries.settle()
            outcome = control.answer(self.tenant, request)
            notices.tell_changes(self.tenant)
            await (_send(send, outcome) if isinstance(outcome, Answer) else _stream(send, outcome))
            return
        await self._serve(request, send)

    async def _serve(self, request: Request, send: Send) -> None:
        tenant = self.tenant
        tenant.requests.count(request.path, request.headers)
        rules = tenant.faults.strike(request.path)
        wait = tenant.options.latency_ms + sum(r.values["milliseconds"] for r in rules if r.kind == "latency")
        if wait:
            await asyncio.sleep(wait / 1000)
        for rule in rules:
            if rule.kind == "hold":
                await rule.lifted.wait()
        by_kind: dict[str, Rule] = {rule.kind: rule for rule in reversed(rules)}
        if "disconnect" in by_kind:
            await _disconnect(send)
            return
        if "status" in by_kind:
            answer = by_kind["status"].error().answer(request.request_id, request.client_request_id)
            answer.headers.update({"request-id": request.request_id, "client-request-id": request.client_request_id})
        else:
            answer = await self._answer(request)
        for rule in rules:
            if rule.kind in _BODY_KINDS:
                rule.spoil(answer)
        await _send(send, answer, truncate="truncate" in by_kind)

    async def _answer(self, request: Request) -> Answer:
        if request.path == "/msi/token":
            return identity.answer(self.tenant, request)
        if request.path == "/":
            return json_answer({"tenantId": self.tenant.directory.tenant_id, "graph": "/v1.0", "control": "/control"})
        return issuer.answer(self.tenant.issuer, request) or await graph_api.answer(self.tenant, request)


def create_app(
    directory: Directory, identity_header: str = DEFAULT_IDENTITY_HEADER, options: Options | None = None
) -> TenantApp:
    return TenantApp(Tenant(directory, identity_header, options or Options()))


async def _request(scope: Scope, receive: Receive) -> Request:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    origin = f"{scope['scheme']}://{headers.get('host', 'localhost')}"
    return Request(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, body, origin)


async def _send(send: Send, answer: Answer, truncate: bool = False) -> None:
    headers = {"content-length": str(len(answer.body))} | answer.headers
    if answer.status != 204:
        headers["content-type"] = answer.content_type
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    if truncate:
        # Promising more than is sent makes the server close the connection in the middle of the body.
        await send({"type": "http.response.body", "body": answer.body[: len(answer.body) // 2], "more_body": True})
        await _disconnect(send)
        return
    await send({"type": "http.response.body", "body": answer.body})


async def _stream(send: Send, chunks: Iterator[bytes]) -> None:
    headers = [(b"content-type", b"application/x-ndjson")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


async def _disconnect(send: Send) -> None:
    """Close the connection under the client; ASGI has no word for that, uvicorn's cycle has its transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionAbortedError("This server cannot be made to drop a connection.")
    transport.close()
    await asyncio.sleep(0.01)


def configure(app: TenantApp, log_level: str = "warning") -> uvicorn.Config:
    # The proxy-header wrapper would only cost time, and access logs would drown everything else.
    return uvicorn.Config(app, log_level=log_level, access_log=False, proxy_headers=False, lifespan="off")


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; binding before serving makes port 0 known at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound


class TenantServer:
    """A tenant served from a thread of this process, for tests: `with TenantServer(Directory(users=50)) as server`."""

    def __init__(
        self,
        directory: Directory | None = None,
        options: Options | None = None,
        identity_header: str = DEFAULT_IDENTITY_HEADER,
        port: int = 0,
    ) -> None:
        self.directory = directory or Directory(users=100)
        self.app = create_app(self.directory, identity_header, options)
        self.tenant = self.app.tenant
        self._socket = listen("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(configure(self.app, log_level="critical"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def access_token(self) -> str:
        """A bearer token without the way over the identity endpoint."""
        return identity.issue(self.tenant)[0]

    def __enter__(self) -> Self:
        # Listening already here: whoever connects before the loop runs just waits for it.
        self._socket.listen(128)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(timeout=10)
        self._socket.close()
