"""The API describes itself: every function with every status, as programs and as people read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
import schemathesis.openapi

import function_app
from local.host.metadata import read_functions
from local.tenant import TenantServer
from shared.api.views.reference import reference
from tests.api.support import check_error, check_headers, jobs_path
from tests.api.test_tokens import OPEN
from tests.api.tokens import protected_application, writer
from tests.application import Application
from tests.databases import Databases
from tests.documented import check_documented

FUNCTIONS = [
    function
    for function in read_functions(function_app.app, {"SYNC_SCHEDULE": "0 * * * * *"})
    if function.trigger.type == "httpTrigger" and function.name != "unknown_path"
]


@pytest.fixture(scope="module")
def product(shared_tenant: TenantServer, databases: Databases) -> Iterator[Application]:
    """A product that asks for tokens; what is read here needs none."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        databases.fresh("sqlite") as url,
        protected_application(monkeypatch, url, shared_tenant) as application,
    ):
        yield application


@pytest.fixture(scope="module")
def document(product: Application) -> dict[str, Any]:
    """The document as it is served to somebody without a token."""
    answer = product.client.get("/openapi.json")
    assert answer.status_code == 200
    check_headers(answer)
    return answer.json()


@pytest.fixture(scope="module")
def page(product: Application) -> httpx.Response:
    """The page as it is served to somebody without a token."""
    answer = product.client.get("/docs")
    assert answer.status_code == 200
    check_headers(answer)
    return answer


def operations(document: Mapping[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation, by its id."""
    return {
        operation["operationId"]: (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def references(value: Any) -> Iterator[str]:
    """Everything that is pointed at."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


# --- For programs --------------------------------------------------------------------------------------------------


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(document).validate()


def test_everything_that_the_document_points_at_is_there_and_nothing_else(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert set(references(document)) <= known
    in_use = set(references(document["paths"]))
    while (
        more := set(references([document["components"]["schemas"][ref.rpartition("/")[2]] for ref in in_use])) - in_use
    ):
        in_use |= more
    # An answer whose members are chosen, or that has more than the model, holds the model itself.
    held = set(re.findall(r"'title': '(\w+)'", str(document["paths"])))
    assert {name.rpartition("/")[2] for name in known - in_use} <= held


def test_the_document_has_every_function_and_no_other(document: dict[str, Any]) -> None:
    told = {(name, method.upper(), path) for name, (method, path, _) in operations(document).items()}

    assert told == {
        (function.name, method, f"/{function.trigger.properties['route']}")
        for function in FUNCTIONS
        for method in function.trigger.properties["methods"]
    }


@pytest.mark.parametrize("name", [function.name for function in FUNCTIONS])
def test_an_operation_tells_what_it_is_and_how_it_can_end(document: dict[str, Any], name: str) -> None:
    _, path, operation = operations(document)[name]
    statuses = set(operation["responses"])

    assert operation["summary"].endswith(".")
    assert any(status.startswith("2") for status in statuses)
    assert {"500", "503"} <= statuses
    assert (operation["security"] == [{"bearer": []}]) == ({"401", "403"} <= statuses) == (name not in OPEN)
    assert {given["name"] for given in operation.get("parameters", []) if given["in"] == "path"} == set(
        re.findall(r"\{(\w+)\}", path)
    )
    if "requestBody" in operation:
        assert {"400", "413", "415"} <= statuses


def test_conflicts_are_told_of_what_can_contradict_what_is_there_and_of_nothing_else(document: dict[str, Any]) -> None:
    assert {name for name, (_, _, told) in operations(document).items() if "409" in told["responses"]} == {
        "register_organization",
        "start_synchronization",
        "create_synchronization_job",
        "patch_synchronization_job",
        "start_synchronization_job",
        "restart_synchronization_job",
        "provision_on_demand",
    }


@pytest.mark.parametrize(("status", "told"), [(418, "application/json"), (200, "text/html")])
def test_an_answer_that_the_document_does_not_have_fails_any_test(status: int, told: str) -> None:
    request = httpx.Request("GET", "http://app/organizations/contoso.onmicrosoft.com/syncState")

    with pytest.raises(AssertionError, match="get_organization_sync_state"):
        check_documented(httpx.Response(status, headers={"Content-Type": told}, request=request))


def test_errors_are_documented_in_the_shape_in_which_they_come(product: Application, document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    error = product.client.get("/organizations").json()

    assert set(error) == set(schemas["ErrorDocument"]["properties"])
    assert set(error["error"]) == set(schemas["MainError"]["properties"])
    assert set(error["error"]["innerError"]) == set(schemas["InnerError"]["properties"])


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/organizations/syncState", "GET"),
        ("/organizations/contoso.onmicrosoft.com", "DELETE, GET"),
        (f"{jobs_path()}/$count", "GET"),
        (f"{jobs_path()}/validateCredentials", "POST"),
        (f"{jobs_path()}/M365OrgCache.1.2", "DELETE, GET, PATCH"),
    ],
)
def test_the_methods_of_a_path_are_those_that_the_document_has_for_it(
    product: Application, shared_tenant: TenantServer, path: str, allowed: str
) -> None:
    answer = product.client.options(path, headers=writer(shared_tenant))

    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("method", "action", "body", "member"),
    [
        ("PATCH", "", {"status": {"quarantine": {"currentBegan": 0}}}, "currentBegan"),
        ("POST", "/validateCredentials", {"useSavedCredentials": 0}, "useSavedCredentials"),
        ("POST", "/validateCredentials", {"useSavedCredentials": "true"}, "useSavedCredentials"),
    ],
)
def test_a_member_of_another_type_than_the_documents_is_refused(
    product: Application, shared_tenant: TenantServer, method: str, action: str, body: dict[str, Any], member: str
) -> None:
    product.client.post("/organizations", json=product.registration(), headers=writer(shared_tenant))
    jobs = product.client.get(jobs_path(), headers=writer(shared_tenant)).json()["value"]

    answer = product.client.request(
        method, f"{jobs_path()}/{jobs[0]['id']}{action}", json=body, headers=writer(shared_tenant)
    )

    assert member in check_error(answer, 400)


def test_the_document_refers_to_no_file_that_its_readers_do_not_have(product: Application) -> None:
    assert not re.findall(r"[\w/-]+\.(?:md|py)\b", product.client.get("/openapi.json").text)


# --- For people ----------------------------------------------------------------------------------------------------


def test_the_page_shows_every_operation_with_all_its_statuses(page: httpx.Response, document: dict[str, Any]) -> None:
    sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', page.text, re.DOTALL))

    for name, (method, path, operation) in operations(document).items():
        assert f'<span class="method">{method.upper()}</span> {path}' in sections[name]
        assert set(operation["responses"]) <= set(re.findall(r"<td><code>(\d+)</code></td>", sections[name]))
        assert ("Needs no token." in sections[name]) == (name in OPEN)
        for answer in operation["responses"].values():
            assert all(f"<code>{header}</code>" in sections[name] for header in answer.get("headers", ()))


def test_every_link_of_the_page_leads_somewhere_in_it_or_to_the_document(page: httpx.Response) -> None:
    targets = {f"#{name}" for name in re.findall(r'id="([\w-]+)"', page.text)}

    assert set(re.findall(r'href="([^"]+)"', page.text)) <= targets | {"/openapi.json"}


def test_the_page_leads_to_the_document_however_its_address_was_written(product: Application) -> None:
    page = product.client.get("/docs/")
    (link,) = re.findall(r'href="([^"#]+)"', page.text)

    assert product.client.get(str(page.url.join(link))).json()["openapi"] == "3.1.0"


def test_the_page_shows_whatever_the_document_holds_as_text() -> None:
    evil = "<script>\"'&"
    answer = {"description": evil, "headers": {evil: {}}, "content": {evil: {"schema": {"title": evil}}}}
    given = {"name": evil, "in": evil, "description": evil, "schema": {"enum": [evil]}}
    told = {"operationId": evil, "summary": evil, "description": evil, "tags": [evil], "security": []}
    told |= {"parameters": [given], "responses": {evil: answer}}
    members = {evil: {"type": evil, "format": evil}, "fixed": {"const": evil}, "other": {"$ref": evil}}

    shown = reference(
        {
            "openapi": evil,
            "info": {"title": evil, "description": evil},
            "paths": {evil: {evil: told}},
            "components": {
                "schemas": {evil: {"description": evil, "properties": members}},
                "securitySchemes": {"bearer": {"description": evil}},
            },
        }
    )

    assert not re.search("<script", shown, re.IGNORECASE)
    assert "&lt;script&gt;&quot;" in shown


def test_the_page_loads_nothing_and_runs_nothing(page: httpx.Response) -> None:
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    told = set(policy.split("; "))
    assert told >= {"default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}
    assert {source for source in told if "'none'" not in source} == {"style-src 'unsafe-inline'"}
    assert not re.search(r"<script|<link|<img|<iframe|\bsrc=|@import|url\(|\son\w+=", page.text)
