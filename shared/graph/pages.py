"""Reads a page of Graph from its bytes. Pure: no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import orjson

from shared.models.errors import GraphUnavailable, PartFailure
from shared.models.parts import Part, Relation
from shared.models.records import LinkChange, ObjectRecord, Page, Removal


def parse_page(body: bytes, part: Part, *, soft_deleted: bool = False) -> Page:
    """The page's records, one for each object, in the order in which the objects first occur.

    Args:
        body: The answer as it came.
        part: The part the page was read for.
        soft_deleted: Whether the page is of /directory/deletedItems, whose objects carry no ``@removed``.

    Raises:
        GraphUnavailable: The answer is not a page; asking again may help.
        PartFailure: A record is not what Graph promises.
    """
    try:
        document = _decode(body)
        values: Any = document["value"]
        next_link, delta_link = document.get("@odata.nextLink"), document.get("@odata.deltaLink")
        if not isinstance(values, list) or not all(isinstance(link, str | None) for link in (next_link, delta_link)):
            raise TypeError
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise GraphUnavailable("MalformedAnswer", f"Graph's answer for {part.name} is not a page of objects.") from None
    records: dict[str, ObjectRecord] = {}
    for value in cast(list[Any], values):
        record = _record(value, part)
        if soft_deleted:
            record.removal = Removal.SOFT_DELETED
        earlier = records.get(record.object_id)
        if earlier is None:
            records[record.object_id] = record
        else:
            _merge(earlier, record)
    return Page(records=list(records.values()), next_link=next_link, delta_link=delta_link)


def _decode(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # A name that was cut in the middle of an emoji is half a surrogate pair: no valid JSON for orjson, which is no
        # reason to lose the page.
        return _whole_characters(json.loads(body))


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in cast(dict[str, Any], value).items()}
    return value


def object_key(part: Part, identifier: str) -> str:
    """The key of an object in the cache.

    Of a site's composite id ``host,site collection,web`` the web's own is kept: the delta query of some tenants gives
    nothing else (graph.md §4.6), and it is unique.
    """
    return (identifier.rpartition(",")[2] if part.collection == "sites" else identifier).lower()


def _record(value: Any, part: Part) -> ObjectRecord:
    try:
        key = object_key(part, value["id"])
        removal = _removal(value)
        links = [_link(relation, link) for relation in part.relations for link in value.get(f"{relation}@delta") or ()]
        properties = {name: known for name, known in value.items() if "@" not in name}
        if not key:
            raise ValueError
    except (KeyError, TypeError, AttributeError, ValueError):
        raise PartFailure("MalformedRecord", f"Graph sent a record for {part.name} that cannot be read.") from None
    if len(properties) == 1 or removal is Removal.HARD_DELETED:
        properties = {}
    return ObjectRecord(object_id=key, properties=properties, removal=removal, links=links)


def _link(relation: Relation, link: Any) -> LinkChange:
    target_type = link.get("@odata.type")
    return LinkChange(
        relation=relation,
        target_id=link["id"].lower(),
        target_type=target_type if isinstance(target_type, str) else None,
        removed="@removed" in link,
    )


def _removal(value: Mapping[str, Any]) -> Removal | None:
    if (removed := value.get("@removed")) is not None:
        return Removal(removed.get("reason", Removal.HARD_DELETED))
    # SharePoint marks what is deleted with a facet (graph.md §4.4).
    return Removal.HARD_DELETED if value.get("deleted") is not None else None


def _merge(earlier: ObjectRecord, later: ObjectRecord) -> None:
    """Lays a later record of the same object over an earlier one; what is gone for good does not come back."""
    earlier.occurrences += later.occurrences
    earlier.links.extend(later.links)
    if earlier.removal is not Removal.HARD_DELETED:
        earlier.removal = later.removal
        earlier.properties |= later.properties
    if earlier.removal is Removal.HARD_DELETED:
        earlier.properties = {}
