"""PATCH of a job: its settings, its interval, its parts, a quarantine on demand – and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.api.support import check_error, deliver, held_application, held_parts, jobs_path, rows, small_tenant
from tests.application import NAME, Application, running_application
from tests.databases import Databases

THRESHOLD, INTERVAL, PARTS = "QuarantineTooManyDeletesThreshold", "SynchronizationInterval", "Parts"
ALL_PARTS = "users,groups,groupMembers,sites,mailboxes,teams,channels"
DEFAULTS = {THRESHOLD: "500", INTERVAL: "PT40M", PARTS: ALL_PARTS}


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[Application]:
    """The product with a registered organization and without a tenant; runs stay queued."""
    with held_application(monkeypatch, sqlite_url) as running:
        running.register()
        yield running


def send(application: Application, body: Any) -> httpx.Response:
    return application.client.patch(f"{jobs_path()}/{application.job()['id']}", json=body)


def change(application: Application, **settings: str) -> dict[str, Any]:
    """Changes settings and returns the job that comes back."""
    body = {"synchronizationJobSettings": [{"name": name, "value": value} for name, value in settings.items()]}
    return send(application, body).raise_for_status().json()


def shown(job: dict[str, Any]) -> dict[str, Any]:
    return {pair["name"]: pair["value"] for pair in job["synchronizationJobSettings"]}


def refused(application: Application, body: Any, status: int = 400) -> str:
    """Sends a change that must be refused without a trace; returns the message."""
    before, job_before = rows(application), application.job()
    message = check_error(send(application, body), status)
    assert rows(application) == before
    assert application.job() == job_before
    return message


def put_in_quarantine(application: Application, message: str | None = None) -> dict[str, Any]:
    error = {} if message is None else {"error": {"code": "Mine", "message": message}}
    asked = {"status": {"code": "Quarantine", "quarantine": {"reason": "QuarantinedOnDemand", **error}}}
    return send(application, asked if message is not None else {"status": {"code": "Quarantine"}}).json()


# --- Settings -----------------------------------------------------------------------------------------------------

TAKEN: dict[str, dict[str, str]] = {
    THRESHOLD: {"0": "0", "2147483647": "2147483647", " 7 ": "7", "None": "None", "007": "7", " none ": "None"},
    INTERVAL: {
        "PT1H30M": "PT1H30M",
        "P1DT2H": "P1DT2H",
        "PT90M": "PT1H30M",
        "1 day, 2:00:00": "P1DT2H",
        "1:30:00": "PT1H30M",
        "0:01:30.400000": "PT1M30S",
        "PT60S": "PT1M",
        "P365D": "P365D",
    },
    PARTS: {
        "sites": "sites",
        " Teams,USERS , groupmembers": "users,groupMembers,teams",
        "users,users,": "users",
        "channels,teams,sites,mailboxes,groupMembers,groups,users": ALL_PARTS,
    },
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_setting_is_changed_and_shown_and_the_others_stay(application: Application, name: str) -> None:
    for value, expected in TAKEN[name].items():
        told = change(application, **{name: value})

        assert shown(told) == {**DEFAULTS, name: expected}, value
        assert told["schedule"]["interval"] == shown(told)[INTERVAL]
        assert list(shown(told)) == list(DEFAULTS)
        assert told.pop("@odata.context").endswith("/synchronization/jobs/$entity")
        assert application.job() == told


def test_several_settings_are_changed_at_once_whatever_the_case_of_their_names(application: Application) -> None:
    told = change(
        application,
        **{"synchronizationinterval": "PT2H", "PARTS": "users", "quarantineTooManyDeletesThreshold": "3"},
    )

    assert shown(told) == {THRESHOLD: "3", INTERVAL: "PT2H", PARTS: "users"}


def test_the_schedules_interval_is_the_setting_by_another_name(application: Application) -> None:
    for interval in ("PT2H", "3:00:00", "+PT120M"):
        told = send(application, {"schedule": {"interval": interval}}).json()

        expected = "PT3H" if interval == "3:00:00" else "PT2H"
        assert (told["schedule"]["interval"], shown(told)[INTERVAL]) == (expected, expected)


def test_interval_and_setting_may_be_sent_together_when_they_do_not_contradict(application: Application) -> None:
    def both(schedule: str, setting: str) -> dict[str, Any]:
        pairs = [{"name": INTERVAL, "value": setting}]
        return {"schedule": {"interval": schedule}, "synchronizationJobSettings": pairs}

    # What is sent back as it was read is no wish of its own.
    for schedule, setting, expected in (
        ("PT1H", "PT1H", "PT1H"),
        ("PT1H", "PT2H", "PT2H"),
        ("PT3H", "PT2H", "PT3H"),
    ):
        assert send(application, both(schedule, setting)).json()["schedule"]["interval"] == expected
    assert INTERVAL in refused(application, both("PT4H", "PT5H"))


def test_a_change_of_a_job_that_is_not_there_is_not_found(application: Application) -> None:
    before = rows(application)
    answer = application.client.patch(f"{jobs_path()}/M365OrgCache.1.2", json={"schedule": {"interval": "PT1H"}})
    check_error(answer, 404, "Request_ResourceNotFound")
    assert rows(application) == before


# --- What is sent back as it was read -----------------------------------------------------------------------------


def pause(application: Application) -> None:
    application.client.post(f"{jobs_path()}/{application.job()['id']}/pause").raise_for_status()


STATES: dict[str, Callable[[Application], object]] = {
    "never run": lambda _: None,
    "queued": Application.start,
    "paused": pause,
    "quarantined": lambda application: (application.start(), put_in_quarantine(application, "Wait.")),
    "with other settings": lambda application: change(application, **{THRESHOLD: "None", PARTS: "teams"}),
}
"""What brings a job to the state from the one before."""


def test_a_job_that_is_sent_back_as_it_was_read_stays_as_it_is_whole_and_in_pieces(application: Application) -> None:
    path = f"{jobs_path()}/{application.job()['id']}"
    for state, bring in STATES.items():
        bring(application)
        job, whole = application.client.get(path).json(), application.client.get(f"{path}?$expand=schema").json()
        before = rows(application)

        pieces = [{name: value} for name, value in whole.items()]
        pieces += [{"status": {name: job["status"][name]}} for name in ("code", "quarantine")]
        for body in (job, whole, {**job, "@odata.type": "#microsoft.graph.synchronizationJob", "more": 1}, {}, *pieces):
            assert send(application, body).raise_for_status().json() == job, state
            assert rows(application) == before, state


def test_a_status_that_is_sent_back_is_no_wish_though_the_job_went_on_meanwhile(application: Application) -> None:
    read = [application.job()["status"]]
    application.start()
    put_in_quarantine(application, "Wait.")
    read.append(application.job()["status"])
    application.start()
    before = rows(application)

    for status in read:
        assert send(application, {"status": status}).status_code == 200
        assert send(application, {"status": {"@odata.type": "#x", **status}}).status_code == 200
    assert rows(application) == before


def test_what_is_null_changes_nothing(application: Application) -> None:
    before = rows(application)
    for body in (
        {"id": None, "templateId": None, "schedule": None, "status": None, "synchronizationJobSettings": None},
        {"schedule": {"state": None, "interval": None, "expiration": None}, "synchronizationJobSettings": []},
        {"schedule": {}, "status": {"code": None, "quarantine": None}, "schema": None},
        {"templateId": "m365orgcache", "status": {}, "schema": {}},
    ):
        assert send(application, body).status_code == 200, body
        assert rows(application) == before, body


# --- Quarantine on demand -----------------------------------------------------------------------------------------


def test_a_started_job_is_put_in_quarantine_with_the_clients_words_and_its_run_ends(application: Application) -> None:
    run = application.start()

    job = put_in_quarantine(application, "Hold on until Monday.")

    assert (job["schedule"]["state"], job["status"]["code"]) == ("Active", "Quarantine")
    quarantine = job["status"]["quarantine"]
    assert quarantine["reason"] == "QuarantinedOnDemand"
    assert quarantine["error"]["message"] == "Hold on until Monday."
    assert quarantine["seriesCount"] == 0
    assert quarantine["currentBegan"] == quarantine["seriesBegan"] < quarantine["nextAttempt"]
    assert "/docs/troubleshooting/QuarantinedOnDemand" in job["status"]["troubleshootingUrl"]
    assert application.run(run["activityIdentifier"])["status"] == "Cancelled"
    assert application.sync_state()["currentState"] is None


def test_a_quarantine_on_demand_needs_no_words_and_takes_only_so_many(application: Application) -> None:
    application.start()
    assert put_in_quarantine(application)["status"]["quarantine"]["error"]["message"]
    application.start()
    long = put_in_quarantine(application, "x" * 100_000)["status"]["quarantine"]["error"]["message"]
    assert 0 < len(long) <= 1_000


def test_the_words_of_a_quarantine_may_hold_any_character(
    monkeypatch: pytest.MonkeyPatch, databases: Databases
) -> None:
    with (
        databases.fresh("postgresql") as url,
        held_application(monkeypatch, url) as application,
    ):
        application.register()
        for words in ("naïve – 組織 🏢 \u202e", "a\u0000b"):
            application.start()
            job = put_in_quarantine(application, words)
            assert job["status"]["quarantine"]["error"]["message"].replace("\u0000", "") == words.replace("\u0000", "")


def test_a_job_that_is_not_started_cannot_be_put_in_quarantine_and_keeps_its_settings(application: Application) -> None:
    for bring in (STATES["never run"], STATES["paused"]):
        bring(application)
        message = refused(application, {"status": {"code": "Quarantine"}, "schedule": {"interval": "PT1H"}}, status=409)
        assert "started" in message


def test_a_quarantine_that_is_asked_for_again_stays_as_it_is_and_settings_are_changed_beside_it(
    application: Application,
) -> None:
    application.start()
    first = put_in_quarantine(application, "First.")["status"]["quarantine"]
    application.clock.forward(minutes=1)

    body = {"status": {"code": "Quarantine", "quarantine": {"error": {"message": "Second."}}}}
    job = send(application, {**body, "schedule": {"interval": "PT1H"}}).json()

    assert job["status"]["quarantine"] == first
    assert job["schedule"]["interval"] == "PT1H"


def test_a_quarantine_and_settings_come_with_one_change(application: Application) -> None:
    application.start()
    job = send(application, {"status": {"code": "Quarantine"}, "schedule": {"interval": "PT1H"}}).json()
    assert (job["status"]["code"], job["schedule"]["interval"]) == ("Quarantine", "PT1H")


# --- The schedule -------------------------------------------------------------------------------------------------


def started_by_plan(application: Application, **forward: float) -> bool:
    """Whether a planner's turn starts a run when this time has passed."""
    application.clock.forward(**forward)
    application.plan()
    return application.sync_state()["currentState"] is not None


@pytest.fixture
def synchronized(held: Application) -> Application:
    """The product whose first run has just ended."""
    held.register()
    held.start()
    deliver(held)
    assert held.job()["status"]["code"] == "Active"
    return held


def test_the_next_run_comes_the_new_interval_after_the_start_of_the_last_one(synchronized: Application) -> None:
    change(synchronized, **{INTERVAL: "PT2H"})
    assert not started_by_plan(synchronized, minutes=119)
    assert started_by_plan(synchronized, minutes=1)
    deliver(synchronized)
    assert not started_by_plan(synchronized, minutes=30)
    change(synchronized, **{INTERVAL: "PT20M"})
    assert started_by_plan(synchronized)


def test_after_a_run_that_was_longer_than_the_interval_a_longer_one_counts_from_its_start(held: Application) -> None:
    held.register()
    held.start()
    deliver(held, "users")
    held.clock.forward(hours=2)
    deliver(held)
    assert held.job()["status"]["code"] == "Active"
    change(held, **{INTERVAL: "PT3H"})
    assert not started_by_plan(held, minutes=59)
    assert started_by_plan(held, minutes=1)


def test_an_interval_that_is_sent_back_does_not_move_the_next_run(synchronized: Application) -> None:
    synchronized.clock.forward(minutes=39)
    change(synchronized, **{INTERVAL: "PT40M"})
    send(synchronized, synchronized.job())
    assert not started_by_plan(synchronized, seconds=30)
    assert started_by_plan(synchronized, minutes=1)


def test_the_next_attempt_of_a_quarantine_is_not_moved_by_the_interval(synchronized: Application) -> None:
    put_in_quarantine(synchronized)
    change(synchronized, **{INTERVAL: "PT1M"})
    assert not started_by_plan(synchronized, hours=5, minutes=59)
    assert started_by_plan(synchronized, minutes=1)
    deliver(synchronized)
    job = synchronized.job()
    assert (job["schedule"]["state"], job["status"]["code"], job["status"]["quarantine"]) == ("Active", "Active", None)


# --- Parts --------------------------------------------------------------------------------------------------------


def test_a_change_of_the_parts_of_a_started_job_begins_anew_at_once(synchronized: Application) -> None:
    change(synchronized, **{PARTS: "users,groups,teams"})

    assert sorted(held_parts(synchronized)) == ["groups", "teams", "users"]
    state = synchronized.sync_state()
    assert state["currentState"]["type"] == "Full"
    assert (state["parts"]["sites"], state["parts"]["groupMembers"]) == (None, None)
    deliver(synchronized)
    state = synchronized.sync_state()
    assert (state["syncStatus"], state["type"], state["currentState"]) == ("Success", "Full", None)
    entries = [pair["key"] for pair in synchronized.job()["status"]["synchronizedEntryCountByType"]]
    assert entries == ["User to User", "Group to Group", "Team to Team"]


def test_a_change_of_the_parts_ends_the_run_under_way(held: Application) -> None:
    held.register()
    old = held.start()
    deliver(held, "users")
    change(held, **{PARTS: "users,sites"})

    assert held.run(old["activityIdentifier"])["status"] == "Cancelled"
    deliver(held)
    new = held.job()["status"]["lastExecution"]["activityIdentifier"]
    assert new != old["activityIdentifier"]
    assert [(part["part"], part["status"]) for part in held.run(new)["parts"]] == [
        ("users", "Succeeded"), ("sites", "Succeeded"),
    ]  # fmt: skip


def test_the_same_parts_in_another_order_begin_nothing(synchronized: Application) -> None:
    before = rows(synchronized)
    change(synchronized, **{PARTS: "channels,teams,sites,mailboxes,groupMembers,groups,users"})
    assert held_parts(synchronized) == []
    assert rows(synchronized) == before


def test_the_parts_of_a_paused_job_are_read_in_full_when_it_starts(synchronized: Application) -> None:
    job_path = f"{jobs_path()}/{synchronized.job()['id']}"
    synchronized.client.post(f"{job_path}/pause").raise_for_status()
    change(synchronized, **{PARTS: "users"})
    assert held_parts(synchronized) == []
    assert not started_by_plan(synchronized, days=3)
    synchronized.client.post(f"{job_path}/start").raise_for_status()
    assert held_parts(synchronized) == ["users"]
    deliver(synchronized)
    assert synchronized.sync_state()["type"] == "Full"


def test_the_parts_of_a_job_in_quarantine_wait_for_its_next_attempt(synchronized: Application) -> None:
    put_in_quarantine(synchronized)
    change(synchronized, **{PARTS: "users"})
    assert held_parts(synchronized) == []
    assert synchronized.job()["status"]["code"] == "Quarantine"
    assert started_by_plan(synchronized, hours=6)
    assert held_parts(synchronized) == ["users"]


def test_a_part_that_is_switched_off_cannot_be_synchronized_by_itself(application: Application) -> None:
    change(application, **{PARTS: "users"})
    answer = application.client.post(f"/organizations/{NAME}/sync", json={"parts": ["sites"]})
    assert "sites" in check_error(answer, 400)
    assert application.start(parts=["users"])["type"] == "Full"


def test_a_schema_in_the_change_of_a_job_is_taken_like_a_schema_of_its_own(synchronized: Application) -> None:
    mappings = [{"name": name} for name in ("User to User", "Team to Team")]
    body = {"schema": {"synchronizationRules": [{"objectMappings": mappings}]}, "schedule": {"interval": "PT2H"}}

    job = send(synchronized, body).raise_for_status().json()

    assert shown(job) == {THRESHOLD: "500", INTERVAL: "PT2H", PARTS: "users,teams"}
    assert sorted(held_parts(synchronized)) == ["teams", "users"]
    wrong = {"synchronizationRules": [{"objectMappings": [{"name": "Mailbox"}]}]}
    assert "User to User" in refused(synchronized, {"schema": wrong, "schedule": {"interval": "PT3H"}})


def test_a_schema_that_is_sent_back_as_it_was_read_takes_nothing_from_a_setting_beside_it(
    application: Application,
) -> None:
    path = f"{jobs_path()}/{application.job()['id']}"
    job = application.client.get(f"{path}?$expand=schema").json()
    job["synchronizationJobSettings"][2]["value"] = "users,teams"

    told = send(application, job).raise_for_status().json()

    assert shown(told)[PARTS] == "users,teams"
    assert application.client.get(f"/organizations/{NAME}").json()["parts"] == ["users", "teams"]


# --- The threshold ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("threshold", "left"), [("0", 1), ("1", 0), ("None", 0)])
def test_the_threshold_says_how_many_deletions_are_carried_out_unasked(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, threshold: str, left: int
) -> None:
    with small_tenant() as tenant, running_application(monkeypatch, sqlite_url, tenant) as application:
        application.register(parts=["users"])
        application.synchronize()
        change(application, **{THRESHOLD: threshold})
        created = application.control("POST", "/users", {"displayName": "X", "userPrincipalName": "x@contoso.com"})
        application.synchronize()
        application.control("DELETE", f"/users/{created['id']}?permanent=true")
        application.synchronize()

        held = application.client.get(f"/organizations/{NAME}/heldDeletions").json()["value"]
        assert [deletion["objectId"] for deletion in held] == [created["id"]] * left
        assert application.job()["status"]["code"] == ("Quarantine" if left else "Active")
