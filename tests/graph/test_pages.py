"""A page's bytes become records: slices and replays are merged, removals told apart, and nonsense fails clearly."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.graph.pages import object_key, parse_page
from shared.models.errors import GraphUnavailable, PartFailure, SynchronizationFailure
from shared.models.parts import CATALOGUE, Part, PartName
from shared.models.records import LinkChange, ObjectRecord, Page, Removal

USERS, GROUPS, MEMBERS, SITES, TEAMS = (CATALOGUE[name] for name in PartName)
ANY_PART = st.sampled_from(list(CATALOGUE.values()))
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
# Documents that look like pages for a while, so that the deeper lines are reached.
NAMES = st.sampled_from(["id", "displayName", "@removed", "members@delta", "owners@delta", "deleted", "@odata.type"])
RECORDS = st.dictionaries(NAMES, st.text() | JSON | st.lists(st.dictionaries(NAMES, JSON))) | JSON
PAGES = st.fixed_dictionaries(
    {"value": JSON | st.lists(RECORDS)},
    optional={"@odata.nextLink": st.text() | JSON, "@odata.deltaLink": st.text() | JSON},
)


def parse(*values: Any, part: Part = USERS, soft_deleted: bool = False, **links: str) -> Page:
    document = {"value": list(values), **{f"@odata.{name}": link for name, link in links.items()}}
    return parse_page(orjson.dumps(document), part, soft_deleted=soft_deleted)


def record(*values: Any, part: Part = USERS, soft_deleted: bool = False) -> ObjectRecord:
    (found,) = parse(*values, part=part, soft_deleted=soft_deleted).records
    return found


def joined(target: str, removed: bool = False, kind: str | None = "#microsoft.graph.user") -> LinkChange:
    return LinkChange("members", target, kind, removed)


def readable(body: bytes, part: Part, soft_deleted: bool) -> Page | None:
    """The page, or None after a clear failure; any other exception is the test's failure."""
    try:
        return parse_page(body, part, soft_deleted=soft_deleted)
    except SynchronizationFailure:
        return None


def entry(target: str, removed: bool = False) -> dict[str, Any]:
    value: dict[str, Any] = {"@odata.type": "#microsoft.graph.user", "id": target}
    return value | ({"@removed": {"reason": "deleted"}} if removed else {})


def test_a_page_has_its_objects_in_order_and_the_link_behind_it() -> None:
    page = parse({"id": "b", "displayName": "B"}, {"id": "a", "displayName": "A"}, nextLink="https://graph/next")
    assert [found.object_id for found in page.records] == ["b", "a"]
    assert (page.next_link, page.delta_link) == ("https://graph/next", None)


def test_an_empty_page_that_goes_on_is_a_page() -> None:
    assert parse(nextLink="https://graph/next") == Page([], "https://graph/next", None)
    assert parse(deltaLink="https://graph/delta") == Page([], None, "https://graph/delta")


def test_properties_are_kept_as_sent_and_annotations_are_not() -> None:
    value = {"id": "A", "displayName": None, "businessPhones": ["1"], "@odata.type": "#x", "manager@delta": []}
    assert record(value).properties == {"id": "A", "displayName": None, "businessPhones": ["1"]}


def test_ids_have_no_case() -> None:
    assert record({"id": "ABC", "displayName": "x"}, {"id": "abc", "displayName": "y"}).object_id == "abc"
    assert record({"id": "g", "members@delta": [entry("U1")]}, part=MEMBERS).links == [joined("u1")]


@pytest.mark.parametrize("identifier", ["contoso.sharepoint.com,C0,9F-Web", "9f-web", "9F-WEB"])
def test_a_site_is_the_same_by_its_composite_id_and_by_its_webs_id(identifier: str) -> None:
    assert object_key(SITES, identifier) == "9f-web"


def test_a_comma_in_an_id_means_nothing_outside_sites() -> None:
    assert object_key(USERS, "A,b") == "a,b"


def test_slices_of_a_groups_members_on_one_page_become_one_record() -> None:
    found = record(
        {"id": "g", "members@delta": [entry("u1"), entry("u2")]},
        {"id": "g", "members@delta": [entry("u3"), entry("u1", removed=True)]},
        part=MEMBERS,
    )
    assert found.links == [joined("u1"), joined("u2"), joined("u3"), joined("u1", removed=True)]
    assert (found.properties, found.occurrences) == ({}, 2)


def test_only_the_parts_own_relation_is_read() -> None:
    value = {"id": "g", "displayName": "G", "members@delta": [entry("u1")], "owners@delta": [entry("u2")]}
    assert [link.relation for link in record(value, part=GROUPS).links] == ["owners"]
    assert [link.relation for link in record(value, part=MEMBERS).links] == ["members"]
    assert record(value, part=TEAMS).links == []


def test_a_replay_on_the_same_page_is_one_record_with_the_later_properties() -> None:
    found = record({"id": "a", "displayName": "Old", "mail": "m"}, {"id": "a", "displayName": "New"})
    assert found.properties == {"id": "a", "displayName": "New", "mail": "m"}
    assert found.occurrences == 2


@pytest.mark.parametrize("order", [1, -1])
def test_gone_for_good_wins_over_every_other_record_of_the_page(order: int) -> None:
    values = [
        {"id": "a", "displayName": "A"},
        {"id": "a", "@removed": {"reason": "changed"}},
        {"id": "a", "@removed": {"reason": "deleted"}},
        {"id": "a", "displayName": "A again"},
    ]
    found = record(*values[::order])
    assert (found.removal, found.properties) == (Removal.HARD_DELETED, {})


def test_soft_deletion_is_told_apart_from_deletion_and_ended_by_a_restore() -> None:
    soft = {"id": "a", "@removed": {"reason": "changed"}}
    assert record(soft).removal is Removal.SOFT_DELETED
    assert record(soft).properties == {}
    restored = record(soft, {"id": "a", "displayName": "A"})
    assert (restored.removal, restored.properties["displayName"]) == (None, "A")


def test_a_site_with_the_deleted_facet_is_gone() -> None:
    found = record({"id": "h,c,w", "deleted": {"state": "deleted"}, "webUrl": "https://x"}, part=SITES)
    assert (found.removal, found.properties) == (Removal.HARD_DELETED, {})
    assert record({"id": "h,c,w", "deleted": None, "webUrl": "https://x"}, part=SITES).removal is None


def test_objects_of_deleted_items_are_soft_deleted_with_their_properties() -> None:
    found = record({"id": "a", "displayName": "A", "deletedDateTime": "2026-01-01T00:00:00Z"}, soft_deleted=True)
    assert found.removal is Removal.SOFT_DELETED
    assert found.properties["displayName"] == "A"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"value": [',
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"{}",
        b'{"error": {"code": "x"}}',
        b"\xff\xfe",
        b"<html></html>",
        b"[" * 100_000,
    ],
)
def test_what_is_no_page_may_be_asked_for_again(body: bytes) -> None:
    with pytest.raises(GraphUnavailable, match="users") as failed:
        parse_page(body, USERS)
    assert failed.value.code == "MalformedAnswer"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        5,
        [],
        {},
        {"displayName": "confidential"},
        {"id": None},
        {"id": 5},
        {"id": ["a"]},
        {"id": "a", "@removed": "deleted"},
        {"id": "a", "@removed": {"reason": "confidential"}},
        {"id": "a", "@removed": {"reason": None}},
        {"id": "a", "members@delta": [{"@odata.type": "#microsoft.graph.user"}]},
        {"id": "a", "members@delta": [{"id": 5}]},
        {"id": "a", "members@delta": ["u1"]},
        {"id": "a", "members@delta": 5},
    ],
)
def test_a_record_that_cannot_be_read_fails_the_part_without_repeating_it(value: Any) -> None:
    with pytest.raises(PartFailure, match="groupMembers") as failed:
        parse({"id": "fine", "displayName": "x"}, value, part=MEMBERS)
    assert "confidential" not in failed.value.message


@pytest.mark.parametrize("values", [None, 5, True, 1.5])
def test_a_page_whose_value_is_no_list_fails_clearly(values: Any) -> None:
    with pytest.raises(SynchronizationFailure):
        parse_page(orjson.dumps({"value": values}), USERS)


@pytest.mark.parametrize("name", ["nextLink", "deltaLink"])
@pytest.mark.parametrize("link", [5, True, {}, ["https://graph/next"]])
def test_a_link_that_is_no_text_fails_clearly(name: str, link: Any) -> None:
    with pytest.raises(SynchronizationFailure):
        parse_page(orjson.dumps({"value": [], f"@odata.{name}": link}), USERS)


@pytest.mark.parametrize("value", [{"id": ""}, {"id": "h,c,"}], ids=["empty", "site without a web"])
def test_an_empty_id_is_no_id(value: Any) -> None:
    with pytest.raises(SynchronizationFailure):
        parse({**value, "displayName": "x"}, part=SITES)


def test_a_members_type_that_is_no_text_fails_clearly_or_is_left_out() -> None:
    try:
        found = record({"id": "g", "members@delta": [{"id": "u", "@odata.type": {"is": "wrong"}}]}, part=MEMBERS)
    except SynchronizationFailure:
        return
    assert found.links == [joined("u", kind=None)]


@given(st.binary(), ANY_PART, st.booleans())
def test_any_bytes_are_a_page_or_a_clear_failure(body: bytes, part: Part, soft_deleted: bool) -> None:
    readable(body, part, soft_deleted)


@given(PAGES | JSON, ANY_PART, st.booleans())
def test_any_document_is_a_page_or_a_clear_failure(document: Any, part: Part, soft_deleted: bool) -> None:
    page = readable(orjson.dumps(document), part, soft_deleted)
    if page is not None:
        assert isinstance(page.next_link, str | None)
        assert isinstance(page.delta_link, str | None)


@given(st.lists(RECORDS), ANY_PART, st.booleans())
def test_any_records_are_read_or_a_clear_failure(records: list[Any], part: Part, soft_deleted: bool) -> None:
    page = readable(orjson.dumps({"value": records}), part, soft_deleted)
    if page is not None:
        assert sum(found.occurrences for found in page.records) == len(records)
        assert len({found.object_id for found in page.records}) == len(page.records)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"id": st.sampled_from("abc")},
            optional={
                "displayName": st.sampled_from(["x", "y", None]),
                "mail": st.sampled_from(["x", "y", None]),
                "@removed": st.sampled_from([{"reason": "changed"}, {"reason": "deleted"}]),
            },
        ),
        max_size=8,
    )
)
def test_a_page_sent_twice_in_one_says_the_same_of_every_object(values: list[dict[str, Any]]) -> None:
    once, twice = parse(*values).records, parse(*values, *values).records
    assert [(r.object_id, r.properties, r.removal) for r in once] == [
        (r.object_id, r.properties, r.removal) for r in twice
    ]
