"""The main job from nothing, for ``make run``: tenant and host, an initial and an incremental run, who gets in."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from local.comparison import compare, is_cached
from local.tenant.issuer import READER, SECRET, WRITER
from shared.cache.database import Database

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".local"
ORGANIZATION = "contoso.onmicrosoft.com"
APPLICATION = {
    "clientId": "6f3a1d52-8c0b-4e57-9a44-0d1e2c3b4a59",
    "objectId": "0b9f4c1e-52d7-4f38-8a6b-7e1d0c2f3a45",
    "servicePrincipalId": "c4d8e2a7-16f3-4b09-9d5c-3a7b1e0f2d68",
}
API = "e2f6b0c8-4a91-4d37-8b52-1c9e7f3d6a04"
OTHER_TENANT = "9b8d2c60-1f4e-4a7b-8e35-6d0c5a3f7192"
IDENTITY_HEADER = "local-identity-header"
MUTATIONS = {"count": 25, "seed": 7}

console = Console(highlight=False)


class DemoFailed(Exception):
    """Something that the demonstration promises did not happen; the message says what."""


def main() -> int:
    """Runs the demonstration; 0 only when both runs succeeded and the cache equals the tenant."""
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    STATE.mkdir(exist_ok=True)
    try:
        _demonstrate(options)
    except DemoFailed as failure:
        console.print(f"[red]{failure}[/red]")
        console.print(f"The logs are in {STATE.relative_to(ROOT)}/host.log and {STATE.relative_to(ROOT)}/tenant.log.")
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--port", type=_port, default=7071, help="the Functions host's port (PORT)")
    parser.add_argument("--tenant-port", type=_port, default=7072, help="the simulated tenant's port (TENANT_PORT)")
    parser.add_argument("--users", type=_count, default=5000, help="users of the simulated tenant (USERS)")
    parser.add_argument("--once", action="store_true", help="exit when the demonstration is over")
    options = parser.parse_args()
    if options.port == options.tenant_port:
        parser.error("the host and the tenant need a port each")
    return options


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("a number of users is wanted")
    return int(text)


def _demonstrate(options: argparse.Namespace) -> None:
    database_url = os.environ.get("DATABASE_URL") or f"sqlite:///{STATE / 'organization-cache.db'}"
    tenant_url = f"http://127.0.0.1:{options.tenant_port}"
    url = f"http://127.0.0.1:{options.port}"
    for name, port in (("PORT", options.port), ("TENANT_PORT", options.tenant_port)):
        _refuse_taken(name, port)
    settings = {
        "DATABASE_URL": database_url,
        "AUTH_MODE": "entra",
        "AUTH_AUDIENCE": API,
        "AUTH_JWKS_URL": f"{tenant_url}/common/discovery/v2.0/keys",
        "GRAPH_URL": tenant_url,
        "IDENTITY_ENDPOINT": f"{tenant_url}/msi/token",
        "IDENTITY_HEADER": IDENTITY_HEADER,
        "SYNC_SCHEDULE": os.environ.get("SYNC_SCHEDULE", "*/10 * * * * *"),
        "SYNC_INTERVAL_MINUTES": os.environ.get("SYNC_INTERVAL_MINUTES", "1"),
        "PUBLIC_URL": url,
        "NOTIFICATION_DEBOUNCE_SECONDS": os.environ.get("NOTIFICATION_DEBOUNCE_SECONDS", "2"),
    }
    tenant_command = ["local.tenant", "--port", str(options.tenant_port), "--users", str(options.users)]
    host_command = ["local.start", "--port", str(options.port), "--app", str(ROOT), "--instances", "4"]
    with (
        _running("tenant", [*tenant_command, "--identity-header", IDENTITY_HEADER], {}) as tenant,
        httpx.Client(base_url=url, timeout=30) as client,
        ExitStack() as opened,
    ):
        console.print(f"[bold]1. A simulated tenant of {options.users:,} users, and the Functions app[/bold]")
        _wait_for(tenant, f"{tenant_url}/control")
        tenant_id = httpx.get(f"{tenant_url}/control", timeout=30).raise_for_status().json()["tenantId"]
        host = opened.enter_context(_running("host", host_command, {**settings, "AUTH_TENANT_ID": tenant_id}))
        _wait_for(host, f"{url}/health")
        console.print(f"   {tenant_url} and {url}; database {_without_password(database_url)}\n", soft_wrap=True)
        client.headers["Authorization"] = f"Bearer {_token(tenant_url, tenant_id, WRITER)}"

        console.print("[bold]2. The organization is registered and synchronized for the first time[/bold]")
        _register(client, tenant_id)
        _synchronize(client, host, since=datetime.now(UTC))

        console.print("[bold]3. Things change in the tenant; the next synchronization reads only the changes[/bold]")
        mutated = httpx.post(f"{tenant_url}/control/mutate", json=MUTATIONS, timeout=30).raise_for_status().json()
        console.print(f"   {MUTATIONS['count']} changes: {_in_words(mutated['done'])}", soft_wrap=True)
        _synchronize(client, host, since=datetime.now(UTC))

        console.print("[bold]4. Is the cache what the tenant is?[/bold]")
        _check(database_url, tenant_url)

        console.print("[bold]5. Something changes again, and the tenant tells of it: nobody has to ask[/bold]")
        _see_push(client, host, database_url, tenant_url)

        console.print("[bold]6. Who gets in?[/bold]")
        _knock(url, tenant_url, tenant_id)
        if not options.once:
            _serve(host, url, tenant_url, tenant_id)


def _register(client: httpx.Client, tenant_id: str) -> None:
    if client.get(f"/organizations/{ORGANIZATION}").status_code == 200:
        client.delete(f"/organizations/{ORGANIZATION}").raise_for_status()
    body = {"tenantId": tenant_id, "name": ORGANIZATION, "application": APPLICATION}
    client.post("/organizations", json=body).raise_for_status()


def _synchronize(client: httpx.Client, host: subprocess.Popen[bytes], since: datetime) -> None:
    """Shows a synchronization that began after ``since``; one that the timer started before may be under way."""
    while True:
        answer = client.post(f"/organizations/{ORGANIZATION}/sync").raise_for_status()
        run = _follow(client, host, answer.headers["Location"])
        if datetime.fromisoformat(run["startTime"]) >= since:
            break
    state = client.get(f"/organizations/{ORGANIZATION}/syncState").raise_for_status().json()
    console.print()
    for name in ("Organization", "SyncStatus", "Type", "LastSyncTime", "Error"):
        console.print(f"   {name:<12} : {state[name[0].lower() + name[1:]] or ''}".rstrip(), soft_wrap=True)
    console.print()
    if run["status"] != "Succeeded":
        raise DemoFailed(f"The synchronization ended as {run['status']}.")


def _follow(client: httpx.Client, host: subprocess.Popen[bytes], location: str) -> dict[str, Any]:
    columns = (
        TextColumn("   {task.description:<13}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[outcome]}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {}
        while True:
            _still_running(host)
            run = client.get(location).raise_for_status().json()
            for part in run["parts"]:
                _draw(progress, bars, part)
            if run["endTime"] is not None:
                return run
            time.sleep(0.1)


def _draw(progress: Progress, bars: dict[str, TaskID], part: dict[str, Any]) -> None:
    name, completed, finished = part["part"], part["completed"], part["status"] not in ("Queued", "Running")
    if name not in bars:
        bars[name] = progress.add_task(name, total=None, outcome="")
    total = max(completed, 1) if finished else part["total"]
    progress.update(
        bars[name],
        completed=max(completed, 1) if finished and not completed else completed,
        total=total,
        outcome=f"{part['type']}, {part['status']}" if finished else part["status"],
    )


def _check(database_url: str, tenant_url: str) -> None:
    database = Database(database_url)
    try:
        comparison = compare(database, tenant_url, ORGANIZATION)
    finally:
        database.close()
    if not comparison.equal:
        raise DemoFailed("The cache differs from the tenant:\n" + "\n".join(comparison.differences))
    console.print(f"   Yes, field by field: {_in_words(comparison.compared)}\n", soft_wrap=True)


def _see_push(client: httpx.Client, host: subprocess.Popen[bytes], database_url: str, tenant_url: str) -> None:
    """Waits for the subscriptions, then for a new user to be in the cache."""
    for _ in range(600):
        listed = client.get(f"/organizations/{ORGANIZATION}/subscriptions").raise_for_status().json()["value"]
        if listed and all(one["active"] for one in listed):
            break
        _still_running(host)
        time.sleep(0.1)
    else:
        raise DemoFailed("The organization was not subscribed to.")
    console.print(f"   Subscribed to {' and '.join(one['resource'] for one in listed)}", soft_wrap=True)
    body = {"displayName": "Pia Pushed"}
    created = httpx.post(f"{tenant_url}/control/users", json=body, timeout=30).raise_for_status().json()
    began = time.monotonic()
    database = Database(database_url)
    try:
        while not is_cached(database, created["id"]):
            if time.monotonic() - began > 60:
                raise DemoFailed("The change did not arrive within a minute.")
            _still_running(host)
            time.sleep(0.05)
    finally:
        database.close()
    console.print(f"   {body['displayName']} was in the cache {time.monotonic() - began:.1f} s later\n")


def _token(tenant_url: str, tenant_id: str, client_id: str) -> str:
    """A token of the tenant's token service, as any client of the API gets one."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
    answer = httpx.post(
        f"{tenant_url}/{tenant_id}/oauth2/v2.0/token", data={**form, "scope": f"api://{API}/.default"}, timeout=30
    )
    return answer.raise_for_status().json()["access_token"]


def _knock(url: str, tenant_url: str, tenant_id: str) -> None:
    """Shows what the API answers to whom."""
    reader, stranger = _token(tenant_url, tenant_id, READER), _token(tenant_url, OTHER_TENANT, WRITER)
    state, sync = f"/organizations/{ORGANIZATION}/syncState", f"/organizations/{ORGANIZATION}/sync"
    for who, token, method, path, expected in (
        ("nobody in particular", None, "GET", state, 401),
        ("who may read", reader, "GET", state, 200),
        ("who may read", reader, "POST", sync, 403),
        ("another tenant's administrator", stranger, "GET", state, 404),
    ):
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        status = httpx.request(method, f"{url}{path}", headers=headers, timeout=30).status_code
        console.print(f"   {status}  {method:<4} {path}  by {who}", soft_wrap=True)
        if status != expected:
            raise DemoFailed(f"The answer should have been {expected}.")
    console.print()


def _serve(host: subprocess.Popen[bytes], url: str, tenant_url: str, tenant_id: str) -> None:
    application = f"{url}/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs"
    console.print(
        "[bold]Try[/bold] (users and groups come by push, the rest by the timer, every minute)", soft_wrap=True
    )
    # The token comes first in the answer, so that no JSON parser has to be at hand.
    asked = f"-d client_id={WRITER} -d client_secret={SECRET} -d scope=api://{API}/.default"
    curl = 'curl -H "Authorization: Bearer $TOKEN"'
    for command in (
        f"TOKEN=$(curl -s {tenant_url}/{tenant_id}/oauth2/v2.0/token -d grant_type=client_credentials {asked} "
        "| cut -d'\"' -f4)",
        f"{curl} {url}/organizations/{ORGANIZATION}/syncState",
        f"{curl} {url}/organizations/{ORGANIZATION}/subscriptions",
        f"{curl} {application}",
        f'curl -X POST {tenant_url}/control/mutate -d \'{{"count": 10, "seed": 1}}\'',
        f"{curl} -X POST {url}/organizations/{ORGANIZATION}/sync",
        f"{curl} -X POST {url}/organizations/{ORGANIZATION}/sync -H 'Content-Type: application/json' "
        '-d \'{"type": "Full", "parts": ["users"]}\'',
    ):
        console.print(f"   {command}", soft_wrap=True, markup=False)
    console.print("Ctrl-C ends it.")
    while True:
        time.sleep(1)
        _still_running(host)


@contextmanager
def _running(name: str, command: list[str], settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (STATE / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(300):
        _still_running(process)
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise DemoFailed(f"{url} does not answer.")


def _still_running(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise DemoFailed(f"A process ended with exit code {process.returncode}.")


def _refuse_taken(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise DemoFailed(f"Port {port} is taken; choose another with {name}=…") from None


def _without_password(database_url: str) -> str:
    return Database(database_url).engine.url.render_as_string(hide_password=True)


def _in_words(numbers: dict[str, Any]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items() if isinstance(number, int))


if __name__ == "__main__":
    sys.exit(main())
