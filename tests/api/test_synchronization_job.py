"""The synchronizationJob as Microsoft Graph serves it: byte for byte, and as an unmodified msgraph-sdk reads it."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.synchronization_job import SynchronizationJob
from msgraph.graph_request_adapter import GraphRequestAdapter, options
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory

from local.tenant import TenantServer
from shared.models.parts import CATALOGUE
from tests.api.support import PARTS, another_organization, deliver, held_application, jobs_path, parsed_time
from tests.application import APPLICATION, NAME, Application
from tests.databases import Databases

T = TypeVar("T")
Stage = Literal["never run", "queued", "running", "succeeded", "failed"]

NEVER = "0001-01-01T00:00:00Z"
ODATA_JSON = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
SETTINGS = [
    {"name": "QuarantineTooManyDeletesThreshold", "value": "500"},
    {"name": "SynchronizationInterval", "value": "PT40M"},
    {"name": "Parts", "value": ",".join(PARTS)},
]
ENTRY_TYPES = [part.entry_type for part in CATALOGUE.values()]

# The contract, composed for this test: every member that a job can have, each with a value of its type.
EXECUTION = {
    "activityIdentifier": "2c9f1d60-7a3e-4b58-8d14-5e6f7a8b9c0d",
    "countEntitled": 12,
    "countEntitledForProvisioning": 11,
    "countEscrowed": 1,
    "countEscrowedRaw": 2,
    "countExported": 9,
    "countExports": 10,
    "countImported": 13,
    "countImportedDeltas": 21,
    "countImportedReferenceDeltas": 8,
    "error": {"code": "Authorization_RequestDenied", "message": "users: refused.", "tenantActionable": True},
    "state": "Failed",
    "timeBegan": "2026-03-04T05:06:07.1234567Z",
    "timeEnded": "2026-03-04T05:06:08Z",
}
CONTRACT = {
    "@odata.context": "https://HOST/v1.0/$metadata#applications('0')/synchronization/jobs/$entity",
    "id": "M365OrgCache.00000000000000000000000000000001.00000000000000000000000000000002",
    "templateId": "M365OrgCache",
    "schedule": {"expiration": None, "interval": "PT40M", "state": "Active"},
    "status": {
        "code": "Active",
        "countSuccessiveCompleteFailures": 3,
        "escrowsPruned": False,
        "lastExecution": EXECUTION,
        "lastSuccessfulExecution": EXECUTION,
        "lastSuccessfulExecutionWithExports": EXECUTION,
        "progress": [
            {
                "completedUnits": 4,
                "totalUnits": 6,
                "units": "users",
                "progressObservationDateTime": "2026-03-04T05:06:07Z",
            }
        ],
        "quarantine": {
            "currentBegan": NEVER,
            "error": EXECUTION["error"],
            "nextAttempt": NEVER,
            "reason": "Unknown",
            "seriesBegan": NEVER,
            "seriesCount": 1,
        },
        "steadyStateFirstAchievedTime": NEVER,
        "steadyStateLastAchievedTime": NEVER,
        "synchronizedEntryCountByType": [{"key": "User to User", "value": 12}],
        "troubleshootingUrl": "https://example.com",
    },
    "synchronizationJobSettings": [{"name": "QuarantineTooManyDeletesThreshold", "value": "500"}],
}
NULLABLE = {
    "expiration", "lastExecution", "lastSuccessfulExecution", "lastSuccessfulExecutionWithExports", "quarantine",
    "troubleshootingUrl", "error",
}  # fmt: skip
ENUMS: dict[tuple[str, ...], set[str]] = {
    ("schedule", "state"): {"Active", "Disabled", "Paused"},
    ("status", "code"): {"NotConfigured", "NotRun", "Active", "Paused", "Quarantine"},
    ("lastExecution", "state"): {"Succeeded", "Failed", "EntryLevelErrors"},
    ("lastSuccessfulExecution", "state"): {"Succeeded"},
    ("lastSuccessfulExecutionWithExports", "state"): {"Succeeded"},
}
DATES = {
    "timeBegan", "timeEnded", "progressObservationDateTime", "steadyStateFirstAchievedTime",
    "steadyStateLastAchievedTime", "currentBegan", "nextAttempt", "seriesBegan",
}  # fmt: skip


def bring_to(application: Application, stage: Stage) -> None:
    """Registers the organization and brings its job to the stage."""
    application.register()
    if stage == "never run":
        return
    if stage == "failed":
        application.control("POST", "/faults", [{"path": "/users/delta", "kind": "status", "status": 403}])
    application.start()
    if stage == "running":
        # The second part is in the middle of its work, and the others still have to begin.
        application.control(
            "POST", "/faults", [{"path": "/groups/delta", "status": 429, "retryAfter": 600, "after": 1}]
        )
        deliver(application, "users")
        deliver(application, "groups")
    elif stage != "queued":
        deliver(application)


@pytest.fixture(params=["never run", "queued", "running", "succeeded", "failed"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return request.param


@pytest.fixture
def staged(
    monkeypatch: pytest.MonkeyPatch, databases: Databases, tenant: TenantServer, stage: Stage
) -> Iterator[Application]:
    """The product with a job in one stage of its life; pages are small, so that a part is read in several."""
    with (
        databases.fresh("sqlite") as url,
        held_application(monkeypatch, url, tenant, GRAPH_PAGE_SIZE="5") as application,
    ):
        bring_to(application, stage)
        yield application


def raw_job(application: Application) -> dict[str, Any]:
    """The job as it is sent, read alone."""
    job_id = application.job()["id"]
    return application.client.get(f"{jobs_path()}/{job_id}").raise_for_status().json()


def check_shape(job: Any, contract: Any, path: tuple[str, ...] = ()) -> None:
    """The same members at every depth, and each value of the contract's JSON type unless it may be null."""
    if job is None:
        assert path[-1] in NULLABLE, path
        return
    if contract is None:
        return
    assert type(job) is type(contract), path
    if isinstance(contract, dict):
        assert list(job) == list(contract), path
        for name, value in job.items():
            check_shape(value, contract[name], (*path, name))
    elif isinstance(contract, list):
        for item in job:
            check_shape(item, contract[0], path)
    elif path[-1] in DATES:
        assert job == NEVER or parsed_time(job).year >= 2025, path
    elif path[-2:] in ENUMS:
        assert job in ENUMS[path[-2:]], path


def test_a_job_has_the_contracts_shape_at_every_stage(staged: Application) -> None:
    job = raw_job(staged)

    check_shape(job, CONTRACT)
    assert re.fullmatch(r"M365OrgCache\.[0-9a-f]{32}\.[0-9a-f]{32}", job["id"])
    assert job["id"].split(".")[1] == UUID(staged.tenant_id).hex
    assert (job["templateId"], job["schedule"]["interval"]) == ("M365OrgCache", "PT40M")
    assert (job["status"]["quarantine"], job["status"]["escrowsPruned"]) == (None, False)
    assert job["synchronizationJobSettings"] == SETTINGS


def test_the_link_to_our_page_on_an_error_is_there_when_there_is_one_and_leads_to_it(
    staged: Application, stage: Stage
) -> None:
    link = raw_job(staged)["status"]["troubleshootingUrl"]

    if stage != "failed":
        assert link is None
        return
    assert link == f"{staged.host.url}/docs/troubleshooting/Authorization_RequestDenied"
    page = staged.client.get(link)
    assert (page.status_code, page.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    assert "consent" in page.text


def test_an_answer_has_graphs_headers_at_every_stage(staged: Application) -> None:
    for path in (jobs_path(), f"{jobs_path()}/{staged.job()['id']}"):
        answer = staged.client.get(path)

        assert answer.headers["Content-Type"] == ODATA_JSON
        assert answer.headers["OData-Version"] == "4.0"
        assert UUID(answer.headers["request-id"])
        assert UUID(answer.headers["client-request-id"])


SUBJECTS = [{"subjects": [{"objectId": "nobody", "objectTypeName": "User"}]}]
RULE = {"synchronizationRules": [{"objectMappings": [{"name": "User to User"}]}]}
LARGE = {"padding": "x" * 1_048_576}

# Every route, in an order in which one can be asked after the other: method, path, body, status.
EVERY_ANSWER: list[tuple[str, str, Any, int]] = [
    ("GET", "jobs", None, 200), ("GET", "jobs?$top=0", None, 200), ("GET", "jobs?$orderby=id", None, 400),
    ("GET", "jobs/$count", None, 200), ("GET", "jobs/$count?x=y", None, 400), ("DELETE", "jobs", None, 405),
    ("POST", "jobs", {"templateId": "M365OrgCache"}, 409), ("POST", "jobs", {}, 400), ("POST", "jobs", LARGE, 413),
    ("GET", "jobs/{job}", None, 200), ("GET", "jobs/{job}?$expand=schema", None, 200), ("GET", "jobs/x", None, 404),
    ("PATCH", "jobs/{job}", {}, 200), ("PATCH", "jobs/{job}", {"id": "x"}, 400), ("PATCH", "jobs/x", {}, 404),
    ("PATCH", "jobs/{job}", {"status": {"code": "Quarantine"}}, 409), ("PUT", "jobs/{job}", {}, 405),
    ("POST", "jobs/{job}/start", None, 204), ("POST", "jobs/x/start", None, 404),
    ("POST", "jobs/{job}/pause", None, 204), ("GET", "jobs/{job}/pause", None, 405),
    ("POST", "jobs/{job}/restart", {}, 204), ("POST", "jobs/{job}/restart", {"criteria": {"resetScope": "x"}}, 400),
    ("POST", "jobs/{job}/validateCredentials", {}, 204), ("POST", "jobs/validateCredentials", None, 204),
    ("POST", "jobs/validateCredentials", {"credentials": [{"key": "x"}]}, 400),
    ("POST", "jobs/{job}/provisionOnDemand", {"parameters": SUBJECTS}, 200),
    ("POST", "jobs/{job}/provisionOnDemand", {}, 400), ("POST", "jobs/x/provisionOnDemand", {}, 404),
    ("GET", "jobs/{job}/schema", None, 200), ("GET", "jobs/x/schema", None, 404),
    ("PUT", "jobs/{job}/schema", RULE, 204), ("PUT", "jobs/{job}/schema", {}, 400),
    ("PATCH", "jobs/{job}/schema", RULE, 204), ("DELETE", "jobs/{job}/schema", None, 405),
    ("GET", "templates", None, 200), ("GET", "templates/$count", None, 200), ("POST", "templates", {}, 405),
    ("GET", "templates/M365OrgCache", None, 200), ("GET", "templates/x", None, 404),
    ("GET", "templates/M365OrgCache/schema", None, 200), ("PATCH", "templates/M365OrgCache/schema", {}, 405),
    ("PUT", "secrets", {"value": []}, 204), ("PUT", "secrets", {}, 400), ("GET", "secrets", None, 405),
    ("POST", "acquireAccessToken", {}, 404), ("GET", "", None, 404),
    ("DELETE", "jobs/{job}", None, 204), ("DELETE", "jobs/{job}", None, 404),
    ("POST", "jobs", {"templateId": "M365OrgCache"}, 201),
]  # fmt: skip


def check_headers_of(answer: httpx.Response, own: str) -> None:
    """The headers of graph.md §2.6, of which the content's type is that of what is there."""
    assert UUID(answer.headers["request-id"]) != UUID(own)
    assert answer.headers["client-request-id"] == own
    assert abs(parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert answer.headers["OData-Version"] == "4.0"
    assert answer.headers["Cache-Control"] == "no-store"
    assert ("Location" in answer.headers) == (answer.status_code == 201)
    assert ("Allow" in answer.headers) == (answer.status_code == 405)
    if answer.status_code == 204:
        assert answer.content == b""
    elif "$count" in str(answer.url) and answer.status_code == 200:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.content == b"1"
    else:
        assert answer.headers["Content-Type"] == ODATA_JSON
        assert ("error" in answer.json()) == (answer.status_code >= 400)


@pytest.mark.parametrize(("version", "owner"), [("v1.0", "applications"), ("beta", "servicePrincipals")])
def test_every_answer_of_every_route_has_graphs_headers(held: Application, version: str, owner: str) -> None:
    root = jobs_path(version, owner).removesuffix("jobs")
    job_id = held.register()["jobId"]

    for method, rest, body, status in EVERY_ANSWER:
        own = str(uuid4())
        path = f"{root}{rest.replace('{job}', job_id)}"
        answer = held.client.request(method, path, json=body, headers={"client-request-id": own})

        assert answer.status_code == status, (method, rest, answer.text)
        check_headers_of(answer, own)


def test_the_routes_of_that_list_are_all_there_are(held: Application) -> None:
    def template(path: str) -> str:
        known = path.partition("?")[0].replace("{job}", "{jobId}")
        return re.sub("^templates/[^$][^/]*", "templates/{templateId}", known)

    asked = {(method, template(path)) for method, path, _, status in EVERY_ANSWER if status < 300}
    served = {
        (method, route.template.partition("/synchronization/")[2])
        for route in held.host.host.router.routes
        for method in route.methods
        if "/synchronization/" in route.template
    }
    assert asked == served


def test_the_list_holds_the_job_as_it_is_read_alone(staged: Application) -> None:
    # Observed at two moments, progress differs in nothing else.
    def without_moment(job: dict[str, Any]) -> dict[str, Any]:
        for progress in job["status"]["progress"]:
            progress.pop("progressObservationDateTime")
        return job

    single = without_moment(raw_job(staged))
    single.pop("@odata.context")
    listed = staged.client.get(jobs_path()).json()

    assert list(listed) == ["@odata.context", "value"]
    assert [without_moment(job) for job in listed["value"]] == [single]


def test_a_job_that_never_ran_is_disabled_and_empty(held: Application) -> None:
    held.register()

    job = raw_job(held)

    assert job == {
        "@odata.context": job["@odata.context"],
        "id": job["id"],
        "templateId": "M365OrgCache",
        "schedule": {"expiration": None, "interval": "PT40M", "state": "Disabled"},
        "status": {
            "code": "NotConfigured",
            "countSuccessiveCompleteFailures": 0,
            "escrowsPruned": False,
            "lastExecution": None,
            "lastSuccessfulExecution": None,
            "lastSuccessfulExecutionWithExports": None,
            "progress": [],
            "quarantine": None,
            "steadyStateFirstAchievedTime": NEVER,
            "steadyStateLastAchievedTime": NEVER,
            "synchronizedEntryCountByType": [],
            "troubleshootingUrl": None,
        },
        "synchronizationJobSettings": SETTINGS,
    }


def test_a_queued_first_run_makes_the_job_active_and_not_run(held: Application) -> None:
    bring_to(held, "queued")

    job = raw_job(held)

    assert (job["schedule"]["state"], job["status"]["code"]) == ("Active", "NotRun")
    assert (job["status"]["lastExecution"], job["status"]["progress"]) == (None, [])


@pytest.mark.parametrize("stage", ["running"], indirect=True)
def test_while_running_there_is_progress_for_each_part(staged: Application) -> None:
    status = raw_job(staged)["status"]

    assert status["code"] == "NotRun"
    assert status["lastExecution"] is None
    progress = {entry["units"]: (entry["completedUnits"], entry["totalUnits"]) for entry in status["progress"]}
    assert list(progress) == PARTS
    users, groups = (staged.control("GET", "")["counts"][name]["live"] for name in ("users", "groups"))
    assert progress["users"] == (users, users)
    assert 0 < progress["groups"][0] < progress["groups"][1] == groups
    assert progress["teams"] == (0, 0)
    observed = {entry["progressObservationDateTime"] for entry in status["progress"]}
    assert abs(parsed_time(observed.pop()) - staged.clock()) < timedelta(minutes=1)
    assert not observed


def test_after_a_good_run_all_three_executions_are_that_run(application: Application) -> None:
    application.register()
    run = application.synchronize()

    status = application.job()["status"]

    assert status["code"] == "Active"
    assert status["lastExecution"] == {
        "activityIdentifier": run["activityIdentifier"],
        **{name: run["counts"][name] for name in sorted(run["counts"])},
        "error": None,
        "state": "Succeeded",
        "timeBegan": run["startTime"],
        "timeEnded": run["endTime"],
    }
    assert status["lastSuccessfulExecution"] == status["lastExecution"]
    assert status["lastSuccessfulExecutionWithExports"] == status["lastExecution"]
    assert status["progress"] == []
    assert status["countSuccessiveCompleteFailures"] == 0
    assert parsed_time(status["steadyStateFirstAchievedTime"]) >= parsed_time(run["startTime"])
    assert status["steadyStateFirstAchievedTime"] == status["steadyStateLastAchievedTime"]
    entries = {entry["key"]: entry["value"] for entry in status["synchronizedEntryCountByType"]}
    assert list(entries) == ENTRY_TYPES
    there = application.control("GET", "")["counts"]
    assert (entries["User to User"], entries["Site to Site"]) == (there["users"]["live"], there["sites"]["live"])
    assert all(value > 0 for value in entries.values())


def test_a_run_that_writes_nothing_leaves_the_last_one_with_exports(application: Application) -> None:
    application.register()
    first = application.synchronize()["activityIdentifier"]
    second = application.synchronize()

    status = application.job()["status"]

    assert second["counts"]["countExported"] == 0
    assert status["lastExecution"]["activityIdentifier"] == second["activityIdentifier"]
    assert status["lastSuccessfulExecution"]["activityIdentifier"] == second["activityIdentifier"]
    assert status["lastSuccessfulExecutionWithExports"]["activityIdentifier"] == first
    assert parsed_time(status["steadyStateFirstAchievedTime"]) < parsed_time(status["steadyStateLastAchievedTime"])


def test_after_a_failed_run_its_error_is_told_and_the_last_good_run_stays(application: Application) -> None:
    application.register()
    good = application.synchronize()
    steady = application.job()["status"]["steadyStateLastAchievedTime"]
    application.control("POST", "/faults", [{"path": "/users/delta", "kind": "status", "status": 403}])
    bad = application.synchronize()

    job = application.job()

    status = job["status"]
    assert (job["schedule"]["state"], status["code"]) == ("Active", "Active")
    assert status["lastExecution"]["activityIdentifier"] == bad["activityIdentifier"]
    assert status["lastExecution"]["state"] == "Failed"
    assert status["lastExecution"]["error"] == bad["error"]
    assert status["lastExecution"]["error"]["tenantActionable"] is True
    assert "User.Read.All" in status["lastExecution"]["error"]["message"]
    assert status["lastSuccessfulExecution"]["activityIdentifier"] == good["activityIdentifier"]
    assert status["lastSuccessfulExecution"]["error"] is None
    assert status["steadyStateLastAchievedTime"] == steady
    # The other parts went well, so that the run did not fail as a whole.
    assert status["countSuccessiveCompleteFailures"] == 0


def test_runs_that_fail_as_a_whole_are_counted_until_a_good_one(application: Application) -> None:
    application.register()
    application.control("POST", "/faults", [{"path": "/delta", "kind": "status", "status": 403}])
    failures = []
    for _ in range(2):
        application.synchronize()
        failures.append(application.job()["status"]["countSuccessiveCompleteFailures"])
    failed = application.job()["status"]
    application.control("DELETE", "/faults")
    application.synchronize()

    assert failures == [1, 2]
    assert failed["steadyStateFirstAchievedTime"] == NEVER
    assert (failed["lastSuccessfulExecution"], failed["lastExecution"]["state"]) == (None, "Failed")
    assert application.job()["status"]["countSuccessiveCompleteFailures"] == 0


@pytest.mark.parametrize("version", ["v1.0", "beta", "V1.0", "BETA"])
@pytest.mark.parametrize("owner", ["applications", "servicePrincipals", "serviceprincipals", "APPLICATIONS"])
@pytest.mark.parametrize("end", ["", "/"], ids=["", "slash"])
def test_both_versions_and_owners_are_served_in_any_spelling(
    held: Application, version: str, owner: str, end: str
) -> None:
    entity = held.register()
    proper = {"applications": "applications", "serviceprincipals": "servicePrincipals"}[owner.lower()]
    owner_id = APPLICATION["objectId" if proper == "applications" else "servicePrincipalId"]
    encoded = owner_id.replace("-", "%2D")
    base = f"{held.host.url}/{version.lower()}/$metadata#{proper}"

    for written, shown in ((owner_id, owner_id), (encoded, owner_id), (owner_id.upper(), None)):
        path = f"/{version}/{owner}/{written}/synchronization/jobs"
        listed = held.client.get(path + end)
        assert listed.status_code == 200, path
        assert [job["id"] for job in listed.json()["value"]] == [entity["jobId"]]
        for job_id in (entity["jobId"], entity["jobId"].upper(), entity["jobId"].replace(".", "%2E")):
            single = held.client.get(f"{path}/{job_id}{end}")
            assert single.status_code == 200, f"{path}/{job_id}"
            assert single.json()["id"] == entity["jobId"]
            if shown:
                assert single.json()["@odata.context"] == f"{base}('{shown}')/synchronization/jobs/$entity"
        if shown:
            assert listed.json()["@odata.context"] == f"{base}('{shown}')/synchronization/jobs"


def ask(application: Application, version: str, work: Callable[[GraphServiceClient], Awaitable[T]]) -> T:
    """Lets the SDK's own client, aimed at the product, do something."""

    async def do() -> T:
        # The SDK's transport does not pass its closing on to the one beneath, so that one is kept at hand.
        async with httpx.AsyncHTTPTransport() as transport:
            client = GraphClientFactory.create_with_default_middleware(
                client=httpx.AsyncClient(transport=transport), options=options
            )
            adapter = GraphRequestAdapter(AnonymousAuthenticationProvider(), client)
            adapter.base_url = f"{application.host.url}/{version}"
            return await work(GraphServiceClient(request_adapter=adapter))

    return asyncio.run(do())


def owner_of(client: GraphServiceClient, owner: str) -> Any:
    """The request builder of the application or the service principal that the organization was registered with."""
    if owner == "applications":
        return client.applications.by_application_id(APPLICATION["objectId"])
    return client.service_principals.by_service_principal_id(APPLICATION["servicePrincipalId"])


def check_typed(typed: Any, raw: Any, path: str = "") -> None:
    """The SDK's object says what the JSON says, and nothing was left over that it has no name for."""
    if isinstance(raw, dict):
        left_over = {name: value for name, value in typed.additional_data.items() if name != "@odata.context"}
        assert left_over == {}, path
        names = {name: re.sub("([A-Z])", r"_\1", name).lower() for name in raw if not name.startswith("@")}
        for name, attribute in names.items():
            check_typed(getattr(typed, attribute), raw[name], f"{path}.{name}")
        # What the JSON does not name is not there either.
        for field in dataclasses.fields(typed):
            if field.name not in {*names.values(), "additional_data", "backing_store"}:
                assert getattr(typed, field.name) is None, f"{path}.{field.name}"
    elif isinstance(raw, list):
        assert len(typed) == len(raw), path
        for index, (item, raw_item) in enumerate(zip(typed, raw, strict=True)):
            check_typed(item, raw_item, f"{path}[{index}]")
    elif isinstance(typed, Enum):
        assert typed.value == raw, path
    elif isinstance(typed, datetime):
        assert typed == datetime.fromisoformat(raw), path
    elif isinstance(typed, timedelta):
        assert (typed, raw) == (timedelta(minutes=40), "PT40M"), path
    else:
        assert (type(typed), typed) == (type(raw), raw), path


@pytest.mark.parametrize("owner", ["applications", "servicePrincipals"])
def test_the_sdk_reads_every_member_at_every_stage(staged: Application, stage: Stage, owner: str) -> None:
    async def read(client: GraphServiceClient) -> tuple[Any, Any]:
        jobs = owner_of(client, owner).synchronization.jobs
        listed = await jobs.get()
        return listed, await jobs.by_synchronization_job_id(listed.value[0].id).get()

    listed, single = ask(staged, "v1.0", read)

    raw = staged.client.get(f"{jobs_path('v1.0', owner)}/{single.id}").json()
    for progress in raw["status"]["progress"]:
        # The moment of observation is that of the request.
        progress["progressObservationDateTime"] = None
    for job in (listed.value[0], single):
        for progress in job.status.progress:
            assert abs(progress.progress_observation_date_time - staged.clock()) < timedelta(minutes=1)
            progress.progress_observation_date_time = None
        check_typed(job, raw)
    assert single.additional_data == {"@odata.context": raw["@odata.context"]}
    assert listed.additional_data in ({}, {"@odata.context": raw["@odata.context"].removesuffix("/$entity")})
    assert [type(job) for job in (*listed.value, single)] == [SynchronizationJob] * 2
    # What the raw comparison rests on: the stage is what its name says.
    assert bool(single.status.progress) == (stage == "running")
    assert (single.status.last_execution is not None) == (stage in ("succeeded", "failed"))


def test_the_sdk_reads_the_beta_version_alike(held: Application) -> None:
    bring_to(held, "succeeded")

    async def read(client: GraphServiceClient) -> Any:
        return await owner_of(client, "applications").synchronization.jobs.get()

    assert ask(held, "beta", read).value[0].id == held.job()["id"]


@pytest.mark.parametrize("owner", ["applications", "servicePrincipals"])
def test_the_sdk_gets_an_error_that_it_understands(held: Application, owner: str) -> None:
    held.register()

    async def read(client: GraphServiceClient) -> Any:
        return await owner_of(client, owner).synchronization.jobs.by_synchronization_job_id("M365OrgCache.1.2").get()

    with pytest.raises(ODataError) as raised:
        ask(held, "v1.0", read)

    error = raised.value
    assert error.response_status_code == 404
    assert error.error
    assert error.error.code == "Request_ResourceNotFound"
    assert error.error.message
    assert error.error.details == []
    inner = error.error.inner_error
    assert inner
    assert UUID(inner.request_id)
    assert UUID(inner.client_request_id)
    assert inner.date
    assert abs(inner.date.replace(tzinfo=None) - held.clock().replace(tzinfo=None)) < timedelta(minutes=1)
    assert (error.additional_data, error.error.additional_data, inner.additional_data) == ({}, {}, {})


def test_the_sdk_gets_an_error_for_what_is_not_there_at_all(held: Application) -> None:
    async def read(client: GraphServiceClient) -> Any:
        return await owner_of(client, "applications").synchronization.get()

    async def remove(client: GraphServiceClient) -> Any:
        jobs = owner_of(client, "applications").synchronization.jobs
        return await jobs.by_synchronization_job_id("M365OrgCache.1.2").schema.delete()

    for work, status in ((read, 404), (remove, 405)):
        with pytest.raises(ODataError) as raised:
            ask(held, "v1.0", work)
        assert raised.value.response_status_code == status
        assert raised.value.error
        assert raised.value.error.message


def test_numbers_are_written_as_integers(held: Application) -> None:
    bring_to(held, "succeeded")
    text = held.client.get(jobs_path()).text

    numbers = re.findall(r'"(?:count\w+|completedUnits|totalUnits)":([^,}\]]+)', text)
    numbers += re.findall(r'"key":"[^"]+","value":([^,}\]]+)', text)

    assert len(numbers) >= 1 + 3 * 9 + len(ENTRY_TYPES)
    assert [found for found in numbers if not re.fullmatch(r"\d+", found)] == []
    assert orjson.loads(text)["value"][0]["status"]["countSuccessiveCompleteFailures"] == 0


def test_a_job_is_listed_under_its_own_application_only(held: Application) -> None:
    other = another_organization()
    held.register()
    held.client.post("/organizations", json=other).raise_for_status()

    mine = held.client.get(jobs_path()).json()["value"]
    others = held.client.get(jobs_path(owner_id=other["application"]["objectId"])).json()["value"]

    assert [job["id"] for job in mine] == [held.client.get(f"/organizations/{NAME}").json()["jobId"]]
    assert [job["id"].split(".")[1] for job in others] == [UUID(other["tenantId"]).hex]
