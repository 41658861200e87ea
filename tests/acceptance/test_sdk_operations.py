"""An unmodified msgraph-sdk client does whatever it offers on synchronization, under both roots."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import inspect
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import orjson
import pytest
from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph.generated.models.attribute_mapping import AttributeMapping
from msgraph.generated.models.attribute_mapping_source import AttributeMappingSource
from msgraph.generated.models.key_value_pair import KeyValuePair
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.object_mapping import ObjectMapping
from msgraph.generated.models.string_key_string_value_pair import StringKeyStringValuePair
from msgraph.generated.models.synchronization_error import SynchronizationError
from msgraph.generated.models.synchronization_job import SynchronizationJob
from msgraph.generated.models.synchronization_job_application_parameters import SynchronizationJobApplicationParameters
from msgraph.generated.models.synchronization_job_collection_response import SynchronizationJobCollectionResponse
from msgraph.generated.models.synchronization_job_restart_criteria import SynchronizationJobRestartCriteria
from msgraph.generated.models.synchronization_job_restart_scope import SynchronizationJobRestartScope
from msgraph.generated.models.synchronization_job_subject import SynchronizationJobSubject
from msgraph.generated.models.synchronization_quarantine import SynchronizationQuarantine
from msgraph.generated.models.synchronization_schedule import SynchronizationSchedule
from msgraph.generated.models.synchronization_schema import SynchronizationSchema
from msgraph.generated.models.synchronization_secret import SynchronizationSecret
from msgraph.generated.models.synchronization_secret_key_string_value_pair import (
    SynchronizationSecretKeyStringValuePair,
)
from msgraph.generated.models.synchronization_status import SynchronizationStatus
from msgraph.generated.models.synchronization_status_code import SynchronizationStatusCode
from msgraph.generated.models.synchronization_template import SynchronizationTemplate
from msgraph.generated.models.synchronization_template_collection_response import (
    SynchronizationTemplateCollectionResponse,
)
from msgraph.generated.service_principals.item.synchronization.jobs.item.provision_on_demand import (
    provision_on_demand_post_request_body as provisioning,
)
from msgraph.generated.service_principals.item.synchronization.jobs.item.restart.restart_post_request_body import (
    RestartPostRequestBody,
)
from msgraph.generated.service_principals.item.synchronization.jobs.item.validate_credentials import (
    validate_credentials_post_request_body as validation,
)
from msgraph.generated.service_principals.item.synchronization.secrets.secrets_put_request_body import (
    SecretsPutRequestBody,
)
from msgraph.graph_request_adapter import GraphRequestAdapter, options
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory
from sqlalchemy import select

from local.tenant import Directory, Options, TenantServer
from shared.cache.tables import objects
from shared.models.synchronization import parse_duration
from tests.api.support import deliver, held_application, rows
from tests.application import APPLICATION, NAME, Application, running_application
from tests.databases import Databases

ROOTS = ("applications", "servicePrincipals")
TEMPLATE = "M365OrgCache"
ENTRY_TYPES = [
    "User to User", "Group to Group", "GroupMember to GroupMember", "Site to Site", "Mailbox to Mailbox",
    "Team to Team", "Channel to Channel",
]  # fmt: skip
DELTA_PARTS = ["users", "groups", "groupMembers", "sites", "teams"]

each_root = pytest.mark.parametrize("root", ROOTS)


# --- The SDK, aimed at a running app ------------------------------------------------------------------------------


def synchronization_of(client: GraphServiceClient, root: str) -> Any:
    """The request builder of everything below ``synchronization``."""
    if root == "applications":
        return client.applications.by_application_id(APPLICATION["objectId"]).synchronization
    return client.service_principals.by_service_principal_id(APPLICATION["servicePrincipalId"]).synchronization


def ask(application: Application, work: Callable[[Any], Awaitable[Any]], root: str = "servicePrincipals") -> Any:
    """What the SDK's own client makes of the answer, under v1.0 for one root and beta for the other."""

    async def do() -> Any:
        # The SDK's transport does not pass its closing on to the one beneath, so that one is kept at hand.
        async with httpx.AsyncHTTPTransport(verify=False) as transport:
            client = GraphClientFactory.create_with_default_middleware(
                client=httpx.AsyncClient(transport=transport), options=options
            )
            adapter = GraphRequestAdapter(AnonymousAuthenticationProvider(), client)
            adapter.base_url = f"{application.host.url}/{'beta' if root == 'applications' else 'v1.0'}"
            return await work(synchronization_of(GraphServiceClient(request_adapter=adapter), root))

    return asyncio.run(do())


def on_job(application: Application, work: Callable[[Any], Awaitable[Any]], root: str = "servicePrincipals") -> Any:
    """As ``ask``, for what is below the one job; what it set going is done when it returns."""
    job_id = application.job()["id"]
    answer = ask(
        application, lambda synchronization: work(synchronization.jobs.by_synchronization_job_id(job_id)), root
    )
    application.host.drain()
    return answer


def told(raised: pytest.ExceptionInfo[ODataError]) -> Any:
    """What the error says."""
    assert raised.value.error
    return raised.value.error


def query(builder: Any, **parameters: Any) -> RequestConfiguration[Any]:
    """Query options, as the SDK's users give them."""
    kind = getattr(builder, f"{type(builder).__name__}GetQueryParameters")
    return RequestConfiguration(query_parameters=kind(**parameters))


def read_rules(job: Any) -> Awaitable[SynchronizationSchema]:
    """The schema without its directories, which take the SDK most of its time."""
    return job.schema.get(query(job.schema, select=["synchronizationRules"]))


def settings(**values: str) -> SynchronizationJob:
    pairs = [KeyValuePair(name=name, value=value) for name, value in values.items()]
    return SynchronizationJob(synchronization_job_settings=pairs)


def saved_credentials() -> Any:
    return validation.ValidateCredentialsPostRequestBody(use_saved_credentials=True)


def subject(object_id: str, kind: str) -> Any:
    asked = SynchronizationJobSubject(object_id=object_id, object_type_name=kind)
    parameters = SynchronizationJobApplicationParameters(rule_id=TEMPLATE, subjects=[asked])
    return provisioning.ProvisionOnDemandPostRequestBody(parameters=[parameters])


# --- What the SDK read --------------------------------------------------------------------------------------------


def left_over(typed: Any, path: str = "$") -> dict[str, Any]:
    """What of an answer the SDK has no name for, at any depth, but for ``@odata.context``."""
    if isinstance(typed, list):
        found = [left_over(item, f"{path}[{index}]") for index, item in enumerate(typed)]
        return {name: value for part in found for name, value in part.items()}
    if not dataclasses.is_dataclass(typed):
        return {}
    unknown = {
        f"{path}.{name}": value
        for name, value in getattr(typed, "additional_data", {}).items()
        if name != "@odata.context"
    }
    for field in dataclasses.fields(typed):
        if field.name not in ("additional_data", "backing_store"):
            unknown |= left_over(getattr(typed, field.name), f"{path}.{field.name}")
    return unknown


def check_read(typed: Any, raw: Any) -> None:
    """The SDK read what the JSON says, and nothing was left over."""
    assert left_over(typed) == {}
    check_typed(typed, raw, "$")


def check_typed(typed: Any, raw: Any, path: str) -> None:
    """The SDK's object says what the JSON says, enums and all, and no more."""
    if isinstance(raw, dict):
        names = {
            name: "odata_" + snake_case(name[7:]) if name.startswith("@odata.") else snake_case(name)
            for name in raw
            if name != "@odata.context"
        }
        for name, attribute in names.items():
            check_typed(getattr(typed, attribute), raw[name], f"{path}.{name}")
        # What the JSON does not name is not there either.
        for field in dataclasses.fields(typed):
            if field.name not in {*names.values(), "additional_data", "backing_store"}:
                assert getattr(typed, field.name) is None, f"{path}.{field.name}"
    elif isinstance(typed, list) and isinstance(raw, str):
        assert ", ".join(flag.value for flag in typed) == raw, path
    elif isinstance(raw, list):
        assert len(typed) == len(raw), path
        for index, (item, raw_item) in enumerate(zip(typed, raw, strict=True)):
            check_typed(item, raw_item, f"{path}[{index}]")
    elif isinstance(typed, Enum):
        assert typed.value == raw, path
    elif isinstance(typed, datetime):
        assert typed == datetime.fromisoformat(raw), path
    elif isinstance(typed, timedelta):
        assert typed == parse_duration(raw), path
    elif isinstance(typed, UUID):
        assert str(typed) == raw, path
    else:
        assert (type(typed), typed) == (type(raw), raw), path


def snake_case(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower().lstrip("_")


# --- What the SDK offers ------------------------------------------------------------------------------------------


def offered(builder: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The operations of a request builder and of all below it, as one writes them."""
    for name, member in inspect.getmembers(type(builder)):
        if name in ("get", "post", "put", "patch", "delete"):
            yield ".".join((*path, name))
        elif isinstance(member, property):
            yield from offered(getattr(builder, name), (*path, name))
        elif name.startswith("by_"):
            yield from offered(getattr(builder, name)("id"), (*path, name))


def all_offered(root: str) -> set[str]:
    client = GraphServiceClient(request_adapter=GraphRequestAdapter(AnonymousAuthenticationProvider()))
    return set(offered(synchronization_of(client, root)))


def reach(synchronization: Any, operation: str, job_id: str) -> Callable[..., Awaitable[Any]]:
    """The operation, of this job, of the one template and of a directory of its schema."""
    ids = {
        "by_synchronization_job_id": job_id,
        "by_synchronization_template_id": TEMPLATE,
        "by_directory_definition_id": "microsoft365",
    }
    found = synchronization
    for step in operation.split("."):
        found = getattr(found, step)(ids[step]) if step in ids else getattr(found, step)
    return found


class Served(NamedTuple):
    """An operation that is served: the type of its answer, and the body that it is called with."""

    answer: type[Any] | None
    body: Any = None


JOB = "jobs.by_synchronization_job_id"
ONE_TEMPLATE = "templates.by_synchronization_template_id"
SERVED: dict[str, Served] = {
    "jobs.get": Served(SynchronizationJobCollectionResponse),
    "jobs.count.get": Served(int),
    "templates.get": Served(SynchronizationTemplateCollectionResponse),
    "templates.count.get": Served(int),
    f"{ONE_TEMPLATE}.get": Served(SynchronizationTemplate),
    f"{ONE_TEMPLATE}.schema.get": Served(SynchronizationSchema),
    "jobs.validate_credentials.post": Served(None, saved_credentials()),
    f"{JOB}.validate_credentials.post": Served(None, saved_credentials()),
    f"{JOB}.start.post": Served(None),
    f"{JOB}.get": Served(SynchronizationJob),
    f"{JOB}.patch": Served(SynchronizationJob, settings(SynchronizationInterval="PT2H")),
    f"{JOB}.schema.get": Served(SynchronizationSchema),
    f"{JOB}.schema.patch": Served(None, SynchronizationSchema()),
    f"{JOB}.provision_on_demand.post": Served(StringKeyStringValuePair, subject("nobody", "User")),
    f"{JOB}.pause.post": Served(None),
    f"{JOB}.restart.post": Served(None, RestartPostRequestBody()),
    "secrets.put": Served(None, SecretsPutRequestBody(value=[])),
    f"{JOB}.delete": Served(None),
    "jobs.post": Served(SynchronizationJob, SynchronizationJob(template_id=TEMPLATE)),
}
"""In an order in which they can be called one after the other."""

NOT_SERVED = sorted(all_offered("servicePrincipals") - SERVED.keys())


@pytest.fixture(scope="module")
def tenant() -> Iterator[TenantServer]:
    with TenantServer(Directory(users=30, groups=12, sites=4, seed=5), Options(page_size=20)) as tenant:
        yield tenant


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, databases: Databases, tenant: TenantServer) -> Iterator[Application]:
    """The product with a registered organization; what is switched on in its tenant ends with the test."""
    with databases.fresh("sqlite") as url, running_application(monkeypatch, url, tenant) as running:
        running.register()
        yield running
        running.control("DELETE", "/faults")
        running.host.drain()


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch, databases: Databases) -> Iterator[Application]:
    """The product with a registered organization, for what needs no tenant; runs stay queued."""
    with databases.fresh("sqlite") as url, held_application(monkeypatch, url) as running:
        running.register()
        yield running


def test_both_roots_offer_the_same_and_all_that_is_served_is_among_it() -> None:
    assert all_offered("applications") == all_offered("servicePrincipals") > SERVED.keys()
    # A walk that finds too little would let the tests below promise too much.
    assert {"get", "put", "delete", "acquire_access_token.post", "secrets.count.get"} < set(NOT_SERVED)
    assert len([name for name in NOT_SERVED if "bulk_upload" in name]) == 6


@each_root
def test_every_operation_that_is_served_answers_what_the_sdk_reads_as_its_type(
    application: Application, root: str
) -> None:
    for operation, served in SERVED.items():
        jobs = application.client.get(path(root)).json()["value"]
        job_id = jobs[0]["id"] if jobs else ""
        body = [] if served.body is None else [served.body]
        answer = ask(application, lambda s, do=operation, id=job_id, body=body: reach(s, do, id)(*body), root)
        application.host.drain()

        if served.answer in (int, None):
            assert answer == (None if served.answer is None else 1), operation
        else:
            assert type(answer) is served.answer, operation
            assert left_over(answer) == {}, operation


def path(root: str, rest: str = "jobs") -> str:
    """The path below the other version than the SDK is aimed at: both say the same."""
    owner_id = APPLICATION["objectId" if root == "applications" else "servicePrincipalId"]
    return f"/{'v1.0' if root == 'applications' else 'beta'}/{root}/{owner_id}/synchronization/{rest}"


def body_of(verb: Callable[..., Any]) -> list[Any]:
    """An empty body of the type that the operation takes, if it takes one."""
    parameter = inspect.signature(verb).parameters.get("body")
    if parameter is None:
        return []
    if parameter.annotation == "bytes":
        return [b"{}"]
    package, name = verb.__module__.rpartition(".")[0], parameter.annotation
    try:
        module = importlib.import_module(f"{package}.{snake_case(name)}")
    except ModuleNotFoundError:
        module = importlib.import_module(f"msgraph.generated.models.{snake_case(name)}")
    return [getattr(module, name)()]


@each_root
def test_what_the_sdk_offers_and_is_not_served_is_an_error_that_the_sdk_understands(
    idle: Application, root: str
) -> None:
    job_id = idle.job()["id"]
    before = rows(idle)

    async def call_all(synchronization: Any) -> dict[str, ODataError | None]:
        answers: dict[str, ODataError | None] = {}
        for operation in NOT_SERVED:
            call = reach(synchronization, operation, job_id)
            try:
                await call(*body_of(call))
                answers[operation] = None
            except ODataError as error:
                answers[operation] = error
        return answers

    for operation, error in ask(idle, call_all, root).items():
        assert error is not None, operation
        assert error.response_status_code in (404, 405, 501), operation
        assert error.error, operation
        assert error.error.code, operation
        assert error.error.message, operation
        assert error.error.inner_error, operation
        assert UUID(error.error.inner_error.request_id), operation
        assert left_over(error.error) == {}, operation
    assert rows(idle) == before


# --- Reading ------------------------------------------------------------------------------------------------------


@each_root
def test_list_and_job_and_templates_are_read_member_by_member(application: Application, root: str) -> None:
    application.synchronize()
    job_id = application.job()["id"]
    read: dict[str, Callable[[Any], Awaitable[Any]]] = {
        "jobs": lambda s: s.jobs.get(),
        f"jobs/{job_id}": lambda s: s.jobs.by_synchronization_job_id(job_id).get(),
        f"jobs/{job_id}/schema?$select=synchronizationRules": lambda s: read_rules(
            s.jobs.by_synchronization_job_id(job_id)
        ),
        "templates": lambda s: s.templates.get(),
        f"templates/{TEMPLATE}": lambda s: s.templates.by_synchronization_template_id(TEMPLATE).get(),
    }
    for where, work in read.items():
        check_read(ask(application, work, root), application.client.get(path(root, where)).raise_for_status().json())


def test_a_whole_schema_is_read_member_by_member_and_written_back_without_a_new_run(application: Application) -> None:
    application.synchronize()
    raw = application.client.get(path("servicePrincipals", f"jobs/{application.job()['id']}/schema")).json()
    before = rows(application)

    async def round_trip(job: Any) -> SynchronizationSchema:
        schema = await job.schema.get()
        await job.schema.patch(schema)
        return schema

    check_read(on_job(application, round_trip), raw)
    assert rows(application) == before


def test_a_list_is_read_by_the_sdks_own_query_options_and_next_links(idle: Application) -> None:
    ids = [idle.job()["id"]]
    for number in (1, 2):
        identity = {"tenantId": f"00000000-0000-4000-8000-{number:012}", "name": f"fabrikam{number}.com"}
        ids.append(idle.client.post("/organizations", json=idle.registration(**identity)).json()["jobId"])

    async def read(synchronization: Any) -> list[Any]:
        jobs = synchronization.jobs
        pages = [await jobs.get(query(jobs, top=2, count=True, select=["schedule"]))]
        while pages[-1].odata_next_link:
            pages.append(await jobs.with_url(pages[-1].odata_next_link).get())
        return [*pages, await jobs.get(query(jobs, filter=f"id eq '{ids[1]}'", skip=0))]

    *pages, found = ask(idle, read)
    assert [[job.id for job in page.value] for page in pages] == [ids[:2], ids[2:]]
    assert {(page.odata_count, job.status, job.schedule.state.value) for page in pages for job in page.value} == {
        (3, None, "Disabled")
    }
    assert [job.id for job in found.value] == [ids[1]]
    with pytest.raises(ODataError) as raised:
        ask(idle, lambda s: s.jobs.get(query(s.jobs, orderby=["id"])))
    assert raised.value.response_status_code == 400


@each_root
def test_a_job_and_a_template_are_read_with_their_schema_when_it_is_expanded(idle: Application, root: str) -> None:
    job_id = idle.job()["id"]

    async def expand(synchronization: Any) -> list[Any]:
        jobs, templates = synchronization.jobs, synchronization.templates
        one, template = jobs.by_synchronization_job_id(job_id), templates.by_synchronization_template_id(TEMPLATE)
        if root == "applications":
            return [await one.get(query(one, expand=["schema"]))]
        return [await template.get(query(template, expand=["schema"]))]

    where = f"jobs/{job_id}" if root == "applications" else f"templates/{TEMPLATE}"
    raw = idle.client.get(path(root, f"{where}?$expand=schema")).raise_for_status().json()
    assert len(raw["schema"]["directories"]) == 2
    for typed in ask(idle, expand, root):
        check_read(typed, raw)


# --- Creating, changing, deleting ---------------------------------------------------------------------------------


@each_root
def test_a_deleted_job_is_not_found_until_a_new_one_is_created_which_is_born_disabled(
    application: Application, root: str
) -> None:
    application.synchronize()
    old = application.job()
    on_old = old["id"]

    async def replace_job(synchronization: Any) -> SynchronizationJob:
        jobs = synchronization.jobs
        await jobs.by_synchronization_job_id(on_old).delete()
        assert (await jobs.get()).value == []
        assert await jobs.count.get() == 0
        with pytest.raises(ODataError) as raised:
            await jobs.by_synchronization_job_id(on_old).get()
        assert raised.value.response_status_code == 404
        assert told(raised).code == "Request_ResourceNotFound"
        return await jobs.post(SynchronizationJob(template_id=TEMPLATE))

    created = ask(application, replace_job, root)

    assert created.id != on_old
    assert (created.template_id, created.schedule.state.value, created.status.code.value) == (
        TEMPLATE,
        "Disabled",
        "NotConfigured",
    )
    assert created.status.last_execution is None
    # What was synchronized stays, and the new job's first run finds it all in its place.
    raw = application.job()
    check_read(created, raw)
    assert raw["status"]["synchronizedEntryCountByType"] == old["status"]["synchronizedEntryCountByType"]
    on_job(application, lambda job: job.start.post(), root)
    assert application.run(application.job()["status"]["lastExecution"]["activityIdentifier"])["type"] == "Full"
    assert application.job()["status"]["lastExecution"]["countExported"] == 0
    assert application.compare().differences == []


def quarantine_it(application: Application) -> None:
    application.start()
    error = SynchronizationError(code="Mine", message="Hold on.")
    quarantine = SynchronizationQuarantine(error=error)
    status = SynchronizationStatus(code=SynchronizationStatusCode.Quarantine, quarantine=quarantine)
    on_job(application, lambda job: job.patch(SynchronizationJob(status=status)))


def pause_it(application: Application) -> None:
    on_job(application, lambda job: job.pause.post())


def change_all_settings(application: Application) -> None:
    changed = settings(QuarantineTooManyDeletesThreshold="None", SynchronizationInterval="P1DT1S", Parts="teams,users")
    on_job(application, lambda job: job.patch(changed))


def test_a_job_that_is_written_back_as_it_was_read_stays_as_it_is(idle: Application) -> None:
    async def round_trip(job: Any) -> SynchronizationJob:
        return await job.patch(await job.get())

    steps: list[tuple[Callable[[Application], object], str]] = [
        (lambda _: None, "NotConfigured"),
        (Application.start, "NotRun"),
        (pause_it, "Paused"),
        (quarantine_it, "Quarantine"),
        (change_all_settings, "Quarantine"),
    ]
    for step, code in steps:
        step(idle)
        before, job_before = rows(idle), idle.job()
        assert job_before["status"]["code"] == code
        check_read(on_job(idle, round_trip), job_before)
        assert rows(idle) == before


def test_a_job_with_everything_in_it_stays_as_it_is_when_it_is_written_back(application: Application) -> None:
    application.synchronize()
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 429, "retryAfter": 600, "times": 1}])
    application.synchronize()
    before = rows(application)

    async def round_trip(job: Any) -> SynchronizationJob:
        return await job.patch(await job.get())

    written, raw = on_job(application, round_trip), application.job()
    assert written.status.progress
    assert written.status.last_successful_execution_with_exports
    # The moment of observation is that of the request.
    for progress, raw_progress in zip(written.status.progress, raw["status"]["progress"], strict=True):
        progress.progress_observation_date_time = raw_progress["progressObservationDateTime"] = None
    check_read(written, raw)
    assert rows(application) == before


def test_the_schedules_interval_is_changed_in_the_notation_that_the_sdk_sends(idle: Application) -> None:
    for interval, shown in (
        (timedelta(hours=1, minutes=30), "PT1H30M"),
        (timedelta(days=1, hours=2), "P1DT2H"),
        (timedelta(minutes=40), "PT40M"),
    ):
        job = SynchronizationJob(schedule=SynchronizationSchedule(interval=interval))
        assert on_job(idle, lambda builder, job=job: builder.patch(job)).schedule.interval == interval
        raw = idle.job()
        assert raw["schedule"]["interval"] == shown
        assert {"name": "SynchronizationInterval", "value": shown} in raw["synchronizationJobSettings"]


def test_settings_are_changed_and_an_impossible_one_is_an_error_that_names_it(idle: Application) -> None:
    patched = on_job(idle, lambda job: job.patch(settings(QuarantineTooManyDeletesThreshold="7")))
    assert {pair.name: pair.value for pair in patched.synchronization_job_settings} == {
        "QuarantineTooManyDeletesThreshold": "7",
        "SynchronizationInterval": "PT40M",
        "Parts": "users,groups,groupMembers,sites,mailboxes,teams,channels",
    }
    with pytest.raises(ODataError) as raised:
        on_job(idle, lambda job: job.patch(settings(Parts="users,mailbox")))
    assert raised.value.response_status_code == 400
    assert "Parts" in told(raised).message


def test_a_secret_switches_the_deletion_threshold(idle: Application) -> None:
    def put(**notifications: Any) -> None:
        pair = SynchronizationSecretKeyStringValuePair(
            key=SynchronizationSecret.SyncNotificationSettings, value=orjson.dumps(notifications).decode()
        )
        password = SynchronizationSecretKeyStringValuePair(key=SynchronizationSecret.Password, value="hunter2")
        assert ask(idle, lambda s: s.secrets.put(SecretsPutRequestBody(value=[password, pair]))) is None

    put(Enabled=False, DeleteThresholdEnabled=False)
    assert idle.job()["synchronizationJobSettings"][0]["value"] == "None"
    put(Enabled=False, DeleteThresholdEnabled=True, DeleteThresholdValue=500)
    assert idle.job()["synchronizationJobSettings"][0]["value"] == "500"


# --- What is synchronized -----------------------------------------------------------------------------------------


def mapping_of(schema: SynchronizationSchema, name: str) -> ObjectMapping:
    assert schema.synchronization_rules
    assert schema.synchronization_rules[0].object_mappings
    return next(mapping for mapping in schema.synchronization_rules[0].object_mappings if mapping.name == name)


def payloads(application: Application, part: str) -> list[dict[str, Any]]:
    """What the cache holds of a part's live objects."""
    query = select(objects.c.payload).where(
        objects.c.part == part, objects.c.deleted_at.is_(None), objects.c.soft_deleted_at.is_(None)
    )
    with application.services.database.read() as connection:
        return list(connection.execute(query).scalars())


def change_rules(application: Application, change: Callable[[SynchronizationSchema], None]) -> None:
    """Reads the rules, has them changed, and writes them."""

    async def changed(job: Any) -> None:
        schema = await read_rules(job)
        change(schema)
        await job.schema.patch(schema)

    on_job(application, changed)


def test_a_deselected_property_vanishes_from_the_cache_and_a_selected_one_comes_with_a_full_run_at_once(
    application: Application,
) -> None:
    application.synchronize()
    before = application.job()["status"]["lastExecution"]["activityIdentifier"]
    assert all("jobTitle" in user and "streetAddress" not in user for user in payloads(application, "users"))

    def choose(schema: SynchronizationSchema) -> None:
        users = mapping_of(schema, "User to User")
        assert users.attribute_mappings
        kept = [found for found in users.attribute_mappings if found.target_attribute_name != "jobTitle"]
        source = AttributeMappingSource(name="streetAddress", expression="[streetAddress]")
        users.attribute_mappings = [*kept, AttributeMapping(target_attribute_name="streetAddress", source=source)]

    change_rules(application, choose)

    execution = application.job()["status"]["lastExecution"]
    run = application.run(execution["activityIdentifier"])
    assert (execution["activityIdentifier"] != before, execution["state"], run["type"]) == (True, "Succeeded", "Full")
    assert {part["part"]: part["type"] for part in run["parts"]} == dict.fromkeys(
        ("users", "groups", "groupMembers", "sites", "mailboxes", "teams", "channels"), "Full"
    )
    users = payloads(application, "users")
    assert len(users) > 20
    assert all("jobTitle" not in user and "streetAddress" in user and "mail" in user for user in users)

    schema = on_job(application, read_rules)
    names = [found.target_attribute_name for found in mapping_of(schema, "User to User").attribute_mappings or ()]
    assert "jobTitle" not in names
    assert "streetAddress" in names


def test_a_part_that_is_switched_off_is_told_of_no_more_and_is_read_again_when_it_is_switched_on(
    application: Application,
) -> None:
    application.synchronize()
    kept = payloads(application, "sites")
    hold_users = [{"path": "/users/delta", "status": 429, "retryAfter": 600, "times": 1}]

    def progress() -> set[str]:
        return {found.units for found in on_job(application, lambda job: job.get()).status.progress}

    def entries() -> list[str]:
        status = on_job(application, lambda job: job.get()).status
        return [pair.key for pair in status.synchronized_entry_count_by_type]

    application.control("POST", "/faults", hold_users)
    change_rules(application, lambda schema: setattr(mapping_of(schema, "Site to Site"), "enabled", False))
    assert progress() == {"users", "groups", "groupMembers", "mailboxes", "teams", "channels"}
    application.clock.forward(minutes=10)
    application.plan()
    assert progress() == set()
    assert entries() == [name for name in ENTRY_TYPES if name != "Site to Site"]
    state = application.sync_state()
    assert (state["syncStatus"], state["type"], state["parts"]["sites"]) == ("Success", "Full", None)
    assert payloads(application, "sites") == kept
    assert application.client.get(f"/organizations/{NAME}").json()["parts"] == [
        "users", "groups", "groupMembers", "mailboxes", "teams", "channels",
    ]  # fmt: skip

    application.control("POST", "/sites", {"displayName": "New while it was off", "name": "new"})
    application.control("POST", "/faults", hold_users)
    change_rules(application, lambda schema: setattr(mapping_of(schema, "Site to Site"), "enabled", True))
    assert "sites" in progress()
    application.clock.forward(minutes=10)
    application.plan()
    assert entries() == ENTRY_TYPES
    assert application.sync_state()["parts"]["sites"]["lastState"]["syncStatus"] == "Success"
    assert len(payloads(application, "sites")) == len(kept) + 1


# --- Restart, scope by scope --------------------------------------------------------------------------------------


class Effect(NamedTuple):
    """What a restart leaves of a job in quarantine, with an escrow and a deletion that is held back.

    Attributes:
        type: The new run's.
        rebuilt: Whether every row was written again.
        escrows: How many are left.
        held: How many deletions are still held back.
        series: How often the quarantine was looked at again and kept; None when there is none.
    """

    type: str
    rebuilt: bool
    escrows: int
    held: int
    series: int | None


@pytest.fixture(scope="module")
def troubled(databases: Databases) -> Iterator[tuple[TenantServer, Path]]:
    """A tenant, and the database of an application in trouble with it: see ``Effect``."""
    with (
        TenantServer(Directory(users=30, groups=12, sites=4, seed=6), Options(page_size=20)) as tenant,
        pytest.MonkeyPatch.context() as monkeypatch,
        databases.fresh("sqlite") as url,
    ):
        with running_application(monkeypatch, url, tenant) as application:
            application.register(parts=DELTA_PARTS)
            application.synchronize()
            gone, broken = (user["id"] for user in payloads(application, "users")[:2])
            on_job(application, lambda job: job.patch(settings(QuarantineTooManyDeletesThreshold="0")))
            find = f'{{"id":"{broken}"(,"@removed":{{[^}}]*}})?'
            replacement = f'{{"@removed":5,"id":"{broken}"'
            fault = {"path": "/users/delta", "kind": "rewrite", "find": find, "replace": replacement}
            application.control("POST", "/faults", [fault])
            application.control("DELETE", f"/users/{gone}")
            application.control("PATCH", f"/users/{broken}", {"jobTitle": "Unreadable"})
            assert application.synchronize()["status"] == "EntryLevelErrors"
            application.control("DELETE", "/faults")
            assert application.job()["status"]["quarantine"]["reason"] == "TooManyDeletes"
        yield tenant, Path(url.removeprefix("sqlite:///"))


@contextmanager
def resumed(
    monkeypatch: pytest.MonkeyPatch, folder: Path, troubled: tuple[TenantServer, Path]
) -> Iterator[Application]:
    """The application with a copy of the troubled database."""
    tenant, database = troubled
    shutil.copy(database, folder / "cache.db")
    with running_application(monkeypatch, f"sqlite:///{folder / 'cache.db'}", tenant) as application:
        yield application


def effect_of(application: Application) -> Effect:
    def number(name: str) -> int:
        return len(application.client.get(f"/organizations/{NAME}/{name}").raise_for_status().json()["value"])

    status = on_job(application, lambda job: job.get()).status
    run = application.run(status.last_execution.activity_identifier)
    series = status.quarantine.series_count if status.quarantine else None
    rebuilt = run["counts"]["countExported"] > 30
    return Effect(run["type"], rebuilt, number("escrows"), number("heldDeletions"), series)


DEFAULT = Effect("Full", False, 0, 1, 0)
EFFECTS: dict[Any, Effect] = {
    None: DEFAULT,
    SynchronizationJobRestartScope.None_: Effect("Incremental", False, 1, 1, 0),
    SynchronizationJobRestartScope.ConnectorDataStore: Effect("Full", True, 0, 1, 1),
    SynchronizationJobRestartScope.Escrows: Effect("Incremental", False, 0, 1, 1),
    SynchronizationJobRestartScope.Watermark: Effect("Full", False, 0, 1, 1),
    SynchronizationJobRestartScope.QuarantineState: Effect("Incremental", False, 1, 1, 0),
    SynchronizationJobRestartScope.Full: Effect("Full", True, 0, 1, 0),
    SynchronizationJobRestartScope.ForceDeletes: Effect("Incremental", False, 1, 0, None),
    # What the SDK cannot say by its types goes along as it is (graph.md §2.2).
    "Watermark, Escrows, QuarantineState": DEFAULT,
    "escrows,quarantineState": Effect("Incremental", False, 0, 1, 0),
    "Escrows, ForceDeletes": Effect("Incremental", False, 0, 0, None),
    "Full, ForceDeletes": Effect("Full", True, 0, 0, None),
    12: Effect("Full", False, 0, 1, 0),
}


def test_every_scope_of_the_sdk_has_its_effect_promised() -> None:
    assert {scope for scope in EFFECTS if isinstance(scope, SynchronizationJobRestartScope)} == set(
        SynchronizationJobRestartScope
    )


@pytest.mark.parametrize("scope", EFFECTS, ids=str)
def test_a_restart_throws_away_what_its_scope_says_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, troubled: tuple[TenantServer, Path], scope: Any
) -> None:
    body = RestartPostRequestBody()
    if isinstance(scope, SynchronizationJobRestartScope):
        body.criteria = SynchronizationJobRestartCriteria(reset_scope=scope)
    elif scope is not None:
        body.criteria = SynchronizationJobRestartCriteria(additional_data={"resetScope": scope})
    with resumed(monkeypatch, tmp_path, troubled) as application:
        on_job(application, lambda job: job.restart.post(body))
        assert effect_of(application) == EFFECTS[scope]


def test_a_scope_that_is_none_of_the_sdks_is_an_error_and_nothing_happens(idle: Application) -> None:
    before = rows(idle)
    for scope in ("Everything", "Watermark; Escrows", "16", 64, -1, "Watermark,,Escrows"):
        body = RestartPostRequestBody(criteria=SynchronizationJobRestartCriteria(additional_data={"resetScope": scope}))
        with pytest.raises(ODataError) as raised:
            on_job(idle, lambda job, body=body: job.restart.post(body))
        assert raised.value.response_status_code == 400, scope
        assert "ForceDeletes" in told(raised).message
    assert rows(idle) == before


# --- Trying out and provisioning ----------------------------------------------------------------------------------


@each_root
def test_valid_credentials_make_a_new_job_not_run_and_refused_ones_are_told_part_by_part(
    application: Application, root: str
) -> None:
    def validate(at: str) -> None:
        body = validation.ValidateCredentialsPostRequestBody()
        if at == "job":
            on_job(application, lambda job: job.validate_credentials.post(body), root)
        else:
            ask(application, lambda s: s.jobs.validate_credentials.post(body), root)

    refusal = {"path": "/(users|sites)/delta", "status": 403, "code": "Authorization_RequestDenied"}
    application.control("POST", "/faults", [refusal])
    for at in ("job", "list"):
        with pytest.raises(ODataError) as raised:
            validate(at)
        assert raised.value.response_status_code == 400
        error = told(raised)
        assert error.code == "Authorization_RequestDenied"
        assert [detail.target for detail in error.details] == ["users", "sites"]
        assert {detail.code for detail in error.details} == {"Authorization_RequestDenied"}
        for permission, detail in zip(("User.Read.All", "Sites.Read.All"), error.details, strict=True):
            assert permission in detail.message
            assert permission in error.message
        assert left_over(error) == {}
        assert application.job()["status"]["code"] == "NotConfigured"

    application.control("DELETE", "/faults")
    validate("job" if root == "applications" else "list")
    job = on_job(application, lambda job: job.get(), root)
    assert (job.schedule.state.value, job.status.code.value) == ("Disabled", "NotRun")


@each_root
def test_a_user_is_provisioned_on_demand_and_the_answers_texts_are_json(application: Application, root: str) -> None:
    created = application.control("POST", "/users", {"displayName": "Eve", "userPrincipalName": "eve@contoso.com"})

    pair = on_job(application, lambda job: job.provision_on_demand.post(subject(created["id"], "User")), root)

    assert left_over(pair) == {}
    assert orjson.loads(pair.key) == {"result": "Success", "details": {}}
    account = orjson.loads(pair.value)
    assert (account["action"], account["targetIdentity"]["displayName"]) == ("Create", "Eve")
    assert [user["displayName"] for user in payloads(application, "users")] == ["Eve"]
    assert application.job()["status"]["code"] == "NotConfigured"


def test_work_that_the_sdk_set_going_is_seen_while_it_is_under_way(
    monkeypatch: pytest.MonkeyPatch, databases: Databases, tenant: TenantServer
) -> None:
    with databases.fresh("sqlite") as url, held_application(monkeypatch, url, tenant) as application:
        application.register()
        on_job(application, lambda job: job.start.post())
        deliver(application, "users")
        job = on_job(application, lambda job: job.get())
        assert (job.schedule.state.value, job.status.code.value) == ("Active", "NotRun")
        done = {found.units: found.completed_units for found in job.status.progress}
        assert done["users"] > 0
        assert {value for name, value in done.items() if name != "users"} == {0}
