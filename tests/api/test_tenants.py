"""A caller sees the organization of its own tenant alone: whatever else it names is not there.

What is asked is made from the function app's routes, so that a new one is asked for here as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

import function_app
from local.host.metadata import read_functions
from local.tenant import TenantServer
from tests.api.support import another_organization, check_error, jobs_path, rows, small_tenant
from tests.api.test_tokens import OPEN
from tests.api.tokens import OTHER_TENANT, protected_application, reader, writer
from tests.application import APPLICATION, NAME, Application
from tests.databases import Databases

FEDERATED = {"kind": "federated"}
OWN_NAME = "fabrikam.onmicrosoft.com"
THIRD_NAME = "tailspin.onmicrosoft.com"


class Route(NamedTuple):
    """One method of one function's path."""

    function: str
    method: str
    template: str

    @property
    def parameters(self) -> set[str]:
        return set(re.findall(r"\{(\w+)\}", self.template))


ROUTES = [
    Route(function.name, method, str(function.trigger.properties["route"]))
    for function in read_functions(function_app.app, {"SYNC_SCHEDULE": "0 * * * * *"})
    if function.trigger.type == "httpTrigger" and function.name not in {*OPEN, "unknown_path"}
    for method in function.trigger.properties["methods"]
]
NAMING = [route for route in ROUTES if route.parameters]
"""The routes whose path names something; what the others show is looked at one by one."""


class Known(NamedTuple):
    """An organization as its routes name it."""

    tenant_id: str
    name: str
    application: dict[str, str]
    job_id: str
    run: str


class Two(NamedTuple):
    """A product with an organization of the operator's, one of the caller's, and one that shares its application.

    Attributes:
        foreign: The operator's organization, which has an application of its own.
        own: The caller's.
        beside: Another tenant's, registered with the application of the caller's.
    """

    product: Application
    issuer: TenantServer
    foreign: Known
    own: Known
    beside: Known

    def as_caller(self) -> dict[str, str]:
        return writer(self.issuer, OTHER_TENANT)

    def as_operator(self) -> dict[str, str]:
        return writer(self.issuer)


def opened(issuer: TenantServer, product: Application) -> Two:
    operator = writer(issuer)

    def known(body: dict[str, Any]) -> Known:
        entity = product.client.post("/organizations", json=body, headers=operator).raise_for_status().json()
        run = product.client.post(f"/organizations/{body['name']}/sync", headers=operator).raise_for_status().json()
        return Known(body["tenantId"], body["name"], body["application"], entity["jobId"], run["activityIdentifier"])

    foreign = known(product.registration())
    own = known(another_organization(tenantId=OTHER_TENANT, name=OWN_NAME))
    beside = known(another_organization(name=THIRD_NAME, application=own.application))
    return Two(product, issuer, foreign, own, beside)


@pytest.fixture(scope="module")
def issuer() -> Iterator[TenantServer]:
    with small_tenant() as tenant:
        yield tenant


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def two(issuer: TenantServer, databases: Databases, request: pytest.FixtureRequest) -> Iterator[Two]:
    """One product for all requests that must change nothing."""
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        databases.fresh(request.param) as url,
        protected_application(monkeypatch, url, issuer) as product,
    ):
        yield opened(issuer, product)


@pytest.fixture
def fresh(issuer: TenantServer, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[Two]:
    """A product of the test's own, in which every tenant registers its own organization."""
    with protected_application(monkeypatch, sqlite_url, issuer, AUTH_REGISTRATION="tenants") as product:
        yield opened(issuer, product)


def path(route: Route, owner: Known, named: Known, root: str, identifier: str) -> str:
    """The route's path: below the application of ``owner``, naming what is ``named``'s."""
    owner_id = owner.application["objectId" if root == "applications" else "servicePrincipalId"]
    values = {
        "version": "v1.0",
        "owner": root,
        "id": owner_id if "owner" in route.parameters else identifier,
        "jobId": named.job_id,
        "activityIdentifier": named.run,
        "templateId": "M365OrgCache",
    }
    # A parameter that is not known here fails the test: what it names has to be thought of.
    return "/" + re.sub(r"\{(\w+)\}", lambda found: values[found[1]], route.template)


def ask(two: Two, route: Route, where: str, headers: dict[str, str]) -> httpx.Response:
    body = {} if route.method in ("POST", "PUT", "PATCH") else None
    return two.product.client.request(route.method, where, headers=headers, json=body)


@pytest.mark.parametrize("route", NAMING, ids=lambda route: f"{route.method} {route.template}")
def test_what_is_another_tenants_is_not_there_by_any_route(two: Two, route: Route) -> None:
    foreign, own, before = two.foreign, two.own, rows(two.product)
    roots = ("applications", "servicePrincipals") if "owner" in route.parameters else ("",)
    for root in roots:
        asked = {path(route, foreign, foreign, root, form) for form in (foreign.tenant_id, foreign.tenant_id.upper())}
        asked |= {path(route, foreign, foreign, root, form) for form in (foreign.name, foreign.name.upper())}
        if "jobId" in route.parameters:
            # Below the application that is the caller's own too, where nothing but the tenant tells them apart.
            asked |= {path(route, own, two.beside, root, ""), path(route, own, two.foreign, root, "")}
        if "activityIdentifier" in route.parameters:
            asked.add(path(route, own, foreign, root, own.tenant_id))
        for where in asked:
            refused = ask(two, route, where, two.as_caller())
            check_error(refused, 404, "Request_ResourceNotFound")
            assert foreign.job_id not in refused.text

    assert rows(two.product) == before


@pytest.mark.parametrize("route", NAMING, ids=lambda route: f"{route.method} {route.template}")
def test_what_is_another_tenants_is_refused_in_the_words_for_what_does_not_exist(two: Two, route: Route) -> None:
    root = "applications" if "owner" in route.parameters else ""
    nobody = Known(str(uuid4()), "nobody.example.com", APPLICATION, f"{two.own.job_id}0", str(uuid4()))

    there = ask(two, route, path(route, two.foreign, two.foreign, root, two.foreign.tenant_id), two.as_caller())
    nowhere = ask(two, route, path(route, nobody, nobody, root, nobody.tenant_id), two.as_caller())

    assert (there.status_code, there.json()["error"]["message"]) == (404, nowhere.json()["error"]["message"])


@pytest.mark.parametrize("who", ["caller", "operator"])
def test_every_route_finds_what_is_the_callers_own_and_the_operators_find_all(fresh: Two, who: str) -> None:
    # What takes things away comes last: jobs, then organizations.
    order = sorted(NAMING, key=lambda route: (route.method == "DELETE", "jobId" not in route.parameters))
    headers = fresh.as_caller() if who == "caller" else fresh.as_operator()
    for root in ("applications", "servicePrincipals"):
        for route in order:
            if route.method == "DELETE" and root == "applications":
                continue
            answer = ask(fresh, route, path(route, fresh.own, fresh.own, root, fresh.own.tenant_id), headers)

            assert answer.status_code != 404, (route, answer.text)
    assert fresh.product.client.get(f"/organizations/{OWN_NAME}", headers=headers).status_code == 404


# --- Lists and numbers ---------------------------------------------------------------------------------------------


def listed(two: Two, where: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    return two.product.client.get(where, headers=headers).raise_for_status().json()["value"]


def test_every_route_that_names_nothing_is_looked_at_below() -> None:
    assert {(route.method, route.template) for route in ROUTES} - {(r.method, r.template) for r in NAMING} == {
        ("GET", "organizations"),
        ("GET", "organizations/syncState"),
        ("POST", "organizations"),
    }


def test_the_lists_of_organizations_and_states_hold_what_the_caller_sees(two: Two) -> None:
    everybody = {two.foreign.name, two.own.name, two.beside.name}
    for headers, seen in ((two.as_caller(), {two.own.name}), (two.as_operator(), everybody)):
        assert {found["name"] for found in listed(two, "/organizations", headers)} == seen
        assert {found["organization"] for found in listed(two, "/organizations/syncState", headers)} == seen
    assert listed(two, "/organizations", reader(two.issuer, str(uuid4()))) == []


@pytest.mark.parametrize("where", ["/organizations", "/organizations/syncState"])
def test_the_lists_of_organizations_and_states_come_in_pages_of_what_the_caller_sees(two: Two, where: str) -> None:
    for headers, number in ((two.as_caller(), 1), (two.as_operator(), 3)):
        whole, link = [], f"{where}?$top=1"
        while link:
            page = two.product.client.get(link, headers=headers).raise_for_status().json()
            assert len(page["value"]) == 1
            whole += page["value"]
            link = page.get("@odata.nextLink")
        assert whole == listed(two, where, headers)
        assert len(whole) == number
    assert two.product.client.get(f"{where}?$top=0", headers=two.as_operator()).json() == {"value": []}
    check_error(two.product.client.get(f"{where}?$top=all", headers=two.as_operator()), 400)


@pytest.mark.parametrize("root", ["applications", "servicePrincipals"])
def test_jobs_are_listed_counted_and_filtered_among_what_the_caller_sees(two: Two, root: str) -> None:
    owner_id = two.own.application["objectId" if root == "applications" else "servicePrincipalId"]
    where = jobs_path("v1.0", root, owner_id)
    both = {two.own.job_id, two.beside.job_id}
    for headers, seen in ((two.as_caller(), {two.own.job_id}), (two.as_operator(), both)):
        assert {job["id"] for job in listed(two, where, headers)} == seen
        assert two.product.client.get(f"{where}/$count", headers=headers).text == str(len(seen))
        answer = two.product.client.get(f"{where}?$count=true&$top=1", headers=headers).json()
        assert answer["@odata.count"] == len(seen)
        assert ("@odata.nextLink" in answer) == (len(seen) > 1)
        assert {job["id"] for job in listed(two, f"{where}?$skip=1", headers)} < seen
        found = listed(two, f"{where}?$filter=id eq '{two.beside.job_id}'", headers)
        assert {job["id"] for job in found} == seen & {two.beside.job_id}


def test_what_is_done_to_all_jobs_of_an_application_is_done_to_the_callers_own(fresh: Two) -> None:
    where = jobs_path(owner_id=fresh.own.application["objectId"])
    threshold = {
        "value": [
            {"key": "SyncNotificationSettings", "value": '{"DeleteThresholdEnabled":true,"DeleteThresholdValue":7}'}
        ]
    }
    secrets = where.removesuffix("jobs") + "secrets"
    fresh.product.client.put(secrets, json=threshold, headers=fresh.as_caller()).raise_for_status()

    told = {
        known.name: fresh.product.client.get(f"{where}/{known.job_id}", headers=fresh.as_operator()).json()
        for known in (fresh.own, fresh.beside)
    }

    values = {name: {setting["value"] for setting in job["synchronizationJobSettings"]} for name, job in told.items()}
    assert "7" in values[fresh.own.name]
    assert "7" not in values[fresh.beside.name]


def test_a_new_job_is_the_callers_own_even_where_another_tenants_lacks_one_too(fresh: Two) -> None:
    where = jobs_path(owner_id=fresh.own.application["objectId"])
    for known in (fresh.beside, fresh.own):
        fresh.product.client.delete(f"{where}/{known.job_id}", headers=fresh.as_operator()).raise_for_status()

    created = fresh.product.client.post(where, json={"templateId": "M365OrgCache"}, headers=fresh.as_caller())
    again = fresh.product.client.post(where, json={"templateId": "M365OrgCache"}, headers=fresh.as_caller())

    assert created.status_code == 201
    assert OTHER_TENANT.replace("-", "") in created.json()["id"]
    check_error(again, 409)


# --- Registration --------------------------------------------------------------------------------------------------


def test_another_tenant_is_not_registered_whether_it_is_there_already_or_not(two: Two) -> None:
    before = rows(two.product)
    for tenant_id in (two.foreign.tenant_id, str(uuid4())):
        body = another_organization(tenantId=tenant_id, credential=FEDERATED)
        answer = two.product.client.post("/organizations", json=body, headers=two.as_caller())
        check_error(answer, 404, "Request_ResourceNotFound")

    assert rows(two.product) == before


def test_nobody_but_the_operator_registers_unless_the_operator_says_so(two: Two) -> None:
    before, newcomer = rows(two.product), str(uuid4())
    body = another_organization(tenantId=newcomer, credential=FEDERATED)

    answer = two.product.client.post("/organizations", json=body, headers=writer(two.issuer, newcomer))

    assert "operator" in check_error(answer, 403, "Authorization_RequestDenied")
    assert rows(two.product) == before


@pytest.mark.parametrize("credential", ["managedIdentity", "certificate", "secret", None])
def test_a_caller_of_another_tenant_registers_with_no_credential_that_is_the_operators(
    fresh: Two, credential: str | None
) -> None:
    newcomer = str(uuid4())
    body = another_organization(tenantId=newcomer)
    if credential is not None:
        name = {} if credential == "managedIdentity" else {"keyVaultSecret": "contoso"}
        body["credential"] = {"kind": credential, **name}
    before = rows(fresh.product)

    refused = fresh.product.client.post("/organizations", json=body, headers=writer(fresh.issuer, newcomer))

    assert "credential.kind" in check_error(refused, 403, "Authorization_RequestDenied")
    assert rows(fresh.product) == before


def test_a_caller_registers_its_own_tenant_sees_it_and_takes_it_off_again(fresh: Two) -> None:
    newcomer = str(uuid4())
    headers, body = writer(fresh.issuer, newcomer), another_organization(tenantId=newcomer, credential=FEDERATED)

    created = fresh.product.client.post("/organizations", json=body, headers=headers)

    assert created.status_code == 201
    assert [found["tenantId"] for found in listed(fresh, "/organizations", headers)] == [newcomer]
    assert fresh.product.client.delete(f"/organizations/{newcomer}", headers=headers).status_code == 204
    assert listed(fresh, "/organizations", headers) == []


# --- Detours -------------------------------------------------------------------------------------------------------

DETOURS = {
    "up and down": f"/organizations/{OWN_NAME}/../{NAME}/syncState",
    "up and down, encoded": f"/organizations/{OWN_NAME}/%2e%2e/{NAME}/syncState",
    "a slash within": f"/organizations/{OWN_NAME}%2F..%2F{NAME}/syncState",
    "a backslash within": f"/organizations/{OWN_NAME}%5C..%5C{NAME}/syncState",
    "two names": f"/organizations/{OWN_NAME},{NAME}/syncState",
    "a condition": f"/organizations/{OWN_NAME}'%20OR%20name='{NAME}/syncState",
    "a wildcard": "/organizations/%25/syncState",
    "encoded twice": f"/organizations/{NAME.replace('c', '%2563', 1)}/syncState",
    "a header's name": f"/organizations/{NAME}/syncState?tid={OTHER_TENANT}",
    "another tenant asked for": f"/organizations/{NAME}/syncState?$filter=1 eq 1",
}


@pytest.mark.parametrize("where", DETOURS.values(), ids=DETOURS)
def test_no_detour_leads_to_another_tenants_organization(two: Two, where: str) -> None:
    # Not through httpx's own URL, which walks up and down by itself.
    request = httpx.Request("GET", two.product.client.base_url, headers=two.as_caller())
    request.url = request.url.copy_with(raw_path=where.replace(" ", "%20").encode())
    with httpx.Client() as client:
        answer = client.send(request)

    check_error(answer, 404)


@pytest.mark.parametrize(
    "condition",
    ["id eq '{}' or 1 eq 1", "id ne ''", "tenantId eq '{}'", "id eq '{}'; DROP TABLE jobs", "id eq 'x' or id eq '{}'"],
)
def test_no_condition_leads_to_another_tenants_job(two: Two, condition: str) -> None:
    where = jobs_path(owner_id=two.own.application["objectId"])
    params = {"$filter": condition.format(two.beside.job_id)}

    check_error(two.product.client.get(where, params=params, headers=two.as_caller()), 400)


@pytest.mark.parametrize(
    "name", ["X-Tenant-Id", "X-MS-CLIENT-PRINCIPAL", "X-MS-TOKEN-AAD-ACCESS-TOKEN", "X-Original-URL"]
)
def test_no_other_header_says_who_calls(two: Two, name: str) -> None:
    headers = {**two.as_caller(), name: two.foreign.tenant_id}

    check_error(two.product.client.get(f"/organizations/{NAME}/syncState", headers=headers), 404)
    assert two.product.client.get(f"/organizations/{NAME}/syncState", headers={name: "x"}).status_code == 401
