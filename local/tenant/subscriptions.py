"""The subscriptions of a tenant: what Graph takes and refuses of them, and when they end."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from local.tenant.web import GraphError, bad_request

SubscribedResource = Literal["users", "groups"]

_LONGEST_LIFE = timedelta(minutes=41_760)
_CHANGE_TYPES = frozenset({"updated", "deleted"})
_LONGEST_STATE = 128


@dataclass(slots=True)
class Subscription:
    """One subscription; `told` is the sequence number up to which changes have been told."""

    id: str
    resource: SubscribedResource
    change_types: frozenset[str]
    url: str
    lifecycle_url: str | None
    client_state: str | None
    expires: datetime
    told: int = 0

    def as_json(self) -> dict[str, Any]:
        """As Graph returns it, which keeps the clientState to itself."""
        return {
            "id": self.id,
            "resource": self.resource,
            "changeType": ",".join(sorted(self.change_types)),
            "notificationUrl": self.url,
            "lifecycleNotificationUrl": self.lifecycle_url,
            "expirationDateTime": self.expires_text,
            "clientState": None,
        }

    @property
    def expires_text(self) -> str:
        return self.expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Subscriptions:
    """Those that have not ended; `clock` is the time by which they end."""

    def __init__(self) -> None:
        self.clock: Callable[[], datetime] = _utc_now
        self._by_id: dict[str, Subscription] = {}

    def all(self) -> list[Subscription]:
        now = self.clock()
        self._by_id = {key: one for key, one in self._by_id.items() if one.expires > now}
        return list(self._by_id.values())

    def find(self, subscription_id: str) -> Subscription:
        for subscription in self.all():
            if subscription.id == subscription_id.lower():
                return subscription
        raise GraphError(404, "ResourceNotFound", "The object was not found.")

    def add(self, subscription: Subscription) -> None:
        for other in self.all():
            if (other.resource, other.change_types) == (subscription.resource, subscription.change_types):
                told = f"Subscription Id {other.id} already exists for the requested combination"
                raise GraphError(409, "ExtensionError", told)
        self._by_id[subscription.id] = subscription

    def remove(self, subscription_id: str) -> None:
        found = self.find(subscription_id)
        del self._by_id[found.id]


def requested(body: Any, now: datetime) -> Subscription:
    """The subscription that a body asks for."""
    if not isinstance(body, dict):
        raise bad_request("A subscription is an object.")
    values = cast(dict[str, Any], body)
    resource = str(values.get("resource", "")).strip("/").lower()
    if resource not in ("users", "groups"):
        raise bad_request(f"Subscriptions to the resource '{resource}' are not supported.")
    change_types = frozenset(str(values.get("changeType", "")).split(","))
    if not change_types <= _CHANGE_TYPES:
        raise bad_request("changeType takes updated and deleted.")
    client_state = values.get("clientState")
    if client_state is not None and len(str(client_state)) > _LONGEST_STATE:
        raise bad_request(f"clientState takes up to {_LONGEST_STATE} characters.")
    lifecycle_url = values.get("lifecycleNotificationUrl")
    return Subscription(
        id=str(uuid.uuid4()),
        resource=cast(SubscribedResource, resource),
        change_types=change_types,
        url=_address(values.get("notificationUrl")),
        lifecycle_url=None if lifecycle_url is None else _address(lifecycle_url),
        client_state=None if client_state is None else str(client_state),
        expires=expiration(values, now),
    )


def expiration(body: Any, now: datetime) -> datetime:
    """The expirationDateTime that a body asks for."""
    try:
        expires = datetime.fromisoformat(body["expirationDateTime"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        raise bad_request("expirationDateTime is a date and time.") from None
    if not now < expires <= now + _LONGEST_LIFE:
        raise bad_request("Subscription expiration can only be 41760 minutes in the future.")
    return expires


def _address(value: Any) -> str:
    """An https address; http is taken for this machine, where nothing else is at hand."""
    parts = urlsplit(str(value))
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")):
        return str(value)
    raise bad_request("The notification address must be https.")
