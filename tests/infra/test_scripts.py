"""The scripts of the deployment, run as azd and people run them: against a real PostgreSQL, and a stand-in for Azure's
command lines (fake_az.py)."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from psycopg import errors, sql
from sqlalchemy import make_url

from local.tenant import Directory, TenantServer
from tests.application import NAME, running_application
from tests.databases import Databases, connect
from tests.infra.bicep import INFRA, ROOT
from tests.tls_front import tls_front

PRINCIPAL = "7a8b9c0d-1e2f-4a3b-8c4d-5e6f7a8b9c0d"
SERVER = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DBforPostgreSQL/flexibleServers/psql"
SCRIPTS = [INFRA / "hooks" / "preprovision.sh", INFRA / "hooks" / "postprovision.sh", INFRA / "scripts/register-app.sh"]


@dataclass
class Shell:
    """A shell in which az and azd are the stand-in's."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for name in ("az", "azd"):
            command = self.folder / name
            command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).parent}/fake_az.py" {name} "$@"\n')
            command.chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_"))}
        given |= {"PATH": f"{self.folder}:{os.environ['PATH']}", "FAKE_AZURE": str(self.folder / "store.json")}
        return subprocess.run(
            ["sh", INFRA / script, *arguments],
            env=given | self.environment | environment,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def keep(self, **values: str) -> None:
        """What azd's environment holds after provisioning."""
        for name, value in values.items():
            command = [self.folder / "azd", "env", "set", name, value]
            subprocess.run(command, env={**os.environ, "FAKE_AZURE": str(self.folder / "store.json")}, check=True)

    @property
    def store(self) -> dict[str, Any]:
        path = self.folder / "store.json"
        return json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_scripts_are_for_any_posix_shell_and_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert text.startswith("#!/bin/sh\n")
    assert re.search(r"^set -eu$", text, re.MULTILINE)
    assert subprocess.run(["sh", "-n", script], capture_output=True).returncode == 0


# --- The database's role ----------------------------------------------------------------------------------------------


@dataclass
class Provisioned:
    """What azd has made: a server of which we are the administrator, and an empty database.

    Attributes:
        url: The administrator's.
        role: The identity's name, which no role has yet.
    """

    url: str
    role: str

    @property
    def of_the_app(self) -> str:
        """The database's URL for who logs in as the app's identity, whose token is the same for the test."""
        return make_url(self.url).set(username=self.role, password="token-of-the-identity").render_as_string(False)

    def log_in(self) -> None:
        """Gives the role the token for a password, as Azure's server takes it."""
        statement = sql.SQL("ALTER ROLE {} PASSWORD 'token-of-the-identity'").format(sql.Identifier(self.role))
        with closing(connect(self.url)) as connection:
            connection.execute(statement)


@pytest.fixture
def provisioned(databases: Databases, shell: Shell) -> Iterator[Provisioned]:
    with databases.fresh("postgresql") as url, tls_front(url) as port:
        with closing(connect(url)) as connection:
            # As it is before the first migration.
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        administrator = make_url(url)
        role = f"id-{secrets.token_hex(6)}"
        shell.environment = {
            "DATABASE_HOST": "127.0.0.1",
            "DATABASE_PORT": str(port),
            "DATABASE_NAME": administrator.database or "",
            "DATABASE_ADMINISTRATOR": administrator.username or "",
            "DATABASE_SERVER_ID": SERVER,
            "IDENTITY_NAME": role,
            "IDENTITY_PRINCIPAL_ID": PRINCIPAL,
            "DEPLOY_PYTHON": sys.executable,
            "DATABASE_ATTEMPTS": "1",
            "FAKE_TOKEN": str(administrator.password),
        }
        # What Azure's server has there of its own: one test at a time brings it, and takes it away.
        maintenance = administrator.set(database="postgres").render_as_string(False)
        with closing(connect(maintenance)) as connection:
            connection.execute("SELECT pg_advisory_lock(17)")
            connection.execute(
                "CREATE FUNCTION pgaadauth_create_principal_with_oid("
                "name text, object_id text, kind text, is_admin boolean, is_mfa boolean) RETURNS text"
                " LANGUAGE plpgsql AS $$ BEGIN"
                " IF kind <> 'service' OR is_admin OR is_mfa THEN RAISE 'not a plain service'; END IF;"
                " EXECUTE format('CREATE ROLE %I LOGIN', name);"
                " EXECUTE format('COMMENT ON ROLE %I IS %L', name, object_id);"
                " RETURN 'Created role'; END $$"
            )
            yield Provisioned(url, role)
            connection.execute("DROP FUNCTION pgaadauth_create_principal_with_oid")
        with closing(connect(url)) as connection:
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_after_the_hook_the_whole_app_runs_as_the_identity(
    shell: Shell, provisioned: Provisioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        ran = shell.run("hooks/postprovision.sh")
        assert ran.returncode == 0, ran.stderr
    with closing(connect(provisioned.url)) as connection:
        comment = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
        assert connection.execute(comment, [provisioned.role]).fetchone() == (PRINCIPAL,)
    provisioned.log_in()
    with (
        TenantServer(Directory(users=60, groups=6, sites=4)) as tenant,
        running_application(monkeypatch, provisioned.of_the_app, tenant) as application,
    ):
        application.register()
        assert application.synchronize()["status"] == "Succeeded"
        application.control("POST", "/mutate", {"count": 10, "seed": 3})
        assert application.synchronize()["status"] == "Succeeded"
        assert application.synchronize(type="Full")["status"] == "Succeeded"
        assert application.compare().differences == []
        application.host.fire_timer("check_parity")
        application.host.drain()
        application.client.delete(f"/organizations/{NAME}").raise_for_status()
        application.plan()
    with closing(connect(provisioned.url)) as connection:
        assert connection.execute("SELECT count(*) FROM objects").fetchone() == (0,)


def test_the_identity_may_do_nothing_but_read_and_write_rows(shell: Shell, provisioned: Provisioned) -> None:
    assert shell.run("hooks/postprovision.sh").returncode == 0
    provisioned.log_in()
    with closing(connect(provisioned.of_the_app)) as connection:
        for statement in (
            "CREATE TABLE public.mine (x int)",
            "DROP TABLE objects",
            "ALTER TABLE objects ADD COLUMN x int",
            "TRUNCATE objects",
            "SELECT version_num FROM alembic_version",
            "CREATE ROLE somebody",
            "COPY objects TO PROGRAM 'cat'",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_the_firewall_is_open_for_the_hook_alone_also_when_it_fails(shell: Shell, provisioned: Provisioned) -> None:
    good = shell.run("hooks/postprovision.sh", DEPLOYER_IP_ADDRESS="203.0.113.7")
    assert good.returncode == 0, good.stderr
    bad = shell.run("hooks/postprovision.sh", DEPLOYER_IP_ADDRESS="203.0.113.7", FAKE_TOKEN="not-a-token")
    assert bad.returncode == 1
    assert shell.store["told"] == ["opened for 203.0.113.7"] * 2
    assert shell.store["rules"] == {}


def test_the_hook_tells_no_token_and_says_what_is_missing(shell: Shell, provisioned: Provisioned) -> None:
    refused = shell.run("hooks/postprovision.sh", FAKE_TOKEN="confidential")
    assert refused.returncode == 1
    assert "does not let postgres in" in refused.stderr
    assert "confidential" not in refused.stderr + refused.stdout
    missing = shell.run("hooks/postprovision.sh", DATABASE_HOST="")
    assert missing.returncode == 1
    assert "DATABASE_HOST is not set" in missing.stderr


# --- Who administers --------------------------------------------------------------------------------------------------


def test_who_is_signed_in_administers_the_database_unless_somebody_is_named(shell: Shell) -> None:
    ran = shell.run("hooks/preprovision.sh", AUTH_AUDIENCE="api", DATABASE_ADMINISTRATOR_ID="")
    assert ran.returncode == 0, ran.stderr
    assert shell.store["env"] == {
        "DATABASE_ADMINISTRATOR_ID": "11111111-1111-4111-8111-111111111111",
        "DATABASE_ADMINISTRATOR_NAME": "ada@contoso.com",
        "DATABASE_ADMINISTRATOR_TYPE": "User",
    }
    assert shell.run("hooks/preprovision.sh", AUTH_AUDIENCE="api", DATABASE_ADMINISTRATOR_ID="g").returncode == 0
    assert len(shell.store["env"]) == 3


def test_what_the_virtual_network_is_delegated_to_is_registered_first(shell: Shell) -> None:
    ran = shell.run("hooks/preprovision.sh", AUTH_AUDIENCE="api", DATABASE_ADMINISTRATOR_ID="g", VNET_ENABLED="true")
    assert ran.returncode == 0, ran.stderr
    assert shell.store["told"] == ["registered Microsoft.App"]


def test_without_an_app_registration_it_is_told_how_to_get_one(shell: Shell) -> None:
    ran = shell.run("hooks/preprovision.sh", DATABASE_ADMINISTRATOR_ID="g", AUTH_AUDIENCE="")
    assert ran.returncode == 1
    assert "register-app.sh api" in ran.stderr


# --- App registrations ------------------------------------------------------------------------------------------------


def test_the_apis_registration_has_roles_and_scopes_and_is_made_once(shell: Shell) -> None:
    for _ in range(2):
        ran = shell.run("scripts/register-app.sh", "api")
        assert ran.returncode == 0, ran.stderr
    ((client, app),) = shell.store["applications"].items()
    names = ["Synchronization.Read.All", "Synchronization.ReadWrite.All"]
    assert shell.store["env"] == {"AUTH_AUDIENCE": client}
    assert app["identifierUris"] == [f"api://{client}"]
    assert app["signInAudience"] == "AzureADMyOrg"
    assert [(role["value"], role["allowedMemberTypes"]) for role in app["appRoles"]] == [
        (name, ["Application"]) for name in names
    ]
    scopes = app["api"]["oauth2PermissionScopes"]
    assert [(scope["value"], scope["type"]) for scope in scopes] == [(name, "Admin") for name in names]
    assert [scope["id"] for scope in scopes] == [role["id"] for role in app["appRoles"]]
    (trusted,) = app["api"]["preAuthorizedApplications"]
    assert trusted["delegatedPermissionIds"] == [scope["id"] for scope in scopes]
    assert shell.store["principals"][client]["appRoleAssignmentRequired"] == "true"
    (assigned,) = shell.store["assignments"]
    assert assigned["principalId"] == "11111111-1111-4111-8111-111111111111"


def test_the_application_for_graph_trusts_the_identity_and_asks_for_what_the_readme_lists(shell: Shell) -> None:
    shell.keep(IDENTITY_PRINCIPAL_ID=PRINCIPAL, SERVICE_URL="https://func.azurewebsites.net")
    assert shell.run("scripts/register-app.sh", "graph").returncode == 0
    ran = shell.run("scripts/register-app.sh", "graph")
    assert ran.returncode == 0, ran.stderr
    ((client, app),) = shell.store["applications"].items()
    assert app["signInAudience"] == "AzureADMultipleOrgs"
    (trust,) = app["trusts"]
    assert trust["subject"] == PRINCIPAL
    assert trust["issuer"] == "https://login.microsoftonline.com/99999999-8888-4777-8666-555555555555/v2.0"
    assert trust["audiences"] == ["api://AzureADTokenExchange"]
    (access,) = app["requiredResourceAccess"]
    asked = {entry["id"].removeprefix("id-of-") for entry in access["resourceAccess"]}
    steps = (ROOT / "README.md").read_text().partition("\n## A real tenant\n")[2].partition("\n2. ")[0]
    assert asked == set(re.findall(r"`(\w+(?:\.\w+)+)`", steps))
    assert f"/adminconsent?client_id={client}&redirect_uri=https://func.azurewebsites.net/docs" in ran.stdout
    assert client in shell.store["principals"]


def test_before_provisioning_the_application_for_graph_is_not_made(shell: Shell) -> None:
    ran = shell.run("scripts/register-app.sh", "graph")
    assert ran.returncode == 1
    assert "run azd provision first" in ran.stderr
    assert not shell.store.get("applications")
