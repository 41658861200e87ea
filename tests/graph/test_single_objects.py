"""Objects are read fresh from Graph with all their links, and parts are proved readable by one row."""

from __future__ import annotations

import re
from typing import Any

import pytest

from shared.models.errors import (
    GraphNotFound,
    GraphRefused,
    GraphThrottled,
    GraphUnavailable,
    PartFailure,
    SynchronizationFailure,
)
from shared.models.parts import Part
from shared.models.records import LinkChange, ObjectRecord
from tests.graph.servers import ScriptedServer
from tests.graph.support import EVERY_PART, GROUPS, MEMBERS, SITES, TEAMS, USERS, Graph

NOBODY = "11111111-2222-4333-8444-555555555555"
LINKED_PARTS = pytest.mark.parametrize("part", [GROUPS, MEMBERS], ids=lambda part: part.name)


def ids(graph: Graph, part: Part) -> list[str]:
    """The ids that Graph knows the part's objects by."""
    return [found["id"] for found in graph.truth(part.collection)]


def links(graph: Graph, part: Part, group: str) -> set[LinkChange]:
    return {
        LinkChange(relation, target, kind, removed=False)
        for relation in part.relations
        for source, target, kind in graph.truth(relation)
        if source == group
    }


def read(graph: Graph, part: Part, object_id: str) -> ObjectRecord:
    found = graph.run(graph.client().read_object(part, object_id))
    assert found is not None
    return found


# --- What is read -------------------------------------------------------------------------------------------------


@EVERY_PART
def test_an_object_is_read_with_the_parts_properties_and_all_its_links(graph: Graph, part: Part) -> None:
    wanted = graph.truth(part.collection)[3]
    found = read(graph, part, wanted["id"])
    assert found.object_id == wanted["id"].rpartition(",")[2]
    assert found.properties == ({name: wanted[name] for name in part.properties} if part.keeps_objects else {})
    assert set(found.links) == links(graph, part, wanted["id"])
    assert len(found.links) == len(set(found.links))
    assert bool(found.links) == bool(part.relations)
    assert found.links_complete
    assert (found.removal, found.occurrences) == (None, 1)


@EVERY_PART
def test_an_object_read_fresh_is_the_object_of_the_listing(graph: Graph, part: Part) -> None:
    client = graph.client()
    listed = {found.object_id: found for page in graph.read(client, part) for found in page.records}
    for identifier in ids(graph, part):
        found = graph.run(client.read_object(part, identifier))
        assert found is not None
        same = listed[found.object_id]
        assert found.properties == same.properties
        assert set(found.links) == set(same.links)


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_a_user_is_found_by_name_and_known_by_id(graph: Graph, change: Any) -> None:
    users = graph.truth("users")
    guest = next(user for user in users if "#EXT#" in user["userPrincipalName"])
    for user in (users[0], guest):
        found = read(graph, USERS, change(user["userPrincipalName"]))
        assert (found.object_id, found.properties["displayName"]) == (user["id"], user["displayName"])


def test_an_id_has_no_case(graph: Graph) -> None:
    group = ids(graph, MEMBERS)[2]
    assert read(graph, MEMBERS, group.upper()) == read(graph, MEMBERS, group)


@pytest.mark.parametrize("graph", [{"users": 2100}], indirect=True)
def test_a_group_of_many_pages_of_members_is_read_to_its_end(graph: Graph) -> None:
    members = ids(graph, USERS)
    group = graph.control("/groups", {"displayName": "Everybody", "members": members})["id"]
    found = read(graph, MEMBERS, group)
    assert sorted(link.target_id for link in found.links) == sorted(members)
    assert graph.asked()["/v1.0/groups/{id}/members"] == 3


def test_a_group_without_links_has_none_and_that_is_known(graph: Graph) -> None:
    group = graph.control("/groups", {"displayName": "Nobody's"})["id"]
    for part in (GROUPS, MEMBERS):
        found = read(graph, part, group)
        assert (found.links, found.links_complete) == ([], True)


# --- What is not there --------------------------------------------------------------------------------------------


@EVERY_PART
def test_an_object_that_is_unknown_or_removed_is_none(graph: Graph, part: Part) -> None:
    client = graph.client()
    existing = ids(graph, part)[0]
    unknown = f"contoso.sharepoint.com,{NOBODY},{NOBODY}" if part is SITES else NOBODY
    assert graph.run(client.read_object(part, unknown)) is None
    graph.control(f"/{part.collection}/{existing}?permanent=true", method="DELETE")
    assert graph.run(client.read_object(part, existing)) is None


@pytest.mark.parametrize("part", [USERS, GROUPS, MEMBERS, TEAMS], ids=lambda part: part.name)
def test_a_soft_deleted_object_is_none_until_it_is_restored(graph: Graph, part: Part) -> None:
    client = graph.client()
    path = f"/{part.collection}/{ids(graph, part)[0]}"
    before = graph.run(client.read_object(part, path.rpartition("/")[2]))
    graph.control(path, method="DELETE")
    assert graph.run(client.read_object(part, path.rpartition("/")[2])) is None
    graph.control(f"{path}/restore")
    assert graph.run(client.read_object(part, path.rpartition("/")[2])) == before


def test_a_user_of_an_unknown_name_is_none(graph: Graph) -> None:
    for name in ("nobody@contoso.onmicrosoft.com", "somebody999999@contoso.onmicrosoft.com", "nobody"):
        assert graph.run(graph.client().read_object(USERS, name)) is None


@LINKED_PARTS
def test_a_group_that_goes_while_its_links_are_listed_is_none(graph: Graph, part: Part) -> None:
    client = graph.client()
    graph.fault(path=f"/{part.relations[0]}$", status=404)
    assert graph.run(client.read_object(part, ids(graph, part)[0])) is None


def test_a_site_that_is_not_found_by_its_webs_id_is_not_taken_for_gone(graph: Graph) -> None:
    site = ids(graph, SITES)[0]
    assert read(graph, SITES, site).object_id == site.rpartition(",")[2]
    with pytest.raises(GraphNotFound) as failed:
        graph.run(graph.client().read_object(SITES, site.rpartition(",")[2]))
    assert failed.value.code == "itemNotFound"


@EVERY_PART
def test_a_404_that_graph_did_not_explain_is_not_taken_for_gone(
    graph: Graph, other: ScriptedServer, part: Part
) -> None:
    other.status, other.content_type, other.body = 404, "text/html", b"<html>No such page</html>"
    with pytest.raises(GraphRefused) as failed:
        graph.run(graph.client(other.url).read_object(part, ids(graph, part)[0]))
    assert not isinstance(failed.value, GraphNotFound)


def test_what_is_no_groups_id_is_refused(graph: Graph) -> None:
    with pytest.raises(GraphRefused) as failed:
        graph.run(graph.client().read_object(GROUPS, "All Company"))
    assert not isinstance(failed.value, GraphNotFound)
    assert "All Company" not in failed.value.message


@pytest.mark.parametrize("object_id", ["", ".", "..", "delta", "delta()", "$count", "a/b", "?$top=1", "%2e%2e", "#"])
@EVERY_PART
def test_what_is_no_id_at_all_reads_no_object(graph: Graph, part: Part, object_id: str) -> None:
    try:
        assert graph.run(graph.client().read_object(part, object_id)) is None
    except SynchronizationFailure:
        return


# --- What goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({"status": 400}, GraphRefused),
        ({"status": 401}, GraphRefused),
        ({"status": 403}, GraphRefused),
        ({"status": 429, "retryAfter": 300}, GraphThrottled),
        ({"status": 500}, GraphUnavailable),
        ({"kind": "disconnect"}, GraphUnavailable),
        ({"kind": "malformed"}, GraphUnavailable),
    ],
    ids=str,
)
def test_errors_are_told_without_naming_anybody(
    graph: Graph, rule: dict[str, Any], kind: type[SynchronizationFailure]
) -> None:
    user = graph.truth("users")[0]
    client = graph.client()
    graph.fault(**rule)
    for name in (user["id"], user["userPrincipalName"]):
        with pytest.raises(kind) as failed:
            graph.run(client.read_object(USERS, name))
        assert name not in failed.value.message
        if rule.get("kind") != "malformed":
            assert "GET /users/{id} " in failed.value.message


@LINKED_PARTS
def test_a_permission_that_is_missing_for_the_links_is_named(graph: Graph, part: Part) -> None:
    group = ids(graph, part)[0]
    graph.fault(path=f"/{part.relations[0]}$", status=403)
    with pytest.raises(GraphRefused, match=part.permission) as failed:
        graph.run(graph.client().read_object(part, group))
    assert failed.value.tenant_actionable
    assert f"GET /groups/{{id}}/{part.relations[0]} " in failed.value.message
    assert group not in failed.value.message


def test_an_object_that_cannot_be_read_fails_with_its_defect_alone(graph: Graph) -> None:
    user = graph.truth("users")[0]
    graph.fault(kind="rewrite", find='"id":"[^"]+"', replace='"id":5')
    with pytest.raises(PartFailure) as failed:
        graph.run(graph.client().read_object(USERS, user["id"]))
    assert failed.value.code == "MalformedRecord"
    assert failed.value.message == "Graph sent a record for users that cannot be read: id is not a string."


@LINKED_PARTS
def test_a_link_that_cannot_be_read_fails_the_object(graph: Graph, part: Part) -> None:
    graph.fault(path=f"/{part.relations[0]}$", kind="rewrite", find='"id":"[^"]+"', replace='"id":null')
    with pytest.raises(PartFailure) as failed:
        graph.run(graph.client().read_object(part, ids(graph, part)[0]))
    assert failed.value.code == "MalformedRecord"


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"text"', b"<html></html>"])
def test_an_answer_that_is_no_object_may_be_asked_for_again(graph: Graph, other: ScriptedServer, body: bytes) -> None:
    other.body = body
    with pytest.raises(GraphUnavailable) as failed:
        graph.run(graph.client(other.url).read_object(USERS, NOBODY))
    assert failed.value.code == "MalformedAnswer"


def test_a_list_of_links_that_leads_back_to_a_page_of_its_own_is_refused(graph: Graph) -> None:
    group = ids(graph, MEMBERS)[0]
    link = f"{graph.tenant.url}/v1.0/groups/{group}/members?$top=999"
    graph.fault(path="/members$", kind="rewrite", find='"value":', replace=f'"@odata.nextLink":"{link}","value":')
    with pytest.raises(PartFailure) as failed:
        graph.run(graph.client().read_object(MEMBERS, group))
    assert failed.value.code == "RepeatedLink"
    assert group not in failed.value.message
    assert graph.asked()["/v1.0/groups/{id}/members"] == 2


def test_a_list_of_links_is_not_followed_to_another_host(graph: Graph, other: ScriptedServer) -> None:
    link = f"{other.url}/v1.0/groups/x/members?$skiptoken=y"
    graph.fault(path="/members$", kind="rewrite", find='"value":', replace=f'"@odata.nextLink":"{link}","value":')
    with pytest.raises(PartFailure) as failed:
        graph.run(graph.client().read_object(MEMBERS, ids(graph, MEMBERS)[0]))
    assert failed.value.code == "ForeignLink"
    assert other.url not in failed.value.message
    assert other.requests == []


# --- Broken records of a listing ----------------------------------------------------------------------------------


def break_records(graph: Graph, part: Part, identifier: str) -> None:
    """Breaks all records of one object in its feed and nothing else, as the tenant's documentation says."""
    find = f'{{"id":"{re.escape(identifier)}"(,"@removed":{{[^}}]*}})?'
    replace = f'{{"@removed":5,"id":"{identifier}"'
    graph.fault(path=f"/{part.collection}/delta", kind="rewrite", find=find, replace=replace)


@EVERY_PART
def test_an_object_with_broken_records_is_put_aside_and_can_be_read_fresh(graph: Graph, part: Part) -> None:
    client = graph.client()
    everything = {found.object_id: found for page in graph.read(client, part) for found in page.records}
    identifier = ids(graph, part)[4]
    break_records(graph, part, identifier)
    pages = graph.read(client, part)
    (broken,) = [found for page in pages for found in page.broken]
    others = {found.object_id: found for page in pages for found in page.records}
    assert others == {key: found for key, found in everything.items() if key != broken.object_id}
    fresh = graph.run(client.read_object(part, identifier))
    assert fresh is not None
    assert fresh.object_id == broken.object_id
    assert fresh.properties == everything[broken.object_id].properties
    graph.control("/faults", method="DELETE")
    assert [found for page in graph.read(client, part) for found in page.broken] == []


def test_the_removal_of_an_object_can_be_a_broken_record_too(graph: Graph) -> None:
    client = graph.client()
    user = ids(graph, USERS)[4]
    link = graph.read(client, USERS)[-1].delta_link or ""
    graph.control(f"/users/{user}", method="DELETE")
    break_records(graph, USERS, user)
    page = graph.run(client.next_page(USERS, link)).read()
    assert ([found.object_id for found in page.broken], page.records) == ([user], [])
    assert graph.run(client.read_object(USERS, user)) is None


def test_an_object_whose_id_is_broken_is_put_aside_under_a_key_of_its_own(graph: Graph) -> None:
    client = graph.client()
    user = ids(graph, USERS)[4]
    graph.fault(path="/users/delta", kind="rewrite", find=f'{{"id":"{user}"', replace='{"id":5')
    keys = [found.object_id for page in graph.read(client, USERS) for found in page.broken]
    again = [found.object_id for page in graph.read(client, USERS) for found in page.broken]
    assert keys == again
    assert [key.startswith("unidentified-") for key in keys] == [True]


# --- Probes -------------------------------------------------------------------------------------------------------


@EVERY_PART
def test_a_part_that_can_be_read_passes_the_probe(graph: Graph, part: Part) -> None:
    graph.run(graph.client().probe(part))
    assert graph.asked()[f"/v1.0/{part.collection}/delta"] == 1


@EVERY_PART
def test_the_probe_asks_for_one_row_of_the_parts_own_query(graph: Graph, other: ScriptedServer, part: Part) -> None:
    client = graph.client(other.url)
    graph.run(client.probe(part))
    graph.run(client.first_page(part))
    (probed, _), (listed, _) = other.requests
    assert probed == listed
    assert other.preferences == ["odata.maxpagesize=1", "odata.maxpagesize=999"]


@EVERY_PART
def test_the_probe_names_the_permission_that_is_missing(graph: Graph, part: Part) -> None:
    graph.fault(status=403)
    with pytest.raises(GraphRefused, match=re.escape(part.permission)) as failed:
        graph.run(graph.client().probe(part))
    assert failed.value.tenant_actionable


def test_a_broken_record_proves_that_the_part_can_be_read(graph: Graph) -> None:
    graph.fault(path="/users/delta", kind="rewrite", find='"id":"[^"]+"', replace='"id":5')
    graph.run(graph.client().probe(USERS))


@pytest.mark.parametrize("kind", ["disconnect", "malformed", "truncate"])
def test_a_probe_without_a_usable_answer_proves_nothing(graph: Graph, kind: str) -> None:
    graph.fault(kind=kind)
    with pytest.raises(GraphUnavailable):
        graph.run(graph.client().probe(SITES))
