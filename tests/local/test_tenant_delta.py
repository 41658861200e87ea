"""The simulated tenant's delta feeds, read to the end, give exactly the tenant's truth."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from local.tenant import Directory, Options, TenantServer
from local.tenant.reader import ReferenceReader

ROUGH = Options(page_size=17, member_slice=4, page_links=30, replay_probability=0.3, empty_page_probability=0.3)
CALM = Options(replay_probability=0, empty_page_probability=0)


@contextmanager
def tenant(options: Options = CALM, **sizes: int) -> Iterator[tuple[TenantServer, httpx.Client]]:
    with TenantServer(Directory(**({"users": 60, "groups": 12, "sites": 8} | sizes)), options) as server:
        headers = {"Authorization": f"Bearer {server.access_token()}"}
        with httpx.Client(base_url=server.url, headers=headers) as client:
            yield server, client


def first(client: httpx.Client, path: str, count: int = 1) -> list[str]:
    lines = client.get(f"/control/truth/{path}").text.splitlines()
    return [httpx.Response(200, text=line).json()["id"] for line in lines[:count]]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_reader_equals_truth_after_an_initial_round_and_twenty_rounds_of_mutations(seed: int) -> None:
    with tenant(ROUGH, users=150, groups=25, seed=seed) as (_, client):
        reader = ReferenceReader(client)
        reader.synchronize()
        assert reader.differences() == []
        for step in range(20):
            client.post("/control/mutate", json={"count": 30, "seed": step}).raise_for_status()
            reader.synchronize()
            assert reader.differences() == [], step


@pytest.mark.parametrize("prefer", ["return=minimal", "odata.maxpagesize=1", "odata.maxpagesize=999"])
def test_preferences_change_the_pages_but_not_the_outcome(prefer: str) -> None:
    with tenant(ROUGH, users=40, groups=12) as (_, client):
        reader = ReferenceReader(client, prefer=prefer)
        reader.synchronize()
        for step in range(5):
            client.post("/control/mutate", json={"count": 30, "seed": step}).raise_for_status()
            reader.synchronize()
            assert reader.differences() == [], step


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_when_the_tenant_changes_while_rounds_are_read(seed: int) -> None:
    with tenant(ROUGH, users=120, groups=20, seed=seed) as (_, client):
        reader, draw = ReferenceReader(client), random.Random(seed)
        for _ in range(4):
            for resource in ("users", "groups", "sites"):
                for _page in reader.rounds(resource):
                    if draw.random() < 0.5:
                        client.post("/control/mutate", json={"count": 8, "seed": draw.randrange(10**6)})
        reader.synchronize()
        assert reader.differences() == []


def test_a_round_that_changes_while_read_repeats_no_page_and_ends() -> None:
    with tenant(Options(page_size=5, empty_page_probability=1.0, replay_probability=1.0)) as (_, client):
        reader = ReferenceReader(client)
        reader.synchronize()
        client.post("/control/mutate", json={"count": 40, "seed": 1})
        reader.synchronize()
        counters = client.get("/control/requests").json()
        assert counters["repeatedPages"] == 0
        assert counters["pages"] == reader.pages
        assert reader.differences() == []


def test_pages_are_sometimes_empty_but_carry_a_next_link() -> None:
    with tenant(Options(page_size=5, empty_page_probability=0.5, replay_probability=0)) as (_, client):
        pages = list(ReferenceReader(client).rounds("users"))
        assert [] in pages
        assert sum(map(len, pages)) == 60


def test_records_of_an_incremental_round_are_replayed_on_a_later_page() -> None:
    with tenant(Options(replay_probability=1.0, empty_page_probability=0)) as (_, client):
        reader = ReferenceReader(client)
        reader.synchronize()
        client.patch(f"/control/users/{first(client, 'users')[0]}", json={"displayName": "Neu"})
        once, again = reader.rounds("users")
        assert once == again
        assert once[0]["displayName"] == "Neu"


def test_a_large_group_comes_in_slices_over_several_records_and_pages() -> None:
    with tenant(Options(page_size=4, member_slice=10, empty_page_probability=0), users=400) as (server, client):
        pages = list(ReferenceReader(client).rounds("groups"))
        group_id = server.directory.groups.population.id(0)
        slices = [record["members@delta"] for page in pages for record in page if record["id"] == group_id]
        assert len(slices) == 8
        assert all(len(part) <= 10 for part in slices)
        assert len({member["id"] for part in slices for member in part}) == 80
        records = [record for page in pages for record in page if record["id"] == group_id]
        assert "displayName" in records[0]
        assert all(r.keys() == {"id", "members@delta"} for r in records[1:])
        assert sum(any(record["id"] == group_id for record in page) for page in pages) > 1


def test_soft_delete_restore_and_hard_delete_of_a_user_are_told_apart() -> None:
    with tenant() as (server, client):
        reader = ReferenceReader(client)
        reader.synchronize()
        user = server.directory.reference_id(server.directory.links.slice("members", 3, 0, 1)[0][0])
        group = server.directory.groups.population.id(3)
        link = (group, user, "#microsoft.graph.user")

        client.delete(f"/control/users/{user}")
        assert list(reader.rounds("users")) == [[{"id": user, "@removed": {"reason": "changed"}}]]
        assert list(reader.rounds("groups")) == [[]]
        reader.synchronize()
        assert link in reader.links["members"]
        assert reader.differences() == []
        assert f'["{group}","{user}"' in client.get("/control/truth/members").text

        client.post(f"/control/users/{user}/restore")
        [[record]] = reader.rounds("users")
        assert record["id"] == user
        assert "@removed" not in record
        assert "displayName" in record

        client.delete(f"/control/users/{user}?permanent=true")
        assert list(reader.rounds("users")) == [[{"id": user, "@removed": {"reason": "deleted"}}]]
        assert list(reader.rounds("groups")) == [[]], "Graph does not tell that the links ended"
        assert link not in reader.links["members"]
        assert reader.differences() == []


def test_the_end_of_links_of_a_hard_deleted_user_is_announced_when_asked_for() -> None:
    with tenant(Options(announce_hard_deleted_links=True, empty_page_probability=0)) as (server, client):
        reader = ReferenceReader(client)
        reader.synchronize()
        user = server.directory.reference_id(server.directory.links.slice("members", 3, 0, 1)[0][0])
        client.delete(f"/control/users/{user}?permanent=true")
        ended = [m for page in reader.rounds("groups") for r in page for m in r.get("members@delta", [])]
        assert {"@odata.type": "#microsoft.graph.user", "id": user, "@removed": {"reason": "deleted"}} in ended
        reader.synchronize()
        assert reader.differences() == []


def test_a_restored_group_brings_all_its_members_again() -> None:
    with tenant() as (server, client):
        group = server.directory.groups.population.id(2)
        reader = ReferenceReader(client)
        reader.synchronize()
        members = {link for link in reader.links["members"] if link[0] == group}
        client.delete(f"/control/groups/{group}")
        assert list(reader.rounds("groups")) == [[{"id": group, "@removed": {"reason": "changed"}}]]
        assert group not in {r["id"] for page in ReferenceReader(client).rounds("groups") for r in page}
        client.post(f"/control/groups/{group}/restore")
        [[record]] = reader.rounds("groups")
        assert {(group, m["id"], m["@odata.type"]) for m in record["members@delta"]} == members


def test_only_changes_of_selected_properties_and_relations_make_an_object_appear() -> None:
    with tenant() as (server, client):
        group, user = server.directory.groups.population.id(2), server.directory.users.population.id(0)
        member = server.directory.reference_id(server.directory.links.slice("members", 2, 0, 1)[0][0])
        narrow = ReferenceReader(client, {"groups": "id,members", "users": "displayName"})
        wide = ReferenceReader(client, {"groups": "displayName"})
        narrow.synchronize()
        wide.synchronize()

        client.patch(f"/control/groups/{group}", json={"displayName": "Renamed"})
        client.patch(f"/control/users/{user}", json={"city": "Oslo"})
        assert list(narrow.rounds("groups")) == [[]]
        assert list(narrow.rounds("users")) == [[]]
        assert list(wide.rounds("groups")) == [[{"id": group, "displayName": "Renamed"}]]

        client.post(f"/control/groups/{group}/members", json={"remove": [member]})
        removed = {"@odata.type": "#microsoft.graph.user", "id": member, "@removed": {"reason": "deleted"}}
        assert list(narrow.rounds("groups")) == [[{"id": group, "members@delta": [removed]}]]
        assert list(wide.rounds("groups")) == [[]]


def test_minimal_return_tells_changed_properties_only() -> None:
    with tenant() as (server, client):
        user = server.directory.users.population.id(0)
        reader = ReferenceReader(client, prefer="return=minimal")
        reader.synchronize()
        client.patch(f"/control/users/{user}", json={"displayName": "Neu"})
        assert list(reader.rounds("users")) == [[{"id": user, "displayName": "Neu"}]]


def test_a_deleted_site_has_a_deleted_facet() -> None:
    with tenant() as (server, client):
        reader = ReferenceReader(client)
        reader.synchronize()
        site = server.directory.sites.population.id(1)
        client.delete(f"/control/sites/{site}")
        assert list(reader.rounds("sites")) == [[{"id": site, "deleted": {"state": "deleted"}}]]


def test_bare_site_ids_can_be_switched_on() -> None:
    with tenant(Options(bare_site_ids=True, empty_page_probability=0)) as (server, client):
        ids = [r["id"] for page in ReferenceReader(client).rounds("sites") for r in page]
        assert ids[0] == server.directory.sites.population.web_id(0)
        assert not any("," in i for i in ids)
        assert "," in client.get("/v1.0/sites/getAllSites").json()["value"][0]["id"]


def test_an_initial_round_holds_removed_records_only_when_asked_to() -> None:
    with tenant() as (server, client):
        user = server.directory.users.population.id(5)
        client.delete(f"/control/users/{user}")
        assert user not in {r["id"] for page in ReferenceReader(client).rounds("users") for r in page}
        client.post("/control/options", json={"removedInInitialRound": True})
        records = [r for page in ReferenceReader(client).rounds("users") for r in page]
        assert {"id": user, "@removed": {"reason": "changed"}} in records


def test_the_same_seed_gives_the_same_bytes_also_after_the_same_mutations() -> None:
    def read(seed: int) -> list[str]:
        with tenant(Options(), seed=seed) as (server, client):
            client.post("/control/mutate", json={"count": 50, "seed": 3})
            paths = ["/v1.0/users/delta", "/v1.0/groups/delta?$select=displayName,members", "/v1.0/sites/delta"]
            paths += ["/control/truth/users", "/control/truth/members", "/v1.0/organization"]
            return [client.get(path).text.replace(server.url, "") for path in paths]

    assert read(1) == read(1)
    assert read(1) != read(2)
