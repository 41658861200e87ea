"""Asks Graph about some objects at once by $batch, whose entries are each judged for themselves (graph.md §6).

No SDK looks into a batch's entries: what they say of waits and errors is obeyed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

import orjson

from shared.graph.failures import NOT_FOUND_CODES, failure_of_answer
from shared.models.errors import (
    GraphNotFound,
    GraphRefused,
    GraphThrottled,
    GraphUnavailable,
    PartFailure,
    SynchronizationFailure,
)
from shared.models.parts import Part, Question

LARGEST_BATCH = 20
"""The most requests that a batch may hold."""
_TRIES = 3
_PAUSES = (0.5, 2.0)
_MOST_WAITS = 3
"""How often the longest wait a batch is waited for in all."""

Answers = Mapping[str, "list[Any] | SynchronizationFailure"]
"""By the object asked about: the values of the answer, none where there is nothing to tell; or why there is no answer.
"""


@dataclass(frozen=True, slots=True)
class _Entry:
    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str | None:
        error = _member(self.body, "error")
        code = _member(error, "code")
        return code if isinstance(code, str) else None


async def ask(
    part: Part,
    ids: Mapping[str, str],
    send: Callable[[bytes], Awaitable[bytes]],
    *,
    root: str,
    longest_wait: float,
    clock: Callable[[], datetime],
    low_priority: bool = False,
    told_to_wait: Callable[[int], None],
) -> Answers:
    """Asks the part's question about objects, all pages of each answer.

    Args:
        part: A derived part.
        ids: The request's path for each object asked about, at most ``LARGEST_BATCH``.
        send: Posts a batch's body and gives the answer's.
        root: What precedes the path in Graph's links; other links are not followed.
        longest_wait: The longest Retry-After in seconds that is waited for.
        clock: The time against which a Retry-After date is read.
        low_priority: Whether Graph may serve others first: it judges each entry for itself.
        told_to_wait: Learns how many entries of a batch asked for a wait.

    Raises:
        GraphThrottled: Nothing was answered but a longer wait, or shorter ones again and again. Where something was, it
            stands among the answers for those that are missing.
        GraphUnavailable: Every object of several failed for a fault of Graph's own.
        SynchronizationFailure: As ``send``.
    """
    assert part.question is not None
    answers: dict[str, list[Any] | SynchronizationFailure] = {}
    values: dict[str, list[Any]] = {object_id: [] for object_id in ids}
    waiting = dict(ids)
    followed: set[tuple[str, str]] = set()
    tries, slept = 0, 0.0
    while waiting:
        entries = _entries(part, await send(_body(waiting, low_priority)))
        got_on = False
        failures: dict[str, SynchronizationFailure] = {}
        for object_id, path in list(waiting.items()):
            try:
                link = _take(part, entries.get(object_id), values[object_id], root, clock())
            except GraphUnavailable as failure:
                failures[object_id] = failure
                continue
            except SynchronizationFailure as failure:
                answers[object_id] = failure
                del waiting[object_id]
                continue
            got_on = True
            followed.add((object_id, path))
            if link is not None and (object_id, link) in followed:
                answers[object_id] = PartFailure("RepeatedLink", "Graph's list links back to a page of its own.")
                del waiting[object_id]
            elif link is not None:
                waiting[object_id] = link
            else:
                answers[object_id] = values[object_id]
                del waiting[object_id]
        if not failures:
            continue
        tries = 1 if got_on else tries + 1
        waits = [failure for failure in failures.values() if isinstance(failure, GraphThrottled)]
        told_to_wait(len(waits))
        backoff = min(_PAUSES[min(tries, len(_PAUSES)) - 1], longest_wait)
        pause = max((wait.retry_after for wait in waits), default=backoff)
        if waits and (pause > longest_wait or tries > _TRIES or slept + pause > _MOST_WAITS * longest_wait):
            longest = max(waits, key=lambda wait: wait.retry_after)
            if not answers:
                raise longest
            return answers | dict.fromkeys(failures, longest)
        if tries >= _TRIES and not waits:
            if len(failures) == len(ids) > 1:
                raise next(iter(failures.values()))
            return answers | failures
        slept += pause
        await asyncio.sleep(pause)
    return answers


def path_of(question: Question, select: str, object_id: str) -> str:
    """The path of the request about an object."""
    path = question.path.replace("{id}", quote(object_id, safe=""))
    return path if question.value is not None else f"{path}?$select={select}"


def _body(paths: Mapping[str, str], low_priority: bool) -> bytes:
    headers = {"Accept": "application/json"} | ({"x-ms-throttle-priority": "low"} if low_priority else {})
    requests = [
        {"id": object_id, "method": "GET", "url": path, "headers": headers} for object_id, path in paths.items()
    ]
    return orjson.dumps({"requests": requests})


def _entries(part: Part, body: bytes) -> dict[str, _Entry]:
    """The answers by their ids, in whatever order they came."""
    try:
        responses: Any = orjson.loads(body)["responses"]
        return {
            response["id"]: _Entry(
                int(response["status"]),
                {
                    name.lower(): str(value)
                    for name, value in cast(dict[str, Any], response.get("headers") or {}).items()
                },
                response.get("body"),
            )
            for response in responses
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        told = f"Graph's answer for {part.name} is not a batch of answers."
        raise GraphUnavailable("MalformedAnswer", told) from None


def _take(part: Part, entry: _Entry | None, values: list[Any], root: str, now: datetime) -> str | None:
    """Adds what an entry answers to the values; the path of the next page, if there is one.

    Raises:
        GraphUnavailable: Asking again may help.
        SynchronizationFailure: It will not.
    """
    question = part.question
    assert question is not None
    if entry is None:
        raise GraphUnavailable("NoAnswer", f"GET {question.path} got no answer in its batch.")
    if entry.status == 200:
        found = _member(entry.body, "value")
        if question.value is not None:
            if found is not None and not isinstance(found, str):
                raise GraphUnavailable("MalformedAnswer", f"GET {question.path} answered without a value.")
            values.append({question.value: found})
            return None
        if not isinstance(found, list):
            raise GraphUnavailable("MalformedAnswer", f"GET {question.path} answered without a list.")
        values += cast(list[Any], found)
        return _relative(_member(entry.body, "@odata.nextLink"), root)
    if (entry.code or "").lower() in question.nothing | NOT_FOUND_CODES:
        return None
    if entry.status == 404:
        # Any gateway says so; a mailbox that is taken for gone on its word would not be asked about again.
        raise GraphUnavailable(
            entry.code or "serviceNotAvailable", f"GET {question.path} answered 404 without a known reason."
        )
    failure = failure_of_answer(part, question.path, entry.status, entry.code, entry.headers, now)
    if isinstance(failure, GraphUnavailable | GraphRefused) and not isinstance(failure, GraphNotFound):
        raise failure
    # What would end a cursor, or say that an object is not there, means nothing of the kind here.
    raise PartFailure(failure.code, failure.message, tenant_actionable=failure.tenant_actionable)


def _relative(link: Any, root: str) -> str | None:
    if link is None:
        return None
    if not isinstance(link, str) or not link.lower().startswith(f"{root}/".lower()):
        raise PartFailure("ForeignLink", "Graph's answer links to another host than Graph's; it is not followed.")
    return link[len(root) :]


def _member(value: Any, name: str) -> Any:
    return cast(dict[str, Any], value).get(name) if isinstance(value, dict) else None
