"""What the API's tests run on."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from local.tenant import TenantServer
from tests.api.support import held_application, small_tenant
from tests.application import Application, running_application
from tests.databases import Databases


@pytest.fixture(scope="session")
def shared_tenant() -> Iterator[TenantServer]:
    """A small tenant that no test changes."""
    with small_tenant() as tenant:
        yield tenant


@pytest.fixture
def tenant(shared_tenant: TenantServer) -> Iterator[TenantServer]:
    """A small tenant: what is switched on in it, and what it counted, ends with the test."""
    httpx.delete(f"{shared_tenant.url}/control/requests").raise_for_status()
    yield shared_tenant
    httpx.delete(f"{shared_tenant.url}/control/faults").raise_for_status()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Application]:
    """The product without a tenant, for what needs none; runs stay queued."""
    with held_application(monkeypatch, database_url) as application:
        yield application


@pytest.fixture
def sqlite_url(databases: Databases) -> Iterator[str]:
    """A fresh database for what does not depend on which one it is."""
    with databases.fresh("sqlite") as url:
        yield url


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer) -> Iterator[Application]:
    """The product beside a small tenant, on both databases."""
    with running_application(monkeypatch, database_url, tenant) as application:
        yield application
        # A test that failed may have left work behind, which must not lose its database in the middle.
        application.host.drain()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tenant: TenantServer) -> Iterator[Application]:
    """The product beside a small tenant, whose slices are done only when the test hands their messages over."""
    with held_application(monkeypatch, sqlite_url, tenant) as application:
        yield application
