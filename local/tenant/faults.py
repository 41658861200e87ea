"""Faults that are switched on by rules: wrong statuses, waits, broken bodies, broken connections."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from local.tenant.web import Answer, GraphError

Kind = Literal["status", "latency", "hold", "truncate", "malformed", "disconnect", "rewrite"]
KINDS: tuple[Kind, ...] = ("status", "latency", "hold", "truncate", "malformed", "disconnect", "rewrite")
_CODES = {
    400: "BadRequest", 401: "InvalidAuthenticationToken", 403: "Authorization_RequestDenied",
    404: "Request_ResourceNotFound", 410: "resyncRequired", 429: "TooManyRequests", 500: "InternalServerError",
    502: "BadGateway", 503: "serviceNotAvailable", 504: "GatewayTimeout", 509: "activityLimitReached",
}  # fmt: skip
_DEFAULTS: dict[str, Any] = {
    "path": ".*", "kind": "status", "status": 429, "retryAfter": None, "code": None, "times": None, "after": 0,
    "probability": 1.0, "milliseconds": 300, "find": "", "replace": "",
}  # fmt: skip
_TYPES: dict[str, tuple[type, ...]] = {
    "path": (str,), "kind": (str,), "status": (int,), "retryAfter": (int, str, type(None)), "code": (str, type(None)),
    "times": (int, type(None)), "after": (int,), "probability": (int, float), "milliseconds": (int,),
    "find": (str,), "replace": (str,),
}  # fmt: skip


@dataclass(slots=True)
class Rule:
    """One rule with how often it matched and how often it struck."""

    values: dict[str, Any]
    pattern: re.Pattern[str]
    find: re.Pattern[str]
    matched: int = 0
    struck: int = 0
    lifted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def kind(self) -> Kind:
        return self.values["kind"]

    def as_json(self) -> dict[str, Any]:
        return {**self.values, "matched": self.matched, "struck": self.struck}

    def error(self) -> GraphError:
        """The answer of a `status` rule; without `retryAfter` there is no such header, which Graph does too."""
        status, wait = self.values["status"], self.values["retryAfter"]
        code = self.values["code"] or _CODES.get(status, "UnknownError")
        headers = {} if wait is None else {"Retry-After": str(wait)}
        return GraphError(status, code, f"A fault rule of the simulated tenant answers {status}.", headers)

    def spoil(self, answer: Answer) -> None:
        """Change the body of a complete answer."""
        if self.kind == "malformed":
            answer.body = answer.body[: max(1, len(answer.body) * 2 // 3)]
        elif self.kind == "rewrite":
            answer.body = self.find.sub(self.values["replace"], answer.body.decode()).encode()


class Faults:
    """The rules in force, in order."""

    def __init__(self, seed: int) -> None:
        self.rules: list[Rule] = []
        self._random = random.Random(seed)

    def add(self, values: Any) -> None:
        """Add rules; all or none."""
        if not isinstance(values, list):
            raise ValueError("A list of rules is expected.")
        self.rules.extend([_rule(value) for value in values])

    def lift(self) -> None:
        """Remove all rules; what they hold goes on."""
        for rule in self.rules:
            rule.lifted.set()
        self.rules.clear()

    def strike(self, path: str, kinds: tuple[Kind, ...] = KINDS) -> list[Rule]:
        """The rules that apply to this request; asking counts."""
        return [rule for rule in self.rules if rule.kind in kinds and self._strikes(rule, path)]

    def _strikes(self, rule: Rule, path: str) -> bool:
        times = rule.values["times"]
        if (times is not None and rule.struck >= times) or not rule.pattern.search(path):
            return False
        rule.matched += 1
        if rule.matched <= rule.values["after"] or self._random.random() >= rule.values["probability"]:
            return False
        rule.struck += 1
        return True


def _rule(given: Any) -> Rule:
    if not isinstance(given, dict):
        raise ValueError("A rule is an object.")
    for name, value in given.items():
        if name not in _TYPES:
            raise ValueError(f"A rule has no '{name}'; known: {', '.join(_TYPES)}.")
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            raise ValueError(f"'{name}' has the wrong type.")
    values = _DEFAULTS | given
    if values["kind"] not in KINDS:
        raise ValueError(f"There is no kind '{values['kind']}'; known: {', '.join(KINDS)}.")
    try:
        return Rule(values, re.compile(values["path"]), re.compile(values["find"]))
    except re.error as error:
        raise ValueError(f"Not a regular expression: {error}") from error
