"""Reads one record of Graph's answers: an object's properties, links and removal. Pure: no I/O."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

import orjson

from shared.models.documents import Document, columns_of
from shared.models.errors import SynchronizationFailure
from shared.models.escrows import UNIDENTIFIED
from shared.models.parts import Part, Relation
from shared.models.records import BrokenRecord, LinkChange, ObjectRecord, Removal
from shared.models.sites import web_id
from shared.models.synchronization import SynchronizationError

MALFORMED_RECORD = "MalformedRecord"
UNREADABLE = (KeyError, TypeError, AttributeError, ValueError)
"""What is raised when a record, or a link, cannot be read."""
_FAILURE = "@failure"
_LONGEST_ID = 500
_LARGEST_INTEGER = 2**63 - 1
_FEW_BRACKETS = 200
"""Too few for a value that is nested more deeply than orjson writes (254)."""


def decode(body: bytes) -> tuple[Any, bytes]:
    """The value, and its JSON: the body itself, if it is JSON throughout.

    Raises:
        ValueError, RecursionError: It is none.
    """
    try:
        return orjson.loads(body), body
    except orjson.JSONDecodeError:
        value = decode_leniently(body)
        return value, written_leniently(value)


def decode_leniently(body: bytes) -> Any:
    """The value, where not all of it is JSON: a name that was cut in the middle of an emoji is half a surrogate pair,
    which is no reason to lose the page. What JSON has no numbers for is null.

    Raises:
        As ``decode``.
    """
    return _whole_characters(json.loads(body, parse_int=_integer))


def written_leniently(value: Any) -> bytes:
    """The JSON of what ``decode_leniently`` read, however deeply it is nested.

    Raises:
        RecursionError: It is nested too deeply even so.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {_whole_characters(name): _whole_characters(item) for name, item in cast(dict[str, Any], value).items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _integer(digits: str) -> int | float:
    """As orjson reads integers, which it would not write otherwise."""
    value = float(digits)
    return int(digits) if abs(value) < _LARGEST_INTEGER else value


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


def read_record(value: Any, part: Part, raw: bytes) -> ObjectRecord:
    """The record of a decoded value; ``raw`` is its JSON.

    Raises:
        One of ``UNREADABLE``, exactly when ``defect_of`` has something to tell.
    """
    key = record_key(part, value)
    if not (is_usable(key) and _is_writable(value, raw)):
        raise ValueError
    if value.keys() == part.property_names and len(value) > 1:
        # Most records hold what was selected and nothing else, and are taken as they are.
        return ObjectRecord(key, Document(raw, columns_of(part, value)))
    removal = _removal(value)
    links: list[LinkChange] = []
    for relation in part.relations:
        entries: Any = value.get(f"{relation}@delta")
        if entries is not None:
            if not isinstance(entries, list):
                raise TypeError
            links += [read_link(relation, entry) for entry in cast(list[Any], entries)]
    properties = {name: known for name, known in value.items() if "@" not in name}
    if len(properties) == 1 or removal is Removal.HARD_DELETED:
        properties = {}
    return ObjectRecord(object_id=key, properties=properties, removal=removal, links=links)


def _is_writable(value: Any, raw: bytes) -> bool:
    """Whether what was read can be written to the cache: orjson reads values that are nested more deeply than it
    writes."""
    if raw.count(b"[") + raw.count(b"{") <= _FEW_BRACKETS:
        return True
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def read_link(relation: Relation, link: Any) -> LinkChange:
    """One entry of a relation.

    Raises:
        One of ``UNREADABLE``: It has no usable id.
    """
    target_id: str = link["id"].lower()
    if not is_usable(target_id):
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


def broken_record(value: Any, part: Part) -> BrokenRecord:
    """What is put aside of a value that ``read_record`` cannot read."""
    try:
        raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # It is nested too deeply; the page is not to be lost for that.
        raw = b"null"
    try:
        key = record_key(part, value)
    except UNREADABLE:
        key = ""
    return BrokenRecord(
        object_id=key if is_usable(key) else f"{UNIDENTIFIED}{blake2b(raw, digest_size=8).hexdigest()}",
        error=SynchronizationError(code=MALFORMED_RECORD, message=told_of(part, defect_of(value, part))),
        raw=raw,
    )


def told_of(part: Part, defect: str) -> str:
    """What people are told of a record with this defect."""
    return f"Graph sent a record for {part.name} that cannot be read: {defect}."


def defect_of(value: Any, part: Part) -> str:
    """What is wrong with a record that ``read_record`` cannot read, without a word of what it holds."""
    if not isinstance(value, dict):
        return "it is no object"
    record = cast(dict[str, Any], value)
    if "id" not in record:
        return "id is missing"
    if not isinstance(record["id"], str):
        return "id is not a string"
    try:
        key = record_key(part, record)
    except UNREADABLE:
        return "what it was derived from is missing"
    if not is_usable(key):
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
    return isinstance(identifier, str) and is_usable(identifier.lower())


def is_usable(key: str) -> bool:
    """Whether every database takes the key: PostgreSQL keeps no NUL, and its indexes no long text."""
    return 0 < len(key) <= _LONGEST_ID and "\x00" not in key
