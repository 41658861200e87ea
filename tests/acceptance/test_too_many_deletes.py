"""More deletions than the job's threshold are held back until somebody approves them, or the objects come back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from local.tenant import Directory, Options, TenantServer
from tests.application import APPLICATION, NAME, Application, running_application
from tests.databases import Kind

THRESHOLD = 3


@pytest.fixture
def database_kind() -> Kind:
    """SQLite alone: what differs between the databases is tested in tests/cache and tests/sync, on both."""
    return "sqlite"


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    calm = Options(page_size=20, replay_probability=0, empty_page_probability=0)
    with TenantServer(Directory(users=40, groups=10, sites=4, seed=5), calm) as server:
        yield server


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer) -> Iterator[Application]:
    with running_application(monkeypatch, database_url, tenant, DELETION_THRESHOLD=str(THRESHOLD)) as running:
        running.register(parts=["users", "groups", "groupMembers", "sites", "teams"])
        yield running
        running.host.drain()


def create(application: Application, collection: str, number: int = THRESHOLD + 1, **properties: Any) -> list[str]:
    """Objects that the cache knows; users are members of a group, groups have owners and members."""
    ids = [
        application.control("POST", f"/{collection}", {"displayName": f"Zoë {position}", **properties})["id"]
        for position in range(number)
    ]
    if collection == "users":
        application.control("POST", "/groups", {"displayName": "All of them", "members": ids, "owners": ids})
    application.synchronize()
    assert application.compare().differences == []
    return ids


def delete(application: Application, collection: str, ids: list[str], *, permanent: bool = False) -> None:
    for object_id in ids:
        application.control("DELETE", f"/{collection}/{object_id}?permanent={str(permanent).lower()}")


def restore(application: Application, collection: str, ids: list[str]) -> None:
    for object_id in ids:
        application.control("POST", f"/{collection}/{object_id}/restore")


def held(application: Application) -> list[dict[str, Any]]:
    return application.client.get(f"/organizations/{NAME}/heldDeletions").raise_for_status().json()["value"]


def held_ids(application: Application, part: str = "users") -> set[str]:
    return {deletion["objectId"] for deletion in held(application) if deletion["part"] == part}


def job_url(application: Application) -> str:
    return f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs/{application.job()['id']}"


def act(application: Application, action: str, scope: str | None = None) -> None:
    body = None if scope is None else {"criteria": {"resetScope": scope}}
    application.client.post(f"{job_url(application)}/{action}", json=body).raise_for_status()
    application.host.drain()


def set_threshold(application: Application, value: str | None) -> None:
    pair = {"name": "QuarantineTooManyDeletesThreshold", "value": value}
    application.client.patch(job_url(application), json={"synchronizationJobSettings": [pair]}).raise_for_status()


def status(application: Application) -> dict[str, Any]:
    return application.job()["status"]


def live_users(application: Application) -> int:
    counts = {pair["key"]: pair["value"] for pair in status(application)["synchronizedEntryCountByType"]}
    return counts["User to User"]


def assert_in_step(application: Application) -> None:
    """The job works, nothing waits, and the cache is what the tenant is."""
    assert (status(application)["code"], status(application)["quarantine"], held(application)) == ("Active", None, [])
    assert application.compare().differences == []


# --- Held back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("permanent", [False, True], ids=["soft", "permanent"])
def test_as_many_deletions_as_the_threshold_are_carried_out(application: Application, permanent: bool) -> None:
    ids = create(application, "users", THRESHOLD)
    delete(application, "users", ids, permanent=permanent)
    assert application.synchronize()["status"] == "Succeeded"
    assert_in_step(application)


@pytest.mark.parametrize("permanent", [False, True], ids=["soft", "permanent"])
@pytest.mark.parametrize("kind", ["Incremental", "Full"])
def test_one_more_is_held_back_and_quarantines_the_job_while_everything_else_arrives(
    application: Application, kind: str, permanent: bool
) -> None:
    ids = create(application, "users")
    before = live_users(application)
    delete(application, "users", ids, permanent=permanent)
    application.control("POST", "/users", {"displayName": "New"})

    run = application.synchronize(type=kind)

    assert (run["status"], run["error"]["code"], run["error"]["tenantActionable"]) == (
        "EntryLevelErrors",
        "TooManyDeletes",
        True,
    )
    assert {part["part"]: part["status"] for part in run["parts"]}["users"] == "EntryLevelErrors"
    assert run["counts"]["countExports"] - run["counts"]["countExported"] == len(ids)
    assert live_users(application) == before + 1
    expected = "absent" if (kind, permanent) == ("Full", True) else "deleted" if permanent else "changed"
    assert {(deletion["part"], deletion["objectId"], deletion["reason"]) for deletion in held(application)} == {
        ("users", object_id, expected) for object_id in ids
    }
    assert {deletion["displayName"] for deletion in held(application)} == {f"Zoë {number}" for number in range(4)}
    assert not any(deletion["approved"] for deletion in held(application))
    quarantine = status(application)["quarantine"]
    assert (status(application)["code"], quarantine["reason"]) == ("Quarantine", "TooManyDeletes")
    assert quarantine["error"]["tenantActionable"]
    assert str(len(ids)) in quarantine["error"]["message"]
    assert status(application)["troubleshootingUrl"].endswith("/docs/troubleshooting/TooManyDeletes")
    state = application.sync_state()
    assert (state["syncStatus"], "ForceDeletes" in state["error"]) == ("Error", True)
    # No longer than the first part of the quarantine does anything happen by itself.
    application.clock.forward(hours=5)
    application.plan()
    assert held_ids(application) == set(ids)


def test_nothing_of_what_is_held_back_goes_with_time_and_the_attempts_stay_rare(application: Application) -> None:
    ids = create(application, "users")
    delete(application, "users", ids)
    application.synchronize()
    began = datetime.fromisoformat(status(application)["quarantine"]["seriesBegan"])
    attempts = []
    for count in range(1, 6):
        next_attempt = datetime.fromisoformat(status(application)["quarantine"]["nextAttempt"])
        attempts.append(round((next_attempt - began) / timedelta(hours=1), 1))
        application.clock.forward(seconds=(next_attempt - application.clock()).total_seconds())
        application.plan()
        assert status(application)["quarantine"]["seriesCount"] == count
    assert attempts == [6, 12, 24, 48, 72]
    assert held_ids(application) == set(ids)
    told = application.compare().differences
    assert told == [f"users {object_id}: soft-deleted mark" for object_id in ids] or len(told) == len(ids)


# --- Approved ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("permanent", [False, True], ids=["soft", "permanent"])
@pytest.mark.parametrize("kind", ["Incremental", "Full"])
@pytest.mark.parametrize("collection", ["users", "groups", "sites"])
def test_a_restart_with_force_deletes_carries_them_out(
    application: Application, collection: str, kind: str, permanent: bool
) -> None:
    if collection == "groups":
        people = create(application, "users", 2)
        ids = create(application, "groups", members=people, owners=people)
    else:
        ids = create(application, collection)
    delete(application, collection, ids, permanent=permanent)
    application.synchronize(type=kind)
    assert held_ids(application, collection) == {object_id.rpartition(",")[2] for object_id in ids}

    act(application, "restart", "ForceDeletes")

    assert application.sync_state()["syncStatus"] == "Success"
    assert_in_step(application)


def test_force_deletes_approves_what_was_held_back_then_and_nothing_later(application: Application) -> None:
    first, second = create(application, "users"), create(application, "users")
    delete(application, "users", first)
    application.synchronize()
    delete(application, "users", second)

    act(application, "restart", "ForceDeletes")

    assert held_ids(application) == set(second)
    assert status(application)["quarantine"]["reason"] == "TooManyDeletes"
    assert len(application.compare().differences) == len(second)
    act(application, "restart", "ForceDeletes")
    assert_in_step(application)


def test_an_approval_outlives_a_run_that_fails(application: Application) -> None:
    ids = create(application, "users")
    delete(application, "users", ids)
    application.synchronize()
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 400, "code": "BadRequest"}])
    act(application, "restart", "ForceDeletes")
    assert [deletion["approved"] for deletion in held(application)] == [True] * len(ids)
    application.control("DELETE", "/faults")
    application.clock.forward(minutes=40)
    application.plan()
    assert_in_step(application)


def test_force_deletes_without_anything_held_back_is_an_ordinary_run(application: Application) -> None:
    ids = create(application, "users")
    delete(application, "users", ids)
    act(application, "restart", "ForceDeletes")
    assert held_ids(application) == set(ids)


def test_a_threshold_that_is_raised_lets_them_through(application: Application) -> None:
    ids = create(application, "users")
    delete(application, "users", ids, permanent=True)
    application.synchronize()
    set_threshold(application, "4")
    assert held_ids(application) == set(ids)
    act(application, "start")
    assert_in_step(application)


@pytest.mark.parametrize("threshold", ["None", "0", "1"])
def test_a_job_has_its_own_threshold_or_none(application: Application, threshold: str) -> None:
    ids = create(application, "users", 2)
    set_threshold(application, threshold)
    delete(application, "users", ids)
    application.synchronize()
    assert held_ids(application) == (set() if threshold == "None" else set(ids))


def test_the_attempts_of_the_quarantine_carry_out_what_a_raised_threshold_allows(application: Application) -> None:
    ids = create(application, "users")
    delete(application, "users", ids)
    application.synchronize()
    set_threshold(application, "100")
    application.clock.forward(hours=6)
    application.plan()
    assert_in_step(application)


# --- Restored, or never meant -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["start", "restart", "by itself"])
def test_users_that_are_restored_instead_are_released(application: Application, how: str) -> None:
    ids = create(application, "users")
    delete(application, "users", ids)
    application.synchronize()
    restore(application, "users", ids)
    if how == "by itself":
        application.clock.forward(hours=6)
        application.plan()
    else:
        act(application, how)
    assert_in_step(application)


def test_users_of_whom_some_are_restored_go_when_the_others_are_not_too_many(application: Application) -> None:
    ids = create(application, "users", 6)
    delete(application, "users", ids)
    application.synchronize()
    restore(application, "users", ids[:2])
    application.synchronize()
    assert held_ids(application) == set(ids[2:])
    restore(application, "users", ids[2:3])
    application.synchronize()
    assert_in_step(application)


def test_a_user_who_is_restored_after_the_approval_is_not_deleted(application: Application) -> None:
    ids = create(application, "users")
    delete(application, "users", ids)
    application.synchronize()
    restore(application, "users", ids[:1])
    act(application, "restart", "ForceDeletes")
    assert_in_step(application)


def test_groups_that_are_restored_have_all_their_owners_and_members(application: Application) -> None:
    people = create(application, "users", 3)
    ids = create(application, "groups", members=people, owners=people[:1])
    for group in ids:
        # Nobody tells what changed in the round of the deletion.
        application.control("POST", f"/groups/{group}/members", {"remove": people[:1]})
    delete(application, "groups", ids)
    application.synchronize()
    assert held_ids(application, "groups") == set(ids)
    restore(application, "groups", ids)
    application.synchronize()
    application.synchronize()
    assert_in_step(application)


@pytest.mark.parametrize("permanent", [False, True], ids=["soft", "permanent"])
@pytest.mark.parametrize("kind", ["Incremental", "Full"])
def test_groups_that_are_held_back_keep_their_owners_and_members(
    application: Application, kind: str, permanent: bool
) -> None:
    people = create(application, "users", 3)
    ids = create(application, "groups", members=people, owners=people[:1])
    before = application.compare().compared
    delete(application, "groups", ids, permanent=permanent)
    application.synchronize(type=kind)
    application.synchronize(type="Full", parts=["groupMembers", "groups"])

    counts = {pair["key"]: pair["value"] for pair in status(application)["synchronizedEntryCountByType"]}
    assert counts["GroupMember to GroupMember"] == before["members"]
    extra = [difference for difference in application.compare().differences if "not in the tenant" in difference]
    assert len([difference for difference in extra if difference.startswith("owners")]) == len(ids)
    assert len([difference for difference in extra if difference.startswith("members")]) == len(ids) * len(people)


def test_a_full_run_that_is_refused_the_deleted_objects_makes_no_soft_deletion_one_for_good(
    application: Application,
) -> None:
    ids = create(application, "users")
    delete(application, "users", ids)
    application.synchronize()
    application.control("POST", "/faults", [{"path": "/directory/deletedItems", "status": 403}])
    application.synchronize(type="Full")
    application.control("DELETE", "/faults")
    act(application, "restart", "ForceDeletes")
    assert_in_step(application)


def test_a_failed_attempt_does_not_lift_the_quarantine_of_deletions_that_are_held_back(
    application: Application,
) -> None:
    ids = create(application, "users")
    delete(application, "users", ids)
    application.synchronize()
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 400, "code": "BadRequest"}])
    application.clock.forward(hours=6)
    application.plan()
    assert application.sync_state()["parts"]["users"]["lastState"]["syncStatus"] == "Error"
    assert held_ids(application) == set(ids)
    assert status(application)["code"] == "Quarantine"


def test_parts_are_counted_each_for_itself(application: Application) -> None:
    users, sites = create(application, "users", 3), create(application, "sites", 3)
    delete(application, "users", users)
    delete(application, "sites", sites)
    assert application.synchronize()["status"] == "Succeeded"
    assert_in_step(application)


def test_deletions_of_one_part_that_are_held_back_do_not_stop_those_of_another(application: Application) -> None:
    users, sites = create(application, "users"), create(application, "sites", 3)
    delete(application, "users", users)
    delete(application, "sites", sites)
    application.synchronize()
    assert {deletion["part"] for deletion in held(application)} == {"users"}
    assert all(difference.startswith("users") for difference in application.compare().differences)


def test_the_list_is_read_page_by_page(application: Application) -> None:
    ids = create(application, "users", 5)
    delete(application, "users", ids)
    application.synchronize()
    link, seen = f"/organizations/{NAME}/heldDeletions?$top=2", []
    for _ in range(3):
        answer = application.client.get(link).raise_for_status().json()
        seen += [deletion["objectId"] for deletion in answer["value"]]
        link = answer.get("@odata.nextLink", "")
    assert (seen, link) == (sorted(ids), "")


def test_a_deleted_job_forgets_what_was_held_back_and_a_new_one_finds_it_anew(application: Application) -> None:
    ids = create(application, "users")
    delete(application, "users", ids, permanent=True)
    application.synchronize()
    application.client.delete(job_url(application)).raise_for_status()
    assert held(application) == []
    jobs = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"
    created = application.client.post(jobs, json={"templateId": "M365OrgCache"})
    assert created.status_code == 201
    act(application, "start")
    assert held_ids(application) == set(ids)
    assert {deletion["reason"] for deletion in held(application)} == {"absent"}
    act(application, "restart", "ForceDeletes")
    assert_in_step(application)
