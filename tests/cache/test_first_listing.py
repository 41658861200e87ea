"""A part's first listing: objects are written as Graph wrote them, and taken for new until one comes again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import Text, cast, select

from shared.cache import slices
from shared.cache import tables as t
from shared.graph.pages import parse_page
from shared.models.documents import Document
from shared.models.organizations import Organization
from shared.models.parts import CATALOGUE, PartName
from shared.models.records import ObjectRecord
from shared.models.runs import RunType
from shared.models.slices import Slice
from tests.cache.test_escrows import put_aside, refusing
from tests.cache.work import LATER, Cache, hard_deleted, listened

USERS, TEAMS = PartName.USERS, PartName.TEAMS


def told(*objects: dict[str, Any], part: PartName = USERS) -> list[ObjectRecord]:
    """A page of Graph's that brings these objects with all that is selected."""
    whole = [dict.fromkeys(CATALOGUE[part].properties) | one for one in objects]
    return list(parse_page(orjson.dumps({"value": whole}), CATALOGUE[part]).records)


def kept(cache: Cache, object_id: str) -> str:
    """The payload as its text."""
    query = select(cast(t.objects.c.payload, Text)).where(t.objects.c.object_id == object_id)
    return cache.read(lambda c: c.execute(query).scalar_one())


def test_a_payload_is_kept_as_graph_wrote_it_and_reads_alike_on_both_databases(
    cache: Cache, contoso: Organization
) -> None:
    names = CATALOGUE[USERS].properties
    written = [f'"{name}": null' for name in names if name not in ("id", "displayName", "employeeId", "city")]
    record = (
        f'{{ "id": "a", "displayName":"Zoë", "employeeId":12345678901234567890123,"city":1.10, {", ".join(written)}}}'
    )
    page = parse_page(f'{{"value": [{record}]}}'.encode(), CATALOGUE[USERS])
    assert isinstance(page.records[0].properties, Document)
    cache.run(contoso, USERS, *page.records)
    assert kept(cache, "a") == record
    row = cache.objects(contoso)["a"]
    assert (row.display_name, row.payload["employeeId"], row.payload["city"]) == ("Zoë", 12345678901234567890123.0, 1.1)
    assert orjson.dumps(row.payload)


@pytest.mark.parametrize("name", ['tab\t newline\n quote " backslash \\ and \\N', "A\x00nn", "Zoë 🙂"])
def test_names_and_layouts_of_all_sorts_are_kept(cache: Cache, contoso: Organization, name: str) -> None:
    properties = dict.fromkeys(CATALOGUE[USERS].properties) | {"id": "a", "displayName": name}
    body = orjson.dumps({"value": [properties]}, option=orjson.OPT_INDENT_2)
    cache.run(contoso, USERS, *parse_page(body, CATALOGUE[USERS]).records)
    row = cache.objects(contoso)["a"]
    assert (row.payload, row.display_name) == (properties, name.replace("\x00", ""))


def test_half_a_character_is_replaced_and_what_comes_beside_it_stays_readable(
    cache: Cache, contoso: Organization
) -> None:
    page = orjson.dumps({"value": [dict(one.properties) for one in told({"id": "a", "city": "cut"}, {"id": "Zoë"})]})
    cache.run(contoso, USERS, *parse_page(page.replace(b"cut", b"cut \\ud83d"), CATALOGUE[USERS]).records)
    assert '"cut \ufffd"' in kept(cache, "a")
    assert '"Zoë"' in kept(cache, "zoë")


def test_a_later_change_of_some_properties_leaves_the_others_as_they_were(cache: Cache, contoso: Organization) -> None:
    cache.run(contoso, USERS, *told({"id": "a", "displayName": "Ann", "city": "Oslo"}))
    cache.run(contoso, USERS, ObjectRecord("a", {"id": "a", "city": "Bergen"}), run_type=RunType.INCREMENTAL, now=LATER)
    row = cache.objects(contoso)["a"]
    assert (row.display_name, row.payload["displayName"], row.payload["city"]) == ("Ann", "Ann", "Bergen")


def test_an_object_that_comes_again_on_a_later_page_counts_once_and_is_as_it_was_told_last(
    cache: Cache, contoso: Organization
) -> None:
    work = cache.begin(contoso)
    counts = cache.apply_page(work, *told({"id": "a", "displayName": "Old"}, {"id": "b"}))
    counts += cache.apply_page(work, *told({"id": "c"}, {"id": "a", "displayName": "New"}))
    assert {name: row.display_name for name, row in cache.objects(contoso).items()} == {
        "a": "New",
        "b": None,
        "c": None,
    }
    assert (counts.imported, counts.entitled, cache.entries(contoso)) == (3, 3, 3)


def test_what_the_database_refuses_is_put_aside_and_the_rest_of_its_page_is_written(
    cache: Cache, contoso: Organization
) -> None:
    work = cache.begin(contoso)
    cache.apply_page(work, *told({"id": "a"}))
    with refusing(cache, "objects", "{row}.object_id = 'c'"):
        counts = cache.apply_page(work, *told(*({"id": name} for name in "abcd")))
    assert cache.live_objects(contoso) == {"a", "b", "d"}
    assert set(put_aside(cache, contoso)) == {"c"}
    assert (counts.imported, cache.entries(contoso)) == (3, 3)


def test_an_object_that_was_received_and_is_gone_on_a_later_page_is_gone(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    cache.apply(work, *told({"id": "a"}, {"id": "b"}))
    cache.apply(work, hard_deleted("a"), *told({"id": "c"}))
    assert (cache.live_objects(contoso), cache.entries(contoso)) == ({"b", "c"}, 2)


@pytest.mark.parametrize("options", [[], ["Other"]], ids=["no option", "another option"])
def test_a_team_that_is_none_any_more_on_a_later_page_is_gone(
    cache: Cache, contoso: Organization, options: list[str]
) -> None:
    work = cache.begin(contoso, TEAMS)
    cache.apply(work, *told({"id": "a", "resourceProvisioningOptions": ["Team"]}, part=TEAMS))
    again = told(
        {"id": "a", "resourceProvisioningOptions": options},
        {"id": "b", "resourceProvisioningOptions": ["Team"]},
        part=TEAMS,
    )
    cache.apply(work, *again)
    assert (cache.live_objects(contoso, TEAMS), cache.entries(contoso, TEAMS)) == ({"b"}, 1)


def looks_at_objects(cache: Cache, work: Slice, *records: ObjectRecord) -> bool:
    """Whether the page is applied with a look at what is there."""
    with listened(cache) as heard:
        cache.apply_page(work, *records)
    return any(statement.startswith("SELECT") and "FROM objects" in statement for statement, _ in heard)


def test_only_what_comes_again_in_a_first_listing_is_looked_up(cache: Cache, contoso: Organization) -> None:
    work = cache.begin(contoso)
    assert not looks_at_objects(cache, work, *told({"id": "a"}, {"id": "b"}))
    assert looks_at_objects(cache, work, *told({"id": "c"}, {"id": "a"}))
    again = cache.write(lambda c: slices.restart_full(c, work))
    assert looks_at_objects(cache, again, *told({"id": "d"}))
