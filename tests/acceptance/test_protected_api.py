"""An unmodified msgraph-sdk client drives the jobs of a product that asks for tokens, which it gets by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from azure.core.credentials import AccessToken
from kiota_abstractions.authentication import AnonymousAuthenticationProvider
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.graph_request_adapter import GraphRequestAdapter, options
from msgraph.graph_service_client import GraphServiceClient
from msgraph_core import GraphClientFactory

from local.tenant import TenantServer
from local.tenant.issuer import READER, SECRET, WRITER
from tests.api.support import another_organization, small_tenant
from tests.api.tokens import API, OTHER_TENANT, protected_application, writer
from tests.application import APPLICATION, Application
from tests.databases import Databases


class ClientSecret:
    """The client credentials grant, for a token service without TLS, which azure-identity's own class refuses.

    Attributes:
        claims: What was asked for beyond a token, each time.
    """

    def __init__(self, tenant: TenantServer, tenant_id: str, client_id: str) -> None:
        self._url = f"{tenant.url}/{tenant_id}/oauth2/v2.0/token"
        self._client_id = client_id
        self._kept: AccessToken | None = None
        self.claims: list[str | None] = []

    def get_token(self, *scopes: str, claims: str | None = None, **_: Any) -> AccessToken:
        """A token; the same one again unless other claims are asked for, as azure-identity's credentials do."""
        self.claims.append(claims)
        if self._kept is None or claims:
            form = {"grant_type": "client_credentials", "client_id": self._client_id, "client_secret": SECRET}
            answer = httpx.post(self._url, data={**form, "scope": scopes[0]}).raise_for_status().json()
            self._kept = AccessToken(answer["access_token"], answer["expires_in"])
        return self._kept


@pytest.fixture
def tenant() -> Iterator[TenantServer]:
    with small_tenant() as tenant:
        yield tenant


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tenant: TenantServer) -> Iterator[Application]:
    """The product with the operator's organization, and one of another tenant that has the same application."""
    with protected_application(monkeypatch, sqlite_url, tenant) as running:
        running.client.headers.update(writer(tenant))
        running.register()
        other = another_organization(tenantId=OTHER_TENANT, application=APPLICATION)
        running.client.post("/organizations", json=other).raise_for_status()
        yield running


@pytest.fixture
def sqlite_url(databases: Databases) -> Iterator[str]:
    with databases.fresh("sqlite") as url:
        yield url


def ask(application: Application, credential: ClientSecret | None, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """What the SDK makes of the answer; a client without a credential sends no token."""

    async def do() -> Any:
        async with httpx.AsyncHTTPTransport() as transport:
            client = GraphClientFactory.create_with_default_middleware(
                client=httpx.AsyncClient(transport=transport), options=options
            )
            provider = AnonymousAuthenticationProvider()
            if credential is not None:
                provider = AzureIdentityAuthenticationProvider(
                    credential, scopes=[f"api://{API}/.default"], allowed_hosts=["127.0.0.1"]
                )
            adapter = GraphRequestAdapter(provider, client)
            adapter.base_url = f"{application.host.url}/v1.0"
            graph = GraphServiceClient(request_adapter=adapter)
            return await work(graph.applications.by_application_id(APPLICATION["objectId"]).synchronization)

    return asyncio.run(do())


def test_a_client_with_a_credential_reads_and_drives_its_own_tenants_job(
    application: Application, tenant: TenantServer
) -> None:
    operator = ClientSecret(tenant, tenant.directory.tenant_id, WRITER)
    other = ClientSecret(tenant, OTHER_TENANT, WRITER)

    async def start(synchronization: Any) -> Any:
        job = (await synchronization.jobs.get()).value[0]
        await synchronization.jobs.by_synchronization_job_id(job.id).start.post()
        return await synchronization.jobs.by_synchronization_job_id(job.id).get()

    async def listed(synchronization: Any) -> list[str]:
        return [job.id for job in (await synchronization.jobs.get()).value]

    started = ask(application, other, start)

    assert OTHER_TENANT.replace("-", "") in started.id
    assert started.schedule.state.value == "Active"
    assert ask(application, other, listed) == [started.id]
    assert len(ask(application, operator, listed)) == 2


def test_a_client_without_the_permission_or_without_a_token_is_told_so(
    application: Application, tenant: TenantServer
) -> None:
    async def start(synchronization: Any) -> Any:
        job = (await synchronization.jobs.get()).value[0]
        await synchronization.jobs.by_synchronization_job_id(job.id).start.post()

    for credential, status, code in (
        (ClientSecret(tenant, OTHER_TENANT, READER), 403, "Authorization_RequestDenied"),
        (None, 401, "InvalidAuthenticationToken"),
    ):
        with pytest.raises(ODataError) as raised:
            ask(application, credential, start)
        assert (raised.value.response_status_code, raised.value.error and raised.value.error.code) == (status, code)


def test_a_client_whose_tokens_key_was_withdrawn_asks_for_another_token_by_itself(
    application: Application, tenant: TenantServer
) -> None:
    credential = ClientSecret(tenant, OTHER_TENANT, READER)
    read: Callable[[Any], Awaitable[Any]] = lambda synchronization: synchronization.jobs.get()  # noqa: E731
    assert len(ask(application, credential, read).value) == 1
    tenant.tenant.issuer.rotate(withdraw=True)
    # The product looks its keys up again every hour; its clock is then not yet beyond what a new token allows for.
    application.clock.forward(minutes=60, seconds=5)

    assert len(ask(application, credential, read).value) == 1
    assert [bool(claims) for claims in credential.claims] == [False, False, True]
