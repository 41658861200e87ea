"""What a record does to an object's row, whatever came before and however often it comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cache.changes import Decision, Effect, StoredObject, decide, needs_payload
from shared.models.parts import CATALOGUE, Part, PartName
from shared.models.records import ObjectRecord, Removal
from tests.cache.work import hard_deleted, live, soft_deleted

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
USERS, TEAMS, SITES = CATALOGUE[PartName.USERS], CATALOGUE[PartName.TEAMS], CATALOGUE[PartName.SITES]
TEAM: dict[str, Any] = {"resourceProvisioningOptions": ["Team"]}


def store(decision: Decision, before: StoredObject | None, generation: int = 1) -> StoredObject | None:
    """The row after the decision, as the database would give it back."""
    if decision.effect is not Effect.WRITE:
        return before
    return StoredObject(
        decision.record_digest,
        generation,
        decision.soft_deleted_at,
        decision.deleted_at,
        dict(decision.payload),
    )


def after(
    *records: ObjectRecord, stored: StoredObject | None = None, part: Part = USERS, now: datetime = NOW
) -> StoredObject | None:
    """The row after the records of incremental pages."""
    for record in records:
        stored = store(decide(part, record, stored, replaces=False, now=now), stored)
    return stored


def known(*records: ObjectRecord, part: Part = USERS) -> StoredObject:
    row = after(*records, part=part)
    assert row is not None
    return row


def payload(row: StoredObject | None) -> dict[str, Any]:
    assert row is not None
    return {name: value for name, value in (row.payload or {}).items() if value is not None}


def test_a_new_object_has_every_selected_property() -> None:
    row = known(live("a", displayName="A"))
    assert row.live
    assert set(row.payload or {}) == set(USERS.properties)
    assert payload(row) == {"id": "a", "displayName": "A"}


def test_the_same_record_again_keeps_the_row() -> None:
    row = known(live("a", displayName="A"))
    assert decide(USERS, live("a", displayName="A"), row, replaces=False, now=LATER).effect is Effect.KEEP


def test_a_partial_record_is_laid_over_what_is_known() -> None:
    row = after(live("a", displayName="A", mail="m"), live("a", displayName="B"))
    assert payload(row) == {"id": "a", "displayName": "B", "mail": "m"}


def test_a_property_sent_as_null_is_cleared() -> None:
    assert payload(after(live("a", displayName="A", mail="m"), live("a", mail=None))) == {"id": "a", "displayName": "A"}


def test_the_first_record_of_a_full_run_replaces_what_is_known() -> None:
    row = known(live("a", displayName="A", mail="m"))
    decision = decide(USERS, live("a", displayName="A"), row, replaces=True, now=NOW)
    assert decision.effect is Effect.WRITE
    assert decision.payload["mail"] is None


@pytest.mark.parametrize("record", [ObjectRecord("a"), soft_deleted("a")], ids=["links only", "soft deletion"])
def test_a_record_without_properties_replaces_nothing(record: ObjectRecord) -> None:
    row = known(live("a", displayName="A", mail="m"))
    assert needs_payload(record, row, replaces=True)
    assert decide(USERS, record, row, replaces=True, now=NOW).payload["mail"] == "m"


def test_a_soft_deleted_object_keeps_its_payload_and_the_time_it_was_first_seen_so() -> None:
    row = known(live("a", displayName="A"), soft_deleted("a"))
    assert (row.soft_deleted_at, row.deleted_at, row.live) == (NOW, None, False)
    assert payload(row) == {"id": "a", "displayName": "A"}
    assert decide(USERS, soft_deleted("a"), row, replaces=False, now=LATER).effect is Effect.KEEP


def test_a_restored_object_is_live_again() -> None:
    row = known(live("a", displayName="A"), soft_deleted("a"), live("a", displayName="A"))
    assert row.live


def test_what_is_gone_for_good_is_a_tombstone_without_its_payload() -> None:
    row = known(live("a", displayName="A"), hard_deleted("a"))
    assert (row.deleted_at, row.live, row.payload) == (NOW, False, {})


@pytest.mark.parametrize("late", [hard_deleted("a"), soft_deleted("a"), soft_deleted("a", mail="m"), ObjectRecord("a")])
def test_a_tombstone_is_not_touched_by_another_removal_or_by_late_links(late: ObjectRecord) -> None:
    row = known(live("a", displayName="A"), hard_deleted("a"))
    assert decide(USERS, late, row, replaces=False, now=LATER).effect is Effect.IGNORE


def test_an_object_that_was_never_known_leaves_a_tombstone_so_that_an_older_record_cannot_bring_it_back() -> None:
    row = known(hard_deleted("a"))
    assert row.deleted_at is not None
    assert decide(USERS, soft_deleted("a"), row, replaces=False, now=LATER).effect is Effect.IGNORE


def test_a_group_that_was_never_known_as_a_team_leaves_no_tombstone_among_the_teams() -> None:
    assert after(hard_deleted("g"), part=TEAMS) is None


def test_an_object_that_comes_back_has_nothing_of_its_former_self() -> None:
    row = known(live("a", displayName="A", mail="m"), hard_deleted("a"), live("a", displayName="B"))
    assert payload(row) == {"id": "a", "displayName": "B"}
    assert row.live


def test_a_group_that_is_no_team_is_no_entry_until_it_becomes_one() -> None:
    assert after(live("g", displayName="G", resourceProvisioningOptions=[]), part=TEAMS) is None
    row = known(live("g", displayName="G", **TEAM), part=TEAMS)
    assert row.live
    no_longer = after(live("g", resourceProvisioningOptions=[]), stored=row, part=TEAMS)
    assert no_longer is not None
    assert no_longer.deleted_at == NOW


def test_a_partial_record_of_a_team_keeps_it_a_team() -> None:
    row = known(live("g", displayName="G", **TEAM), live("g", displayName="H"), part=TEAMS)
    assert (row.live, payload(row)["displayName"]) == (True, "H")


VALUES = st.none() | st.sampled_from(["x", "y"])
RECORDS = st.one_of(
    st.just(hard_deleted("a")),
    st.just(soft_deleted("a")),
    st.just(ObjectRecord("a")),
    st.dictionaries(st.sampled_from(["displayName", "mail", "jobTitle"]), VALUES, min_size=1).map(
        lambda properties: live("a", **properties)
    ),
    st.dictionaries(st.sampled_from(["displayName", "mail"]), VALUES, min_size=1).map(
        lambda properties: soft_deleted("a", **properties)
    ),
    st.sampled_from([["Team"], [], None]).map(lambda options: live("a", resourceProvisioningOptions=options)),
)
PART = st.sampled_from([USERS, TEAMS])


@given(st.lists(RECORDS, max_size=8), PART)
def test_pages_that_come_twice_end_in_the_same_row(records: list[ObjectRecord], part: Part) -> None:
    # An object that is known: of one that never was, a removal leaves nothing behind that a replay could meet.
    first = known(live("a", displayName="A", **TEAM), part=part)
    once = after(*records, stored=first, part=part)
    assert after(*records, stored=once, part=part) == once


@given(st.lists(RECORDS, max_size=8), PART, st.integers(0, 8))
def test_a_record_that_comes_twice_in_a_row_changes_nothing_the_second_time(
    records: list[ObjectRecord], part: Part, position: int
) -> None:
    doubled = records[:position] + records[position : position + 1] + records[position:]
    assert after(*doubled, part=part) == after(*records, part=part)


@given(st.lists(RECORDS, max_size=8), PART)
def test_a_row_is_either_a_tombstone_without_payload_or_in_scope_with_all_properties(
    records: list[ObjectRecord], part: Part
) -> None:
    row = after(*records, part=part)
    if row is not None and row.deleted_at is not None:
        assert row.payload == {}
    elif row is not None:
        assert row.payload is not None
        assert set(part.properties) <= set(row.payload)
        assert part.in_scope(row.payload)


@given(st.lists(RECORDS, max_size=8), PART, st.booleans())
def test_the_stored_payload_is_seen_wherever_it_counts(records: list[ObjectRecord], part: Part, replaces: bool) -> None:
    # Payloads that "needs_payload" calls needless are not read, so the outcome must not depend on them.
    for record in records:
        row = known(live("a", displayName="A", mail="m", **TEAM), part=part)
        if not needs_payload(record, row, replaces=replaces):
            blind = StoredObject(row.record_digest, row.generation, row.soft_deleted_at, row.deleted_at)
            assert decide(part, record, row, replaces=replaces, now=NOW) == decide(
                part, record, blind, replaces=replaces, now=NOW
            )


def test_removal_words_are_graphs() -> None:
    assert {Removal("changed"), Removal("deleted")} == set(Removal)


WHOLE = "contoso.sharepoint.com,c0,a"


@pytest.mark.parametrize("replaces", [False, True])
def test_a_sites_whole_id_is_never_overwritten_by_its_webs_alone(replaces: bool) -> None:
    row = known(ObjectRecord("a", {"id": WHOLE, "displayName": "Old"}), part=SITES)
    record = ObjectRecord("a", {"id": "a", "displayName": "New"})
    assert needs_payload(record, row, replaces=replaces)
    decision = decide(SITES, record, row, replaces=replaces, now=NOW)
    assert (decision.payload["id"], decision.payload["displayName"]) == (WHOLE, "New")


def test_a_sites_id_is_made_whole_by_what_is_known_of_it_and_what_comes() -> None:
    ids = {"siteId": "c0", "webId": "a"}
    row = known(ObjectRecord("a", {"id": "a", "sharepointIds": ids}), part=SITES)
    assert payload(row)["id"] == "a"
    found = after(ObjectRecord("a", {"id": "a", "webUrl": "https://contoso.sharepoint.com/a"}), stored=row, part=SITES)
    assert payload(found)["id"] == WHOLE


def test_the_webs_id_alone_is_kept_where_nothing_better_is_known() -> None:
    assert payload(known(ObjectRecord("a", {"id": "A", "displayName": "Old"}), part=SITES))["id"] == "A"
