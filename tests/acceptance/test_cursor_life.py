"""No cursor grows so old that Graph forgets it, whether the job is paused or its next run is far."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local.tenant import Directory, Options, TenantServer
from tests.application import APPLICATION, NAME, Application, running_application

DELTA = ("/v1.0/users/delta", "/v1.0/groups/delta", "/v1.0/sites/delta")


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Application]:
    calm = Options(page_size=20, replay_probability=0, empty_page_probability=0)
    with (
        TenantServer(Directory(users=50, groups=6, sites=4), calm) as tenant,
        running_application(monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE="20") as running,
    ):
        running.register(parts=["users", "groups", "groupMembers", "sites", "teams"])
        yield running


def act(application: Application, action: str) -> None:
    jobs = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"
    application.client.post(f"{jobs}/{application.job()['id']}/{action}").raise_for_status()
    application.host.drain()


def condition(application: Application) -> tuple[str, str]:
    job = application.job()
    return job["schedule"]["state"], job["status"]["code"]


def asked(application: Application) -> dict[str, int]:
    """How often each delta query was asked since the last look."""
    paths = application.control("GET", "/requests")["paths"]
    application.control("DELETE", "/requests")
    return {path: number for path, number in paths.items() if path in DELTA}


def time_passes(application: Application, hours: int, step: int = 1) -> None:
    """The planner's timer fires every ``step`` hours."""
    for _ in range(hours // step):
        application.clock.forward(hours=step)
        application.plan()


def last_types(application: Application) -> set[str]:
    return {part["lastState"]["type"] for part in application.sync_state()["parts"].values() if part is not None}


def test_a_paused_jobs_cursors_are_used_once_a_day_and_what_came_meanwhile_is_read_when_it_is_started(
    application: Application,
) -> None:
    application.synchronize()
    act(application, "pause")
    asked(application)
    time_passes(application, 22, step=2)
    assert asked(application) == {}
    for _ in range(8):
        time_passes(application, 24, step=6)
        # Each part asks what changed once; groups, group members and teams have cursors of their own.
        assert asked(application) == {"/v1.0/users/delta": 1, "/v1.0/groups/delta": 3, "/v1.0/sites/delta": 1}
    assert condition(application) == ("Disabled", "Paused")
    assert last_types(application) == {"Incremental"}

    application.control("POST", "/users", {"displayName": "Zoë"})
    act(application, "start")
    assert condition(application) == ("Active", "Active")
    assert last_types(application) == {"Incremental"}
    assert application.compare().differences == []


def test_a_run_that_a_pause_stopped_in_its_middle_is_finished_before_its_links_are_too_old(
    application: Application,
) -> None:
    fault = {"path": "/users/delta", "status": 429, "retryAfter": 60, "times": 1, "after": 1}
    application.control("POST", "/faults", [fault])
    run = application.synchronize()
    assert run["status"] == "Running"
    act(application, "pause")
    time_passes(application, 22, step=2)
    assert application.run(run["activityIdentifier"])["status"] == "Running"

    time_passes(application, 2)
    assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
    assert application.control("GET", "/requests")["repeatedPages"] == 0
    assert condition(application) == ("Disabled", "Paused")
    assert application.compare().differences == []


def test_a_refused_credential_is_tried_four_times_a_day_and_the_job_stays_paused(application: Application) -> None:
    application.synchronize()
    act(application, "pause")
    time_passes(application, 22, step=22)
    application.control("POST", "/faults", [{"path": "/delta", "status": 401}])
    asked(application)
    time_passes(application, 24)
    # Each try asks once more with a token that is new, and may find its connection closed by another's.
    assert max(asked(application).values()) <= 3 * 4 * 3
    assert condition(application) == ("Disabled", "Paused")
    assert application.sync_state()["syncStatus"] == "Error"

    application.control("DELETE", "/faults")
    time_passes(application, 6, step=6)
    assert (condition(application), application.sync_state()["syncStatus"]) == (("Disabled", "Paused"), "Success")
    assert last_types(application) == {"Incremental"}


def test_a_part_that_is_synchronized_only_by_itself_does_not_let_the_others_cursors_grow_old(
    application: Application,
) -> None:
    application.synchronize()
    asked(application)
    for _ in range(5):
        application.clock.forward(hours=5)
        # The interval is counted from the last start, so that the schedule never gets its turn.
        application.synchronize(parts=["users"])
        application.plan()
    told = asked(application)
    assert (told["/v1.0/groups/delta"], told["/v1.0/sites/delta"]) == (3, 1)


def test_a_deleted_job_has_no_cursor_to_keep(application: Application) -> None:
    application.synchronize()
    jobs = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"
    application.client.delete(f"{jobs}/{application.job()['id']}").raise_for_status()
    asked(application)
    time_passes(application, 30, step=30)
    assert asked(application) == {}


def test_a_removed_organization_is_left_alone(application: Application) -> None:
    application.synchronize()
    application.client.delete(f"/organizations/{NAME}").raise_for_status()
    asked(application)
    time_passes(application, 30, step=30)
    assert asked(application) == {}
