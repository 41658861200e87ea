"""The simulated tenant's control surface: changes, truth, options, faults and counters."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson
import pytest

from local.tenant import Directory, Options, TenantServer

DELTA = "/v1.0/users/delta"


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    options = Options(replay_probability=0, empty_page_probability=0)
    server = TenantServer(Directory(users=80, groups=12, sites=6), options)
    headers = {"Authorization": f"Bearer {server.access_token()}"}
    with server, httpx.Client(base_url=server.url, headers=headers) as running:
        yield running


def truth(client: httpx.Client, kind: str) -> list:
    return [orjson.loads(line) for line in client.get(f"/control/truth/{kind}").text.splitlines()]


def test_the_summary_counts_what_there_is(client: httpx.Client) -> None:
    summary = client.get("/control").json()
    assert summary["seed"] == 1
    assert summary["sequence"] == 0
    assert summary["faults"] == []
    assert summary["counts"]["users"] == {"live": 80, "softDeleted": 0}
    client.post("/control/mutate", json={"count": 200, "seed": 5})
    summary = client.get("/control").json()
    for kind in ("users", "groups", "sites"):
        soft = sum("@softDeleted" in o for o in truth(client, kind))
        assert summary["counts"][kind] == {"live": len(truth(client, kind)) - soft, "softDeleted": soft}


def test_a_mutation_round_makes_as_many_changes_as_asked_and_says_which(client: httpx.Client) -> None:
    result = client.post("/control/mutate", json={"count": 300, "seed": 7}).json()
    assert result["mutations"] == 300 == sum(result["done"].values())
    assert {
        "usersAdded",
        "usersChanged",
        "usersSoftDeleted",
        "groupsAdded",
        "membersRemoved",
        "sitesDeleted",
    } <= result["done"].keys()


def test_an_emptied_tenant_can_still_be_mutated() -> None:
    with TenantServer(Directory(users=0, groups=0, sites=0)) as server:
        result = httpx.post(f"{server.url}/control/mutate", json={"count": 20, "seed": 1}).json()
        assert result["mutations"] == 20


@pytest.mark.parametrize("kind", ["users", "groups", "sites"])
def test_objects_are_created_changed_and_removed(client: httpx.Client, kind: str) -> None:
    created = client.post(f"/control/{kind}", json={"displayName": "Neu"})
    assert created.status_code == 201
    path = f"/control/{kind}/{created.json()['id']}"
    assert client.patch(path, json={"displayName": "Anders"}).json()["displayName"] == "Anders"
    assert client.get(path).json()["displayName"] == "Anders"
    assert client.delete(f"{path}?permanent=true").status_code == 204
    assert client.get(path).status_code == 404
    assert client.patch(path, json={}).status_code == 404


def test_mistakes_are_refused_and_change_nothing(client: httpx.Client) -> None:
    user, group = truth(client, "users")[0]["id"], truth(client, "groups")[0]["id"]
    attempts = [
        client.post("/control/users", json={"displyName": "Ada"}),
        client.patch(f"/control/users/{user}", json={"id": "x"}),
        client.patch(f"/control/users/{user}", content=b"{"),
        client.post("/control/mutate", json={"count": "many"}),
        client.post("/control/options", json={"pageSize": 5, "nonsense": 1}),
        client.post("/control/options", json={"pageSize": 0}),
        client.post("/control/faults", json=[{"kind": "status"}, {"kind": "earthquake"}]),
        client.post("/control/faults", json=[{"path": "("}]),
        client.post("/control/expireTokens", json={"resource": "cats"}),
        client.post(f"/control/groups/{group}/members", json={"add": [group]}),
    ]
    assert [answer.status_code for answer in attempts] == [400] * len(attempts)
    assert client.post(f"/control/groups/{group}/members", json={"add": [user, "nobody"]}).status_code == 404
    assert client.post(f"/control/users/{user}/restore").status_code == 404
    assert client.put("/control/faults").status_code == 405
    assert client.get("/control/frobnicate").status_code == 404
    summary = client.get("/control").json()
    assert (summary["sequence"], summary["faults"], summary["options"]["pageSize"]) == (0, [], 200)


def test_members_and_owners_are_added_and_removed_once(client: httpx.Client) -> None:
    user = client.post("/control/users", json={}).json()["id"]
    group = client.post("/control/groups", json={"displayName": "G", "members": [user], "owners": [user]}).json()["id"]
    assert [group, user, "#microsoft.graph.user"] in truth(client, "members")
    assert [group, user, "#microsoft.graph.user"] in truth(client, "owners")
    path = f"/control/groups/{group}/members"
    assert client.post(path, json={"add": [user]}).json() == {"added": 0, "removed": 0}
    assert client.post(path, json={"remove": [user, user]}).json() == {"added": 0, "removed": 1}
    assert client.post(path, json={"add": [user]}).json() == {"added": 1, "removed": 0}


def test_teams_are_the_groups_with_a_team(client: httpx.Client) -> None:
    group = next(g for g in truth(client, "groups") if not g["resourceProvisioningOptions"])
    before = {team["id"] for team in truth(client, "teams")}
    client.patch(f"/control/groups/{group['id']}", json={"resourceProvisioningOptions": ["Team"]})
    assert {team["id"] for team in truth(client, "teams")} == before | {group["id"]}


def test_a_status_rule_skips_some_requests_and_strikes_a_number_of_times(client: httpx.Client) -> None:
    rule = {"path": "^/v1.0/users/delta", "status": 503, "retryAfter": 2, "times": 2, "after": 1, "code": "busy"}
    client.post("/control/faults", json=[rule]).raise_for_status()
    answers = [client.get(DELTA) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["retry-after"] == "2"
    assert answers[1].json()["error"]["code"] == "busy"
    assert client.get("/v1.0/groups/delta").status_code == 200
    assert client.get("/control/faults").json()[0]["struck"] == 2
    client.delete("/control/faults")
    assert client.get("/control/faults").json() == []


def test_a_throttle_without_retry_after_has_no_such_header(client: httpx.Client) -> None:
    client.post("/control/faults", json=[{"kind": "status", "retryAfter": None, "times": 1}])
    answer = client.get(DELTA)
    assert answer.status_code == 429
    assert "retry-after" not in answer.headers


def test_a_disconnect_closes_the_connection_without_an_answer(client: httpx.Client) -> None:
    client.post("/control/faults", json=[{"path": "delta", "kind": "disconnect", "times": 1}])
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(DELTA)
    assert client.get(DELTA).status_code == 200


def test_a_truncated_body_ends_before_its_content_length(client: httpx.Client) -> None:
    client.post("/control/faults", json=[{"path": "delta", "kind": "truncate", "times": 1}])
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        client.get(DELTA)
    assert client.get(DELTA).status_code == 200


def test_a_malformed_body_is_complete_but_no_json(client: httpx.Client) -> None:
    client.post("/control/faults", json=[{"path": "delta", "kind": "malformed", "times": 1}])
    answer = client.get(DELTA)
    assert answer.status_code == 200
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(answer.content)


def test_a_rewrite_turns_links_to_another_host(client: httpx.Client) -> None:
    rule = {
        "path": "delta",
        "kind": "rewrite",
        "find": r"http://[^/]+/v1.0/users",
        "replace": "http://evil.example/users",
    }
    client.post("/control/faults", json=[rule])
    assert client.get(DELTA).json()["@odata.deltaLink"].startswith("http://evil.example/users/delta?")


def test_latency_delays_graph_by_rule_and_by_option(client: httpx.Client) -> None:
    client.post("/control/faults", json=[{"path": "delta", "kind": "latency", "milliseconds": 60}])
    client.post("/control/options", json={"latencyMs": 50})
    begun = time.perf_counter()
    assert client.get(DELTA).status_code == 200
    assert time.perf_counter() - begun >= 0.11


def test_a_held_request_is_answered_once_the_rules_are_lifted(client: httpx.Client) -> None:
    client.post("/control/faults", json=[{"path": "delta", "kind": "hold"}])
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(client.get, DELTA)
        while not client.get("/control/faults").json()[0]["struck"]:
            pass
        assert client.get("/v1.0/users").status_code == 200
        assert not held.done()
        client.delete("/control/faults")
        assert held.result().status_code == 200


def test_requests_are_counted_per_path_and_pages_read_twice_are_told(client: httpx.Client) -> None:
    user = truth(client, "users")[0]["id"]
    headers = {"Prefer": "odata.maxpagesize=30"}
    link = client.get("/v1.0/users/delta()", headers=headers).json()["@odata.nextLink"]
    client.get(link)
    client.get(f"/v1.0/users/{user}", headers={"x-ms-throttle-priority": "low"})
    counters = client.get("/control/requests").json()
    assert counters["paths"] == {"/v1.0/users/delta": 2, "/v1.0/users/{id}": 1}
    assert (counters["pages"], counters["repeatedPages"]) == (2, 0)
    assert counters["throttlePriorities"] == {"low": 1}
    client.get(link)
    assert client.get("/control/requests").json()["repeatedPages"] == 1
    client.delete("/control/requests")
    assert client.get("/control/requests").json()["total"] == 0
