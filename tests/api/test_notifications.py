"""What anybody can send to the webhooks: the handshake, good and forged deliveries, attacks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest

from tests.api.support import check_error, rows
from tests.application import Application, running_application
from tests.webhooks import HELD_CHANGES, LIFECYCLE, NOTIFICATIONS, listening_application, notification, subscribed

BOTH = pytest.mark.parametrize("path", [NOTIFICATIONS, LIFECYCLE])
OTHER = "99999999-9999-4999-8999-999999999999"

TOKENS = {
    "Graph's": "Validation: Testing client application reachability for subscription Request-Id: 7b0d3c52 &%+",
    "a script": "<script>alert(document.domain)</script>",
    "an image": '"><img src=x onerror=alert(1)>',
    "markup": "<!DOCTYPE html><html><body onload=alert(1)>",
    "a header": "a\r\nSet-Cookie: session=1\r\n\r\n<b>",
    "a byte order mark": "\ufeff<svg onload=alert(1)>",
    "letters of the world": "ключ 鍵 🔑",
}


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Application]:
    """The product that Graph tells of changes; the runs that follow are held back."""
    with listening_application(
        monkeypatch, database_url, NOTIFICATION_DEBOUNCE_SECONDS="10", **HELD_CHANGES
    ) as application:
        subscribed(application)
        application.clock.forward(seconds=10)
        application.plan()
        yield application


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[Application]:
    with running_application(monkeypatch, sqlite_url) as application:
        yield application


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """The product without a database."""
    with running_application(monkeypatch, "sqlite:////nowhere/to/be/found/cache.db") as application:
        yield application


def post(application: Application, path: str, *items: object) -> httpx.Response:
    return application.client.post(path, json={"value": list(items)})


# --- The handshake ------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_validation_token_comes_back_as_nothing_but_text(empty: Application, path: str, token: str) -> None:
    answer = empty.client.post(
        f"{path}?validationToken={quote(token, safe='')}", headers={"Content-Type": "text/plain; charset=utf-8"}
    )
    assert (answer.status_code, answer.text) == (200, token)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in answer.headers


@BOTH
def test_the_handshake_needs_no_database(broken: Application, path: str) -> None:
    assert broken.client.post(f"{path}?validationToken=it").text == "it"


@BOTH
def test_a_token_without_end_is_refused_and_not_repeated(empty: Application, path: str) -> None:
    message = check_error(empty.client.post(f"{path}?validationToken={'x' * 2_049}"), 400)
    assert "xx" not in message


@BOTH
def test_the_handshake_is_for_posts_only(empty: Application, path: str) -> None:
    answer = empty.client.get(f"{path}?validationToken=<script>")
    check_error(answer, 405)
    assert "script" not in answer.text


# --- Deliveries ---------------------------------------------------------------------------------------------------


def forged(application: Application) -> dict[str, dict[str, Any]]:
    return {
        "another secret": notification(application, clientState="guessed"),
        "an unknown subscription": notification(application, subscriptionId=OTHER),
        "another tenant": notification(application, tenantId=OTHER),
        "nothing": {},
    }


@BOTH
def test_good_and_forged_items_get_the_same_answer(listening: Application, path: str) -> None:
    event = {"lifecycleEvent": "missed"} if path == LIFECYCLE else {}
    answers = [post(listening, path, item | event) for item in (*forged(listening).values(), notification(listening))]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, b"")}
    assert len({tuple(sorted(set(answer.headers) - {"date"})) for answer in answers}) == 1


@BOTH
def test_forged_items_leave_no_trace(listening: Application, path: str) -> None:
    before = rows(listening)
    for item in forged(listening).values():
        for event in ({}, {"lifecycleEvent": "missed"}, {"lifecycleEvent": "subscriptionRemoved"}):
            assert post(listening, path, item | event).status_code == 202
    assert rows(listening) == before


def test_replayed_items_change_nothing_more(listening: Application) -> None:
    item = notification(listening)
    post(listening, NOTIFICATIONS, item)
    queue = listening.host.host.memory_queue("organization-changes")
    before, waiting = rows(listening), len(queue)
    for _ in range(20):
        assert post(listening, NOTIFICATIONS, *[item] * 50).status_code == 202
    assert rows(listening) == before
    assert len(queue) == waiting


def test_what_is_told_again_waits_for_nobody_who_writes(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    with listening_application(
        monkeypatch, sqlite_url, NOTIFICATION_DEBOUNCE_SECONDS="10", **HELD_CHANGES
    ) as application:
        subscribed(application)
        item = notification(application)
        post(application, NOTIFICATIONS, item)
        with application.services.database.write():
            assert post(application, NOTIFICATIONS, item).status_code == 202


NO_NOTIFICATIONS: dict[str, bytes] = {
    "no JSON": b"<xml/>",
    "no object": b"[]",
    "no items": b"{}",
    "items that are no list": b'{"value": {}}',
}


@BOTH
@pytest.mark.parametrize("body", NO_NOTIFICATIONS.values(), ids=NO_NOTIFICATIONS)
def test_a_body_that_is_no_delivery_is_refused(empty: Application, path: str, body: bytes) -> None:
    check_error(empty.client.post(path, content=body, headers={"Content-Type": "application/json"}), 400)


@BOTH
@pytest.mark.parametrize("member", ["subscriptionId", "tenantId", "clientState", "lifecycleEvent"])
def test_an_item_of_lists_within_lists_is_one_of_the_forged(empty: Application, path: str, member: str) -> None:
    deep = b"[" * 1_000 + b"]" * 1_000
    item = orjson.dumps(
        {"subscriptionId": OTHER, "tenantId": OTHER, "clientState": "secret", member: orjson.Fragment(deep)}
    )
    body = b'{"value": [' + item + b"]}"
    answer = empty.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.content) == (202, b"")


@BOTH
def test_what_graph_may_add_to_a_delivery_does_not_matter(listening: Application, path: str) -> None:
    body = {"value": [notification(listening) | {"new": {}}], "validationTokens": ["x"], "@odata.context": ""}
    assert listening.client.post(path, json=body).status_code == 202


@BOTH
def test_an_oversized_delivery_is_refused_unread(empty: Application, path: str) -> None:
    body = b'{"value": [' + b"{}," * 400_000 + b"{}]}"
    check_error(empty.client.post(path, content=body, headers={"Content-Type": "application/json"}), 413)


@BOTH
def test_a_delivery_of_thousands_of_unknown_subscriptions_is_taken(listening: Application, path: str) -> None:
    unknown = {"tenantId": OTHER, "clientState": ""}
    items = [{"subscriptionId": f"{number:08}-0000-4000-8000-000000000000", **unknown} for number in range(8_000)]
    assert post(listening, path, *items).status_code == 202


@BOTH
def test_without_the_database_graph_is_to_deliver_again(broken: Application, path: str) -> None:
    item = {"subscriptionId": OTHER, "tenantId": OTHER, "clientState": "secret"}
    answer = post(broken, path, item)
    check_error(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


@BOTH
def test_no_answer_and_no_log_holds_the_secret_of_a_delivery(
    listening: Application, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, forged_one = notification(listening), notification(listening, clientState="a guess of somebody's")
    secrets = (good["clientState"], forged_one["clientState"])
    with caplog.at_level(logging.DEBUG):
        answers = [post(listening, path, good, forged_one)]
        answers.append(listening.client.post(path, json={"value": good}))
        answers.append(listening.client.post(path, json=good, headers={"Content-Type": "text/plain"}))
        with listening.services.database.write() as connection:
            connection.exec_driver_sql("DROP TABLE dirty_parts")
        answers.append(post(listening, path, good))
    assert [answer.status_code for answer in answers] == [202, 400, 415, 500]
    assert "failed" in caplog.text
    for told in (caplog.text, *(answer.text for answer in answers)):
        assert not [secret for secret in secrets if secret in told]


def test_without_the_queue_graph_is_to_deliver_again(listening: Application) -> None:
    queue = listening.host.host.memory_queue("organization-changes")

    async def fail(body: str | bytes) -> None:
        raise ConnectionError("the queue service is away")

    queue.send = fail
    assert post(listening, NOTIFICATIONS, notification(listening, "groups")).status_code == 500
