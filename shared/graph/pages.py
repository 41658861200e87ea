"""Reads Graph's answers from their bytes: pages, single objects and lists of links. Pure: no I/O.

A page is read in two steps. ``receive`` finds where it leads and cuts it into the bytes of its records, which takes a
quarter of the time that decoding them takes; what the cache knows to be unchanged by these bytes is never decoded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from typing import Any

import msgspec

from shared.graph.records import (
    MALFORMED_RECORD,
    UNREADABLE,
    broken_record,
    decode,
    decode_leniently,
    defect_of,
    is_usable,
    object_key,
    read_link,
    read_record,
    told_failure,
    told_of,
    written_leniently,
)
from shared.models.errors import GraphUnavailable, PartFailure
from shared.models.parts import Part, Relation
from shared.models.records import BrokenRecord, LinkChange, ObjectRecord, Page, Removal

_LONGEST_LINK = 60_000
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")


class _Body(msgspec.Struct):
    value: list[msgspec.Raw]
    next_link: Any = msgspec.field(default=None, name="@odata.nextLink")
    delta_link: Any = msgspec.field(default=None, name="@odata.deltaLink")


class _Head(msgspec.Struct):
    id: str


_body, _head = msgspec.json.Decoder(_Body), msgspec.json.Decoder(_Head)


@dataclass(frozen=True)
class ReceivedPage:
    """A page whose records have not been read yet.

    Attributes:
        part: The part the page was read for.
        soft_deleted: Whether the page is of /directory/deletedItems, whose objects carry no ``@removed``.
        slices: The records' bytes in their order.
        next_link: Where the listing goes on.
        delta_link: Where the next round begins.
        resource_units: As ``Page.resource_units``.
    """

    part: Part
    soft_deleted: bool
    slices: Sequence[bytes]
    next_link: str | None
    delta_link: str | None
    resource_units: int = 0

    @cached_property
    def digests(self) -> Mapping[str, bytes]:
        """By key, what tells by itself whether an object's record is the one that its row was made of
        (``ObjectRecord.digest``). Objects that have several records, or whose rows are made of more than a record, are
        left out."""
        if not self._has_digests:
            return {}
        digest = _digest_of(self.part)
        number_of = Counter(self._keys)
        return {
            key: digest(raw)
            for key, raw in zip(self._keys, self.slices, strict=True)
            if key is not None and number_of[key] == 1
        }

    def read(self, without: Collection[str] = frozenset()) -> Page:
        """The page's records, one for each object, in the order in which the objects first occur.

        A record that cannot be read breaks its object, not the page.

        Args:
            without: Keys of objects whose records are not wanted.

        Raises:
            GraphUnavailable: The answer is not a page; asking again may help.
        """
        part = self.part
        records: dict[str, ObjectRecord] = {}
        broken: dict[str, BrokenRecord] = {}
        wanted = self.slices
        if without:
            wanted = [raw for key, raw in zip(self._keys, self.slices, strict=True) if key not in without]
        digest = _digest_of(part) if self._has_digests else None
        for raw in wanted:
            value, written = _decoded(raw, part)
            if part.question is not None and (failure := told_failure(value)) is not None:
                broken[failure.object_id] = failure
                continue
            try:
                record = read_record(value, part, written)
            except UNREADABLE:
                unreadable = broken_record(value, part)
                broken.setdefault(unreadable.object_id, unreadable)
                continue
            if self.soft_deleted:
                record.removal = Removal.SOFT_DELETED
            if digest is not None and record.removal is None and record.properties:
                record.digest = digest(raw)
            earlier = records.get(record.object_id)
            if earlier is None:
                records[record.object_id] = record
            else:
                _merge(earlier, record, part)
        for object_id in broken:
            records.pop(object_id, None)
        return Page(
            list(records.values()), self.next_link, self.delta_link, tuple(broken.values()), self.resource_units
        )

    @property
    def _has_digests(self) -> bool:
        question = self.part.question
        keyed_by_id = question is None or question.parent is None
        return keyed_by_id and not self.soft_deleted and self.part.collection != "sites"

    @cached_property
    def _keys(self) -> Sequence[str | None]:
        """The keys of the records' objects; None where there is none to be had from the id."""
        return [_key(raw, self.part) for raw in self.slices]


def receive(body: bytes, part: Part, *, soft_deleted: bool = False) -> ReceivedPage:
    """The page in an answer.

    Raises:
        GraphUnavailable: The answer is not a page; asking again may help.
    """
    found, next_link, delta_link = _cut(body, part)
    return ReceivedPage(part, soft_deleted, [bytes(raw) for raw in found], next_link, delta_link)


def parse_page(body: bytes, part: Part, *, soft_deleted: bool = False) -> Page:
    """The page in an answer, read at once.

    Raises:
        GraphUnavailable: As ``receive``.
    """
    return receive(body, part, soft_deleted=soft_deleted).read()


def parse_object(body: bytes, part: Part) -> ObjectRecord:
    """The record in the answer to a request for one object.

    Raises:
        GraphUnavailable: The answer is not an object; asking again may help.
        PartFailure: MalformedRecord: the object is not what Graph promises.
    """
    try:
        value, written = decode(body)
    except (ValueError, RecursionError):
        value, written = None, b""
    if not isinstance(value, dict):
        raise GraphUnavailable("MalformedAnswer", f"Graph's answer for {part.name} is not an object.")
    try:
        return read_record(value, part, written)
    except UNREADABLE:
        raise PartFailure(MALFORMED_RECORD, told_of(part, defect_of(value, part))) from None


def parse_links(body: bytes, part: Part, relation: Relation) -> tuple[list[LinkChange], str | None]:
    """A page of all of an object's links of one relation, and the nextLink behind it.

    Raises:
        GraphUnavailable: The answer is not a page; asking again may help.
        PartFailure: MalformedRecord: a link is not what Graph promises.
    """
    found, next_link, _ = _cut(body, part)
    try:
        return [read_link(relation, _decoded(bytes(raw), part)[0]) for raw in found], next_link
    except UNREADABLE:
        raise PartFailure(MALFORMED_RECORD, told_of(part, f"an entry of {relation} has no id")) from None


def _cut(body: bytes, part: Part) -> tuple[list[msgspec.Raw], str | None, str | None]:
    """The bytes of the page's values, its nextLink and its deltaLink."""
    try:
        page = _body.decode(body)
    except msgspec.ValidationError:
        raise _no_page(part) from None
    except (ValueError, msgspec.DecodeError, RecursionError):
        page = _repaired(body, part)
    next_link, delta_link = (None if link == "" else link for link in (page.next_link, page.delta_link))
    if not all(link is None or _is_link(link) for link in (next_link, delta_link)):
        raise _no_page(part)
    return page.value, next_link, delta_link


def _repaired(body: bytes, part: Part) -> _Body:
    """The page in an answer that holds what is not quite JSON: half a character, or numbers that are none."""
    try:
        return _body.decode(written_leniently(decode_leniently(body)))
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise _no_page(part) from None


def _no_page(part: Part) -> GraphUnavailable:
    return GraphUnavailable("MalformedAnswer", f"Graph's answer for {part.name} is not a page of objects.")


def _decoded(raw: bytes, part: Part) -> tuple[Any, bytes]:
    try:
        return decode(raw)
    except (ValueError, RecursionError):
        raise _no_page(part) from None


def _key(raw: bytes, part: Part) -> str | None:
    try:
        key = object_key(part, _head.decode(raw).id)
    except (msgspec.DecodeError, RecursionError):
        return None
    return key if is_usable(key) else None


@cache
def _digest_of(part: Part) -> Callable[[bytes], bytes]:
    """What makes a record's digest of its bytes. Records that were asked for with other selections have others."""
    selection = sha256(",".join(part.select).encode())

    def digest(raw: bytes) -> bytes:
        # Processors have instructions for it: 0.9 µs a record where blake2b takes 1.6.
        one = selection.copy()
        one.update(raw)
        return one.digest()[:16]

    return digest


def _is_link(link: Any) -> bool:
    """Whether it can be kept and followed: PostgreSQL keeps no NUL, and httpx sends no control character and follows
    no address of more than 65,536 characters."""
    return isinstance(link, str) and 0 < len(link) <= _LONGEST_LINK and _CONTROL_CHARACTER.search(link) is None


def _merge(earlier: ObjectRecord, later: ObjectRecord, part: Part) -> None:
    """Lays a later record of the same object over an earlier one.

    What is gone for good in the directory does not come back, whatever order its records come in. Sites have an order:
    their last record is the one to go by.
    """
    earlier.occurrences += later.occurrences
    earlier.digest = b""
    earlier.links.extend(later.links)
    if earlier.removal is not Removal.HARD_DELETED or part.collection == "sites":
        earlier.removal = later.removal
        earlier.properties = {**earlier.properties, **later.properties}
    if earlier.removal is Removal.HARD_DELETED:
        earlier.properties = {}
