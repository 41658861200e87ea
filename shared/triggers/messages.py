"""The queues, and how messages are put on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import List  # noqa: UP035  (the worker's type check of azure-functions 1.x refuses list[str])

import azure.functions as func

from shared.models.base import WireModel

SLICES = "sync-slices"
POISON = "sync-slices-poison"
PLANS = "organization-plans"
PLANS_POISON = "organization-plans-poison"
PURGES = "organization-purges"
PARITY_CHECKS = "parity-checks"
CHANGES = "organization-changes"
CHANGES_POISON = "organization-changes-poison"
SUBSCRIPTIONS = "organization-subscriptions"
SUBSCRIPTIONS_POISON = "organization-subscriptions-poison"
CONNECTION = "AzureWebJobsStorage"

Messages = func.Out[List[str]]  # noqa: UP006


def send(messages: Messages, sent: Iterable[WireModel]) -> None:
    """Has messages put on the queue once the function has returned."""
    if bodies := [message.model_dump_json(by_alias=True) for message in sent]:
        messages.set(bodies)


def send_keys(messages: Messages, keys: Iterable[int]) -> None:
    """Has the numbers of organizations put on the queue, a message each, once the function has returned."""
    if bodies := [str(key) for key in keys]:
        messages.set(bodies)
