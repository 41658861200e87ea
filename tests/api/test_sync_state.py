"""The synchronization state that users of Get-VBOOrganizationSynchronizationState know, through a run's whole life."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.support import DERIVED, PARTS, another_organization, deliver, parsed_time
from tests.application import NAME, Application

MEMBERS = ["organization", "syncStatus", "type", "lastSyncTime", "error", "currentState", "parts"]
CURRENT_MEMBERS = ["status", "type", "scheduledTime", "startTime"]
PART_MEMBERS = ["lastState", "currentState", "lastSuccessfulSyncTime", "parity"]
LAST_MEMBERS = ["syncStatus", "type", "startTime", "endTime", "error"]
NEVER = {"lastState": None, "currentState": None, "lastSuccessfulSyncTime": None, "parity": None}
FORBIDDEN = {"path": "/users/delta", "kind": "status", "status": 403}


def state_of(application: Application) -> dict[str, Any]:
    """The state, once its shape is found to be exactly what is promised."""
    state = application.sync_state()
    check_shape(state)
    return state


def check_shape(state: dict[str, Any]) -> None:
    """Every member is there, no other is, and each value is of its kind."""
    assert list(state) == MEMBERS
    assert state["syncStatus"] in ("None", "Success", "Error")
    assert state["type"] in (None, "Full", "Incremental")
    assert isinstance(state["error"], str)
    _check_time(state["lastSyncTime"])
    _check_current(state["currentState"])
    assert list(state["parts"]) == PARTS
    for part in state["parts"].values():
        if part is None:
            continue
        assert list(part) == PART_MEMBERS
        _check_current(part["currentState"])
        _check_time(part["lastSuccessfulSyncTime"])
        if (last := part["lastState"]) is not None:
            assert list(last) == LAST_MEMBERS
            assert last["syncStatus"] in ("Success", "Error")
            assert last["type"] in ("Full", "Incremental")
            assert isinstance(last["error"], str)
            assert parsed_time(last["startTime"]) <= parsed_time(last["endTime"])


def _check_current(current: dict[str, Any] | None) -> None:
    if current is not None:
        assert list(current) == CURRENT_MEMBERS
        assert current["status"] in ("Queued", "Running")
        assert current["type"] in ("Full", "Incremental")
        _check_time(current["scheduledTime"])
        _check_time(current["startTime"])
        assert (current["startTime"] is None) == (current["status"] == "Queued")


def _check_time(value: str | None) -> None:
    assert value is None or abs(parsed_time(value) - datetime.now(UTC)) < timedelta(days=30)


def test_before_the_first_run_there_is_nothing_to_tell(held: Application) -> None:
    held.register()

    assert state_of(held) == {
        "organization": NAME,
        "syncStatus": "None",
        "type": None,
        "lastSyncTime": None,
        "error": "",
        "currentState": None,
        "parts": dict.fromkeys(PARTS, NEVER),
    }


@pytest.mark.parametrize("registered", [["users"], ["groups", "sites"], ["groupMembers", "teams"]], ids=" ".join)
def test_parts_that_were_not_registered_are_null_before_and_after_a_run(
    held: Application, registered: list[str]
) -> None:
    held.register(parts=registered)
    before = state_of(held)["parts"]
    held.start()
    deliver(held)
    after = state_of(held)["parts"]

    for parts in (before, after):
        assert [name for name, part in parts.items() if part is not None] == registered
    assert {after[name]["lastState"]["syncStatus"] for name in registered} == {"Success"}


def test_a_queued_run_is_the_current_state_of_the_organization_and_its_parts(held: Application) -> None:
    held.register()
    run = held.start()

    state = state_of(held)

    current = {"status": "Queued", "type": "Full", "scheduledTime": run["queuedTime"], "startTime": None}
    assert state["currentState"] == current
    assert state["parts"] == {part: {**NEVER, "currentState": current} for part in PARTS}
    assert (state["syncStatus"], state["type"], state["lastSyncTime"], state["error"]) == ("None", None, None, "")


def test_while_a_run_goes_on_each_part_tells_how_far_it_is(held: Application) -> None:
    held.register()
    queued = held.start()
    deliver(held, "users")

    state = state_of(held)

    run = held.run(queued["activityIdentifier"])
    assert state["currentState"] == {
        "status": "Running",
        "type": "Full",
        "scheduledTime": run["queuedTime"],
        "startTime": run["startTime"],
    }
    # The organization's own last state is that of the last finished run, and there is none yet.
    assert (state["syncStatus"], state["lastSyncTime"]) == ("None", None)
    users, groups = state["parts"]["users"], state["parts"]["groups"]
    assert users["currentState"] is None
    assert users["lastState"]["syncStatus"] == "Success"
    assert users["lastSuccessfulSyncTime"] == users["lastState"]["startTime"]
    assert groups["lastState"] is None
    assert groups["currentState"]["status"] == "Queued"


def test_a_part_that_waits_for_graph_is_running(application: Application) -> None:
    application.register()
    application.control("POST", "/faults", [{"path": "/sites/delta", "status": 429, "retryAfter": 600}])
    application.synchronize()

    state = state_of(application)

    assert state["currentState"]["status"] == "Running"
    assert {name: part["currentState"] and part["currentState"]["status"] for name, part in state["parts"].items()} == {
        **dict.fromkeys(PARTS),
        "sites": "Running",
    }
    assert state["error"] == ""
    assert state["parts"]["sites"]["lastState"] is None

    application.control("DELETE", "/faults")
    application.clock.forward(minutes=11)
    application.plan()
    state = state_of(application)
    assert (state["syncStatus"], state["currentState"]) == ("Success", None)


def test_after_a_successful_run_the_state_is_success_since_its_start(application: Application) -> None:
    application.register()
    run = application.synchronize()

    state = state_of(application)

    assert state == {
        "organization": NAME,
        "syncStatus": "Success",
        "type": "Full",
        "lastSyncTime": run["startTime"],
        "error": "",
        "currentState": None,
        "parts": state["parts"],
    }
    for part in state["parts"].values():
        assert part["currentState"] is None
        assert part["lastState"]["syncStatus"] == "Success"
        assert part["lastState"]["type"] == "Full"
        assert part["lastState"]["error"] == ""
        assert part["lastSuccessfulSyncTime"] == part["lastState"]["startTime"]
        assert parsed_time(run["startTime"]) <= parsed_time(part["lastState"]["startTime"])
        assert parsed_time(part["lastState"]["endTime"]) <= parsed_time(run["endTime"])


def test_the_last_sync_time_is_the_start_and_not_the_end(held: Application) -> None:
    held.register()
    started = held.start()["activityIdentifier"]
    deliver(held, "users")
    held.clock.forward(minutes=20)
    deliver(held)

    state, run = state_of(held), held.run(started)

    assert parsed_time(run["endTime"]) - parsed_time(run["startTime"]) >= timedelta(minutes=20)
    assert state["lastSyncTime"] == run["startTime"] != run["queuedTime"]


def test_the_next_run_shows_beside_the_last_one(held: Application) -> None:
    held.register()
    first = held.start()["activityIdentifier"]
    deliver(held)
    held.clock.forward(minutes=5)
    second = held.start()
    queued = state_of(held)
    deliver(held, "sites")
    running = state_of(held)
    deliver(held)
    finished = state_of(held)

    first_start = held.run(first)["startTime"]
    for state, status in ((queued, "Queued"), (running, "Running")):
        assert (state["syncStatus"], state["type"], state["lastSyncTime"]) == ("Success", "Full", first_start)
        assert (state["currentState"]["status"], state["currentState"]["type"]) == (status, "Incremental")
        assert state["currentState"]["scheduledTime"] == second["queuedTime"]
    assert running["parts"]["sites"]["lastState"]["type"] == "Incremental"
    assert running["parts"]["users"]["lastState"]["type"] == "Full"
    assert running["parts"]["users"]["currentState"]["type"] == "Incremental"
    second_start = held.run(second["activityIdentifier"])["startTime"]
    assert (finished["type"], finished["lastSyncTime"], finished["currentState"]) == ("Incremental", second_start, None)
    assert parsed_time(second_start) > parsed_time(first_start)


def test_a_part_that_is_refused_fails_alone_and_says_what_is_missing(application: Application) -> None:
    application.register()
    application.control("POST", "/faults", [FORBIDDEN])

    run = application.synchronize()

    state = state_of(application)
    assert (run["status"], state["syncStatus"], state["type"]) == ("Failed", "Error", "Full")
    assert state["lastSyncTime"] == run["startTime"]
    assert state["currentState"] is None
    assert {name: part["lastState"]["syncStatus"] for name, part in state["parts"].items()} == {
        **dict.fromkeys(PARTS, "Success"),
        "users": "Error",
    }
    users = state["parts"]["users"]
    assert users["lastSuccessfulSyncTime"] is None
    for error in (state["error"], users["lastState"]["error"], run["error"]["message"]):
        assert "403" in error
        assert "User.Read.All" in error
    # The organization's error says which part it is about; nothing of a request's address or token is in it.
    assert "users" in state["error"]
    assert "token" not in state["error"].lower()
    assert run["error"]["code"] == "Authorization_RequestDenied"
    assert run["error"]["tenantActionable"] is True
    for name in PARTS[1:]:
        assert state["parts"][name]["lastState"]["error"] == ""
        assert state["parts"][name]["lastSuccessfulSyncTime"] == state["parts"][name]["lastState"]["startTime"]


def test_an_error_ends_with_the_next_good_run(application: Application) -> None:
    application.register()
    application.control("POST", "/faults", [FORBIDDEN])
    application.synchronize()
    groups_before = state_of(application)["parts"]["groups"]["lastSuccessfulSyncTime"]
    application.control("DELETE", "/faults")

    run = application.synchronize()

    state = state_of(application)
    assert (state["syncStatus"], state["error"], state["lastSyncTime"]) == ("Success", "", run["startTime"])
    users = state["parts"]["users"]
    # What failed is read in full now; what succeeded goes on from where it was.
    assert (users["lastState"]["type"], users["lastState"]["error"]) == ("Full", "")
    assert users["lastSuccessfulSyncTime"] == users["lastState"]["startTime"]
    assert state["parts"]["groups"]["lastState"]["type"] == "Incremental"
    assert parsed_time(state["parts"]["groups"]["lastSuccessfulSyncTime"]) > parsed_time(groups_before)


def test_a_failed_run_leaves_the_time_of_the_last_success(application: Application) -> None:
    application.register()
    application.synchronize()
    before = state_of(application)["parts"]["users"]
    application.control("POST", "/faults", [FORBIDDEN])

    application.synchronize()

    users = state_of(application)["parts"]["users"]
    assert users["lastState"]["syncStatus"] == "Error"
    assert users["lastState"]["type"] == "Incremental"
    assert users["lastSuccessfulSyncTime"] == before["lastSuccessfulSyncTime"] == before["lastState"]["startTime"]
    assert parsed_time(users["lastState"]["startTime"]) > parsed_time(before["lastState"]["startTime"])


def test_every_part_that_fails_is_named(application: Application) -> None:
    application.register()
    application.control("POST", "/faults", [{"path": "/delta", "kind": "status", "status": 403}])

    application.synchronize()

    state = state_of(application)
    # Without users and teams there was nobody to be asked about.
    told = {name: part["lastState"]["syncStatus"] for name, part in state["parts"].items()}
    assert told == {**dict.fromkeys(PARTS, "Error"), **dict.fromkeys(DERIVED, "Success")}
    for permission in ("User.Read.All", "GroupMember.Read.All", "Sites.Read.All"):
        assert permission in state["error"]
    for part in set(PARTS) - set(DERIVED):
        assert f"{part}:" in state["error"]


def test_a_run_of_some_parts_leaves_the_states_of_the_others(application: Application) -> None:
    application.register()
    application.synchronize()
    before = state_of(application)["parts"]

    run = application.synchronize(parts=["sites"])

    state = state_of(application)
    assert (state["type"], state["lastSyncTime"]) == ("Incremental", run["startTime"])
    changed = [name for name in PARTS if state["parts"][name] != before[name]]
    assert changed == ["sites"]


def test_all_states_are_the_organizations_own_states(held: Application) -> None:
    held.register()
    held.start()
    deliver(held)
    others = [another_organization(parts=["users"]), another_organization(authenticationType="Modern")]
    for other in others:
        held.client.post("/organizations", json=other).raise_for_status()
    held.client.post(f"/organizations/{others[0]['tenantId']}/sync").raise_for_status()

    answer = held.client.get("/organizations/syncState")

    assert answer.status_code == 200
    assert list(answer.json()) == ["value"]
    states = answer.json()["value"]
    for state in states:
        check_shape(state)
        assert held.client.get(f"/organizations/{state['organization']}/syncState").json() == state
    assert [(state["organization"], state["syncStatus"]) for state in states] == [
        (NAME, "Success"),
        (others[0]["name"], "None"),
        (others[1]["name"], "None"),
    ]
    assert [state["currentState"] and state["currentState"]["status"] for state in states] == [None, "Queued", None]


@pytest.mark.parametrize(
    "path", ["/organizations/{}/syncState", "/organizations/{}/syncstate", "/Organizations/{}/SYNCSTATE/"]
)
def test_the_state_is_found_by_name_and_tenant_id_in_any_case(held: Application, path: str) -> None:
    held.register()
    expected = state_of(held)

    for identifier in (NAME, NAME.upper(), held.tenant_id, held.tenant_id.upper()):
        answer = held.client.get(path.format(identifier))
        assert (answer.status_code, answer.json()) == (200, expected)
