"""Reads Graph's answers from their bytes: pages, single objects and lists of links. Pure: no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

import orjson

from shared.models.errors import GraphUnavailable, PartFailure, SynchronizationFailure
from shared.models.escrows import UNIDENTIFIED
from shared.models.parts import Part, Relation
from shared.models.records import BrokenRecord, LinkChange, ObjectRecord, Page, Removal
from shared.models.sites import web_id
from shared.models.synchronization import SynchronizationError

_MALFORMED_RECORD = "MalformedRecord"
_FAILURE = "@failure"
_LONGEST_ID = 500
_LONGEST_LINK = 60_000
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_LARGEST_INTEGER = 2**63 - 1
_UNREADABLE = (KeyError, TypeError, AttributeError, ValueError)


def parse_page(body: bytes, part: Part, *, soft_deleted: bool = False) -> Page:
    """The page's records, one for each object, in the order in which the objects first occur.

    A record that cannot be read breaks its object, not the page.

    Args:
        body: The answer as it came.
        part: The part the page was read for.
        soft_deleted: Whether the page is of /directory/deletedItems, whose objects carry no ``@removed``.

    Raises:
        GraphUnavailable: The answer is not a page; asking again may help.
    """
    values, next_link, delta_link = _list(body, part)
    all_writable = _is_writable(values)
    records: dict[str, ObjectRecord] = {}
    broken: dict[str, BrokenRecord] = {}
    for value in values:
        if part.question is not None and (failure := told_failure(value)) is not None:
            broken[failure.object_id] = failure
            continue
        try:
            record = _record(value, part, writable=all_writable or _is_writable(value))
        except _UNREADABLE:
            unreadable = _broken(value, part)
            broken.setdefault(unreadable.object_id, unreadable)
            continue
        if soft_deleted:
            record.removal = Removal.SOFT_DELETED
        earlier = records.get(record.object_id)
        if earlier is None:
            records[record.object_id] = record
        else:
            _merge(earlier, record, part)
    for object_id in broken:
        records.pop(object_id, None)
    return Page(list(records.values()), next_link, delta_link, tuple(broken.values()))


def parse_object(body: bytes, part: Part) -> ObjectRecord:
    """The record in the answer to a request for one object.

    Raises:
        GraphUnavailable: The answer is not an object; asking again may help.
        PartFailure: MalformedRecord: the object is not what Graph promises.
    """
    try:
        value = _decode(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise GraphUnavailable("MalformedAnswer", f"Graph's answer for {part.name} is not an object.")
    try:
        return _record(value, part, writable=_is_writable(value))
    except _UNREADABLE:
        raise PartFailure(_MALFORMED_RECORD, _told(part, _defect(value, part))) from None


def parse_links(body: bytes, part: Part, relation: Relation) -> tuple[list[LinkChange], str | None]:
    """A page of all of an object's links of one relation, and the nextLink behind it.

    Raises:
        GraphUnavailable: The answer is not a page; asking again may help.
        PartFailure: MalformedRecord: a link is not what Graph promises.
    """
    values, next_link, _ = _list(body, part)
    try:
        return [_link(relation, value) for value in values], next_link
    except _UNREADABLE:
        raise PartFailure(_MALFORMED_RECORD, _told(part, f"an entry of {relation} has no id")) from None


def _list(body: bytes, part: Part) -> tuple[list[Any], str | None, str | None]:
    """The page's values, its nextLink and its deltaLink."""
    try:
        document = _decode(body)
        values: Any = document["value"]
        next_link, delta_link = _link_of(document, "nextLink"), _link_of(document, "deltaLink")
        if not isinstance(values, list) or not all(link is None or _is_link(link) for link in (next_link, delta_link)):
            raise TypeError
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        raise GraphUnavailable("MalformedAnswer", f"Graph's answer for {part.name} is not a page of objects.") from None
    return cast(list[Any], values), next_link, delta_link


def _link_of(document: dict[str, Any], name: str) -> Any:
    """The page's link, unless it is empty, which some servers give for none."""
    link = document.get(f"@odata.{name}")
    return None if link == "" else link


def _is_link(link: Any) -> bool:
    """Whether it can be kept and followed: PostgreSQL keeps no NUL, and httpx sends no control character and follows
    no address of more than 65,536 characters."""
    return isinstance(link, str) and 0 < len(link) <= _LONGEST_LINK and _CONTROL_CHARACTER.search(link) is None


def _decode(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # A name that was cut in the middle of an emoji is half a surrogate pair: no valid JSON for orjson, which is no
        # reason to lose the page.
        return _whole_characters(json.loads(body, parse_int=_integer))


def _integer(digits: str) -> int | float:
    """As orjson reads integers, which it would not write otherwise."""
    value = float(digits)
    return int(digits) if abs(value) < _LARGEST_INTEGER else value


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

    Of a site's composite id the web's own is kept: the delta query of some tenants gives nothing else.
    """
    return (web_id(identifier) if part.collection == "sites" else identifier).lower()


def record_key(part: Part, record: Mapping[str, Any]) -> str:
    """The key of the object that a record is about; it begins with that of the object it was derived from."""
    key = object_key(part, record["id"])
    parent = part.question.parent if part.question is not None else None
    return f"{record[parent].lower()}/{key}" if parent is not None else key


def _record(value: Any, part: Part, *, writable: bool) -> ObjectRecord:
    """Raises one of ``_UNREADABLE`` exactly when ``_defect`` has something to tell."""
    key = record_key(part, value)
    if not (writable and _is_usable(key)):
        raise ValueError
    removal = _removal(value)
    links: list[LinkChange] = []
    for relation in part.relations:
        entries: Any = value.get(f"{relation}@delta")
        if entries is not None:
            if not isinstance(entries, list):
                raise TypeError
            links += [_link(relation, entry) for entry in cast(list[Any], entries)]
    properties: dict[str, Any] = value
    # Most records hold what was selected and nothing else, and are taken as they are.
    if not value.keys() <= part.property_names:
        properties = {name: known for name, known in value.items() if "@" not in name}
    if len(properties) == 1 or removal is Removal.HARD_DELETED:
        properties = {}
    return ObjectRecord(object_id=key, properties=properties, removal=removal, links=links)


def _is_writable(value: Any) -> bool:
    """Whether what was read can be written to the cache: orjson reads values that are nested more deeply than it
    writes."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def _link(relation: Relation, link: Any) -> LinkChange:
    target_id: str = link["id"].lower()
    if not _is_usable(target_id):
        raise ValueError
    target_type = link.get("@odata.type")
    return LinkChange(
        relation=relation,
        target_id=target_id,
        target_type=target_type if isinstance(target_type, str) else None,
        removed="@removed" in link,
    )


def _removal(value: Mapping[str, Any]) -> Removal | None:
    if (removed := value.get("@removed")) is not None:
        return Removal(removed.get("reason", Removal.HARD_DELETED))
    # SharePoint marks what is deleted with a facet (graph.md §4.4).
    return Removal.HARD_DELETED if isinstance(value.get("deleted"), dict) else None


def failure_record(object_id: str, failure: SynchronizationFailure) -> dict[str, Any]:
    """In a page of answers about objects: that this one could not be asked about."""
    error = {"code": failure.code, "message": failure.message, "tenantActionable": failure.tenant_actionable}
    return {"id": object_id, _FAILURE: error}


def told_failure(value: Any) -> BrokenRecord | None:
    """What ``failure_record`` made, read again; None for anything else."""
    if not isinstance(value, dict) or _FAILURE not in value:
        return None
    record = cast(dict[str, Any], value)
    return BrokenRecord(
        record["id"],
        SynchronizationError.model_validate(record[_FAILURE]),
        orjson.dumps(record, option=orjson.OPT_SORT_KEYS),
    )


def _broken(value: Any, part: Part) -> BrokenRecord:
    try:
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # orjson reads records that are nested more deeply than it writes; the page is not to be lost for that.
        raw = b"null"
    try:
        key = record_key(part, value)
    except _UNREADABLE:
        key = ""
    return BrokenRecord(
        object_id=key if _is_usable(key) else f"{UNIDENTIFIED}{blake2b(raw, digest_size=8).hexdigest()}",
        error=SynchronizationError(code=_MALFORMED_RECORD, message=_told(part, _defect(value, part))),
        raw=raw,
    )


def _told(part: Part, defect: str) -> str:
    return f"Graph sent a record for {part.name} that cannot be read: {defect}."


def _defect(value: Any, part: Part) -> str:
    """What is wrong with a record that ``_record`` cannot read, without a word of what it holds."""
    if not isinstance(value, dict):
        return "it is no object"
    record = cast(dict[str, Any], value)
    if "id" not in record:
        return "id is missing"
    if not isinstance(record["id"], str):
        return "id is not a string"
    try:
        key = record_key(part, record)
    except _UNREADABLE:
        return "what it was derived from is missing"
    if not _is_usable(key):
        return "id is empty, too long, or holds a NUL"
    removed = record.get("@removed")
    if removed is not None and not isinstance(removed, dict):
        return "@removed is no object"
    try:
        _removal(record)
    except ValueError:
        return "@removed has an unknown reason"
    names = [f"{relation}@delta" for relation in part.relations]
    for name in names:
        if not isinstance(record.get(name), list | None):
            return f"{name} is not a list"
    if all(_is_usable_link(link) for name in names for link in record.get(name) or ()):
        return "it is nested too deeply"
    return f"an entry of {' or '.join(names)} has no usable id"


def _is_usable_link(link: Any) -> bool:
    identifier = cast(dict[str, Any], link).get("id") if isinstance(link, dict) else None
    return isinstance(identifier, str) and _is_usable(identifier.lower())


def _is_usable(key: str) -> bool:
    """Whether every database takes the key: PostgreSQL keeps no NUL, and its indexes no long text."""
    return 0 < len(key) <= _LONGEST_ID and "\x00" not in key


def _merge(earlier: ObjectRecord, later: ObjectRecord, part: Part) -> None:
    """Lays a later record of the same object over an earlier one.

    What is gone for good in the directory does not come back, whatever order its records come in. Sites have an order:
    their last record is the one to go by.
    """
    earlier.occurrences += later.occurrences
    earlier.links.extend(later.links)
    if earlier.removal is not Removal.HARD_DELETED or part.collection == "sites":
        earlier.removal = later.removal
        earlier.properties |= later.properties
    if earlier.removal is Removal.HARD_DELETED:
        earlier.properties = {}
