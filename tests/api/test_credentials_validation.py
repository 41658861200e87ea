"""validateCredentials: the organization's own credential, or one that is given, is tried on every part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from local.tenant import TenantServer
from shared.graph.clouds import CLOUDS
from shared.models.organizations import CredentialKind, Region
from tests.api.support import check_error, check_headers, held_application, jobs_path, rows
from tests.application import APPLICATION, NAME, Application
from tests.graph.app_service import IDENTITY_HEADER
from tests.graph.authority import Authority, running_authority
from tests.graph.signing import sign_in

ELSEWHERE = "11111111-2222-4333-8444-555555555555"
EVERY_PART = ["users", "groups", "groupMembers", "sites", "mailboxes", "teams", "channels"]
PERMISSIONS = dict(
    zip(
        EVERY_PART,
        [
            "User.Read.All",
            *["GroupMember.Read.All"] * 2,
            "Sites.Read.All",
            "MailboxSettings.Read",
            "GroupMember.Read.All",
            "Channel.ReadBasic.All",
        ],
        strict=True,
    )
)


@pytest.fixture
def application(held: Application) -> Application:
    """The product beside a tenant; the registered organization signs in with the app's managed identity."""
    held.register()
    return held


@pytest.fixture
def authority(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tenant: TenantServer
) -> Iterator[tuple[Application, Authority]]:
    """The product, and the authority of China's cloud, in which the organization signs in with a secret of its own."""
    with running_authority(tenant) as running:
        monkeypatch.setitem(CLOUDS, Region.CHINA, replace(CLOUDS[Region.CHINA], authority=running.url))
        with held_application(monkeypatch, sqlite_url, tenant) as application:
            application.register(region="China", credential={"kind": "secret", "keyVaultSecret": "contoso-1"})
            yield application, running


def validate(application: Application, body: Any = None, *, at: str = "job") -> httpx.Response:
    path = f"{jobs_path()}/{application.job()['id']}" if at == "job" else jobs_path("beta", "servicePrincipals")
    return application.client.post(f"{path}/validateCredentials", json=body)


def given(secret: str, client_id: str | None = None) -> dict[str, Any]:
    pairs = [{"key": "ClientSecret", "value": secret}]
    if client_id is not None:
        pairs.append({"key": "ClientIdentifier", "value": client_id})
    return {"credentials": pairs}


def failures(answer: httpx.Response, code: str | None = None, status: int = 400) -> dict[str, str]:
    """The messages by part of a validation that failed, each of which has the code, where one is given."""
    message = check_error(answer, status)
    details = answer.json()["error"]["details"]
    assert {frozenset(detail) for detail in details} == {frozenset({"code", "message", "target"})}
    assert all(detail["message"] in message and detail["target"] in message for detail in details)
    assert NAME in message
    assert {detail["code"] for detail in details} <= {code or detail["code"] for detail in details}
    return {detail["target"]: detail["message"] for detail in details}


def code_of(application: Application) -> str:
    return application.job()["status"]["code"]


# --- The organization's own ---------------------------------------------------------------------------------------

OWN: dict[str, Any] = {
    "no body": None,
    "an empty body": {},
    "saved ones": {"useSavedCredentials": True},
    "saved ones beside others": {"useSavedCredentials": True, **given("wrong")},
    "no credentials": {"credentials": []},
    "null": {"credentials": None, "useSavedCredentials": None, "templateId": None, "applicationIdentifier": None},
    "what the SDK sends along": {
        "@odata.type": "#x", "templateId": "M365OrgCache", "applicationIdentifier": APPLICATION["clientId"],
    },
}  # fmt: skip


def test_a_credential_that_works_makes_a_new_job_not_run_and_nothing_else(application: Application) -> None:
    before = application.job()

    for name, body in OWN.items():
        answer = validate(application, body, at="list" if name == "no body" else "job")
        assert (answer.status_code, answer.content) == (204, b""), name
        check_headers(answer)
        assert application.job()["status"]["code"] == "NotRun"

    job = application.job()
    assert job["schedule"]["state"] == "Disabled"
    job["status"]["code"] = "NotConfigured"
    assert job == before
    assert application.sync_state()["syncStatus"] == "None"


def test_each_part_is_tried_with_what_it_selects_and_one_row(application: Application) -> None:
    application.control("DELETE", "/requests")
    assert validate(application).status_code == 204
    asked = application.control("GET", "/requests")["paths"]
    assert {path: number for path, number in asked.items() if "token" not in path} == {
        "/v1.0/users/delta": 1, "/v1.0/groups/delta": 3, "/v1.0/sites/delta": 1, "/v1.0/$batch": 2,
        "/v1.0/users": 1, "/v1.0/users/{id}/mailboxSettings/userPurpose": 1,
        "/v1.0/groups": 1, "/v1.0/teams/{id}/channels": 1,
    }  # fmt: skip
    assert application.client.get(f"/organizations/{NAME}/escrows").json() == {"value": []}


def test_a_part_that_is_switched_off_is_not_tried(application: Application) -> None:
    setting = {"synchronizationJobSettings": [{"name": "Parts", "value": "groups,teams"}]}
    application.client.patch(f"{jobs_path()}/{application.job()['id']}", json=setting).raise_for_status()
    application.control("POST", "/faults", [{"path": "/(users|sites)/delta", "status": 403}])
    assert validate(application).status_code == 204


def test_a_missing_permission_is_told_for_each_part_that_lacks_it_and_nothing_changes(
    application: Application,
) -> None:
    before = rows(application)
    for at, path, lacking in (
        ("job", "/users/delta", ["users"]),
        ("list", "/groups/delta", ["groups", "groupMembers", "teams"]),
        ("job", r"/delta|/\$batch", EVERY_PART),
    ):
        rule = {"path": path, "status": 403, "code": "Authorization_RequestDenied"}
        application.control("POST", "/faults", [rule])
        told = failures(validate(application, at=at), "Authorization_RequestDenied")
        assert list(told) == lacking
        assert all(PERMISSIONS[part] in message for part, message in told.items())
        application.control("DELETE", "/faults")
    assert rows(application) == before


def test_a_token_that_graph_refuses_is_told(application: Application) -> None:
    application.control("POST", "/faults", [{"path": "/users/delta", "status": 401}])
    told = failures(validate(application), "InvalidAuthenticationToken")
    assert list(told) == ["users"]
    assert "credential" in told["users"]


OUTAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "throttled": ({"status": 429, "retryAfter": 600}, "TooManyRequests", "429"),
    "malformed": ({"kind": "malformed"}, "MalformedAnswer", "users"),
    "an error of Graph's": ({"status": 500, "code": "generalException"}, "generalException", "500"),
}


def test_when_graph_does_not_say_whether_a_credential_works_the_client_is_asked_to_come_again(
    application: Application,
) -> None:
    for fault, code, word in OUTAGES.values():
        application.control("POST", "/faults", [{"path": "/users/delta", "times": 1, **fault}])

        answer = validate(application)

        told = failures(answer, code, 503)
        assert answer.json()["error"]["code"] == "serviceNotAvailable"
        assert 0 < int(answer.headers["Retry-After"]) < 180
        assert list(told) == ["users"]
        assert word in told["users"]
    assert code_of(application) == "NotConfigured"
    assert validate(application).status_code == 204


def test_beside_an_outage_a_refusal_is_a_refusal(application: Application) -> None:
    rules = [{"path": "/users/delta", "status": 500}, {"path": "/sites/delta", "status": 403}]
    application.control("POST", "/faults", rules)
    assert list(failures(validate(application))) == ["users", "sites"]


def test_an_answer_comes_in_time_though_graphs_does_not(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tenant: TenantServer
) -> None:
    with held_application(monkeypatch, sqlite_url, tenant, GRAPH_ANSWER_SECONDS="0.3") as application:
        application.register()
        application.control("POST", "/faults", [{"path": "/sites/delta", "kind": "latency", "milliseconds": 1_000}])
        told = failures(validate(application), "NoAnswer", 503)
        assert "sites" in told
        assert code_of(application) == "NotConfigured"


def test_an_identity_that_gets_no_token_is_told_for_every_part(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tenant: TenantServer
) -> None:
    with held_application(monkeypatch, sqlite_url, tenant, IDENTITY_HEADER="another") as application:
        application.register()
        told = failures(validate(application), "CredentialUnavailable")
        assert list(told) == EVERY_PART
        assert code_of(application) == "NotConfigured"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("secret", None), ("certificate", None), ("certificate", "bm8gY2VydGlmaWNhdGU="), ("certificate", "?")],
)
def test_a_secret_that_the_app_settings_do_not_hold_is_told_by_the_settings_name(
    held: Application, monkeypatch: pytest.MonkeyPatch, kind: str, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("ORGANIZATION_SECRET_CONTOSO_1", value)
    held.register(credential={"kind": kind, "keyVaultSecret": "contoso-1"})

    for at in ("job", "list"):
        told = failures(validate(held, at=at), "CredentialUnavailable")
        assert list(told) == EVERY_PART
        assert all("ORGANIZATION_SECRET_CONTOSO_1" in message for message in told.values())
    assert code_of(held) == "NotConfigured"


def test_a_job_that_goes_stays_as_it_is_whatever_a_validation_finds(application: Application) -> None:
    application.start()
    before = rows(application)
    assert validate(application).status_code == 204
    application.control("POST", "/faults", [{"path": "/delta", "status": 403}])
    failures(validate(application))
    assert rows(application) == before
    assert (application.job()["schedule"]["state"], code_of(application)) == ("Active", "NotRun")


def test_of_several_organizations_those_that_fail_are_named_and_those_that_work_are_verified(
    application: Application,
) -> None:
    for number in (1, 2):
        identity = {"tenantId": f"00000000-0000-4000-8000-{number:012}", "name": f"fabrikam{number}.com"}
        credential = {"kind": "secret", "keyVaultSecret": f"nowhere-{number}"}
        body = application.registration(**identity, credential=credential, parts=["users", "sites"])
        application.client.post("/organizations", json=body).raise_for_status()

    answer = validate(application, at="list")

    message = check_error(answer, 400, "CredentialUnavailable")
    assert NAME not in message
    assert [(detail["target"], detail["message"]) for detail in answer.json()["error"]["details"]] == [
        (f"fabrikam{number}.com: {part}", f"The app setting ORGANIZATION_SECRET_NOWHERE_{number} is missing.")
        for number in (1, 2)
        for part in ("users", "sites")
    ]
    jobs = application.client.get(jobs_path()).json()["value"]
    assert [job["status"]["code"] for job in jobs] == ["NotRun", "NotConfigured", "NotConfigured"]


@pytest.mark.parametrize("kind", CredentialKind)
def test_each_kind_is_tried_as_a_run_signs_in(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tenant: TenantServer, kind: CredentialKind
) -> None:
    with sign_in(tenant, monkeypatch, Region.WORLDWIDE) as world:
        settings = {name.upper(): value for name, value in world.settings.items()}
        settings |= {"IDENTITY_ENDPOINT": world.identity.url, "IDENTITY_HEADER": IDENTITY_HEADER}
        with held_application(monkeypatch, sqlite_url, tenant, **settings) as application:
            application.register(**world.prepare(kind))
            assert validate(application).status_code == 204
            assert len(world.authority.requests) >= (kind is not CredentialKind.MANAGED_IDENTITY)

            # A token that was issued earlier says nothing about the credential now.
            world.authority.application = ELSEWHERE
            world.identity.client_id = ELSEWHERE
            own = kind is CredentialKind.MANAGED_IDENTITY
            told = failures(validate(application), "CredentialUnavailable" if own else "EncounteredCredentialError")
            assert list(told) == EVERY_PART


# --- A secret that is given ---------------------------------------------------------------------------------------


def test_a_given_secret_is_tried_at_the_organizations_authority_and_says_nothing_of_its_own(
    authority: tuple[Application, Authority],
) -> None:
    application, entra = authority
    before = rows(application)

    for at, client_id in (("job", None), ("list", ""), ("job", ELSEWHERE)):
        entra.requests.clear()
        assert validate(application, given(entra.secret, client_id), at=at).status_code == 204

        used = {(form["client_id"], form["client_secret"]) for _, form in entra.requests}
        assert used == {(client_id or APPLICATION["clientId"], entra.secret)}
        assert {path for path, _ in entra.requests} == {f"/{application.tenant_id}/oauth2/v2.0/token"}
    # Whether the organization's own credential works is as unknown as before.
    assert rows(application) == before


def test_a_wrong_secret_is_refused_for_every_part_and_is_not_told(authority: tuple[Application, Authority]) -> None:
    application, entra = authority
    before = rows(application)

    answer = validate(application, given("hunter2-is-wrong"))

    told = failures(answer, "EncounteredCredentialError")
    assert answer.json()["error"]["code"] == "EncounteredCredentialError"
    assert list(told) == EVERY_PART
    assert "hunter2" not in answer.text
    assert rows(application) == before
    assert entra.requests


def test_a_right_secret_of_an_application_without_permission_is_told_as_that(
    authority: tuple[Application, Authority],
) -> None:
    application, entra = authority
    application.control("POST", "/faults", [{"path": "/sites/delta", "status": 403}])
    told = failures(validate(application, given(entra.secret)), "Authorization_RequestDenied")
    assert list(told) == ["sites"]
    assert "Sites.Read.All" in told["sites"]


def test_the_organizations_own_secret_is_tried_when_the_saved_ones_are_asked_for(
    authority: tuple[Application, Authority], monkeypatch: pytest.MonkeyPatch
) -> None:
    application, entra = authority
    monkeypatch.setenv("ORGANIZATION_SECRET_CONTOSO_1", entra.secret)

    assert validate(application, {"useSavedCredentials": True, **given("wrong")}).status_code == 204

    assert {form["client_secret"] for _, form in entra.requests} == {entra.secret}
    assert code_of(application) == "NotRun"


def test_a_key_is_known_in_any_case(authority: tuple[Application, Authority]) -> None:
    application, entra = authority
    pairs = [{"key": "clientSECRET", "value": entra.secret}, {"key": "CLIENTidentifier", "value": ELSEWHERE}]
    assert validate(application, {"credentials": pairs}).status_code == 204
    assert {form["client_id"] for _, form in entra.requests} == {ELSEWHERE}
