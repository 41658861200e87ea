"""The simulated tenant answers requests the way Graph does: options, links, tokens, errors, lists, batches."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.tenant import Directory, Options, TenantServer


@pytest.fixture
def server() -> Iterator[TenantServer]:
    options = Options(replay_probability=0, empty_page_probability=0)
    with TenantServer(Directory(users=130, groups=40, sites=6), options) as running:
        yield running


@pytest.fixture
def graph(server: TenantServer) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.access_token()}"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        yield client


def drain(client: httpx.Client, link: str) -> tuple[list[dict[str, Any]], str]:
    """All records of a paged answer, and its delta link if it has one."""
    records: list[dict[str, Any]] = []
    while True:
        page = client.get(link).raise_for_status().json()
        records += page["value"]
        if "@odata.nextLink" not in page:
            return records, page.get("@odata.deltaLink", "")
        link = page["@odata.nextLink"]


@pytest.mark.parametrize(
    "path", ["/v1.0/users/delta", "/v1.0/users/delta()", "/beta/users/delta", "/V1.0/Users/Delta()"]
)
def test_delta_has_both_spellings_in_both_versions(graph: httpx.Client, path: str) -> None:
    assert len(drain(graph, path)[0]) == 130


@pytest.mark.parametrize("option", ["$select", "%24select", "select"])
def test_select_limits_what_is_returned_and_id_is_always_there(graph: httpx.Client, option: str) -> None:
    records, _ = drain(graph, f"/v1.0/users/delta?{option}=displayName,mobilePhone")
    assert all(record.keys() == {"id", "displayName", "mobilePhone"} for record in records)
    assert any(record["mobilePhone"] is None for record in records)


def test_the_select_of_the_first_request_lives_in_the_token(graph: httpx.Client, server: TenantServer) -> None:
    _, delta_link = drain(graph, "/v1.0/users/delta?$select=displayName,city")
    user = server.directory.users.population.id(0)
    graph.patch(f"/control/users/{user}", json={"city": "Oslo", "jobTitle": "Buyer"})
    [record], _ = drain(graph, f"{delta_link}&$select=jobTitle")
    assert record.keys() == {"id", "displayName", "city"}


def test_an_unknown_property_in_select_is_refused(graph: httpx.Client) -> None:
    answer = graph.get("/v1.0/users/delta?$select=displayName,shoeSize")
    assert answer.status_code == 400
    assert "shoeSize" in answer.json()["error"]["message"]


def test_latest_gives_an_empty_page_from_which_only_later_changes_come(graph: httpx.Client) -> None:
    page = graph.get("/v1.0/users/delta?$deltatoken=latest").json()
    assert page["value"] == []
    assert "@odata.nextLink" not in page
    created = graph.post("/control/users", json={"displayName": "Ada Lovelace"}).json()
    [record], _ = drain(graph, page["@odata.deltaLink"])
    assert record["id"] == created["id"]
    assert record["surname"] == "Lovelace"


@pytest.mark.parametrize(("wanted", "given"), [(7, 7), (5000, 130)])
def test_the_page_size_hint_is_obeyed_and_carried_on(graph: httpx.Client, wanted: int, given: int) -> None:
    answer = graph.get("/v1.0/users/delta", headers={"Prefer": f"odata.maxpagesize={wanted}"})
    assert len(answer.json()["value"]) == given
    assert answer.headers["preference-applied"] == f"odata.maxpagesize={min(wanted, 999)}"
    if given == 7:
        assert len(graph.get(answer.json()["@odata.nextLink"]).json()["value"]) == 7


@pytest.mark.parametrize(
    "option", ["$expand=members", "$orderby=id", "$search=x", "$count=true", "$top=5", "$filter=x"]
)
def test_options_that_delta_does_not_have_are_refused(graph: httpx.Client, option: str) -> None:
    answer = graph.get(f"/v1.0/groups/delta?{option}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "Request_UnsupportedQuery"


def test_sites_delta_takes_top(graph: httpx.Client) -> None:
    assert len(graph.get("/v1.0/sites/delta?$top=2").json()["value"]) == 2


def test_a_page_has_one_of_the_two_links_and_they_use_the_host_that_was_asked(graph: httpx.Client) -> None:
    headers = {"Prefer": "odata.maxpagesize=100", "Host": "tenant.example:8080"}
    page = graph.get("/v1.0/users/delta", headers=headers).json()
    assert page["@odata.nextLink"].startswith("http://tenant.example:8080/v1.0/users/delta?$skiptoken=")
    assert "@odata.deltaLink" not in page


@pytest.mark.parametrize("which", ["nextLink", "deltaLink"])
def test_an_expired_token_is_gone_and_the_location_begins_anew(graph: httpx.Client, which: str) -> None:
    size = "20" if which == "nextLink" else "999"
    page = graph.get("/v1.0/users/delta?$select=mail,city", headers={"Prefer": f"odata.maxpagesize={size}"}).json()
    graph.post("/control/expireTokens", json={"resource": "users"})
    answer = graph.get(page[f"@odata.{which}"])
    assert answer.status_code == 410
    assert answer.json()["error"]["code"] == "resyncRequired"
    assert "$deltatoken=&" in answer.headers["location"]
    records, delta_link = drain(graph, answer.headers["location"])
    assert len(records) == 130
    assert records[0].keys() == {"id", "mail", "city"}
    assert drain(graph, delta_link)[0] == []


def test_expiring_one_resource_leaves_the_others(graph: httpx.Client) -> None:
    _, groups = drain(graph, "/v1.0/groups/delta")
    graph.post("/control/expireTokens", json={"resource": "users"})
    assert graph.get(groups).status_code == 200
    graph.post("/control/expireTokens", json={"resource": None})
    assert graph.get(groups).status_code == 410


def test_a_token_of_another_history_is_gone_although_its_number_fits() -> None:
    def running() -> TenantServer:
        return TenantServer(Directory(users=50), Options(empty_page_probability=0))

    with running() as before, httpx.Client(headers={"Authorization": f"Bearer {before.access_token()}"}) as client:
        client.post(f"{before.url}/control/mutate", json={"count": 5, "seed": 1})
        changed = drain(client, f"{before.url}/v1.0/users/delta")[1].removeprefix(before.url)
    with running() as after, httpx.Client(headers={"Authorization": f"Bearer {after.access_token()}"}) as client:
        client.post(f"{after.url}/control/mutate", json={"count": 30, "seed": 2})
        assert client.get(f"{after.url}{changed}").status_code == 410


@pytest.mark.parametrize("token", ["abc", "!!", "a" * 200, "%00"])
def test_a_malformed_token_is_not_found(graph: httpx.Client, token: str) -> None:
    for option in ("$deltatoken", "$skiptoken"):
        answer = graph.get(f"/v1.0/users/delta?{option}={token}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "syncStateNotFound")


def test_errors_are_odata_json_and_carry_the_request_ids(graph: httpx.Client) -> None:
    answer = graph.get("/v1.0/users/nobody", headers={"client-request-id": "abc-1"})
    error = answer.json()["error"]
    assert answer.status_code == 404
    assert error["code"] == "Request_ResourceNotFound"
    assert error["message"]
    assert error["innerError"]["client-request-id"] == answer.headers["client-request-id"] == "abc-1"
    assert error["innerError"]["request-id"] == answer.headers["request-id"]


def test_every_successful_answer_tells_its_resource_units(graph: httpx.Client, server: TenantServer) -> None:
    group = server.directory.groups.population.id(3)
    units = {
        "/v1.0/users/delta?$select=mail": "1", "/v1.0/users/delta": "2", "/v1.0/sites/delta": "2",
        "/v1.0/users?$top=50": "2", f"/v1.0/groups/{group}/members": "3", "/v1.0/organization": "1", "/v1.0/teams": "1",
        "/v1.0/groups/delta": "1", "/v1.0/users?$top=5": "1", f"/v1.0/groups/{group}/members?$select=id": "2",
        graph.get("/v1.0/sites/delta?$deltatoken=latest").json()["@odata.deltaLink"]: "1",
    }  # fmt: skip
    assert {path: graph.get(path).headers["x-ms-resource-unit"] for path in units} == units


@pytest.mark.parametrize("authorization", [None, "Bearer x.y.z", "Bearer", "Basic abc"])
def test_without_a_token_of_this_tenant_nothing_is_served(server: TenantServer, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = httpx.get(f"{server.url}/v1.0/users/delta", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_lists_page_to_the_end(graph: httpx.Client, server: TenantServer) -> None:
    truth = {
        kind: len(graph.get(f"/control/truth/{kind}").text.splitlines())
        for kind in ("users", "groups", "teams", "sites")
    }
    assert len(drain(graph, "/v1.0/users?$top=30&$select=mail")[0]) == truth["users"] == 130
    assert len(drain(graph, "/v1.0/groups?$top=7")[0]) == truth["groups"] == 40
    assert len(drain(graph, "/v1.0/sites/getAllSites()?$top=2&$select=webUrl,isPersonalSite")[0]) == truth["sites"] == 9
    assert len(drain(graph, "/v1.0/teams?$top=3")[0]) == truth["teams"] > 3
    by_filter = "/v1.0/groups?$filter=resourceProvisioningOptions/Any(x:x eq 'Team')&$select=id&$top=3"
    assert [r["id"] for r in drain(graph, by_filter)[0]] == [r["id"] for r in drain(graph, "/v1.0/teams")[0]]
    group = server.directory.groups.population.id(0)
    members = drain(graph, f"/v1.0/groups/{group}/members?$top=10&$select=id")[0]
    assert len(members) == 26
    assert members[0].keys() == {"@odata.type", "id"}
    eventual = {"ConsistencyLevel": "eventual"}
    assert graph.get(f"/v1.0/groups/{group}/members/$count", headers=eventual).text == "26"


def test_counts_need_the_eventual_consistency_header(graph: httpx.Client) -> None:
    assert graph.get("/v1.0/users/$count").status_code == 400
    answer = graph.get("/v1.0/users/%24count", headers={"ConsistencyLevel": "eventual"})
    assert answer.text == "130"
    assert answer.headers["content-type"].startswith("text/plain")


def test_teams_are_counted_by_the_one_filter_that_is_known(graph: httpx.Client) -> None:
    eventual = {"ConsistencyLevel": "eventual"}
    teams = len(drain(graph, "/v1.0/teams")[0])
    by_filter = "/v1.0/groups/$count?$filter="
    assert graph.get(f"{by_filter}resourceProvisioningOptions/Any(x:x eq 'Team')", headers=eventual).text == str(teams)
    assert graph.get(f"{by_filter}resourceProvisioningOptions/Any(x:x eq 'Team')").status_code == 400
    assert graph.get(f"{by_filter}displayName eq 'x'", headers=eventual).status_code == 400
    users = "/v1.0/users/$count?$filter=resourceProvisioningOptions/Any(x:x eq 'Team')"
    assert graph.get(users, headers=eventual).status_code == 400


@pytest.mark.parametrize("path", ["microsoft.graph.user", "graph.user"])
def test_soft_deleted_objects_are_listed_until_restored(graph: httpx.Client, server: TenantServer, path: str) -> None:
    ids = [server.directory.users.population.id(index) for index in (9, 4, 7)]
    for user in ids:
        assert graph.delete(f"/control/users/{user}").status_code == 204
        assert graph.get(f"/v1.0/users/{user}").status_code == 404
    listed, _ = drain(graph, f"/v1.0/directory/deletedItems/{path}?$top=2&$select=id,deletedDateTime")
    assert {record["id"] for record in listed} == set(ids)
    assert all(record["deletedDateTime"] for record in listed)
    graph.post(f"/control/users/{ids[0]}/restore")
    assert len(drain(graph, f"/v1.0/directory/deletedItems/{path}")[0]) == 2
    assert graph.get(f"/v1.0/users/{ids[0]}").status_code == 200


def test_teams_have_one_to_four_channels(graph: httpx.Client) -> None:
    for team in drain(graph, "/v1.0/teams")[0]:
        assert graph.get(f"/v1.0/teams/{team['id']}").json()["displayName"] == team["displayName"]
        channels = graph.get(f"/v1.0/teams/{team['id']}/channels").json()["value"]
        assert 1 <= len(channels) <= 4
        assert channels[0]["displayName"] == "General"


def test_user_purpose_tells_the_kind_of_mailbox_and_guests_have_none(graph: httpx.Client) -> None:
    kinds: dict[str, Any] = {}
    for user in drain(graph, "/v1.0/users?$select=userType,displayName")[0]:
        answer = graph.get(f"/v1.0/users/{user['id']}/mailboxSettings/userPurpose")
        assert (answer.status_code == 404) == (user["userType"] == "Guest")
        kinds[answer.json().get("value", "none")] = user["displayName"]
    assert {"user", "shared", "none"} <= kinds.keys()
    assert kinds["shared"].startswith("Team mailbox")


def test_a_batch_judges_each_request_for_itself(graph: httpx.Client, server: TenantServer) -> None:
    user = server.directory.users.population.id(0)
    graph.post("/control/faults", json=[{"path": "userPurpose", "status": 429, "retryAfter": 3, "times": 1}])
    requests = [
        {"id": "1", "method": "GET", "url": f"/users/{user}?$select=mail"},
        {"id": "2", "method": "GET", "url": f"/users/{user}/mailboxSettings/userPurpose"},
        {"id": "3", "method": "GET", "url": "/users/nobody"},
        {"id": "4", "method": "GET", "url": "/users/$count", "headers": {"ConsistencyLevel": "eventual"}},
        {"id": "5", "method": "GET", "url": "/organization", "dependsOn": ["3"]},
    ]
    answer = graph.post("/v1.0/$batch", json={"requests": requests})
    found = {entry["id"]: entry for entry in answer.json()["responses"]}
    assert answer.status_code == 200
    assert [found[key]["status"] for key in "12345"] == [200, 429, 404, 200, 424]
    assert found["1"]["body"].keys() == {"@odata.context", "id", "mail"}
    assert found["4"]["body"] == "130"
    assert found["2"]["headers"]["Retry-After"] == "3"
    assert found["2"]["body"]["error"]["code"] == "TooManyRequests"


def test_a_batch_of_more_than_twenty_is_refused(graph: httpx.Client) -> None:
    requests = [{"id": str(number), "method": "GET", "url": "/organization"} for number in range(21)]
    assert graph.post("/v1.0/$batch", json={"requests": requests}).status_code == 400
    assert graph.post("/v1.0/$batch", json={"requests": requests[:20]}).status_code == 200


def test_the_real_sdk_reads_a_delta_round(server: TenantServer) -> None:
    from kiota_abstractions.authentication import AuthenticationProvider
    from kiota_abstractions.request_information import RequestInformation
    from msgraph.graph_request_adapter import GraphRequestAdapter
    from msgraph.graph_service_client import GraphServiceClient

    class Bearer(AuthenticationProvider):
        async def authenticate_request(
            self, request: RequestInformation, additional_authentication_context: dict[str, Any] | None = None
        ) -> None:
            request.headers.try_add("Authorization", f"Bearer {server.access_token()}")

    async def read() -> tuple[int, int]:
        async with httpx.AsyncClient() as http:
            return await read_with(http)

    async def read_with(http: httpx.AsyncClient) -> tuple[int, int]:
        adapter = GraphRequestAdapter(Bearer(), http)
        adapter.base_url = f"{server.url}/v1.0"
        client = GraphServiceClient(request_adapter=adapter)
        page = await client.users.delta.get()
        members = 0
        groups = await client.groups.delta.with_url(f"{server.url}/v1.0/groups/delta?$select=id,members").get()
        assert page is not None
        assert page.value
        assert groups is not None
        assert groups.value
        for group in groups.value:
            members += len(group.additional_data.get("members@delta", ()))
        sites = await client.sites.get_all_sites.get()
        assert sites is not None
        assert sites.value
        assert len(sites.value) == 9
        return len(page.value), members

    users, members = asyncio.run(read())
    assert users == 130
    assert members > 40
