"""What becomes of a run when its slices are short, Graph is in trouble, or nothing works at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from local.tenant import Directory, Options, TenantServer
from shared.cache.tables import run_parts
from shared.models.slices import Slice
from tests.application import Application, running_application

SMALL = {"users": 120, "groups": 12, "sites": 8, "seed": 5}


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    with TenantServer(Directory(**SMALL), Options(page_size=20, member_slice=10)) as server:
        yield server


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer) -> Iterator[Application]:
    with running_application(monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE="20") as running:
        running.register()
        yield running


def part(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(part for part in run["parts"] if part["part"] == name)


def test_a_run_cut_into_slices_of_one_page_ends_in_the_same_cache(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    with running_application(
        monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE="20", SLICE_SECONDS="0.000001"
    ) as application:
        application.register()
        # The budget is over before the first page has come, and yet each slice has to get on.
        run = application.synchronize()
        assert run["status"] == "Succeeded"
        with application.services.database.read() as connection:
            slices = connection.execute(
                select(func.max(run_parts.c.fence)).where(run_parts.c.run_id == run["activityIdentifier"])
            ).scalar_one()
        assert slices >= 120 / 20
        assert application.compare().differences == []


def test_the_timer_keeps_the_cache_in_step(application: Application) -> None:
    application.synchronize()
    application.control("POST", "/mutate", {"count": 20, "seed": 1})

    application.clock.forward(minutes=39)
    application.plan()
    assert not application.compare().equal

    application.clock.forward(minutes=1)
    application.plan()
    assert application.sync_state()["type"] == "Incremental"
    assert application.compare().differences == []


def test_a_part_is_read_in_full_the_first_time_even_in_an_incremental_run(application: Application) -> None:
    first = application.synchronize(parts=["users"])
    assert [(part["part"], part["type"]) for part in first["parts"]] == [("users", "Full")]

    second = application.synchronize()
    assert {part["part"]: part["type"] for part in second["parts"]} == {
        "users": "Incremental",
        "groups": "Full",
        "groupMembers": "Full",
        "sites": "Full",
        "mailboxes": "Full",
        "teams": "Full",
        "channels": "Full",
    }
    assert application.compare().differences == []


@pytest.mark.parametrize("removed_in_initial_round", [False, True])
def test_an_expired_cursor_costs_a_full_run_of_that_part_alone(
    application: Application, removed_in_initial_round: bool
) -> None:
    application.synchronize()
    application.control("POST", "/options", {"removedInInitialRound": removed_in_initial_round})
    application.control("POST", "/mutate", {"count": 40, "seed": 2})
    application.control("POST", "/expireTokens", {"resource": "users"})

    run = application.synchronize()

    assert (run["type"], run["status"]) == ("Incremental", "Succeeded")
    assert (part(run, "users")["type"], part(run, "groups")["type"]) == ("Full", "Incremental")
    assert application.compare().differences == []


def test_a_long_throttling_wait_is_not_slept_through_but_goes_on_when_it_is_over(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 429, "retryAfter": 120, "times": 1}])

    run = application.synchronize()
    assert (run["status"], part(run, "users")["status"]) == ("Running", "Running")
    assert part(run, "sites")["status"] == "Succeeded"

    application.clock.forward(seconds=100)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "Running"

    application.clock.forward(seconds=20)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    assert application.compare().differences == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"kind": "malformed"},
        {"kind": "truncate"},
        {"kind": "disconnect"},
    ],
    ids=lambda fault: fault.get("kind", "500"),
)
def test_trouble_that_passes_delays_a_part_and_loses_nothing(application: Application, fault: dict[str, Any]) -> None:
    application.control("POST", "/faults", [{"path": "/groups/delta", "times": 3, "after": 1, **fault}])

    run = application.synchronize()
    for _ in range(4):
        application.clock.forward(minutes=5)
        application.plan()

    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    assert application.compare().differences == []


def test_trouble_that_stays_fails_the_part_visibly_and_the_others_succeed(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/sites/delta", "status": 500, "code": "generalException"}])

    run = application.synchronize()
    for _ in range(5):
        application.clock.forward(minutes=10)
        application.plan()
    run = application.run(run["activityIdentifier"])

    assert run["status"] == "Failed"
    assert {part["part"]: part["status"] for part in run["parts"]} == {
        "users": "Succeeded",
        "groups": "Succeeded",
        "groupMembers": "Succeeded",
        "sites": "Failed",
        "mailboxes": "Succeeded",
        "teams": "Succeeded",
        "channels": "Succeeded",
    }
    assert run["error"]["code"] == "generalException"
    assert run["error"]["message"].startswith("sites: GET /sites/delta answered 500 generalException (request-id ")


def test_a_full_run_without_the_list_of_soft_deleted_objects_leaves_those_alone(application: Application) -> None:
    application.synchronize()
    user_id = application.control("POST", "/users", {"displayName": "Zoë"})["id"]
    application.synchronize()
    application.control("DELETE", f"/users/{user_id}")
    application.synchronize()
    application.control("POST", "/faults", [{"path": "/directory/deletedItems", "status": 403}])

    run = application.synchronize(type="Full")

    assert run["status"] == "Succeeded"
    assert application.compare().differences == []


def test_objects_that_were_soft_deleted_before_the_first_run_are_known_as_such(application: Application) -> None:
    user_id = application.control("POST", "/users", {"displayName": "Zoë"})["id"]
    application.control("DELETE", f"/users/{user_id}")

    application.synchronize()

    assert application.compare().differences == []
    assert application.compare().compared["users"] == SMALL["users"] + 1


def test_a_message_that_always_fails_ends_as_a_visible_error_of_its_part(
    monkeypatch: pytest.MonkeyPatch, application: Application
) -> None:
    async def defective(*_: object) -> Slice | None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr("shared.sync.slices.work_on", defective)
    run = application.synchronize()

    assert run["status"] == "Failed"
    assert {part["error"]["code"] for part in run["parts"]} == {"MessageDeadLettered"}
    state = application.sync_state()
    assert (state["syncStatus"], state["currentState"]) == ("Error", None)

    monkeypatch.undo()


def test_a_failed_run_is_followed_by_a_good_one(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 403}])
    assert application.synchronize()["status"] == "Failed"
    application.control("DELETE", "/faults")

    assert application.synchronize()["status"] == "Succeeded"
    assert application.compare().differences == []


def test_a_restore_between_the_listings_of_a_full_run_costs_no_membership(application: Application) -> None:
    application.synchronize()
    user_id, group_id = (
        application.control("POST", f"/{kind}", {"displayName": "Zoë"})["id"] for kind in ("users", "groups")
    )
    application.control("POST", f"/groups/{group_id}/members", {"add": [user_id]})
    application.control("DELETE", f"/users/{user_id}")
    application.synchronize()
    # The user is in neither listing: soft-deleted during the first one, restored before the second.
    application.control(
        "POST", "/faults", [{"path": "/directory/deletedItems", "status": 429, "retryAfter": 60, "times": 1}]
    )
    application.synchronize(type="Full", parts=["users"])
    application.control("POST", f"/users/{user_id}/restore")
    application.clock.forward(seconds=60)
    application.plan()

    # The restored user comes with the next run, and the links that went with it by the one after that.
    application.synchronize()
    application.synchronize()

    assert application.compare().differences == []


def test_a_cursor_of_another_graph_root_costs_a_full_run_and_no_more(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    directory = Directory(users=120, groups=12, sites=8, seed=5)
    with TenantServer(directory) as tenant, running_application(monkeypatch, database_url, tenant) as application:
        application.register()
        application.synchronize()
    with TenantServer(directory) as tenant, running_application(monkeypatch, database_url, tenant) as application:
        run = application.synchronize()
        assert run["status"] == "Succeeded"
        # The cursors of mailboxes and channels are the cache's own.
        in_full = {part["part"] for part in run["parts"] if part["type"] == "Full"}
        assert in_full == {"users", "groups", "groupMembers", "sites", "teams"}
        assert application.compare().differences == []


def test_a_name_cut_in_the_middle_of_an_emoji_does_not_stop_its_page(application: Application) -> None:
    application.control(
        "POST",
        "/faults",
        [{"path": "/sites/delta", "kind": "rewrite", "find": '"displayName":"', "replace": '"displayName":"\\\\ud83d'}],
    )
    run = application.synchronize(parts=["sites"])
    assert run["status"] == "Succeeded"
    assert part(run, "sites")["completed"] == SMALL["sites"] * 3 // 2


def test_no_cursor_and_nobody_s_name_reaches_a_log(application: Application, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    application.control("POST", "/faults", [{"path": "/groups/delta", "status": 503, "times": 1, "after": 2}])
    application.synchronize()
    application.control("POST", "/mutate", {"count": 20, "seed": 2})
    application.clock.forward(minutes=5)
    application.plan()
    application.synchronize()

    assert application.tenant
    users = application.client.get(f"{application.tenant.url}/control/truth/users").text.splitlines()
    text = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("local"))
    assert "deltatoken" not in text.lower()
    assert "skiptoken" not in text.lower()
    assert not [user for user in users if orjson.loads(user)["displayName"] in text]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "Directory_ExpiredPageToken"),
        (400, "BadRequest"),
        (404, "itemNotFound"),
        (404, None),
        (501, "notSupported"),
    ],
)
def test_a_cursor_that_is_refused_in_whatever_words_begins_anew(
    application: Application, status: int, code: str | None
) -> None:
    application.synchronize()
    application.control("POST", "/mutate", {"count": 40, "seed": 2})
    fault = {"path": "/users/delta", "status": status, "times": 1}
    application.control("POST", "/faults", [fault if code is None else {**fault, "code": code}])

    run = application.synchronize()

    assert (run["status"], part(run, "users")["type"]) == ("Succeeded", "Full")
    assert application.compare().differences == []
