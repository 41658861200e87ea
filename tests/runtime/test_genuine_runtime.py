"""The deployed package runs in Microsoft's own runtime for Python 3.13, from the request to the synchronized cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

import function_app
from local.comparison import compare
from local.host.metadata import FunctionInfo, read_functions
from local.host.routing import Router
from local.tenant import TenantServer
from shared.cache.database import Database
from tests.api.support import small_tenant
from tests.api.tokens import reader, trust, writer
from tests.application import APPLICATION, NAME, tenant_settings
from tests.runtime.environment import Environment
from tests.runtime.genuine import GenuineApp, HttpAnswer, InvocationFailed, worker

# One of pytest-xdist's workers makes the environment, while the others need not wait for it.
pytestmark = pytest.mark.xdist_group("runtime")

# The worker passes references to settings on, which the host resolves.
FUNCTIONS = {
    function.name: function for function in read_functions(function_app.app, {"SYNC_SCHEDULE": "%SYNC_SCHEDULE%"})
}
BY_QUEUE = {
    str(function.trigger.properties["queueName"]): function
    for function in FUNCTIONS.values()
    if function.trigger.type == "queueTrigger"
}


class Deployment:
    """The app in the genuine runtime, with a caller who may do everything."""

    def __init__(self, app: GenuineApp, tenant: TenantServer, database: Database) -> None:
        self.app = app
        self.tenant = tenant
        self.database = database

    def call(self, method: str, target: str, body: object = None) -> HttpAnswer:
        answer = self.app.request(method, target, body, writer(self.tenant))
        assert answer.status < 300, answer.body
        return answer

    def register(self) -> None:
        body = {"tenantId": self.tenant.directory.tenant_id, "name": NAME, "application": APPLICATION}
        self.call("POST", "/organizations", body)

    def start(self) -> str:
        """Starts a synchronization and gives the path of its run."""
        return self.call("POST", f"/organizations/{NAME}/sync").headers["Location"]

    def deliver_all(self) -> None:
        """Delivers messages until no queue has any."""
        while waiting := [name for name, messages in self.app.queues.items() if messages]:
            for name in waiting:
                self.app.deliver(BY_QUEUE[name], self.app.queues[name].popleft())

    def sync_state(self) -> dict[str, Any]:
        return self.call("GET", f"/organizations/{NAME}/syncState").json


@pytest.fixture
def deployment(deployed: Environment, package: Path, database_url: str) -> Iterator[Deployment]:
    with ExitStack() as opened:
        tenant = opened.enter_context(small_tenant())
        settings = {
            "SYNC_SCHEDULE": "0 * * * * *",
            **tenant_settings(tenant),
            **trust(tenant),
            # As in Azure, where the app refuses to start unprotected.
            "WEBSITE_SITE_NAME": "cache",
            "DATABASE_URL": database_url,
            "REQUEUE_SECONDS": "0.001",
        }
        running = opened.enter_context(worker(deployed, package, settings))
        database = Database(database_url)
        opened.callback(database.close)
        yield Deployment(GenuineApp(running, Router(FUNCTIONS.values(), ""), package), tenant, database)


@pytest.fixture
def indexed(deployed: Environment, package: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """What the runtime has indexed, by the functions' names."""
    with worker(deployed, package, {"AUTH_MODE": "none"}) as running:
        yield GenuineApp(running, Router((), ""), package).functions


def test_every_function_is_indexed_with_the_bindings_that_the_local_host_runs_it_by(
    indexed: dict[str, dict[str, Any]],
) -> None:
    assert {name: _raw_bindings(function) for name, function in indexed.items()} == {
        name: _bindings(function) for name, function in FUNCTIONS.items()
    }


def test_an_organization_is_synchronized_and_again_after_changes(deployment: Deployment) -> None:
    assert deployment.call("GET", "/health").json["status"] == "Healthy"
    deployment.register()
    for expected in ("Full", "Incremental"):
        run = deployment.start()
        deployment.deliver_all()

        told = deployment.call("GET", run).json
        assert (told["type"], told["status"]) == (expected, "Succeeded")
        assert deployment.sync_state()["syncStatus"] == "Success"
        assert compare(deployment.database, deployment.tenant.url, NAME).differences == []
        httpx.post(f"{deployment.tenant.url}/control/mutate", json={"count": 20, "seed": 2}).raise_for_status()


def test_the_planners_timer_brings_back_a_run_whose_messages_were_lost(deployment: Deployment) -> None:
    deployment.register()
    run = deployment.start()
    deployment.app.queues.clear()

    deployment.app.fire(FUNCTIONS["plan_synchronizations"])
    deployment.deliver_all()

    assert deployment.call("GET", run).json["status"] == "Succeeded"
    assert compare(deployment.database, deployment.tenant.url, NAME).differences == []


def test_the_nightly_timer_has_the_cache_compared_with_graphs_counts(deployment: Deployment) -> None:
    deployment.register()
    deployment.start()
    deployment.deliver_all()
    assert deployment.sync_state()["parts"]["users"]["parity"] is None

    deployment.app.fire(FUNCTIONS["check_parity"])
    deployment.deliver_all()

    found = deployment.sync_state()["parts"]["users"]["parity"]
    assert found["drift"] == 0
    assert found["expected"] > 0


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_callers_without_the_permission_and_without_a_token_are_refused(deployment: Deployment) -> None:
    deployment.register()
    target = f"/organizations/{NAME}/sync"

    stranger = deployment.app.request("POST", target)
    onlooker = deployment.app.request("POST", target, headers=reader(deployment.tenant))

    assert [(answer.status, "error" in answer.json) for answer in (stranger, onlooker)] == [(401, True), (403, True)]
    assert stranger.headers["WWW-Authenticate"].startswith("Bearer")
    assert not any(deployment.app.queues.values())


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_message_that_cannot_be_read_fails_so_that_the_host_delivers_it_again(deployment: Deployment) -> None:
    with pytest.raises(InvocationFailed, match="ValidationError"):
        deployment.app.deliver(FUNCTIONS["synchronize_slice"], '{"not": "a slice"}')


def _raw_bindings(function: dict[str, Any]) -> list[dict[str, Any]]:
    return _sorted(json.loads(binding) for binding in function["raw_bindings"])


def _bindings(function: FunctionInfo) -> list[dict[str, Any]]:
    returned = [function.return_binding] if function.return_binding else []
    return _sorted(dict(binding.properties) for binding in (function.trigger, *function.outputs, *returned))


def _sorted(bindings: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(bindings, key=lambda binding: binding["name"])
