"""Deletions wait for the end of a part's run, beyond a threshold for approval; until then nobody misses anything."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import func, select, update

from shared.cache import (
    escrows,
    held_deletions,
    organizations,
    pages,
    part_states,
    purge,
    selections,
    sweep,
)
from shared.cache import tables as t
from shared.cache.erasure import erase_job
from shared.models.escrows import HeldDeletionEntity
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE, PartName
from shared.models.records import BrokenRecord, ObjectRecord
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError
from tests.cache.work import LATER, NOW, Cache, hard_deleted, live, soft_deleted, with_links

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = PartName
INCREMENTAL = RunType.INCREMENTAL
REMOVALS = pytest.mark.parametrize("removal", [soft_deleted, hard_deleted], ids=["soft", "hard"])


def waiting(cache: Cache, organization: Organization) -> dict[tuple[PartName, str], HeldDeletionEntity]:
    found = cache.read(lambda c: held_deletions.list_all(c, organization.key, 0, 10_000))
    return {(held.part, held.object_id): held for held in found}


def names(cache: Cache, organization: Organization, part: PartName = USERS) -> set[str]:
    return {object_id for name, object_id in waiting(cache, organization) if name is part}


def approve(cache: Cache, organization: Organization) -> None:
    cache.write(lambda c: held_deletions.approve(c, organization.key))


def run(
    cache: Cache,
    organization: Organization,
    *page: ObjectRecord,
    part: PartName = USERS,
    run_type: RunType = INCREMENTAL,
    threshold: int | None = 500,
    now: datetime = NOW,
) -> Counts:
    """A whole run of one page in the order of its stages, with the job's threshold."""
    work = cache.begin(organization, part, run_type, now)
    counts = cache.apply_page(work, *page, now=now)
    if run_type is RunType.FULL:
        work = cache.listed(work)
        if work.part.keeps_objects:
            counts += to_the_end(cache, work, lambda c, step: pages.sweep_objects(c, step, now, soft_deleted_too=True))
        cache.write(lambda c: escrows.forget_unseen(c, work))
    counts += cache.carry_out_deletions(work, threshold, now)
    if run_type is RunType.FULL and work.part.relations:
        counts += to_the_end(cache, work, lambda c, step: pages.sweep_links(c, step, now))
    cache.finish(work, now)
    return counts


def to_the_end(cache: Cache, work: Slice, step: Callable[[Any, Slice], tuple[Counts, str | None]]) -> Counts:
    total, cursor = Counts(), None
    while True:
        counts, cursor = cache.write(lambda c, at=cursor: step(c, replace(work, cursor=at)))
        total += counts
        if cursor is None:
            return total


def full(cache: Cache, organization: Organization, *page: ObjectRecord, **how: Any) -> Counts:
    return run(cache, organization, *page, run_type=RunType.FULL, **how)


# --- Wait -------------------------------------------------------------------------------------------------------------


@REMOVALS
def test_nobody_misses_an_object_before_the_number_of_deletions_is_known(
    cache: Cache, contoso: Organization, removal: Any
) -> None:
    cache.run(contoso, USERS, live("a", displayName="Ada"), live("b"))
    cache.run(contoso, MEMBERS, with_links("g", "a"))
    before = cache.objects(contoso), cache.links(contoso)
    work = cache.begin(contoso, run_type=INCREMENTAL, now=LATER)
    cache.apply_page(work, removal("a"), now=LATER)
    assert (cache.objects(contoso), cache.links(contoso)) == before
    assert cache.entries(contoso) == 2
    reason = "changed" if removal is soft_deleted else "deleted"
    assert waiting(cache, contoso) == {
        (USERS, "a"): HeldDeletionEntity(
            part=USERS,
            object_id="a",
            display_name="Ada",
            reason=reason,
            held_date_time=LATER,
            approved=False,
        )
    }

    cache.carry_out_deletions(work, threshold=1, now=LATER)
    row = cache.objects(contoso)["a"]
    assert (row.soft_deleted_at, row.deleted_at) == ((LATER, None) if removal is soft_deleted else (None, LATER))
    assert row.display_name == ("Ada" if removal is soft_deleted else None)
    assert cache.live_links(contoso) == ({("g", "a")} if removal is soft_deleted else set())
    assert (cache.entries(contoso), waiting(cache, contoso)) == (1, {})


def test_an_object_that_a_complete_listing_does_not_name_waits_too(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"), soft_deleted("s"))
    work = cache.begin(contoso)
    cache.apply_page(work, live("b"))
    work = cache.listed(work)
    to_the_end(cache, work, lambda c, step: pages.sweep_objects(c, step, LATER, soft_deleted_too=True))
    held = waiting(cache, contoso)
    assert {name: entity.reason for (_, name), entity in held.items()} == {"a": "absent"}
    assert cache.live_objects(contoso) == {"a", "b"}
    # Nobody saw the soft-deleted one, so that it need not wait.
    assert cache.objects(contoso)["s"].deleted_at == LATER
    cache.carry_out_deletions(work, threshold=1, now=LATER)
    assert (cache.live_objects(contoso), cache.objects(contoso)["a"].deleted_at) == ({"b"}, LATER)


@pytest.mark.parametrize("prepared", ["unknown", "soft-deleted", "gone", "out of scope"])
def test_what_nobody_sees_does_not_count_towards_the_threshold(
    cache: Cache, contoso: Organization, prepared: str
) -> None:
    part = TEAMS if prepared == "out of scope" else USERS
    pages_of = {"soft-deleted": [soft_deleted("a")], "gone": [hard_deleted("a")], "out of scope": [live("a")]}
    cache.run(contoso, part, *pages_of.get(prepared, []))
    run(cache, contoso, hard_deleted("a"), part=part, threshold=0)
    assert waiting(cache, contoso) == {}
    assert all(row.deleted_at for row in cache.objects(contoso, part).values())


@pytest.mark.parametrize(("number", "threshold"), [(0, 0), (3, 3), (3, 4), (3, None)])
def test_deletions_up_to_the_threshold_are_carried_out(
    cache: Cache, contoso: Organization, number: int, threshold: int | None
) -> None:
    cache.run(contoso, USERS, *map(live, "abcde"))
    counts = run(cache, contoso, *map(soft_deleted, "abcde"[:number]), threshold=threshold)
    assert cache.live_objects(contoso) == set("abcde"[number:])
    assert (waiting(cache, contoso), counts.exports, counts.exported) == ({}, number, number)


@pytest.mark.parametrize("run_type", RunType)
@pytest.mark.parametrize(("number", "threshold"), [(1, 0), (4, 3), (5, 3)])
def test_more_deletions_than_that_are_all_held_back(
    cache: Cache, contoso: Organization, run_type: RunType, number: int, threshold: int
) -> None:
    cache.run(contoso, USERS, *map(live, "abcde"))
    before = cache.objects(contoso)
    gone = "abcde"[:number]
    page = map(live, "abcde"[number:]) if run_type is RunType.FULL else map(hard_deleted, gone)
    counts = run(cache, contoso, *page, run_type=run_type, threshold=threshold, now=LATER)
    assert cache.objects(contoso) == before
    assert (names(cache, contoso), cache.entries(contoso)) == (set(gone), 5)
    # They were to be written, and were not.
    assert (counts.exports, counts.exported) == (number, 0)


TEAM = {"resourceProvisioningOptions": ["Team"]}


@pytest.mark.parametrize("run_type", RunType)
@pytest.mark.parametrize("threshold", [3, 4])
def test_objects_that_leave_the_part_without_being_deleted_count_as_deletions(
    cache: Cache, contoso: Organization, run_type: RunType, threshold: int
) -> None:
    cache.run(contoso, TEAMS, *(live(name, **TEAM) for name in "abcde"))
    cache.run(contoso, MEMBERS, with_links("a", "m"))
    before = cache.objects(contoso, TEAMS)
    page = [live(name, resourceProvisioningOptions=[]) for name in "abcd"]
    run(cache, contoso, *page, live("e", **TEAM), part=TEAMS, run_type=run_type, threshold=threshold)
    if threshold == 3:
        assert cache.objects(contoso, TEAMS) == before
        assert {held.reason for held in waiting(cache, contoso).values()} == {"outOfScope"}
        run(cache, contoso, *(live(name, **TEAM) for name in "ab"), part=TEAMS, threshold=1)
        assert names(cache, contoso, TEAMS) == set("cd")
        approve(cache, contoso)
        run(cache, contoso, part=TEAMS, threshold=0)
    gone = set("abcd") if threshold == 4 else set("cd")
    assert cache.live_objects(contoso, TEAMS) == set("abcde") - gone
    assert (waiting(cache, contoso), cache.entries(contoso, TEAMS)) == ({}, 5 - len(gone))
    assert cache.live_links(contoso) == {("a", "m")}


@pytest.mark.parametrize(
    ("number", "of", "threshold", "held_back"),
    [(5, 5, 500, False), (6, 12, 500, False), (6, 11, 500, True), (6, 11, None, False), (6, 12, 5, True)],
)
def test_more_than_a_handful_is_held_back_too_when_it_is_a_large_share_of_the_part(
    cache: Cache, contoso: Organization, number: int, of: int, threshold: int | None, held_back: bool
) -> None:
    ids = [f"u{position:02}" for position in range(of)]
    cache.run(contoso, USERS, *map(live, ids))
    work = cache.begin(contoso, run_type=INCREMENTAL)
    cache.apply_page(work, *map(soft_deleted, ids[:number]))
    cache.write(lambda c: pages.carry_out_deletions(c, work, NOW, threshold, 0.5))
    assert len(cache.live_objects(contoso)) == (of if held_back else of - number)
    assert len(names(cache, contoso)) == (number if held_back else 0)


def test_the_changes_that_come_with_too_many_deletions_are_made(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, *map(live, "abcd"))
    run(cache, contoso, live("a", displayName="New"), live("e"), *map(soft_deleted, "bcd"), threshold=2)
    assert cache.live_objects(contoso) == set("abcde")
    assert cache.objects(contoso)["a"].display_name == "New"


def test_deletions_of_several_runs_add_up(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, *map(live, "abcdef"))
    run(cache, contoso, *map(soft_deleted, "abc"), threshold=2)
    run(cache, contoso, soft_deleted("d"), threshold=2, now=LATER)
    assert (names(cache, contoso), cache.live_objects(contoso)) == (set("abcd"), set("abcdef"))
    run(cache, contoso, threshold=4)
    assert (names(cache, contoso), cache.live_objects(contoso)) == (set(), set("ef"))


def test_a_deletion_that_is_told_again_keeps_its_date_and_its_approval(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, *map(live, "ab"))
    run(cache, contoso, soft_deleted("a"), threshold=0)
    approve(cache, contoso)
    work = cache.begin(contoso, run_type=INCREMENTAL, now=LATER)
    cache.apply_page(work, soft_deleted("a"), soft_deleted("b"), now=LATER)
    held = waiting(cache, contoso)
    assert [(held[USERS, name].held_date_time, held[USERS, name].approved) for name in "ab"] == [
        (NOW, True),
        (LATER, False),
    ]


# --- Approval ---------------------------------------------------------------------------------------------------------


def test_approval_is_for_those_that_were_held_back_then_and_no_others(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, *map(live, "abcdef"))
    run(cache, contoso, *map(soft_deleted, "abc"), threshold=2)
    approve(cache, contoso)
    counts = run(cache, contoso, *map(hard_deleted, "def"), threshold=2)
    assert cache.live_objects(contoso) == set("def")
    assert (names(cache, contoso), counts.exports, counts.exported) == (set("def"), 6, 3)
    assert not any(held.approved for held in waiting(cache, contoso).values())


def test_approved_deletions_do_not_count_towards_the_threshold(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, *map(live, "abcdef"))
    run(cache, contoso, *map(soft_deleted, "abc"), threshold=2)
    approve(cache, contoso)
    run(cache, contoso, *map(soft_deleted, "de"), threshold=2)
    assert (cache.live_objects(contoso), waiting(cache, contoso)) == ({"f"}, {})


def test_an_approval_is_good_for_every_part_and_one_organization(cache: Cache, contoso: Organization) -> None:
    fabrikam = cache.register(2)
    for organization in (contoso, fabrikam):
        for part in (USERS, SITES):
            cache.run(organization, part, live("a"), live("b"))
            run(cache, organization, hard_deleted("a"), part=part, threshold=0)
    approve(cache, contoso)
    for organization in (contoso, fabrikam):
        for part in (USERS, SITES):
            run(cache, organization, part=part, threshold=0)
            assert cache.live_objects(organization, part) == ({"b"} if organization is contoso else {"a", "b"})


@pytest.mark.parametrize("number", [999, 1_000, 1_001, 2_500])
def test_deletions_are_carried_out_in_transactions_of_bounded_size(
    cache: Cache, contoso: Organization, number: int
) -> None:
    ids = [f"u{position:05}" for position in range(number)]
    cache.run(contoso, USERS, *map(live, ids), live("kept"))
    work = cache.begin(contoso, run_type=INCREMENTAL)
    cache.apply_page(work, *map(hard_deleted, ids))
    before = cache.read(lambda c: c.execute(select(func.max(t.objects.c.change_number))).scalar_one())
    counts = cache.carry_out_deletions(work, threshold=number)
    assert (counts.exported, cache.live_objects(contoso), cache.entries(contoso)) == (number, {"kept"}, 1)
    per_transaction = select(func.count()).where(t.objects.c.change_number > before).group_by(t.objects.c.change_number)
    sizes = cache.read(lambda c: c.execute(per_transaction).scalars().all())
    assert sum(sizes) == number
    assert max(sizes) <= sweep.ROWS_PER_TRANSACTION


def test_the_same_deletions_go_on_when_their_transactions_are_interrupted(cache: Cache, contoso: Organization) -> None:
    ids = [f"u{position:05}" for position in range(1_500)]
    cache.run(contoso, USERS, *map(live, ids))
    work = cache.begin(contoso, run_type=INCREMENTAL)
    cache.apply_page(work, *map(hard_deleted, ids))
    _, left = cache.write(lambda c: pages.carry_out_deletions(c, work, NOW, 1_500))
    assert left
    assert len(cache.live_objects(contoso)) == 500
    # The threshold was lowered in between: what is left is fewer than that.
    cache.carry_out_deletions(work, threshold=500)
    assert (cache.live_objects(contoso), waiting(cache, contoso)) == (set(), {})


# --- Objects that come back -------------------------------------------------------------------------------------------


@REMOVALS
def test_an_object_that_comes_back_within_the_run_is_not_deleted(
    cache: Cache, contoso: Organization, removal: Any
) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    work = cache.begin(contoso, run_type=INCREMENTAL)
    cache.apply_page(work, removal("a"), removal("b"))
    cache.apply_page(work, live("a", displayName="Back"))
    cache.carry_out_deletions(work)
    assert (cache.live_objects(contoso), cache.objects(contoso)["a"].display_name) == ({"a"}, "Back")
    assert (waiting(cache, contoso), cache.entries(contoso)) == ({}, 1)


@REMOVALS
@pytest.mark.parametrize("approved", [False, True])
@pytest.mark.parametrize("run_type", RunType)
def test_an_object_that_comes_back_in_a_later_run_is_released(
    cache: Cache, contoso: Organization, removal: Any, approved: bool, run_type: RunType
) -> None:
    cache.run(contoso, USERS, *map(live, "abc"))
    run(cache, contoso, *map(removal, "abc"), threshold=2)
    if approved:
        approve(cache, contoso)
    run(cache, contoso, *map(live, "abc"), run_type=run_type, threshold=2)
    assert (cache.live_objects(contoso), waiting(cache, contoso)) == (set("abc"), {})


def test_an_approval_does_not_outlive_the_return_of_the_object(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, *map(live, "abc"))
    run(cache, contoso, *map(soft_deleted, "abc"), threshold=2)
    approve(cache, contoso)
    work = cache.begin(contoso, run_type=INCREMENTAL)
    cache.apply_page(work, *map(live, "abc"))
    cache.apply_page(work, *map(soft_deleted, "abc"))
    cache.carry_out_deletions(work, threshold=2)
    assert (cache.live_objects(contoso), names(cache, contoso)) == (set("abc"), set("abc"))


def test_what_is_gone_for_good_stays_so_when_an_older_word_of_it_comes(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    work = cache.begin(contoso, run_type=INCREMENTAL)
    cache.apply_page(work, hard_deleted("a"))
    # Graph promises no order and sends some records twice (graph.md §4.4).
    cache.apply_page(work, soft_deleted("a"))
    cache.carry_out_deletions(work, now=LATER)
    assert cache.objects(contoso)["a"].deleted_at == LATER


def test_a_soft_deletion_that_waits_becomes_one_for_good(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    run(cache, contoso, soft_deleted("a"), threshold=0)
    run(cache, contoso, hard_deleted("a"), now=LATER)
    assert cache.objects(contoso)["a"].deleted_at == LATER


def test_a_full_run_without_the_list_of_soft_deleted_objects_makes_no_soft_deletion_one_for_good(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, *map(live, "abc"))
    run(cache, contoso, *map(soft_deleted, "ab"), threshold=1)
    work = cache.begin(contoso)
    cache.apply_page(work, live("c"))
    work = cache.listed(work)
    to_the_end(cache, work, lambda c, step: pages.sweep_objects(c, step, NOW, soft_deleted_too=False))
    cache.carry_out_deletions(work)
    assert {name: row.deleted_at is None for name, row in cache.objects(contoso).items()} == dict.fromkeys("abc", True)
    assert cache.live_objects(contoso) == {"c"}


@pytest.mark.parametrize("how", ["approved", "threshold", "full"])
def test_what_waits_is_not_deleted_while_the_last_word_of_it_cannot_be_read(
    cache: Cache, contoso: Organization, how: str
) -> None:
    cache.run(contoso, USERS, *map(live, "abc"))
    cache.run(contoso, MEMBERS, with_links("g", "a", "b"))
    run(cache, contoso, *map(hard_deleted, "ab"), threshold=1)
    if how == "approved":
        approve(cache, contoso)
    work = cache.begin(contoso, run_type=RunType.FULL if how == "full" else INCREMENTAL)
    # Perhaps it says that the user is there again.
    error = SynchronizationError(code="MalformedRecord", message="It cannot be read.")
    cache.apply_page(work, live("c"), broken=[BrokenRecord("a", error, b'{"id":"a"}')])
    cache.carry_out_deletions(work, threshold=0 if how == "approved" else 1, now=LATER)
    assert cache.live_objects(contoso) == {"a", "c"}
    assert cache.live_links(contoso) == {("g", "a")}
    # It is no reason for a quarantine either.
    assert cache.read(lambda c: held_deletions.count(c, work)) == 0

    cache.apply_page(work, replace(live("a"), links_complete=True))
    cache.carry_out_deletions(work)
    assert (cache.live_objects(contoso), waiting(cache, contoso)) == ({"a", "c"}, {})


def test_an_object_that_failed_once_and_is_in_no_listing_any_more_goes(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, *map(live, "abc"))
    work = cache.begin(contoso)
    error = SynchronizationError(code="MalformedRecord", message="It cannot be read.")
    cache.apply_page(work, live("b"), live("c"), broken=[BrokenRecord("a", error, b'{"id":"a"}')])
    cache.sweep(cache.listed(work))
    cache.finish(work)
    assert cache.live_objects(contoso) == {"a", "b", "c"}
    full(cache, contoso, live("b"), live("c"))
    assert (cache.live_objects(contoso), waiting(cache, contoso)) == ({"b", "c"}, {})


# --- Groups and their links -------------------------------------------------------------------------------------------


def with_groups(cache: Cache, organization: Organization) -> None:
    """Three groups with owners and members."""
    groups = [with_links(name, "o", relation="owners", displayName=name) for name in ("g", "h", "i")]
    cache.run(organization, GROUPS, *groups)
    cache.run(organization, MEMBERS, *(with_links(name, "m", "n") for name in ("g", "h", "i")))


def owners_and_members(cache: Cache, organization: Organization, *groups: str) -> bool:
    """Whether these groups, and no others, have their links."""
    expected = {(group, target) for group in groups for target in "omn"}
    return cache.live_links(organization) == expected and cache.entries(organization, MEMBERS) == 2 * len(groups)


@REMOVALS
def test_the_links_of_groups_that_are_held_back_stay_and_go_with_them(
    cache: Cache, contoso: Organization, removal: Any
) -> None:
    with_groups(cache, contoso)
    for part in (GROUPS, MEMBERS):
        run(cache, contoso, *map(removal, "gh"), part=part, threshold=1)
    assert owners_and_members(cache, contoso, "g", "h", "i")
    approve(cache, contoso)
    for part in (GROUPS, MEMBERS):
        run(cache, contoso, part=part, threshold=1)
    assert cache.live_objects(contoso, GROUPS) == {"i"}
    # The links of a soft-deleted group come back with it.
    assert owners_and_members(cache, contoso, *("ghi" if removal is soft_deleted else "i"))


@pytest.mark.parametrize("order", [(GROUPS, MEMBERS), (MEMBERS, GROUPS)])
def test_full_runs_leave_the_links_of_groups_alone_that_are_held_back(
    cache: Cache, contoso: Organization, order: Collection[PartName]
) -> None:
    with_groups(cache, contoso)
    for _ in range(2):
        for part in order:
            page = with_links("i", "m", "n") if part is MEMBERS else with_links("i", "o", relation="owners")
            full(cache, contoso, page, part=part, threshold=1, now=LATER)
    assert cache.live_objects(contoso, GROUPS) == {"g", "h", "i"}
    assert owners_and_members(cache, contoso, "g", "h", "i")


@pytest.mark.parametrize("removal", [soft_deleted, hard_deleted])
def test_full_runs_that_name_groups_as_deleted_leave_the_links_of_those_alone_that_are_held_back(
    cache: Cache, contoso: Organization, removal: Any
) -> None:
    with_groups(cache, contoso)
    # As the list of soft-deleted groups does, and @removed in an initial round (graph.md §4.4).
    for part, page in ((GROUPS, with_links("i", "o", relation="owners")), (MEMBERS, with_links("i", "m", "n"))):
        full(cache, contoso, page, *map(removal, "gh"), part=part, threshold=1, now=LATER)
    assert cache.live_objects(contoso, GROUPS) == {"g", "h", "i"}
    assert owners_and_members(cache, contoso, "g", "h", "i")


def test_groups_that_are_held_back_keep_members_though_fewer_of_them_are_gone_for_good(
    cache: Cache, contoso: Organization
) -> None:
    with_groups(cache, contoso)
    # Soft-deleted groups are nothing to the part groupMembers, so that it counts fewer deletions than the part groups.
    for part in (GROUPS, MEMBERS):
        run(cache, contoso, soft_deleted("g"), hard_deleted("h"), part=part, threshold=1)
    assert cache.live_objects(contoso, GROUPS) == {"g", "h", "i"}
    assert owners_and_members(cache, contoso, "g", "h", "i")


@pytest.mark.parametrize("told", [True, False], ids=["deleted", "absent"])
def test_groups_that_are_no_longer_synchronized_keep_no_members_alive(
    cache: Cache, contoso: Organization, told: bool
) -> None:
    with_groups(cache, contoso)
    cache.write(lambda c: selections.save(c, contoso.key, {MEMBERS: CATALOGUE[MEMBERS].select}))
    page = [with_links(name, "m", "n") for name in "hi"]
    if told:
        run(cache, contoso, hard_deleted("g"), part=MEMBERS)
    else:
        full(cache, contoso, *page, part=MEMBERS)
    assert {source for source, target in cache.live_links(contoso) if target != "o"} == {"h", "i"}
    assert cache.entries(contoso, MEMBERS) == 4


def test_a_group_that_is_gone_leaves_no_member_where_groups_are_not_synchronized(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "a"), with_links("h", "a"))
    run(cache, contoso, hard_deleted("g"), part=MEMBERS, threshold=0)
    assert (cache.live_links(contoso), names(cache, contoso, MEMBERS)) == ({("g", "a"), ("h", "a")}, {"g"})
    run(cache, contoso, part=MEMBERS, threshold=1)
    assert (cache.live_links(contoso), cache.entries(contoso, MEMBERS)) == ({("h", "a")}, 1)


def test_a_restored_group_has_its_links_read_anew_although_its_deletion_was_held_back(
    cache: Cache, contoso: Organization
) -> None:
    def read_in_full() -> set[PartName]:
        return {GROUPS, MEMBERS} & set(cache.read(lambda c: part_states.parts_without_cursor(c, contoso.key)))

    with_groups(cache, contoso)
    run(cache, contoso, soft_deleted("g"), part=GROUPS, threshold=0)
    assert read_in_full() == set()
    # Of what changed in the round that told its deletion Graph told nothing, and tells nothing now.
    run(cache, contoso, live("g", displayName="g"), part=GROUPS, threshold=0)
    assert read_in_full() == {GROUPS, MEMBERS}


def test_a_new_member_of_a_group_that_is_held_back_is_one(cache: Cache, contoso: Organization) -> None:
    with_groups(cache, contoso)
    run(cache, contoso, hard_deleted("g"), part=GROUPS, threshold=0)
    run(cache, contoso, with_links("g", "new"), part=MEMBERS, threshold=0)
    assert ("g", "new") in cache.live_links(contoso)


# --- Lists, and the end -----------------------------------------------------------------------------------------------


def test_held_deletions_are_listed_by_part_and_id_piece_by_piece(cache: Cache, contoso: Organization) -> None:
    for part in (USERS, SITES):
        cache.run(contoso, part, *map(live, "abc"))
        run(cache, contoso, *map(hard_deleted, "cab"), part=part, threshold=0)
    listed = [
        (held.part, held.object_id, held.display_name)
        for skip in range(0, 8, 2)
        for held in cache.read(lambda c, skip=skip: held_deletions.list_all(c, contoso.key, skip, 2))
    ]
    assert listed == [(part, name, f"Name of {name}") for part in (SITES, USERS) for name in "abc"]


def test_held_deletions_of_one_organization_and_part_are_no_others(cache: Cache, contoso: Organization) -> None:
    fabrikam = cache.register(2)
    for organization in (contoso, fabrikam):
        cache.run(organization, USERS, *map(live, "abc"))
        cache.run(organization, SITES, *map(live, "abc"))
    run(cache, contoso, *map(soft_deleted, "abc"), threshold=2)
    run(cache, fabrikam, live("a"), soft_deleted("b"), threshold=2)
    run(cache, contoso, hard_deleted("a"), live("b"), part=SITES, threshold=2)
    assert (names(cache, contoso), cache.live_objects(contoso)) == (set("abc"), set("abc"))
    assert cache.live_objects(fabrikam) == {"a", "c"}
    assert cache.live_objects(contoso, SITES) == {"b", "c"}


@pytest.mark.parametrize("end", ["job deleted", "organization removed"])
def test_held_deletions_go_with_their_job_or_organization(cache: Cache, contoso: Organization, end: str) -> None:
    fabrikam = cache.register(2)
    for organization in (contoso, fabrikam):
        cache.run(organization, USERS, *map(live, "abc"))
        run(cache, organization, *map(soft_deleted, "abc"), threshold=0)
    if end == "job deleted":
        cache.write(lambda c: erase_job(c, contoso.key))
        assert cache.live_objects(contoso) == set("abc")
    else:
        cache.write(lambda c: organizations.remove(c, contoso, NOW))
        while cache.write(lambda c: purge.purge(c, contoso.key)):
            pass
    left = cache.read(lambda c: set(c.execute(select(t.held_deletions.c.organization_id)).scalars()))
    assert left == {fabrikam.key}


def test_a_deletion_that_is_held_back_ends_the_escrow_of_its_object(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"))
    cache.write(lambda c: c.execute(update(t.parts).values(entry_count=1)))
    run(cache, contoso, soft_deleted("a"), threshold=0)
    assert cache.read(lambda c: escrows.list_all(c, contoso.key, 0, 10)) == []
