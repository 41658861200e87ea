"""Route templates and which function a request goes to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from .metadata import FunctionInfo, HostStartupError

RouteOrder = Literal["name", "specificity"]

_PARAMETER = re.compile(r"^\{(?P<star>\*{0,2})(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>[^}]*)\}$")
_CONSTRAINTS = {
    "int": re.compile(r"^\s*[+-]?\d{1,10}\s*$"),
    "guid": re.compile(r"^(\{|\()?[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}(\}|\))?$"),
    "alpha": re.compile(r"^[A-Za-z]*$"),
}
_RESERVED = ("admin", "runtime")


@dataclass(frozen=True)
class Segment:
    """One segment of a template: a literal, or a parameter with what it takes."""

    literal: str | None = None
    parameter: str = ""
    optional: bool = False
    catch_all: bool = False
    constraint: str | None = None

    def rank(self) -> int:
        """ASP.NET Core's precedence of the segment, lower first."""
        if self.literal is not None:
            return 1
        if self.catch_all:
            return 4 if self.constraint else 5
        return 2 if self.constraint else 3

    def accepts(self, value: str) -> bool:
        """Whether the parameter's constraint takes the value."""
        return self.constraint is None or bool(_CONSTRAINTS[self.constraint].match(value))

    def meets(self, other: Segment) -> bool:
        """Whether some text may stand for both; two parameters are taken to meet, whatever their constraints."""
        if other.literal is None:
            return True
        return self.accepts(other.literal) if self.literal is None else self.literal.lower() == other.literal.lower()


@dataclass(frozen=True)
class Route:
    """A function's route, prefix included; no methods means all of them."""

    function: FunctionInfo
    template: str
    segments: tuple[Segment, ...]
    methods: frozenset[str]

    def match(self, path: Sequence[str], trailing_slash: bool) -> dict[str, str] | None:
        """The route values of a path that the template takes."""
        values: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            if segment.catch_all:
                rest = "/".join(path[index:]) + ("/" if trailing_slash and len(path) > index else "")
                if rest:
                    values[segment.parameter] = rest
                return values if segment.accepts(rest) else None
            if index >= len(path):
                if not segment.optional:
                    return None
                continue
            value = path[index]
            if segment.literal is not None:
                if segment.literal.lower() != value.lower():
                    return None
            elif not value or not segment.accepts(value):
                return None
            else:
                values[segment.parameter] = value
        return values if len(path) <= len(self.segments) else None

    def overlaps(self, other: Route) -> bool:
        """Whether some request could go to either of the two routes."""
        if self.methods and other.methods and not self.methods & other.methods:
            return False
        mine, theirs = self.segments, other.segments
        for index in range(max(len(mine), len(theirs))):
            left = mine[index] if index < len(mine) else None
            right = theirs[index] if index < len(theirs) else None
            if (left and left.catch_all) or (right and right.catch_all):
                return True
            if left is None or right is None:
                present = left or right
                return present is not None and present.optional
            if not left.meets(right) or not right.meets(left):
                return False
        return True


def decode_path(raw_path: bytes) -> str:
    """The path as Kestrel gives it: percent-decoded except `%2F`, which must not become a separator."""
    parts = re.split(rb"(?i)(%2f)", raw_path)
    kept = b"".join(part if part.lower() == b"%2f" else unquote_to_bytes(part) for part in parts)
    return kept.decode("utf-8", "replace")


def parse_template(template: str, function: str) -> tuple[Segment, ...]:
    """The segments of a template; what this host does not implement is refused."""
    text = template.strip("/")
    segments = tuple(_parse_segment(part, template, function) for part in text.split("/")) if text else ()
    for index, segment in enumerate(segments):
        if segment.catch_all and index != len(segments) - 1:
            raise HostStartupError(f"function '{function}': in '{template}' the catch-all must be the last segment")
        if segment.optional and any(not later.optional for later in segments[index + 1 :]):
            raise HostStartupError(f"function '{function}': in '{template}' only the last segments may be optional")
    return segments


def _parse_segment(part: str, template: str, function: str) -> Segment:
    if "{" not in part and "}" not in part:
        return Segment(literal=part)
    match = _PARAMETER.match(part)
    if match is None:
        raise HostStartupError(f"function '{function}': the local host does not implement '{part}' in '{template}'")
    rest = match["rest"]
    optional = rest.endswith("?")
    rest = rest[:-1] if optional else rest
    constraint: str | None = None
    if rest:
        constraint = rest[1:]
        if rest[0] != ":" or constraint not in _CONSTRAINTS:
            raise HostStartupError(
                f"function '{function}': the local host does not implement '{rest}' in '{template}', "
                f"only the constraints {', '.join(':' + name for name in _CONSTRAINTS)}"
            )
    return Segment(parameter=match["name"], optional=optional, catch_all=bool(match["star"]), constraint=constraint)


class Router:
    """The HTTP functions in the order in which their routes are tried; the first that matches gets the request.

    `name` is the real host's order: by function name, regardless of case, and nothing else (azure-functions-host
    issues 3153, 9876). `specificity` is ASP.NET Core's precedence, which the real host does not apply.
    """

    def __init__(self, functions: Iterable[FunctionInfo], prefix: str, order: RouteOrder = "name") -> None:
        self.routes = [_route(function, prefix) for function in functions if function.trigger.type == "httpTrigger"]
        for index, route in enumerate(self.routes):
            for earlier in self.routes[:index]:
                if route.template.lower() == earlier.template.lower() and route.overlaps(earlier):
                    raise HostStartupError(
                        f"function '{route.function.name}': the route specified conflicts with the route "
                        f"defined by function '{earlier.function.name}'"
                    )
        if order == "specificity":
            self.routes.sort(key=_precedence)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The function's route and the route values; a route that does not take the method does not match."""
        text = path[1:] if path.startswith("/") else path
        trailing_slash = text.endswith("/")
        parts = text[: -1 if trailing_slash else None].split("/") if text.strip("/") else []
        for route in self.routes:
            if route.methods and method.upper() not in route.methods:
                continue
            values = route.match(parts, trailing_slash)
            if values is not None:
                return route, values
        return None

    def shadowed(self) -> list[tuple[Route, Route]]:
        """Pairs where the first, tried earlier, takes requests that the second, more specific one looks made for."""
        return [
            (earlier, later)
            for index, later in enumerate(self.routes)
            for earlier in self.routes[:index]
            if _precedence(later) < _precedence(earlier) and later.overlaps(earlier)
        ]


def _route(function: FunctionInfo, prefix: str) -> Route:
    own = str(function.trigger.properties.get("route") or function.name).strip("/")
    if own.lower().startswith(_RESERVED):
        raise HostStartupError(
            f"function '{function.name}': the route '{own}' conflicts with one or more built in routes"
        )
    template = f"{prefix}/{own}" if prefix else own
    methods = function.trigger.properties.get("methods") or ()
    return Route(
        function=function,
        template=template,
        segments=parse_template(template, function.name),
        methods=frozenset(str(method).upper() for method in methods),
    )


def _precedence(route: Route) -> tuple[int, ...]:
    return tuple(segment.rank() for segment in route.segments)
