"""An unmodified msgraph-sdk client starts, pauses and restarts the job of a running app."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from kiota_abstractions.authentication.anonymous_authentication_provider import AnonymousAuthenticationProvider
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.synchronization_job_restart_criteria import SynchronizationJobRestartCriteria
from msgraph.generated.models.synchronization_job_restart_scope import SynchronizationJobRestartScope
from msgraph.generated.service_principals.item.synchronization.jobs.item.restart.restart_post_request_body import (
    RestartPostRequestBody,
)
from msgraph.graph_request_adapter import GraphRequestAdapter
from msgraph.graph_service_client import GraphServiceClient

from local.tenant import Directory, Options, TenantServer
from tests.application import APPLICATION, Application, running_application

PRINCIPAL = APPLICATION["servicePrincipalId"]


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Application]:
    with (
        TenantServer(Directory(users=60, groups=6, sites=4), Options(page_size=20)) as tenant,
        running_application(monkeypatch, database_url, tenant, GRAPH_PAGE_SIZE="20") as running,
    ):
        running.register()
        yield running


def with_sdk(application: Application, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """What the SDK's request builder of the job gives."""

    async def call() -> Any:
        async with httpx.AsyncClient() as client:
            adapter = GraphRequestAdapter(AnonymousAuthenticationProvider(), client)
            adapter.base_url = f"{application.host.url}/v1.0"
            jobs = (
                GraphServiceClient(request_adapter=adapter)
                .service_principals.by_service_principal_id(PRINCIPAL)
                .synchronization.jobs
            )
            return await work(jobs)

    return asyncio.run(call())


def read(application: Application) -> Any:
    job_id = application.job()["id"]
    return with_sdk(application, lambda jobs: jobs.by_synchronization_job_id(job_id).get())


def act(application: Application, action: str, *body: Any) -> None:
    job_id = application.job()["id"]
    with_sdk(application, lambda jobs: getattr(jobs.by_synchronization_job_id(job_id), action).post(*body))
    application.host.drain()


def test_the_sdk_counts_the_jobs(application: Application) -> None:
    assert with_sdk(application, lambda jobs: jobs.count.get()) == 1


def test_start_sets_a_new_job_going_and_a_second_start_starts_nothing(application: Application) -> None:
    assert read(application).status.code.value == "NotConfigured"
    act(application, "start")
    job = read(application)
    assert (job.schedule.state.value, job.status.code.value) == ("Active", "Active")
    first = job.status.last_execution.activity_identifier

    act(application, "start")
    assert read(application).status.last_execution.activity_identifier == first


def test_a_paused_job_rests_and_goes_on_where_it_was(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 429, "retryAfter": 60, "times": 1}])
    act(application, "start")
    run = application.sync_state()["currentState"]
    act(application, "pause")

    application.clock.forward(hours=23)
    application.plan()
    job = read(application)
    assert (job.schedule.state.value, job.status.code.value) == ("Disabled", "Paused")
    assert application.sync_state()["currentState"] == run

    act(application, "start")
    assert read(application).status.code.value == "Active"
    assert application.compare().differences == []


def test_restart_with_none_leaves_a_job_that_is_going_alone(application: Application) -> None:
    act(application, "start")
    before = application.sync_state()
    criteria = SynchronizationJobRestartCriteria(reset_scope=SynchronizationJobRestartScope("None"))
    body = RestartPostRequestBody()
    body.criteria = criteria
    act(application, "restart", body)
    assert application.sync_state() == before


@pytest.mark.parametrize(
    ("scope", "expected"), [(None, "Full"), ("Watermark", "Full"), ("Full", "Full"), ("QuarantineState", "Incremental")]
)
def test_restart_throws_away_what_its_scope_says(application: Application, scope: str | None, expected: str) -> None:
    act(application, "start")
    body = RestartPostRequestBody()
    if scope is not None:
        body.criteria = SynchronizationJobRestartCriteria(reset_scope=SynchronizationJobRestartScope(scope))
    act(application, "restart", body)
    state = application.sync_state()
    assert (state["syncStatus"], state["type"]) == ("Success", expected)
    assert application.compare().differences == []


def test_a_restart_ends_the_run_under_way(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 429, "retryAfter": 600, "times": 1}])
    stuck = application.synchronize()
    act(application, "restart", RestartPostRequestBody())
    assert application.run(stuck["activityIdentifier"])["status"] == "Cancelled"
    # The wait that Graph asked for is not over with the run.
    application.clock.forward(minutes=10)
    application.plan()
    assert application.sync_state()["syncStatus"] == "Success"
    assert application.compare().differences == []


def test_refused_credentials_quarantine_the_job_and_it_leaves_by_itself(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/delta", "status": 401}])
    act(application, "start")
    job = read(application)
    assert job.status.code.value == "Quarantine"
    assert job.status.quarantine.reason.value == "EncounteredQuarantineException"
    assert job.status.quarantine.error.tenant_actionable
    assert application.sync_state()["syncStatus"] == "Error"

    application.control("DELETE", "/faults")
    application.clock.forward(hours=5)
    application.plan()
    assert read(application).status.code.value == "Quarantine"
    application.clock.forward(hours=1)
    application.plan()
    job = read(application)
    assert (job.status.code.value, job.status.quarantine) == ("Active", None)
    assert application.compare().differences == []


def test_an_unknown_scope_is_refused_and_nothing_happens(application: Application) -> None:
    application.synchronize()
    path = f"/beta/applications/{APPLICATION['objectId']}/synchronization/jobs/{application.job()['id']}/restart"
    before = application.sync_state()
    answer = application.client.post(path, json={"criteria": {"resetScope": "Everything"}})
    assert answer.status_code == 400
    assert "ConnectorDataStore" in answer.json()["error"]["message"]
    assert application.sync_state() == before


@pytest.mark.parametrize("body", ["", "{}", '{"criteria": {}}', '{"criteria": null}'])
def test_all_ways_to_say_nothing_mean_the_default_restart(application: Application, body: str) -> None:
    application.synchronize()
    path = f"/V1.0/Applications/{APPLICATION['objectId']}/synchronization/jobs/{application.job()['id']}/restart/"
    answer = application.client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 204
    application.host.drain()
    assert application.sync_state()["type"] == "Full"


def test_actions_on_a_job_that_is_not_there_are_not_found(application: Application) -> None:
    for action in ("start", "pause", "restart"):
        with pytest.raises(ODataError) as failed:
            with_sdk(
                application,
                lambda jobs, action=action: getattr(jobs.by_synchronization_job_id("M365OrgCache.x.y"), action).post(
                    *([RestartPostRequestBody()] if action == "restart" else [])
                ),
            )
        assert failed.value.response_status_code == 404
