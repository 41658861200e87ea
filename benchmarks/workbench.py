"""What the benchmarks measure with: a simulated tenant and the product in processes of their own, fresh databases."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.application import APPLICATION, NAME
from tests.databases import Databases, Kind, PostgresServer, start_server

ROOT = Path(__file__).parent.parent
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_VALIDATION = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs/validateCredentials"
_IDENTITY_HEADER = "local-identity-header"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A simulated tenant that answers."""

    url: str
    tenant_id: str
    pid: int

    def mutate(self, changes: int, seed: int) -> None:
        """Changes so many things in the tenant."""
        self._control("POST", "/mutate", {"count": changes, "seed": seed})

    def set_options(self, **options: Any) -> None:
        """Changes how the tenant answers; the options have their JSON names."""
        self._control("POST", "/options", options)

    def token(self) -> str:
        """An access token, as the product gets them."""
        answer = httpx.get(
            f"{self.url}/msi/token",
            params={"resource": "https://graph.microsoft.com", "api-version": "2019-08-01"},
            headers={"X-IDENTITY-HEADER": _IDENTITY_HEADER},
        )
        return answer.raise_for_status().json()["access_token"]

    def _control(self, method: str, path: str, body: Any) -> None:
        httpx.request(method, f"{self.url}/control{path}", json=body, timeout=600).raise_for_status()


class Product:
    """The function app in the local host, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.client = httpx.Client(base_url=url, timeout=600)

    def register(self, tenant_id: str, parts: Sequence[str], name: str = NAME) -> None:
        """Registers an organization."""
        body = {"tenantId": tenant_id, "name": name, "application": APPLICATION, "parts": list(parts)}
        self.client.post("/organizations", json=body).raise_for_status()

    def load_libraries(self) -> None:
        """Has the process load what it talks to Graph with (half a second), as those have that it is compared with."""
        self.client.post(_VALIDATION, json={"useSavedCredentials": True}).raise_for_status()

    def start(self, run_type: str, name: str = NAME) -> str:
        """Starts a run and returns its activityIdentifier."""
        answer = self.client.post(f"/organizations/{name}/sync", json={"type": run_type}).raise_for_status()
        return answer.json()["activityIdentifier"]

    def finished(self, run_id: str, name: str = NAME) -> dict[str, Any]:
        """The run, once it has succeeded."""
        while True:
            run = self.client.get(f"/organizations/{name}/syncs/{run_id}").raise_for_status().json()
            if run["endTime"]:
                assert run["status"] == "Succeeded", run["error"]
                return run
            # Rarely enough that asking costs the run nothing.
            time.sleep(0.1)

    def run(self, run_type: str, name: str = NAME) -> dict[str, Any]:
        """Starts a run and waits for its end."""
        return self.finished(self.start(run_type, name), name)

    def peak_rss(self) -> int:
        """The most memory the process ever had, in bytes."""
        return _status(self.process.pid, "VmHWM")


def seconds(run: dict[str, Any]) -> float:
    """How long a run took from its start to its end."""
    return (datetime.fromisoformat(run["endTime"]) - datetime.fromisoformat(run["startTime"])).total_seconds()


def processor_seconds(*pids: int) -> float:
    """The processor time that these processes and their children have used, those that have ended included."""
    ticks = 0
    for pid in pids:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ticks += _ticks(pid, with_ended_children=True)
        ticks += sum(_ticks(int(child), with_ended_children=False) for child in children)
    return ticks / os.sysconf("SC_CLK_TCK")


class Workbench:
    """Brings what is measured; all of it is gone when the ``with`` block ends.

    Attributes:
        users: How many users the tenant of most benchmarks has.
    """

    def __init__(self, users: int) -> None:
        self.users = users
        self._opened = ExitStack()

    def __enter__(self) -> Workbench:
        self.directory = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-")))
        self._server: PostgresServer = start_server()
        self._opened.callback(self._server.stop)
        self.databases = Databases(self._server.url, self.directory)
        self._opened.callback(self.databases.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def server(self) -> str:
        """The PostgreSQL server's version."""
        return self._server.description

    @property
    def server_pid(self) -> int:
        """The PostgreSQL server's first process."""
        return self._server.pid

    @contextmanager
    def tenant(self, users: int, groups: int = 0, sites: int = 0, **options: Any) -> Iterator[Tenant]:
        """A tenant of this size; it shows none of Graph's habits that would make runs differ from each other."""
        arguments = ["--port", "0", "--users", str(users), "--groups", str(groups), "--sites", str(sites)]
        command = [sys.executable, "-m", "local.tenant", *arguments]
        with _process(command, "tenant listening on", {}) as (process, url):
            tenant_id = httpx.get(f"{url}/control").raise_for_status().json()["tenantId"]
            tenant = Tenant(url, tenant_id, process.pid)
            tenant.set_options(emptyPageProbability=0, replayProbability=0, **options)
            yield tenant

    @contextmanager
    def product(
        self, database_url: str, tenant: Tenant, instances: int = 4, *, many_tenants: bool = False, **settings: str
    ) -> Iterator[Product]:
        """The product on this database, reading this tenant, for one organization or for those of many tenants;
        ``settings`` are app settings."""
        values = {
            "DATABASE_URL": database_url,
            "GRAPH_URL": tenant.url,
            "IDENTITY_ENDPOINT": f"{tenant.url}/msi/token",
            "IDENTITY_HEADER": _IDENTITY_HEADER,
            "SYNC_SCHEDULE": "0 0 0 1 1 *",
            "SYNC_INTERVAL_MINUTES": "1000000",
        }
        arguments = ["--port", "0", "--instances", str(instances), "--no-timers", "--in-process-queues"]
        host = "benchmarks.host" if many_tenants else "local.host"
        command = [sys.executable, "-m", host, *arguments, "--app", str(ROOT), "--log-level", "warning"]
        with _process(command, "host listening on", {**values, **settings}) as (process, url):
            product = Product(process, url)
            try:
                yield product
            finally:
                product.client.close()


@contextmanager
def _process(
    command: Sequence[str], announcement: str, settings: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        url = next(line.split()[-1] for line in process.stdout if line.startswith(announcement))
        yield process, url
    finally:
        process.kill()
        process.communicate()


def _ticks(pid: int, *, with_ended_children: bool) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        # It has ended since it was named, and its parent's number has its time.
        return 0
    # proc(5): utime, stime, cutime, cstime are the fields 14 to 17.
    return sum(int(value) for value in fields[11 : 15 if with_ended_children else 13])


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
