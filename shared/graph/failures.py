"""Tells what a failed Graph request means for the part that made it (graph.md §2.5, §4.5, §6)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan
from typing import TYPE_CHECKING, TypeVar

from shared.models.errors import (
    CursorExpired,
    GraphNotFound,
    GraphRefused,
    GraphThrottled,
    GraphUnavailable,
    SynchronizationFailure,
)
from shared.models.parts import Part

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

Answer = TypeVar("Answer")

_EXPIRED_CODES = frozenset(
    {"syncstatenotfound", "resyncrequired", "resyncchangesapplydifferences", "resyncchangesuploaddifferences"}
)
# Any gateway can answer 404; only these codes say that an object is not there.
NOT_FOUND_CODES = frozenset({"request_resourcenotfound", "itemnotfound"})
# What the answer says about itself is kept and shown: anything else than a name or a number could be anything.
_PLAIN = re.compile(r"[\w.:-]{1,128}", re.ASCII)
NOT_OFFERED = frozenset({400, 404, 405, 501})
"""How a request is refused that a tenant's cloud does not have at all."""
_RETRY_WITHOUT_ADVICE_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 86_400.0


class NoBody(Exception):
    """Graph's answer is empty."""


def failure_of_answer(
    part: Part,
    path: str,
    status: int,
    code: str | None,
    headers: Mapping[str, str],
    now: datetime,
    *,
    method: str = "GET",
) -> SynchronizationFailure:
    """The failure behind an error answer.

    Args:
        part: The part that was read.
        path: The request's path, without its query, and with ``{id}`` in place of an object's id.
        status: The HTTP status.
        code: Graph's error code, if the answer had one.
        headers: The answer's headers, by lower-case name.
        now: The moment against which a Retry-After date is read.
        method: The request's method.
    """
    if code is not None and not _PLAIN.fullmatch(code):
        code = None
    told = f"{method} {path} answered {status} {code or 'without an error code'}"
    request_id = headers.get("request-id", "")
    if _PLAIN.fullmatch(request_id):
        told += f" (request-id {request_id})"
    if status == 410 or (code or "").lower() in _EXPIRED_CODES:
        return CursorExpired(code or "syncStateNotFound", told)
    wait = retry_after(headers.get("retry-after"), now)
    if asks_to_wait(status, wait):
        return GraphThrottled(f"{told}.", _RETRY_WITHOUT_ADVICE_SECONDS if wait is None else wait)
    if status != 501 and (status >= 500 or status == 408):
        return GraphUnavailable(code or "serviceNotAvailable", f"{told}.")
    if status == 403:
        return GraphRefused(
            code or "Authorization_RequestDenied",
            f"{told}: the application needs the permission {part.permission} with admin consent.",
            status=status,
            tenant_actionable=True,
        )
    if status == 401:
        return GraphRefused(
            code or "InvalidAuthenticationToken",
            f"{told}: the credential is refused.",
            status=status,
            tenant_actionable=True,
        )
    if status == 404 and code is not None and code.lower() in NOT_FOUND_CODES:
        return GraphNotFound(code, f"{told}.", status=status)
    return GraphRefused(code or "BadRequest", f"{told}.", status=status)


def asks_to_wait(status: int, wait: float | None) -> bool:
    """Whether an answer says that Graph is asked too much; ``wait`` is what its Retry-After asks for, if it has one."""
    return status in (429, 509) or (status in (503, 504) and wait is not None)


def passes_by_itself(error: HttpResponseError) -> bool:
    """Whether it was a fault of the server's own that a sign-in or a vault was not answered.

    azure-identity calls an outage of the authority a failed authentication as well; where it can make nothing of the
    answer, a gateway's page for example, not even the status is kept.
    """
    status = error.status_code
    return status is None or status >= 500 or status in (408, 429)


def retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, given as a number or as an HTTP date; None without advice.

    At most a day: whoever asks for longer has to ask again.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return None if isnan(seconds) else min(max(0.0, seconds), _LONGEST_WAIT_SECONDS)


async def in_time(answer: Awaitable[Answer], seconds: float) -> Answer:
    """What is awaited, for somebody who waits for it.

    Raises:
        GraphUnavailable: It took longer.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise GraphUnavailable("NoAnswer", f"Graph did not answer within {seconds:g} seconds.") from None
