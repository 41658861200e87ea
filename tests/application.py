"""The whole product for a test: function_app.py in the local host, over real HTTP, beside a simulated tenant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

import function_app
import shared.services
from local.comparison import Comparison, compare
from local.host import HostServer
from local.tenant import TenantServer
from shared.services import Services, services
from shared.settings import Settings, settings
from tests.documented import check_documented

NAME = "contoso.onmicrosoft.com"
APPLICATION = {
    "clientId": "6f3a1d52-8c0b-4e57-9a44-0d1e2c3b4a59",
    "objectId": "0b9f4c1e-52d7-4f38-8a6b-7e1d0c2f3a45",
    "servicePrincipalId": "c4d8e2a7-16f3-4b09-9d5c-3a7b1e0f2d68",
}
HOST_JSON = orjson.loads((Path(__file__).parent.parent / "host.json").read_bytes())
# Nothing waits in tests: what fails is delivered again at once.
HOST_JSON["extensions"]["queues"]["visibilityTimeout"] = "00:00:00"


class Clock:
    """The time, moved by the test; it begins at the real one."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.moved

    def forward(self, **by: float) -> None:
        """Moves the clock, e.g. ``forward(minutes=40)``."""
        self.moved += timedelta(**by)


class Application:
    """A running product.

    Attributes:
        client: Talks to the API; no answer may be one that the API's document does not have.
        tenant: The simulated tenant, or None.
        clock: What the product takes for the time.
    """

    def __init__(self, host: HostServer, tenant: TenantServer | None, clock: Clock) -> None:
        self.host = host
        self.tenant = tenant
        self.clock = clock
        self.client = httpx.Client(base_url=host.url, timeout=60, event_hooks={"response": [check_documented]})

    @property
    def services(self) -> Services:
        return services()

    @property
    def tenant_id(self) -> str:
        return self.tenant.directory.tenant_id if self.tenant else "5f0c2a1e-9d7b-4c3a-8e6f-102938475665"

    def registration(self, **changed: Any) -> dict[str, Any]:
        """A body for POST /organizations."""
        return {"tenantId": self.tenant_id, "name": NAME, "application": APPLICATION, **changed}

    def register(self, **changed: Any) -> dict[str, Any]:
        """Registers the organization and returns its entity."""
        return self.client.post("/organizations", json=self.registration(**changed)).raise_for_status().json()

    def start(self, **body: Any) -> dict[str, Any]:
        """Starts a synchronization and returns its run as it is then."""
        return self.client.post(f"/organizations/{NAME}/sync", json=body).raise_for_status().json()

    def synchronize(self, **body: Any) -> dict[str, Any]:
        """Starts a synchronization and returns its run when nothing is left on the queues."""
        run = self.start(**body)
        self.host.drain()
        return self.run(run["activityIdentifier"])

    def run(self, activity_identifier: str) -> dict[str, Any]:
        """A run as it is now."""
        return self.client.get(f"/organizations/{NAME}/syncs/{activity_identifier}").raise_for_status().json()

    def sync_state(self) -> dict[str, Any]:
        """The organization's state."""
        return self.client.get(f"/organizations/{NAME}/syncState").raise_for_status().json()

    def job(self) -> dict[str, Any]:
        """The organization's synchronizationJob."""
        jobs = self.client.get(f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs")
        return jobs.raise_for_status().json()["value"][0]

    def plan(self) -> None:
        """Fires the planner's timer and waits for what comes of it."""
        self.host.fire_timer("plan_synchronizations")
        self.host.drain()

    def control(self, method: str, path: str, body: object = None) -> Any:
        """A call of the tenant's control surface."""
        assert self.tenant
        answer = httpx.request(method, f"{self.tenant.url}/control{path}", json=body, timeout=60).raise_for_status()
        return answer.json() if answer.content else None

    def compare(self) -> Comparison:
        """The cache against the tenant's truth."""
        assert self.tenant
        return compare(self.services.database, self.tenant.url, NAME)


def tenant_settings(tenant: TenantServer) -> dict[str, str]:
    """The app settings that make the simulated tenant the product's Graph, and its source of tokens for it."""
    return {
        "GRAPH_URL": tenant.url,
        "IDENTITY_ENDPOINT": f"{tenant.url}/msi/token",
        "IDENTITY_HEADER": "local-identity-header",
    }


@contextmanager
def running_application(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer | None = None, **changed: str
) -> Iterator[Application]:
    """The product on this database; ``changed`` are app settings."""
    clock = Clock()
    values = {"DATABASE_URL": database_url, "SYNC_SCHEDULE": "0 * * * * *"}
    if tenant is not None:
        values |= tenant_settings(tenant)
    for name, value in {**values, **changed}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shared.services, "utc_now", clock)
    _forget()
    made = _made(monkeypatch)
    try:
        with HostServer(function_app.app, host_json=HOST_JSON, timers=False, instances=4) as host:
            application = Application(host, tenant, clock)
            try:
                yield application
            finally:
                application.client.close()
                host.call(host.host.stop())
                for used in made:
                    host.call(used.graph.close())
    finally:
        for used in made:
            used.database.close()
        _forget()


def _made(monkeypatch: pytest.MonkeyPatch) -> list[Services]:
    """All services that are made from now on: those of a product are forgotten and made anew when another one that ran
    meanwhile ends."""
    made: list[Services] = []
    create = Services.create

    def record(given: Settings, now: Callable[[], datetime]) -> Services:
        made.append(create(given, now))
        return made[-1]

    monkeypatch.setattr(Services, "create", record)
    return made


def _forget() -> None:
    services.cache_clear()
    settings.cache_clear()
