"""Graph tells of changes: subscriptions come, stay and go, and what is told is in the cache by the next run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest

from local.tenant.web import GraphError
from shared.cache import organizations
from shared.graph.subscriptions import GraphSubscriptions
from shared.models.callers import EVERY_ORGANIZATION
from shared.models.subscriptions import Granted
from shared.sync.subscriptions import maintain
from tests.api.support import parsed_time, rows, rows_by_organization
from tests.application import NAME, Application
from tests.webhooks import (
    HELD_CHANGES,
    NOTIFICATIONS,
    at_graph,
    listening_application,
    move,
    notification,
    settle,
    subscribed,
    subscriptions,
)

Start = Callable[..., AbstractContextManager[Application]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Start:
    """Starts the product with these app settings."""
    return partial(listening_application, monkeypatch, database_url)


@pytest.fixture
def application(start: Start) -> Iterator[Application]:
    with start() as running:
        subscribed(running)
        yield running


def last_run(application: Application) -> dict[str, Any]:
    """The organization's last finished run."""
    job = application.job()
    return application.run(job["status"]["lastExecution"]["activityIdentifier"])


def parts_of(run: dict[str, Any]) -> list[str]:
    return [part["part"] for part in run["parts"]]


def some_object(application: Application, collection: str) -> str:
    """The id of an object that is there in the tenant."""
    assert application.tenant
    return application.tenant.directory.objects("users" if collection == "users" else "groups").population.id(3)


# --- Subscriptions ------------------------------------------------------------------------------------------------


def test_an_organization_is_subscribed_to_after_its_first_full_run(start: Start) -> None:
    with start() as application:
        application.register()
        application.plan()
        assert subscriptions(application) == []
        application.synchronize()
        application.plan()
        found = subscriptions(application)
        assert [(one["resource"], one["active"], one["error"]) for one in found] == [
            ("groups", True, None),
            ("users", True, None),
        ]
        assert {one["id"] for one in at_graph(application)} == {one["subscriptionId"] for one in found}
        assert {one["notificationUrl"] for one in at_graph(application)} == {f"{application.host.url}{NOTIFICATIONS}"}


def test_without_a_public_address_nothing_is_subscribed_to(start: Start) -> None:
    with start(PUBLIC_URL="") as application:
        application.register()
        application.synchronize()
        application.plan()
        assert subscriptions(application) == at_graph(application) == []


def test_the_secrets_of_subscriptions_are_their_own_and_kept_nowhere(application: Application) -> None:
    secrets = [one["clientState"] for one in at_graph(application)]
    assert len(set(secrets)) == 2
    assert all(32 < len(secret) <= 128 for secret in secrets)
    kept = repr(rows(application))
    assert not [secret for secret in secrets if secret in kept]


def test_a_subscription_is_renewed_at_half_its_life(application: Application) -> None:
    before = subscriptions(application)
    application.clock.forward(days=13.9)
    application.plan()
    assert [one["expirationDateTime"] for one in subscriptions(application)] == [
        one["expirationDateTime"] for one in before
    ]
    application.clock.forward(days=0.2)
    application.plan()
    after = subscriptions(application)
    for old, new in zip(before, after, strict=True):
        assert new["subscriptionId"] == old["subscriptionId"]
        assert parsed_time(new["expirationDateTime"]) > parsed_time(old["expirationDateTime"])
    assert {one["expirationDateTime"][:19] for one in at_graph(application)} == {
        one["expirationDateTime"][:19] for one in after
    }


def test_a_subscription_that_graph_has_dropped_is_created_anew_and_its_changes_are_read(
    application: Application,
) -> None:
    before = subscriptions(application)
    application.control("DELETE", f"/subscriptions/{before[1]['subscriptionId']}")
    application.control("PATCH", f"/users/{some_object(application, 'users')}", {"department": "Untold"})
    application.clock.forward(days=14.1)
    application.plan()
    after = subscriptions(application)
    assert after[1]["subscriptionId"] != before[1]["subscriptionId"]
    assert after[1]["active"]
    assert application.compare().differences == []


def test_a_removed_organization_has_no_subscriptions_at_graph_and_leaves_no_rows(application: Application) -> None:
    application.client.delete(f"/organizations/{NAME}").raise_for_status()
    application.plan()
    assert at_graph(application) == []
    application.plan()
    assert not any(rows_by_organization(application).values())


@pytest.mark.parametrize("given_up", [False, True])
def test_an_organization_that_is_removed_while_graph_grants_a_subscription_has_none_there(
    start: Start, monkeypatch: pytest.MonkeyPatch, given_up: bool
) -> None:
    create = GraphSubscriptions.create

    async def create_and_be_removed(*given: Any) -> Granted:
        granted = await create(*given)
        answer = await asyncio.to_thread(application.client.delete, f"/organizations/{NAME}")
        if answer.status_code == 204 and given_up:
            # Another attempt finds the first one's time to be over.
            assert await maintain(application.services, key) == []
        return granted

    with start() as application:
        application.register()
        application.synchronize()
        with application.services.database.read() as connection:
            key = organizations.find(connection, NAME, EVERY_ORGANIZATION).key
        monkeypatch.setattr(GraphSubscriptions, "create", create_and_be_removed)
        application.plan()
        application.plan()
        assert at_graph(application) == []
        application.plan()
        assert not any(rows_by_organization(application).values())


def test_a_subscription_whose_creation_got_no_answer_ends_with_the_organization(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start() as application:
        application.register()
        application.synchronize()
        assert application.tenant
        at_work = application.tenant.tenant.subscriptions
        grant = at_work.add

        def grant_in_vain(subscription: Any) -> None:
            grant(subscription)
            raise GraphError(503, "serviceNotAvailable", "The answer is lost.")

        monkeypatch.setattr(at_work, "add", grant_in_vain)
        application.plan()
        assert {one["resource"] for one in at_graph(application)} == {"users", "groups"}
        application.client.delete(f"/organizations/{NAME}").raise_for_status()
        application.plan()
        assert at_graph(application) == []


def test_a_job_that_is_deleted_has_no_subscriptions_at_graph(application: Application) -> None:
    job = application.job()
    path = f"/v1.0/applications/0b9f4c1e-52d7-4f38-8a6b-7e1d0c2f3a45/synchronization/jobs/{job['id']}"
    application.client.delete(path).raise_for_status()
    application.plan()
    assert at_graph(application) == subscriptions(application) == []


def test_a_part_that_is_switched_off_is_not_subscribed_to_any_more(application: Application) -> None:
    job = application.job()
    path = f"/v1.0/applications/0b9f4c1e-52d7-4f38-8a6b-7e1d0c2f3a45/synchronization/jobs/{job['id']}"
    settings = [{"name": "Parts", "value": "groups,sites"}]
    application.client.patch(path, json={"synchronizationJobSettings": settings}).raise_for_status()
    application.host.drain()
    application.plan()
    assert [one["resource"] for one in subscriptions(application)] == ["groups"]
    assert [one["resource"] for one in at_graph(application)] == ["groups"]


def test_what_graph_refuses_is_told_tried_again_and_harms_no_synchronization(start: Start) -> None:
    with start() as application:
        application.register()
        application.control("POST", "/faults", [{"path": "/subscriptions", "status": 403}])
        assert application.synchronize()["status"] == "Succeeded"
        application.plan()
        groups, users = subscriptions(application)
        assert not groups["active"]
        assert "Group.Read.All" in groups["error"]["message"]
        assert "User.Read.All" in users["error"]["message"]
        assert application.synchronize()["status"] == "Succeeded"
        assert application.sync_state()["error"] == ""

        application.control("DELETE", "/faults")
        application.plan()
        assert not any(one["active"] for one in subscriptions(application))
        application.clock.forward(minutes=1)
        application.plan()
        assert [(one["active"], one["error"]) for one in subscriptions(application)] == [(True, None)] * 2


def test_an_address_that_graph_cannot_reach_is_told(start: Start) -> None:
    with start(PUBLIC_URL="http://127.0.0.1:9") as application:
        application.register()
        assert application.synchronize()["status"] == "Succeeded"
        application.plan()
        for one in subscriptions(application):
            assert not one["active"]
            assert one["error"]["message"].startswith("POST /subscriptions answered 400")


def test_another_public_address_is_told_to_graph_at_the_next_run(application: Application) -> None:
    before = at_graph(application)
    moved = application.host.url.replace("127.0.0.1", "localhost")
    move(application, moved)
    application.synchronize()
    application.plan()
    after = at_graph(application)
    assert {one["notificationUrl"] for one in after} == {f"{moved}{NOTIFICATIONS}"}
    assert not {one["id"] for one in after} & {one["id"] for one in before}


# --- Changes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collection", "change", "parts"),
    [
        ("users", {"department": "Pushed"}, ["users", "mailboxes"]),
        ("groups", {"description": "Pushed"}, ["groups", "groupMembers", "teams", "channels"]),
    ],
)
def test_a_change_is_in_the_cache_without_anybody_asking_and_only_its_parts_were_read(
    application: Application, collection: str, change: dict[str, Any], parts: list[str]
) -> None:
    application.control("PATCH", f"/{collection}/{some_object(application, collection)}", change)
    settle(application)
    assert application.compare().differences == []
    run = last_run(application)
    assert (parts_of(run), run["type"], run["status"]) == (parts, "Incremental", "Succeeded")


def test_what_a_notification_says_has_changed_is_not_believed(application: Application) -> None:
    told = {"id": some_object(application, "users"), "@odata.type": "#Microsoft.Graph.User", "displayName": "Nobody"}
    for kind in ("updated", "deleted"):
        item = notification(application, changeType=kind, resource=f"Users/{told['id']}", resourceData=told)
        assert application.client.post(NOTIFICATIONS, json={"value": [item]}).status_code == 202
        application.host.drain()
    assert application.compare().differences == []
    assert parts_of(last_run(application)) == ["users", "mailboxes"]


def test_many_changes_of_all_sorts_arrive_by_push(application: Application) -> None:
    for seed in range(5):
        application.control("POST", "/mutate", {"count": 20, "seed": seed})
    settle(application)
    differences = application.compare().differences
    # Of sites Graph tells nothing.
    assert [one for one in differences if "site" not in one.lower()] == []


def test_ten_thousand_notifications_make_one_run(start: Start) -> None:
    with start(NOTIFICATION_DEBOUNCE_SECONDS="10", **HELD_CHANGES) as application:
        subscribed(application)
        application.clock.forward(seconds=10)
        application.plan()
        application.clock.forward(minutes=1)
        queue = application.host.host.memory_queue("organization-changes")
        before, waiting = last_run(application), len(queue)

        items = [notification(application)] * 100
        for _ in range(100):
            assert application.client.post(NOTIFICATIONS, json={"value": items}).status_code == 202
        assert len(queue) == waiting + 1
        application.plan()
        assert last_run(application)["activityIdentifier"] == before["activityIdentifier"]

        # Its message is lost: the planner makes up for that, once.
        application.clock.forward(seconds=10)
        application.plan()
        run = last_run(application)
        assert parts_of(run) == ["users", "mailboxes"]
        application.plan()
        assert last_run(application)["activityIdentifier"] == run["activityIdentifier"]


def test_notifications_do_not_put_off_what_the_schedule_asks_for(application: Application) -> None:
    before = application.sync_state()["parts"]["sites"]["lastState"]["startTime"]
    for minutes in (15, 15, 15):
        application.clock.forward(minutes=minutes)
        assert application.client.post(NOTIFICATIONS, json={"value": [notification(application)]}).status_code == 202
        application.host.drain()
        application.plan()
    assert parsed_time(application.sync_state()["parts"]["sites"]["lastState"]["startTime"]) > parsed_time(before)


def test_a_paused_job_runs_nothing_for_notifications_and_has_read_them_once_it_goes_on(
    application: Application,
) -> None:
    job = application.job()
    path = f"/v1.0/applications/0b9f4c1e-52d7-4f38-8a6b-7e1d0c2f3a45/synchronization/jobs/{job['id']}"
    application.client.post(f"{path}/pause").raise_for_status()
    before = last_run(application)
    application.control("PATCH", f"/users/{some_object(application, 'users')}", {"department": "While it rests"})
    settle(application)
    application.plan()
    assert last_run(application)["activityIdentifier"] == before["activityIdentifier"]
    application.client.post(f"{path}/start").raise_for_status()
    application.host.drain()
    assert application.compare().differences == []


# --- Lifecycle ----------------------------------------------------------------------------------------------------


def tell(application: Application, event: str, collection: str = "users") -> None:
    (subscription,) = [one for one in at_graph(application) if one["resource"] == collection]
    application.control("POST", f"/subscriptions/{subscription['id']}/lifecycle", {"event": event})
    settle(application)


def test_a_subscription_that_is_to_be_reauthorized_is_renewed_at_once(application: Application) -> None:
    application.clock.forward(hours=3)
    before = subscriptions(application)
    tell(application, "reauthorizationRequired")
    after = subscriptions(application)
    assert after[0] == before[0]
    assert after[1]["subscriptionId"] == before[1]["subscriptionId"]
    assert parsed_time(after[1]["expirationDateTime"]) > parsed_time(before[1]["expirationDateTime"])


def test_a_subscription_that_was_removed_is_created_anew_at_once(application: Application) -> None:
    application.clock.forward(hours=3)
    before = subscriptions(application)
    tell(application, "subscriptionRemoved", "groups")
    after = subscriptions(application)
    assert after[0]["subscriptionId"] != before[0]["subscriptionId"]
    assert {one["id"] for one in at_graph(application)} == {one["subscriptionId"] for one in after}


def test_what_was_missed_is_read_without_waiting(start: Start) -> None:
    with start(NOTIFICATION_DEBOUNCE_SECONDS="300", **HELD_CHANGES) as application:
        subscribed(application)
        application.clock.forward(minutes=6)
        application.plan()
        application.clock.forward(minutes=6)
        before = last_run(application)
        # The messages of what is to wait for its time are held back, as behind another that waits.
        tell(application, "missed", "groups")
        run = last_run(application)
        assert run["activityIdentifier"] != before["activityIdentifier"]
        assert parts_of(run) == ["groups", "groupMembers", "teams", "channels"]


def test_lifecycle_events_that_are_told_again_and_again_ask_graph_once_a_minute(application: Application) -> None:
    application.clock.forward(hours=3)
    application.control("DELETE", "/requests")
    for _ in range(10):
        tell(application, "reauthorizationRequired")
    assert application.control("GET", "/requests")["paths"]["/v1.0/subscriptions/{id}"] == 1


# --- When something is down ---------------------------------------------------------------------------------------


def test_what_cannot_be_queued_is_told_again_by_graph_and_not_lost(application: Application) -> None:
    # Without a debounce, a change is due when it is told.
    queue = application.host.host.memory_queue("organization-plans")
    send, failures = queue.send, iter(range(1))

    async def fail_once(body: str | bytes) -> None:
        if next(failures, None) is not None:
            raise ConnectionError("the queue service is away")
        await send(body)

    queue.send = fail_once
    application.control("PATCH", f"/users/{some_object(application, 'users')}", {"department": "Told again"})
    assert settle(application)["refused"] >= 1
    application.plan()
    assert application.compare().differences == []
