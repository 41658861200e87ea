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
LIMIT = 1_048_576
JSON = {"Content-Type": "application/json"}
NOBODY = "99999999-9999-4999-8999-999999999999"
S = f"/v1.0/applications/{APPLICATION['objectId']}/synchronization"


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
@pytest.mark.parametrize("size", [LIMIT + 1, 3_000_000])
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


# --- The synchronization API --------------------------------------------------------------------------------------

BODIES: dict[str, tuple[str, str]] = {
    "a new job": ("POST", "jobs"),
    "a job": ("PATCH", "jobs/{job}"),
    "a restart": ("POST", "jobs/{job}/restart"),
    "a job's validation": ("POST", "jobs/{job}/validateCredentials"),
    "a validation": ("POST", "jobs/validateCredentials"),
    "a provisioning": ("POST", "jobs/{job}/provisionOnDemand"),
    "a schema": ("PUT", "jobs/{job}/schema"),
    "a changed schema": ("PATCH", "jobs/{job}/schema"),
    "secrets": ("PUT", "secrets"),
}


def refused_body(application: Application, what: str, status: int = 400, **request: Any) -> str:
    """Sends a body that must be refused without a trace; returns the message."""
    method, rest = BODIES[what]
    path = f"{S}/{rest.replace('{job}', application.job()['id'])}"
    return refused(application, status, None, method, path, **request)[1]


@pytest.mark.parametrize("what", BODIES)
def test_a_body_of_the_synchronization_api_must_be_a_json_object_of_some_size(
    application: Application, what: str
) -> None:
    for name in ("no JSON at all", "a comma too many", "UTF-16", "half a surrogate pair", "nesting without end"):
        assert "JSON" in refused_body(application, what, content=NOT_JSON[name], headers=JSON), name
    for name, content in NO_OBJECTS.items():
        assert "object" in refused_body(application, what, content=content, headers=JSON), name
    assert "application/json" in refused_body(application, what, 415, content=b"{}", headers={"Content-Type": "json"})
    assert str(LIMIT) in refused_body(application, what, 413, content=b"{}".ljust(LIMIT + 1), headers=JSON)


THRESHOLD, INTERVAL, PARTS = "QuarantineTooManyDeletesThreshold", "SynchronizationInterval", "Parts"
LONG = "9" * 5_000
WRONG_SETTINGS: dict[str, tuple[str, Any]] = {
    "an unknown name": (THRESHOLD, [{"name": "Domain", "value": SECRET}]),
    "an empty name": (THRESHOLD, [{"name": "", "value": "x"}]),
    "no name": ("synchronizationJobSettings.0.name", [{"value": "x"}]),
    "a name that is a number": ("synchronizationJobSettings.0.name", [{"name": 5, "value": "x"}]),
    "a name twice": ("once", [{"name": INTERVAL, "value": "PT1H"}, {"name": INTERVAL.lower(), "value": "PT1H"}]),
    "a wrong one behind a right one": (PARTS, [{"name": INTERVAL, "value": "PT1H"}, {"name": PARTS, "value": "x"}]),
    "no list": ("synchronizationJobSettings", {"name": INTERVAL, "value": "PT1H"}),
    "a list of texts": ("synchronizationJobSettings.0", ["PT1H"]),
    "no threshold": (THRESHOLD, [{"name": THRESHOLD, "value": None}]),
    "an empty threshold": (THRESHOLD, [{"name": THRESHOLD, "value": " "}]),
    "a name without a value": (THRESHOLD, [{"name": THRESHOLD}]),
    "a number as threshold": ("synchronizationJobSettings.0.value", [{"name": THRESHOLD, "value": 5}]),
    "a negative threshold": (THRESHOLD, [{"name": THRESHOLD, "value": "-1"}]),
    "half a deletion": (THRESHOLD, [{"name": THRESHOLD, "value": "1.5"}]),
    "a threshold in words": (THRESHOLD, [{"name": THRESHOLD, "value": SECRET}]),
    "digits of another script": (THRESHOLD, [{"name": THRESHOLD, "value": "٥"}]),
    "a threshold beyond the largest": (THRESHOLD, [{"name": THRESHOLD, "value": "2147483648"}]),
    "a threshold of 5000 digits": (THRESHOLD, [{"name": THRESHOLD, "value": LONG}]),
    "no interval": (INTERVAL, [{"name": INTERVAL, "value": None}]),
    "an empty interval": ("duration", [{"name": INTERVAL, "value": ""}]),
    "an interval in words": ("duration", [{"name": INTERVAL, "value": SECRET}]),
    "a negative interval": (INTERVAL, [{"name": INTERVAL, "value": "-PT40M"}]),
    "an interval of nothing": (INTERVAL, [{"name": INTERVAL, "value": "PT0S"}]),
    "an interval below a minute": ("PT1M", [{"name": INTERVAL, "value": "PT59.9S"}]),
    "an interval beyond a year": ("P365D", [{"name": INTERVAL, "value": "P365DT1S"}]),
    "an interval beyond all": ("duration", [{"name": INTERVAL, "value": f"P{LONG}D"}]),
    "no parts": (PARTS, [{"name": PARTS, "value": None}]),
    "nothing but commas": (PARTS, [{"name": PARTS, "value": " , ,"}]),
    "an unknown part": ("groupMembers", [{"name": PARTS, "value": "users,mailbox"}]),
    "a part without its source": ("mailboxes is derived from users", [{"name": PARTS, "value": "groups,mailboxes"}]),
    "parts as a list": ("synchronizationJobSettings.0.value", [{"name": PARTS, "value": ["users"]}]),
}


@pytest.mark.parametrize("what", ["a job", "a new job"])
@pytest.mark.parametrize(("word", "settings"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_a_wrong_setting_is_refused_by_its_name(application: Application, what: str, word: str, settings: Any) -> None:
    body = {"templateId": "M365OrgCache", "synchronizationJobSettings": settings}

    message = refused_body(application, what, json=body)

    assert word in message
    # Neither the value nor what the program thinks about it is told.
    assert "99999" not in message
    assert "sys." not in message


SUBJECT = {"objectId": "a", "objectTypeName": "User"}


def subjects(*given: Any, **changed: Any) -> dict[str, Any]:
    return {"parameters": [{"ruleId": "M365OrgCache", "subjects": list(given), **changed}]}


def notifications(value: Any) -> dict[str, Any]:
    return {"value": [{"key": "SyncNotificationSettings", "value": value}]}


WRONG_BODIES: dict[str, tuple[str, str, Any]] = {
    "another id": ("a job", "id", {"id": "M365OrgCache.1.2"}),
    "an empty id": ("a job", "id", {"id": ""}),
    "an id that is a number": ("a job", "id", {"id": 5}),
    "another template": ("a job", "M365OrgCache", {"templateId": SECRET}),
    "another state": ("a job", "schedule.state", {"schedule": {"state": "Disabled"}}),
    "a state that only Graph has": ("a job", "schedule.state", {"schedule": {"state": "Paused"}}),
    "an unknown state": ("a job", "schedule.state", {"schedule": {"state": SECRET}}),
    "an expiration": ("a job", "schedule.expiration", {"schedule": {"expiration": "2030-01-01T00:00:00Z"}}),
    "an expiration that means never": (
        "a job", "schedule.expiration", {"schedule": {"expiration": "0001-01-01T00:00:00+14:00"}},
    ),
    "no date": ("a job", "schedule.expiration", {"schedule": {"expiration": SECRET}}),
    "an interval below a minute": ("a job", "schedule.interval", {"schedule": {"interval": "PT1S"}}),
    "Graph's longest interval": (
        "a job", "schedule.interval", {"schedule": {"interval": "P10675199DT2H48M5.4775807S"}},
    ),
    "a negative interval": ("a job", "schedule.interval", {"schedule": {"interval": "-PT40M"}}),
    "an interval of minus a day": ("a job", "schedule.interval", {"schedule": {"interval": "-1 day, 23:20:00"}}),
    "no interval": ("a job", "schedule.interval", {"schedule": {"interval": SECRET}}),
    "an interval that is a number": ("a job", "schedule.interval", {"schedule": {"interval": 2400}}),
    "a right interval beside another id": ("a job", "id", {"schedule": {"interval": "PT1H"}, "id": "x"}),
    "contradicting intervals": (
        "a job", INTERVAL,
        {"schedule": {"interval": "PT4H"}, "synchronizationJobSettings": [{"name": INTERVAL, "value": "PT5H"}]},
    ),
    "a schedule that is none": ("a job", "schedule", {"schedule": "PT1H"}),
    "a status that is none": ("a job", "status", {"status": "Quarantine"}),
    "another code": ("a job", "status.code", {"status": {"code": "Paused"}}),
    "another code with a type": ("a job", "status.code", {"status": {"@odata.type": "#x", "code": "NotConfigured"}}),
    "an unknown code": ("a job", "status.code", {"status": {"code": SECRET}}),
    "an unknown reason": (
        "a job", "status.quarantine.reason", {"status": {"code": "Quarantine", "quarantine": {"reason": SECRET}}},
    ),
    "a wrong schema beside a right interval": (
        "a job", "synchronizationRules", {"schema": {"synchronizationRules": []}, "schedule": {"interval": "PT1H"}},
    ),
    "a quarantine that nobody can ask for": (
        "a job", "status.quarantine.reason",
        {"status": {"code": "Quarantine", "quarantine": {"reason": "TooManyDeletes"}}},
    ),
    "a quarantine's error that is none": (
        "a job", "status.quarantine.error", {"status": {"code": "Quarantine", "quarantine": {"error": SECRET}}},
    ),
    "a job without a template": ("a new job", "templateId", {}),
    "a job with no template": ("a new job", "templateId", {"templateId": None}),
    "a job of another template": ("a new job", "M365OrgCache", {"templateId": SECRET}),
    "a job of a numbered template": ("a new job", "templateId", {"templateId": 1}),
    "an unknown scope": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": SECRET}}),
    "a scope beyond all bits": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": 64}}),
    "an unused bit": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": "16"}}),
    "a scope of 5000 digits": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": LONG}}),
    "a negative scope": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": -1}}),
    "half a scope": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": 1.5}}),
    "a scope that is true": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": True}}),
    "a scope between two commas": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": "Full,,Escrows"}}),
    "a list of scopes": ("a restart", "ConnectorDataStore", {"criteria": {"resetScope": ["Full"]}}),
    "criteria that are a text": ("a restart", "criteria", {"criteria": "Full"}),
    "no parameters": ("a provisioning", "parameters", {}),
    "empty parameters": ("a provisioning", "parameters", {"parameters": []}),
    "parameters twice": ("a provisioning", "parameters", {"parameters": subjects(SUBJECT)["parameters"] * 2}),
    "no subject": ("a provisioning", "parameters.0.subjects", subjects()),
    "two subjects": ("a provisioning", "parameters.0.subjects", subjects(SUBJECT, SUBJECT)),
    "another rule": ("a provisioning", "parameters.0.ruleId", subjects(SUBJECT, ruleId=SECRET)),
    "no object": ("a provisioning", "objectId", subjects({"objectTypeName": "User"})),
    "an empty object": ("a provisioning", "objectId", subjects({**SUBJECT, "objectId": ""})),
    "an object that is null": ("a provisioning", "objectId", subjects({**SUBJECT, "objectId": None})),
    "an object without end": ("a provisioning", "objectId", subjects({**SUBJECT, "objectId": "a" * 1_025})),
    "no type": ("a provisioning", "objectTypeName", subjects({"objectId": "a"})),
    "an unknown type": ("a provisioning", "GroupMember", subjects({**SUBJECT, "objectTypeName": SECRET})),
    "secrets without a value": ("secrets", "value", {}),
    "secrets that are null": ("secrets", "value", {"value": None}),
    "secrets that are an object": ("secrets", "value", {"value": {"Password": SECRET}}),
    "a secret without a key": ("secrets", "value.0.key", {"value": [{"value": SECRET}]}),
    "a secret with an impossible key": ("secrets", "value.0.key", {"value": [{"key": f"{SECRET}!", "value": "x"}]}),
    "a secret that is a number": ("secrets", "value.0.value", {"value": [{"key": "Password", "value": 5}]}),
    "a switch that is a text": (
        "secrets", "DeleteThresholdEnabled", notifications('{"DeleteThresholdEnabled": "false"}'),
    ),
    "notifications that are empty": ("secrets", "SyncNotificationSettings", notifications(None)),
    "notifications that are no JSON": ("secrets", "SyncNotificationSettings", notifications(SECRET)),
    "notifications that are a list": ("secrets", "SyncNotificationSettings", notifications("[]")),
    "a threshold that is negative": (
        "secrets", "DeleteThresholdValue",
        notifications('{"DeleteThresholdEnabled": true, "DeleteThresholdValue": -1}'),
    ),
    "a threshold that is a text": (
        "secrets", "DeleteThresholdValue",
        notifications('{"DeleteThresholdEnabled": true, "DeleteThresholdValue": "500"}'),
    ),
    "a threshold that is true": (
        "secrets", "DeleteThresholdValue",
        notifications('{"DeleteThresholdEnabled": true, "DeleteThresholdValue": true}'),
    ),
    "a threshold that is too large": (
        "secrets", "DeleteThresholdValue",
        notifications('{"DeleteThresholdEnabled": true, "DeleteThresholdValue": 2147483648}'),
    ),
    "a threshold that is missing": (
        "secrets", "DeleteThresholdValue", notifications('{"DeleteThresholdEnabled": true}'),
    ),
    "a schema without rules": ("a schema", "synchronizationRules", {}),
    "two rules": ("a schema", "synchronizationRules", {"synchronizationRules": [{}, {}]}),
    "no rule": ("a changed schema", "synchronizationRules", {"synchronizationRules": []}),
    "rules that are none": ("a changed schema", "synchronizationRules.0", {"synchronizationRules": [SECRET]}),
    "nothing enabled": ("a schema", "objectMappings", {"synchronizationRules": [{"objectMappings": []}]}),
    "an unknown mapping": (
        "a changed schema", "User to User", {"synchronizationRules": [{"objectMappings": [{"name": "Mailbox"}]}]},
    ),
    **{
        f"{name} of {what}": (what, word, body)
        for what in ("a validation", "a job's validation")
        for name, word, body in (
            ("another template", "M365OrgCache", {"templateId": SECRET}),
            ("credentials that are an object", "credentials", {"credentials": {"ClientSecret": SECRET}}),
            ("a credential without a key", "credentials.0.key", {"credentials": [{"value": SECRET}]}),
            ("an unknown credential", "ClientSecret", {"credentials": [{"key": "Password", "value": SECRET}]}),
            ("a client id alone", "ClientSecret", {"credentials": [{"key": "ClientIdentifier", "value": NOBODY}]}),
            ("an empty secret", "ClientSecret", {"credentials": [{"key": "ClientSecret", "value": ""}]}),
            ("no secret", "ClientSecret", {"credentials": [{"key": "ClientSecret"}]}),
            (
                "an unknown credential beside a secret", "ClientSecret",
                {"credentials": [{"key": "ClientSecret", "value": SECRET}, {"key": "Password", "value": SECRET}]},
            ),
            ("a yes that is none", "useSavedCredentials", {"useSavedCredentials": SECRET}),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize(("what", "word", "body"), WRONG_BODIES.values(), ids=WRONG_BODIES)
def test_a_wrong_body_of_the_synchronization_api_is_refused_by_the_members_name(
    application: Application, what: str, word: str, body: Any
) -> None:
    assert word in refused_body(application, what, json=body)


def test_no_action_of_the_synchronization_api_takes_a_query_option(application: Application) -> None:
    actions = [("DELETE", "jobs/{job}"), ("POST", "jobs/{job}/start"), ("POST", "jobs/{job}/pause"), *BODIES.values()]
    for method, rest in (*actions, ("GET", "jobs/$count"), ("GET", "templates/$count")):
        path = f"{S}/{rest.replace('{job}', application.job()['id'])}"
        for query in ("$select=id", "force=true"):
            _, message = refused(application, 400, None, method, f"{path}?{query}", json={"templateId": "M365OrgCache"})
            assert "no query options" in message


def test_what_synchronizes_is_refused_for_an_organization_with_another_authentication_type(
    application: Application,
) -> None:
    for organization in (MODERN, BASIC):
        root = jobs_path(owner_id=organization["application"]["objectId"])
        job = application.client.get(root).json()["value"][0]["id"]
        for action, body in {"start": None, "restart": {}, "provisionOnDemand": subjects(SUBJECT)}.items():
            _, message = refused(application, 409, "conflict", "POST", f"{root}/{job}/{action}", json=body)
            assert "ApplicationOnly" in message


def test_a_job_is_not_created_while_every_organization_has_one(application: Application) -> None:
    message = refused_body(application, "a new job", 409, json={"templateId": "M365OrgCache"})
    assert "synchronization job" in message


# --- Conflicts, paths and methods ---------------------------------------------------------------------------------

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
    application.plan()

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
    ("PUT", "/v1.0/applications/{id}/synchronization/secrets"),
    ("GET", f"{S}/jobs/{{id}}"),
    ("PATCH", f"{S}/jobs/{{id}}"),
    ("POST", f"{S}/jobs/{{id}}/restart"),
    ("POST", f"{S}/jobs/{{id}}/validateCredentials"),
    ("GET", f"{S}/templates/{{id}}"),
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
    "/health": "GET",
    **{
        f"/{root}/{{id}}/synchronization/{rest}": allowed
        for root in ("v1.0/applications", "beta/servicePrincipals")
        for rest, allowed in {
            "jobs": "GET, POST",
            "jobs/M365OrgCache.1.2": "DELETE, GET, PATCH",
            "jobs/M365OrgCache.1.2/start": "POST",
            "jobs/M365OrgCache.1.2/pause": "POST",
            "jobs/M365OrgCache.1.2/restart": "POST",
            "jobs/M365OrgCache.1.2/validateCredentials": "POST",
            "jobs/M365OrgCache.1.2/provisionOnDemand": "POST",
            "jobs/M365OrgCache.1.2/schema": "GET, PATCH, PUT",
            "templates": "GET",
            "templates/M365OrgCache": "GET",
            "templates/M365OrgCache/schema": "GET",
            "secrets": "PUT",
        }.items()
    },
}


@pytest.mark.parametrize(("path", "allowed"), PATHS.items(), ids=PATHS)
def test_a_method_that_a_path_does_not_take_is_refused(application: Application, path: str, allowed: str) -> None:
    path = path.replace("{id}", APPLICATION["objectId"])
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for end in ("", "/") if method not in allowed.split(", ") else ():
            answer, message = refused(application, 405, None, method, path + end, json={"name": SECRET})

            assert answer.headers["Allow"].split(", ") == allowed.split(", ")
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
    "/v1.0/applications/{id}/synchronization",
    "/v1.0/applications/{id}/synchronization/acquireAccessToken",
    "/v1.0/applications/{id}/synchronization/secrets/$count",
    "/v1.0/applications/{id}/synchronization/jobs/M365OrgCache.1.2/bulkUpload",
    "/v1.0/applications/{id}/synchronization/jobs/M365OrgCache.1.2/schema/directories",
    "/v1.0/applications/{id}/synchronization/templates/M365OrgCache/schema/functions",
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
