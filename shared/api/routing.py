"""Registers HTTP functions so that all ask who calls and answer in one shape, and tells unknown paths from wrong
methods."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, NoReturn, ParamSpec

import azure.functions as func

from shared.api.callers import admit, calling, log_change
from shared.api.messages import RequestIds, complete, error_answer, unforeseen_error
from shared.api.operations import Operation
from shared.models.errors import ApiError, DatabaseUnavailable, MethodNotAllowed, NotFound, ServiceUnavailable

Arguments = ParamSpec("Arguments")
Handler = Callable[Concatenate[func.HttpRequest, Arguments], func.HttpResponse]
AsyncHandler = Callable[Concatenate[func.HttpRequest, Arguments], Awaitable[func.HttpResponse]]

logger = logging.getLogger(__name__)

_NOTHING_HERE = "There is nothing at this path."
_ASK_AGAIN = {"Retry-After": "10"}

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

CLOSED_SEGMENTS = {"version": ("v1.0", "beta"), "owner": ("applications", "servicePrincipals")}
"""Segments of templates that take certain values only, in any letter case."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    Attributes:
        template: The path as the Functions host writes it.
        protected: Whether callers need a token.
        name, description: The function's name, and what its docstring says.
    """

    template: str
    method: str
    operation: Operation
    protected: bool
    name: str
    description: str


_routes: list[Route] = []


def answers(handler: Handler[Arguments], protected: Callable[[func.HttpRequest], bool]) -> Handler[Arguments]:
    """Gives a handler's answer the common headers, and turns what it raises into an answer.

    Protected requests reach the handler only from who may call it: see ``shared.api.callers``.
    """

    @wraps(handler)
    def answered(req: func.HttpRequest, *args: Arguments.args, **kwargs: Arguments.kwargs) -> func.HttpResponse:
        ids, caller = RequestIds.of(req), None
        try:
            caller = admit(req, ids, handler.__name__) if protected(req) else None
            _refuse_impossible_names(req)
            with calling(caller):
                answer = handler(req, *args, **kwargs)
        except Exception as error:
            answer = _answer_to(ids, error)
        log_change(req, ids, handler.__name__, caller, answer.status_code)
        return complete(ids, answer)

    return answered


def answers_async(handler: AsyncHandler[Arguments]) -> AsyncHandler[Arguments]:
    """As ``answers``, for a handler of protected requests that waits for others on the worker's event loop."""

    @wraps(handler)
    async def answered(req: func.HttpRequest, *args: Arguments.args, **kwargs: Arguments.kwargs) -> func.HttpResponse:
        ids, caller = RequestIds.of(req), None
        try:
            # In a thread: the keys of tokens may have to be fetched.
            caller = await asyncio.to_thread(admit, req, ids, handler.__name__)
            _refuse_impossible_names(req)
            with calling(caller):
                answer = await handler(req, *args, **kwargs)
        except Exception as error:
            answer = _answer_to(ids, error)
        log_change(req, ids, handler.__name__, caller, answer.status_code)
        return complete(ids, answer)

    return answered


def route(
    blueprint: func.Blueprint, template: str, method: str, operation: Operation, *, protected: bool = True
) -> Callable[[Handler[Arguments]], Any]:
    """Registers a handler for one method of one path.

    Args:
        blueprint: Where the function belongs.
        template: The path as the Functions host writes it, e.g. ``organizations/{id}``.
        method: The HTTP method.
        operation: What it takes and answers.
        protected: Whether callers need a token; what is open to everybody says so.
    """

    def register(handler: Handler[Arguments]) -> Any:
        _keep(template, method, operation, handler, protected=protected)
        return blueprint.route(route=template, methods=[method])(answers(handler, lambda req: protected))

    return register


def route_async(
    blueprint: func.Blueprint, template: str, method: str, operation: Operation
) -> Callable[[AsyncHandler[Arguments]], Any]:
    """As ``route``, for a protected handler that waits for others on the worker's event loop."""

    def register(handler: AsyncHandler[Arguments]) -> Any:
        _keep(template, method, operation, handler, protected=True)
        return blueprint.route(route=template, methods=[method])(answers_async(handler))

    return register


def refuse_unknown(path: str) -> NoReturn:
    """Refuses a request that no function took.

    Raises:
        MethodNotAllowed: The path exists for other methods, which are named.
        NotFound: The path does not exist.
    """
    if allowed := {known.method for known in _routes_at(path)}:
        names = ", ".join(sorted(allowed))
        raise MethodNotAllowed(f"The path takes {names} only.", headers={"Allow": names})
    raise NotFound(_NOTHING_HERE)


def leads_to_open(path: str) -> bool:
    """Whether a function that is open to everybody is at this path, for whatever method."""
    return any(not known.protected for known in _routes_at(path))


def routes() -> Sequence[Route]:
    """Every route of the functions that are loaded."""
    return tuple(_routes)


def closed_segment(request: func.HttpRequest, name: str) -> str:
    """The value of one of CLOSED_SEGMENTS as it is written there.

    Raises:
        NotFound: It is none of them.
    """
    for value in CLOSED_SEGMENTS[name]:
        if value.lower() == request.route_params[name].lower():
            return value
    raise NotFound(_NOTHING_HERE)


def _keep(template: str, method: str, operation: Operation, handler: Callable[..., Any], *, protected: bool) -> None:
    _routes.append(Route(template, method, operation, protected, handler.__name__, handler.__doc__ or ""))


def _routes_at(path: str) -> Sequence[Route]:
    """The routes of a path; of two templates that it fits, the one with fewer parameters is meant."""
    asked = path.removesuffix("/")
    found = [known for known in _routes if _pattern(known.template).fullmatch(asked)]
    fewest = min((known.template.count("{") for known in found), default=0)
    return [known for known in found if known.template.count("{") == fewest]


def _refuse_impossible_names(req: func.HttpRequest) -> None:
    if any("\x00" in value for value in req.route_params.values()):
        # Nothing is called so, and PostgreSQL takes no text with a NUL.
        raise NotFound(_NOTHING_HERE)


def _answer_to(ids: RequestIds, error: Exception) -> func.HttpResponse:
    if isinstance(error, DatabaseUnavailable):
        logger.warning("request %s: %s", ids.request_id, error.message)
        error = ServiceUnavailable("The cache database is unavailable; ask again later.", headers=_ASK_AGAIN)
    return error_answer(ids, error) if isinstance(error, ApiError) else unforeseen_error(ids, error)


def _pattern(template: str) -> re.Pattern[str]:
    def values(segment: re.Match[str]) -> str:
        closed = CLOSED_SEGMENTS.get(segment[1])
        return "|".join(map(re.escape, closed)).join(("(?:", ")")) if closed else "[^/]+"

    return re.compile(re.sub(r"\\{(\w+)\\}", values, re.escape(template)), re.IGNORECASE)
