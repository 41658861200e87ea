"""Organizations are registered, read, synchronized and removed over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from local.tenant import TenantServer
from shared.graph.clouds import CLOUDS
from shared.models.organizations import Region
from tests.api.support import (
    DERIVED,
    PARTS,
    another_organization,
    check_error,
    deliver,
    held_parts,
    jobs_path,
    parsed_time,
    rows,
    rows_by_organization,
    serve_every_organization_by_one_tenant,
)
from tests.application import APPLICATION, NAME, Application, running_application
from tests.graph.authority import running_authority

COUNTS = {
    "countImported", "countImportedDeltas", "countImportedReferenceDeltas", "countEntitled",
    "countEntitledForProvisioning", "countExports", "countExported", "countEscrowed", "countEscrowedRaw",
}  # fmt: skip


def register(product: Application, **changed: Any) -> dict[str, Any]:
    """Registers an organization that has nothing in common with the others."""
    answer = product.client.post("/organizations", json=another_organization(**changed))
    assert answer.status_code == 201, answer.text
    return answer.json()


class TestRegistration:
    """POST, GET and the list of organizations."""

    def test_three_members_are_enough_and_the_others_have_defaults(self, registry: Application) -> None:
        body = another_organization()
        before = datetime.now(UTC)

        answer = registry.client.post("/organizations", json=body)

        assert answer.status_code == 201
        assert answer.headers["Location"] == f"/organizations/{body['tenantId']}"
        entity = answer.json()
        assert abs(parsed_time(entity.pop("registeredDateTime")) - before) < timedelta(minutes=1)
        template, tenant, own = entity.pop("jobId").split(".")
        assert (template, tenant) == ("M365OrgCache", UUID(body["tenantId"]).hex)
        assert UUID(own)
        assert entity == {
            **body,
            "id": body["tenantId"],
            "region": "Worldwide",
            "authenticationType": "ApplicationOnly",
            "credential": {"kind": "managedIdentity", "keyVaultSecret": None},
            "parts": PARTS,
        }

    @pytest.mark.parametrize(
        "changed",
        [
            {"region": "USGovernment", "authenticationType": "ApplicationOnly"},
            {"region": "USDefence", "authenticationType": "Modern"},
            {"region": "China", "authenticationType": "Basic"},
            {"credential": {"kind": "federated", "keyVaultSecret": None}},
            {"credential": {"kind": "certificate", "keyVaultSecret": "fabrikam-2026"}},
            {"credential": {"kind": "secret", "keyVaultSecret": "a"}},
            {"parts": ["users"]},
            {"parts": ["users", "groups", "sites"]},
        ],
        ids=str,
    )
    def test_what_is_registered_is_what_is_read(self, registry: Application, changed: dict[str, Any]) -> None:
        body = another_organization(**changed)

        registered = registry.client.post("/organizations", json=body).raise_for_status().json()
        read = registry.client.get(f"/organizations/{body['tenantId']}").json()

        assert read == registered
        assert {name: read[name] for name in body} == body

    def test_parts_come_back_once_each_and_in_the_catalogues_order(self, registry: Application) -> None:
        assert register(registry, parts=["teams", "users", "teams", "groups"])["parts"] == ["users", "groups", "teams"]

    def test_where_the_answer_points_to_is_the_organization(self, registry: Application) -> None:
        answer = registry.client.post("/organizations", json=another_organization())

        assert registry.client.get(answer.headers["Location"]).json() == answer.json()

    def test_an_organization_is_found_by_tenant_id_and_by_name_in_any_case(self, registry: Application) -> None:
        body = another_organization(tenantId="ABCDEF01-" + str(uuid4())[9:], name=f"Fabrikam-{uuid4().hex}.Example.COM")
        entity = registry.client.post("/organizations", json=body).raise_for_status().json()

        assert entity["tenantId"] == body["tenantId"].lower()
        for identifier in (body["tenantId"], body["name"]):
            for form in (identifier, identifier.lower(), identifier.upper(), identifier.replace("-", "%2D")):
                for path in (f"/organizations/{form}", f"/Organizations/{form}/"):
                    answer = registry.client.get(path)
                    assert (answer.status_code, answer.json()) == (200, entity), path

    def test_the_list_holds_every_organization_as_it_is_read_alone(self, registry: Application) -> None:
        registered = [register(registry, region=region) for region in ("Worldwide", "China")]

        answer = registry.client.get("/organizations")

        assert list(answer.json()) == ["value"]
        listed = answer.json()["value"]
        assert listed == registered
        assert all(registry.client.get(f"/organizations/{entity['id']}").json() == entity for entity in listed)

    def test_an_empty_register_is_an_empty_list(self, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
        with running_application(monkeypatch, sqlite_url) as application:
            assert application.client.get("/organizations").json() == {"value": []}
            assert application.client.get("/organizations/syncState").json() == {"value": []}

    def test_a_registration_starts_nothing(self, registry: Application) -> None:
        entity = register(registry)
        registry.clock.forward(days=2)
        registry.plan()

        state = registry.client.get(f"/organizations/{entity['id']}/syncState").json()
        job = registry.client.get(jobs_path(owner_id=entity["application"]["objectId"])).json()["value"][0]

        assert (state["syncStatus"], state["currentState"]) == ("None", None)
        assert (job["schedule"]["state"], job["status"]["code"]) == ("Disabled", "NotConfigured")

    def test_no_answer_shows_the_value_of_a_credential(
        self, registry: Application, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        value = "the-value-of-the-secret"
        monkeypatch.setenv("ORGANIZATION_SECRET_FABRIKAM_2026", value)
        body = another_organization(credential={"kind": "secret", "keyVaultSecret": "fabrikam-2026"})

        answers = [registry.client.post("/organizations", json=body)]
        for path in ("/organizations", f"/organizations/{body['name']}", f"/organizations/{body['name']}/syncState"):
            answers.append(registry.client.get(path))
        answers.append(registry.client.get(jobs_path(owner_id=body["application"]["objectId"])))

        assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200]
        assert not [answer.url for answer in answers if value in answer.text]


@pytest.fixture
def neighbouring(tenant: TenantServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Of a registration, another tenant that can be read: not with the app's identity, but with a secret."""
    with running_authority(tenant) as authority:
        authority.neighbour = str(uuid4())
        monkeypatch.setitem(CLOUDS, Region.CHINA, replace(CLOUDS[Region.CHINA], authority=authority.url))
        monkeypatch.setenv("ORGANIZATION_SECRET_NEIGHBOUR", authority.secret)
        credential = {"kind": "secret", "keyVaultSecret": "neighbour"}
        yield {"tenantId": authority.neighbour, "region": "China", "credential": credential}


class TestRemoval:
    """DELETE, what it leaves, and registering again."""

    def test_a_removed_organization_is_gone_everywhere(self, registry: Application) -> None:
        entity = register(registry)
        job = f"{jobs_path(owner_id=entity['application']['objectId'])}/{entity['jobId']}"
        run = registry.client.post(f"/organizations/{entity['id']}/sync").raise_for_status()

        answer = registry.client.delete(f"/organizations/{entity['name'].upper()}")

        assert (answer.status_code, answer.content) == (204, b"")
        for method, path in (
            ("GET", f"/organizations/{entity['id']}"),
            ("GET", f"/organizations/{entity['name']}"),
            ("GET", f"/organizations/{entity['id']}/syncState"),
            ("GET", run.headers["Location"]),
            ("POST", f"/organizations/{entity['id']}/sync"),
            ("DELETE", f"/organizations/{entity['id']}"),
            ("GET", job),
            ("GET", job.rpartition("/")[0]),
        ):
            check_error(registry.client.request(method, path), 404, "Request_ResourceNotFound")
        listed = registry.client.get("/organizations").json()["value"]
        assert entity["id"] not in [other["id"] for other in listed]

    def test_the_rows_of_a_removed_organization_go_and_all_others_stay(
        self, application: Application, neighbouring: dict[str, Any]
    ) -> None:
        application.register()
        application.synchronize()
        neighbour = register(application, **neighbouring)
        assert application.client.post(f"/organizations/{neighbour['id']}/sync").status_code == 202
        application.host.drain()
        before = rows_by_organization(application)
        kept, gone = sorted(before["organizations"], reverse=True)
        # There is something to be removed, in every table that keeps something between runs.
        for table in ("organizations", "jobs", "parts", "runs", "run_parts", "objects", "links"):
            assert before[table][gone] > 0, table

        application.client.delete(f"/organizations/{NAME}").raise_for_status()
        application.host.drain()

        after = rows_by_organization(application)
        assert {table: counted.get(gone, 0) for table, counted in after.items()} == dict.fromkeys(after, 0)
        assert {table: counted.get(kept, 0) for table, counted in after.items()} == {
            table: counted.get(kept, 0) for table, counted in before.items()
        }
        assert application.client.get(f"/organizations/{neighbour['id']}/syncState").json()["syncStatus"] == "Success"

    def test_an_organization_that_is_removed_during_its_run_leaves_nothing(self, held: Application) -> None:
        held.register()
        held.start()
        deliver(held, "users")

        held.client.delete(f"/organizations/{NAME}").raise_for_status()
        held.host.drain()
        deliver(held)

        assert {name: found for name, found in rows(held).items() if found and name != "alembic_version"} == {}

    def test_a_removed_organization_can_be_registered_again_and_begins_anew(self, application: Application) -> None:
        first = application.register()
        old_run = application.synchronize()["activityIdentifier"]
        application.client.delete(f"/organizations/{NAME}").raise_for_status()

        second = application.register(parts=["users", "teams"])

        assert second["jobId"] != first["jobId"]
        assert application.sync_state()["syncStatus"] == "None"
        check_error(application.client.get(f"/organizations/{NAME}/syncs/{old_run}"), 404)
        application.host.drain()
        run = application.synchronize()
        assert (run["type"], run["status"]) == ("Full", "Succeeded")
        assert [part["part"] for part in run["parts"]] == ["users", "teams"]

    def test_a_new_registration_uses_its_own_credential(self, application: Application) -> None:
        application.register()
        assert application.synchronize()["status"] == "Succeeded"
        application.client.delete(f"/organizations/{NAME}").raise_for_status()
        application.host.drain()

        # No app setting holds this secret, so that nothing can be read with it.
        application.register(credential={"kind": "secret", "keyVaultSecret": "not-there"})
        run = application.synchronize()

        assert run["status"] == "Failed"
        assert run["error"]["code"] == "CredentialUnavailable"


class TestStart:
    """POST /organizations/{id}/sync and the run it starts or joins."""

    @pytest.mark.parametrize("identifier", [NAME, NAME.upper(), "{tenant}", "{TENANT}"])
    def test_a_start_answers_with_the_run_and_where_to_follow_it(self, held: Application, identifier: str) -> None:
        held.register()
        identifier = identifier.format(tenant=held.tenant_id, TENANT=held.tenant_id.upper())

        answer = held.client.post(f"/organizations/{identifier}/sync")

        assert answer.status_code == 202
        run = answer.json()
        assert answer.headers["Location"].startswith("/organizations/")
        assert answer.headers["Location"].endswith(f"/syncs/{run['activityIdentifier']}")
        assert held.client.get(answer.headers["Location"]).json() == run
        assert UUID(run["activityIdentifier"])
        assert abs(parsed_time(run.pop("queuedTime")) - datetime.now(UTC)) < timedelta(minutes=1)
        assert run == {
            "activityIdentifier": run["activityIdentifier"],
            "organization": NAME,
            "type": "Full",
            "status": "Queued",
            "startTime": None,
            "endTime": None,
            "error": None,
            "counts": dict.fromkeys(COUNTS, 0),
            "resourceUnits": 0,
            "parts": [
                {
                    "part": part,
                    "type": "Full",
                    "status": "Queued",
                    "completed": 0,
                    "total": None,
                    "resourceUnits": 0,
                    "nextAttempt": None,
                    "error": None,
                }
                for part in PARTS
            ],
        }

    def test_a_finished_run_tells_its_times_and_counts(self, application: Application) -> None:
        application.register()

        run = application.synchronize()

        assert set(run["counts"]) == COUNTS
        assert all(type(count) is int for count in run["counts"].values())
        assert run["counts"]["countImported"] == sum(part["completed"] for part in run["parts"])
        assert run["counts"]["countExported"] == run["counts"]["countExports"] > 0
        assert {part["part"]: part["status"] for part in run["parts"]} == dict.fromkeys(PARTS, "Succeeded")
        there = application.control("GET", "")["counts"]
        completed = {part["part"]: part["completed"] for part in run["parts"]}
        assert {name: completed[name] for name in there} == {name: count["live"] for name, count in there.items()}
        assert parsed_time(run["queuedTime"]) <= parsed_time(run["startTime"]) < parsed_time(run["endTime"])
        assert run["error"] is None

    def test_the_run_is_found_by_its_identifier_in_any_case(self, held: Application) -> None:
        held.register()
        run = held.start()

        found = held.client.get(f"/organizations/{held.tenant_id.upper()}/syncs/{run['activityIdentifier'].upper()}")

        assert found.json() == run

    @pytest.mark.parametrize("body", [None, b"", b"  \n", b"{}"], ids=["none", "empty", "blank", "an empty object"])
    def test_the_body_may_be_left_out(self, held: Application, body: bytes | None) -> None:
        held.register()

        answer = held.client.post(
            f"/organizations/{NAME}/sync", content=body, headers={"Content-Type": "application/json"} if body else {}
        )

        assert (answer.status_code, answer.json()["type"]) == (202, "Full")

    def test_after_the_first_full_run_a_start_is_incremental_unless_asked_otherwise(
        self, application: Application
    ) -> None:
        application.register()
        types = [
            application.synchronize(**body)["type"] for body in ({}, {}, {"type": "Full"}, {"type": "Incremental"})
        ]

        assert types == ["Full", "Incremental", "Full", "Incremental"]

    def test_a_start_joins_the_queued_run(self, held: Application) -> None:
        held.register()
        first = held.start()

        again = [held.start(**body) for body in ({}, {"type": "Full"}, {"type": "Incremental", "parts": ["users"]})]

        assert again == [first] * 3
        deliver(held)
        assert held.run(first["activityIdentifier"])["status"] == "Succeeded"

    def test_a_start_joins_the_running_run(self, held: Application) -> None:
        held.register()
        first = held.start()
        deliver(held, "users")

        again = held.start()

        assert (again["activityIdentifier"], again["status"]) == (first["activityIdentifier"], "Running")
        deliver(held)
        assert held.run(first["activityIdentifier"])["status"] == "Succeeded"
        # Nothing else was queued behind it.
        assert held.sync_state()["currentState"] is None

    def test_a_full_start_widens_the_queued_incremental_run(self, held: Application) -> None:
        held.register()
        held.start()
        deliver(held)
        queued = held.start()
        assert queued["type"] == "Incremental"

        widened = held.start(type="Full")

        assert widened["activityIdentifier"] == queued["activityIdentifier"]
        assert (widened["type"], widened["status"]) == ("Full", "Queued")
        deliver(held)
        run = held.run(queued["activityIdentifier"])
        assert (run["type"], run["status"]) == ("Full", "Succeeded")
        assert {part["type"] for part in run["parts"]} == {"Full"}
        there = held.control("GET", "")["counts"]
        assert run["counts"]["countImported"] >= sum(count["live"] for count in there.values())

    def test_a_start_with_more_parts_widens_the_queued_run(self, held: Application) -> None:
        held.register()
        held.start()
        deliver(held)
        queued = held.start(parts=["sites"])

        widened = held.start(type="Full", parts=["users"])

        assert widened["activityIdentifier"] == queued["activityIdentifier"]
        assert [(part["part"], part["type"]) for part in widened["parts"]] == [
            ("users", "Full"),
            ("sites", "Incremental"),
        ]
        deliver(held)
        assert {part["status"] for part in held.run(queued["activityIdentifier"])["parts"]} == {"Succeeded"}

    def test_a_full_start_during_an_incremental_run_follows_it(self, held: Application) -> None:
        held.register()
        held.start()
        deliver(held)
        running = held.start()
        deliver(held, "users")

        following = held.start(type="Full")
        joining = held.start(type="Full")

        assert following["activityIdentifier"] not in (running["activityIdentifier"], None)
        assert (following["type"], following["status"]) == ("Full", "Queued")
        assert joining == following
        assert held.run(running["activityIdentifier"])["type"] == "Incremental"
        deliver(held)
        assert [held.run(run["activityIdentifier"])["status"] for run in (running, following)] == ["Succeeded"] * 2
        ended, began = (
            parsed_time(held.run(run["activityIdentifier"])[time])
            for run, time in ((running, "endTime"), (following, "startTime"))
        )
        assert ended <= began

    def test_only_the_parts_asked_for_are_synchronized(self, application: Application) -> None:
        application.register()

        run = application.synchronize(parts=["sites", "users"])

        assert [(part["part"], part["status"]) for part in run["parts"]] == [
            ("users", "Succeeded"),
            ("sites", "Succeeded"),
        ]
        entries = application.job()["status"]["synchronizedEntryCountByType"]
        there = application.control("GET", "")["counts"]
        assert [(entry["key"], entry["value"]) for entry in entries] == [
            ("User to User", there["users"]["live"]),
            ("Site to Site", there["sites"]["live"]),
        ]
        paths = application.control("GET", "/requests")["paths"]
        assert not [path for path in paths if "groups" in path]

    def test_only_the_parts_registered_are_synchronized(self, application: Application) -> None:
        application.register(parts=["groupMembers"])

        run = application.synchronize()

        assert [part["part"] for part in run["parts"]] == ["groupMembers"]
        assert [entry["key"] for entry in application.job()["status"]["synchronizedEntryCountByType"]] == [
            "GroupMember to GroupMember"
        ]

    def test_ten_starts_at_once_are_one_run(self, registry: Application) -> None:
        registry.register()

        async def start_all() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=registry.host.url, timeout=60) as client:
                path = f"/organizations/{NAME}/sync"
                return await asyncio.gather(*(client.post(path, json={"type": "Full"}) for _ in range(10)))

        answers = asyncio.run(start_all())

        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["activityIdentifier"] for answer in answers}) == 1
        assert len(rows(registry)["runs"]) == 1
        assert sorted(held_parts(registry)) == sorted(set(PARTS) - set(DERIVED))

    def test_a_started_organization_synchronizes_again_by_the_planner(self, application: Application) -> None:
        application.register()
        first = application.synchronize()

        application.clock.forward(minutes=39)
        application.plan()
        assert application.job()["status"]["lastExecution"]["activityIdentifier"] == first["activityIdentifier"]
        application.clock.forward(minutes=2)
        application.plan()

        last = application.job()["status"]["lastExecution"]["activityIdentifier"]
        assert last != first["activityIdentifier"]
        assert (application.run(last)["type"], application.run(last)["status"]) == ("Incremental", "Succeeded")

    def test_two_organizations_synchronize_beside_each_other(
        self, held: Application, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        serve_every_organization_by_one_tenant(monkeypatch)
        held.register()
        other = register(held)

        runs = [held.client.post(f"/organizations/{name}/sync").json() for name in (NAME, other["name"])]

        assert runs[0]["activityIdentifier"] != runs[1]["activityIdentifier"]
        assert sorted(held_parts(held)) == sorted([part for part in PARTS if part not in DERIVED] * 2)
        deliver(held)
        for name, run in zip((NAME, other["name"]), runs, strict=True):
            path = f"/organizations/{name}/syncs/{run['activityIdentifier']}"
            assert held.client.get(path).json()["status"] == "Succeeded"


@pytest.mark.parametrize("owner", ["applications", "servicePrincipals"])
def test_organizations_that_share_an_application_share_its_list_of_jobs(registry: Application, owner: str) -> None:
    shared = {**APPLICATION, "objectId": str(uuid4()), "servicePrincipalId": str(uuid4())}
    entities = [register(registry, application=shared) for _ in range(2)]
    owner_id = shared["objectId" if owner == "applications" else "servicePrincipalId"]

    listed = registry.client.get(jobs_path("v1.0", owner, owner_id)).json()["value"]

    assert [job["id"] for job in listed] == [entity["jobId"] for entity in entities]
