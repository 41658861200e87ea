"""A full run reads beside the visible cache: readers see the older, complete truth until the new one is complete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from local.tenant import Directory, Options, TenantServer
from shared.cache.tables import links, objects, run_parts, seen_links, seen_objects, staged_pages
from tests.application import Application, running_application


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    options = Options(page_size=20, member_slice=10, replay_probability=0)
    with TenantServer(Directory(users=120, groups=12, sites=8, seed=5), options) as server:
        yield server


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer) -> Iterator[Application]:
    with running_application(monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE="20") as running:
        running.register()
        running.synchronize()
        yield running


def rows(application: Application) -> list[Any]:
    """All that readers can see."""
    with application.services.database.read() as connection:
        return [
            list(connection.execute(select(table).order_by(*table.primary_key.columns)).all())
            for table in (objects, links)
        ]


def left_behind(application: Application) -> int:
    with application.services.database.read() as connection:
        return sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (staged_pages, seen_objects, seen_links)
        )


def let_time_pass(application: Application) -> None:
    for _ in range(6):
        application.clock.forward(minutes=3)
        application.plan()


@pytest.mark.parametrize(
    ("part", "broken", "after"),
    [("users", "/users/delta", 3), ("groupMembers", "/groups/delta", 1), ("users", "/directory/deletedItems", 0)],
    ids=["objects", "links", "in the listing of deleted items"],
)
def test_a_full_run_that_is_aborted_leaves_no_trace_in_what_readers_see(
    application: Application, part: str, broken: str, after: int
) -> None:
    application.control("POST", "/mutate", {"count": 60, "seed": 3})
    before = rows(application)
    application.control("POST", "/faults", [{"path": broken, "status": 500, "after": after}])

    run = application.synchronize(type="Full", parts=[part])
    assert rows(application) == before
    let_time_pass(application)

    assert application.run(run["activityIdentifier"])["status"] == "Failed"
    assert rows(application) == before
    application.control("DELETE", "/faults")
    run = application.synchronize(type="Full")
    let_time_pass(application)
    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    assert application.compare().differences == []
    assert left_behind(application) == 0


def test_what_an_aborted_full_run_put_aside_is_cleared_away_by_the_next_incremental_run(
    application: Application,
) -> None:
    application.control("POST", "/mutate", {"count": 60, "seed": 3})
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 500, "after": 2}])
    application.synchronize(type="Full", parts=["users"])
    let_time_pass(application)
    assert left_behind(application) > 0

    application.control("DELETE", "/faults")
    assert application.synchronize(parts=["users"])["type"] == "Incremental"

    assert left_behind(application) == 0
    application.synchronize()
    assert application.compare().differences == []


def test_progress_counts_what_has_been_received_beside_the_cache(application: Application) -> None:
    fault = {"path": "/users/delta", "status": 429, "retryAfter": 300, "after": 3}
    application.control("POST", "/faults", [fault])

    run = application.synchronize(type="Full", parts=["users"])

    (users,) = run["parts"]
    assert (users["status"], users["completed"], users["total"]) == ("Running", 60, 120)
    assert run["counts"]["countImported"] == 60, "what tells nothing new is counted when it comes"

    application.control("DELETE", "/faults")
    application.clock.forward(minutes=5)
    application.plan()
    run = application.run(run["activityIdentifier"])
    assert run["parts"][0]["completed"] == run["counts"]["countImported"] == 120


def test_a_cursor_that_expires_on_every_page_fails_the_part_instead_of_starting_it_for_ever(
    application: Application,
) -> None:
    fault = {"path": "/users/delta", "status": 410, "code": "syncStateNotFound"}
    application.control("POST", "/faults", [{**fault, "after": 1}])

    run = application.synchronize(type="Full", parts=["users"])
    for _ in range(20):
        application.plan()

    run = application.run(run["activityIdentifier"])
    assert (run["status"], run["error"]["code"]) == ("Failed", "syncStateNotFound")
    application.control("DELETE", "/faults")
    assert application.synchronize()["status"] == "Succeeded"
    assert application.compare().differences == []


@pytest.mark.parametrize("status", [400, 410])
@pytest.mark.parametrize("code", ["syncStateNotFound", "resyncRequired"])
def test_a_cursor_that_expires_in_the_middle_of_a_full_run_begins_a_new_generation(
    application: Application, status: int, code: str
) -> None:
    application.control("POST", "/mutate", {"count": 60, "seed": 4})
    fault = {"path": "/users/delta", "status": status, "code": code, "after": 2, "times": 1}
    application.control("POST", "/faults", [fault])

    run = application.synchronize(type="Full")

    assert run["status"] == "Succeeded"
    with application.services.database.read() as connection:
        restarts = select(run_parts.c.part, run_parts.c.restarts).where(run_parts.c.restarts > 0)
        assert connection.execute(restarts).all() == [("users", 1)]
    assert application.compare().differences == []
    assert left_behind(application) == 0
