"""A job is deleted with all its state, and a new one is created in its place; the cache stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import func, select

from shared.cache import tables as t
from tests.api.support import check_error, check_headers, deliver, held_application, held_parts, jobs_path, rows
from tests.application import NAME, Application
from tests.cache.work import NOW

TEMPLATE = {"templateId": "M365OrgCache"}
ROOTS = (("v1.0", "applications"), ("beta", "servicePrincipals"))


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[Application]:
    """The product with a registered organization and without a tenant; runs stay queued."""
    with held_application(monkeypatch, sqlite_url) as running:
        running.register()
        yield running


def delete(application: Application, job_id: str | None = None) -> httpx.Response:
    return application.client.delete(f"{jobs_path()}/{job_id or application.job()['id']}")


def create(application: Application, path: str | None = None, **body: Any) -> httpx.Response:
    return application.client.post(path or jobs_path(), json={**TEMPLATE, **body})


def settings(job: dict[str, Any]) -> list[str]:
    return [pair["value"] for pair in job["synchronizationJobSettings"]]


def register_another(application: Application, number: int) -> dict[str, Any]:
    """Registers a further organization with the same application."""
    identity = {"tenantId": f"00000000-0000-4000-8000-{number:012}", "name": f"fabrikam{number}.com"}
    return application.client.post("/organizations", json=application.registration(**identity)).json()


# --- Deleting -----------------------------------------------------------------------------------------------------


def test_a_deleted_job_is_found_by_nobody(application: Application) -> None:
    job_id = application.job()["id"]

    answer = delete(application)

    assert (answer.status_code, answer.content) == (204, b"")
    check_headers(answer)
    for method, action in (
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/pause"), ("POST", "/restart"),
        ("POST", "/validateCredentials"), ("GET", "/schema"), ("PUT", "/schema"), ("PATCH", "/schema"),
    ):  # fmt: skip
        check_error(
            application.client.request(method, f"{jobs_path()}/{job_id}{action}"), 404, "Request_ResourceNotFound"
        )
    subject = {"objectId": "a", "objectTypeName": "User"}
    provisioning = application.client.post(
        f"{jobs_path()}/{job_id}/provisionOnDemand", json={"parameters": [{"subjects": [subject]}]}
    )
    check_error(provisioning, 404, "Request_ResourceNotFound")
    for version, owner in ROOTS:
        assert application.client.get(jobs_path(version, owner)).json()["value"] == []
        assert application.client.get(jobs_path(version, owner) + "/$count").text == "0"
    assert application.client.get(f"/organizations/{NAME}").json()["jobId"] is None


def test_an_organization_without_a_job_stays_registered_and_does_not_synchronize(application: Application) -> None:
    delete(application)

    message = check_error(application.client.post(f"/organizations/{NAME}/sync"), 409, "conflict")
    assert NAME in message
    application.clock.forward(days=30)
    application.plan()
    assert held_parts(application) == []
    state = application.sync_state()
    assert (state["syncStatus"], state["lastSyncTime"], state["currentState"]) == ("None", None, None)
    assert application.client.get("/organizations/syncState").json()["value"] == [state]
    templates = jobs_path().replace("/jobs", "/templates")
    assert [found["id"] for found in application.client.get(templates).json()["value"]] == ["M365OrgCache"]


def test_what_is_asked_of_all_jobs_leaves_the_missing_one_alone(held: Application) -> None:
    kept = held.register()
    delete(held, register_another(held, 1)["jobId"])
    before = rows(held)

    secret = '{"DeleteThresholdEnabled": true, "DeleteThresholdValue": 7}'
    put = held.client.put(
        jobs_path().replace("/jobs", "/secrets"), json={"value": [{"key": "SyncNotificationSettings", "value": secret}]}
    )
    assert put.status_code == 204
    # The app's identity reads its own tenant alone, which the one without a job is not.
    check_error(held.client.post(f"{jobs_path()}/validateCredentials"), 400, "CredentialUnavailable")

    (job,) = held.client.get(jobs_path()).json()["value"]
    assert (job["id"], job["status"]["code"], settings(job)[0]) == (kept["jobId"], "NotRun", "7")
    assert {name: len(found) for name, found in rows(held).items()} == {
        name: len(found) for name, found in before.items()
    }
    created = create(held).json()
    assert (created["status"]["code"], settings(created)[0]) == ("NotConfigured", "500")


def test_a_deleted_job_leaves_no_run_no_escrow_no_waiting_deletion_and_all_of_the_cache(held: Application) -> None:
    held.register()
    run = held.start()
    deliver(held)
    key = 1
    with held.services.database.write() as connection:
        held_deletion = {"reason": "deleted", "held_at": NOW, "approved": False}
        connection.execute(
            t.held_deletions.insert().values(organization_id=key, part="users", object_id="a", **held_deletion)
        )
        escrow = {
            "error_code": "x", "error_message": "y", "error_tenant_actionable": False, "failures": 1, "raw": "{}",
            "first_failed_at": NOW, "last_failed_at": NOW, "next_attempt_at": NOW, "generation": 1,
        }  # fmt: skip
        connection.execute(t.escrows.insert().values(organization_id=key, part="users", object_id="a", **escrow))
    before = rows(held)

    delete(held)

    after = rows(held)
    assert {name for name in after if after[name] != before[name]} == {
        "jobs", "parts", "runs", "run_parts", "escrows", "held_deletions",
    }  # fmt: skip
    assert [after[name] for name in ("runs", "run_parts", "escrows", "held_deletions")] == [[], [], [], []]
    assert len(before["objects"]) > 30
    gone = held.client.get(f"/organizations/{NAME}/syncs/{run['activityIdentifier']}")
    check_error(gone, 404, "Request_ResourceNotFound")
    for name in ("escrows", "heldDeletions"):
        assert held.client.get(f"/organizations/{NAME}/{name}").json() == {"value": []}


@pytest.mark.parametrize("done_before", [[], ["users"]], ids=["queued", "running"])
def test_messages_of_a_run_whose_job_was_deleted_are_dropped(held: Application, done_before: list[str]) -> None:
    held.register()
    held.start()
    if done_before:
        deliver(held, *done_before)
    delete(held)
    before = rows(held)

    deliver(held)

    assert rows(held) == before
    create(held)
    assert held.sync_state()["syncStatus"] == "None"


# --- Creating -----------------------------------------------------------------------------------------------------


def test_a_new_job_is_born_disabled_and_found_where_its_location_says(application: Application) -> None:
    for version, owner in ROOTS:
        for end in ("", "/"):
            old = application.job()
            delete(application)

            answer = create(application, jobs_path(version, owner) + end)

            assert answer.status_code == 201
            check_headers(answer)
            assert answer.headers["Content-Type"].startswith("application/json;odata.metadata=minimal")
            job = answer.json()
            context = f"/{version}/$metadata#{owner}('{owner_id(owner)}')/synchronization/jobs/$entity"
            assert job["@odata.context"] == application.host.url + context
            location = urlsplit(answer.headers["Location"])
            assert f"{location.scheme}://{location.netloc}" == application.host.url
            assert location.path == f"{jobs_path(version, owner)}/{job['id']}"
            assert application.client.get(answer.headers["Location"]).json() == job
            # As it was when the organization was registered, but for its name.
            assert job["id"] != old["id"]
            assert job["id"].split(".")[:2] == old["id"].split(".")[:2]
            assert application.job() == {**old, "id": job["id"]}
            assert application.client.get(f"/organizations/{NAME}").json()["jobId"] == job["id"]
            check_error(application.client.get(f"{jobs_path()}/{old['id']}"), 404)


def owner_id(owner: str) -> str:
    return jobs_path(owner=owner).split("/")[3]


def test_a_new_job_has_the_settings_that_it_is_created_with_and_the_services_defaults(application: Application) -> None:
    chosen = {"QuarantineTooManyDeletesThreshold": "None", "SynchronizationInterval": "2:00:00", "Parts": "teams,users"}
    pairs = [{"name": name, "value": value} for name, value in chosen.items()]
    delete(application)
    job = create(application, synchronizationJobSettings=pairs).json()
    assert settings(job) == ["None", "PT2H", "users,teams"]
    assert application.client.get(f"/organizations/{NAME}").json()["parts"] == ["users", "teams"]

    delete(application)
    job = create(application, templateId="m365orgcache", synchronizationJobSettings=pairs[1:2]).json()
    assert settings(job) == ["500", "PT2H", "users,groups,groupMembers,sites,mailboxes,teams,channels"]


def test_what_a_client_sends_beside_template_and_settings_does_not_matter(application: Application) -> None:
    old = application.job()
    delete(application)
    job = create(application, **{"@odata.type": "#microsoft.graph.synchronizationJob", **old}).json()
    assert job["id"] != old["id"]
    assert (job["schedule"], job["status"]["code"]) == (old["schedule"], "NotConfigured")


def test_a_new_jobs_schema_is_that_of_the_template(application: Application) -> None:
    template = application.client.get(jobs_path().replace("/jobs", "/templates/M365OrgCache/schema")).json()
    schema = application.client.get(f"{jobs_path()}/{application.job()['id']}/schema").json()
    schema["synchronizationRules"][0]["objectMappings"][0]["attributeMappings"].pop(4)
    path = f"{jobs_path()}/{application.job()['id']}/schema"
    assert application.client.put(path, json=schema).status_code == 204
    assert application.client.get(path).json()["version"] != template["version"]

    delete(application)
    job = create(application).json()

    own = application.client.get(f"{jobs_path()}/{job['id']}/schema").json()
    assert own["version"] == template["version"]
    assert own["synchronizationRules"] == template["synchronizationRules"]


def test_a_new_job_reads_everything_anew_and_finds_the_cache_as_it_was(held: Application) -> None:
    held.register()
    held.start()
    deliver(held)
    delete(held)
    create(held)
    with held.services.database.read() as connection:
        kept = connection.execute(select(func.count()).select_from(t.objects)).scalar_one()

    held.client.post(f"{jobs_path()}/{held.job()['id']}/start").raise_for_status()
    deliver(held)

    execution = held.job()["status"]["lastExecution"]
    assert (execution["state"], execution["countExported"]) == ("Succeeded", 0)
    assert held.sync_state()["type"] == "Full"
    with held.services.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.objects)).scalar_one() == kept
    entries = {pair["key"]: pair["value"] for pair in held.job()["status"]["synchronizedEntryCountByType"]}
    assert entries["User to User"] == 30


def test_of_several_organizations_the_one_that_was_registered_first_gets_its_job_first(
    application: Application,
) -> None:
    first = application.client.get(f"/organizations/{NAME}").json()
    second = register_another(application, 1)
    third = register_another(application, 2)
    for organization in (third, first):
        delete(application, organization["jobId"])
    assert [job["id"] for job in application.client.get(jobs_path()).json()["value"]] == [second["jobId"]]

    tenants = [create(application).json()["id"].split(".")[1] for _ in range(2)]

    assert tenants == [first["tenantId"].replace("-", ""), third["tenantId"].replace("-", "")]
    check_error(create(application), 409, "conflict")
    assert application.client.get(f"{jobs_path()}/$count").text == "3"


def test_of_creations_at_the_same_moment_one_is_done_and_the_others_are_told(application: Application) -> None:
    delete(application)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: create(application), range(4)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert application.client.get(f"{jobs_path()}/$count").text == "1"


def test_a_job_that_goes_is_neither_renamed_nor_stopped_by_an_attempt_to_create_one(application: Application) -> None:
    application.start()
    before = rows(application)
    check_error(create(application), 409, "conflict")
    assert rows(application) == before
