"""What tests of webhooks share: the product at an address that the simulated tenant reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import HttpUrl

from local.tenant import Directory, Options, TenantServer
from tests.application import NAME, Application, running_application

NOTIFICATIONS = "/notifications/graph"
LIFECYCLE = "/notifications/graph/lifecycle"
# Only the test hands over what waits for its time.
HELD_CHANGES = {"AzureWebJobs.synchronize_changes.Disabled": "true"}


@contextmanager
def listening_application(monkeypatch: pytest.MonkeyPatch, database_url: str, **changed: str) -> Iterator[Application]:
    """The product beside a small tenant that can reach it; what is told is due at once, unless a setting says else.

    Graph is told of no address if PUBLIC_URL is empty.
    """
    options = Options(replay_probability=0, empty_page_probability=0, delivery_retry_ms=20)
    settings = {"NOTIFICATION_DEBOUNCE_SECONDS": "0", **changed}
    with (
        TenantServer(Directory(users=30, groups=12, sites=4, seed=5), options) as tenant,
        running_application(monkeypatch, database_url, tenant, **settings) as application,
    ):
        tenant.tenant.subscriptions.clock = application.clock
        # The host has chosen its port, and nothing has asked for a setting yet.
        if url := changed.get("PUBLIC_URL", application.host.url):
            monkeypatch.setenv("PUBLIC_URL", url)
        else:
            monkeypatch.delenv("PUBLIC_URL")
        yield application
        application.host.drain()


def move(application: Application, url: str) -> None:
    """Gives the running product another public address."""
    moved = application.services.settings.model_copy(update={"public_url": HttpUrl(url)})
    object.__setattr__(application.services, "settings", moved)


def subscribed(application: Application) -> None:
    """Registers the organization, synchronizes it for the first time, and has it subscribed to."""
    application.register()
    assert application.synchronize()["status"] == "Succeeded"
    application.plan()
    assert [one["active"] for one in subscriptions(application)] == [True, True]


def subscriptions(application: Application) -> list[dict[str, Any]]:
    """The organization's subscriptions as people see them."""
    return application.client.get(f"/organizations/{NAME}/subscriptions").raise_for_status().json()["value"]


def at_graph(application: Application) -> list[dict[str, Any]]:
    """The tenant's subscriptions, with their secrets."""
    return application.control("GET", "/subscriptions")


def settle(application: Application) -> dict[str, Any]:
    """Waits until what the tenant tells has come and been worked off; what became of its deliveries."""
    deliveries = application.control("GET", "/deliveries")
    application.host.drain()
    return deliveries


def notification(application: Application, collection: str = "users", **changed: Any) -> dict[str, Any]:
    """An item as Graph sends it, but for the changes."""
    (subscription,) = [one for one in at_graph(application) if one["resource"] == collection]
    item = {
        "id": "7b0d3c52-6f0a-4a53-9f5e-0d7c6a1b2c3d",
        "subscriptionId": subscription["id"],
        "subscriptionExpirationDateTime": subscription["expirationDateTime"],
        "clientState": subscription["clientState"],
        "tenantId": application.tenant_id,
        "changeType": "updated",
        "resource": "Users/00000000-0000-4000-8000-000000000001",
        "resourceData": {"@odata.type": "#Microsoft.Graph.User", "id": "00000000-0000-4000-8000-000000000001"},
    }
    return {**item, **changed}
