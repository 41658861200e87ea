"""Requests, answers and errors as Graph shapes them, free of any web framework."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import orjson

JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
_MAX_PAGE_SIZE = re.compile(r"odata\.maxpagesize\s*=\s*(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Answer:
    """What goes back: complete, so that it can also become an entry of a batch."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = JSON


class GraphError(Exception):
    """An answer that is an OData error."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def answer(self, request_id: str, client_request_id: str) -> Answer:
        inner = {
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "request-id": request_id,
            "client-request-id": client_request_id,
        }
        return json_answer(
            {"error": {"code": self.code, "message": self.message, "innerError": inner}}, self.status, self.headers
        )


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, orjson.dumps(value), headers or {})


@dataclass
class Request:
    """One request, from the network or from inside a batch."""

    method: str
    path: str
    query_string: str
    headers: dict[str, str]
    body: bytes
    origin: str

    @cached_property
    def request_id(self) -> str:
        return str(uuid.uuid4())

    @property
    def client_request_id(self) -> str:
        return self.headers.get("client-request-id", self.request_id)

    @cached_property
    def options(self) -> dict[str, str]:
        """Query options without their dollar sign, which Graph lets clients leave out."""
        pairs = parse_qsl(self.query_string, keep_blank_values=True)
        return {key.removeprefix("$").lower(): value for key, value in pairs}

    @property
    def version(self) -> str:
        return "beta" if self.path.lower().startswith("/beta") else "v1.0"

    @property
    def base(self) -> str:
        return f"{self.origin}/{self.version}"

    def json(self) -> Any:
        try:
            return orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise bad_request(f"The body is not JSON: {error}") from error

    @property
    def max_page_size(self) -> int | None:
        """The page size hinted at by `Prefer`, within what Graph would go to."""
        found = _MAX_PAGE_SIZE.search(self.headers.get("prefer", ""))
        return min(max(int(found[1]), 1), 999) if found else None

    @property
    def wants_minimal(self) -> bool:
        return "return=minimal" in self.headers.get("prefer", "").lower().replace(" ", "")

    def top(self, default: int, largest: int = 999) -> int:
        text = self.options.get("top")
        if text is None:
            return default
        if not text.isdecimal() or not 1 <= int(text) <= largest:
            raise bad_request(f"Invalid page size specified: '{text}'. Must be between 1 and {largest} inclusive.")
        return int(text)

    def refuse(self, *names: str) -> None:
        """Answer 400 when one of these query options is given."""
        for name in names:
            if name in self.options:
                raise GraphError(400, "Request_UnsupportedQuery", f"The query option '${name}' is not supported here.")


def selected(request: Request, known: Iterable[str]) -> list[str] | None:
    """The properties of `$select` in their own spelling, or None without one."""
    text = request.options.get("select", "").strip()
    if not text:
        return None
    spellings = {name.lower(): name for name in known}
    names: list[str] = []
    for part in text.split(","):
        name = spellings.get(part.strip().lower())
        if name is None:
            problem = f"Could not find a property named '{part.strip()}' on this type."
            raise bad_request(f"Parsing OData Select and Expand failed: {problem}")
        names.append(name)
    return names


def bad_request(message: str) -> GraphError:
    return GraphError(400, "BadRequest", message)


def site_not_found() -> GraphError:
    return GraphError(404, "itemNotFound", "Requested site could not be found")


def not_found(object_id: str) -> GraphError:
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{object_id}' does not exist or one of its queried reference-property objects are not present.",
    )
