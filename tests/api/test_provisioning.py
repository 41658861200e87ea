"""Provisioning on demand: one object is read from Graph and is in the cache when the answer comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import orjson
import pytest
from sqlalchemy import select, text

from local.tenant import TenantServer
from shared.cache.tables import links, objects
from tests.api.support import check_headers, deliver, held_application, jobs_path, parsed_time, rows, small_tenant
from tests.application import NAME, Application, running_application

NOBODY = "99999999-9999-4999-8999-999999999999"
STEPS = ["import", "scoping", "matching", "export"]


class Told(NamedTuple):
    """The answer's two texts, read."""

    key: dict[str, Any]
    value: dict[str, Any]

    @property
    def outcome(self) -> tuple[str, str]:
        return self.key["result"], self.value["action"]

    @property
    def steps(self) -> list[tuple[str, str]]:
        return [(step["name"], step["status"]) for step in self.value["provisioningSteps"]]

    @property
    def statuses(self) -> list[str]:
        return [step["status"] for step in self.value["provisioningSteps"]]

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        return {
            found["displayName"]: (found["oldValue"], found["newValue"]) for found in self.value["modifiedProperties"]
        }


@pytest.fixture(scope="module")
def changing_tenant() -> Iterator[TenantServer]:
    with small_tenant(seed=7) as tenant:
        yield tenant


@pytest.fixture
def application(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, changing_tenant: TenantServer
) -> Iterator[Application]:
    """The product with a registered organization that has never run, beside a tenant that may be changed."""
    with held_application(monkeypatch, sqlite_url, changing_tenant, GRAPH_ANSWER_SECONDS="0.5") as running:
        running.register()
        yield running
        running.control("DELETE", "/faults")


@pytest.fixture
def synchronized(application: Application) -> Application:
    """As ``application``, after its first run."""
    application.start()
    deliver(application)
    assert application.compare().differences == []
    return application


def send(application: Application, object_id: str, kind: str, version: str = "v1.0") -> httpx.Response:
    owner = "applications" if version == "v1.0" else "servicePrincipals"
    subject = {"objectId": object_id, "objectTypeName": kind}
    body = {"parameters": [{"ruleId": "M365OrgCache", "subjects": [subject]}]}
    return application.client.post(
        f"{jobs_path(version, owner)}/{application.job()['id']}/provisionOnDemand", json=body
    )


def provision(application: Application, object_id: str, kind: str) -> Told:
    document = send(application, object_id, kind).raise_for_status().json()
    return Told(orjson.loads(document["key"]), orjson.loads(document["value"]))


def cached(application: Application, part: str, object_id: str) -> dict[str, Any] | None:
    """The payload of an object that people see."""
    query = select(objects.c.payload).where(
        objects.c.part == part,
        objects.c.object_id == object_id,
        objects.c.deleted_at.is_(None),
        objects.c.soft_deleted_at.is_(None),
    )
    with application.services.database.read() as connection:
        return connection.execute(query).scalar_one_or_none()


def linked(application: Application, relation: str, group: str) -> set[str]:
    query = select(links.c.target_id).where(
        links.c.relation == relation, links.c.source_id == group, links.c.deleted_at.is_(None)
    )
    with application.services.database.read() as connection:
        return set(connection.execute(query).scalars())


def create_user(application: Application, name: str = "Eve") -> dict[str, Any]:
    properties = {"displayName": name, "userPrincipalName": f"{name.lower()}@contoso.com", "jobTitle": "Cook"}
    return application.control("POST", "/users", properties)


def create_group(application: Application, **properties: Any) -> dict[str, Any]:
    named = {"displayName": "Crew", "mailNickname": "crew", "groupTypes": ["Unified"], "mailEnabled": True}
    return application.control("POST", "/groups", {**named, "securityEnabled": False, **properties})


# --- What is done -------------------------------------------------------------------------------------------------


def test_the_answer_is_two_json_texts_that_name_the_outcome_the_object_and_every_step(application: Application) -> None:
    for version in ("v1.0", "beta"):
        user = create_user(application)

        answer = send(application, user["id"], "User", version)

        check_headers(answer)
        assert answer.headers["Content-Type"].startswith("application/json;odata.metadata=minimal")
        document = answer.json()
        assert list(document) == ["@odata.context", "key", "value"]
        assert document["@odata.context"] == (
            f"{application.host.url}/{version}/$metadata#microsoft.graph.stringKeyStringValuePair"
        )
        told = Told(orjson.loads(document["key"]), orjson.loads(document["value"]))
        assert told.key == {"result": "Success", "details": {}}
        identity = {"id": user["id"], "displayName": "Eve", "identityType": "User"}
        account = told.value
        assert parsed_time(account.pop("startTime")) <= parsed_time(account.pop("endTime"))
        assert account.pop("id") != account.pop("changeId")
        assert [step["provisioningStepType"] for step in account.pop("provisioningSteps")] == STEPS
        changes = told.changes
        account.pop("modifiedProperties")
        assert account == {
            "tenantId": application.tenant_id,
            "jobId": application.job()["id"],
            "action": "Create",
            "sourceSystem": {"displayName": "Microsoft 365"},
            "targetSystem": {"displayName": "Organization cache"},
            "sourceIdentity": identity,
            "targetIdentity": identity,
            "statusInfo": {"status": "success"},
        }
        assert (changes["displayName"], changes["jobTitle"]) == ((None, "Eve"), (None, "Cook"))


def test_a_user_is_in_the_cache_when_the_answer_comes_and_the_job_stays_as_it_was(application: Application) -> None:
    user = create_user(application)
    before = application.job()

    told = provision(application, user["id"], "User")

    assert told.outcome == ("Success", "Create")
    assert told.statuses == ["success"] * 4
    found = cached(application, "users", user["id"])
    assert found
    assert (found["displayName"], found["jobTitle"]) == ("Eve", "Cook")
    job = application.job()
    assert job["status"].pop("synchronizedEntryCountByType") == [{"key": "User to User", "value": 1}]
    assert before["status"].pop("synchronizedEntryCountByType") == []
    assert job == before
    assert application.sync_state()["syncStatus"] == "None"


def test_what_is_there_already_is_left_and_what_changed_is_told_with_old_and_new(application: Application) -> None:
    user = create_user(application, "Mallory")
    provision(application, "MALLORY@contoso.com", "user")
    before = rows(application)

    again = provision(application, user["id"], "USER")
    assert (again.outcome, again.changes) == (("Success", "Other"), {})
    assert {name for name, found in rows(application).items() if found != before[name]} <= {
        "organizations", "seen_objects",
    }  # fmt: skip

    application.control("PATCH", f"/users/{user['id']}", {"jobTitle": "Spy"})
    changed = provision(application, user["id"], "User")
    assert (changed.outcome, changed.changes) == (("Success", "Update"), {"jobTitle": ("Cook", "Spy")})
    found = cached(application, "users", user["id"])
    assert found
    assert found["jobTitle"] == "Spy"


def test_a_group_comes_with_its_owners_and_its_members(synchronized: Application) -> None:
    people = [create_user(synchronized, name)["id"] for name in ("Ann", "Ben", "Cid")]
    for user in people:
        provision(synchronized, user, "User")
    group = create_group(synchronized, members=people, owners=people[:1])

    told = provision(synchronized, group["id"], "Group")

    assert told.outcome == ("Success", "Create")
    assert told.steps == [
        (f"{step.capitalize()}: {part}", "success") for part in ("groups", "groupMembers") for step in STEPS
    ]
    exports = [step["details"] for step in told.value["provisioningSteps"] if step["provisioningStepType"] == "export"]
    assert exports == [{"part": "groups", "linksWritten": 1}, {"part": "groupMembers", "linksWritten": 3}]
    assert linked(synchronized, "members", group["id"]) == set(people)
    assert linked(synchronized, "owners", group["id"]) == set(people[:1])

    synchronized.control("POST", f"/groups/{group['id']}/members", {"remove": people[:2]})
    synchronized.control("POST", f"/groups/{group['id']}/owners", {"remove": people[:1], "add": people[1:2]})
    provision(synchronized, group["id"], "Group")
    assert linked(synchronized, "members", group["id"]) == {people[2]}
    assert linked(synchronized, "owners", group["id"]) == {people[1]}
    provision(synchronized, group["id"], "Team")
    # Mailboxes are not provisioned on demand.
    assert [told for told in synchronized.compare().differences if not told.startswith("mailboxes")] == []
    assert synchronized.job()["status"]["lastExecution"]["state"] == "Succeeded"


def test_members_alone_leave_the_group_itself_as_it_was(synchronized: Application) -> None:
    user = create_user(synchronized, "Dan")["id"]
    group = create_group(synchronized)
    provision(synchronized, group["id"], "Group")
    synchronized.control("POST", f"/groups/{group['id']}/members", {"add": [user]})
    synchronized.control("PATCH", f"/groups/{group['id']}", {"displayName": "Renamed"})

    told = provision(synchronized, group["id"], "groupmember")

    assert told.outcome == ("Success", "Update")
    assert told.value["targetIdentity"]["identityType"] == "GroupMember"
    assert linked(synchronized, "members", group["id"]) == {user}
    found = cached(synchronized, "groups", group["id"])
    assert found
    assert found["displayName"] == "Crew"
    assert provision(synchronized, group["id"], "GroupMember").outcome == ("Success", "Other")


def test_a_site_is_found_by_its_whole_id(application: Application) -> None:
    site = application.control("POST", "/sites", {"displayName": "Plans", "name": "plans"})
    bare = site["id"].rpartition(",")[2]

    assert provision(application, site["id"], "Site").outcome == ("Success", "Create")

    found = cached(application, "sites", bare)
    assert found
    assert found["displayName"] == "Plans"


def test_a_site_that_the_cache_knows_is_found_by_half_its_id_too_which_graph_does_not_take(
    application: Application,
) -> None:
    site = application.control("POST", "/sites", {"displayName": "Plans", "name": "plans"})
    bare = site["id"].rpartition(",")[2]

    told = provision(application, bare, "Site")

    assert told.key["result"] == "Failure"
    assert told.key["details"]["errorMessage"]

    provision(application, site["id"], "Site")
    assert provision(application, bare, "Site").outcome == ("Success", "Other")


def test_a_team_is_written_a_group_that_is_none_is_skipped_and_a_former_team_goes(application: Application) -> None:
    team = create_group(application, resourceProvisioningOptions=["Team"])
    plain = create_group(application, resourceProvisioningOptions=[])

    assert provision(application, team["id"], "Team").outcome == ("Success", "Create")
    assert cached(application, "teams", team["id"])

    skipped = provision(application, plain["id"], "Team")
    assert skipped.outcome == ("Skipped", "Other")
    assert skipped.statuses == ["success", "skipped", "skipped", "skipped"]
    assert skipped.value["statusInfo"] == {"status": "skipped"}
    assert cached(application, "teams", plain["id"]) is None

    application.control("PATCH", f"/groups/{team['id']}", {"resourceProvisioningOptions": []})
    assert provision(application, team["id"], "Team").outcome == ("Success", "Delete")
    assert cached(application, "teams", team["id"]) is None


def test_a_part_that_is_switched_off_is_skipped_without_asking_graph(application: Application) -> None:
    user, group = create_user(application, "Flo"), create_group(application)
    setting = {"name": "Parts", "value": "groups"}
    job_path = f"{jobs_path()}/{application.job()['id']}"
    application.client.patch(job_path, json={"synchronizationJobSettings": [setting]}).raise_for_status()
    application.control("DELETE", "/requests")

    told = provision(application, user["id"], "User")

    assert (told.outcome, told.statuses, told.changes) == (("Skipped", "Other"), ["skipped"] * 4, {})
    assert application.control("GET", "/requests")["paths"] == {}
    assert cached(application, "users", user["id"]) is None
    group_told = provision(application, group["id"], "Group")
    assert group_told.outcome == ("Success", "Create")
    assert group_told.statuses == ["success"] * 4 + ["skipped"] * 4


KEPT = ("id", "mail", "userType")


def test_only_the_selected_properties_are_kept(application: Application) -> None:
    user = create_user(application, "Gus")
    path = f"{jobs_path()}/{application.job()['id']}/schema"
    users = {"name": "User to User", "attributeMappings": [{"source": {"name": name}} for name in KEPT]}
    schema = {"synchronizationRules": [{"objectMappings": [users]}]}
    assert application.client.put(path, json=schema).status_code == 204

    provision(application, user["id"], "User")

    assert (cached(application, "users", user["id"]) or {}).keys() == set(KEPT)


# --- What fails ---------------------------------------------------------------------------------------------------


def check_failure(application: Application, told: Told, code: str, word: str, failed: int = 0) -> None:
    assert told.outcome == ("Failure", "Other")
    assert told.key["details"]["errorCode"] == code
    assert word in told.key["details"]["errorMessage"]
    assert told.value["statusInfo"] == {"status": "failure", **told.key["details"]}
    assert told.statuses == ["success"] * failed + ["failure"] + ["skipped"] * (3 - failed)
    assert word in told.value["provisioningSteps"][failed]["description"]
    assert told.changes == {}


def test_what_graph_does_not_have_fails_at_the_import_and_changes_nothing(application: Application) -> None:
    before = rows(application)
    for kind in ("User", "GroupMember", "Site", "Team"):
        for object_id in (NOBODY, "nobody@contoso.com", "a/b?c=d", "%00", "a\u0000b", "ä – 組織"):
            told = provision(application, object_id, kind)

            assert told.key["result"] == "Failure"
            assert told.statuses == ["failure", "skipped", "skipped", "skipped"]
            assert told.value["sourceIdentity"] == {"id": object_id, "displayName": None, "identityType": kind}
    assert rows(application) == before


def test_a_soft_deleted_user_is_told_as_not_there_and_is_left_to_the_next_run(synchronized: Application) -> None:
    user = create_user(synchronized, "Hal")
    provision(synchronized, user["id"], "User")
    synchronized.control("DELETE", f"/users/{user['id']}")

    check_failure(synchronized, provision(synchronized, user["id"], "User"), "EntryNotFound", "Graph")

    assert cached(synchronized, "users", user["id"])
    synchronized.start()
    deliver(synchronized)
    assert cached(synchronized, "users", user["id"]) is None
    assert synchronized.compare().differences == []


REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "without permission": (
        {"status": 403, "code": "Authorization_RequestDenied"}, "Authorization_RequestDenied", "User.Read.All",
    ),
    "unauthorized": ({"status": 401}, "InvalidAuthenticationToken", "credential"),
    "throttled": ({"status": 429, "retryAfter": 600}, "TooManyRequests", "429"),
    "broken": ({"kind": "malformed"}, "MalformedAnswer", ""),
    "too slow": ({"kind": "latency", "milliseconds": 2_000}, "NoAnswer", "0.5 seconds"),
}  # fmt: skip


def test_what_graph_refuses_fails_with_its_cause_and_the_job_does_not_suffer(application: Application) -> None:
    user = create_user(application, "Ida")
    before, job_before = rows(application), application.job()
    for fault, code, word in REFUSALS.values():
        # A token that is refused is replaced, and the request sent once more.
        times = 2 if fault.get("status") == 401 else 1
        application.control("POST", "/faults", [{"path": "/users/", "times": times, **fault}])
        check_failure(application, provision(application, user["id"], "User"), code, word)
    assert rows(application) == before
    assert application.job() == job_before
    assert provision(application, user["id"], "User").outcome == ("Success", "Create")


def test_of_a_group_one_part_may_fail_and_the_other_is_written(application: Application) -> None:
    group = create_group(application)
    fault = {"path": "/members", "status": 403, "code": "Authorization_RequestDenied"}
    application.control("POST", "/faults", [fault])

    told = provision(application, group["id"], "Group")

    assert told.outcome == ("Failure", "Create")
    assert told.statuses == ["success"] * 4 + ["failure"] + ["skipped"] * 3
    assert "GroupMember.Read.All" in told.key["details"]["errorMessage"]
    assert cached(application, "groups", group["id"])


def test_an_object_that_the_database_does_not_take_fails_at_the_export_and_is_put_aside(
    application: Application,
) -> None:
    def put_aside() -> list[tuple[str, str]]:
        waiting = application.client.get(f"/organizations/{NAME}/escrows").json()["value"]
        return [(escrow["part"], escrow["objectId"]) for escrow in waiting]

    user = create_user(application, "Joe")
    for outcome in (("Success", "Create"), ("Success", "Update")):
        before = cached(application, "users", user["id"])
        with application.services.database.write() as connection:
            refuse = "CREATE TRIGGER refuse BEFORE INSERT ON objects BEGIN SELECT RAISE(ABORT, 'refused'); END"
            connection.execute(text(refuse))

        told = provision(application, user["id"], "User")

        check_failure(application, told, "ObjectRefused", "does not take", failed=3)
        assert cached(application, "users", user["id"]) == before
        assert put_aside() == [("users", user["id"])]
        with application.services.database.write() as connection:
            connection.execute(text("DROP TRIGGER refuse"))
        assert provision(application, user["id"], "User").outcome == outcome
        assert put_aside() == []
        application.control("PATCH", f"/users/{user['id']}", {"jobTitle": "Spy"})


# --- Beside runs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Incremental", "Full"])
def test_an_object_that_comes_on_demand_beside_a_run_is_there_afterwards(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, changing_tenant: TenantServer, kind: str
) -> None:
    with running_application(monkeypatch, sqlite_url, changing_tenant, GRAPH_PAGE_SIZE="5") as application:
        application.register()
        application.synchronize()
        # The run has read the first pages of the users and waits in front of the others.
        waiting = {"path": "/users/delta", "status": 429, "retryAfter": 600, "times": 1, "after": 1}
        application.control("POST", "/mutate", {"count": 40, "seed": 3})
        application.control("POST", "/faults", [waiting])
        run = application.synchronize(type=kind)
        user, group = create_user(application, "Kim"), create_group(application)
        assert provision(application, user["id"], "User").outcome == ("Success", "Create")
        assert provision(application, group["id"], "Group").outcome == ("Success", "Create")
        assert application.run(run["activityIdentifier"])["status"] in ("Running", "Succeeded")

        application.clock.forward(minutes=10)
        application.plan()

        assert application.run(run["activityIdentifier"])["status"] == "Succeeded"
        assert cached(application, "users", user["id"])
        application.synchronize()
        assert application.compare().differences == []
