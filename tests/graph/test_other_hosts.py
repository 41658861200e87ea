"""Nothing that Graph answers, a registration says or a caller asks for makes the product call another host."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kiota_abstractions.method import Method
from kiota_abstractions.request_information import RequestInformation
from pydantic import ValidationError

from shared.graph.adapter import GraphConnection
from shared.graph.client import GraphClient
from shared.graph.clouds import CLOUDS
from shared.graph.credentials import Credentials
from shared.models.errors import PartFailure, SynchronizationFailure
from shared.models.organizations import CredentialKind, OrganizationRegistration, Region
from shared.settings import Settings
from tests.application import APPLICATION
from tests.graph.connections import connections
from tests.graph.servers import ScriptedServer, scripted_server
from tests.graph.signing import sign_in
from tests.graph.support import CHANNELS, MEMBERS, SITES, USERS, Graph

TENANT_ID = "5f0c2a1e-9d7b-4c3a-8e6f-102938475665"


@pytest.fixture
def front() -> Iterator[ScriptedServer]:
    """The Graph that the client talks to."""
    with scripted_server() as server:
        yield server


def host(server: ScriptedServer) -> str:
    return urlsplit(server.url).netloc


# --- Links --------------------------------------------------------------------------------------------------------

# G is Graph's host, E another one that listens, P the port of the latter.
LINKS = [
    "http://E/v1.0/x", "HTTP://E/v1.0/x", "https://E/v1.0/x", "https://G/v1.0/x", "ws://G/v1.0/x",
    "http://G@E/v1.0/x", "http://G:80@E/v1.0/x", "http://user:G@E/v1.0/x", "http://user@G/v1.0/x", "http://@G/v1.0/x",
    "http://E\\@G/v1.0/x", "http://E#@G/v1.0/x", "http://E?@G/v1.0/x", "http://E;@G/v1.0/x", "http://E%2f@G/v1.0/x",
    "http://G%40E/v1.0/x", "http://G\\@E/v1.0/x", "http://G%00@E/v1.0/x", "http://G\x00@E/v1.0/x",
    "http://G\t@E/v1.0/x", "http://G\r\n@E/v1.0/x", "http://G @E/v1.0/x", "ht\ntp://E/v1.0/x", " http://E/v1.0/x",
    "\thttp://E/v1.0/x", "http:\\\\E\\v1.0\\x", "http:/E/v1.0/x", "http:///E/v1.0/x", "http:////E/v1.0/x",
    "//E/v1.0/x", "///E/v1.0/x", "\\\\E\\v1.0", "/\\E/v1.0/x", "/v1.0/x", "v1.0/x", "?$skiptoken=x", "#x",
    "http://G.evil.example/v1.0/x", "http://G,E/v1.0/x", "http://G E/v1.0/x", "http://127.0.0.1:P/v1.0/x",
    "http://localhost:P/v1.0/x", "http://127.1:P/v1.0/x", "http://2130706433:P/v1.0/x", "http://0x7f.1:P/v1.0/x",
    "http://[::ffff:127.0.0.1]:P/v1.0/x", "http://[::1]:P/v1.0/x", "http://0:P/v1.0/x",
    "http://１２７.0.0.1:P/v1.0/x", "http://127。0。0。1:P/v1.0/x",
    "http://169.254.169.254/metadata/identity/oauth2/token?resource=x", "file:///etc/passwd", "ftp://E/x",
    "javascript:alert(1)", "data:application/json,{}", "unix:///var/run/docker.sock", "http://[/x", "http://G]/x",
]  # fmt: skip

Read = Callable[[GraphClient, ScriptedServer, str], Coroutine[Any, Any, Any]]


def _next_link(client: GraphClient, front: ScriptedServer, link: str) -> Coroutine[Any, Any, Any]:
    front.body = orjson.dumps({"value": [], "@odata.nextLink": link})
    return client.first_page(USERS)


def _delta_link(client: GraphClient, front: ScriptedServer, link: str) -> Coroutine[Any, Any, Any]:
    front.body = orjson.dumps({"value": [], "@odata.deltaLink": link})
    return client.first_page(USERS)


def _list_link(client: GraphClient, front: ScriptedServer, link: str) -> Coroutine[Any, Any, Any]:
    front.body = orjson.dumps({"id": TENANT_ID, "displayName": "g", "value": [], "@odata.nextLink": link})
    return client.read_object(MEMBERS, TENANT_ID)


def _batch_link(client: GraphClient, front: ScriptedServer, link: str) -> Coroutine[Any, Any, Any]:
    body = {"value": [], "@odata.nextLink": link}
    front.batch = lambda requests: [{"id": request["id"], "status": 200, "body": body} for request in requests]

    async def asked() -> None:
        for answer in (await client.ask(CHANNELS, ["t"])).values():
            if isinstance(answer, SynchronizationFailure):
                raise answer

    return asked()


LEADING: list[Read] = [
    _next_link,
    _delta_link,
    _list_link,
    _batch_link,
    lambda client, front, link: client.next_page(USERS, link),
    lambda client, front, link: client.next_page(SITES, link.replace("/v1.0/x", "/v1.0/sites/getAllSites")),
    lambda client, front, link: client.next_deleted_page(USERS, link),
]


@pytest.mark.parametrize("link", LINKS, ids=repr)
def test_a_link_to_elsewhere_is_refused_wherever_it_stands(
    graph: Graph, front: ScriptedServer, other: ScriptedServer, link: str
) -> None:
    port = str(urlsplit(other.url).port)
    address = re.sub("[GEP](?![a-z])", lambda found: {"G": host(front), "E": host(other), "P": port}[found[0]], link)
    client = graph.client(front.url)
    with connections() as reached:
        for read in LEADING:
            with pytest.raises(SynchronizationFailure) as failed:
                graph.run(read(client, front, address))
            assert host(other) not in failed.value.message
    assert host(front) in reached
    assert reached <= {host(front), host_of(graph)}
    assert other.requests == []


def host_of(graph: Graph) -> str:
    """The simulated tenant, where the identity endpoint is."""
    return urlsplit(graph.tenant.url).netloc


# --- Headers ------------------------------------------------------------------------------------------------------

POINTING = ["Location", "Content-Location", "Refresh", "Link", "Retry-After", "Operation-Location", "Alt-Svc"]


@pytest.mark.parametrize("status", [200, 201, 202, 300, 301, 302, 303, 305, 307, 308, 401, 429, 503])
def test_no_header_of_an_answer_leads_elsewhere(
    graph: Graph, front: ScriptedServer, other: ScriptedServer, status: int
) -> None:
    front.status = status
    elsewhere = f"{other.url}/v1.0/users/delta"
    challenge = f'Bearer authorization_uri="{other.url}/common", resource="{other.url}"'
    front.headers = dict.fromkeys(POINTING, elsewhere) | {"WWW-Authenticate": challenge}
    client = graph.client(front.url)
    with connections() as reached, pytest.raises(SynchronizationFailure) if status > 299 else nullcontext():
        graph.run(client.first_page(USERS))
    assert host(front) in reached
    assert reached <= {host(front), host_of(graph)}
    assert other.requests == []


# --- Ids ----------------------------------------------------------------------------------------------------------

IDS = [
    "http://E/", "//E/x", "\\\\E", "@E", "@E/", ":@E", "x@E", "#@E", "?x=http://E", "x\r\nHost: E", "x\nHost: E\n\n",
    "%2f%2fE", "%5c%5cE", "..", ".", "../..", "../../../E", "..%2f..%2fE", "x/../../../../E", "x;/../E", "x/$value",
    "x?$expand=manager", "x#y", "x\x00", "{+baseurl}", "{id}", "", " ", "é/E",
]  # fmt: skip


@pytest.mark.parametrize("object_id", IDS, ids=repr)
def test_an_object_that_is_asked_for_is_asked_for_under_its_collection_alone(
    graph: Graph, front: ScriptedServer, other: ScriptedServer, object_id: str
) -> None:
    object_id = object_id.replace("E", host(other))
    front.body = b'{"value": []}'
    none = {"status": 200, "body": {"value": []}}
    front.batch = lambda requests: [{"id": request["id"], **none} for request in requests]
    client = graph.client(front.url)
    with connections() as reached:
        for part in (USERS, MEMBERS, SITES):
            with pytest.raises(SynchronizationFailure):
                graph.run(client.read_object(part, object_id))
        graph.run(client.ask(CHANNELS, [object_id]))
    assert host(front) in reached
    assert reached <= {host(front), host_of(graph)}
    assert other.requests == []
    for path, _ in front.requests:
        assert re.fullmatch(r"/v1\.0/(users|groups|sites)/[^/?#]+\?\$select=[\w,]+", path), path
    for batch in front.batches:
        assert [re.fullmatch(r"/teams/[^/?#]*/channels\?\$select=[\w,]+", entry["url"]) is None for entry in batch] == [
            False
        ]


# --- The connection itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["http://E/v1.0/users", "https://G/v1.0/users", "http://G@E/", "http://localhost:P/"]
)
def test_the_connection_sends_nothing_to_another_host_whoever_made_the_address(
    graph: Graph, front: ScriptedServer, other: ScriptedServer, address: str
) -> None:
    for name, value in (("G", host(front)), ("E", host(other)), ("P", host(other).partition(":")[2])):
        address = address.replace(name, value)
    connection = GraphConnection(
        Credentials(Settings()).of(graph.organization().entity),
        "https://graph.microsoft.com/.default",
        f"{front.url}/v1.0",
        timeout=5,
        longest_wait=0,
        clock=lambda: datetime.now(UTC),
    )

    async def send() -> None:
        try:
            await connection.send(RequestInformation(Method.GET, address))
        finally:
            await connection.close()

    with pytest.raises(PartFailure, match="not sent"):
        graph.run(send())
    assert (front.requests, other.requests) == ([], [])


# --- Registrations ------------------------------------------------------------------------------------------------

HOSTS = ["evil.example/", "https://evil.example", "evil.example:443", "user@evil.example", "//evil.example", "../evil"]
GUID = "11111111-2222-4333-8444-555555555555"
STRANGE = [
    *HOSTS,
    "",
    ".",
    "..",
    "a/b",
    "a\\b",
    "a%2fb",
    "a?b",
    "a#b",
    "a b",
    "a\n",
    "\na",
    "a\x00",
    "a.b\n",
    "ä",
    "ａ",
    "{a}",
]
FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "tenantId": lambda value: {"tenantId": value},
    "tenantId with more": lambda value: {"tenantId": GUID + value},
    "name": lambda value: {"name": value},
    "region": lambda value: {"region": value},
    "clientId": lambda value: {"application": {**APPLICATION, "clientId": value}},
    "objectId": lambda value: {"application": {**APPLICATION, "objectId": value}},
    "servicePrincipalId": lambda value: {"application": {**APPLICATION, "servicePrincipalId": value}},
    "keyVaultSecret": lambda value: {"credential": {"kind": "secret", "keyVaultSecret": value}},
    "kind": lambda value: {"credential": {"kind": value}},
    "authority": lambda value: {"authority": f"https://{value}"},
    "graphUrl": lambda value: {"graphUrl": f"https://{value}"},
    "vault": lambda value: {"credential": {"kind": "secret", "keyVaultSecret": "a", "keyVaultUrl": value}},
}


def register(**changed: Any) -> OrganizationRegistration:
    document = {"tenantId": TENANT_ID, "name": "contoso.com", "application": APPLICATION, **changed}
    return OrganizationRegistration.model_validate(document)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_a_registration_that_could_name_a_host_or_a_path_is_refused(field: str) -> None:
    for value in STRANGE:
        if field.endswith("with more") and not value:
            continue
        with pytest.raises(ValidationError):
            register(**FIELDS[field](value))


@given(st.text())
def test_whatever_is_taken_for_the_name_of_a_secret_stays_one_segment_of_a_path(value: str) -> None:
    try:
        name = register(credential={"kind": "secret", "keyVaultSecret": value}).credential.key_vault_secret
    except ValidationError:
        return
    assert name
    assert set(name) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")


@pytest.mark.parametrize("written", ["{}", "{{{}}}", "urn:uuid:{}"], ids=["plain", "in braces", "as a URN"])
def test_a_tenants_id_is_kept_in_one_form_however_it_is_written(written: str) -> None:
    for given_id in (GUID, GUID.upper(), GUID.replace("-", "")):
        try:
            tenant_id = register(tenantId=written.format(given_id)).tenant_id
        except ValidationError:
            continue
        assert str(tenant_id) == str(UUID(GUID))


@pytest.mark.parametrize("kind", CredentialKind)
def test_a_name_that_is_an_address_is_never_called(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, kind: CredentialKind
) -> None:
    with sign_in(graph.tenant, monkeypatch, Region.WORLDWIDE) as world, connections() as reached:
        registered = graph.organization(**world.prepare(kind), name="169.254.169.254")
        assert graph.run(graph.clients(**world.settings).get(registered).first_page(USERS)).read().records
    own = {world.authority.url, world.identity.url, world.vault.url, graph.tenant.url}
    assert reached <= {urlsplit(url).netloc for url in own}


def test_every_clouds_addresses_are_microsofts() -> None:
    microsofts = r"[a-z.-]+\.(microsoft\.(com|us)|microsoftonline\.(com|us)|chinacloudapi\.cn)"
    for cloud in CLOUDS.values():
        assert cloud.graph.startswith("https://")
        assert all(re.fullmatch(microsofts, name) for name in (urlsplit(cloud.graph).netloc, cloud.authority))


# --- Settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://graph.microsoft.com", "http://10.0.0.1:7072", "http://127.0.0.1.evil.example", "http://user:p@localhost",
        "https://graph.microsoft.com@evil.example", "http://localhost?x", "http://localhost#x", "ftp://localhost",
        "graph.microsoft.com",
    ],
)  # fmt: skip
def test_tokens_are_not_sent_where_others_could_read_them(url: str) -> None:
    with pytest.raises(ValidationError, match="graph_url"):
        Settings.of({"GRAPH_URL": url})


@pytest.mark.parametrize(
    "url",
    [
        "http://contoso.vault.azure.net", "https://contoso.vault.azure.net/secrets/x", "https://u:p@contoso.vault.azure.net",
        "https://contoso.vault.azure.net?x", "https://contoso.vault.azure.net#x", "contoso.vault.azure.net",
    ],
)  # fmt: skip
def test_a_vaults_address_is_its_host_over_tls(url: str) -> None:
    with pytest.raises(ValidationError, match="key_vault_url"):
        Settings.of({"KEY_VAULT_URL": url})


@pytest.mark.parametrize("url", ["https://graph.microsoft.us", "http://localhost:7072", "http://[::1]:7072/x"])
def test_a_graph_of_ones_own_is_taken(url: str) -> None:
    assert str(Settings.of({"GRAPH_URL": url}).graph_url).startswith(url)
