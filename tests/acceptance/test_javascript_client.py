"""Microsoft Graph's JavaScript client, unmodified, reads, starts, pauses and restarts the job of a running app."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.tenant import Directory, Options, TenantServer
from tests.application import APPLICATION, Application, running_application
from tests.databases import Databases
from tests.javascript.front import Front, tls_front
from tests.javascript.graph_client import HERE, GraphClient, javascript_client
from tests.npm import NO_NODE, Node, find_node, install

TOKEN = "a-token-of-the-javascript-client"
UNKNOWN = "M365OrgCache.x.y"

# The packages are installed by one worker alone.
pytestmark = pytest.mark.xdist_group("javascript")


@pytest.fixture(scope="module")
def node() -> Node:
    found = find_node()
    if found is None:
        pytest.skip(f"NOT TESTED with Graph's JavaScript client: {NO_NODE}")
    return found


@pytest.fixture(scope="module")
def packages(node: Node, pytestconfig: pytest.Config) -> Path:
    assert pytestconfig.cache
    return install(node, HERE, pytestconfig.cache.mkdir("npm"))


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, databases: Databases) -> Iterator[Application]:
    """The product with a registered organization; which database it has, no client can tell."""
    with (
        databases.fresh("sqlite") as url,
        TenantServer(Directory(users=40, groups=6, sites=4), Options(page_size=20)) as tenant,
        running_application(monkeypatch, url, tenant) as running,
    ):
        running.register()
        yield running
        running.host.drain()


@pytest.fixture
def front(application: Application, tmp_path: Path) -> Iterator[Front]:
    with tls_front(application.host.url, tmp_path) as front:
        yield front


@pytest.fixture
def client(node: Node, packages: Path, front: Front) -> Iterator[GraphClient]:
    with javascript_client(node, packages, front, TOKEN) as client:
        yield client


@pytest.fixture(params=["applications", "servicePrincipals"])
def jobs(request: pytest.FixtureRequest) -> str:
    """The path of the jobs as the client is given it, under either root."""
    owner_id = APPLICATION["objectId" if request.param == "applications" else "servicePrincipalId"]
    return f"/{request.param}/{owner_id}/synchronization/jobs"


def state(client: GraphClient, job: str) -> tuple[str, str]:
    """What the client reads of the job: its schedule's state and its code."""
    told = client.get(job)
    return told["schedule"]["state"], told["status"]["code"]


def test_the_client_lists_the_jobs_and_gets_one(application: Application, client: GraphClient, jobs: str) -> None:
    application.synchronize()
    expected = application.job()

    single = client.get(f"{jobs}/{expected['id']}")

    assert client.get(jobs)["value"] == [expected]
    assert single.pop("@odata.context").endswith("/synchronization/jobs/$entity")
    assert single == expected


def test_every_call_carries_the_clients_token(front: Front, client: GraphClient, jobs: str) -> None:
    client.get(jobs)
    client.error("post", f"{jobs}/{UNKNOWN}/start")

    sent = [(exchange.method, exchange.path, exchange.authorization) for exchange in front.exchanges]
    assert sent == [
        ("GET", f"/v1.0{jobs}", f"Bearer {TOKEN}"),
        ("POST", f"/v1.0{jobs}/{UNKNOWN}/start", f"Bearer {TOKEN}"),
    ]


def test_the_client_starts_and_pauses_the_job(application: Application, client: GraphClient, jobs: str) -> None:
    job = f"{jobs}/{application.job()['id']}"
    assert state(client, job) == ("Disabled", "NotConfigured")

    assert client.post(f"{job}/start") is None
    application.host.drain()
    assert state(client, job) == ("Active", "Active")
    assert client.get(job)["status"]["lastExecution"]["state"] == "Succeeded"
    assert application.compare().differences == []

    assert client.post(f"{job}/pause") is None
    assert state(client, job) == ("Disabled", "Paused")


@pytest.mark.parametrize(
    ("body", "expected"), [(None, "Full"), ({"criteria": {"resetScope": "Escrows, QuarantineState"}}, "Incremental")]
)
def test_the_client_restarts_the_job(
    application: Application, client: GraphClient, jobs: str, body: object, expected: str
) -> None:
    application.synchronize()

    assert client.post(f"{jobs}/{application.job()['id']}/restart", body) is None

    application.host.drain()
    assert application.sync_state()["type"] == expected
    assert application.compare().differences == []


def test_an_unknown_job_is_an_error_that_the_client_understands(front: Front, client: GraphClient, jobs: str) -> None:
    for method, action in (("get", ""), ("post", "/start"), ("post", "/pause"), ("post", "/restart")):
        error = client.error(method, f"{jobs}/{UNKNOWN}{action}")

        assert (error["statusCode"], error["code"]) == (404, "Request_ResourceNotFound")
        assert error["message"]
        assert error["requestId"] == front.exchanges[-1].request_id != ""


def test_an_unknown_scope_is_an_error_that_names_the_known_ones(
    application: Application, client: GraphClient, jobs: str
) -> None:
    path = f"{jobs}/{application.job()['id']}/restart"

    error = client.error("post", path, {"criteria": {"resetScope": "Everything"}})

    assert (error["statusCode"], error["code"]) == (400, "Request_BadRequest")
    assert "ConnectorDataStore" in error["message"]
    assert error["requestId"]
