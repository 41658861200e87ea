"""A host that is killed in the middle of the initial run goes on where it was, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.comparison import compare
from local.tenant import Directory, Options, TenantServer
from shared.cache.database import Database
from tests.application import APPLICATION, NAME

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 60


@contextmanager
def host_process(database_url: str, tenant: TenantServer) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """``python -m local.host`` with leases and schedules short enough for a test."""
    settings = {
        "DATABASE_URL": database_url,
        "GRAPH_URL": tenant.url,
        "IDENTITY_ENDPOINT": f"{tenant.url}/msi/token",
        "IDENTITY_HEADER": "local-identity-header",
        "SYNC_SCHEDULE": "* * * * * *",
        "PARITY_SCHEDULE": "0 30 2 * * *",
        "LEASE_SECONDS": "1",
        "REQUEUE_SECONDS": "1",
        "GRAPH_PAGE_SIZE": "20",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "local.host", "--port", "0", "--app", str(ROOT), "--instances", "4"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        url = next(line.split()[-1] for line in process.stdout if line.startswith("host listening on"))
        with httpx.Client(base_url=url, timeout=30) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def wait_for_run(client: httpx.Client, run_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The run once it is as far as asked."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    run: dict[str, Any] = {}
    while time.monotonic() < deadline:
        run = client.get(f"/organizations/{NAME}/syncs/{run_id}").raise_for_status().json()
        if reached(run):
            return run
        time.sleep(0.02)
    raise AssertionError(f"the run did not get there in {PATIENCE_SECONDS} s: {run}")


def users_read(run: dict[str, Any]) -> int:
    return next(part["completed"] for part in run["parts"] if part["part"] == "users")


@pytest.mark.parametrize("kills", [[200], [60, 300, 700]], ids=["once", "three times"])
def test_the_run_goes_on_after_sigkill_and_the_cache_equals_the_tenant(database_url: str, kills: list[int]) -> None:
    options = Options(page_size=20, member_slice=10, latency_ms=10, replay_probability=0)
    with TenantServer(Directory(users=1000, groups=60, sites=40), options) as tenant:
        run_id = ""
        for number, users in enumerate(kills):
            with host_process(database_url, tenant) as (process, client):
                if number == 0:
                    body = {"tenantId": tenant.directory.tenant_id, "name": NAME, "application": APPLICATION}
                    client.post("/organizations", json=body).raise_for_status()
                    started = client.post(f"/organizations/{NAME}/sync").raise_for_status().json()
                    run_id = started["activityIdentifier"]
                run = wait_for_run(client, run_id, lambda run, users=users: users_read(run) >= users)
                process.kill()
                assert users_read(run) < 1000

        with host_process(database_url, tenant) as (_, client):
            run = wait_for_run(client, run_id, lambda run: run["endTime"] is not None)
        assert run["status"] == "Succeeded"
        assert users_read(run) == 1000

        read_twice = httpx.get(f"{tenant.url}/control/requests").json()["repeatedPages"]
        # Of each part the page that was being written, and the one fetched ahead of it.
        assert read_twice <= 2 * 5 * len(kills)

        database = Database(database_url)
        try:
            assert compare(database, tenant.url, NAME).differences == []
        finally:
            database.close()
