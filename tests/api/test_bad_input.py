"""Bad requests get a clear error of one shape, tell nothing of the inside, and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest

from tests.api.support import another_organization, check_error, check_headers, held_application, jobs_path, rows
from tests.application import APPLICATION, NAME, Application
from tests.databases import Databases

MODERN = another_organization(authenticationType="Modern")
BASIC = another_organization(authenticationType="Basic")
SECRET = "Tr0ub4dor-and-3-Hunter2"
LIMIT = 65_536
JSON = {"Content-Type": "application/json"}
NOBODY = "99999999-9999-4999-8999-999999999999"


def _running(databases: Databases, kind: Any) -> Iterator[Application]:
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        databases.fresh(kind) as url,
        held_application(monkeypatch, url) as application,
    ):
        # Something is there to be damaged: organizations, and a run of one of them.
        application.register(parts=["users", "groups"])
        application.start()
        for other in (MODERN, BASIC):
            application.client.post("/organizations", json=other).raise_for_status()
        yield application


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def application(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Application]:
    """One product for all the requests of this module, which is the point of them: none leaves a trace."""
    yield from _running(databases, request.param)


def refused(
    application: Application, status: int, code: str | None, method: str, path: str, **request: Any
) -> tuple[httpx.Response, str]:
    """Sends a request that must be refused without a trace; returns the answer and its message."""
    rows_before, listed_before = rows(application), application.client.get("/organizations").json()

    answer = application.client.request(method, path, **request)

    message = check_error(answer, status, code)
    assert rows(application) == rows_before
    assert application.client.get("/organizations").json() == listed_before
    assert SECRET not in answer.text
    return answer, message


def body_of(path: str, **changed: Any) -> dict[str, Any]:
    """A body that the path would take, but for the changes."""
    valid = another_organization() if path == "/organizations" else {}
    return {**valid, **changed}


POST_PATHS = pytest.mark.parametrize("path", ["/organizations", f"/organizations/{NAME}/sync"])

NOT_JSON: dict[str, bytes] = {
    "no JSON at all": b"type=Full",
    "a cut-off object": b'{"type": "Full"',
    "a comma too many": b'{"type": "Full",}',
    "text behind the object": b'{"type": "Full"} {}',
    "single quotation marks": b"{'type': 'Full'}",
    "a comment": b'{"type": "Full" /* or not */}',
    "NaN": b'{"type": NaN}',
    "Infinity": b'{"type": -Infinity}',
    "a byte order mark": b'\xef\xbb\xbf{"type": "Full"}',
    "UTF-16": '{"type": "Full"}'.encode("utf-16"),
    "invalid UTF-8": b'{"type": "\xff\xfe"}',
    "half a surrogate pair": b'{"type": "\\ud800"}',
    "a NUL": b'{"type": "Full"}\x00',
    "nesting without end": b'{"type": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "nesting without end or close": b"[" * 60_000,
}


NO_OBJECTS = {
    "a list": "[]",
    "a list of an object": "[{}]",
    "null": "null",
    "a boolean": "true",
    "a number": "5",
    "a string": '"Full"',
    "a deep list": "[" * 900 + "]" * 900,
}


@POST_PATHS
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_a_body_that_is_not_json_is_refused(application: Application, path: str, body: bytes) -> None:
    _, message = refused(application, 400, "Request_BadRequest", "POST", path, content=body, headers=JSON)

    assert "JSON" in message


@POST_PATHS
@pytest.mark.parametrize("body", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_a_body_that_is_no_object_is_refused(application: Application, path: str, body: str) -> None:
    refused(application, 400, "Request_BadRequest", "POST", path, content=body, headers=JSON)


@POST_PATHS
def test_a_deeply_nested_member_is_refused_by_its_name(application: Application, path: str) -> None:
    body = orjson.dumps(body_of(path))[:-1] + (b"," if path == "/organizations" else b"")
    body += b'"parts": ' + b"[" * 900 + b"]" * 900 + b"}"

    _, message = refused(application, 400, "Request_BadRequest", "POST", path, content=body, headers=JSON)

    assert "parts" in message


@POST_PATHS
def test_of_a_member_given_twice_the_last_one_counts(application: Application, path: str) -> None:
    body = orjson.dumps(body_of(path, parts=["users"]))[:-1] + b', "parts": ["calendars"]}'

    _, message = refused(application, 400, "Request_BadRequest", "POST", path, content=body, headers=JSON)

    assert "parts" in message


@POST_PATHS
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "json"],
)
def test_a_body_of_another_media_type_is_refused(application: Application, path: str, content_type: str) -> None:
    body = orjson.dumps(body_of(path))
    headers = {"Content-Type": content_type}

    _, message = refused(application, 415, None, "POST", path, content=body, headers=headers)

    assert "application/json" in message


@POST_PATHS
def test_a_body_without_a_media_type_is_refused(application: Application, path: str) -> None:
    refused(application, 415, None, "POST", path, content=orjson.dumps(body_of(path)))


@POST_PATHS
@pytest.mark.parametrize("size", [LIMIT + 1, 2_000_000])
def test_a_body_beyond_the_limit_is_refused(application: Application, path: str, size: int) -> None:
    # White space behind the object: nothing but the size is wrong with it.
    body = orjson.dumps(body_of(path)).ljust(size)

    _, message = refused(application, 413, None, "POST", path, content=body, headers=JSON)

    assert str(LIMIT) in message


@POST_PATHS
def test_an_error_stays_readable_however_much_is_wrong(application: Application, path: str) -> None:
    body = orjson.dumps(body_of(path, parts=[0] * 30_000))

    answer, message = refused(application, 400, "Request_BadRequest", "POST", path, content=body, headers=JSON)

    assert "parts" in message
    assert len(answer.content) < 16_384


WRONG_REGISTRATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "tenantId is no guid": ("tenantId", {"tenantId": "contoso"}),
    "tenantId is empty": ("tenantId", {"tenantId": ""}),
    "tenantId is a number": ("tenantId", {"tenantId": 7}),
    "tenantId is null": ("tenantId", {"tenantId": None}),
    "name is no domain name": ("name", {"name": "Contoso Ltd"}),
    "name has no dot": ("name", {"name": "contoso"}),
    "name is empty": ("name", {"name": ""}),
    "name is too long": ("name", {"name": "a" * 250 + ".com"}),
    "name has a line break": ("name", {"name": "contoso.com\n"}),
    "name has a NUL": ("name", {"name": "con\u0000toso.com"}),
    "name has a slash": ("name", {"name": "contoso.com/sync"}),
    "name has letters beyond ASCII": ("name", {"name": "müller.example.com"}),
    "name is a number": ("name", {"name": 1.5}),
    "name is a list": ("name", {"name": ["contoso.com"]}),
    "region is unknown": ("region", {"region": "Mars"}),
    "region is in another case": ("region", {"region": "worldwide"}),
    "authenticationType is unknown": ("authenticationType", {"authenticationType": "Password"}),
    "authenticationType is null": ("authenticationType", {"authenticationType": None}),
    "application is missing": ("application", {"application": ...}),
    "application is null": ("application", {"application": None}),
    "application is a string": ("application", {"application": NOBODY}),
    "application is a list": ("application", {"application": [APPLICATION]}),
    "application is empty": ("application.clientId", {"application": {}}),
    "application.objectId is no guid": ("application.objectId", {"application": {**APPLICATION, "objectId": "x"}}),
    "application has an unknown member": ("application.secret", {"application": {**APPLICATION, "secret": SECRET}}),
    "credential is a string": ("credential", {"credential": SECRET}),
    "credential is of no known kind": ("credential.kind", {"credential": {"kind": SECRET}}),
    "credential has a value in it": ("credential.value", {"credential": {"kind": "secret", "value": SECRET}}),
    "credential without the name of its secret": ("keyVaultSecret", {"credential": {"kind": "secret"}}),
    "credential with a name it cannot have": (
        "keyVaultSecret",
        {"credential": {"kind": "managedIdentity", "keyVaultSecret": "certificate-1"}},
    ),
    "credential's secret itself instead of its name": (
        "credential.keyVaultSecret",
        {"credential": {"kind": "secret", "keyVaultSecret": f"{SECRET}~!"}},
    ),
    "parts are empty": ("parts", {"parts": []}),
    "parts are null": ("parts", {"parts": None}),
    "parts are a string": ("parts", {"parts": "users"}),
    "parts are an object": ("parts", {"parts": {"users": True}}),
    "a part is unknown": ("parts.1", {"parts": ["users", "calendars"]}),
    "a part is in another case": ("parts.0", {"parts": ["Users"]}),
    "a part is a number": ("parts.0", {"parts": [0]}),
    "a part is a list": ("parts.0", {"parts": [["users"]]}),
    "an unknown member": ("clientSecret", {"clientSecret": SECRET}),
    "a member of the entity": ("jobId", {"jobId": "M365OrgCache.1.2"}),
    "a member in snake case": ("authentication_type", {"authentication_type": "ApplicationOnly"}),
}


@pytest.mark.parametrize(("member", "changed"), WRONG_REGISTRATIONS.values(), ids=WRONG_REGISTRATIONS)
def test_a_wrong_registration_is_refused_with_the_members_name(
    application: Application, member: str, changed: dict[str, Any]
) -> None:
    body = {name: value for name, value in {**another_organization(), **changed}.items() if value is not ...}

    _, message = refused(application, 400, "Request_BadRequest", "POST", "/organizations", json=body)

    assert member in message


def test_an_empty_registration_is_refused_with_all_that_is_missing(application: Application) -> None:
    _, message = refused(application, 400, "Request_BadRequest", "POST", "/organizations")

    for member in ("tenantId", "name", "application"):
        assert member in message


WRONG_STARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "type is unknown": ("type", {"type": "Differential"}),
    "type is in another case": ("type", {"type": "full"}),
    "type is a number": ("type", {"type": 1}),
    "type is a boolean": ("type", {"type": True}),
    "type is null": ("type", {"type": None}),
    "type is a list": ("type", {"type": ["Full"]}),
    "type is a password": ("type", {"type": SECRET}),
    "parts are empty": ("parts", {"parts": []}),
    "parts are a string": ("parts", {"parts": "users"}),
    "parts are an object": ("parts", {"parts": {"0": "users"}}),
    "a part is unknown": ("parts.0", {"parts": ["calendars"]}),
    "a part is null": ("parts.1", {"parts": ["users", None]}),
    "a part that the organization does not have": ("sites", {"parts": ["users", "sites"]}),
    "nothing but parts that it does not have": ("teams", {"parts": ["teams"]}),
    "an unknown member": ("full", {"full": True}),
    "an unknown member with a password": ("password", {"type": "Full", "password": SECRET}),
}


@pytest.mark.parametrize(("member", "body"), WRONG_STARTS.values(), ids=WRONG_STARTS)
def test_a_wrong_start_is_refused_with_the_members_name(
    application: Application, member: str, body: dict[str, Any]
) -> None:
    path = f"/organizations/{application.tenant_id}/sync"

    _, message = refused(application, 400, "Request_BadRequest", "POST", path, json=body)

    assert member in message


DUPLICATES: dict[str, dict[str, Any]] = {
    "the same tenant and name": {},
    "the same tenant": {"name": "fabrikam.onmicrosoft.com"},
    "the same tenant in capitals": {"name": "fabrikam.onmicrosoft.com", "upper": True},
    "the same name": {"tenantId": NOBODY},
    "the same name in another case": {"tenantId": NOBODY, "name": "CONTOSO.OnMicrosoft.com"},
}


@pytest.mark.parametrize("changed", DUPLICATES.values(), ids=DUPLICATES)
def test_a_second_registration_is_a_conflict(application: Application, changed: dict[str, Any]) -> None:
    changed = dict(changed)
    if changed.pop("upper", False):
        changed["tenantId"] = application.tenant_id.upper()

    _, message = refused(
        application, 409, "conflict", "POST", "/organizations", json=application.registration(**changed)
    )

    assert "registered already" in message


@pytest.mark.parametrize("organization", [MODERN, BASIC], ids=["Modern", "Basic"])
@pytest.mark.parametrize("body", [None, {"type": "Full"}], ids=["without a body", "full"])
def test_an_organization_with_another_authentication_type_does_not_synchronize(
    application: Application, organization: dict[str, Any], body: dict[str, Any] | None
) -> None:
    path = f"/organizations/{organization['tenantId']}"

    _, message = refused(application, 409, "conflict", "POST", f"{path}/sync", json=body)

    assert "ApplicationOnly" in message
    assert organization["authenticationType"] in message
    state = application.client.get(f"{path}/syncState").json()
    assert (state["syncStatus"], state["currentState"], state["lastSyncTime"]) == ("None", None, None)
    jobs = application.client.get(jobs_path(owner_id=organization["application"]["objectId"])).json()["value"]
    assert [(job["schedule"]["state"], job["status"]["code"]) for job in jobs] == [("Disabled", "NotConfigured")]


def test_the_planner_leaves_organizations_with_another_authentication_type_alone(application: Application) -> None:
    application.clock.forward(days=1)
    application.host.fire_timer("plan_synchronizations")

    for organization in (MODERN, BASIC):
        state = application.client.get(f"/organizations/{organization['name']}/syncState").json()
        assert (state["syncStatus"], state["currentState"]) == ("None", None)


ORGANIZATION_PATHS = (
    ("GET", "/organizations/{id}"),
    ("DELETE", "/organizations/{id}"),
    ("POST", "/organizations/{id}/sync"),
    ("GET", "/organizations/{id}/syncState"),
    ("GET", "/organizations/{id}/syncs/" + NOBODY),
    ("GET", "/organizations/contoso.onmicrosoft.com/syncs/{id}"),
    ("GET", "/v1.0/applications/{id}/synchronization/jobs"),
    ("GET", "/beta/servicePrincipals/{id}/synchronization/jobs"),
    ("GET", "/v1.0/applications/{id}/synchronization/jobs/M365OrgCache.1.2"),
    ("GET", f"/v1.0/applications/{APPLICATION['objectId']}/synchronization/jobs/{{id}}"),
)

IDS: dict[str, str] = {
    "an unknown guid": NOBODY,
    "an unknown name": "fabrikam.onmicrosoft.com",
    "a name without its end": "contoso.onmicrosoft",
    "no guid": "5",
    "a wildcard": "%25",
    "another wildcard": "*",
    "an underscore": "contoso_onmicrosoft_com",
    "a slash": "a%2Fb",
    "a slash behind the name": "contoso.onmicrosoft.com%2F",
    "a NUL": "a%00b",
    "nothing but a NUL": "%00",
    "a line break": "a%0D%0ASet-Cookie:%20a=b",
    "an apostrophe": "a'%20OR%20'1'='1",
    "quotation marks": "%22a%22",
    "a backslash": "a%5Cb",
    "no ASCII": "m%C3%BCller-%E7%B5%84%E7%B9%94-%F0%9F%8F%A2",
    "no UTF-8": "%FF%FE",
    "4000 letters": "a" * 4000,
    "braces": "%7Bid%7D",
    "a template": "{{7*7}}",
}


@pytest.mark.parametrize(("method", "path"), ORGANIZATION_PATHS)
@pytest.mark.parametrize("odd", IDS.values(), ids=IDS)
def test_whatever_is_not_there_is_not_found(application: Application, method: str, path: str, odd: str) -> None:
    refused(application, 404, "Request_ResourceNotFound", method, path.replace("{id}", odd))


def test_a_run_is_found_under_its_own_organization_only(application: Application) -> None:
    run = application.start()["activityIdentifier"]

    assert application.run(run)["activityIdentifier"] == run
    refused(application, 404, "Request_ResourceNotFound", "GET", f"/organizations/{MODERN['tenantId']}/syncs/{run}")


def test_a_job_is_found_under_its_own_application_only(application: Application) -> None:
    job = application.job()["id"]
    elsewhere = jobs_path(owner_id=MODERN["application"]["objectId"])

    assert application.client.get(f"{jobs_path()}/{job}").status_code == 200
    refused(application, 404, "Request_ResourceNotFound", "GET", f"{elsewhere}/{job}")


def test_the_roots_of_applications_and_service_principals_have_ids_of_their_own(application: Application) -> None:
    for owner, owner_id in (
        ("applications", APPLICATION["servicePrincipalId"]),
        ("applications", APPLICATION["clientId"]),
        ("servicePrincipals", APPLICATION["objectId"]),
        ("servicePrincipals", APPLICATION["clientId"]),
    ):
        refused(application, 404, "Request_ResourceNotFound", "GET", jobs_path("v1.0", owner, owner_id))


PATHS = {
    "/organizations": "GET, POST",
    f"/organizations/{NAME}": "DELETE, GET",
    f"/organizations/{NAME}/sync": "POST",
    f"/organizations/{NAME}/syncs/{NOBODY}": "GET",
    f"/organizations/{NAME}/syncState": "GET",
    "/v1.0/applications/{id}/synchronization/jobs": "GET",
    "/beta/servicePrincipals/{id}/synchronization/jobs": "GET",
    "/v1.0/applications/{id}/synchronization/jobs/M365OrgCache.1.2": "GET",
    "/beta/servicePrincipals/{id}/synchronization/jobs/M365OrgCache.1.2": "GET",
    "/health": "GET",
}
WRONG_METHODS = [
    (method, path, allowed)
    for path, allowed in PATHS.items()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
    if method not in allowed
]


@pytest.mark.parametrize("end", ["", "/"], ids=["", "slash"])
@pytest.mark.parametrize(("method", "path", "allowed"), WRONG_METHODS)
def test_a_method_that_a_path_does_not_take_is_refused(
    application: Application, method: str, path: str, allowed: str, end: str
) -> None:
    path = path.replace("{id}", APPLICATION["objectId"]) + end

    answer, message = refused(application, 405, None, method, path, json={"name": SECRET})

    assert sorted(name.strip() for name in answer.headers["Allow"].split(",")) == allowed.split(", ")
    assert allowed in message


def test_a_method_that_takes_no_body_is_refused_without_one(application: Application) -> None:
    answer = application.client.head(f"/organizations/{NAME}/sync")

    assert (answer.status_code, answer.headers["Allow"], answer.content) == (405, "POST", b"")
    check_headers(answer)


UNKNOWN_PATHS = [
    "/",
    "/organisations",
    "/organizations/contoso.onmicrosoft.com/calendars",
    "/organizations/contoso.onmicrosoft.com/sync/now",
    "/organizations/contoso.onmicrosoft.com/syncState/users",
    "/v2.0/applications/{id}/synchronization/jobs",
    "/v1.0/users/{id}/synchronization/jobs",
    "/v1.0/applications/{id}/synchronization/templates",
    "/v1.0/applications/{id}/synchronization/jobs/M365OrgCache.1.2/users",
    "/v1.0/applications",
    "/health/database",
    "/.env",
    "/m%C3%BCller/%F0%9F%8F%A2",
    "/a%00b",
    "/a%2Fb",
    "/" + "a/" * 300,
]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", UNKNOWN_PATHS)
def test_an_unknown_path_is_not_found_by_any_method(application: Application, method: str, path: str) -> None:
    path = path.replace("{id}", APPLICATION["objectId"])

    refused(application, 404, "Request_ResourceNotFound", method, path, headers=JSON)


FAILING_REQUESTS: dict[str, tuple[int, str, str]] = {
    "400": (400, "POST", "/organizations"),
    "404": (404, "GET", f"/organizations/{NOBODY}"),
    "404 of an unknown path": (404, "GET", "/nowhere"),
    "405": (405, "PATCH", f"/organizations/{NAME}"),
    "409": (409, "POST", f"/organizations/{MODERN['name']}/sync"),
}


@pytest.mark.parametrize(("status", "method", "path"), FAILING_REQUESTS.values(), ids=FAILING_REQUESTS)
@pytest.mark.parametrize("form", [str, lambda guid: str(guid).upper()], ids=["small letters", "capitals"])
def test_an_error_carries_the_callers_own_id(
    application: Application, status: int, method: str, path: str, form: Any
) -> None:
    own = form(uuid4())

    answer, _ = refused(application, status, None, method, path, headers={"client-request-id": own})

    assert answer.headers["client-request-id"] == own
    assert answer.json()["error"]["innerError"]["client-request-id"] == own
    assert UUID(answer.headers["request-id"]) != UUID(own)


@pytest.mark.parametrize(("status", "method", "path"), FAILING_REQUESTS.values(), ids=FAILING_REQUESTS)
def test_body_and_headers_of_an_error_name_the_same_ids(
    application: Application, status: int, method: str, path: str
) -> None:
    answer, _ = refused(application, status, None, method, path)

    inner = answer.json()["error"]["innerError"]
    for name in ("request-id", "client-request-id"):
        assert inner[name] == answer.headers[name]


def test_every_answer_carries_the_callers_own_id(application: Application) -> None:
    own = str(uuid4())
    for path in ("/organizations", f"/organizations/{NAME}/syncState", "/organizations/syncState", jobs_path()):
        answer = application.client.get(path, headers={"client-request-id": own})

        assert (answer.status_code, answer.headers["client-request-id"]) == (200, own)
        check_headers(answer)


@pytest.mark.parametrize("odd", ["", "seven", "<script>", "a" * 5000, "m\u00fcller"])
def test_a_callers_id_that_is_none_is_not_sent_back(application: Application, odd: str) -> None:
    headers = {"client-request-id": odd.encode("latin-1")}

    answer, _ = refused(application, 404, None, "GET", f"/organizations/{NOBODY}", headers=headers)

    assert UUID(answer.headers["client-request-id"])
    assert not odd or odd not in answer.text


def test_two_answers_have_two_ids(application: Application) -> None:
    answers = [application.client.get(f"/organizations/{NOBODY}") for _ in range(2)]

    assert len({answer.headers["request-id"] for answer in answers}) == 2


def test_a_secret_in_an_address_is_not_sent_back(application: Application) -> None:
    for path in (f"/organizations/{SECRET}", f"/{SECRET}", f"/organizations/{NAME}/syncs/{SECRET}?code={SECRET}"):
        refused(application, 404, "Request_ResourceNotFound", "GET", path)
