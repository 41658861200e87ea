"""Two hosts on one database: no run is run twice, no update is lost, and the cache equals the tenant."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from local.comparison import compare
from local.tenant import Directory, Options, TenantServer
from shared.cache.database import Database
from shared.cache.tables import runs
from tests.application import APPLICATION, NAME
from tests.azurite.account import Azurite
from tests.databases import Databases, Kind
from tests.reliability.kills import COUNTS, finished_parts

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 120
USERS, GROUPS, SITES = 300, 20, 20
ROUNDS = ("Full", "Incremental", "Full")


@contextmanager
def hosts(number: int, database_url: str, tenant: TenantServer, queues: str | None) -> Iterator[list[httpx.Client]]:
    """So many ``python -m local.host`` on one database, each with its API; ``queues`` is what they share."""
    settings = {
        "DATABASE_URL": database_url,
        "GRAPH_URL": tenant.url,
        "IDENTITY_ENDPOINT": f"{tenant.url}/msi/token",
        "IDENTITY_HEADER": "local-identity-header",
        "SYNC_SCHEDULE": "* * * * * *",
        "GRAPH_PAGE_SIZE": "20",
        # Slices end often, and their messages are sent again by every host's planner before they are answered.
        "SLICE_SECONDS": "0.3",
        "REQUEUE_SECONDS": "0.2",
    }
    if queues:
        settings["AzureWebJobsStorage"] = queues
    command = [sys.executable, "-m", "local.host", "--port", "0", "--app", str(ROOT), "--instances", "2"]
    with ExitStack() as opened:
        clients: list[httpx.Client] = []
        for _ in range(number):
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **settings},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            opened.callback(process.communicate)
            opened.callback(process.kill)
            assert process.stdout
            url = next(line.split()[-1] for line in process.stdout if line.startswith("host listening on"))
            clients.append(opened.enter_context(httpx.Client(base_url=url, timeout=60)))
        yield clients


class Watch(threading.Thread):
    """Looks at the database all the time for two runs that are under way at once."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._over = threading.Event()
        self.looks = 0
        self.most_running = 0

    def run(self) -> None:
        while not self._over.wait(0.02):
            with self._database.read() as connection:
                statuses = list(connection.execute(select(runs.c.status)).scalars())
            self.looks += 1
            self.most_running = max(self.most_running, statuses.count("Running"))

    def end(self) -> None:
        self._over.set()
        self.join()


def life(clients: list[httpx.Client], database: Database, tenant: TenantServer) -> tuple[list[list[Any]], float]:
    """Rounds of changes and runs, each asked for at every host at once; the runs' counts, and the seconds of all."""
    body = {"tenantId": tenant.directory.tenant_id, "name": NAME, "application": APPLICATION}
    clients[0].post("/organizations", json=body).raise_for_status()
    counts: list[list[Any]] = []
    seconds = 0.0
    for number, kind in enumerate(ROUNDS):
        if number:
            httpx.post(f"{tenant.url}/control/mutate", json={"count": 80, "seed": number}).raise_for_status()
        # A run that ended before the slower host was asked would rightly be followed by another one.
        httpx.post(f"{tenant.url}/control/faults", json=[{"path": "/v1.0/", "kind": "hold"}]).raise_for_status()
        with ThreadPoolExecutor(len(clients)) as pool:
            asked = list(pool.map(lambda client, kind=kind: _start(client, kind), clients))
        httpx.delete(f"{tenant.url}/control/faults").raise_for_status()
        began = time.monotonic()
        assert len(set(asked)) == 1, "the same start began two runs"
        _wait(clients, asked[0])
        seconds += time.monotonic() - began
        counts.append(
            [[part._mapping[name] for name in ("part", "type", *COUNTS)] for part in finished_parts(database)]
        )
        assert compare(database, tenant.url, NAME).differences == []
    with database.read() as connection:
        assert len(connection.execute(select(runs.c.run_id)).all()) == len(ROUNDS), "a run was run twice"
    return counts, seconds


@pytest.mark.parametrize("queue", ["in-process", "azurite"])
def test_two_hosts_at_once_run_nothing_twice_and_lose_no_update(
    databases: Databases,
    database_kind: Kind,
    queue: str,
    request: pytest.FixtureRequest,
    report: Callable[[str], None],
) -> None:
    """With in-process queues the hosts meet through the planners alone, each of which wakes every waiting part."""
    azurite: Azurite | None = request.getfixturevalue("azurite") if queue == "azurite" else None
    results: dict[int, tuple[list[list[Any]], float]] = {}
    for number in (1, 2):
        options = Options(page_size=20, member_slice=20, latency_ms=5)
        directory = Directory(users=USERS, groups=GROUPS, sites=SITES, seed=3)
        with ExitStack() as opened:
            url = opened.enter_context(databases.fresh(database_kind))
            tenant = opened.enter_context(TenantServer(directory, options))
            queues = opened.enter_context(azurite.account()) if azurite else None
            database = Database(url)
            opened.callback(database.close)
            clients = opened.enter_context(hosts(number, url, tenant, queues))
            watch = Watch(database)
            watch.start()
            results[number] = life(clients, database, tenant)
            watch.end()
            assert watch.looks > 10
            assert watch.most_running == 1
    (one, alone), (two, together) = results[1], results[2]
    # What each page brought was counted once: as often as by one host that has nobody beside it.
    assert two == one
    objects = sum(part[2] for run in one for part in run)
    report(f"{objects} objects received: one host {objects / alone:.0f}/s, two hosts {objects / together:.0f}/s")


def _start(client: httpx.Client, kind: str) -> str:
    run = client.post(f"/organizations/{NAME}/sync", json={"type": kind}).raise_for_status().json()
    return run["activityIdentifier"]


def _wait(clients: list[httpx.Client], run_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    seen: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        seen = [client.get(f"/organizations/{NAME}/syncs/{run_id}").raise_for_status().json() for client in clients]
        if all(run["endTime"] for run in seen):
            assert {run["status"] for run in seen} == {"Succeeded"}
            return
        time.sleep(0.02)
    raise AssertionError(f"the run did not end in {PATIENCE_SECONDS} s: {seen}")
