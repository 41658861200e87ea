"""Graph's bytes become records: slices and replays are merged, removals told apart, and what cannot be read is put
aside record by record."""

import re
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.graph.pages import parse_links, parse_object, parse_page, receive
from shared.graph.records import object_key
from shared.models.errors import GraphUnavailable, PartFailure, SynchronizationFailure
from shared.models.parts import CATALOGUE, Part, PartName
from shared.models.records import BrokenRecord, LinkChange, ObjectRecord, Page, Removal

USERS, GROUPS, MEMBERS, SITES, MAILBOXES, TEAMS, CHANNELS = (CATALOGUE[name] for name in PartName)
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


def broken(*values: Any, part: Part = USERS, soft_deleted: bool = False) -> BrokenRecord:
    page = parse(*values, part=part, soft_deleted=soft_deleted)
    (found,) = page.broken
    assert page.records == []
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


UNREADABLE: list[tuple[Any, str]] = [
    (None, "it is no object"),
    ("confidential", "it is no object"),
    (5, "it is no object"),
    (["confidential"], "it is no object"),
    ({}, "id is missing"),
    ({"displayName": "confidential"}, "id is missing"),
    ({"id": None}, "id is not a string"),
    ({"id": 5}, "id is not a string"),
    ({"id": ["confidential"]}, "id is not a string"),
    ({"id": ""}, "id is empty, too long, or holds a NUL"),
    ({"id": "a", "@removed": "confidential"}, "@removed is no object"),
    ({"id": "a", "@removed": ["confidential"]}, "@removed is no object"),
    ({"id": "a", "@removed": {"reason": "confidential"}}, "@removed has an unknown reason"),
    ({"id": "a", "@removed": {"reason": ["confidential"]}}, "@removed has an unknown reason"),
    ({"id": "a", "@removed": {"reason": None}}, "@removed has an unknown reason"),
    ({"id": "a", "members@delta": 5}, "members@delta is not a list"),
    ({"id": "a", "members@delta": "confidential"}, "members@delta is not a list"),
    ({"id": "a", "members@delta": ""}, "members@delta is not a list"),
    ({"id": "a", "members@delta": {}}, "members@delta is not a list"),
    ({"id": "a", "members@delta": [{"@odata.type": "confidential"}]}, "an entry of members@delta has no usable id"),
    ({"id": "a", "members@delta": [{"id": "u1"}, {"id": 5}]}, "an entry of members@delta has no usable id"),
    ({"id": "a" * 501}, "id is empty, too long, or holds a NUL"),
    ({"id": "a\x00"}, "id is empty, too long, or holds a NUL"),
    ({"id": "a", "members@delta": [{"id": "b\x00"}]}, "an entry of members@delta has no usable id"),
    ({"id": "a", "members@delta": [{"id": ""}]}, "an entry of members@delta has no usable id"),
    ({"id": "a", "members@delta": ["confidential"]}, "an entry of members@delta has no usable id"),
]
EVERY_UNREADABLE = pytest.mark.parametrize(("value", "defect"), UNREADABLE)


@EVERY_UNREADABLE
@pytest.mark.parametrize("soft_deleted", [False, True], ids=["delta", "deleted items"])
def test_a_record_that_cannot_be_read_is_put_aside_and_its_defect_told_without_repeating_it(
    value: Any, defect: str, soft_deleted: bool
) -> None:
    error = broken(value, part=MEMBERS, soft_deleted=soft_deleted).error
    assert error.code == "MalformedRecord"
    assert error.message == f"Graph sent a record for groupMembers that cannot be read: {defect}."


@EVERY_UNREADABLE
def test_the_other_objects_of_the_page_are_read_in_order(value: Any, defect: str) -> None:
    good = [{"id": "b", "displayName": "B"}, {"id": "c", "displayName": "C"}, {"id": "d", "displayName": "D"}]
    page = parse(good[0], value, good[1], value, good[2], part=MEMBERS, nextLink="https://graph/next")
    assert page.records == parse(*good, part=MEMBERS).records
    assert [found.object_id for found in page.records] == ["b", "c", "d"]
    assert page.next_link == "https://graph/next"
    assert len(page.broken) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_an_object_with_one_broken_record_is_broken_with_all_its_records_of_the_page(order: int) -> None:
    values = [
        {"id": "G", "members@delta": [entry("u1")]},
        {"id": "g", "members@delta": [{"id": None}]},
        {"id": "g", "@removed": {"reason": "deleted"}},
    ]
    page = parse({"id": "h", "displayName": "H"}, *values[::order], part=MEMBERS)
    assert [found.object_id for found in page.records] == ["h"]
    assert [found.object_id for found in page.broken] == ["g"]


def test_of_two_broken_records_of_an_object_the_first_is_kept() -> None:
    found = broken({"id": "a", "@removed": 1}, {"id": "A", "@removed": {"reason": "x"}})
    assert found.error.message is not None
    assert "@removed is no object" in found.error.message
    assert orjson.loads(found.raw) == {"id": "a", "@removed": 1}


def test_a_broken_record_is_kept_as_it_came() -> None:
    value = {"id": "ABC", "displayName": "Ada 😀", "members@delta": {"not": "a list"}, "more": [1, None, {}]}
    found = broken(value, part=MEMBERS)
    assert found.object_id == "abc"
    assert orjson.loads(found.raw) == value


def test_a_broken_record_with_half_a_character_is_kept_with_a_whole_one() -> None:
    (found,) = parse_page(b'{"value": [{"id": "a", "@removed": 1, "displayName": "cut \\ud83d"}]}', USERS).broken
    assert orjson.loads(found.raw)["displayName"] == "cut \ufffd"


@pytest.mark.parametrize("identifier", ["contoso.sharepoint.com,c0,9F-WEB", "9f-web"])
def test_a_broken_site_has_the_key_of_the_site(identifier: str) -> None:
    assert broken({"id": identifier, "@removed": 1}, part=SITES).object_id == "9f-web"


def test_a_record_without_a_usable_id_has_the_same_key_whenever_it_comes() -> None:
    value = {"id": 5, "displayName": "A"}
    key = broken(value).object_id
    assert re.fullmatch("unidentified-[0-9a-f]{16}", key)
    assert key == broken(dict(reversed(value.items())), part=TEAMS).object_id
    others = [{"id": 6, "displayName": "A"}, {"id": 5}, {"displayName": "A"}, {"id": ""}, None, 5]
    assert len({key, *(broken(other).object_id for other in others)}) == 7


def test_a_record_that_is_nested_too_deeply_to_be_kept_is_put_aside_too() -> None:
    value = b'{"id": "a", "@removed": ' + b"[" * 600 + b"]" * 600 + b"}"
    page = parse_page(b'{"value": [{"id": "b"}, ' + value + b"]}", USERS)
    assert [found.object_id for found in page.records] == ["b"]
    assert [(found.object_id, found.raw) for found in page.broken] == [("a", b"null")]


def test_null_in_place_of_a_removal_or_of_links_says_nothing() -> None:
    found = record({"id": "g", "@removed": None, "members@delta": None}, part=MEMBERS)
    assert (found.removal, found.links) == (None, [])


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
    assert broken({**value, "displayName": "x"}, part=SITES).object_id.startswith("unidentified-")


def test_a_members_type_that_is_no_text_is_left_out() -> None:
    found = record({"id": "g", "members@delta": [{"id": "u", "@odata.type": {"is": "wrong"}}]}, part=MEMBERS)
    assert found.links == [joined("u", kind=None)]


@pytest.mark.parametrize("name", ["nextLink", "deltaLink"])
@pytest.mark.parametrize(
    "link",
    ["https://graph/\x00", "https://graph/\nx", "https://graph/\x7f", "https://graph/" + "x" * 60_000],
    ids=["NUL", "line feed", "delete", "long"],
)
def test_a_link_that_cannot_be_kept_or_followed_fails_clearly(name: str, link: str) -> None:
    document = {"value": [{"id": "a", "displayName": "x"}], f"@odata.{name}": link}
    with pytest.raises(GraphUnavailable) as failed:
        parse_page(orjson.dumps(document), USERS)
    assert failed.value.code == "MalformedAnswer"


def test_a_page_behind_a_byte_order_mark_is_a_page() -> None:
    body = b'\xef\xbb\xbf{"value": [{"id": "a", "displayName": "x"}]}'
    assert parse_page(body, USERS) == parse({"id": "a", "displayName": "x"})


@pytest.mark.parametrize("half", ["", ', "more": "\\ud83d"'], ids=["whole", "with half a character"])
@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "9" * 5_000, "-" + "9" * 30, str(2**63), "12"])
def test_numbers_of_any_sort_can_be_read_and_written(value: str, half: str) -> None:
    body = f'{{"value": [{{"id": "a", "displayName": {value}{half}}}, {{"id": "b"}}]}}'.encode()
    try:
        page = parse_page(body, USERS)
    except GraphUnavailable:
        assert value == "1e999"
        return
    assert [found.object_id for found in page.records] == ["a", "b"]
    written = orjson.loads(orjson.dumps(page.records[0].properties))
    assert written["displayName"] == (12 if value == "12" else written["displayName"])


@pytest.mark.parametrize("depth", [260, 900])
def test_an_object_that_is_nested_too_deeply_to_be_written_is_put_aside(depth: int) -> None:
    value = b'{"id": "a", "displayName": ' + b"[" * depth + b"]" * depth + b"}"
    page = parse_page(b'{"value": [{"id": "b"}, ' + value + b"]}", USERS)
    assert [found.object_id for found in page.records] == ["b"]
    (found,) = page.broken
    assert found.object_id == "a"
    assert found.error.message == "Graph sent a record for users that cannot be read: it is nested too deeply."


def test_what_is_nested_as_deeply_as_can_be_written_is_read() -> None:
    deep: Any = "x"
    for _ in range(250):
        deep = [deep]
    assert record({"id": "a", "displayName": deep}).properties["displayName"] == deep


@pytest.mark.parametrize("value", [False, 0, "", "no", 5, []])
def test_only_the_facet_marks_an_object_as_deleted(value: Any) -> None:
    assert record({"id": "h,c,w", "webUrl": "https://x", "deleted": value}, part=SITES).removal is None


# --- Single objects and lists of links ----------------------------------------------------------------------------


def test_a_single_object_is_read_like_a_record_of_a_page() -> None:
    value = {"@odata.context": "https://graph/$metadata#users/$entity", "id": "ABC", "displayName": "A"}
    assert parse_object(orjson.dumps(value), USERS) == record(value)


@pytest.mark.parametrize(("value", "defect"), [case for case in UNREADABLE if isinstance(case[0], dict)])
def test_a_single_object_that_cannot_be_read_fails_with_its_defect(value: Any, defect: str) -> None:
    with pytest.raises(PartFailure) as failed:
        parse_object(orjson.dumps(value), MEMBERS)
    assert failed.value.code == "MalformedRecord"
    assert failed.value.message == f"Graph sent a record for groupMembers that cannot be read: {defect}."


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"5", b'"text"', b"<html></html>", b"[" * 100_000])
def test_what_is_no_object_may_be_asked_for_again(body: bytes) -> None:
    with pytest.raises(GraphUnavailable, match="users") as failed:
        parse_object(body, USERS)
    assert failed.value.code == "MalformedAnswer"


def test_a_list_of_links_has_its_links_in_order_and_the_link_behind_it() -> None:
    document = {"value": [entry("U2"), {"id": "u1"}], "@odata.nextLink": "https://graph/next"}
    links, next_link = parse_links(orjson.dumps(document), MEMBERS, "members")
    assert links == [joined("u2"), joined("u1", kind=None)]
    assert next_link == "https://graph/next"
    assert parse_links(b'{"value": []}', MEMBERS, "members") == ([], None)


@pytest.mark.parametrize("value", [None, "confidential", {}, {"id": 5}, {"id": ""}, ["confidential"]])
def test_a_link_without_an_id_fails_without_being_repeated(value: Any) -> None:
    with pytest.raises(PartFailure) as failed:
        parse_links(orjson.dumps({"value": [entry("u1"), value]}), GROUPS, "owners")
    assert failed.value.code == "MalformedRecord"
    assert failed.value.message == "Graph sent a record for groups that cannot be read: an entry of owners has no id."


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"value": {}}', b'{"value": [], "@odata.nextLink": 5}'])
def test_what_is_no_list_of_links_may_be_asked_for_again(body: bytes) -> None:
    with pytest.raises(GraphUnavailable) as failed:
        parse_links(body, MEMBERS, "members")
    assert failed.value.code == "MalformedAnswer"


# --- Anything at all ----------------------------------------------------------------------------------------------


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
def test_any_records_are_read_or_put_aside_each_object_once(records: list[Any], part: Part, soft: bool) -> None:
    page = parse(*records, part=part, soft_deleted=soft)
    keys = [found.object_id for found in (*page.records, *page.broken)]
    assert len(set(keys)) == len(keys)
    assert bool(records) == bool(keys)
    if not page.broken:
        assert sum(found.occurrences for found in page.records) == len(records)


@given(st.lists(RECORDS), ANY_PART, st.booleans())
def test_what_is_put_aside_changes_nothing_for_the_others(records: list[Any], part: Part, soft: bool) -> None:
    page = parse(*records, part=part, soft_deleted=soft)
    aside = {found.object_id for found in page.broken}

    def key(value: Any) -> str:
        alone = parse(value, part=part)
        return (*alone.records, *alone.broken)[0].object_id

    rest = parse(*(value for value in records if key(value) not in aside), part=part, soft_deleted=soft)
    assert (rest.records, rest.broken) == (page.records, ())


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


def test_an_empty_link_is_none() -> None:
    document = {"value": [], "@odata.nextLink": "", "@odata.deltaLink": "https://graph/delta"}
    assert parse_page(orjson.dumps(document), USERS) == Page([], None, "https://graph/delta")


def test_a_site_is_what_its_last_record_says_and_a_user_who_is_gone_for_good_stays_gone() -> None:
    gone, there = {"id": "a", "@removed": {"reason": "deleted"}}, {"id": "a", "displayName": "x"}
    for part, last in ((SITES, None), (USERS, Removal.HARD_DELETED)):
        page = parse_page(orjson.dumps({"value": [gone, there], "@odata.deltaLink": "https://graph/delta"}), part)
        assert [record.removal for record in page.records] == [last]


# --- What tells by itself that a record came before -----------------------------------------------------------------


def digests(*values: Any, part: Part = USERS, **options: bool) -> dict[str, bytes]:
    return dict(receive(orjson.dumps({"value": list(values)}), part, **options).digests)


ADA = {"id": "A", "displayName": "Ada", "mail": None}


def test_the_same_bytes_have_the_same_digest_on_whichever_page_they_come() -> None:
    assert digests(ADA, {"id": "b"})["a"] == digests(ADA)["a"]


@pytest.mark.parametrize(
    "other",
    [{**ADA, "displayName": "Eve"}, {**ADA, "mail": "a"}, {"id": "A"}, {**ADA, "@removed": {"reason": "changed"}}],
)
def test_a_record_that_says_something_else_has_another_digest(other: Any) -> None:
    assert digests(ADA)["a"] != digests(other)["a"]


def test_a_record_of_another_selection_has_another_digest() -> None:
    more = replace(USERS, select=(*USERS.select, "city2"))
    assert digests(ADA)["a"] != digests(ADA, part=more)["a"]


@pytest.mark.parametrize(
    ("values", "part", "options"),
    [
        ([ADA, {"id": "a", "mail": "m"}], USERS, {}),
        ([ADA], SITES, {}),
        ([ADA], USERS, {"soft_deleted": True}),
        ([{"id": 5}, "x", {"displayName": "A"}], USERS, {}),
        ([{"id": "c", "teamId": "t"}], CHANNELS, {}),
    ],
    ids=["several records", "a site", "soft-deleted", "without an id", "keyed by its team"],
)
def test_rows_that_are_made_of_more_than_one_records_bytes_have_no_digest(
    values: list[Any], part: Part, options: dict[str, bool]
) -> None:
    assert digests(*values, part=part, **options) == {}


def test_what_is_not_wanted_is_not_read() -> None:
    page = receive(orjson.dumps({"value": [ADA, {"id": "b", "displayName": "B"}]}), USERS)
    assert [found.object_id for found in page.read(without={"a"}).records] == ["b"]


@given(st.lists(RECORDS, max_size=6), ANY_PART)
def test_reading_without_some_objects_is_reading_and_leaving_them_out(values: list[Any], part: Part) -> None:
    received = receive(orjson.dumps({"value": values}), part)
    whole = received.read()
    for wanted in received.digests:
        rest = received.read(without={wanted})
        assert [one for one in whole.records if one.object_id != wanted] == rest.records
        assert [one for one in whole.broken if one.object_id != wanted] == list(rest.broken)


def test_characters_that_are_none_make_the_answer_no_page() -> None:
    with pytest.raises(GraphUnavailable):
        parse_page(b'{"value": [{"id": "a", "displayName": "\xff"}]}', USERS)
