"""The simulated tenant's token service: clients get tokens for their secret, and the published keys check them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from local.tenant import Directory, TenantServer
from local.tenant.issuer import READER, SECRET, WRITER

AUDIENCE = str(uuid4())


@pytest.fixture(scope="module")
def tenant() -> Iterator[TenantServer]:
    with TenantServer(Directory(users=10)) as server:
        yield server


def ask(tenant: TenantServer, tenant_id: str | None = None, **changed: str) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": WRITER,
        "client_secret": SECRET,
        "scope": f"api://{AUDIENCE}/.default",
    }
    where = tenant_id or tenant.directory.tenant_id
    return httpx.post(f"{tenant.url}/{where}/oauth2/v2.0/token", data={**form, **changed})


def checked(tenant: TenantServer, token: str) -> dict[str, Any]:
    """The claims, checked as an API does that is told nothing but the address of the metadata."""
    metadata = httpx.get(f"{tenant.url}/common/v2.0/.well-known/openid-configuration").json()
    key = jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=AUDIENCE)
    assert claims["iss"] == metadata["issuer"].replace("{tenantid}", claims["tid"])
    return claims


@pytest.mark.parametrize(("client", "role"), [(READER, "Read"), (WRITER, "ReadWrite")])
def test_a_client_gets_a_token_with_its_roles_for_whatever_tenant(tenant: TenantServer, client: str, role: str) -> None:
    for tenant_id in (tenant.directory.tenant_id, str(uuid4())):
        given = ask(tenant, tenant_id, client_id=client).raise_for_status().json()

        claims = checked(tenant, given["access_token"])
        assert (claims["tid"], claims["roles"]) == (tenant_id, [f"Synchronization.{role}.All"])
        assert claims["exp"] - claims["nbf"] == given["expires_in"]


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": str(uuid4())}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "openid"}, 400, "invalid_scope"),
    ],
)
def test_a_request_that_entra_would_refuse_is_refused(
    tenant: TenantServer, changed: dict[str, str], status: int, error: str
) -> None:
    answer = ask(tenant, **changed)

    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_keys_change_and_older_ones_stay_until_they_are_withdrawn(tenant: TenantServer) -> None:
    older = ask(tenant).json()["access_token"]
    tenant.tenant.issuer.rotate()
    newer = ask(tenant).json()["access_token"]
    assert checked(tenant, older)["tid"] == checked(tenant, newer)["tid"]
    tenant.tenant.issuer.rotate(withdraw=True)

    for token in (older, newer):
        with pytest.raises(jwt.PyJWKClientError):
            checked(tenant, token)


def test_the_simulated_graph_takes_no_token_of_the_token_service(tenant: TenantServer) -> None:
    headers = {"Authorization": f"Bearer {ask(tenant).json()['access_token']}"}

    assert httpx.get(f"{tenant.url}/v1.0/organization", headers=headers).status_code == 401
