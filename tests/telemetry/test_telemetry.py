"""What is told to those who watch over the service: what they need, nobody's data, and that it arrives."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from local.tenant import Directory, Options, TenantServer
from tests.application import NAME
from tests.databases import Databases
from tests.graph.app_service import IDENTITY_HEADER, Identity, running_identity
from tests.graph.tls import Reply, served

ROOT = Path(__file__).parents[2]
AUDIENCE = "https://monitor.azure.com"
TOKEN_IN_LINK = re.compile(r"token=([^&]{8,})", re.IGNORECASE)


@dataclass
class Life:
    """What the program lived through, and what was told of it.

    Attributes:
        told: All that left the process, as text.
        later: The metrics as they are read a second time.
        private: What must not be in it: people by their ids and names, tokens, cursors.
        issued: The tokens of the app's identity that are not Graph's, by resource.
    """

    runs: list[str]
    told: str
    private: set[str]
    issued: dict[str, str]
    spans: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    metrics: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    logs: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    later: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def spans_named(self, name: str) -> list[dict[str, Any]]:
        return [span["attributes"] for span in self.spans if span["name"] == name]

    def metric(self, name: str, **labels: str) -> Any:
        """The one value with these labels among others."""
        (value,) = [
            point["value"]
            for point in self.metrics
            if point["name"] == name and labels.items() <= point["attributes"].items()
        ]
        return value


def lived(kind: str, databases: Databases, **settings: str) -> Life:
    """The program's life beside a simulated tenant, and what it printed."""
    calm = Options(page_size=10, replay_probability=0, empty_page_probability=0)
    with (
        TenantServer(Directory(users=40, groups=12, sites=4, seed=7), calm) as tenant,
        running_identity(tenant) as identity,
        databases.fresh("sqlite") as url,
    ):
        truth = httpx.get(f"{tenant.url}/control/truth/users").raise_for_status()
        people = [orjson.loads(line) for line in truth.text.splitlines()]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "AZURE_CLIENT_ID": identity.client_id,
            "IDENTITY_ENDPOINT": identity.url,
            "IDENTITY_HEADER": IDENTITY_HEADER,
            **settings,
        }
        process = subprocess.run(
            [sys.executable, "-m", "tests.telemetry.program", kind, url, tenant.url],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        tokens = {tenant.access_token(), IDENTITY_HEADER, *identity.issued.values()}
    assert process.returncode == 0, process.stderr
    printed = orjson.loads(process.stdout.splitlines()[-1])
    names = ("id", "userPrincipalName", "mail", "displayName")
    private = {user[name] for user in people for name in names if user.get(name)} | {"Zoë Zimmermann"}
    cursors = {token for link in printed["cursors"] for token in TOKEN_IN_LINK.findall(link)}
    assert len(private) > 100
    assert len(cursors) > 5
    told = {name: printed.get(name, []) for name in ("spans", "metrics", "logs", "later")}
    return Life(printed["runs"], orjson.dumps(told).decode(), private | tokens | cursors, identity.issued, **told)


# --- What is told -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watched(databases: Databases) -> Life:
    return lived("memory", databases)


def test_every_slice_has_a_span_that_tells_what_came_of_it(watched: Life) -> None:
    slices = [span for span in watched.spans if span["name"].startswith("slice ")]

    assert {span["name"].removeprefix("slice ") for span in slices} == {
        "users", "groups", "groupMembers", "sites", "mailboxes", "teams", "channels",
    }  # fmt: skip
    for span in slices:
        about = span["attributes"]
        assert span["name"] == f"slice {about['part']}"
        assert about["organization"] == NAME
        assert (about["type"], about["stage"]) in (("Full", "listing"), ("Incremental", "listing")) or about["pages"]
    assert {span["attributes"]["activityIdentifier"] for span in slices} >= set(watched.runs)
    outcomes = {(about["outcome"], about.get("error.type")) for about in (span["attributes"] for span in slices)}
    assert {("finished", None), ("throttled", "TooManyRequests"), ("failed", "Authorization_RequestDenied")} <= outcomes
    assert {span["status"]["status_code"] for span in slices if span["attributes"]["outcome"] == "failed"} == {"ERROR"}
    # Four pages of ten users, and of these all objects: however many slices they took.
    first = [about for about in watched.spans_named("slice users") if about["activityIdentifier"] == watched.runs[0]]
    assert (sum(about["pages"] for about in first), sum(about["objects"] for about in first)) == (5, 40)


def test_every_request_to_graph_has_a_span_under_its_slice_without_its_address(watched: Life) -> None:
    requests = [span for span in watched.spans if span["kind"] == "SpanKind.CLIENT"]
    of_slices = {span["context"]["span_id"] for span in watched.spans if span["name"].startswith("slice ")}

    assert {span["name"] for span in requests} == {
        "GET /users/delta", "GET /users/$count", "GET /users/{id}", "GET /groups/delta", "GET /groups/$count",
        "GET /groups/{id}/members/$count", "GET /sites/delta", "POST /$batch",
        "GET /directory/deletedItems/microsoft.graph.user", "GET /directory/deletedItems/microsoft.graph.group",
    }  # fmt: skip
    for span in requests:
        about = span["attributes"]
        assert span["name"] == f"{about['http.request.method']} {about['url.template']}"
        assert about["organization"] == NAME
        if about["url.template"].endswith("/delta"):
            assert span["parent_id"] in of_slices
    # The SDK sat through one wait; the refusal and the object that is gone are told with their codes.
    users = watched.spans_named("GET /users/delta")
    assert Counter(about["attempts"] for about in users)[2] == 1
    assert {about["resource_units"] for about in users if about.get("http.response.status_code") == 200} == {1}
    sites = watched.spans_named("GET /sites/delta")
    assert (403, "Authorization_RequestDenied") in {
        (about["http.response.status_code"], about.get("error.type")) for about in sites
    }
    assert {about["http.response.status_code"] for about in watched.spans_named("GET /users/{id}")} == {200, 404}


def test_libraries_tell_nothing_of_requests_beside_the_products_own_spans(watched: Life) -> None:
    assert {span["name"].split()[0] for span in watched.spans} == {"slice", "GET", "POST"}
    assert [span["events"] for span in watched.spans if span["events"]] == []


def test_the_metrics_tell_what_was_received_and_the_state_of_the_organization(watched: Life) -> None:
    received = {
        point["attributes"]["part"]: point["value"] for point in watched.metrics if point["name"] == "sync.objects"
    }
    assert received["groups"] == 12
    assert received["users"] > 40
    assert watched.metric("sync.throttled", organization=NAME, family="directory") == 2
    dead = {point["attributes"]["queue"] for point in watched.metrics if point["name"] == "sync.dead_messages"}
    assert dead == {
        "sync-slices-poison", "organization-plans-poison", "organization-changes-poison",
        "organization-subscriptions-poison",
    }  # fmt: skip
    assert watched.metric("sync.quarantined", organization=NAME) == 1
    assert watched.metric("sync.escrows", organization=NAME, part="users") == 1
    assert watched.metric("sync.held_deletions", organization=NAME, part="users") == 5
    assert watched.metric("sync.drift", organization=NAME, part="users") == -1
    told = Counter((point["name"], point["attributes"].get("part")) for point in watched.metrics)
    assert told["sync.escrows", "groups"] == 0
    # Sites succeeded when the others did last, five minutes before by the test's clock.
    assert 300 <= watched.metric("sync.lag", organization=NAME, part="sites") < 360


def test_a_state_is_told_once_and_not_repeated_by_a_process_that_no_longer_knows_it(watched: Life) -> None:
    assert {point["name"] for point in watched.metrics} >= {"sync.lag", "sync.quarantined", "sync.objects"}
    assert {point["name"] for point in watched.later} == {"sync.objects", "sync.throttled", "sync.dead_messages"}


def test_logs_of_a_slice_carry_the_organization_the_part_and_the_run(watched: Life) -> None:
    (throttled,) = [log for log in watched.logs if "throttled for 90 s" in log["body"]]
    assert throttled["attributes"]["organization"] == NAME
    assert throttled["attributes"]["part"] in ("groups", "groupMembers", "teams")
    assert throttled["attributes"]["activityIdentifier"] == watched.runs[0]


def test_nothing_that_is_told_names_a_person_or_holds_a_token_or_cursor(watched: Life) -> None:
    assert [value for value in watched.private if value in watched.told] == []


# --- That it arrives --------------------------------------------------------------------------------------------------


@dataclass
class Ingestion:
    """Application Insights' endpoint: takes everything, and keeps it."""

    url: str = ""
    envelopes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    bearers: set[str] = field(default_factory=set[str])

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        if not handler.path.endswith("/track"):
            return 404, {}, {}
        if handler.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        received = orjson.loads(body)
        self.envelopes += received
        self.bearers.add(handler.headers.get("Authorization", ""))
        return 200, {"itemsReceived": len(received), "itemsAccepted": len(received), "errors": []}, {}

    def data(self, kind: str) -> list[dict[str, Any]]:
        found = [envelope["data"] for envelope in self.envelopes]
        return [data["baseData"] for data in found if data["baseType"] == kind]


@pytest.fixture(scope="module")
def ingestion() -> Iterator[Ingestion]:
    running = Ingestion()
    with served(running.answer) as running.url:
        yield running


@pytest.fixture(scope="module")
def sent(databases: Databases, ingestion: Ingestion, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A life whose telemetry Microsoft's exporter sends; the libraries' own instrumentation is left switched on."""
    address = f"InstrumentationKey={uuid4()};IngestionEndpoint={ingestion.url}/;LiveEndpoint={ingestion.url}/"
    return lived(
        "worker",
        databases,
        APPLICATIONINSIGHTS_CONNECTION_STRING=address,
        APPLICATIONINSIGHTS_AUTHENTICATION_STRING=f"ClientId={Identity.client_id};Authorization=AAD",
        OTEL_TRACES_SAMPLER="always_on",
        APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL="true",
        APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED="true",
        PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME="shared",
        REQUESTS_CA_BUNDLE=os.environ["SSL_CERT_FILE"],
        TMPDIR=str(tmp_path_factory.mktemp("offline")),
    )


def test_spans_metrics_and_logs_reach_application_insights(sent: Life, ingestion: Ingestion) -> None:
    told = {data["name"]: data for data in ingestion.data("RemoteDependencyData")}
    assert told["slice users"]["properties"]["activityIdentifier"] in sent.runs
    request = told["GET /users/delta"]
    assert (request["target"], request["resultCode"]) == ("Microsoft Graph", "200")
    assert request["properties"]["part"] == "users"
    metrics = {metric["name"] for data in ingestion.data("MetricData") for metric in data["metrics"]}
    assert metrics >= {
        "sync.objects", "sync.lag", "sync.escrows", "sync.quarantined", "sync.throttled", "sync.drift",
        "sync.held_deletions",
    }  # fmt: skip
    logs = [data for data in ingestion.data("MessageData") if "throttled for 90 s" in data["message"]]
    assert [data["properties"]["organization"] for data in logs] == [NAME]


def test_the_exporter_signs_in_with_the_apps_identity(sent: Life, ingestion: Ingestion) -> None:
    assert {resource.rstrip("/") for resource in sent.issued} == {AUDIENCE}
    assert ingestion.bearers == {f"Bearer {token}" for token in sent.issued.values()}


def test_nothing_that_is_sent_names_a_person_or_holds_a_token_or_cursor(sent: Life, ingestion: Ingestion) -> None:
    text = orjson.dumps(ingestion.envelopes).decode()
    assert len(ingestion.envelopes) > 50
    assert [value for value in sent.private if value in text] == []
