"""The simulated tenant gives single objects, and lists of a group's links, the way Graph does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from local.tenant import Directory, Options, TenantServer

NOBODY = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    options = Options(replay_probability=0, empty_page_probability=0)
    server = TenantServer(Directory(users=130, groups=12, sites=6), options)
    headers = {"Authorization": f"Bearer {server.access_token()}"}
    with server, httpx.Client(base_url=server.url, headers=headers) as running:
        yield running


def truth(client: httpx.Client, kind: str) -> list[Any]:
    return [orjson.loads(line) for line in client.get(f"/control/truth/{kind}").text.splitlines()]


def listed(client: httpx.Client, link: str) -> list[str]:
    """The ids on all pages of a list."""
    ids: list[str] = []
    while link:
        page = client.get(link).raise_for_status().json()
        ids += [entry["id"] for entry in page["value"]]
        link = page.get("@odata.nextLink", "")
    return ids


def failure(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("kind", ["users", "groups", "sites"])
def test_a_single_object_has_the_properties_selected_and_says_what_it_is(client: httpx.Client, kind: str) -> None:
    wanted = truth(client, kind)[2]
    found = client.get(f"/v1.0/{kind}/{wanted['id']}", params={"$select": "displayName,createdDateTime"}).json()
    assert found.pop("@odata.context").endswith(f"/v1.0/$metadata#{kind}/$entity")
    assert found == {name: wanted[name] for name in ("id", "displayName", "createdDateTime")}
    assert client.get(f"/v1.0/{kind}/{wanted['id']}?$select=shoeSize").status_code == 400


def test_every_user_is_found_by_the_user_principal_name_in_any_case(client: httpx.Client) -> None:
    for user in truth(client, "users"):
        path = f"/v1.0/users/{user['userPrincipalName'].upper().replace('#', '%23')}"
        assert client.get(path).json()["id"] == user["id"]


def test_a_user_is_found_by_the_user_principal_name_of_today(client: httpx.Client) -> None:
    user = truth(client, "users")[0]
    client.patch(f"/control/users/{user['id']}", json={"userPrincipalName": "Ada@contoso.onmicrosoft.com"})
    created = client.post("/control/users", json={"userPrincipalName": "grace@contoso.onmicrosoft.com"}).json()
    assert client.get("/v1.0/users/ada@contoso.onmicrosoft.com").json()["id"] == user["id"]
    assert client.get("/v1.0/users/grace@contoso.onmicrosoft.com").json()["id"] == created["id"]
    assert client.get(f"/v1.0/users/{user['userPrincipalName']}").status_code == 404
    client.delete(f"/control/users/{created['id']}")
    assert client.get("/v1.0/users/grace@contoso.onmicrosoft.com").status_code == 404


@pytest.mark.parametrize("name", [NOBODY, "nobody", "nobody@contoso.onmicrosoft.com", "a.b999999@contoso.example"])
def test_an_unknown_user_is_not_found(client: httpx.Client, name: str) -> None:
    assert failure(client.get(f"/v1.0/users/{name}")) == (404, "Request_ResourceNotFound")


def test_an_unknown_group_is_not_found_and_what_is_no_id_is_refused(client: httpx.Client) -> None:
    for path in ("", "/members", "/owners"):
        assert failure(client.get(f"/v1.0/groups/{NOBODY}{path}")) == (404, "Request_ResourceNotFound")
        assert failure(client.get(f"/v1.0/groups/All Company{path}")) == (400, "Request_BadRequest")


def test_a_site_is_found_by_its_composite_id_alone(client: httpx.Client) -> None:
    site = truth(client, "sites")[0]["id"]
    assert client.get(f"/v1.0/sites/{site}").json()["id"] == site
    for identifier in (site.rpartition(",")[2], f"contoso.sharepoint.com,{NOBODY},{NOBODY}", "nowhere"):
        assert failure(client.get(f"/v1.0/sites/{identifier}")) == (404, "itemNotFound")
    client.delete(f"/control/sites/{site}")
    assert failure(client.get(f"/v1.0/sites/{site}")) == (404, "itemNotFound")


@pytest.mark.parametrize("relation", ["members", "owners"])
def test_lists_of_links_do_not_name_who_is_soft_deleted_although_the_link_is_kept(
    client: httpx.Client, relation: str
) -> None:
    group, user, _ = next(link for link in truth(client, relation) if link[2] == "#microsoft.graph.user")
    path = f"/v1.0/groups/{group}/{relation}"
    before = listed(client, f"{path}?$top=999&$select=id")
    assert user in before
    client.delete(f"/control/users/{user}")
    assert listed(client, f"{path}?$top=2&$select=id") == [found for found in before if found != user]
    count = client.get(f"{path}/$count", headers={"ConsistencyLevel": "eventual"}).text
    assert int(count) == len(before) - 1
    assert [group, user, "#microsoft.graph.user"] in truth(client, relation)
    client.post(f"/control/users/{user}/restore")
    assert listed(client, f"{path}?$select=id") == before
