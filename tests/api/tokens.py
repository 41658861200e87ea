"""What the tests of protection share: the product that asks for tokens, and tokens of all kinds for it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from local.tenant import TenantServer
from local.tenant.issuer import READ, READ_WRITE, app_claims
from tests.api.support import held_application
from tests.application import Application

API = "3c7e9a12-5b4d-4f60-8e21-9d0f6a7b8c95"
"""The client id of the API's own app registration."""
OTHER_TENANT = "7a1d3f52-0c94-4e8b-b6a3-5e2f80d1c749"


@contextmanager
def protected_application(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer, **changed: str
) -> Iterator[Application]:
    """The product that trusts the tenant's token service, operated by that tenant; slices are held back."""
    with held_application(monkeypatch, database_url, tenant, **{**trust(tenant), **changed}) as application:
        yield application


def trust(tenant: TenantServer) -> dict[str, str]:
    """The app settings of a product that trusts the tenant's token service and is operated by that tenant."""
    return {
        "AUTH_MODE": "entra",
        "AUTH_TENANT_ID": tenant.directory.tenant_id,
        "AUTH_AUDIENCE": API,
        "AUTH_JWKS_URL": f"{tenant.url}/common/discovery/v2.0/keys",
    }


def claims(tenant: TenantServer, *roles: str, tenant_id: str | None = None, **changed: Any) -> dict[str, Any]:
    """An application's claims; a claim that is changed to None is left out."""
    given = {**app_claims(tenant_id or tenant.directory.tenant_id, API, roles or (READ_WRITE,)), **changed}
    return {name: value for name, value in given.items() if value is not None}


def token(tenant: TenantServer, *roles: str, tenant_id: str | None = None, **changed: Any) -> str:
    """A token that the token service of the tenant has signed."""
    return tenant.tenant.issuer.sign(claims(tenant, *roles, tenant_id=tenant_id, **changed))


def bearer(given: str) -> dict[str, str]:
    """The header with a token."""
    return {"Authorization": f"Bearer {given}"}


def reader(tenant: TenantServer, tenant_id: str | None = None) -> dict[str, str]:
    """The header of somebody who may read."""
    return bearer(token(tenant, READ, tenant_id=tenant_id))


def writer(tenant: TenantServer, tenant_id: str | None = None) -> dict[str, str]:
    """The header of somebody who may do everything."""
    return bearer(token(tenant, READ_WRITE, tenant_id=tenant_id))


def raw_token(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def key_fetches(tenant: TenantServer) -> int:
    """How often the keys were asked for."""
    counted = httpx.get(f"{tenant.url}/control/requests").raise_for_status().json()
    return sum(number for path, number in counted["paths"].items() if path.endswith("/discovery/v2.0/keys"))
