"""A full run beside the visible cache: what it finds unchanged is noted when it comes, the rest is put aside, and in
the end the cache is as if every page had been written at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from shared.cache import escrows, held_deletions, pages, staged_pages, unchanged
from shared.cache.escrows import EscrowCounts
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE, PartName
from shared.models.records import BrokenRecord, ObjectRecord, Page
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError
from tests.cache.work import LATER, RETRY, Cache, hard_deleted, live, opened_cache, soft_deleted, with_links
from tests.databases import Databases

USERS, MEMBERS = PartName.USERS, PartName.GROUP_MEMBERS
UNREADABLE = SynchronizationError(code="MalformedRecord", message="It cannot be read.")


def receive(
    cache: Cache, work: Slice, *records: ObjectRecord, broken: Sequence[BrokenRecord] = ()
) -> tuple[Counts, int]:
    """Receives a page beside the cache; what is counted at once, and how many objects are put aside."""

    def body(connection: Connection) -> tuple[Counts, int]:
        digests = {record.object_id: record.digest for record in records if record.digest}
        same_counts, same = unchanged.note_same(connection, work, digests)
        others = [record for record in records if record.object_id not in same]
        counts, left = unchanged.note(connection, work, Page(others, None, None, broken))
        return same_counts + counts, staged_pages.put(connection, work, left, broken)

    return cache.write(body)


def apply_put_aside(cache: Cache, work: Slice) -> Counts:
    """Applies what was put aside, in the order in which it came."""

    def body(connection: Connection) -> Counts:
        counts = Counts()
        while (staged := staged_pages.find_first(connection, work)) is not None:
            counts += pages.apply_page(connection, work, staged.page, LATER, RETRY)
            staged_pages.remove(connection, work, staged.number)
        return counts

    return cache.write(body)


def end(cache: Cache, work: Slice) -> None:
    work = cache.listed(work)
    cache.sweep(work, now=LATER)
    cache.finish(work, LATER)


def names(cache: Cache, organization: Organization) -> dict[str, Any]:
    return {
        name: row.payload["displayName"]
        for name, row in cache.objects(organization).items()
        if row.deleted_at is None and row.soft_deleted_at is None
    }


def test_an_unchanged_object_is_counted_when_it_comes_and_never_written(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, live("a"), live("b"), live("gone"))
    before = cache.objects(contoso)
    work = cache.begin(contoso, USERS, now=LATER)
    counts, put_aside = receive(cache, work, live("a"), live("b"))
    assert (counts.imported, counts.imported_deltas, counts.entitled, put_aside) == (2, 2, 2, 0)
    again, put_aside = receive(cache, work, live("a"))
    assert (again.imported, again.imported_deltas, put_aside) == (0, 1, 0)
    assert apply_put_aside(cache, work) == Counts()
    end(cache, work)
    after = cache.objects(contoso)
    assert cache.live_objects(contoso) == {"a", "b"}
    assert (after["a"], after["b"]) == (before["a"], before["b"])


def test_an_object_told_in_other_bytes_is_compared_by_value_and_known_by_them_from_then_on(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, live("a", displayName="A", mail="m"))
    before = cache.objects(contoso)["a"]
    work = cache.begin(contoso, USERS, now=LATER)
    again = live("a", mail="m", displayName="A")
    counts, put_aside = receive(cache, work, again)
    assert (counts.imported, put_aside) == (1, 0)
    after = cache.objects(contoso)["a"]
    assert (after.payload, after.change_number, after.changed_at) == (
        before.payload,
        before.change_number,
        before.changed_at,
    )
    assert after.record_digest == again.digest != before.record_digest


def test_a_row_that_a_changed_property_was_laid_over_is_not_known_by_the_record_before(
    cache: Cache, contoso: Organization
) -> None:
    first = live("a", displayName="A", mail="m")
    cache.run(contoso, USERS, first)
    work = cache.begin(contoso, USERS, RunType.INCREMENTAL, now=LATER)
    cache.apply_page(work, live("a", displayName="B"), now=LATER)
    cache.finish(work, LATER)
    work = cache.begin(contoso, USERS, now=LATER)
    receive(cache, work, first)
    apply_put_aside(cache, work)
    end(cache, work)
    assert names(cache, contoso) == {"a": "A"}


def test_what_comes_later_of_an_object_that_was_put_aside_is_applied_after_it(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, live("a", displayName="kept"))
    work = cache.begin(contoso, USERS, now=LATER)
    receive(cache, work, live("a", displayName="of a moment"))
    receive(cache, work, live("a", displayName="kept"))
    apply_put_aside(cache, work)
    end(cache, work)
    assert names(cache, contoso) == {"a": "kept"}


def test_a_record_that_cannot_be_read_is_made_up_for_by_a_later_one(cache: Cache, contoso: Organization) -> None:
    properties = dict.fromkeys(CATALOGUE[USERS].properties) | {"id": "a", "displayName": "A"}
    cache.run(contoso, USERS, ObjectRecord("a", properties))
    work = cache.begin(contoso, USERS, now=LATER)
    receive(cache, work, broken=[BrokenRecord("a", UNREADABLE, b'{"id":"a"}')])
    receive(cache, work, ObjectRecord("a", properties))
    apply_put_aside(cache, work)
    end(cache, work)
    assert cache.live_objects(contoso) == {"a"}
    assert cache.read(lambda c: escrows.count(c, work)) == EscrowCounts(0, 0)


def test_an_object_whose_deletion_waits_is_there_again_when_a_full_run_names_it(
    cache: Cache, contoso: Organization
) -> None:
    cache.run(contoso, USERS, live("a"), live("b"))
    work = cache.begin(contoso, USERS, now=LATER)
    cache.write(lambda c: held_deletions.hold(c, work, [("a", held_deletions.ABSENT)], LATER))
    receive(cache, work, live("a"), live("b"))
    apply_put_aside(cache, work)
    assert cache.read(lambda c: held_deletions.count(c, work)) == 0
    end(cache, work)
    assert cache.live_objects(contoso) == {"a", "b"}


def test_links_that_are_named_again_stay_and_those_that_are_not_end(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, MEMBERS, with_links("g", "u1", "u2"), with_links("h", "u1"))
    work = cache.begin(contoso, MEMBERS, now=LATER)
    counts, put_aside = receive(cache, work, with_links("g", "u1"), with_links("h", "u1"))
    assert (counts.imported, counts.imported_reference_deltas, put_aside) == (2, 2, 0)
    _, put_aside = receive(cache, work, with_links("h", "u3"))
    assert put_aside == 1
    apply_put_aside(cache, work)
    end(cache, work)
    assert cache.live_links(contoso) == {("g", "u1"), ("h", "u1"), ("h", "u3")}
    assert cache.entries(contoso, MEMBERS) == 3


USER_RECORDS = st.one_of(
    st.builds(live, st.sampled_from("abc"), displayName=st.sampled_from(["One", "Two"])),
    st.builds(soft_deleted, st.sampled_from("abc")),
    st.builds(hard_deleted, st.sampled_from("abc")),
    st.builds(ObjectRecord, st.sampled_from("abc")),
)
GROUP_RECORDS = st.one_of(
    st.builds(with_links, st.sampled_from("gh"), st.sampled_from("uvw"), st.sampled_from("uvw"), removed=st.booleans()),
    st.builds(hard_deleted, st.sampled_from("gh")),
    st.builds(ObjectRecord, st.sampled_from("gh")),
)


def listings(records: st.SearchStrategy[ObjectRecord]) -> st.SearchStrategy[list[list[ObjectRecord]]]:
    return st.lists(st.lists(records, max_size=3, unique_by=lambda record: record.object_id), max_size=5)


@settings(max_examples=40, deadline=None)
@given(
    listed=st.one_of(
        st.tuples(st.just(USERS), listings(USER_RECORDS)), st.tuples(st.just(MEMBERS), listings(GROUP_RECORDS))
    ),
    before=st.lists(st.sampled_from("abc"), unique=True),
)
def test_reading_beside_the_cache_ends_as_writing_at_once_does(
    databases: Databases, listed: tuple[PartName, list[list[ObjectRecord]]], before: list[str]
) -> None:
    """On SQLite alone: what is compared is decided in one place, and the other tests run on both databases."""
    part, listing = listed
    with databases.fresh("sqlite") as url, opened_cache(url) as cache:
        found: list[object] = []
        for number in (1, 2):
            organization = cache.register(number)
            cache.run(organization, USERS, *(live(name, displayName="One") for name in before))
            cache.run(organization, MEMBERS, with_links("g", "u", "v"), with_links("h", "u"))
            work = cache.begin(organization, part, now=LATER)
            counts = Counts()
            for page in listing:
                records = [replace(record, properties=dict(record.properties)) for record in page]
                if number == 1:
                    counts += receive(cache, work, *records)[0]
                else:
                    counts += cache.apply_page(work, *records, now=LATER)
            counts += apply_put_aside(cache, work)
            end(cache, work)
            rows = cache.objects(organization)
            states = {name: (row.payload, row.soft_deleted_at, row.deleted_at) for name, row in rows.items()}
            entries = (cache.entries(organization), cache.entries(organization, MEMBERS))
            found.append((states, cache.live_links(organization), entries, replace(counts, exports=0, exported=0)))
        assert found[0] == found[1]


def test_what_is_nested_as_deeply_as_can_be_kept_can_be_put_aside(cache: Cache, contoso: Organization) -> None:
    deep: Any = "x"
    for _ in range(253):
        deep = [deep]
    work = cache.begin(contoso)
    record = ObjectRecord("a", {"id": "a", "city": deep})
    cache.write(lambda c: staged_pages.put(c, work, [record], ()))
    staged = cache.read(lambda c: staged_pages.find_first(c, work))
    assert staged is not None
    assert staged.page.records == [record]
