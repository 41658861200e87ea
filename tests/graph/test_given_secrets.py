"""A caller's client secret is tried at the organization's own authority, and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.graph.client import GraphClient
from shared.graph.clouds import CLOUDS
from shared.models.errors import GraphRefused, GraphUnavailable
from shared.models.organizations import Region
from tests.application import APPLICATION
from tests.graph.authority import Authority, running_authority
from tests.graph.support import USERS, Graph

CHINA = CLOUDS[Region.CHINA]


@pytest.fixture
def authority(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """The authority of China's cloud."""
    with running_authority(graph.tenant) as running:
        monkeypatch.setitem(CLOUDS, Region.CHINA, replace(CHINA, authority=running.url))
        yield running


def given(graph: Graph, secret: str, client_id: str | None = None) -> GraphClient:
    client = graph.clients().with_secret(graph.organization(region="China"), client_id, secret)
    graph.cleanup.callback(lambda: graph.run(client.close()))
    return client


@pytest.mark.parametrize(
    ("client_id", "used"), [(None, APPLICATION["clientId"]), ("11111111-2222-4333-8444-555555555555",) * 2]
)
def test_a_right_secret_signs_in_to_the_organizations_tenant_in_its_cloud(
    graph: Graph, authority: Authority, client_id: str | None, used: str
) -> None:
    client = given(graph, authority.secret, client_id)
    assert authority.requests == []
    graph.run(client.probe(USERS))
    assert len(graph.run(client.first_page(USERS)).read().records) == 50
    ((path, form),) = authority.requests
    assert path == f"/{graph.tenant.directory.tenant_id}/oauth2/v2.0/token"
    assert (form["client_id"], form["client_secret"], form["scope"]) == (used, authority.secret, CHINA.scope)


def test_a_wrong_secret_is_for_the_tenant_to_repair_and_not_repeated(graph: Graph, authority: Authority) -> None:
    with pytest.raises(GraphRefused) as failed:
        graph.run(given(graph, "hunter2").probe(USERS))
    assert failed.value.code == "EncounteredCredentialError"
    assert failed.value.tenant_actionable
    assert failed.value.message == "No token for GET /users/delta was issued to the application (AADSTS7000215)."
    assert graph.asked() == {}


def test_an_authority_that_is_not_there_may_be_there_later(graph: Graph, authority: Authority) -> None:
    clients = graph.clients(graph_timeout_seconds=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLOUDS, Region.CHINA, replace(CHINA, authority="https://127.0.0.1:1"))
        client = clients.with_secret(graph.organization(region="China"), None, authority.secret)
    graph.cleanup.callback(lambda: graph.run(client.close()))
    with pytest.raises(GraphUnavailable) as failed:
        graph.run(client.probe(USERS))
    assert failed.value.code == "NoAnswer"


@pytest.mark.parametrize(("client_id", "secret"), [(None, ""), ("", "right-secret")])
def test_an_empty_secret_or_client_id_is_refused_at_once(graph: Graph, client_id: str | None, secret: str) -> None:
    with pytest.raises(GraphRefused) as failed:
        given(graph, secret, client_id)
    assert failed.value.code == "CredentialUnavailable"


def test_the_client_is_the_callers_alone(graph: Graph, authority: Authority) -> None:
    clients, contoso = graph.clients(), graph.organization(region="China")
    own = clients.get(contoso)
    client = clients.with_secret(contoso, None, authority.secret)
    assert clients.get(contoso) is own
    graph.run(clients.close())
    graph.run(client.probe(USERS))
    assert graph.asked().keys() == {"/v1.0/users/delta"}
    graph.run(client.close())


def test_the_organizations_own_secret_signs_in_likewise(
    graph: Graph, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORGANIZATION_SECRET_CONTOSO_1", authority.secret)
    credential = {"kind": "secret", "keyVaultSecret": "contoso-1"}
    graph.run(graph.clients().get(graph.organization(region="China", credential=credential)).probe(USERS))
    ((_, form),) = authority.requests
    assert (form["client_id"], form["client_secret"]) == (APPLICATION["clientId"], authority.secret)
