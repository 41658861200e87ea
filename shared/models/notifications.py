"""Graph's notifications as they come in, and the message that has a change read (graph.md §7.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self, cast
from uuid import UUID

from pydantic import ConfigDict

from shared.models.base import UtcTime, WireModel

NOTIFICATIONS = "notifications/graph"
LIFECYCLE_NOTIFICATIONS = "notifications/graph/lifecycle"
"""The routes, below the public address, at which Graph tells of changes and of the subscriptions themselves."""


class LifecycleEvent(StrEnum):
    """What Graph tells of a subscription itself."""

    REAUTHORIZATION_REQUIRED = "reauthorizationRequired"
    SUBSCRIPTION_REMOVED = "subscriptionRemoved"
    MISSED = "missed"


class NotificationCollection(WireModel):
    """Body of ``POST /notifications/graph`` and ``/notifications/graph/lifecycle``: Graph may add members to it, and
    each item is looked at by itself."""

    model_config = ConfigDict(extra="ignore")

    value: list[Any]


@dataclass(frozen=True, slots=True)
class Notification:
    """What is taken of an item: who it says it is. What it says has changed is not believed, Graph is asked for that.

    Attributes:
        subscription_id, tenant_id: GUIDs in lower case.
        client_state: The secret that only Graph and this service know.
        event: What is told of the subscription; None of a change.
    """

    subscription_id: str
    tenant_id: str
    client_state: str
    event: LifecycleEvent | None = None

    @classmethod
    def of(cls, item: object) -> Self | None:
        """The notification that an item is; None where it lacks what all of Graph's have, or tells of an event that
        takes no action."""
        if not isinstance(item, dict):
            return None
        members = cast(Mapping[str, object], item)
        told = [members.get(name) for name in ("subscriptionId", "tenantId", "clientState")]
        event = members.get("lifecycleEvent")
        # Of text alone something is made: lists within lists of a forger's would exhaust the stack.
        texts = [value for value in told if isinstance(value, str)]
        if len(texts) < len(told) or not isinstance(event, str | None):
            return None
        subscription_id, tenant_id, client_state = texts
        try:
            known = None if event is None else LifecycleEvent(event)
            return cls(str(UUID(subscription_id)), str(UUID(tenant_id)), client_state, known)
        except ValueError:
            return None


class ChangeMessage(WireModel):
    """A message on the queue ``organization-changes``.

    Attributes:
        organization_key: The organization's number in the cache database.
        due: When what has changed is read; until then further notifications are waited for.
    """

    organization_key: int
    due: UtcTime

    @classmethod
    def at(cls, key: int, due: datetime) -> Self:
        """The message that has the organization's changes read at this moment."""
        return cls(organization_key=key, due=due)
