"""The simulated tenant hands out access tokens like App Service, and its command serves a tenant."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from azure.identity import ManagedIdentityCredential

from local.tenant import Directory, TenantServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("client_id", [None, "11111111-2222-4333-8444-555555555555"])
def test_the_real_managed_identity_credential_gets_a_token_that_graph_takes(
    monkeypatch: pytest.MonkeyPatch, client_id: str | None
) -> None:
    with TenantServer(Directory(users=10)) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "local-identity-header")
        monkeypatch.delenv("IDENTITY_SERVER_THUMBPRINT", raising=False)
        credential = ManagedIdentityCredential(client_id=client_id) if client_id else ManagedIdentityCredential()
        token = credential.get_token("https://graph.microsoft.com/.default")
        answer = httpx.get(f"{server.url}/v1.0/organization", headers={"Authorization": f"Bearer {token.token}"})
        assert answer.json()["value"][0]["id"] == server.directory.tenant_id


def test_a_token_is_given_only_to_who_knows_the_identity_header() -> None:
    with TenantServer(Directory(users=10), identity_header="secret") as server:
        query = {"resource": "https://graph.microsoft.com", "api-version": "2019-08-01"}
        assert httpx.get(f"{server.url}/msi/token", params=query).status_code == 403
        known = {"X-IDENTITY-HEADER": "secret"}
        assert httpx.get(f"{server.url}/msi/token", params=query, headers=known).status_code == 200
        assert httpx.get(f"{server.url}/msi/token", headers=known).status_code == 400


def test_a_token_of_another_tenant_is_refused() -> None:
    with TenantServer(Directory(users=10, seed=1)) as one, TenantServer(Directory(users=10, seed=2)) as other:
        headers = {"Authorization": f"Bearer {one.access_token()}"}
        assert httpx.get(f"{other.url}/v1.0/organization", headers=headers).status_code == 401


def test_the_command_says_where_it_listens_and_serves_there() -> None:
    command = [sys.executable, "-m", "local.tenant", "--port", "0", "--users", "30", "--seed", "9", "--sites", "4"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            assert line.startswith("tenant listening on http://127.0.0.1:")
            summary = httpx.get(f"{line.rpartition(' ')[2]}/control").json()
            assert summary["seed"] == 9
            assert {kind: counts["live"] for kind, counts in summary["counts"].items()} == {
                "users": 30, "groups": 10, "sites": 6,
            }  # fmt: skip
        finally:
            process.terminate()
