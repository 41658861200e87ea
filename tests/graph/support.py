"""A client that talks to the simulated tenant, and the words of tests that use it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
import orjson
import pytest

from local.tenant import Options, TenantServer
from shared.graph.client import GraphClient
from shared.graph.clients import GraphClients
from shared.models.organizations import Organization, OrganizationEntity
from shared.models.parts import CATALOGUE, Part, PartName
from shared.models.records import Page
from shared.settings import Settings
from tests.application import APPLICATION, NAME

T = TypeVar("T")

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = (CATALOGUE[name] for name in PartName)
EVERY_PART = pytest.mark.parametrize(
    "part", [part for part in CATALOGUE.values() if part.source is None], ids=lambda part: part.name
)
"""Every part that is read from a delta query of its own."""
CALM = Options(replay_probability=0, empty_page_probability=0)


@dataclass
class Graph:
    """A client that talks to the tenant, or to another server in its place.

    Attributes:
        surface: The tenant's control surface.
        waits: The seconds that the SDK waited for, none of them really.
    """

    tenant: TenantServer
    surface: httpx.Client
    runner: asyncio.Runner
    cleanup: ExitStack
    waits: list[float]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def clients(self, url: str | None = None, **changed: Any) -> GraphClients:
        settings = Settings.model_validate({"graph_url": url or self.tenant.url, **changed})
        clients = GraphClients(settings, lambda: datetime.now(UTC))
        self.cleanup.callback(lambda: self.run(clients.close()))
        return clients

    def client(self, url: str | None = None, credential: dict[str, str] | None = None, **changed: Any) -> GraphClient:
        return self.clients(url, **changed).get(self.organization(credential=credential or {}))

    def organization(self, **changed: Any) -> Organization:
        return organization(self.tenant.directory.tenant_id, **changed)

    def control(self, path: str, body: object = None, method: str = "POST") -> Any:
        answer = self.surface.request(method, path, json=body).raise_for_status()
        return answer.json() if answer.content else None

    def fault(self, **rule: Any) -> None:
        self.control("/faults", [{"path": "^/v1.0", **rule}])

    def truth(self, kind: str) -> list[Any]:
        return [orjson.loads(line) for line in self.surface.get(f"/truth/{kind}").text.splitlines()]

    def asked(self) -> dict[str, int]:
        return self.control("/requests", method="GET")["paths"]

    def read(self, client: GraphClient, part: Part) -> list[Page]:
        """All pages of the part's delta query."""

        async def pages() -> list[Page]:
            found = [await client.first_page(part)]
            while (link := found[-1].next_link) is not None:
                found.append(await client.next_page(part, link))
            return [page.read() for page in found]

        return self.run(pages())


def organization(tenant_id: str, **changed: Any) -> Organization:
    entity = {"id": tenant_id, "jobId": "x", "registeredDateTime": "2026-01-02T03:00:00Z", "tenantId": tenant_id}
    document = {**entity, "name": NAME, "application": APPLICATION, **changed}
    return Organization(1, OrganizationEntity.model_validate(document))
