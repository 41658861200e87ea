"""The simulated tenant's subscriptions: handshake, rules, deliveries that are tried again, events and forgeries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest

from local.tenant import Directory, Options, TenantServer

SUBSCRIPTIONS = "/v1.0/subscriptions"


@dataclass
class Listener:
    """An address that is told of changes; ``shakes`` says whether it repeats a validation token as Graph wants."""

    url: str = ""
    shakes: bool = True
    refuses: int = 0
    told: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tokens: list[str] = field(default_factory=list[str])
    came: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            tokens = parse_qs(urlsplit(self.path).query).get("validationToken")
            if tokens:
                listener.tokens += tokens
                self._answer(200, "text/plain" if listener.shakes else "text/html", tokens[0].encode())
            elif listener.refuses:
                listener.refuses -= 1
                self._answer(503, "text/plain", b"")
            else:
                listener.told += orjson.loads(body)["value"]
                self._answer(202, "text/plain", b"")
                listener.came.set()

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        listener.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield listener
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture
def server() -> Iterator[TenantServer]:
    options = Options(replay_probability=0, empty_page_probability=0, delivery_retry_ms=10)
    with TenantServer(Directory(users=20, groups=10, sites=5), options) as server:
        yield server


@pytest.fixture
def client(server: TenantServer) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.access_token()}"}
    with httpx.Client(base_url=server.url, headers=headers) as running:
        yield running


def body(listener: Listener, **changed: Any) -> dict[str, Any]:
    wanted = {
        "changeType": "updated,deleted",
        "notificationUrl": f"{listener.url}/told",
        "lifecycleNotificationUrl": f"{listener.url}/events",
        "resource": "users",
        "expirationDateTime": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        "clientState": "secret",
    }
    return {**wanted, **changed}


def subscribe(client: httpx.Client, listener: Listener, **changed: Any) -> dict[str, Any]:
    answer = client.post(SUBSCRIPTIONS, json=body(listener, **changed))
    assert answer.status_code == 201, answer.text
    return answer.json()


def settle(client: httpx.Client) -> dict[str, Any]:
    return client.get("/control/deliveries").json()


def user(server: TenantServer) -> str:
    return server.directory.users.population.id(1)


def test_both_addresses_are_asked_before_a_subscription_is_granted(client: httpx.Client, listener: Listener) -> None:
    found = subscribe(client, listener)
    assert len(set(listener.tokens)) == 2
    assert found["clientState"] is None
    assert client.get(SUBSCRIPTIONS).json()["value"] == [found]
    assert client.get(f"{SUBSCRIPTIONS}/{found['id']}").json() == found


def test_an_address_that_does_not_repeat_the_token_as_text_is_refused(client: httpx.Client, listener: Listener) -> None:
    listener.shakes = False
    answer = client.post(SUBSCRIPTIONS, json=body(listener))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")
    assert client.get(SUBSCRIPTIONS).json()["value"] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"resource": "sites"},
        {"changeType": "created"},
        {"notificationUrl": "http://example.com/"},
        {"clientState": "x" * 129},
        {"expirationDateTime": "soon"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_graph_does_not_grant_is_refused(
    client: httpx.Client, listener: Listener, changed: dict[str, Any]
) -> None:
    assert client.post(SUBSCRIPTIONS, json=body(listener, **changed)).status_code == 400


@pytest.mark.parametrize("minutes", [41_770, -1])
def test_graph_grants_neither_what_is_too_long_nor_what_is_over_already(
    client: httpx.Client, listener: Listener, minutes: int
) -> None:
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    assert client.post(SUBSCRIPTIONS, json=body(listener, expirationDateTime=at.isoformat())).status_code == 400


def test_the_same_subscription_is_granted_once(client: httpx.Client, listener: Listener) -> None:
    subscribe(client, listener)
    assert client.post(SUBSCRIPTIONS, json=body(listener)).status_code == 409
    subscribe(client, listener, resource="/groups")


def test_a_subscription_is_renewed_reauthorized_and_removed(client: httpx.Client, listener: Listener) -> None:
    path = f"{SUBSCRIPTIONS}/{subscribe(client, listener)['id']}"
    later = (datetime.now(UTC) + timedelta(days=20)).replace(microsecond=0)
    renewed = client.patch(path, json={"expirationDateTime": later.isoformat()})
    assert datetime.fromisoformat(renewed.json()["expirationDateTime"]) == later
    assert client.post(f"{path}/reauthorize").status_code == 204
    assert client.delete(path).status_code == 204
    for answer in (client.get(path), client.delete(path), client.post(f"{path}/reauthorize")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "ResourceNotFound")


def test_a_subscription_ends_at_its_time(server: TenantServer, client: httpx.Client, listener: Listener) -> None:
    path = f"{SUBSCRIPTIONS}/{subscribe(client, listener)['id']}"
    server.tenant.subscriptions.clock = lambda: datetime.now(UTC) + timedelta(days=1)
    assert client.get(path).status_code == 404
    client.patch(f"/control/users/{user(server)}", json={"department": "x"})
    settle(client)
    assert listener.told == []


def test_changes_are_told_of_what_is_subscribed_to_alone(
    server: TenantServer, client: httpx.Client, listener: Listener
) -> None:
    subscription = subscribe(client, listener)
    changed, deleted = user(server), server.directory.users.population.id(2)
    client.patch(f"/control/users/{changed}", json={"department": "x"})
    client.delete(f"/control/users/{deleted}?permanent=true")
    client.post("/control/groups", json={"displayName": "Untold"})
    settle(client)
    told = {(item["resourceData"]["id"], item["changeType"]) for item in listener.told}
    assert told == {(changed, "updated"), (deleted, "deleted")}
    assert {(item["subscriptionId"], item["clientState"], item["tenantId"]) for item in listener.told} == {
        (subscription["id"], "secret", server.directory.tenant_id)
    }


def test_what_was_before_the_subscription_is_not_told(
    server: TenantServer, client: httpx.Client, listener: Listener
) -> None:
    client.post("/control/mutate", json={"count": 50})
    subscribe(client, listener)
    client.get("/control")
    settle(client)
    assert listener.told == []


def test_what_is_not_taken_is_told_again(server: TenantServer, client: httpx.Client, listener: Listener) -> None:
    subscribe(client, listener)
    listener.refuses = 3
    client.patch(f"/control/users/{user(server)}", json={"department": "x"})
    assert listener.came.wait(10)
    assert [item["resourceData"]["id"] for item in listener.told] == [user(server)]
    assert settle(client)["refused"] == 3


def test_events_and_forgeries_are_told_when_asked(
    server: TenantServer, client: httpx.Client, listener: Listener
) -> None:
    path = f"/control/subscriptions/{subscribe(client, listener)['id']}"
    client.post(f"{path}/notify", json={"count": 3, "clientState": "forged"}).raise_for_status()
    client.post(f"{path}/lifecycle", json={"event": "missed"}).raise_for_status()
    assert client.post(f"{path}/lifecycle", json={"event": "obey"}).status_code == 400
    client.post(f"{path}/lifecycle", json={"event": "subscriptionRemoved"}).raise_for_status()
    settle(client)
    assert [item["clientState"] for item in listener.told].count("forged") == 3
    assert {item.get("lifecycleEvent") for item in listener.told} == {None, "missed", "subscriptionRemoved"}
    assert client.get("/control/subscriptions").json() == []
