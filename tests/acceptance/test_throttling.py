"""Graph asks one slice to wait: who else waits, until when, what people see of it, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from local.tenant import Directory, Options, TenantServer
from shared.cache import organizations, pages, throttles
from shared.cache.synchronization_record import read_record
from shared.models.callers import EVERY_ORGANIZATION
from shared.models.records import Page
from shared.models.slices import Slice
from tests.application import APPLICATION, NAME, Application, running_application

JOBS = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"
DIRECTORY_PARTS = ("users", "groups", "groupMembers", "teams")
PAGE_SIZE = 5


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    calm = Options(replay_probability=0, empty_page_probability=0)
    with TenantServer(Directory(users=40, groups=20, sites=8, seed=5), calm) as server:
        yield server


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer) -> Iterator[Application]:
    with running_application(monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE=str(PAGE_SIZE)) as running:
        running.register(parts=[*DIRECTORY_PARTS, "sites"])
        yield running
        running.host.drain()


def throttle(application: Application, path: str, **fault: Any) -> None:
    application.control("POST", "/faults", [{"path": path, "status": 429, "retryAfter": 120, "times": 1, **fault}])


def asked(application: Application) -> dict[str, int]:
    """What Graph was asked since the last time; tokens are not Graph's."""
    paths = application.control("GET", "/requests")["paths"]
    application.control("DELETE", "/requests")
    return {path: number for path, number in paths.items() if not path.startswith("/msi/")}


def act(application: Application, action: str, body: Any = None) -> None:
    application.client.post(f"{JOBS}/{application.job()['id']}/{action}", json=body).raise_for_status()
    application.host.drain()


def run_under_way(application: Application) -> dict[str, Any]:
    with application.services.database.read() as connection:
        organization = organizations.find(connection, NAME, EVERY_ORGANIZATION)
        record = read_record(connection, organization, application.clock())
    assert record.running is not None
    return application.run(record.running.activity_identifier)


def by_part(run: dict[str, Any], member: str) -> dict[str, Any]:
    return {part["part"]: part[member] for part in run["parts"]}


def is_asked_to_wait(application: Application) -> None:
    """The slice of users is told to wait for two minutes; what Graph was asked until then is forgotten."""
    throttle(application, "/users/delta")
    assert application.synchronize(parts=["users"])["status"] == "Running"
    asked(application)


def test_a_wait_that_one_part_is_told_holds_for_all_of_the_directory_and_not_for_sites(
    application: Application,
) -> None:
    is_asked_to_wait(application)
    until = run_under_way(application)["parts"][0]["nextAttempt"]

    # The restart takes the run away that was told to wait, not the wait.
    act(application, "restart", {"criteria": {"resetScope": "Full"}})

    assert asked(application).keys() == {"/v1.0/sites/delta"}
    run = run_under_way(application)
    assert by_part(run, "nextAttempt") == {**dict.fromkeys(DIRECTORY_PARTS, until), "sites": None}
    assert by_part(run, "status")["sites"] == "Succeeded"
    assert {error["code"] for error in by_part(run, "error").values() if error} == {"TooManyRequests"}

    application.clock.forward(seconds=80)
    application.plan()
    assert asked(application) == {}

    application.clock.forward(seconds=40)
    application.plan()
    run = application.run(run["activityIdentifier"])
    assert (run["status"], run["error"]) == ("Succeeded", None)
    assert set(by_part(run, "nextAttempt").values()) == {None}
    assert application.compare().differences == []


def test_parts_that_are_at_work_at_the_same_time_all_come_through_a_wait(application: Application) -> None:
    throttle(application, "/users/delta", after=3)
    run = application.synchronize()
    assert (run["status"], by_part(run, "status")["sites"]) == ("Running", "Succeeded")
    assert run["error"] is None
    waits = by_part(run, "nextAttempt")
    left = datetime.fromisoformat(waits["users"]) - application.clock()
    assert timedelta(seconds=90) < left <= timedelta(seconds=120)
    assert {wait for part, wait in waits.items() if by_part(run, "status")[part] == "Running"} == {waits["users"]}
    asked(application)

    application.clock.forward(seconds=120)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    # Three pages had come before the wait; they are not read again.
    assert asked(application)["/v1.0/users/delta"] == 40 / PAGE_SIZE - 3
    assert application.compare().differences == []


def test_a_slice_at_work_stops_after_the_page_during_which_another_was_told_to_wait(
    monkeypatch: pytest.MonkeyPatch, application: Application
) -> None:
    apply_page, applied = pages.apply_page, list[int]()

    def apply(connection: Connection, work: Slice, page: Page, now: datetime, *others: Any) -> Any:
        applied.append(len(page.records))
        if len(applied) == 2:
            throttles.extend(connection, work.organization.key, work.part.family, now + timedelta(seconds=120))
        return apply_page(connection, work, page, now, *others)

    monkeypatch.setattr(pages, "apply_page", apply)
    run = application.synchronize(parts=["groups"])

    assert by_part(run, "completed") == {"groups": 2 * PAGE_SIZE}
    assert by_part(run, "nextAttempt")["groups"] is not None
    # The third page may have been on its way already.
    assert asked(application)["/v1.0/groups/delta"] <= 3

    application.clock.forward(seconds=120)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    assert by_part(application.run(run["activityIdentifier"]), "completed")["groups"] == sum(applied)
    assert application.compare().compared["groups"] == sum(applied)


def test_a_wait_that_is_told_while_a_failed_object_is_tried_again_holds_for_the_others(
    application: Application,
) -> None:
    user = application.control("POST", "/users", {"displayName": "Zoë"})["id"]
    broken = {
        "path": "/users/delta",
        "kind": "rewrite",
        "find": f'{{"id":"{user}"',
        "replace": f'{{"id":"{user}","@removed":5',
    }
    application.control("POST", "/faults", [broken])
    application.synchronize()
    application.control("DELETE", "/faults")
    throttle(application, f"/users/{user}$")
    application.clock.forward(hours=1)
    # What fails again is not worth the part's own wait.
    assert application.synchronize(parts=["users"])["status"] == "EntryLevelErrors"
    asked(application)

    run = application.synchronize(parts=["groups", "sites"])
    assert by_part(run, "status") == {"groups": "Queued", "sites": "Succeeded"}
    assert asked(application).keys() == {"/v1.0/sites/delta"}

    application.clock.forward(hours=1)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    application.clock.forward(hours=1)
    application.synchronize()
    assert application.compare().differences == []


def test_a_job_that_is_paused_in_a_wait_stays_so_and_a_start_before_its_end_asks_nothing(
    application: Application,
) -> None:
    is_asked_to_wait(application)
    before = run_under_way(application)
    act(application, "pause")
    assert run_under_way(application)["parts"] == before["parts"]
    act(application, "start")
    assert asked(application) == {}
    assert run_under_way(application)["parts"][0]["nextAttempt"] == before["parts"][0]["nextAttempt"]

    act(application, "pause")
    application.clock.forward(seconds=120)
    application.plan()
    assert asked(application) == {}

    act(application, "start")
    assert application.run(before["activityIdentifier"])["status"] == "Succeeded"


def test_a_run_shows_what_graph_took_for_each_part_and_in_all(application: Application) -> None:
    run = application.synchronize()
    pages_read = asked(application)
    units = by_part(run, "resourceUnits")
    # One for a page of users with $select, two for a page of sites that is read without a token (graph.md §6).
    deleted = [number for path, number in pages_read.items() if "/deletedItems/" in path and path.endswith(".user")]
    assert units["users"] == pages_read["/v1.0/users/delta"] + sum(deleted)
    assert units["sites"] == 2 * pages_read["/v1.0/sites/delta"]
    assert run["resourceUnits"] == sum(units.values())

    run = application.synchronize()
    assert by_part(run, "resourceUnits") == dict.fromkeys(units, 1)


def test_a_full_run_lets_others_go_first_and_an_incremental_one_does_not(application: Application) -> None:
    def priorities() -> dict[str, int]:
        return application.control("GET", "/requests")["throttlePriorities"]

    def full_run_yields() -> bool:
        low = priorities()
        return low == {"low": sum(asked(application).values())}

    application.synchronize()
    assert full_run_yields()
    application.control("POST", "/mutate", {"count": 20, "seed": 1})
    application.synchronize()
    assert priorities() == {}
    assert asked(application)["/v1.0/users/delta"] > 0
    application.synchronize(type="Full")
    assert full_run_yields()


def test_a_part_that_is_throttled_for_an_hour_fails_so_that_the_others_get_their_next_run(
    application: Application,
) -> None:
    application.synchronize()
    fault = {"path": "/sites/delta", "status": 429, "retryAfter": 600}
    application.control("POST", "/faults", [fault])
    first = application.synchronize()
    application.control("POST", "/users", {"displayName": "Zoë"})
    for _ in range(8):
        application.clock.forward(minutes=10)
        application.plan()

    run = application.run(first["activityIdentifier"])
    assert (run["status"], run["error"]["code"]) == ("Failed", "TooManyRequests")
    assert by_part(run, "status")["users"] == "Succeeded"
    # The planner started the run that was due meanwhile, and it read the new user.
    assert application.compare().differences == []

    application.control("DELETE", "/faults")
    application.clock.forward(hours=2)
    application.plan()
    assert application.sync_state()["syncStatus"] == "Success"


def test_a_total_that_is_never_told_does_not_hold_up_the_listing(application: Application) -> None:
    throttle_for_ever = {"path": r"/users/\$count", "status": 429, "retryAfter": 40}
    application.control("POST", "/faults", [throttle_for_ever])
    run = application.synchronize(parts=["users"])
    application.clock.forward(minutes=1)
    application.plan()
    run = application.run(run["activityIdentifier"])
    assert (run["status"], run["parts"][0]["total"]) == ("Succeeded", None)
