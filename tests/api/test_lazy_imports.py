"""Reading state does not pay for what talks to Graph, migrates the database or changes anything: it is not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson

from tests.api.support import jobs_path
from tests.application import NAME, Application

ROOT = Path(__file__).parents[2]
EXPENSIVE = [
    "msgraph", "msgraph_core", "kiota_", "azure.identity", "azure.keyvault", "azure.core", "azure.monitor", "msal",
    "alembic", "jwt", "opentelemetry",
]  # fmt: skip
# Rooms and models of the product that only runs, changes and schemas need.
BEYOND_STATE = [
    "shared.sync.",
    "shared.api.openapi",
    "shared.api.views.reference",
    "shared.graph.batches",
    "shared.cache.escrows",
    "shared.cache.held_deletions",
    "shared.models.job_changes",
    "shared.models.records",
    "shared.models.schema",
    "shared.models.slices",
    "shared.telemetry",
]
# The test's own client of HTTP would be among them; and on PostgreSQL, its driver.
NOT_AT_IMPORT = ["httpx", "psycopg", "sqlalchemy.dialects."]

# Answers requests as the local host does, in a process that has done nothing else.
PROGRAM = """
import asyncio, json, sys

import function_app

def loaded(names):
    return sorted(name for name in sys.modules if name.startswith(tuple(json.loads(names))))

after_import = loaded(sys.argv[1]) + loaded(sys.argv[2])

import httpx
from local.host import FunctionsHost

async def answer():
    host_json = {"extensions": {"http": {"routePrefix": ""}}}
    async with FunctionsHost(function_app.app, host_json=host_json, timers=False, port=None) as host:
        transport = httpx.ASGITransport(host.asgi_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return [(await client.get(path)).status_code for path in json.loads(sys.argv[3])]

statuses = asyncio.run(answer())
print(json.dumps({"after_import": after_import, "statuses": statuses, "after_requests": loaded(sys.argv[1])}))
"""


def test_only_requests_for_the_apis_description_load_what_makes_it() -> None:
    program = "import sys, shared.triggers.documentation, shared.api.interface; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()

    assert "shared.api.views.run" in loaded
    assert not {"shared.api.openapi", "shared.api.views.reference"} & set(loaded)


def test_importing_the_app_and_answering_about_state_loads_nothing_that_only_runs_and_changes_need(
    registry: Application, database_url: str
) -> None:
    entity = registry.register()
    paths = [
        f"/organizations/{NAME}/syncState",
        "/organizations/syncState",
        jobs_path(),
        f"{jobs_path('beta', 'servicePrincipals')}/{entity['jobId']}",
        "/organizations",
        f"/organizations/{NAME}",
        "/health",
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AzureWebJobs")},
        "DATABASE_URL": database_url,
        "PYTHONPATH": str(ROOT),
    }

    process = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            orjson.dumps(EXPENSIVE + BEYOND_STATE),
            orjson.dumps(NOT_AT_IMPORT),
            orjson.dumps(paths),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert process.returncode == 0, process.stderr
    told = orjson.loads(process.stdout.splitlines()[-1])
    assert told["statuses"] == [200] * len(paths)
    assert told["after_import"] == []
    assert told["after_requests"] == []
