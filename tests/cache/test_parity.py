"""Members are counted as Graph counts them."""

from __future__ import annotations

from dataclasses import replace

from shared.cache import parity
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.records import LinkChange
from tests.cache.work import Cache, live, soft_deleted, with_links

SERVICE_PRINCIPAL = "#microsoft.graph.servicePrincipal"


def test_members_count_unless_they_are_known_to_be_soft_deleted(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, PartName.USERS, live("u1"), soft_deleted("u2", displayName="Zoë"))
    cache.run(contoso, PartName.GROUP_MEMBERS, with_links("g1", "u1", "u2", "device"), with_links("g2", "u2"))
    counted = cache.read(lambda c: parity.count_members(c, contoso.key, ["g1", "g2", "empty"]))
    assert counted == {"g1": 2, "g2": 0, "empty": 0}


def test_links_that_ended_and_owners_do_not_count(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, PartName.GROUPS, with_links("g1", "u3", relation="owners", displayName="One"))
    work = cache.begin(contoso, PartName.GROUP_MEMBERS)
    cache.apply(work, with_links("g1", "u1", "u2"), with_links("g1", "u1", removed=True))
    assert cache.read(lambda c: parity.count_members(c, contoso.key, ["g1"])) == {"g1": 1}


def test_a_group_with_a_service_principal_is_left_out(cache: Cache, contoso: Organization) -> None:
    group = with_links("g1", "u1")
    group = replace(group, links=[*group.links, LinkChange("members", "app", SERVICE_PRINCIPAL, removed=False)])
    cache.run(contoso, PartName.GROUP_MEMBERS, group, with_links("g2", "u1"))
    assert cache.read(lambda c: parity.count_members(c, contoso.key, ["g1", "g2"])) == {"g2": 1}


def test_organizations_do_not_count_for_one_another(cache: Cache, contoso: Organization) -> None:
    other = cache.register(2)
    cache.run(contoso, PartName.GROUP_MEMBERS, with_links("g1", "u1"))
    cache.run(other, PartName.USERS, soft_deleted("u1", displayName="Zoë"))
    cache.run(other, PartName.GROUP_MEMBERS, with_links("g1", "u2", "u3"))
    assert cache.read(lambda c: parity.count_members(c, contoso.key, ["g1"])) == {"g1": 1}
    assert cache.read(lambda c: parity.count_members(c, other.key, ["g1"])) == {"g1": 2}
