"""Secrets are taken and never told: no answer, no log and no row of the database holds one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from local.tenant import TenantServer
from shared.graph.clouds import CLOUDS
from shared.models.organizations import Region
from tests.api.support import another_organization, check_error, check_headers, held_application, jobs_path, rows
from tests.application import NAME, Application
from tests.databases import Databases
from tests.graph.authority import Authority, running_authority

ROOTS = (("v1.0", "applications"), ("beta", "servicePrincipals"))
THRESHOLD = "QuarantineTooManyDeletesThreshold"


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[Application]:
    """The product with a registered organization and without a tenant; runs stay queued."""
    with held_application(monkeypatch, sqlite_url) as running:
        running.register()
        yield running


def secrets_path(version: str = "v1.0", owner: str = "applications") -> str:
    return jobs_path(version, owner).removesuffix("jobs") + "secrets"


def put(application: Application, *pairs: tuple[str, Any], path: str | None = None) -> httpx.Response:
    body = {"value": [{"key": key, "value": value} for key, value in pairs]}
    return application.client.put(path or secrets_path(), json=body)


def notifications(**settings: Any) -> tuple[str, str]:
    return "SyncNotificationSettings", orjson.dumps(settings).decode()


def threshold(job: dict[str, Any]) -> str:
    return {pair["name"]: pair["value"] for pair in job["synchronizationJobSettings"]}[THRESHOLD]


# --- What is taken ------------------------------------------------------------------------------------------------


def test_graphs_whole_set_is_taken_without_a_word_and_changes_nothing(application: Application) -> None:
    before = rows(application)
    pairs = [("BaseAddress", "https://target.example.com"), ("UserName", "cook"), ("Password", "x"), ("SyncAll", None)]
    for given in ([], pairs, pairs + pairs, [("Unheard_of1", "x")]):
        for version, owner in ROOTS:
            for end in ("", "/"):
                answer = put(application, *given, path=secrets_path(version, owner) + end)
                assert (answer.status_code, answer.content) == (204, b"")
                check_headers(answer)
    assert rows(application) == before


def test_no_secret_can_be_read_back(application: Application) -> None:
    put(application, ("Password", "x"))
    for version, owner in ROOTS:
        path = secrets_path(version, owner)
        for method in ("GET", "POST", "PATCH", "DELETE"):
            answer = application.client.request(method, path, json={"value": []})
            check_error(answer, 405)
            assert answer.headers["Allow"] == "PUT"
        check_error(application.client.get(f"{path}/$count"), 404)
        check_error(application.client.get(path.removesuffix("/secrets")), 404)


def test_the_notification_settings_switch_the_deletion_threshold_of_all_the_applications_jobs(
    application: Application,
) -> None:
    identity = {"tenantId": "00000000-0000-4000-8000-000000000001", "name": "fabrikam.com"}
    application.client.post("/organizations", json=application.registration(**identity)).raise_for_status()
    stranger = another_organization()
    application.client.post("/organizations", json=stranger).raise_for_status()

    def thresholds() -> set[str]:
        return {threshold(job) for job in application.client.get(jobs_path()).json()["value"]}

    for settings, expected in (
        ({"Enabled": True, "Recipients": "a@b.c", "DeleteThresholdEnabled": True, "DeleteThresholdValue": 7}, "7"),
        ({"DeleteThresholdEnabled": False, "DeleteThresholdValue": 9}, "None"),
        ({"DeleteThresholdEnabled": True, "DeleteThresholdValue": 0}, "0"),
        # Where nothing is said of the threshold, it stays.
        ({"Enabled": False}, "0"),
        ({}, "0"),
        ({"DeleteThresholdEnabled": None, "DeleteThresholdValue": 9}, "0"),
    ):
        assert put(application, ("Password", "x"), notifications(**settings)).status_code == 204
        assert thresholds() == {expected}, settings
    key, value = notifications(DeleteThresholdEnabled=True, DeleteThresholdValue=12)
    assert put(application, (key.upper(), value)).status_code == 204
    assert thresholds() == {"12"}
    others = application.client.get(jobs_path(owner_id=stranger["application"]["objectId"])).json()["value"]
    assert [threshold(job) for job in others] == ["500"]


def test_an_application_that_nobody_registered_has_no_secrets(application: Application) -> None:
    before = rows(application)
    path = secrets_path().replace(jobs_path().split("/")[3], str(uuid4()))
    check_error(
        put(application, notifications(DeleteThresholdEnabled=False), path=path), 404, "Request_ResourceNotFound"
    )
    assert rows(application) == before


# --- What is told of them -----------------------------------------------------------------------------------------


@pytest.fixture
def signing_in(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tenant: TenantServer
) -> Iterator[tuple[Application, Authority]]:
    """The product, and the authority at which its organization signs in with a secret of its own."""
    with running_authority(tenant) as authority:
        # Nothing else looks like it, so that it is found wherever it is.
        authority.secret = f"right-{uuid4()}"
        monkeypatch.setenv("ORGANIZATION_SECRET_CONTOSO", authority.secret)
        monkeypatch.setitem(CLOUDS, Region.CHINA, replace(CLOUDS[Region.CHINA], authority=authority.url))
        with held_application(monkeypatch, sqlite_url, tenant) as application:
            application.register(region="China", credential={"kind": "secret", "keyVaultSecret": "contoso"})
            yield application, authority


def send_everywhere(application: Application, secret: str) -> Iterator[httpx.Response]:
    """Sends a secret wherever a client may send one, by mistake too, well-formed and not."""
    job = f"{jobs_path()}/{application.job()['id']}"
    pair = {"key": "ClientSecret", "value": secret}
    bodies: list[tuple[str, str, Any]] = [
        ("PUT", secrets_path(), {"value": [{"key": "Password", "value": secret}, {"key": "Url", "value": secret}]}),
        ("PUT", secrets_path(), {"value": [{"key": "SyncNotificationSettings", "value": secret}]}),
        ("PUT", secrets_path(), {"value": [{"key": secret, "value": secret}]}),
        ("PUT", secrets_path(), {"value": {"Password": secret}, secret: secret}),
        ("POST", f"{job}/validateCredentials", {"credentials": [pair]}),
        ("POST", f"{jobs_path()}/validateCredentials", {"credentials": [pair], "applicationIdentifier": secret}),
        ("POST", f"{job}/validateCredentials", {"credentials": [pair, {"key": "Password", "value": secret}]}),
        ("POST", f"{job}/validateCredentials", {"credentials": {"ClientSecret": secret}, "templateId": secret}),
        ("POST", f"{job}/validateCredentials", {"templateId": secret}),
        ("POST", f"{job}/validateCredentials", {"useSavedCredentials": True, "credentials": [pair]}),
        ("PATCH", job, {"synchronizationJobSettings": [{"name": "ClientSecret", "value": secret}]}),
        ("PATCH", job, {"synchronizationJobSettings": [{"name": "Parts", "value": secret}], "id": secret}),
        ("POST", jobs_path(), {"templateId": secret, "secret": secret}),
        ("POST", f"{job}/restart", {"criteria": {"resetScope": secret}}),
        ("PUT", f"{job}/schema", {"synchronizationRules": [{"id": secret}]}),
    ]
    for method, path, body in bodies:
        yield application.client.request(method, path, json=body)
        broken = orjson.dumps(body)[:-1]
        yield application.client.request(method, path, content=broken, headers={"Content-Type": "application/json"})
        yield application.client.request(
            method, path, content=orjson.dumps(body), headers={"Content-Type": "text/plain"}
        )


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_no_answer_no_log_and_no_row_holds_a_secret(
    signing_in: tuple[Application, Authority], sqlite_url: str, caplog: pytest.LogCaptureFixture, right: bool
) -> None:
    application, authority = signing_in
    secret = authority.secret if right else f"wrong-{uuid4()}"
    caplog.set_level(logging.DEBUG)
    # A saved credential that is used leaves a client behind, which later calls share.
    application.client.post(f"{jobs_path()}/validateCredentials").raise_for_status()

    answers = list(send_everywhere(application, secret))

    statuses = {answer.status_code for answer in answers}
    assert {204, 400, 415} <= statuses <= {204, 400, 409, 415}
    for answer in answers:
        assert secret not in answer.text
        assert secret not in repr(answer.headers)
    for path in (jobs_path(), f"/organizations/{NAME}", f"/organizations/{NAME}/syncState", "/organizations"):
        assert secret not in application.client.get(path).text
    assert {form["client_secret"] for _, form in authority.requests} >= {authority.secret, secret}
    assert caplog.records
    for record in caplog.records:
        assert secret not in record.getMessage()
        assert secret not in repr(record.__dict__)
    application.services.database.close()
    database = Path(sqlite_url.removeprefix("sqlite:///"))
    files = list(database.parent.iterdir())
    assert database in files
    for file in files:
        assert secret.encode() not in file.read_bytes(), file


def test_not_even_a_failure_that_nobody_foresaw_tells_a_secret(
    monkeypatch: pytest.MonkeyPatch, databases: Databases, caplog: pytest.LogCaptureFixture
) -> None:
    secret = f"hunter2-{uuid4()}"
    caplog.set_level(logging.DEBUG)
    with databases.fresh("sqlite") as url, held_application(monkeypatch, url) as application:
        application.register()
        with application.services.database.write() as connection:
            connection.exec_driver_sql("DROP TABLE jobs")
        pairs = [("Password", secret), notifications(DeleteThresholdEnabled=True, DeleteThresholdValue=7, Token=secret)]

        answer = put(application, *pairs)

        check_error(answer, 500, "generalException")
        assert secret not in answer.text
        failures = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert failures
        assert secret not in caplog.text
