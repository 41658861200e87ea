"""Registers HTTP functions so that all answer in one shape, and tells unknown paths from wrong methods."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, NoReturn, ParamSpec

import azure.functions as func

from shared.api.messages import complete, error_answer, unforeseen_error
from shared.models.errors import ApiError, MethodNotAllowed, NotFound

Arguments = ParamSpec("Arguments")
Handler = Callable[Concatenate[func.HttpRequest, Arguments], func.HttpResponse]

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

_methods_of: dict[str, set[str]] = {}


def answers(handler: Handler[Arguments]) -> Handler[Arguments]:
    """Gives a handler's answer the common headers, and turns what it raises into an answer."""

    @wraps(handler)
    def answered(req: func.HttpRequest, *args: Arguments.args, **kwargs: Arguments.kwargs) -> func.HttpResponse:
        try:
            answer = handler(req, *args, **kwargs)
        except ApiError as error:
            answer = error_answer(req, error)
        except Exception as error:
            answer = unforeseen_error(req, error)
        return complete(req, answer)

    return answered


def route(
    blueprint: func.Blueprint, template: str, method: str, *, auth_level: func.AuthLevel | None = None
) -> Callable[[Handler[Arguments]], Any]:
    """Registers a handler for one method of one path.

    Args:
        blueprint: Where the function belongs.
        template: The path as the Functions host writes it, e.g. ``organizations/{id}``.
        method: The HTTP method.
        auth_level: Who may call it; None for the app's own level.
    """
    _methods_of.setdefault(template, set()).add(method)

    def register(handler: Handler[Arguments]) -> Any:
        return blueprint.route(route=template, methods=[method], auth_level=auth_level)(answers(handler))

    return register


def refuse_unknown(path: str) -> NoReturn:
    """Refuses a request that no function took.

    Raises:
        MethodNotAllowed: The path exists for other methods, which are named.
        NotFound: The path does not exist.
    """
    allowed: set[str] = set()
    for template, methods in _methods_of.items():
        if _pattern(template).fullmatch(path.strip("/")):
            allowed |= methods
    if allowed:
        names = ", ".join(sorted(allowed))
        raise MethodNotAllowed(f"The path takes {names} only.", headers={"Allow": names})
    raise NotFound("There is nothing at this path.", code="Request_ResourceNotFound")


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), re.IGNORECASE)
