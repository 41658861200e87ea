"""Pages brought into the cache, on both databases: rows, counts, numbers of entries and change numbers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from typing import Any

import pytest

from shared.cache import pages
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.records import ObjectRecord
from shared.models.runs import Counts, RunType
from shared.models.slices import StaleSlice
from tests.cache.work import LATER, NOW, Cache, hard_deleted, live, soft_deleted, with_links

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = PartName
INCREMENTAL = RunType.INCREMENTAL


def change_numbers(rows: dict[Any, Any]) -> dict[Any, int]:
    return {name: row.change_number for name, row in rows.items()}


# --- Objects ------------------------------------------------------------------------------------------------------


def test_an_objects_row_has_its_payload_and_the_columns_people_filter_by(cache: Cache, contoso: Organization) -> None:
    properties = {"displayName": "Ada", "mail": "ada@contoso.com", "userPrincipalName": "ada@contoso.com"}
    properties |= {"userType": "Member"}
    cache.apply(cache.begin(contoso), live("a", **properties, accountEnabled=False, businessPhones=["1", "2"]))
    row = cache.objects(contoso)["a"]
    assert (row.display_name, row.mail, row.user_principal_name) == ("Ada", "ada@contoso.com", "ada@contoso.com")
    assert (row.kind, row.enabled, row.changed_at) == ("Member", False, NOW)
    assert (row.soft_deleted_at, row.deleted_at) == (None, None)
    assert row.payload["businessPhones"] == ["1", "2"]
    assert row.payload["department"] is None


@pytest.mark.parametrize("name", ["displayName", "mail", "userPrincipalName", "userType", "jobTitle"])
def test_a_nul_character_in_a_property_is_kept_in_the_payload(cache: Cache, contoso: Organization, name: str) -> None:
    cache.apply(cache.begin(contoso), live("a", **{name: "a\x00b"}))
    assert cache.objects(contoso)["a"].payload[name] == "a\x00b"


@pytest.mark.parametrize(
    "properties",
    [
        {"displayName": ["wrong"], "mail": 5, "accountEnabled": "yes"},
        {"displayName": "x", "jobTitle": {"deep": [1.5, None, True]}},
        {"userType": 5},
        {"userType": {"is": "wrong"}},
        {"displayName": "\U0001f600 \\N \t\n\r \\. é" + "x" * 300},
    ],
    ids=["columns", "nested", "number as kind", "object as kind", "odd characters"],
)
def test_a_value_of_any_type_is_kept_in_the_payload(
    cache: Cache, contoso: Organization, properties: dict[str, Any]
) -> None:
    cache.apply(cache.begin(contoso), live("a", **properties))
    stored = cache.objects(contoso)["a"].payload
    assert {name: stored[name] for name in properties} == properties


@pytest.mark.parametrize("part", [GROUPS, TEAMS])
@pytest.mark.parametrize("name", ["groupTypes", "resourceProvisioningOptions"])
@pytest.mark.parametrize("value", [5, True, {"Team": 1}])
def test_a_group_with_a_wrongly_typed_property_does_not_stop_the_page(
    cache: Cache, contoso: Organization, part: PartName, name: str, value: Any
) -> None:
    team = live("fine", resourceProvisioningOptions=["Team"])
    cache.apply(cache.begin(contoso, part), live("g", **{name: value}), team)
    assert "fine" in cache.live_objects(contoso, part)


def test_a_first_page_counts_what_it_brought_and_wrote(cache: Cache, contoso: Organization) -> None:
    counts = cache.apply(cache.begin(contoso), live("a"), live("b"), soft_deleted("c"), hard_deleted("d"))
    assert counts == Counts(
        imported=4, imported_deltas=4, entitled=4, entitled_for_provisioning=4, exports=4, exported=4
    )
    assert cache.entries(contoso) == 2
    assert set(cache.objects(contoso)) == {"a", "b", "c", "d"}


def test_an_object_is_imported_once_in_a_run_however_often_it_comes(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    replayed = live("a")
    replayed.occurrences = 3
    counts = cache.apply(work, replayed) + cache.apply(work, live("a")) + cache.apply(work, live("a", displayName="B"))
    assert (counts.imported, counts.imported_deltas, counts.exported) == (1, 5, 2)
    assert cache.entries(contoso) == 1


def test_an_unchanged_object_is_imported_once_in_an_incremental_run_too(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"))
    work = cache.begin(contoso, run_type=INCREMENTAL)
    counts = cache.apply(work, live("a")) + cache.apply(work, live("a"))
    assert (counts.imported, counts.imported_deltas, counts.exported) == (1, 2, 0)


def test_unchanged_rows_are_not_written_again(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    before = cache.objects(contoso)
    assert cache.run(contoso, USERS, live("a"), live("b"), now=LATER).exported == 0
    assert change_numbers(cache.objects(contoso)) == change_numbers(before)
    assert cache.objects(contoso)["a"].changed_at == NOW


def test_a_changed_row_gets_a_larger_number_than_any_row_had_before(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    cache.run(contoso, GROUPS, with_links("g", "a", relation="owners", displayName="G"))
    highest = max(*change_numbers(cache.objects(contoso)).values(), *change_numbers(cache.links(contoso)).values())
    cache.run(contoso, USERS, live("b", displayName="B"), run_type=INCREMENTAL, now=LATER)
    rows = cache.objects(contoso)
    assert rows["b"].change_number > highest
    assert (rows["a"].change_number <= highest, rows["b"].changed_at) == (True, LATER)


def test_a_partial_record_is_laid_over_the_row(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a", displayName="A", mail="m", jobTitle="j"))
    cache.run(contoso, USERS, live("a", displayName="B"), run_type=INCREMENTAL)
    row = cache.objects(contoso)["a"]
    assert (row.display_name, row.mail, row.payload["jobTitle"]) == ("B", "m", "j")


def test_a_full_run_replaces_with_its_first_record_and_lays_the_next_ones_over(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, live("a", displayName="A", mail="m", jobTitle="j"))
    work = cache.begin(contoso)
    cache.apply(work, live("a", displayName="A", mail="m"))
    cache.apply(work, live("a", displayName="B"))
    row = cache.objects(contoso)["a"]
    assert (row.display_name, row.mail, row.payload["jobTitle"]) == ("B", "m", None)


def test_the_life_of_an_object(cache: Cache, contoso: Organization) -> None:
    def then(*page: ObjectRecord) -> tuple[int, bool, bool, str | None]:
        cache.run(contoso, USERS, *page, run_type=INCREMENTAL, now=LATER)
        row = cache.objects(contoso)["a"]
        return cache.entries(contoso), row.soft_deleted_at is None, row.deleted_at is None, row.display_name

    cache.run(contoso, USERS, live("a", displayName="A"))
    assert then(soft_deleted("a")) == (0, False, True, "A")
    assert then(soft_deleted("a")) == (0, False, True, "A")
    assert then(live("a", displayName="A")) == (1, True, True, "A")
    assert then(hard_deleted("a")) == (0, True, False, None)
    assert then(hard_deleted("a")) == (0, True, False, None)
    assert then(live("a", displayName="B")) == (1, True, True, "B")


def test_a_tombstone_keeps_nothing_personal(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a", displayName="A", mail="m", userPrincipalName="u", userType="Member"))
    cache.run(contoso, USERS, hard_deleted("a"), run_type=INCREMENTAL)
    row = cache.objects(contoso)["a"]
    assert (row.payload, row.display_name, row.mail, row.user_principal_name, row.kind) == ({}, None, None, None, None)


def test_teams_are_found_among_the_groups(cache: Cache, contoso: Organization) -> None:
    team = {"resourceProvisioningOptions": ["Team"]}
    counts = cache.run(contoso, TEAMS, live("t", **team), live("g", resourceProvisioningOptions=[]))
    assert (counts.imported, counts.entitled, counts.exported) == (2, 1, 1)
    assert (set(cache.objects(contoso, TEAMS)), cache.entries(contoso, TEAMS)) == ({"t"}, 1)


@pytest.mark.parametrize("changed", [0, 1])
def test_thousands_of_objects_on_one_page(cache: Cache, contoso: Organization, changed: int) -> None:
    # More than one IN list holds, and more than SQLite takes parameters in a statement.
    ids = [f"u{number:05}" for number in range(33_000)]
    work = cache.begin(contoso)
    assert cache.apply(work, *map(live, ids)).exported == len(ids)
    assert cache.entries(contoso) == len(ids)
    cache.finish(work)
    again = [live(name, displayName=f"New {name}") if changed else live(name) for name in ids]
    counts = cache.apply(cache.begin(contoso, run_type=INCREMENTAL), *again)
    assert (counts.imported, counts.exported) == (len(ids), len(ids) * changed)


# --- Links --------------------------------------------------------------------------------------------------------


def test_members_come_in_slices_and_go_one_by_one(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso, MEMBERS)
    first = cache.apply(work, with_links("g", "a", "b"))
    assert (first.imported, first.imported_deltas, first.imported_reference_deltas, first.exported) == (1, 3, 2, 2)
    cache.apply(work, with_links("g", "c"), with_links("h", "a"))
    assert cache.live_links(contoso) == {("g", "a"), ("g", "b"), ("g", "c"), ("h", "a")}
    assert cache.entries(contoso, MEMBERS) == 4
    cache.finish(work)
    cache.run(contoso, MEMBERS, with_links("g", "b", removed=True), run_type=INCREMENTAL, now=LATER)
    assert cache.live_links(contoso) == {("g", "a"), ("g", "c"), ("h", "a")}
    assert (cache.links(contoso)["g", "b"].deleted_at, cache.entries(contoso, MEMBERS)) == (LATER, 3)


def test_the_last_word_of_a_page_on_a_link_counts(cache: Cache, contoso: Organization) -> None:
    record = with_links("g", "a")
    record.links += with_links("g", "a", removed=True).links + with_links("g", "b").links
    counts = cache.apply(cache.begin(contoso, MEMBERS), record)
    assert cache.live_links(contoso) == {("g", "b")}
    assert (counts.imported_reference_deltas, cache.entries(contoso, MEMBERS)) == (3, 1)


def test_removing_a_link_that_never_was_leaves_no_row(cache: Cache, contoso: Organization) -> None:
    assert cache.apply(cache.begin(contoso, MEMBERS), with_links("g", "a", removed=True)).exported == 0
    assert cache.links(contoso) == {}


def test_unchanged_links_are_not_written_again(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "a", "b"))
    before = change_numbers(cache.links(contoso))
    assert cache.run(contoso, MEMBERS, with_links("g", "a", "b"), now=LATER).exported == 0
    assert change_numbers(cache.links(contoso)) == before
    cache.run(contoso, MEMBERS, with_links("g", "b", removed=True), run_type=INCREMENTAL)
    assert cache.links(contoso)["g", "b"].change_number > max(before.values())
    assert cache.links(contoso)["g", "a"].change_number == before["g", "a"]


def test_a_member_may_come_before_it_is_known_as_an_object(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "unknown"))
    assert cache.live_links(contoso) == {("g", "unknown")}


def test_members_and_owners_are_links_of_their_own(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, GROUPS, with_links("g", "a", relation="owners", displayName="G"))
    cache.run(contoso, MEMBERS, with_links("g", "a"))
    cache.run(contoso, MEMBERS, with_links("g", "a", removed=True), run_type=INCREMENTAL)
    rows = cache.read(lambda c: c.exec_driver_sql("SELECT relation, deleted_at IS NULL FROM links").all())
    assert {relation: bool(there) for relation, there in rows} == {"owners": True, "members": False}


@pytest.mark.parametrize(("gone", "part"), [("a", USERS), ("h", GROUPS), ("g", GROUPS)])
def test_what_is_gone_for_good_takes_its_links_along_in_both_directions(
    cache: Cache, contoso: Organization, gone: str, part: PartName
) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    cache.run(contoso, GROUPS, live("g"), live("h"), with_links("g2", "a", relation="owners", displayName="G2"))
    links = {("g", "a"), ("g", "h"), ("h", "b"), ("h", "a"), ("x", "g"), ("g2", "b")}
    cache.run(contoso, MEMBERS, *(with_links(group, target) for group, target in sorted(links)))
    counts = cache.run(contoso, part, hard_deleted(gone), run_type=INCREMENTAL, now=LATER)
    kept = {ends for ends in {*links, ("g2", "a")} if gone not in ends}
    assert cache.live_links(contoso) == kept
    assert counts.exported == 1 + len(links) + 1 - len(kept)
    assert cache.entries(contoso, MEMBERS) == len(kept - {("g2", "a")})


def test_a_group_that_is_gone_in_the_members_feed_takes_its_links_along_too(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "a"), with_links("h", "g"))
    cache.run(contoso, MEMBERS, hard_deleted("g"), run_type=INCREMENTAL)
    assert cache.live_links(contoso) == set()
    assert cache.entries(contoso, MEMBERS) == 0


def test_a_soft_deleted_user_stays_a_member(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"))
    cache.run(contoso, MEMBERS, with_links("g", "a"))
    cache.run(contoso, USERS, soft_deleted("a"), run_type=INCREMENTAL)
    assert cache.live_links(contoso) == {("g", "a")}


@pytest.mark.parametrize("gone", ["a", "g"])
def test_a_link_of_something_that_is_gone_is_not_added(cache: Cache, contoso: Organization, gone: str) -> None:
    part = USERS if gone == "a" else GROUPS
    cache.run(contoso, part, live(gone))
    cache.run(contoso, part, hard_deleted(gone), run_type=INCREMENTAL)
    counts = cache.run(contoso, MEMBERS, with_links("g", "a", "b"))
    assert cache.live_links(contoso) == {("g", "b")} - ({("g", "b")} if gone == "g" else set())
    assert counts.exported == cache.entries(contoso, MEMBERS) == len(cache.live_links(contoso))


def test_a_deleted_team_leaves_the_groups_links_alone(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, TEAMS, live("g", resourceProvisioningOptions=["Team"]))
    cache.run(contoso, MEMBERS, with_links("g", "a"))
    cache.run(contoso, TEAMS, live("g", resourceProvisioningOptions=[]), run_type=INCREMENTAL)
    assert cache.live_links(contoso) == {("g", "a")}


def test_thousands_of_links_on_one_page_and_all_gone_with_their_ends(cache: Cache, contoso: Organization) -> None:
    targets = [f"u{number:05}" for number in range(12_000)]
    cache.run(contoso, USERS, *map(live, targets))
    cache.run(contoso, MEMBERS, with_links("g", *targets))
    assert cache.entries(contoso, MEMBERS) == len(targets)
    counts = cache.run(contoso, USERS, *map(hard_deleted, targets), run_type=INCREMENTAL)
    assert (counts.exported, cache.entries(contoso, MEMBERS)) == (2 * len(targets), 0)
    assert cache.live_links(contoso) == set()


# --- Sweeps -------------------------------------------------------------------------------------------------------


def test_a_full_run_makes_tombstones_of_what_it_did_not_see(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("changed"), live("kept"), live("gone"), soft_deleted("soft"))
    cache.run(contoso, MEMBERS, with_links("g", "gone", "kept"))
    work = cache.begin(contoso)
    cache.apply(work, live("changed", displayName="New"), live("kept"), live("new"))
    counts = cache.sweep(cache.listed(work), now=LATER)
    rows = cache.objects(contoso)
    assert {name for name, row in rows.items() if row.deleted_at} == {"gone", "soft"}
    assert (rows["gone"].deleted_at, rows["gone"].payload, rows["gone"].display_name) == (LATER, {}, None)
    assert cache.live_links(contoso) == {("g", "kept")}
    assert (counts.exported, cache.entries(contoso), cache.entries(contoso, MEMBERS)) == (3, 3, 1)


def test_soft_deleted_objects_are_left_alone_when_their_listing_was_refused(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, live("gone"), soft_deleted("soft"))
    work = cache.begin(contoso)
    cache.apply(work, live("new"))
    cache.sweep(cache.listed(work), soft_deleted_too=False)
    assert {name for name, row in cache.objects(contoso).items() if row.deleted_at} == {"gone"}


def test_an_incomplete_full_run_deletes_nothing_and_the_next_one_begins_anew(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, live("a"), live("b"), live("c"))
    interrupted = cache.begin(contoso)
    cache.apply(interrupted, live("a"))
    assert cache.live_objects(contoso) == {"a", "b", "c"}
    cache.finish(interrupted)
    # What the interrupted run saw counts for nothing in the next one.
    cache.run(contoso, USERS, live("b"))
    assert cache.live_objects(contoso) == {"b"}


def test_links_that_were_not_seen_go_and_those_seen_stay(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "a", "b"), with_links("h", "a"))
    counts = cache.run(contoso, MEMBERS, with_links("g", "a", "c"), now=LATER)
    assert cache.live_links(contoso) == {("g", "a"), ("g", "c")}
    assert cache.links(contoso)["h", "a"].deleted_at == LATER
    assert (counts.exported, cache.entries(contoso, MEMBERS)) == (3, 2)


def test_a_soft_deleted_group_keeps_its_links_though_it_is_not_listed(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, GROUPS, live("g"), live("h"))
    cache.run(contoso, MEMBERS, with_links("g", "a"), with_links("h", "a"))
    cache.run(contoso, GROUPS, soft_deleted("g"), run_type=INCREMENTAL)
    cache.run(contoso, MEMBERS, with_links("h"))
    assert cache.live_links(contoso) == {("g", "a")}


@pytest.mark.parametrize("number", [999, 1000, 1001, 2500])
def test_a_sweep_goes_on_from_transaction_to_transaction_until_nothing_is_left(
    cache: Cache, contoso: Organization, number: int
) -> None:
    ids = [f"u{position:05}" for position in range(number)]
    cache.run(contoso, USERS, *map(live, ids), live("kept"))
    cache.run(contoso, MEMBERS, with_links("g", *(f"x{name}" for name in ids)), with_links("h", "a"))
    users = cache.run(contoso, USERS, live("kept"))
    members = cache.run(contoso, MEMBERS, with_links("h", "a"))
    assert (cache.live_objects(contoso), cache.live_links(contoso)) == ({"kept"}, {("h", "a")})
    assert (users.exported, members.exported) == (number, number)
    assert (cache.entries(contoso), cache.entries(contoso, MEMBERS)) == (1, 1)


def test_notes_on_what_was_seen_do_not_outlive_the_run(cache: Cache, contoso: Organization) -> None:
    for part in (USERS, MEMBERS):
        cache.run(contoso, part, live("a"), with_links("g", "b"))
        cache.run(contoso, part, live("a"), with_links("g", "b"))
    for table in ("seen_objects", "seen_links"):
        assert cache.read(lambda c, table=table: c.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()) == 0


# --- Isolation ----------------------------------------------------------------------------------------------------


def test_organizations_with_the_same_ids_never_mix(cache: Cache, contoso: Organization) -> None:
    fabrikam = cache.register(2)
    for organization, suffix in ((contoso, "C"), (fabrikam, "F")):
        cache.run(organization, USERS, live("a", displayName=suffix), live("b", displayName=suffix))
        cache.run(organization, GROUPS, live("g", displayName=suffix))
        cache.run(organization, MEMBERS, with_links("g", "a", "b"))
    before = (cache.objects(fabrikam), cache.links(fabrikam), cache.entries(fabrikam, MEMBERS))
    # Changes, hard deletions with their links, and sweeps of one leave every row of the other as it was.
    cache.run(contoso, USERS, live("a", displayName="New"), hard_deleted("b"), run_type=INCREMENTAL)
    cache.run(contoso, MEMBERS, with_links("g", "a", removed=True), run_type=INCREMENTAL)
    cache.run(contoso, USERS)
    cache.run(contoso, GROUPS)
    cache.run(contoso, MEMBERS)
    assert (cache.live_objects(contoso), cache.live_links(contoso)) == (set(), set())
    assert (cache.objects(fabrikam), cache.links(fabrikam), cache.entries(fabrikam, MEMBERS)) == before


def test_a_tombstone_of_one_organization_keeps_no_link_of_another_away(cache: Cache, contoso: Organization) -> None:
    fabrikam = cache.register(2)
    cache.run(contoso, USERS, live("a"))
    cache.run(contoso, USERS, hard_deleted("a"), run_type=INCREMENTAL)
    cache.run(fabrikam, MEMBERS, with_links("g", "a"))
    assert cache.live_links(fabrikam) == {("g", "a")}


def test_a_page_whose_transaction_fails_leaves_nothing_behind(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    cache.apply(work, live("a"))
    with pytest.raises(StaleSlice):
        cache.apply(replace(work, fence=work.fence - 1), live("b"), hard_deleted("a"))
    assert cache.live_objects(contoso) == {"a"}
    assert cache.entries(contoso) == 1


def test_a_link_that_two_parts_end_at_the_same_time_is_counted_once(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("u1"), live("u2"))
    cache.run(contoso, MEMBERS, with_links("g1", "u1", "u2"))
    messages = cache.queue(contoso, USERS, MEMBERS)
    users, listed = (cache.take(message) for message in messages)
    assert users
    assert listed
    cache.apply(listed, with_links("g1", "u2"))
    listed = cache.listed(listed)

    with ThreadPoolExecutor(1) as thread:
        with cache.database.write() as connection:
            pages.apply_records(connection, users, [hard_deleted("u1")], NOW, holds_deletions=False)
            sweeping = thread.submit(cache.sweep, listed)
            # Time for it to read what it may read before this transaction ends.
            with pytest.raises(FutureTimeout):
                sweeping.result(timeout=0.5)
        sweeping.result(timeout=30)

    assert cache.live_links(contoso) == {("g1", "u2")}
    assert cache.entries(contoso, MEMBERS) == 1
