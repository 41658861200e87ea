"""Subscriptions by the SDK's request builders: what is asked for is granted, and refusals say what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from shared.graph.subscriptions import GraphSubscriptions
from shared.models.errors import GraphRefused, GraphThrottled, GraphUnavailable, PartFailure
from tests.graph.support import Graph
from tests.local.test_tenant_subscriptions import Listener, listening

TOMORROW = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
LATER = TOMORROW + timedelta(days=1)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def client(graph: Graph) -> GraphSubscriptions:
    return graph.client().subscriptions


def test_a_subscription_is_created_found_renewed_and_removed(
    graph: Graph, client: GraphSubscriptions, listener: Listener
) -> None:
    url, events = f"{listener.url}/changes", f"{listener.url}/events"
    granted = graph.run(client.create("users", url, events, "secret", TOMORROW))
    assert granted.expires == TOMORROW
    (kept,) = graph.control("/subscriptions", method="GET")
    assert {"changeType": "deleted,updated", "clientState": "secret", "resource": "users"}.items() <= kept.items()
    assert (kept["notificationUrl"], kept["lifecycleNotificationUrl"]) == (url, events)

    assert graph.run(client.find("users", url)) == [granted.subscription_id]
    assert graph.run(client.find("groups", url)) == graph.run(client.find("users", events)) == []

    assert graph.run(client.renew("users", granted.subscription_id, LATER)).expires == LATER
    graph.run(client.remove("users", granted.subscription_id))
    graph.run(client.remove("users", granted.subscription_id))
    assert graph.control("/subscriptions", method="GET") == []


def test_subscriptions_are_found_on_every_page_of_the_list(
    graph: Graph, client: GraphSubscriptions, listener: Listener
) -> None:
    graph.control("/options", {"pageSize": 1})
    url, events = f"{listener.url}/changes", f"{listener.url}/events"
    for collection in ("users", "groups"):
        granted = graph.run(client.create(collection, url, events, "secret", TOMORROW))
        assert graph.run(client.find(collection, url)) == [granted.subscription_id]


def test_a_subscription_that_tells_another_address_is_told_to_be_in_the_way(
    graph: Graph, client: GraphSubscriptions, listener: Listener
) -> None:
    graph.run(client.create("users", f"{listener.url}/before", f"{listener.url}/events", "secret", TOMORROW))
    with pytest.raises(GraphRefused, match="another address") as refused:
        graph.run(client.create("users", f"{listener.url}/now", f"{listener.url}/events", "secret", TOMORROW))
    assert refused.value.tenant_actionable


def test_a_list_that_goes_on_at_another_host_is_not_followed(
    graph: Graph, client: GraphSubscriptions, listener: Listener
) -> None:
    graph.control("/options", {"pageSize": 1})
    url, events = f"{listener.url}/changes", f"{listener.url}/events"
    graph.run(client.create("users", url, events, "secret", TOMORROW))
    graph.run(client.create("groups", url, events, "secret", TOMORROW))
    graph.fault(
        kind="rewrite", find=r"http://[^/]+/v1.0/subscriptions\?", replace=f"{listener.url}/v1.0/subscriptions?"
    )
    with pytest.raises(PartFailure, match="another host"):
        graph.run(client.find("users", url))


def test_a_subscription_that_is_not_there_is_told_by_its_status(graph: Graph, client: GraphSubscriptions) -> None:
    with pytest.raises(GraphRefused) as refused:
        graph.run(client.renew("users", "99999999-9999-4999-8999-999999999999", LATER))
    assert refused.value.status == 404


@pytest.mark.parametrize(("collection", "permission"), [("users", "User.Read.All"), ("groups", "Group.Read.All")])
def test_a_refusal_names_the_permission(
    graph: Graph, client: GraphSubscriptions, collection: str, permission: str
) -> None:
    graph.fault(status=403)
    with pytest.raises(GraphRefused) as refused:
        graph.run(client.find("groups" if collection == "groups" else "users", "https://here"))
    assert permission in refused.value.message
    assert refused.value.tenant_actionable


def test_a_wait_that_graph_asks_for_is_told(graph: Graph, client: GraphSubscriptions) -> None:
    graph.fault(status=429, retryAfter=400)
    with pytest.raises(GraphThrottled) as throttled:
        graph.run(client.find("users", "https://here"))
    assert throttled.value.retry_after == 400


def test_the_secret_and_the_address_are_in_no_error(
    graph: Graph, client: GraphSubscriptions, listener: Listener
) -> None:
    listener.shakes = False
    with pytest.raises(GraphRefused) as refused:
        graph.run(client.create("users", listener.url, listener.url, "the secret", TOMORROW))
    assert "secret" not in refused.value.message
    assert listener.url not in refused.value.message


def test_an_answer_that_grants_nothing_is_none(graph: Graph, client: GraphSubscriptions, listener: Listener) -> None:
    graph.fault(kind="rewrite", find='"expirationDateTime"', replace='"x"')
    with pytest.raises(GraphUnavailable):
        graph.run(client.create("users", listener.url, listener.url, "secret", TOMORROW))
