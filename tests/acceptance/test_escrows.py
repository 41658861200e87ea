"""Objects that cannot be read do not stop a run: all else arrives; they are listed, tried again, and heal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from local.tenant import Directory, Options, TenantServer
from tests.application import APPLICATION, NAME, Application, running_application
from tests.databases import Kind

SMALL = {"users": 60, "groups": 12, "sites": 4, "seed": 5}
CALM = Options(page_size=20, member_slice=10, replay_probability=0, empty_page_probability=0)


@pytest.fixture
def database_kind() -> Kind:
    """SQLite alone: what differs between the databases is tested in tests/cache and tests/sync, on both."""
    return "sqlite"


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    with TenantServer(Directory(**SMALL), replace(CALM)) as server:
        yield server


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer) -> Iterator[Application]:
    with running_application(monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE="20") as running:
        running.register()
        yield running
        running.host.drain()


def break_records(application: Application, collection: str, *ids: str) -> None:
    """In the collection's feed the records of these objects cannot be read from now on; the objects themselves can."""
    for object_id in ids:
        rule = {
            "path": f"/{collection}/delta",
            "kind": "rewrite",
            "find": rf'\{{"id":"{re.escape(object_id)}"(,"@removed":\{{[^}}]*\}})?',
            "replace": f'{{"@removed":5,"id":"{object_id}"',
        }
        application.control("POST", "/faults", [rule])


def heal(application: Application) -> None:
    application.control("DELETE", "/faults")


def create(application: Application, collection: str, **properties: Any) -> str:
    return application.control("POST", f"/{collection}", {"displayName": "Zoë", **properties})["id"]


def listed(application: Application, path: str = "escrows") -> list[dict[str, Any]]:
    return application.client.get(f"/organizations/{NAME}/{path}").raise_for_status().json()["value"]


def part(run: dict[str, Any], name: str) -> dict[str, Any]:
    return next(part for part in run["parts"] if part["part"] == name)


def restart(application: Application, scope: str | None = None, **headers: str) -> None:
    """The job's action restart, and all that comes of it."""
    path = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs/{application.job()['id']}/restart"
    body = {} if scope is None else {"criteria": {"resetScope": scope}}
    application.client.post(path, json=body, headers=headers).raise_for_status()
    application.host.drain()


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- One user ---------------------------------------------------------------------------------------------------------


def test_one_broken_user_stops_nothing_and_heals_with_a_later_run(application: Application) -> None:
    user_id = create(application, "users")
    break_records(application, "users", user_id)

    run = application.synchronize()

    assert run["status"] == "EntryLevelErrors"
    assert {part["part"]: part["status"] for part in run["parts"]} == {
        "users": "EntryLevelErrors",
        "groups": "Succeeded",
        "groupMembers": "Succeeded",
        "sites": "Succeeded",
        "mailboxes": "Succeeded",
        "teams": "Succeeded",
        "channels": "Succeeded",
    }
    # Nobody is asked about the mailbox of a user that the cache does not know.
    assert application.compare().differences == [f"users {user_id}: missing", f"mailboxes {user_id}: missing"]
    (escrow,) = listed(application)
    assert (escrow["part"], escrow["objectId"], escrow["failures"]) == ("users", user_id, 1)
    assert escrow["error"]["code"] == "MalformedRecord"
    assert time_of(escrow["nextAttemptDateTime"]) - time_of(escrow["lastFailedDateTime"]) == timedelta(minutes=30)
    status = application.job()["status"]
    assert (status["code"], status["quarantine"], status["lastSuccessfulExecution"]) == ("Active", None, None)
    last = status["lastExecution"]
    assert (last["state"], last["countEscrowed"], last["countEscrowedRaw"]) == ("EntryLevelErrors", 1, 1)
    state = application.sync_state()
    assert (state["syncStatus"], "1 object(s) of users" in state["error"]) == ("Success", True)

    heal(application)
    application.clock.forward(minutes=40)
    application.plan()

    assert application.compare().differences == []
    assert listed(application) == []
    status = application.job()["status"]
    assert (status["lastExecution"]["state"], status["lastExecution"]["countEscrowedRaw"]) == ("Succeeded", 0)
    assert status["lastSuccessfulExecution"] == status["lastExecution"]
    assert application.sync_state()["error"] == ""


def test_an_object_is_asked_for_when_its_time_has_come_and_not_before(application: Application) -> None:
    user_id = create(application, "users")
    break_records(application, "users", user_id)
    application.synchronize()

    def asked() -> int:
        return application.control("GET", "/requests")["paths"].get("/v1.0/users/{id}", 0)

    application.clock.forward(minutes=29)
    run = application.synchronize()
    assert (run["status"], asked()) == ("EntryLevelErrors", 0)
    assert (run["counts"]["countEscrowed"], run["counts"]["countEscrowedRaw"]) == (0, 1)
    application.clock.forward(minutes=2)
    assert application.synchronize()["status"] == "Succeeded"
    assert asked() == 1
    assert application.compare().differences == []


def test_an_object_that_goes_on_failing_is_tried_less_and_less_often(application: Application) -> None:
    user_id = create(application, "users")
    break_records(application, "users", user_id)
    spoilt = {"path": f"/users/{user_id}$", "kind": "rewrite", "find": '"id":"[^"]*"', "replace": '"id":5'}
    application.control("POST", "/faults", [spoilt])
    application.synchronize()

    waits = []
    for failures in range(1, 9):
        (escrow,) = listed(application)
        assert escrow["failures"] == failures
        waits.append(time_of(escrow["nextAttemptDateTime"]) - time_of(escrow["lastFailedDateTime"]))
        application.clock.forward(seconds=waits[-1].total_seconds())
        run = application.synchronize()
        assert (run["status"], run["counts"]["countEscrowed"]) == ("EntryLevelErrors", 1)
    assert [wait / timedelta(hours=1) for wait in waits] == [0.5, 1, 2, 4, 8, 16, 24, 24]

    heal(application)
    application.clock.forward(hours=24)
    assert application.synchronize()["status"] == "Succeeded"
    assert application.compare().differences == []


def test_a_broken_change_leaves_the_user_as_the_cache_knew_it(application: Application) -> None:
    user_id = create(application, "users", displayName="Old")
    application.synchronize()
    application.control("PATCH", f"/users/{user_id}", {"displayName": "New"})
    break_records(application, "users", user_id)
    for kind in ("Incremental", "Full"):
        assert application.synchronize(type=kind)["status"] == "EntryLevelErrors"
        # The mailbox is called what the cache knows its user by.
        others = ("members", "mailboxes")
        told = [difference for difference in application.compare().differences if not difference.startswith(others)]
        assert told == [f"users {user_id}: displayName, column display_name"]
        assert len(listed(application)) == 1
    heal(application)
    application.clock.forward(hours=1)
    assert application.synchronize()["status"] == "Succeeded"
    assert application.compare().differences == []


@pytest.mark.parametrize("permanent", [False, True])
@pytest.mark.parametrize("removal_is_broken", [False, True])
def test_a_broken_user_who_is_deleted_goes_and_leaves_no_escrow(
    application: Application, permanent: bool, removal_is_broken: bool
) -> None:
    user_id = create(application, "users")
    application.synchronize()
    application.control("PATCH", f"/users/{user_id}", {"displayName": "New"})
    break_records(application, "users", user_id)
    application.synchronize()
    if not removal_is_broken:
        heal(application)
    application.control("DELETE", f"/users/{user_id}?permanent={str(permanent).lower()}")

    assert application.synchronize()["status"] == ("EntryLevelErrors" if removal_is_broken else "Succeeded")
    heal(application)
    application.clock.forward(hours=1)
    assert application.synchronize()["status"] == "Succeeded"

    assert listed(application) == []
    if permanent and removal_is_broken:
        # No record told that the user is gone for good, and not merely soft-deleted: that takes a full listing.
        assert application.compare().differences == [f"users {user_id}: not in the tenant"]
        application.synchronize(type="Full")
    assert application.compare().differences == []


def test_a_broken_user_that_is_gone_is_forgotten_by_a_full_run(application: Application) -> None:
    user_id = create(application, "users")
    break_records(application, "users", user_id)
    application.synchronize()
    heal(application)
    application.control("DELETE", f"/users/{user_id}?permanent=true")
    assert application.synchronize(type="Full")["status"] == "Succeeded"
    assert listed(application) == []
    assert application.compare().differences == []


def test_a_broken_user_is_kept_by_full_runs_together_with_the_memberships(application: Application) -> None:
    user_id, group_id = create(application, "users"), create(application, "groups")
    application.control("POST", f"/groups/{group_id}/members", {"add": [user_id]})
    application.synchronize()
    break_records(application, "users", user_id)
    for _ in range(2):
        assert application.synchronize(type="Full")["status"] == "EntryLevelErrors"
        assert application.compare().differences == []
    (escrow,) = listed(application)
    assert escrow["failures"] == 2


# --- Groups -----------------------------------------------------------------------------------------------------------


def test_a_group_that_is_broken_in_many_records_failed_once(application: Application) -> None:
    members = [create(application, "users") for _ in range(45)]
    group_id = create(application, "groups", members=members)
    break_records(application, "groups", group_id)
    application.synchronize()
    assert {escrow["part"]: escrow["failures"] for escrow in listed(application)} == {
        "groups": 1,
        "groupMembers": 1,
        "teams": 1,
    }


def test_a_broken_group_is_missing_alone_and_heals_with_owners_and_members(application: Application) -> None:
    members = [create(application, "users") for _ in range(25)]
    group_id = create(application, "groups", members=members, owners=members[:2])
    break_records(application, "groups", group_id)

    run = application.synchronize()

    assert run["status"] == "EntryLevelErrors"
    assert part(run, "users")["status"] == part(run, "sites")["status"] == "Succeeded"
    assert {(escrow["part"], escrow["objectId"]) for escrow in listed(application)} == {
        (name, group_id) for name in ("groups", "groupMembers", "teams")
    }
    told = application.compare().differences
    assert f"groups {group_id}: missing" in told
    assert all(group_id in difference for difference in told)

    heal(application)
    application.clock.forward(minutes=40)
    application.plan()
    assert application.compare().differences == []
    assert listed(application) == []


def test_members_who_joined_and_left_in_a_broken_record_are_not_lost_when_a_later_record_can_be_read(
    application: Application,
) -> None:
    one, two, three = (create(application, "users") for _ in range(3))
    group_id = create(application, "groups", members=[one], owners=[one])
    application.synchronize()

    break_records(application, "groups", group_id)
    for relation in ("members", "owners"):
        application.control("POST", f"/groups/{group_id}/{relation}", {"add": [two], "remove": [one]})
    assert application.synchronize()["status"] == "EntryLevelErrors"
    heal(application)
    application.control("POST", f"/groups/{group_id}/members", {"add": [three]})
    application.control("PATCH", f"/groups/{group_id}", {"displayName": "New"})
    application.synchronize()
    application.clock.forward(hours=1)
    run = application.synchronize()

    assert application.compare().differences == []
    assert (run["status"], listed(application)) == ("Succeeded", [])


def test_slices_of_members_of_which_one_cannot_be_read_lose_no_member(application: Application) -> None:
    members = [create(application, "users") for _ in range(45)]
    group_id = create(application, "groups", members=members)
    # Only one of the five slices is spoilt.
    rule = {
        "path": "/groups/delta",
        "kind": "rewrite",
        "find": rf'\{{"id":"{group_id}",("members@delta":[^]]*"{members[15]}")',
        "replace": rf'{{"@removed":5,"id":"{group_id}",\1',
    }
    application.control("POST", "/faults", [rule])
    run = application.synchronize()
    assert part(run, "groupMembers")["status"] == "EntryLevelErrors"
    heal(application)
    application.clock.forward(hours=1)
    application.synchronize()
    assert application.compare().differences == []
    assert listed(application) == []


def test_a_full_run_that_cannot_read_a_group_takes_no_member_away(application: Application) -> None:
    members = [create(application, "users") for _ in range(25)]
    group_id = create(application, "groups", members=members, owners=members[:2])
    application.synchronize()
    break_records(application, "groups", group_id)
    assert application.synchronize(type="Full")["status"] == "EntryLevelErrors"
    assert application.compare().differences == []


def test_a_broken_group_that_is_gone_leaves_no_member_where_groups_are_not_synchronized(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    def members() -> int:
        return application.job()["status"]["synchronizedEntryCountByType"][0]["value"]

    with running_application(monkeypatch, database_url, tenant) as application:
        application.register(parts=["groupMembers"])
        application.synchronize()
        before = members()
        people = [create(application, "users") for _ in range(3)]
        group_id = create(application, "groups", members=people)
        application.synchronize()
        assert members() == before + 3
        break_records(application, "groups", group_id)
        application.control("DELETE", f"/groups/{group_id}?permanent=true")
        assert application.synchronize()["status"] == "EntryLevelErrors"
        heal(application)
        application.clock.forward(hours=1)
        for _ in range(2):
            assert application.synchronize()["status"] == "Succeeded"
        assert (members(), listed(application)) == (before, [])


@pytest.mark.parametrize("permanent", [False, True])
@pytest.mark.parametrize("collection", ["users", "groups"])
def test_a_deletion_that_could_not_be_read_is_known_for_what_it_was(
    application: Application, collection: str, permanent: bool
) -> None:
    object_id = create(application, collection)
    application.synchronize()
    break_records(application, collection, object_id)
    application.control("DELETE", f"/{collection}/{object_id}?permanent={str(permanent).lower()}")
    assert application.synchronize()["status"] == "EntryLevelErrors"
    heal(application)
    application.clock.forward(hours=1)
    for _ in range(2):
        application.synchronize()
    assert application.compare().differences == []
    assert listed(application) == []


def test_a_group_that_is_read_again_loses_no_member_who_was_soft_deleted_a_moment_ago(
    application: Application,
) -> None:
    members = [create(application, "users") for _ in range(3)]
    group_id = create(application, "groups", members=members, owners=members)
    application.synchronize()
    break_records(application, "groups", group_id)
    application.control("PATCH", f"/groups/{group_id}", {"description": "Changed"})
    application.control("POST", f"/groups/{group_id}/members", {"remove": members[:1]})
    assert application.synchronize()["status"] == "EntryLevelErrors"

    # The cache cannot learn of the deletion before the group is read again, by a list that leaves the member out.
    heal(application)
    application.control("DELETE", f"/users/{members[2]}")
    application.clock.forward(hours=1)
    application.synchronize(parts=["groups", "groupMembers"])
    application.synchronize()
    application.control("POST", f"/users/{members[2]}/restore")
    for _ in range(2):
        application.synchronize()
    assert application.compare().differences == []


# --- Records that nobody can put a name to ----------------------------------------------------------------------------


def test_a_record_without_an_id_is_listed_until_a_full_run_can_read_all(application: Application) -> None:
    user_id = create(application, "users")
    rule = {"path": "/users/delta", "kind": "rewrite", "find": rf'\{{"id":"{user_id}"', "replace": '{"id":5'}
    application.control("POST", "/faults", [rule])
    assert application.synchronize()["status"] == "EntryLevelErrors"
    (escrow,) = listed(application)
    assert escrow["objectId"].startswith("unidentified-")

    heal(application)
    application.clock.forward(minutes=29)
    assert application.synchronize()["status"] == "EntryLevelErrors"
    assert part(application.synchronize(), "users")["type"] == "Incremental"
    # Nobody can be asked for it: when its time has come, all objects are read once more.
    application.clock.forward(minutes=1)
    application.synchronize()
    run = application.synchronize()
    assert ({part["part"]: part["type"] for part in run["parts"]}["users"], run["status"]) == ("Full", "Succeeded")
    assert application.compare().differences == []
    assert listed(application) == []


@pytest.mark.parametrize("escrows_forgotten", [False, True])
@pytest.mark.parametrize("collection", ["users", "groups", "sites"])
def test_a_full_run_that_cannot_put_a_name_to_a_record_takes_nothing_for_gone(
    application: Application, collection: str, escrows_forgotten: bool
) -> None:
    people = [create(application, "users") for _ in range(45)]
    group_id = create(application, "groups", members=people, owners=people[:3])
    object_id = {"users": people[0], "groups": group_id, "sites": create(application, "sites")}[collection]
    application.synchronize()
    rule = {"path": f"/{collection}/delta", "kind": "rewrite", "find": rf'\{{"id":"{object_id}"', "replace": '{"id":5'}
    application.control("POST", "/faults", [rule])

    assert application.synchronize(type="Full")["status"] == "EntryLevelErrors"
    assert application.compare().differences == []

    if escrows_forgotten:
        restart(application, "Escrows")
        assert application.compare().differences == []
    heal(application)
    application.clock.forward(hours=1)
    for _ in range(2):
        application.synchronize()
    assert application.compare().differences == []
    assert (listed(application), listed(application, "heldDeletions")) == ([], [])


def test_what_is_really_gone_goes_once_every_record_can_be_read_again(application: Application) -> None:
    gone, soft_deleted, unnamed = (create(application, "users") for _ in range(3))
    application.control("DELETE", f"/users/{soft_deleted}")
    application.synchronize()
    rule = {"path": "/users/delta", "kind": "rewrite", "find": rf'\{{"id":"{unnamed}"', "replace": '{"id":5'}
    application.control("POST", "/faults", [rule])
    for user_id in (gone, soft_deleted):
        application.control("DELETE", f"/users/{user_id}?permanent=true")
    application.control("POST", "/expireTokens", {"resource": "users"})
    application.synchronize()
    kept = {("users", gone), ("users", soft_deleted), ("mailboxes", gone)}
    assert set(application.compare().differences) == {f"{part} {user_id}: not in the tenant" for part, user_id in kept}

    heal(application)
    application.clock.forward(hours=1)
    for _ in range(2):
        application.synchronize()
    assert application.compare().differences == []


def test_a_record_that_never_has_an_id_costs_full_runs_less_and_less_often(application: Application) -> None:
    user_id = create(application, "users")
    rule = {"path": "/users/delta", "kind": "rewrite", "find": rf'\{{"id":"{user_id}"', "replace": '{"id":5'}
    application.control("POST", "/faults", [rule])
    application.synchronize()
    full_runs = []
    for _ in range(16):
        application.clock.forward(hours=3)
        full_runs.append(part(application.synchronize(parts=["users"]), "users")["type"] == "Full")
    assert full_runs[:2] == [False, True]
    assert sum(full_runs[8:]) <= 2


@pytest.mark.parametrize(("bare_site_ids", "tells_the_rest"), [(False, True), (True, True), (True, False)])
def test_a_broken_site_heals_with_the_next_run_or_where_graph_gives_no_whole_id_with_the_next_full_one(
    application: Application, bare_site_ids: bool, tells_the_rest: bool
) -> None:
    def count() -> int:
        return next(
            pair["value"]
            for pair in application.job()["status"]["synchronizedEntryCountByType"]
            if pair["key"] == "Site to Site"
        )

    application.control("POST", "/options", {"bareSiteIds": bare_site_ids})
    site_id = create(application, "sites")
    if not tells_the_rest:
        ids = {"kind": "rewrite", "find": r'"sharepointIds":\{[^}]*\}', "replace": '"sharepointIds":null'}
        application.control("POST", "/faults", [{"path": "/sites/delta", **ids}])
    break_records(application, "sites", site_id.rpartition(",")[2] if bare_site_ids else site_id)
    assert application.synchronize()["status"] == "EntryLevelErrors"
    there = count()
    heal(application)
    application.clock.forward(hours=1)
    healed = application.synchronize()["status"] == "Succeeded"
    assert (healed, count() == there + 1) == (tells_the_rest, tells_the_rest)
    assert application.synchronize(type="Full")["status"] == "Succeeded"
    assert (listed(application), count()) == ([], there + 1)


# --- Trouble while trying again ---------------------------------------------------------------------------------------


def test_one_object_for_which_graph_has_nothing_but_errors_does_not_fail_its_part(application: Application) -> None:
    user_id = create(application, "users")
    break_records(application, "users", user_id)
    application.synchronize()
    application.control("POST", "/faults", [{"path": f"/users/{user_id}$", "status": 500}])
    application.clock.forward(hours=1)
    run = application.synchronize()
    for _ in range(6):
        application.clock.forward(minutes=5)
        application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "EntryLevelErrors"
    (escrow,) = listed(application)
    assert escrow["failures"] == 2

    create(application, "users")
    application.synchronize()
    # Nobody is asked about the mailbox of a user that the cache does not know.
    assert application.compare().differences == [f"users {user_id}: missing", f"mailboxes {user_id}: missing"]


def test_throttling_while_trying_again_delays_what_is_due_and_loses_nothing(application: Application) -> None:
    ids = [create(application, "users") for _ in range(12)]
    break_records(application, "users", *ids)
    application.synchronize()
    heal(application)
    fault = {"path": f"/users/({'|'.join(ids)})$", "status": 429, "retryAfter": 60, "times": 1, "after": 5}
    application.control("POST", "/faults", [fault])
    application.control("PATCH", f"/users/{ids[0]}", {"displayName": "New"})
    application.clock.forward(hours=1)
    run = application.synchronize()
    # The wait holds for the other parts as well.
    application.clock.forward(minutes=1)
    application.plan()
    assert application.run(run["activityIdentifier"])["status"] == "EntryLevelErrors"
    assert 0 < len(listed(application)) < 12
    application.clock.forward(hours=1)
    application.synchronize()
    application.clock.forward(hours=1)
    assert application.synchronize()["status"] == "Succeeded"
    assert application.compare().differences == []


def test_slices_without_any_time_try_again_as_well(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer
) -> None:
    with running_application(monkeypatch, database_url, tenant, SLICE_SECONDS="0.000001") as application:
        application.register()
        ids = [create(application, "users") for _ in range(20)]
        break_records(application, "users", *ids)
        application.synchronize()
        heal(application)
        application.clock.forward(hours=1)
        # The budget is over before the first object has come, and yet each slice has to get on.
        run = application.start()
        application.host.drain(timeout=30)
        assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
        assert application.compare().differences == []


# --- The list, and restarts -------------------------------------------------------------------------------------------


def test_the_list_is_read_page_by_page_and_holds_nothing_personal(application: Application) -> None:
    ids = sorted(create(application, "users", displayName="Very Personal") for _ in range(5))
    break_records(application, "users", *ids)
    application.synchronize()
    link, seen = f"/organizations/{NAME}/escrows?$top=2", []
    for _ in range(3):
        answer = application.client.get(link).raise_for_status()
        assert "Personal" not in answer.text
        seen += [escrow["objectId"] for escrow in answer.json()["value"]]
        link = answer.json().get("@odata.nextLink", "")
    assert (seen, link) == (ids, "")


@pytest.mark.parametrize("query", ["$top=x", "$skip=-1", "$filter=part eq 'users'"])
def test_a_list_that_is_asked_for_wrongly_is_refused(application: Application, query: str) -> None:
    for path in ("escrows", "heldDeletions"):
        assert application.client.get(f"/organizations/{NAME}/{path}?{query}").status_code == 400
    assert application.client.get("/organizations/nobody.example.com/escrows").status_code == 404


def test_a_restart_that_forgets_escrows_tries_nothing_again_and_the_default_one_reads_all(
    application: Application,
) -> None:
    user_id = create(application, "users")
    break_records(application, "users", user_id)
    application.synchronize()
    heal(application)

    restart(application, "Escrows")
    assert (listed(application), application.sync_state()["error"]) == ([], "")
    application.clock.forward(hours=1)
    application.synchronize()
    # Nobody is asked about the mailbox of a user that the cache does not know.
    assert application.compare().differences == [f"users {user_id}: missing", f"mailboxes {user_id}: missing"]

    restart(application)
    assert application.compare().differences == []


def test_a_restart_that_rebuilds_repairs_what_somebody_tampered_with(application: Application) -> None:
    user_id, group_id = create(application, "users"), create(application, "groups")
    application.control("POST", f"/groups/{group_id}/members", {"add": [user_id]})
    application.synchronize()
    # One of those that are gone in the meantime was counted.
    application.control("DELETE", f"/users/{user_id}?permanent=true")
    statements = (
        "UPDATE objects SET display_name = 'Tampered', mail = NULL",
        "UPDATE links SET target_type = 'tampered'",
        "DELETE FROM links WHERE relation = 'owners'",
        "UPDATE parts SET entry_count = 0",
    )
    with application.services.database.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    assert application.compare().differences != []

    restart(application, "Watermark")
    assert application.compare().differences != []
    restart(application, "ConnectorDataStore")
    assert application.sync_state()["syncStatus"] == "Success"
    assert application.compare().differences == []
