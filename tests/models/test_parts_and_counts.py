"""The part catalogue is consistent, and counts add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.models.parts import CATALOGUE, Part, is_team
from shared.models.runs import Counts, RunCounts

PARTS = pytest.mark.parametrize("part", CATALOGUE.values(), ids=lambda part: part.name)
COUNTS = st.builds(Counts, *[st.integers(0, 10**9)] * 9)


@PARTS
def test_every_part_asks_for_the_id_and_for_its_relations_once(part: Part) -> None:
    assert part.select[0] == "id"
    assert set(part.relations) <= set(part.select)
    assert len(set(part.select)) == len(part.select)
    assert not set(part.properties) & set(part.relations)


@PARTS
def test_every_part_says_which_permission_it_needs_and_how_it_is_counted(part: Part) -> None:
    assert part.permission.endswith(".Read.All")
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
