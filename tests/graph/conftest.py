"""Gives the tests of the Graph client a tenant to talk to, and another server in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import httpx
import pytest

from local.tenant import Directory, TenantServer
from tests.graph.servers import ScriptedServer, scripted_server
from tests.graph.support import CALM, Graph


@pytest.fixture
def graph(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    """A tenant of 50 users, or of the sizes that a test gives by indirect parametrization."""
    sizes = {"users": 50, "groups": 12, "sites": 9} | getattr(request, "param", {})
    waits: list[float] = []

    async def at_once(delay: float) -> None:
        waits.append(delay)

    with (
        TenantServer(Directory(**sizes), CALM) as tenant,
        httpx.Client(base_url=f"{tenant.url}/control") as control,
        asyncio.Runner() as runner,
    ):
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{tenant.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "local-identity-header")
        with ExitStack() as cleanup, monkeypatch.context() as patched:
            patched.setattr("kiota_http.middleware.retry_handler.asyncio", SimpleNamespace(sleep=at_once))
            yield Graph(tenant, control, runner, cleanup, waits)


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server
