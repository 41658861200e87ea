"""Objects that could not be read or written: put aside, counted, tried again, kept from sweeps, and forgotten."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, select

from shared.cache import escrows, organizations, pages, purge
from shared.cache import tables as t
from shared.cache.erasure import erase_job
from shared.models.escrows import UNIDENTIFIED, EscrowEntity
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.records import BrokenRecord, ObjectRecord
from shared.models.retries import RetryPolicy
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError
from tests.cache.work import LATER, NOW, RETRY, Cache, hard_deleted, live, soft_deleted, with_links

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = PartName
INCREMENTAL = RunType.INCREMENTAL
TEAM = {"resourceProvisioningOptions": ["Team"]}


def broken(object_id: str, code: str = "MalformedRecord", **properties: Any) -> BrokenRecord:
    """An object whose record nobody can read."""
    error = SynchronizationError(code=code, message="Graph sent a record that cannot be read.")
    return BrokenRecord(object_id, error, orjson.dumps({"id": object_id, "@removed": 5, **properties}))


def read_fresh(record: ObjectRecord) -> ObjectRecord:
    """The object as a reading of itself gives it: whole, with all its links."""
    return replace(record, links_complete=True)


def put_aside(cache: Cache, organization: Organization) -> dict[str, EscrowEntity]:
    """The organization's escrows by id."""
    found = cache.read(lambda c: escrows.list_all(c, organization.key, 0, 1_000))
    return {escrow.object_id: escrow for escrow in found}


def raw(cache: Cache, object_id: str) -> Any:
    query = select(t.escrows.c.raw).where(t.escrows.c.object_id == object_id)
    return cache.read(lambda c: c.execute(query).scalar_one())


def due(cache: Cache, work: Slice, now: datetime, limit: int = 100) -> list[str]:
    return [record.object_id for record in cache.read(lambda c: escrows.list_due(c, work, now, limit))]


def run(
    cache: Cache,
    organization: Organization,
    part: PartName,
    *page: ObjectRecord,
    failing: tuple[BrokenRecord, ...] = (),
    run_type: RunType = RunType.FULL,
    now: datetime = NOW,
) -> tuple[int, int]:
    """A whole run of one page, with what completion does for escrows at its end; how many failed, and how many wait."""
    work = cache.begin(organization, part, run_type, now)
    cache.apply_page(work, *page, broken=failing, now=now)
    if run_type is RunType.FULL:
        work = cache.listed(work)
        cache.sweep(work, now=now)
        cache.write(lambda c: escrows.forget_unseen(c, work))
    else:
        cache.carry_out_deletions(work, now=now)
    counts = cache.read(lambda c: escrows.count(c, work))
    cache.finish(work, now)
    return counts.failed, counts.waiting


@contextmanager
def refusing(cache: Cache, table: str, condition: str) -> Iterator[None]:
    """The database takes no row of the table for which the condition holds; ``{row}`` stands for the row."""
    if cache.database.engine.dialect.name == "sqlite":
        on = (
            f"CREATE TRIGGER refusal BEFORE INSERT ON {table} WHEN {condition.format(row='NEW')}"
            " BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        off = "DROP TRIGGER refusal"
    else:
        on = f"ALTER TABLE {table} ADD CONSTRAINT refusal CHECK (NOT ({condition.format(row=table)})) NOT VALID"
        off = f"ALTER TABLE {table} DROP CONSTRAINT refusal"
    cache.write(lambda c: c.exec_driver_sql(on))
    try:
        yield
    finally:
        cache.write(lambda c: c.exec_driver_sql(off))


# --- Put aside ----------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_put_aside_and_the_rest_of_the_page_arrives(cache: Cache, contoso: Organization) -> None:
    counts = cache.apply_page(cache.begin(contoso), live("a"), live("c"), broken=[broken("b", displayName="Zoë")])
    assert cache.live_objects(contoso) == {"a", "c"}
    assert put_aside(cache, contoso)["b"] == EscrowEntity(
        part=USERS,
        object_id="b",
        error=broken("b").error,
        failures=1,
        first_failed_date_time=NOW,
        last_failed_date_time=NOW,
        next_attempt_date_time=NOW + RETRY.first,
    )
    assert raw(cache, "b") == {"id": "b", "@removed": 5, "displayName": "Zoë"}
    assert (counts.imported, counts.imported_deltas, counts.entitled, counts.exported) == (3, 3, 2, 2)


def test_the_object_as_the_cache_had_it_stays_while_it_is_put_aside(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    before = cache.objects(contoso)
    run(cache, contoso, USERS, failing=(broken("a"),), run_type=INCREMENTAL, now=LATER)
    assert cache.objects(contoso) == before
    assert cache.entries(contoso) == 2


@pytest.mark.parametrize("nothing", [b"null", b"[]", b'"text"', b"5"])
def test_a_record_that_is_no_object_is_put_aside_too(cache: Cache, contoso: Organization, nothing: bytes) -> None:
    record = replace(broken(f"{UNIDENTIFIED}1"), raw=nothing)
    cache.apply_page(cache.begin(contoso), live("a"), broken=[record])
    assert set(put_aside(cache, contoso)) == {record.object_id}
    assert raw(cache, record.object_id) == orjson.loads(nothing)


def test_the_wait_doubles_with_every_failure_up_to_a_day(cache: Cache, contoso: Organization) -> None:
    now, waits = NOW, []
    for failures in range(1, 10):
        run(cache, contoso, USERS, failing=(broken("a"),), run_type=INCREMENTAL, now=now)
        escrow = put_aside(cache, contoso)["a"]
        assert (escrow.failures, escrow.first_failed_date_time, escrow.last_failed_date_time) == (failures, NOW, now)
        waits.append((escrow.next_attempt_date_time - now) / timedelta(hours=1))
        now = escrow.next_attempt_date_time
    assert waits == [0.5, 1, 2, 4, 8, 16, 24, 24, 24]


def test_no_number_of_failures_is_too_many_to_be_counted() -> None:
    assert RetryPolicy(timedelta(minutes=30), timedelta(hours=24)).next_attempt(10**6, NOW) == NOW + timedelta(days=1)


def test_the_last_error_is_the_one_that_is_shown(cache: Cache, contoso: Organization) -> None:
    run(cache, contoso, USERS, failing=(broken("a", name="old"),), run_type=INCREMENTAL)
    run(cache, contoso, USERS, failing=(broken("a", code="Other", name="new"),), run_type=INCREMENTAL)
    assert put_aside(cache, contoso)["a"].error.code == "Other"
    assert raw(cache, "a")["name"] == "new"


def test_an_object_that_fails_counts_as_received_once_in_a_run(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    pages_of_it = (
        cache.apply_page(work, broken=[broken("a")]),
        cache.apply_page(work, broken=[broken("a")]),
        cache.apply_page(work, live("a"), live("b")),
        cache.apply_page(work, broken=[broken("b")]),
    )
    assert [counts.imported for counts in pages_of_it] == [1, 0, 1, 0]
    assert sum(pages_of_it, Counts()).imported_deltas == 5


# --- What the database refuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused", [0, 24, 49])
def test_an_object_that_the_database_refuses_does_not_stop_its_page(
    cache: Cache, contoso: Organization, refused: int
) -> None:
    ids = [f"u{number:02}" for number in range(50)]
    name = ids[refused]
    with refusing(cache, "objects", f"{{row}}.object_id = '{name}'"):
        counts = cache.apply_page(cache.begin(contoso), *map(live, ids))
    assert cache.live_objects(contoso) == set(ids) - {name}
    assert cache.entries(contoso) == 49
    escrow = put_aside(cache, contoso)[name]
    assert (escrow.error.code, escrow.failures) == ("ObjectRefused", 1)
    assert raw(cache, name) == {"id": name, "displayName": f"Name of {name}"}
    assert (counts.imported, counts.entitled, counts.exported) == (50, 49, 49)


def test_several_refused_objects_are_found_and_each_is_put_aside(cache: Cache, contoso: Organization) -> None:
    ids = [f"u{number:02}" for number in range(40)]
    refused = {"u03", "u04", "u20", "u39"}
    condition = " OR ".join(f"{{row}}.object_id = '{name}'" for name in refused)
    with refusing(cache, "objects", condition):
        cache.apply_page(cache.begin(contoso), *map(live, ids))
    assert (cache.live_objects(contoso), set(put_aside(cache, contoso))) == (set(ids) - refused, refused)


def test_a_page_of_which_the_database_takes_nothing_is_put_aside_as_a_whole(
    cache: Cache, contoso: Organization
) -> None:
    with refusing(cache, "objects", "{row}.part = 'users'"):
        counts = cache.apply_page(cache.begin(contoso), *map(live, "abcde"))
    assert set(put_aside(cache, contoso)) == set("abcde")
    assert counts == Counts(imported=5, imported_deltas=5)
    assert cache.entries(contoso) == 0


def test_a_refused_change_leaves_the_row_as_it_was_and_arrives_when_the_database_takes_it(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, live("a", displayName="Old"), live("b"))
    with refusing(cache, "objects", "{row}.object_id = 'a'"):
        changed = (live("a", displayName="New"), live("b", displayName="B"))
        counts = run(cache, contoso, USERS, *changed, run_type=INCREMENTAL)
    assert counts == (1, 1)
    assert {name: row.display_name for name, row in cache.objects(contoso).items()} == {"a": "Old", "b": "B"}

    fresh = read_fresh(live("a", displayName="New"))
    assert run(cache, contoso, USERS, fresh, run_type=INCREMENTAL) == (0, 0)
    assert cache.objects(contoso)["a"].display_name == "New"
    assert put_aside(cache, contoso) == {}


def test_a_group_with_a_link_that_the_database_refuses_keeps_all_its_links_as_they_were(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "a"), with_links("h", "a"))
    change = with_links("g", "a", removed=True)
    change.links += with_links("g", "refused", "b").links
    with refusing(cache, "links", "{row}.target_id = 'refused'"):
        run(cache, contoso, MEMBERS, change, with_links("h", "b"), run_type=INCREMENTAL)
    assert cache.live_links(contoso) == {("g", "a"), ("h", "a"), ("h", "b")}
    assert cache.entries(contoso, MEMBERS) == 3
    assert raw(cache, "g") == {
        "id": "g",
        "members@delta": [{"id": "a", "@removed": {"reason": "deleted"}}, {"id": "refused"}, {"id": "b"}],
    }

    run(cache, contoso, MEMBERS, read_fresh(with_links("g", "refused", "b")), run_type=INCREMENTAL)
    assert {("g", "refused"), ("g", "b")} <= cache.live_links(contoso)
    assert put_aside(cache, contoso) == {}


# As many as an index of PostgreSQL does not take, and none of them like the others, so that no packing helps.
LONG = "".join(random.Random(1).choices(string.ascii_letters, k=20_000))


@pytest.mark.parametrize("odd", [LONG, "nul\x00nul", "quote'\"\\"], ids=["too long for an index", "nul", "quotes"])
def test_an_object_with_an_id_of_any_sort_does_not_stop_its_page(cache: Cache, contoso: Organization, odd: str) -> None:
    cache.apply_page(cache.begin(contoso), live("a"), live(odd), live("b"))
    assert {"a", "b"} <= cache.live_objects(contoso)
    cache.apply_page(cache.begin(cache.register(2), MEMBERS), broken=[broken(odd)])
    cache.apply_page(cache.begin(cache.register(3), MEMBERS), with_links("g", "a", odd), with_links("h", "a"))
    assert cache.live_links(cache.read(lambda c: organizations.find_by_key(c, 3))) >= {("h", "a")}


# --- Due, and forgotten -------------------------------------------------------------------------------------------


def test_an_escrow_is_due_when_its_time_has_come(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    cache.apply_page(work, broken=[broken("b"), broken("a"), broken(f"{UNIDENTIFIED}1")])
    time = NOW + RETRY.first
    assert due(cache, work, time - timedelta(microseconds=1)) == []
    # Nobody can be asked for what has no id.
    assert due(cache, work, time) == ["a", "b"]
    assert due(cache, work, time, limit=1) == ["a"]
    assert due(cache, replace(work, cursor="a"), time) == ["b"]
    assert due(cache, replace(work, cursor="b"), time) == []


def test_an_escrow_is_due_in_its_own_part_and_organization_alone(cache: Cache, contoso: Organization) -> None:
    fabrikam = cache.register(2)
    mine, groups, others = cache.begin(contoso), cache.begin(cache.register(3), GROUPS), cache.begin(fabrikam)
    cache.apply_page(mine, broken=[broken("a")])
    assert due(cache, mine, LATER) == ["a"]
    assert (due(cache, groups, LATER), due(cache, others, LATER)) == ([], [])
    cache.write(lambda c: escrows.clear(c, fabrikam.key))
    cache.write(lambda c: escrows.forget(c, contoso.key, GROUPS, ["a"]))
    assert set(put_aside(cache, contoso)) == {"a"}


def test_a_fresh_reading_that_succeeds_ends_the_escrow(cache: Cache, contoso: Organization) -> None:
    run(cache, contoso, USERS, live("b"), failing=(broken("a"),))
    run(cache, contoso, USERS, read_fresh(live("a")), run_type=INCREMENTAL)
    assert put_aside(cache, contoso) == {}
    assert cache.live_objects(contoso) == {"a", "b"}


@pytest.mark.parametrize("removal", [hard_deleted, soft_deleted])
def test_a_removal_that_can_be_read_ends_the_escrow(cache: Cache, contoso: Organization, removal: Any) -> None:
    cache.run(contoso, USERS, live("a"))
    run(cache, contoso, USERS, failing=(broken("a"),), run_type=INCREMENTAL)
    run(cache, contoso, USERS, removal("a"), run_type=INCREMENTAL)
    assert put_aside(cache, contoso) == {}
    assert cache.live_objects(contoso) == set()


def test_a_later_slice_of_links_does_not_make_up_for_one_that_could_not_be_read(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "a"))
    # That b joined was told in a record that could not be read, and Graph will not tell it again.
    run(cache, contoso, MEMBERS, failing=(broken("g"),), run_type=INCREMENTAL)
    run(cache, contoso, MEMBERS, with_links("g", "c"), run_type=INCREMENTAL)
    assert cache.live_links(contoso) == {("g", "a"), ("g", "c")}
    assert set(put_aside(cache, contoso)) == {"g"}

    run(cache, contoso, MEMBERS, read_fresh(with_links("g", "a", "b", "c")), run_type=INCREMENTAL)
    assert cache.live_links(contoso) == {("g", "a"), ("g", "b"), ("g", "c")}
    assert put_aside(cache, contoso) == {}


def test_in_a_full_listing_a_readable_slice_of_links_does_not_make_up_for_one_that_was_not(
    cache: Cache, contoso: Organization
) -> None:
    work = cache.begin(contoso, MEMBERS)
    cache.apply_page(work, broken=[broken("g")])
    cache.apply_page(work, with_links("g", "c"))
    cache.write(lambda c: escrows.forget_unseen(c, work))
    assert set(put_aside(cache, contoso)) == {"g"}


def test_an_object_that_changes_again_is_tried_again_in_the_same_run(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "a"))
    run(cache, contoso, MEMBERS, failing=(broken("g"),), run_type=INCREMENTAL)
    work = cache.begin(contoso, MEMBERS, INCREMENTAL)
    cache.apply_page(work, with_links("g", "c"))
    assert due(cache, replace(work, cursor=None), NOW) == ["g"]


@pytest.mark.parametrize("part", [USERS, SITES])
def test_a_record_with_all_properties_ends_the_escrow_of_an_object_without_links(
    cache: Cache, contoso: Organization, part: PartName
) -> None:
    work = cache.begin(contoso, part)
    everything = dict.fromkeys(work.part.properties, "x")
    run_again = replace(live("a"), properties={**everything, "id": "a"})
    cache.apply_page(work, broken=[broken("a")])
    cache.finish(work)
    run(cache, contoso, part, run_again, run_type=INCREMENTAL)
    assert put_aside(cache, contoso) == {}


def test_a_complete_full_listing_forgets_what_it_no_longer_names_and_keeps_what_still_fails(
    cache: Cache, contoso: Organization
) -> None:
    first = (broken("fails"), broken("heals"), broken("disappears"), broken(f"{UNIDENTIFIED}1"))
    assert run(cache, contoso, USERS, live("a"), failing=first) == (4, 4)
    counts = run(cache, contoso, USERS, live("a"), live("heals"), failing=(broken("fails"),), now=LATER)
    assert counts == (1, 1)
    assert {name: escrow.failures for name, escrow in put_aside(cache, contoso).items()} == {"fails": 2}


def test_the_run_counts_what_failed_in_it_and_all_that_waits(cache: Cache, contoso: Organization) -> None:
    failing = tuple(broken(name) for name in "abc")
    assert run(cache, contoso, USERS, failing=failing) == (3, 3)
    counts = run(cache, contoso, USERS, failing=(broken("a"), broken("d")), run_type=INCREMENTAL)
    assert counts == (2, 4)
    assert run(cache, contoso, USERS, run_type=INCREMENTAL) == (0, 4)
    assert run(cache, contoso, GROUPS, failing=(broken("a"),)) == (1, 1)
    assert cache.read(lambda c: escrows.count_waiting(c, contoso.key)) == {USERS: 4, GROUPS: 1}


def test_what_most_objects_failed_with_is_told(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    cache.apply_page(work, broken=[broken("a", code="Rare"), broken("b"), broken("c")])
    told = cache.read(lambda c: escrows.count(c, work)).commonest_error
    assert told == "MalformedRecord: Graph sent a record that cannot be read."


# --- Sweeps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [USERS, GROUPS, SITES, TEAMS])
def test_a_full_run_that_cannot_read_an_object_leaves_its_row_alone(
    cache: Cache, contoso: Organization, part: PartName
) -> None:
    cache.run(contoso, part, live("a", **TEAM), live("b", **TEAM), live("gone", **TEAM))
    run(cache, contoso, part, live("b", **TEAM), failing=(broken("a"),), now=LATER)
    assert cache.live_objects(contoso, part) == {"a", "b"}
    assert cache.entries(contoso, part) == 2


@pytest.mark.parametrize(("part", "relation"), [(MEMBERS, "members"), (GROUPS, "owners")])
def test_a_full_run_that_cannot_read_a_group_leaves_its_links_alone(
    cache: Cache, contoso: Organization, part: PartName, relation: Any
) -> None:
    properties: dict[str, Any] = {"displayName": "G"} if part is GROUPS else {}
    first = [with_links(name, "a", "b", relation=relation, **properties) for name in ("g", "h")]
    cache.run(contoso, part, *first)
    run(cache, contoso, part, with_links("h", "a", relation=relation, **properties), failing=(broken("g"),), now=LATER)
    assert cache.live_links(contoso) == {("g", "a"), ("g", "b"), ("h", "a")}
    assert cache.entries(contoso, MEMBERS) == (3 if part is MEMBERS else 0)
    # With the first listing that names it again, what it no longer has goes.
    run(cache, contoso, part, *(with_links(name, "a", relation=relation, **properties) for name in ("g", "h")))
    assert cache.live_links(contoso) == {("g", "a"), ("h", "a")}


def test_an_object_of_which_one_page_tells_and_another_cannot_be_read_loses_no_link(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "a", "b", "c"))
    for pages_of_it in (["told", "broken"], ["broken", "told"]):
        work = cache.begin(contoso, MEMBERS)
        for page in pages_of_it:
            if page == "told":
                cache.apply_page(work, with_links("g", "a", "d"))
            else:
                cache.apply_page(work, broken=[broken("g")])
        cache.sweep(cache.listed(work))
        cache.finish(work)
    assert cache.live_links(contoso) == {("g", name) for name in "abcd"}


def test_what_the_database_refuses_in_a_full_run_is_not_swept(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    with refusing(cache, "objects", "{row}.object_id = 'a'"):
        run(cache, contoso, USERS, live("a", displayName="New"), live("b"), now=LATER)
    assert cache.live_objects(contoso) == {"a", "b"}


def test_the_members_of_an_escrowed_user_s_groups_are_not_touched(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    cache.run(contoso, MEMBERS, with_links("g", "a", "b"))
    run(cache, contoso, USERS, live("b"), failing=(broken("a"),))
    assert cache.live_links(contoso) == {("g", "a"), ("g", "b")}


# --- Lists, and the end -------------------------------------------------------------------------------------------


def test_escrows_are_listed_by_part_and_id_piece_by_piece(cache: Cache, contoso: Organization) -> None:
    for part, names in ((USERS, "ca"), (GROUPS, "b")):
        run(cache, contoso, part, failing=tuple(broken(name) for name in names))
    listed = [
        (escrow.part, escrow.object_id)
        for skip in range(4)
        for escrow in cache.read(lambda c, skip=skip: escrows.list_all(c, contoso.key, skip, 1))
    ]
    assert listed == [(GROUPS, "b"), (USERS, "a"), (USERS, "c")]


def _rows(connection: Connection, organization: Organization) -> int:
    mine = select(t.escrows).where(t.escrows.c.organization_id == organization.key)
    return len(connection.execute(mine).all())


def test_a_deleted_job_takes_its_escrows_along_and_no_others(cache: Cache, contoso: Organization) -> None:
    fabrikam = cache.register(2)
    for organization in (contoso, fabrikam):
        run(cache, organization, USERS, live("a"), failing=(broken("b"),))
    cache.write(lambda c: erase_job(c, contoso.key))
    assert (put_aside(cache, contoso), set(put_aside(cache, fabrikam))) == ({}, {"b"})
    assert cache.live_objects(contoso) == {"a"}


def test_the_purge_of_a_removed_organization_takes_its_escrows_along(cache: Cache, contoso: Organization) -> None:
    fabrikam = cache.register(2)
    for organization in (contoso, fabrikam):
        run(cache, organization, USERS, live("a"), failing=(broken("b"),))
    cache.write(lambda c: organizations.remove(c, contoso, NOW))
    while cache.write(lambda c: purge.purge(c, contoso.key)):
        pass
    assert cache.read(lambda c: (_rows(c, contoso), _rows(c, fabrikam))) == (0, 1)


# --- A restart with ConnectorDataStore ----------------------------------------------------------------------------


def rebuild(cache: Cache, organization: Organization, pages_of: dict[PartName, Sequence[ObjectRecord]]) -> None:
    """The full run of these parts that the restart asks for."""
    cache.write(lambda c: pages.require_rebuild(c, organization.key, list(pages_of)))
    for part, page in pages_of.items():
        work = cache.begin(organization, part, INCREMENTAL, LATER)
        assert work.type is RunType.FULL
        cache.apply_page(work, *page, now=LATER)
        work = cache.listed(work)
        cache.sweep(work, now=LATER)
        cache.write(lambda c, part=part: pages.recount_entries(c, organization.key, part))
        cache.finish(work, LATER)


def tamper(cache: Cache, *statements: str) -> None:
    for statement in statements:
        cache.write(lambda c, statement=statement: c.exec_driver_sql(statement))


def content(cache: Cache, organization: Organization, part: PartName) -> dict[str, Any]:
    return {
        name: (row.display_name, row.mail, row.kind, row.payload, row.soft_deleted_at is None, row.deleted_at is None)
        for name, row in cache.objects(organization, part).items()
    }


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE objects SET display_name = 'Tampered', mail = 'x', kind = NULL WHERE object_id = 'a'",
        """UPDATE objects SET payload = '{"id": "a", "displayName": "Tampered"}' WHERE object_id = 'a'""",
        "DELETE FROM objects WHERE object_id = 'a'",
        "UPDATE objects SET deleted_at = changed_at WHERE object_id = 'a'",
        "UPDATE objects SET soft_deleted_at = changed_at WHERE object_id = 'a'",
    ],
    ids=["columns", "payload", "missing", "deleted", "soft-deleted"],
)
def test_a_rebuild_repairs_a_row_that_somebody_tampered_with(
    cache: Cache, contoso: Organization, statement: str
) -> None:
    page = (live("a", displayName="A", mail="m", userType="Member"), live("b"))
    cache.run(contoso, USERS, *page)
    before = content(cache, contoso, USERS)
    tamper(cache, statement)
    assert content(cache, contoso, USERS) != before
    rebuild(cache, contoso, {USERS: page})
    assert content(cache, contoso, USERS) == before
    assert cache.entries(contoso) == 2


def test_a_rebuild_writes_every_row_and_link_again_and_only_once(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, GROUPS, live("g"), live("h"))
    cache.run(contoso, MEMBERS, with_links("g", "a"), with_links("h", "a"))
    before = cache.objects(contoso, GROUPS), cache.links(contoso)
    members = (with_links("g", "a"), with_links("h", "a"))
    rebuild(cache, contoso, {GROUPS: (live("g"), live("h")), MEMBERS: members})
    after = cache.objects(contoso, GROUPS), cache.links(contoso)
    assert all(after[0][name].change_number > row.change_number for name, row in before[0].items())
    assert all(after[1][name].change_number > row.change_number for name, row in before[1].items())
    # The run after it writes only what changed.
    assert run(cache, contoso, GROUPS, live("g"), live("h")) == (0, 0)
    assert cache.objects(contoso, GROUPS) == after[0]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE links SET target_type = 'tampered'",
        "UPDATE links SET deleted_at = '2026-01-01 00:00:00'",
        "DELETE FROM links",
        "INSERT INTO links (organization_id, relation, source_id, target_id, change_number, generation)"
        " SELECT organization_id, relation, source_id, 'nobody', 1, generation FROM links WHERE target_id = 'a'",
    ],
    ids=["type", "deleted", "missing", "invented"],
)
def test_a_rebuild_repairs_links_that_somebody_tampered_with(
    cache: Cache, contoso: Organization, statement: str
) -> None:
    page = (with_links("g", "a", "b"), with_links("h", "b"))
    cache.run(contoso, MEMBERS, *page)
    tamper(cache, statement)
    rebuild(cache, contoso, {MEMBERS: page})
    assert cache.live_links(contoso) == {("g", "a"), ("g", "b"), ("h", "b")}
    assert {row.target_type for row in cache.links(contoso).values() if row.deleted_at is None} == {
        "#microsoft.graph.user"
    }
    assert cache.entries(contoso, MEMBERS) == 3


@pytest.mark.parametrize("count", [0, 1, 2, 1_000])
def test_a_rebuild_counts_the_entries_anew_whatever_was_counted(
    cache: Cache, contoso: Organization, count: int
) -> None:
    cache.run(contoso, USERS, *map(live, "abcd"))
    cache.run(contoso, MEMBERS, *(with_links("g", name) for name in "abcd"))
    tamper(cache, f"UPDATE parts SET entry_count = {count}")
    # Three users are gone, and their memberships with them.
    rebuild(cache, contoso, {USERS: [live("a")], MEMBERS: [with_links("g", "a")]})
    assert (cache.entries(contoso), cache.entries(contoso, MEMBERS)) == (1, 1)


def test_a_row_that_somebody_invented_goes_with_the_rebuild(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    tamper(cache, "UPDATE objects SET object_id = 'invented' WHERE object_id = 'b'")
    rebuild(cache, contoso, {USERS: [live("a"), live("b")]})
    assert cache.live_objects(contoso) == {"a", "b"}
    assert cache.entries(contoso) == 2
