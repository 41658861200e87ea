"""A job that cannot go on is held back, tried again less and less often, says why, and goes on when it can."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from local.tenant import Directory, Options, TenantServer
from shared.cache import organizations
from shared.cache.synchronization_record import read_record
from shared.models.callers import EVERY_ORGANIZATION
from tests.application import APPLICATION, NAME, Application, running_application
from tests.databases import Kind

JOBS = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"
PARTS = ("users", "groups", "groupMembers", "sites", "teams")
Start = Callable[..., AbstractContextManager[Application]]


@pytest.fixture
def database_kind() -> Kind:
    """SQLite alone: what differs between the databases is tested in tests/cache and tests/sync, on both."""
    return "sqlite"


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    calm = Options(page_size=20, replay_probability=0, empty_page_probability=0)
    with TenantServer(Directory(users=20, groups=10, sites=4, seed=5), calm) as server:
        yield server


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer) -> Start:
    """Starts the product with these app settings, and registers the organization."""

    @contextmanager
    def started(parts: Sequence[str] = PARTS, **settings: str) -> Iterator[Application]:
        with running_application(monkeypatch, database_url, tenant, **settings) as application:
            application.register(parts=parts)
            yield application
            application.host.drain()

    return started


@pytest.fixture
def application(start: Start) -> Iterator[Application]:
    with start() as running:
        yield running


def status(application: Application) -> dict[str, Any]:
    return application.job()["status"]


def condition(application: Application) -> tuple[str, str]:
    job = application.job()
    return job["schedule"]["state"], job["status"]["code"]


def act(application: Application, action: str, scope: str | None = None, **headers: str) -> None:
    body = None if scope is None else {"criteria": {"resetScope": scope}}
    send(application, action, body, **headers).raise_for_status()
    application.host.drain()


def send(application: Application, action: str, body: Any = None, **headers: str) -> httpx.Response:
    return application.client.post(f"{JOBS}/{application.job()['id']}/{action}", json=body, headers=headers)


def patch_status(application: Application, asked: dict[str, Any]) -> httpx.Response:
    return application.client.patch(f"{JOBS}/{application.job()['id']}", json={"status": asked})


def create(application: Application, collection: str, number: int = 1, **properties: Any) -> list[str]:
    return [
        application.control("POST", f"/{collection}", {"displayName": "Zoë", **properties})["id"] for _ in range(number)
    ]


def break_records(application: Application, collection: str, *ids: str) -> None:
    for object_id in ids:
        rule = {
            "path": f"/{collection}/delta",
            "kind": "rewrite",
            "find": rf'\{{"id":"{re.escape(object_id)}"',
            "replace": f'{{"@removed":5,"id":"{object_id}"',
        }
        application.control("POST", "/faults", [rule])


def refuse(application: Application, **fault: Any) -> None:
    application.control("POST", "/faults", [{"path": "/delta", "status": 401, **fault}])


def heal(application: Application) -> None:
    application.control("DELETE", "/faults")


def escrows(application: Application) -> list[dict[str, Any]]:
    return application.client.get(f"/organizations/{NAME}/escrows").raise_for_status().json()["value"]


def wait_for_next_attempt(application: Application) -> datetime:
    moment = datetime.fromisoformat(status(application)["quarantine"]["nextAttempt"])
    application.clock.forward(seconds=(moment - application.clock()).total_seconds())
    application.plan()
    return moment


# --- Credentials ------------------------------------------------------------------------------------------------------


def test_a_job_that_is_refused_is_tried_after_6_12_and_24_hours_then_daily_and_disabled_after_28_days(
    start: Start,
) -> None:
    with start(parts=["users"]) as application:
        refuse(application)
        act(application, "start")
        began = datetime.fromisoformat(status(application)["quarantine"]["seriesBegan"])

        tried = []
        while condition(application) == ("Active", "Quarantine"):
            assert status(application)["quarantine"]["seriesCount"] == len(tried)
            tried.append((wait_for_next_attempt(application) - began) / timedelta(hours=1))

        assert [round(hours) for hours in tried] == [6, 12, *range(24, 28 * 24 + 1, 24)]
        assert condition(application) == ("Disabled", "Quarantine")
        ended = status(application)
        assert ended["countSuccessiveCompleteFailures"] == len(tried) + 1
        application.clock.forward(days=365)
        application.plan()
        assert status(application)["lastExecution"] == ended["lastExecution"]

        heal(application)
        act(application, "start")
        assert condition(application) == ("Active", "Active")
        assert status(application)["lastExecution"]["state"] == "Succeeded"


def test_between_the_attempts_nobody_asks_graph_for_anything(application: Application) -> None:
    refuse(application)
    act(application, "start")
    application.control("DELETE", "/requests")
    for _ in range(5):
        application.clock.forward(hours=1)
        application.plan()
    assert application.control("GET", "/requests")["total"] == 0


def test_the_error_says_what_was_asked_and_answered_and_no_secret(application: Application) -> None:
    refuse(application)
    act(application, "start")
    error = status(application)["quarantine"]["error"]
    assert (error["code"], error["tenantActionable"]) == ("InvalidAuthenticationToken", True)
    assert re.search(r"GET /(users|groups|sites)/delta answered 401 InvalidAuthenticationToken", error["message"])
    assert re.search(r"\(request-id [0-9a-f-]{36}\)", error["message"])
    answer = application.client.get(JOBS).text + str(application.sync_state())
    assert "eyJ" not in answer
    assert not re.search(r"Bearer|token=|skiptoken|deltatoken|local-identity-header", answer, re.IGNORECASE)


def test_a_token_that_is_not_issued_quarantines_the_job_and_says_so_without_a_secret(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/msi/token", "status": 400}])
    act(application, "start")
    quarantine = status(application)["quarantine"]
    assert quarantine["reason"] == "EncounteredQuarantineException"
    assert not quarantine["error"]["tenantActionable"]
    assert "managed identity" in quarantine["error"]["message"]
    assert "local-identity-header" not in application.client.get(JOBS).text
    heal(application)
    wait_for_next_attempt(application)
    assert condition(application) == ("Active", "Active")
    assert application.compare().differences == []


def test_the_times_of_the_attempts_are_settings(start: Start) -> None:
    with start(QUARANTINE_RETRY_HOURS="1,3", QUARANTINE_DAYS="0.5") as application:
        refuse(application)
        act(application, "start")
        began = datetime.fromisoformat(status(application)["quarantine"]["seriesBegan"])
        tried = []
        while condition(application)[0] == "Active":
            tried.append(round((wait_for_next_attempt(application) - began) / timedelta(hours=1)))
        assert tried == [1, 3, 6, 9, 12]


def test_a_run_that_works_in_parts_ends_the_quarantine(application: Application) -> None:
    refuse(application)
    act(application, "start")
    heal(application)
    refuse(application, path="/sites/delta", status=403)
    wait_for_next_attempt(application)
    assert condition(application) == ("Active", "Active")
    assert status(application)["lastExecution"]["state"] == "Failed"


def test_a_paused_quarantine_rests_and_start_lifts_it(application: Application) -> None:
    refuse(application)
    act(application, "start")
    act(application, "pause")
    assert condition(application) == ("Disabled", "Paused")
    application.clock.forward(days=2)
    application.plan()
    assert (condition(application), status(application)["quarantine"]) == (("Disabled", "Paused"), None)
    heal(application)
    act(application, "start")
    assert condition(application) == ("Active", "Active")


@pytest.mark.parametrize("scope", ["Watermark", "Escrows", "ConnectorDataStore", "Watermark, Escrows"])
def test_a_restart_that_does_not_name_the_quarantine_leaves_it_to_the_run(application: Application, scope: str) -> None:
    refuse(application)
    act(application, "start")
    began = status(application)["quarantine"]["seriesBegan"]
    act(application, "restart", scope)
    assert status(application)["quarantine"]["seriesBegan"] == began
    heal(application)
    act(application, "restart", scope)
    assert condition(application) == ("Active", "Active")
    assert application.compare().differences == []


@pytest.mark.parametrize("scope", [None, "QuarantineState", "Full", "None", "ForceDeletes"])
def test_a_restart_that_lifts_the_quarantine_begins_a_new_series_when_nothing_is_repaired(
    application: Application, scope: str | None
) -> None:
    refuse(application)
    act(application, "start")
    wait_for_next_attempt(application)
    before = status(application)["quarantine"]
    act(application, "restart", scope)
    after = status(application)["quarantine"]
    assert (before["seriesCount"], after["seriesCount"]) == (1, 0)
    assert after["seriesBegan"] > before["seriesBegan"]


# --- Objects that fail ------------------------------------------------------------------------------------------------


def test_failed_objects_beyond_a_proportion_quarantine_the_job_until_they_heal(start: Start) -> None:
    with start(QUARANTINE_PROPORTION_FROM="2", QUARANTINE_PROPORTION="0.4") as application:
        ids = create(application, "users", 5)
        application.synchronize()
        break_records(application, "users", *ids[:2])

        def change(name: str) -> None:
            for user_id in ids:
                application.control("PATCH", f"/users/{user_id}", {"displayName": name})

        change("Two of five")
        assert application.synchronize()["status"] == "EntryLevelErrors"
        assert condition(application) == ("Active", "Active")

        break_records(application, "users", ids[2])
        change("Three of five")
        application.synchronize()
        quarantine = status(application)["quarantine"]
        assert quarantine["reason"] == quarantine["error"]["code"] == "EncounteredEscrowProportionThreshold"
        assert "3 of the 5" in quarantine["error"]["message"]
        assert application.sync_state()["syncStatus"] == "Error"
        # What could be read has arrived.
        assert {line for line in application.compare().differences if not line.startswith("members")} == {
            f"users {user_id}: displayName, column display_name" for user_id in ids[:3]
        }

        heal(application)
        wait_for_next_attempt(application)
        assert (condition(application), escrows(application)) == (("Active", "Active"), [])
        assert application.compare().differences == []


def test_more_escrows_of_objects_than_the_base_threshold_quarantine_the_job_however_old(start: Start) -> None:
    with start(QUARANTINE_BASE_ESCROWS="2") as application:
        application.synchronize()
        for position in range(3):
            assert condition(application) == ("Active", "Active"), position
            (user_id,) = create(application, "users")
            break_records(application, "users", user_id)
            application.synchronize()
        assert status(application)["quarantine"]["reason"] == "EncounteredBaseEscrowThreshold"
        # They fail on in the attempts, and the job stays where it is.
        wait_for_next_attempt(application)
        assert application.run(status(application)["lastExecution"]["activityIdentifier"])["status"] == "Succeeded"
        assert condition(application) == ("Active", "Active")


def test_more_escrows_than_the_total_threshold_quarantine_the_job_with_those_of_links(start: Start) -> None:
    with start(QUARANTINE_BASE_ESCROWS="2", QUARANTINE_TOTAL_ESCROWS="2") as application:
        application.synchronize()
        # A group is an object of two parts, groups and teams, and has links in a third.
        (group_id,) = create(application, "groups")
        break_records(application, "groups", group_id)
        application.synchronize()
        assert {escrow["part"] for escrow in escrows(application)} == {"groups", "groupMembers", "teams"}
        assert status(application)["quarantine"]["reason"] == "EncounteredTotalEscrowThreshold"


def test_the_objects_that_failed_are_tried_again_while_the_job_is_in_quarantine(start: Start) -> None:
    with start(QUARANTINE_BASE_ESCROWS="0") as application:
        application.synchronize()
        (user_id,) = create(application, "users")
        break_records(application, "users", user_id)
        spoilt = {"path": f"/users/{user_id}$", "kind": "rewrite", "find": '"id":"[^"]*"', "replace": '"id":5'}
        application.control("POST", "/faults", [spoilt])
        application.synchronize()
        for failures in (2, 3):
            wait_for_next_attempt(application)
            assert condition(application) == ("Active", "Quarantine")
            assert [escrow["failures"] for escrow in escrows(application)] == [failures]
        heal(application)
        wait_for_next_attempt(application)
        assert (condition(application), escrows(application)) == (("Active", "Active"), [])
        assert application.compare().differences == []


# --- In the initial run -----------------------------------------------------------------------------------------------


def test_too_many_failures_in_the_initial_run_are_pruned_the_run_completes_and_the_job_pauses(start: Start) -> None:
    with start(QUARANTINE_BASE_ESCROWS="2") as application:
        ids = create(application, "users", 3)
        break_records(application, "users", *ids)

        run = application.synchronize()

        assert run["status"] == "EntryLevelErrors"
        assert condition(application) == ("Disabled", "Paused")
        now = status(application)
        assert (now["escrowsPruned"], now["quarantine"]) == (True, None)
        assert now["lastExecution"]["countEscrowed"] == 3
        assert now["lastSuccessfulExecution"] is None
        assert now["troubleshootingUrl"].endswith("/docs/troubleshooting/EscrowsPruned")
        assert escrows(application) == []
        assert sorted(application.compare().differences) == sorted(f"users {user_id}: missing" for user_id in ids)
        application.clock.forward(hours=23)
        application.plan()
        assert status(application)["lastExecution"] == now["lastExecution"]

        heal(application)
        act(application, "restart")
        assert condition(application) == ("Active", "Active")
        assert not status(application)["escrowsPruned"]
        assert application.compare().differences == []


def test_as_many_failures_as_are_allowed_are_not_pruned(start: Start) -> None:
    with start(QUARANTINE_BASE_ESCROWS="2") as application:
        break_records(application, "users", *create(application, "users", 2))
        application.synchronize()
        assert (condition(application), len(escrows(application))) == (("Active", "Active"), 2)
        assert not status(application)["escrowsPruned"]


@pytest.mark.parametrize("scope", [None, "Watermark"])
def test_a_restart_without_a_repair_is_an_initial_run_again_and_pruned_again(start: Start, scope: str | None) -> None:
    with start(QUARANTINE_BASE_ESCROWS="2") as application:
        break_records(application, "users", *create(application, "users", 3))
        application.synchronize()
        act(application, "restart", scope)
        assert condition(application) == ("Disabled", "Paused")
        assert (status(application)["escrowsPruned"], escrows(application)) == (True, [])


def test_a_job_that_is_started_without_a_repair_reads_again_what_was_pruned(start: Start) -> None:
    with start(QUARANTINE_BASE_ESCROWS="2") as application:
        ids = create(application, "users", 3)
        break_records(application, "users", *ids)
        application.synchronize()
        heal(application)
        act(application, "start")
        assert condition(application) == ("Active", "Active")
        assert not status(application)["escrowsPruned"]
        assert application.compare().differences == []


def test_too_many_failures_of_a_later_run_are_not_pruned(start: Start) -> None:
    with start(QUARANTINE_BASE_ESCROWS="2") as application:
        application.synchronize()
        break_records(application, "users", *create(application, "users", 3))
        application.synchronize(type="Full")
        assert (condition(application), len(escrows(application))) == (("Active", "Quarantine"), 3)
        assert not status(application)["escrowsPruned"]


# --- On demand, and requests that come twice --------------------------------------------------------------------------


def test_a_quarantine_on_demand_ends_what_is_under_way_and_holds_the_job_back(application: Application) -> None:
    application.synchronize()
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 429, "retryAfter": 600, "times": 1}])
    stuck = application.synchronize()
    assert stuck["status"] == "Running"

    asked = {"code": "Quarantine", "quarantine": {"error": {"message": "Maintenance until Monday."}}}
    answer = patch_status(application, asked)

    assert (answer.status_code, answer.json()["status"]["code"]) == (200, "Quarantine")
    assert application.run(stuck["activityIdentifier"])["status"] == "Cancelled"
    quarantine = status(application)["quarantine"]
    assert quarantine["reason"] == "QuarantinedOnDemand"
    assert quarantine["error"]["message"] == "Maintenance until Monday."
    patch_status(application, asked).raise_for_status()
    assert status(application)["quarantine"] == quarantine

    application.control("DELETE", "/requests")
    application.clock.forward(hours=5)
    application.plan()
    assert application.control("GET", "/requests")["total"] == 0
    act(application, "start")
    assert (condition(application), status(application)["quarantine"]) == (("Active", "Active"), None)
    assert application.compare().differences == []


def test_only_a_started_job_can_be_put_in_quarantine(application: Application) -> None:
    assert patch_status(application, {"code": "Quarantine"}).status_code == 409
    application.synchronize()
    act(application, "pause")
    assert patch_status(application, {"code": "Quarantine"}).status_code == 409
    assert condition(application) == ("Disabled", "Paused")


def test_a_job_that_is_sent_back_as_it_was_read_is_not_quarantined_anew(application: Application) -> None:
    refuse(application)
    act(application, "start")
    before = application.job()
    assert application.client.patch(f"{JOBS}/{before['id']}", json=before).status_code == 200
    assert application.job() == before


def throttled(application: Application) -> None:
    """The parts hang after their first page."""
    application.control("POST", "/faults", [{"path": "/delta", "status": 429, "retryAfter": 600, "after": 5}])


def run_under_way(application: Application) -> str:
    with application.services.database.read() as connection:
        organization = organizations.find(connection, NAME, EVERY_ORGANIZATION)
        record = read_record(connection, organization, application.clock())
    assert record.running is not None
    return record.running.activity_identifier


def test_a_restart_that_is_sent_again_goes_on_with_the_run_of_the_first(start: Start) -> None:
    with start(GRAPH_PAGE_SIZE="5") as application:
        application.synchronize()
        throttled(application)
        act(application, "restart", "Watermark")
        first = run_under_way(application)
        assert any(part["completed"] for part in application.run(first)["parts"])

        act(application, "restart", "Watermark", **{"Retry-Attempt": "1"})
        assert run_under_way(application) == first
        heal(application)
        # Nobody's wish ends the wait that Graph asked for.
        application.clock.forward(minutes=10)
        throttled(application)
        act(application, "restart", "Watermark, Escrows", **{"Retry-Attempt": "1"})
        second = run_under_way(application)
        assert second != first
        # Without the header it is a new wish.
        act(application, "restart", "Watermark, Escrows")
        assert run_under_way(application) != second

        heal(application)
        application.clock.forward(minutes=10)
        application.plan()
        assert application.run(first)["status"] == "Cancelled"
        assert application.sync_state()["syncStatus"] == "Success"
        assert application.compare().differences == []


def test_a_restart_that_is_asked_for_twice_before_anything_was_done_begins_one_run(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/delta", "status": 429, "retryAfter": 600, "times": 5}])
    act(application, "restart", "Watermark")
    first = run_under_way(application)
    act(application, "restart", "Watermark")
    assert run_under_way(application) == first


def test_a_restart_of_a_job_that_was_paused_in_between_sets_it_going_again(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/delta", "status": 429, "retryAfter": 600, "times": 5}])
    act(application, "restart", "Watermark")
    act(application, "pause")
    heal(application)
    act(application, "restart", "Watermark")
    # Nobody's wish ends the wait that Graph asked for.
    application.clock.forward(minutes=10)
    application.plan()
    assert condition(application) == ("Active", "Active")
    assert application.compare().differences == []


def test_an_approval_that_is_sent_again_approves_nothing_more(start: Start) -> None:
    with start(DELETION_THRESHOLD="0") as application:
        first, second = create(application, "users", 2)
        application.synchronize()
        application.control("DELETE", f"/users/{first}")
        application.synchronize()
        act(application, "restart", "ForceDeletes")
        application.control("DELETE", f"/users/{second}")
        application.synchronize()
        # The answer to the first request was lost on the way; the client sends it again.
        act(application, "restart", "ForceDeletes", **{"Retry-Attempt": "1"})
        held = application.client.get(f"/organizations/{NAME}/heldDeletions").json()["value"]
        assert [(deletion["objectId"], deletion["approved"]) for deletion in held] == [(second, False)]
