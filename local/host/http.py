"""The HTTP side as an ASGI application: requests to functions, keys, and the admin endpoint."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from azure.functions.http import HttpRequest
from azure.functions.meta import Datum

from .invocation import InvocationFailed, Invoker
from .metadata import FunctionInfo
from .routing import Router, decode_path

log = logging.getLogger("local.host")

ADMIN_PATH = "/admin/functions/"
_OWN_HEADERS = (b"content-length", b"transfer-encoding", b"connection")
_WITHOUT_BODY = (204, 304)

Headers = list[tuple[bytes, bytes]]
Admin = Callable[[FunctionInfo, str], Awaitable[None]]


@dataclass(frozen=True)
class Answer:
    """A response before it is sent."""

    status: int
    headers: Headers
    body: bytes = b""


def merge(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One value per name, whatever its case, as the host gives them to the worker: joined by commas."""
    names: dict[str, str] = {}
    merged: dict[str, list[str]] = {}
    for name, value in pairs:
        first = names.setdefault(name.lower(), name)
        merged.setdefault(first, []).append(value)
    return {name: ",".join(values) for name, values in merged.items()}


class HttpFrontend:
    """The ASGI application."""

    def __init__(
        self,
        router: Router,
        functions: Iterable[FunctionInfo],
        invoker: Invoker,
        invoke_by_hand: Admin,
        keys: Iterable[str] = (),
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._router = router
        self._functions = {function.name.lower(): function for function in functions}
        self._invoker = invoker
        self._invoke_by_hand = invoke_by_hand
        self._keys = frozenset(keys)
        self._on_change = on_change
        self._background: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether an invocation that the admin endpoint has begun is still under way."""
        return bool(self._background)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await _read_body(receive)
        if body is None:
            return
        try:
            answer = await self._answer(scope, body)
        except InvocationFailed:
            answer = Answer(500, [])
        except Exception:
            log.exception("the host failed to answer a request")
            answer = Answer(500, [])
        headers = list(answer.headers)
        if answer.status not in _WITHOUT_BODY and answer.status >= 200:
            headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Any, body: bytes) -> Answer:
        path = decode_path(scope.get("raw_path") or scope["path"].encode())
        headers = merge(_header_pairs(scope))
        given = merge(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        # The host leaves empty query values out of what it sends to the Python worker.
        query = {name: value for name, value in given.items() if value}
        if path.lower().startswith(ADMIN_PATH):
            return self._admin(scope["method"], path[len(ADMIN_PATH) :], headers, query, body)
        found = self._router.find(scope["method"], path)
        if found is None:
            return Answer(404, [])
        route, values = found
        function = route.function
        level = str(function.trigger.properties.get("authLevel", "FUNCTION")).upper()
        if level != "ANONYMOUS" and not self._has_key(headers, query):
            return Answer(401, [])
        if function.disabled:
            return Answer(404, [])
        request = HttpRequest(
            method=scope["method"],
            url=_url(scope, headers),
            headers=headers,
            params=query,
            route_params=values,
            body_type="bytes",
            body=body,
        )
        response = await self._invoker.invoke(function, request, "This function was called via the host APIs")
        return _answer_of(response)

    def _has_key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        if not self._keys:
            return True
        given = headers.get("x-functions-key")
        if given is None:
            given = next((value for name, value in query.items() if name.lower() == "code"), None)
        return given in self._keys

    def _admin(
        self, method: str, name: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes
    ) -> Answer:
        if method != "POST":
            return Answer(405, [(b"allow", b"POST")])
        if not self._has_key(headers, query):
            return Answer(401, [])
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return Answer(415, [])
        try:
            given = json.loads(body)
        except ValueError:
            return Answer(400, [])
        if not isinstance(given, dict):
            return Answer(400, [])
        function = self._functions.get(name.strip("/").lower())
        if function is None:
            return Answer(404, [])
        if function.trigger.type == "httpTrigger":
            return Answer(400, [], b"an HTTP function is invoked by its own route")
        text = given.get("input")
        text = text if isinstance(text, str) else "" if text is None else json.dumps(text)
        task = asyncio.create_task(self._by_hand(function, text))
        self._background.add(task)
        task.add_done_callback(self._done)
        return Answer(202, [])

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        self._on_change()

    async def _by_hand(self, function: FunctionInfo, text: str) -> None:
        try:
            await self._invoke_by_hand(function, text)
        except InvocationFailed:
            log.debug("'%s', invoked by hand, failed", function.name)

    async def wait_for_background(self) -> None:
        """Wait for the invocations that the admin endpoint has begun."""
        while self._background:
            await asyncio.wait(set(self._background))


async def _read_body(receive: Any) -> bytes | None:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _header_pairs(scope: Any) -> Iterable[tuple[str, str]]:
    return ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])


def _url(scope: Any, headers: Mapping[str, str]) -> str:
    host = headers.get("host") or ":".join(str(part) for part in scope.get("server") or ())
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    return f"{scope['scheme']}://{host}{path}{'?' + query if query else ''}"


def _answer_of(datum: Datum | None) -> Answer:
    if datum is None:
        return Answer(200, [])
    value: Any = datum.value
    if datum.type == "string":
        return Answer(200, [(b"content-type", b"text/plain; charset=utf-8")], value.encode("utf-8"))
    headers = [
        (name.lower().encode("latin-1"), str(header.value).encode("latin-1"))
        for name, header in value["headers"].items()
    ]
    headers = [pair for pair in headers if pair[0] not in _OWN_HEADERS]
    for cookie in value["cookies"] or ():
        headers.extend((b"set-cookie", morsel.OutputString().encode("latin-1")) for morsel in cookie.values())
    status = int(value["status_code"].value)
    return Answer(status, headers, b"" if status in _WITHOUT_BODY else value["body"].value)
