"""The app's identity logs in to PostgreSQL with tokens: a server that takes nothing else, behind TLS, and an identity
endpoint over HTTP, which is asked as azure-identity asks."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.identity import ManagedIdentityCredential
from psycopg import sql
from sqlalchemy import URL, make_url, text

from shared.cache.database import Database
from shared.models.errors import DatabaseBlocked
from shared.services import Services
from shared.settings import Settings
from tests.databases import Databases, connect
from tests.graph.tls import Reply, served, write_certificate
from tests.tls_front import tls_front

RESOURCE = "https://ossrdbms-aad.database.windows.net"
CLIENT_ID = "3b5d7f90-1a2c-4e6f-8b9d-0c1e2f3a4b5c"
HEADER = "header-of-the-identity-endpoint"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST_TOKEN = "first-token-" + 1800 * "x"
"""As long as Entra's are."""


@dataclass
class Endpoint:
    """App Service's identity endpoint.

    Attributes:
        token: What it gives.
        ends_at: Until when that is good.
        asked: Path, query and header of each request.
        outage: What is answered instead, if anything.
    """

    token: str = FIRST_TOKEN
    ends_at: datetime = NOW + timedelta(hours=24)
    url: str = ""
    asked: list[tuple[str, dict[str, list[str]], str | None]] = field(
        default_factory=list[tuple[str, dict[str, list[str]], str | None]]
    )
    outage: Reply | None = None

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> Reply:
        address = urlsplit(handler.path)
        self.asked.append((address.path, parse_qs(address.query), handler.headers.get("X-IDENTITY-HEADER")))
        if self.outage is not None:
            return self.outage
        expires_on = str(int(self.ends_at.timestamp()))
        return 200, {"access_token": self.token, "expires_on": expires_on, "token_type": "Bearer"}, {}


@dataclass
class Server:
    """A database whose user's password is the token, behind a front that speaks TLS, as the server in Azure does."""

    url: str
    administrator_url: str
    user: str

    def take(self, token: str) -> None:
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(self.user), sql.Literal(token))
        with closing(connect(self.administrator_url)) as connection:
            connection.execute(statement)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    endpoint = Endpoint()
    with served(endpoint.answer, tls=False) as url:
        endpoint.url = f"{url}/msi/token"
        monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint.url)
        monkeypatch.setenv("IDENTITY_HEADER", HEADER)
        # A proxy for the way to the outside must not get to see what this machine's endpoint says.
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        yield endpoint


@pytest.fixture
def server(databases: Databases) -> Iterator[Server]:
    with databases.fresh("postgresql") as administrator_url, tls_front(administrator_url) as port:
        user = f"id-{secrets.token_hex(6)}"
        url = without_password(administrator_url, user, port)
        with closing(connect(administrator_url)) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(user)))
        server = Server(url, administrator_url, user)
        server.take(FIRST_TOKEN)
        yield server
        with closing(connect(administrator_url)) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))


def without_password(url: str, user: str, port: int | None, **query: str) -> str:
    given = make_url(url)
    return URL.create(
        given.drivername, user, host="127.0.0.1", port=port, database=given.database, query=query
    ).render_as_string()


@dataclass
class Clock:
    moment: datetime = NOW

    def __call__(self) -> datetime:
        return self.moment


def services(url: str, clock: Clock) -> Services:
    settings = {
        "DATABASE_URL": url,
        "DATABASE_TOKEN_RESOURCE": RESOURCE,
        "AZURE_CLIENT_ID": CLIENT_ID,
        "AUTH_MODE": "none",
    }
    return Services.create(Settings.of(settings), clock)


@contextmanager
def database(url: str, clock: Clock | None = None) -> Iterator[Database]:
    opened = services(url, clock or Clock()).database
    try:
        yield opened
    finally:
        opened.close()


def who_is_there(opened: Database) -> str:
    with opened.read() as connection:
        return connection.execute(text("SELECT current_user")).scalar_one()


def test_the_app_logs_in_with_a_token_of_its_identity(server: Server, endpoint: Endpoint) -> None:
    with database(server.url) as opened:
        assert who_is_there(opened) == server.user
    assert endpoint.asked == [
        ("/msi/token", {"resource": [RESOURCE], "api-version": ["2019-08-01"], "client_id": [CLIENT_ID]}, HEADER)
    ]


def test_the_endpoint_is_asked_as_azure_identity_asks(server: Server, endpoint: Endpoint) -> None:
    endpoint.ends_at = datetime.now(UTC) + timedelta(hours=24)
    with database(server.url, Clock(datetime.now(UTC))) as opened:
        who_is_there(opened)
    os.environ.pop("HTTP_PROXY")
    with ManagedIdentityCredential(client_id=CLIENT_ID) as credential:
        assert credential.get_token(f"{RESOURCE}/.default").token == FIRST_TOKEN
    ours, theirs = endpoint.asked
    assert ours == theirs


def test_logging_in_loads_nothing_that_a_cold_start_has_not(server: Server, endpoint: Endpoint) -> None:
    program = """
import sys, function_app
from shared.services import services
with services().database.read() as connection:
    print(connection.exec_driver_sql("SELECT current_user").scalar_one())
print(*(name for name in sys.modules if name.startswith(("azure.identity", "azure.core", "msal", "requests", "httpx"))))
"""
    settings = {
        "DATABASE_URL": server.url,
        "DATABASE_TOKEN_RESOURCE": RESOURCE,
        "AZURE_CLIENT_ID": CLIENT_ID,
        "AUTH_MODE": "none",
        "SYNC_SCHEDULE": "0 * * * * *",
    }
    endpoint.ends_at = datetime.now(UTC) + timedelta(hours=24)
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.stdout == f"{server.user}\n\n", process.stderr


def test_connections_share_a_token_until_shortly_before_its_end(server: Server, endpoint: Endpoint) -> None:
    clock = Clock()
    with database(server.url, clock) as opened:
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(who_is_there, [opened] * 4)) == {server.user}
        clock.moment = endpoint.ends_at - timedelta(minutes=6)
        with opened.read(), opened.read(), opened.read(), opened.read():
            pass
        assert len(endpoint.asked) == 1

        endpoint.token, endpoint.ends_at = "second-token", endpoint.ends_at + timedelta(hours=24)
        server.take("second-token")
        clock.moment += timedelta(minutes=2)
        opened.engine.dispose()
        assert who_is_there(opened) == server.user
        assert len(endpoint.asked) == 2


def test_what_is_connected_outlives_its_token(server: Server, endpoint: Endpoint) -> None:
    clock = Clock()
    with database(server.url, clock) as opened:
        who_is_there(opened)
        clock.moment += timedelta(days=3)
        endpoint.outage = (503, {}, {})
        assert who_is_there(opened) == server.user


@pytest.mark.parametrize(
    "outage",
    [
        (500, {"statusCode": 500}, {}),
        (400, {"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found."}, {}),
        (200, b"<html>", {}),
        (200, {"access_token": "confidential"}, {}),
        (200, [], {}),
    ],
)
def test_without_a_token_nobody_can_write_and_nothing_is_quoted(
    server: Server, endpoint: Endpoint, outage: Reply
) -> None:
    with database(server.url) as opened:
        endpoint.outage = outage
        with pytest.raises(DatabaseBlocked) as failed:
            who_is_there(opened)
        assert "identity" in failed.value.message
        told = "".join(traceback.format_exception(failed.value))
        assert "confidential" not in told
        assert HEADER not in told

        endpoint.outage = None
        assert who_is_there(opened) == server.user


def test_an_endpoint_that_is_away_is_told(server: Server, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
    with database(server.url) as opened, pytest.raises(DatabaseBlocked, match="does not answer"):
        who_is_there(opened)


def test_outside_azure_it_is_told_that_there_is_no_identity(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
    with database(server.url) as opened, pytest.raises(DatabaseBlocked, match="no managed identity"):
        who_is_there(opened)


def test_a_token_is_shown_to_no_server_whose_name_is_not_proved(
    server: Server, endpoint: Endpoint, tmp_path: Path
) -> None:
    write_certificate(tmp_path / "other.pem")
    with tls_front(server.administrator_url, str(tmp_path / "other.pem")) as port:
        forged = make_url(server.url).set(port=port).render_as_string(hide_password=False)
        with database(forged) as opened, pytest.raises(DatabaseBlocked):
            who_is_there(opened)
    # The right certificate under a name that it is not for.
    renamed = make_url(server.url).set(host="localhost").render_as_string(hide_password=False)
    with database(renamed) as opened, pytest.raises(DatabaseBlocked):
        who_is_there(opened)
    # A server without TLS, and a URL that asks for less.
    port = make_url(server.administrator_url).port
    unproved = without_password(server.administrator_url, server.user, port, sslmode="disable")
    with database(unproved) as opened, pytest.raises(DatabaseBlocked):
        who_is_there(opened)
    with database(server.url) as opened:
        assert who_is_there(opened) == server.user


def test_a_url_may_name_other_authorities(
    server: Server, endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = shutil.copy(os.environ["SSL_CERT_FILE"], tmp_path / "root.pem")
    monkeypatch.delenv("SSL_CERT_FILE")
    with database(server.url) as opened, pytest.raises(DatabaseBlocked):
        who_is_there(opened)
    url = make_url(server.url).update_query_dict({"sslrootcert": str(trusted)}).render_as_string(hide_password=False)
    with database(url) as opened:
        assert who_is_there(opened) == server.user


def test_no_log_holds_a_token(server: Server, endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with database(server.url) as opened:
        who_is_there(opened)
        endpoint.token = "confidential"
        opened.engine.dispose()
    with database(server.url) as opened, pytest.raises(DatabaseBlocked) as refused:
        who_is_there(opened)
    assert "confidential" not in "".join(traceback.format_exception(refused.value))
    assert "confidential" not in caplog.text
    assert "first-token" not in caplog.text
