"""What the API's tests share: errors looked at from the outside, the database's rows, and slices held back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
from sqlalchemy import MetaData, inspect, text

from local.tenant import Directory, Options, TenantServer
from shared.graph import credentials
from tests.application import APPLICATION, Application, running_application

PARTS = ["users", "groups", "groupMembers", "sites", "mailboxes", "teams", "channels"]
DERIVED = ["mailboxes", "channels"]
"""The parts that wait for another one."""

# The queue's listener is off, so that a started run stays queued until the test hands its messages over.
HELD = {"AzureWebJobs.synchronize_slice.Disabled": "true"}

_UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z")
# What would tell of the program's inside: frames, modules and the names of its own and its libraries' classes.
_INSIDES = re.compile(
    r"Traceback|File \"|line \d+, in|\.py\b|pydantic|sqlalchemy|psycopg|sqlite|orjson|instance of|dictionary"
    r"|OrganizationRegistration|OrganizationEntity|ApplicationReference|SynchronizationRequest|WireModel"
    r"|ValidationError|IntegrityError|DataError|ValueError|TypeError|KeyError"
)


@contextmanager
def small_tenant(seed: int = 5) -> Iterator[TenantServer]:
    """A tenant of some dozen objects, without the habits that other tests are about."""
    options = Options(replay_probability=0, empty_page_probability=0)
    with TenantServer(Directory(users=30, groups=12, sites=4, seed=seed), options) as tenant:
        yield tenant


@contextmanager
def held_application(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tenant: TenantServer | None = None, **changed: str
) -> Iterator[Application]:
    """The product with its slices held back: see ``deliver``."""
    with running_application(monkeypatch, database_url, tenant, **{**HELD, **changed}) as application:
        yield application
        # What works in the background, e.g. on a removal, must not lose its database in the middle.
        application.host.drain()


def serve_every_organization_by_one_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the identity read every organization, though the one simulated tenant gives out tokens of itself alone."""
    monkeypatch.setattr(credentials, "OwnTenantIdentity", lambda identity, tenant_id: identity)


def held_parts(application: Application) -> list[str]:
    """The parts whose slice messages wait on the queue."""
    return [orjson.loads(item.body)["part"] for item in application.host.host.memory_queue("sync-slices").peek()]


def deliver(application: Application, *parts: str) -> None:
    """Hands the held messages of these parts (of all, if none is named) to their function until none is left."""
    queue = application.host.host.memory_queue("sync-slices")
    while wanted := [part for part in held_parts(application) if not parts or part in parts]:
        for item in application.host.call(queue.receive(len(queue), 60)):
            if orjson.loads(item.body)["part"] not in wanted:
                application.host.call(queue.release(item, 0))
                continue
            body = item.body if isinstance(item.body, str) else item.body.decode()
            answer = application.client.post("/admin/functions/synchronize_slice", json={"input": body})
            assert answer.status_code == 202
            application.host.drain()
            application.host.call(queue.delete(item))


def another_organization(number: int = 0, **changed: Any) -> dict[str, Any]:
    """A body for POST /organizations that has nothing in common with any other registration."""
    application = {"clientId": str(uuid4()), "objectId": str(uuid4()), "servicePrincipalId": str(uuid4())}
    unique = uuid4()
    body = {"tenantId": str(unique), "name": f"org{number}-{unique.hex}.example.com", "application": application}
    return {**body, **changed}


def rows(application: Application) -> dict[str, list[str]]:
    """Every row of every table."""
    with application.services.database.read() as connection:
        return {
            table: sorted(repr(tuple(row)) for row in connection.execute(text(f'SELECT * FROM "{table}"')))
            for table in inspect(connection).get_table_names()
        }


def rows_by_organization(application: Application) -> dict[str, dict[int, int]]:
    """How many rows each organization has in each table that knows organizations."""
    metadata = MetaData()
    with application.services.database.read() as connection:
        metadata.reflect(connection)
        counted: dict[str, dict[int, int]] = {}
        for name, table in metadata.tables.items():
            if "organization_id" in table.c:
                query = text(f'SELECT organization_id, COUNT(*) FROM "{name}" GROUP BY organization_id')
                counted[name] = {row[0]: row[1] for row in connection.execute(query)}
        return counted


def parsed_time(value: str) -> datetime:
    """A time as it must be written: ISO 8601 in UTC with Z and at most seven digits after the second."""
    assert _UTC_TIME.fullmatch(value), value
    return datetime.fromisoformat(value).astimezone(UTC)


def check_headers(answer: httpx.Response) -> None:
    """The headers that every answer carries."""
    assert UUID(answer.headers["request-id"])
    assert UUID(answer.headers["client-request-id"])
    assert answer.headers["OData-Version"] == "4.0"
    assert answer.headers["Cache-Control"] in ("no-cache", "no-store")
    assert "date" in answer.headers


def check_error(answer: httpx.Response, status: int, code: str | None = None) -> str:
    """Checks that the answer is an error as every client can read it, and returns its message."""
    assert answer.status_code == status, answer.text
    check_headers(answer)
    assert answer.headers["Content-Type"].startswith("application/json;odata.metadata=minimal")
    document = answer.json()
    assert list(document) == ["error"]
    error = document["error"]
    assert set(error) == {"code", "message", "target", "details", "innerError"}
    assert error["code"]
    assert code in (None, error["code"])
    assert error["message"]
    inner = error["innerError"]
    assert set(inner) == {"date", "request-id", "client-request-id"}
    date = datetime.fromisoformat(inner["date"]).replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - date) < timedelta(minutes=5)
    assert inner["request-id"] == answer.headers["request-id"]
    assert UUID(inner["client-request-id"])
    assert not _INSIDES.search(answer.text), answer.text
    return error["message"]


def jobs_path(version: str = "v1.0", owner: str = "applications", owner_id: str | None = None) -> str:
    """The path of an application's jobs."""
    owner_id = owner_id or APPLICATION["objectId" if owner == "applications" else "servicePrincipalId"]
    return f"/{version}/{owner}/{owner_id}/synchronization/jobs"
