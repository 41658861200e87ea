"""The part catalogue is consistent, and counts add up."""

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.tenant import Directory
from shared.models.parts import CATALOGUE, Part, PartName, is_team, selectable
from shared.models.run_entity import RunCounts
from shared.models.runs import Counts

PARTS = pytest.mark.parametrize("part", CATALOGUE.values(), ids=lambda part: part.name)
# What Graph keeps outside the directory's own store, or gives only for one object at a time: no delta query tells it.
OUTSIDE = {
    "aboutMe", "birthday", "hireDate", "interests", "mySite", "pastProjects", "preferredName", "responsibilities",
    "schools", "skills", "mailboxSettings", "signInActivity", "deviceEnrollmentLimit", "photo",
    "allowExternalSenders", "autoSubscribeNewMembers", "hasMembersWithLicenseErrors", "hideFromAddressLists",
    "hideFromOutlookClients", "isArchived", "isSubscribedByMail", "unseenCount",
}  # fmt: skip
COUNTS = st.builds(Counts, *[st.integers(0, 10**9)] * 9)


class Noting(dict[str, Any]):
    """Properties that all have one value, and note which of them are read."""

    def __init__(self, value: Any, read: set[str]) -> None:
        self.value, self.read = value, read

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return self.value


@PARTS
def test_every_part_asks_for_the_id_and_for_its_relations_once(part: Part) -> None:
    assert part.select[0] == "id"
    assert set(part.relations) <= set(part.select)
    assert len(set(part.select)) == len(part.select)
    assert not set(part.properties) & set(part.relations)


@PARTS
def test_optional_properties_are_further_ones_that_a_delta_query_tells(part: Part) -> None:
    assert len(set(part.optional)) == len(part.optional)
    assert not set(part.optional) & (set(part.select) | OUTSIDE)


@PARTS
def test_what_every_selection_must_hold_is_selected_by_default(part: Part) -> None:
    assert part.required[0] == "id"
    assert len(set(part.required)) == len(part.required)
    assert set(part.required) <= set(part.select)


@PARTS
def test_every_property_by_which_a_part_decides_cannot_be_deselected(part: Part) -> None:
    read: set[str] = set()
    for value in (None, True, [], ["Unified", "Team"]):
        part.in_scope(Noting(value, read))
        if part.keeps_objects:
            part.kind(Noting(value, read))
    # Mailboxes are asked for by their users' mail addresses; the key of a channel begins with its team's.
    needed = {"users": {"mail"}, "channels": {"teamId"}}.get(part.name, set())
    assert read | needed == set(part.decisive)
    assert read | needed <= set(part.required)


@PARTS
def test_all_that_is_selectable_stays_so_whatever_is_selected(part: Part) -> None:
    assert selectable(part) == (*part.select, *part.optional)
    assert selectable(dataclasses.replace(part, select=part.required)) == selectable(part)
    chosen = dataclasses.replace(part, select=("id", "formerly"))
    assert selectable(chosen) == (*selectable(part), "formerly")


def test_another_selection_of_a_part_keeps_its_relations_apart_from_its_properties() -> None:
    groups = dataclasses.replace(CATALOGUE[PartName.GROUPS], select=("id", "theme", "owners"))
    assert groups.properties == ("id", "theme")


@pytest.mark.parametrize(
    "part", [part for part in CATALOGUE.values() if part.source is None], ids=lambda part: part.name
)
def test_the_simulated_tenant_knows_all_that_is_selectable(part: Part) -> None:
    tenant = Directory(users=1, groups=1, sites=1)
    assert set(selectable(part)) - set(part.relations) <= set(tenant.objects(part.collection).population.columns)


@PARTS
def test_every_part_says_which_permission_it_needs_and_how_it_is_counted(part: Part) -> None:
    assert re.fullmatch(r"\w+\.Read(Basic)?(\.All)?", part.permission)
    source, _, target = part.entry_type.partition(" to ")
    assert source == target != ""


@PARTS
def test_a_part_without_objects_keeps_links_at_least(part: Part) -> None:
    assert part.keeps_objects or part.relations


@PARTS
def test_a_record_with_nothing_but_the_id_has_a_scope_and_a_kind(part: Part) -> None:
    nothing = dict.fromkeys(part.properties)
    assert part.in_scope(nothing) in (True, False)
    assert isinstance(part.kind(nothing), str | None)


def test_names_and_entry_types_are_unique_and_a_relation_belongs_to_one_part() -> None:
    parts = list(CATALOGUE.values())
    assert all(CATALOGUE[part.name] is part for part in parts)
    assert len({part.entry_type for part in parts}) == len(parts)
    relations = [relation for part in parts for relation in part.relations]
    assert len(set(relations)) == len(relations)


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        ({"groupTypes": ["Unified"], "mailEnabled": True, "securityEnabled": False}, "Microsoft365"),
        ({"groupTypes": ["Unified", "DynamicMembership"]}, "Microsoft365"),
        ({"groupTypes": [], "mailEnabled": True, "securityEnabled": True}, "MailEnabledSecurity"),
        ({"groupTypes": [], "mailEnabled": True, "securityEnabled": False}, "Distribution"),
        ({"groupTypes": None, "mailEnabled": False, "securityEnabled": True}, "Security"),
    ],
)
def test_groups_are_called_what_administrators_call_them(group: dict[str, object], kind: str) -> None:
    assert next(part for part in CATALOGUE.values() if part.name == "groups").kind(group) == kind


@pytest.mark.parametrize(("options", "team"), [(["Team"], True), (["Other", "Team"], True), ([], False), (None, False)])
def test_a_team_is_a_group_provisioned_as_one(options: list[str] | None, team: bool) -> None:
    assert is_team({"resourceProvisioningOptions": options}) is team


@given(COUNTS, COUNTS, COUNTS)
def test_counts_add_up_in_any_order(one: Counts, two: Counts, three: Counts) -> None:
    assert (one + two) + three == three + (two + one)
    assert one + Counts() == one
    assert {name: value + two.as_dict()[name] for name, value in one.as_dict().items()} == (one + two).as_dict()


@given(COUNTS)
def test_every_count_travels_under_its_name_in_graph(counts: Counts) -> None:
    told = RunCounts.of(counts).wire()
    assert set(told) == {
        "countImported", "countImportedDeltas", "countImportedReferenceDeltas", "countEntitled",
        "countEntitledForProvisioning", "countExports", "countExported", "countEscrowed", "countEscrowedRaw",
    }  # fmt: skip
    assert list(told.values()) == list(counts.as_dict().values())
