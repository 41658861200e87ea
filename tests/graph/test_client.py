"""msgraph-sdk and azure-identity against the simulated tenant: what is asked, and what becomes of bad answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.graph.clients import GraphClients
from shared.graph.pages import ReceivedPage
from shared.models.errors import (
    CursorExpired,
    GraphNotFound,
    GraphRefused,
    GraphThrottled,
    GraphUnavailable,
    PartFailure,
    SynchronizationFailure,
)
from shared.models.parts import Part
from shared.models.records import Removal
from shared.settings import Settings
from tests.graph.servers import ScriptedServer, raw_server, scripted_server
from tests.graph.support import EVERY_PART, GROUPS, MEMBERS, SITES, TEAMS, USERS, Graph, organization


@EVERY_PART
def test_every_part_is_read_with_its_own_properties_and_relations(graph: Graph, part: Part) -> None:
    records = [record for page in graph.read(graph.client(), part) for record in page.records]
    number = graph.control("", method="GET")["counts"][part.collection]["live"]
    assert len({record.object_id for record in records}) == number
    selected = set(part.properties) if len(part.properties) > 1 else set()
    assert {frozenset(record.properties) for record in records} == {frozenset(selected)}
    assert {link.relation for record in records for link in record.links} == set(part.relations)


def test_a_token_of_the_managed_identity_is_asked_for_once_and_taken_along(graph: Graph) -> None:
    client = graph.client(graph_page_size=10)
    assert len(graph.read(client, USERS)) == 5
    assert graph.asked()["/msi/token"] == 1


def test_the_page_size_is_asked_for_on_every_page(graph: Graph) -> None:
    pages = graph.read(graph.client(graph_page_size=20), USERS)
    assert [len(page.records) for page in pages] == [20, 20, 10]
    assert pages[-1].delta_link is not None


def test_the_delta_link_brings_what_changed_since(graph: Graph) -> None:
    client = graph.client()
    link = graph.read(client, USERS)[-1].delta_link or ""
    created = graph.control("/users", {"displayName": "New", "userPrincipalName": "new@contoso.onmicrosoft.com"})
    (record,) = graph.run(client.next_page(USERS, link)).read().records
    assert (record.object_id, record.properties["displayName"]) == (created["id"], "New")


@pytest.mark.parametrize("part", [USERS, GROUPS, TEAMS], ids=["users", "groups", "teams"])
def test_soft_deleted_objects_are_listed_with_the_parts_properties(graph: Graph, part: Part) -> None:
    client = graph.client(graph_page_size=10)
    graph.read(client, part)
    ids = [record.object_id for record in graph.run(client.first_page(part)).read().records][:3]
    for identifier in ids:
        graph.control(f"/{part.collection}/{identifier}", method="DELETE")
    page = graph.run(client.first_deleted_page(part)).read()
    assert {record.object_id for record in page.records} == set(ids)
    assert all(record.removal is Removal.SOFT_DELETED for record in page.records)
    assert all(set(record.properties) == set(part.properties) for record in page.records)
    assert (page.next_link, page.delta_link) == (None, None)


def test_pages_of_soft_deleted_objects_follow_one_another(graph: Graph) -> None:
    client = graph.client()
    ids = [record.object_id for record in graph.run(client.first_page(USERS)).read().records]
    for identifier in ids:
        graph.control(f"/users/{identifier}", method="DELETE")
    # A plain list has 100 objects a page, more than the tenant has; a smaller one is made by its own option.
    first = graph.run(client.first_deleted_page(USERS))
    link = f"{graph.tenant.url}/v1.0/directory/deletedItems/microsoft.graph.user?$top=20&$select=id,displayName"
    page = graph.run(client.next_deleted_page(USERS, link))
    found = [record.object_id for record in page.read().records]
    while page.next_link is not None:
        page = graph.run(client.next_deleted_page(USERS, page.next_link))
        found += [record.object_id for record in page.read().records]
    assert sorted(found) == sorted(record.object_id for record in first.read().records) == sorted(ids)


@pytest.mark.parametrize(("part", "number"), [(USERS, 50), (GROUPS, 12), (MEMBERS, 12), (TEAMS, 12), (SITES, None)])
def test_graph_tells_how_many_objects_to_expect_but_of_sites(graph: Graph, part: Part, number: int | None) -> None:
    assert graph.run(graph.client().count(part)) == number


@pytest.mark.parametrize("rule", [{"status": 403}, {"status": 400}, {"kind": "rewrite", "find": "50", "replace": "?"}])
def test_without_a_usable_number_the_total_is_unknown(graph: Graph, rule: dict[str, Any]) -> None:
    graph.fault(kind=rule.pop("kind", "status"), **rule)
    assert graph.run(graph.client().count(USERS)) is None


@pytest.mark.parametrize(
    ("body", "number"),
    [(b"\xef\xbb\xbf12", 12), (b" 12\r\n", 12), (b"-5", None), (b"1" * 30, None), (b"", None), (b"<html>", None)],
)
def test_only_a_number_that_can_be_kept_is_a_total(
    graph: Graph, other: ScriptedServer, body: bytes, number: int | None
) -> None:
    other.content_type, other.body = "text/plain", body
    assert graph.run(graph.client(other.url).count(USERS)) == number


@pytest.mark.parametrize("part", [USERS, GROUPS, TEAMS], ids=lambda part: part.name)
def test_the_live_objects_of_a_part_are_counted(graph: Graph, part: Part) -> None:
    kind = "users" if part is USERS else "groups"
    one = graph.truth(part.name)[0]["id"]
    graph.control(f"/{kind}/{one}", method="DELETE")
    live = [item for item in graph.truth(part.name) if "@softDeleted" not in item]
    assert graph.run(graph.client().count_entries(part)) == len(live) > 0


def test_the_live_members_of_a_group_are_counted(graph: Graph) -> None:
    members = graph.truth("members")
    group = members[0][0]
    of_group = [member for source, member, _ in members if source == group]
    assert graph.run(graph.client().count_members(MEMBERS, group)) == len(of_group)
    user = graph.control("/users", {"displayName": "New"})["id"]
    graph.control(f"/groups/{group}/members", {"add": [user]})
    assert graph.run(graph.client().count_members(MEMBERS, group)) == len(of_group) + 1
    graph.control(f"/users/{user}", method="DELETE")
    assert graph.run(graph.client().count_members(MEMBERS, group)) == len(of_group)


def test_members_of_a_group_that_is_not_there_are_not_counted(graph: Graph) -> None:
    with pytest.raises(GraphNotFound):
        graph.run(graph.client().count_members(MEMBERS, "6f3a1d52-8c0b-4e57-9a44-0d1e2c3b4a59"))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"status": 403}, GraphRefused),
        ({"status": 429, "retryAfter": 300}, GraphThrottled),
        ({"kind": "rewrite", "find": r"\d+", "replace": "many"}, GraphUnavailable),
    ],
)
def test_a_count_that_is_not_told_is_an_error(
    graph: Graph, rule: dict[str, Any], expected: type[SynchronizationFailure]
) -> None:
    graph.fault(**rule)
    with pytest.raises(expected) as failed:
        graph.run(graph.client().count_entries(TEAMS))
    assert "/groups/$count" in failed.value.message or expected is GraphThrottled


# --- Links --------------------------------------------------------------------------------------------------------


def test_a_link_to_another_host_is_not_followed_and_the_token_stays_here(graph: Graph, other: ScriptedServer) -> None:
    client = graph.client(graph_page_size=10)
    graph.fault(kind="rewrite", find=f'"{graph.tenant.url}/v1.0', replace=f'"{other.url}/v1.0')
    with pytest.raises(PartFailure) as failed:
        graph.run(client.first_page(USERS))
    assert failed.value.code == "ForeignLink"
    assert other.url not in failed.value.message
    assert other.requests == []


def test_a_cursor_that_another_graph_root_made_has_expired(graph: Graph, other: ScriptedServer) -> None:
    client = graph.client()
    for follow in (client.next_page, client.next_deleted_page):
        with pytest.raises(CursorExpired):
            graph.run(follow(USERS, f"{other.url}/v1.0/users/delta?$deltatoken=x"))
    assert other.requests == []


@pytest.mark.parametrize(
    "link",
    [
        "https://{host}/v1.0/users/delta",
        "http://{host}@evil.example/v1.0/users/delta",
        "http://{host}.evil.example/v1.0/users/delta",
        "http://evil.example\\@{host}/v1.0/users/delta",
        "//{host}/v1.0/users/delta",
        "/v1.0/users/delta",
        "",
        "http://[",
        "http://{host}]/",
    ],
)
def test_only_links_to_graphs_own_host_are_followed(graph: Graph, link: str) -> None:
    client = graph.client()
    with pytest.raises(PartFailure):
        graph.run(client.next_page(USERS, link.format(host=graph.tenant.url.removeprefix("http://"))))
    assert graph.asked() == {}


@pytest.mark.parametrize("body", [b"", b"<html>Moved</html>"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(graph: Graph, other: ScriptedServer, status: int, body: bytes) -> None:
    with scripted_server() as front:
        front.status, front.body = status, body
        front.headers = {"Location": f"{other.url}/v1.0/users/delta"}
        client = graph.client(front.url)
        with pytest.raises(SynchronizationFailure):
            graph.run(client.first_page(USERS))
        assert len(front.requests) == 1
    assert other.requests == []


# --- Throttling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503, 504])
def test_a_short_wait_is_waited_for_and_the_page_comes(graph: Graph, status: int) -> None:
    graph.fault(status=status, retryAfter=7, times=1)
    assert graph.run(graph.client().first_page(USERS)).read().records
    assert graph.waits == [7]


def test_a_long_wait_is_left_to_the_planner_at_once(graph: Graph) -> None:
    client = graph.client()
    graph.fault(status=429, retryAfter=31)
    with pytest.raises(GraphThrottled) as throttled:
        graph.run(client.first_page(USERS))
    assert throttled.value.retry_after == 31
    assert graph.waits == []
    assert graph.asked()["/v1.0/users/delta"] == 1


def test_how_long_a_wait_is_waited_for_is_a_setting(graph: Graph) -> None:
    graph.fault(status=429, retryAfter=31, times=1)
    assert graph.run(graph.client(graph_max_wait_seconds=31).first_page(USERS)).read().records
    assert graph.waits == [31]


def test_throttling_without_end_is_given_up_with_graphs_last_word(graph: Graph) -> None:
    graph.fault(status=429, retryAfter=5)
    with pytest.raises(GraphThrottled) as throttled:
        graph.run(graph.client().first_page(USERS))
    assert throttled.value.retry_after == 5
    assert graph.waits == [5, 5, 5]


def test_throttling_without_advice_is_tried_again_soon_and_then_left_for_a_minute(graph: Graph) -> None:
    graph.fault(status=429)
    with pytest.raises(GraphThrottled) as throttled:
        graph.run(graph.client().first_page(USERS))
    assert throttled.value.retry_after == 60
    assert 0 < sum(graph.waits) < 10


# --- Refusals and broken answers ----------------------------------------------------------------------------------


@EVERY_PART
def test_a_cursor_that_graph_no_longer_knows_has_expired(graph: Graph, part: Part) -> None:
    client = graph.client()
    link = graph.read(client, part)[-1].delta_link or ""
    graph.control("/expireTokens", {})
    with pytest.raises(CursorExpired) as failed:
        graph.run(client.next_page(part, link))
    assert link not in failed.value.message
    assert link.partition("token=")[2] not in failed.value.message


def test_a_cursor_that_graph_never_knew_has_expired(graph: Graph) -> None:
    with pytest.raises(CursorExpired):
        graph.run(graph.client().next_page(USERS, f"{graph.tenant.url}/v1.0/users/delta?$deltatoken=unknown"))


def test_a_missing_permission_is_named(graph: Graph) -> None:
    graph.fault(status=403)
    with pytest.raises(GraphRefused, match=r"Sites\.Read\.All") as failed:
        graph.run(graph.client().first_page(SITES))
    assert failed.value.tenant_actionable
    assert failed.value.code == "Authorization_RequestDenied"


@pytest.mark.parametrize("kind", ["truncate", "disconnect", "malformed"])
def test_a_broken_answer_may_be_asked_for_again(graph: Graph, kind: str) -> None:
    client = graph.client()
    graph.fault(kind=kind, times=1)
    with pytest.raises(GraphUnavailable):
        graph.run(client.first_page(USERS))
    assert graph.run(client.first_page(USERS)).read().records


def test_an_answer_that_takes_too_long_may_be_asked_for_again(graph: Graph) -> None:
    client = graph.client(graph_timeout_seconds=0.3)
    graph.run(client.count(USERS))
    graph.fault(kind="latency", milliseconds=700)
    with pytest.raises(GraphUnavailable) as failed:
        graph.run(client.first_page(USERS))
    assert failed.value.code == "NoAnswer"


def test_a_server_that_is_not_there_may_be_there_later(graph: Graph) -> None:
    with scripted_server() as gone:
        url = gone.url
    with pytest.raises(GraphUnavailable) as failed:
        graph.run(graph.client(url).first_page(USERS))
    assert failed.value.code == "NoAnswer"


@pytest.mark.parametrize("status", [200, 400, 403, 500, 502, 503])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", b"<html>Bad gateway</html>"),
        ("application/json", b""),
        ("application/json", b"{"),
        ("application/json", b'"text"'),
        ("application/json", b'{"error": "text"}'),
        ("application/json", b'{"error": {"code": 5}}'),
        ("text/plain", b"no"),
        ("", b"no"),
    ],
)
def test_an_answer_that_is_not_graphs_is_a_clear_failure(
    graph: Graph, other: ScriptedServer, status: int, content_type: str, body: bytes
) -> None:
    # A proxy or a gateway in between answers like this.
    other.status, other.content_type, other.body = status, content_type, body
    other.headers = {"Retry-After": "300"} if status == 503 else {}
    client = graph.client(other.url)
    with pytest.raises(SynchronizationFailure) as failed:
        graph.run(client.first_page(USERS))
    if status == 200 or status >= 500:
        assert isinstance(failed.value, GraphUnavailable)
    if status == 503:
        assert isinstance(failed.value, GraphThrottled)
    if status == 403:
        assert "User.Read.All" in failed.value.message


def test_an_answer_without_content_may_be_asked_for_again(graph: Graph, other: ScriptedServer) -> None:
    other.status, other.body = 204, b""
    with pytest.raises(GraphUnavailable):
        graph.run(graph.client(other.url).first_page(USERS))


@pytest.mark.parametrize("code", ["a\\u0000b", "\\ud83d", "x" * 1_000, "<b>", "a b"], ids=str)
@pytest.mark.parametrize("status", [400, 401, 410, 500])
def test_an_error_code_that_is_no_name_is_left_out(graph: Graph, other: ScriptedServer, status: int, code: str) -> None:
    other.status, other.body = status, f'{{"error": {{"code": "{code}", "message": "m"}}}}'.encode()
    other.headers = {"request-id": "confidential person"}
    with pytest.raises(SynchronizationFailure) as failed:
        graph.run(graph.client(other.url).first_page(USERS))
    assert failed.value.message.isprintable()
    assert len(failed.value.message) < 200
    assert failed.value.code.isalpha()
    assert "confidential" not in failed.value.message


def test_no_cookie_of_a_server_is_sent_back(graph: Graph, other: ScriptedServer) -> None:
    other.headers = {"Set-Cookie": "\xff=\x01"}
    client = graph.client(other.url)
    for _ in range(2):
        graph.run(client.first_page(USERS))
    assert len(other.requests) == 2


BROKEN_ANSWERS = {
    "nothing": b"",
    "no HTTP": b"hello\r\n\r\n",
    "body cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b'{"value": []}',
    "body longer than said": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + b'{"value": []}',
    "length is no number": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n" + b'{"value": []}',
    "chunk cut off": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"val',
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "no gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 13\r\n\r\n" + b'{"value": []}',
    "no deflate": b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}",
    "headers without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
}


@pytest.mark.parametrize("answer", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS.keys())
def test_an_answer_that_is_broken_on_its_way_may_be_asked_for_again(graph: Graph, answer: bytes) -> None:
    with raw_server(answer) as url, pytest.raises(GraphUnavailable):
        graph.run(graph.client(url).first_page(USERS))


def test_a_body_that_comes_drop_by_drop_is_not_waited_for_longer_than_an_answer(graph: Graph) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
    with raw_server(head, drop=b" ") as url, pytest.raises(GraphUnavailable) as failed:
        graph.run(graph.client(url, graph_timeout_seconds=0.5).first_page(USERS))
    assert failed.value.code == "NoAnswer"


def test_an_object_whose_address_cannot_be_sent_is_a_clear_failure(graph: Graph) -> None:
    with pytest.raises(GraphRefused) as failed:
        graph.run(graph.client().read_object(SITES, "x" * 70_000 + ",c,w"))
    assert len(failed.value.message) < 200


# --- Credentials --------------------------------------------------------------------------------------------------


def test_a_revoked_token_is_replaced_once_and_the_page_comes(graph: Graph) -> None:
    client = graph.client(graph_page_size=20)
    first = graph.run(client.first_page(USERS))
    graph.fault(status=401, times=1)
    assert graph.run(client.next_page(USERS, first.next_link or "")).read().records
    assert graph.asked()["/msi/token"] == 2


def test_a_refusal_of_a_fresh_token_too_is_told_at_once(graph: Graph) -> None:
    client = graph.client()
    graph.fault(status=401)
    for _ in range(2):
        with pytest.raises(GraphRefused) as failed:
            graph.run(client.first_page(USERS))
        assert failed.value.code == "InvalidAuthenticationToken"
    assert graph.asked()["/v1.0/users/delta"] == 4
    assert graph.waits == []


def test_requests_whose_token_is_revoked_at_the_same_moment_all_come_through(graph: Graph) -> None:
    client = graph.client()
    graph.run(client.first_page(USERS))
    parts = (USERS, GROUPS, SITES)
    for part in parts:
        graph.fault(path=f"/{part.collection}/delta", status=401, times=1)

    async def at_once() -> list[ReceivedPage]:
        return await asyncio.gather(*(client.first_page(part) for part in parts))

    assert all(page.read().records for page in graph.run(at_once()))


def test_an_identity_that_gets_no_token_is_for_the_operator_to_repair(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "hunter2")
    with pytest.raises(GraphRefused) as failed:
        graph.run(graph.client().first_page(USERS))
    assert failed.value.code == "CredentialUnavailable"
    assert not failed.value.tenant_actionable
    assert "hunter2" not in failed.value.message


@pytest.mark.parametrize("kind", ["secret", "certificate"])
def test_a_missing_app_setting_of_a_stored_credential_is_named(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("ORGANIZATION_SECRET_CONTOSO_1", raising=False)
    client = graph.client(credential={"kind": kind, "keyVaultSecret": "contoso-1"})
    with pytest.raises(GraphRefused, match="ORGANIZATION_SECRET_CONTOSO_1"):
        graph.run(client.first_page(USERS))


def test_one_organization_has_one_client_and_a_new_one_after_closing(graph: Graph) -> None:
    clients = GraphClients(Settings.model_validate({"graph_url": graph.tenant.url}), lambda: datetime.now(UTC))
    contoso = organization(graph.tenant.directory.tenant_id)
    client = clients.get(contoso)
    assert clients.get(contoso) is client
    graph.run(client.first_page(USERS))
    graph.run(clients.close())
    again = clients.get(contoso)
    assert again is not client
    assert graph.run(again.first_page(USERS)).read().records
    graph.run(clients.close())
