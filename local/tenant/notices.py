"""What is told to subscribers: changes of the directory, events of subscriptions, and, when asked, what is not true."""

from __future__ import annotations

import uuid
from typing import Any

from local.tenant.directory import RELATIONS
from local.tenant.state import Tenant
from local.tenant.subscriptions import Subscription
from local.tenant.web import bad_request

_ITEMS_AT_ONCE = 100
_EVENTS = ("reauthorizationRequired", "subscriptionRemoved", "missed")
_NAMES = {"users": ("Users", "#Microsoft.Graph.User"), "groups": ("Groups", "#Microsoft.Graph.Group")}


def tell_changes(tenant: Tenant) -> None:
    """Delivers what has changed since this was last asked for; subscriptions of one address share deliveries."""
    items: dict[str, list[dict[str, Any]]] = {}
    for subscription in tenant.subscriptions.all():
        items.setdefault(subscription.url, []).extend(_changes(tenant, subscription))
    for url, found in items.items():
        for start in range(0, len(found), _ITEMS_AT_ONCE):
            tenant.deliveries.send(url, found[start : start + _ITEMS_AT_ONCE])


def tell_event(tenant: Tenant, subscription: Subscription, event: object) -> None:
    """Delivers an event of the subscription; removing ends it as well."""
    if event not in _EVENTS:
        raise bad_request(f"'event' is one of {', '.join(_EVENTS)}.")
    if subscription.lifecycle_url is None:
        raise bad_request("The subscription has no lifecycleNotificationUrl.")
    if event == "subscriptionRemoved":
        tenant.subscriptions.remove(subscription.id)
    tenant.deliveries.send(subscription.lifecycle_url, [_item(tenant, subscription) | {"lifecycleEvent": event}])


def tell_as(tenant: Tenant, subscription: Subscription, count: int, members: dict[str, Any]) -> None:
    """Delivers changes that have not happened, each by itself, with these members in place of the true ones."""
    for _ in range(count):
        item = _item(tenant, subscription) | _of_object(subscription, str(uuid.uuid4()), "updated")
        tenant.deliveries.send(subscription.url, [item | members])


def _changes(tenant: Tenant, subscription: Subscription) -> list[dict[str, Any]]:
    directory, now = tenant.directory, tenant.directory.sequence
    objects = directory.objects(subscription.resource)
    tracked = (*objects.population.columns, *RELATIONS)
    changed = objects.log.changed(subscription.told, now, tracked)
    subscription.told = now
    told: list[dict[str, Any]] = []
    for change in changed:
        kind = "deleted" if change.index in objects.gone else "updated"
        if kind in subscription.change_types:
            told.append(
                _item(tenant, subscription) | _of_object(subscription, objects.population.id(change.index), kind)
            )
    return told


def _item(tenant: Tenant, subscription: Subscription) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "subscriptionId": subscription.id,
        "subscriptionExpirationDateTime": subscription.expires_text,
        "clientState": subscription.client_state,
        "tenantId": tenant.directory.tenant_id,
    }


def _of_object(subscription: Subscription, object_id: str, kind: str) -> dict[str, Any]:
    collection, type_name = _NAMES[subscription.resource]
    path = f"{collection}/{object_id}"
    data = {"@odata.type": type_name, "@odata.id": path, "id": object_id}
    return {"changeType": kind, "resource": path, "resourceData": data}
