"""What a page of Graph holds, once parsed: the records that the cache is brought in step with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, cast

from shared.models.parts import Properties, Relation
from shared.models.sites import composite_id
from shared.models.synchronization import SynchronizationError


class Removal(StrEnum):
    """Why Graph says an object is gone: the reason in ``@removed`` (graph.md §4.4)."""

    SOFT_DELETED = "changed"
    HARD_DELETED = "deleted"


class LinkChange(NamedTuple):
    """One entry of ``members@delta`` or ``owners@delta``: ``target_id`` joined or left the object's relation."""

    relation: Relation
    target_id: str
    target_type: str | None
    removed: bool


LinkKey = tuple[Relation, str, str]
"""A link's relation, source id and target id."""


@dataclass(slots=True)
class ObjectRecord:
    """All that one page, or a reading of the object itself, says about one object.

    Attributes:
        object_id: The key in the cache: lower case, for sites the web's id alone.
        properties: The properties received; empty when the page only brings links. A ``Document`` where one record
            brought all that were selected and nothing else.
        removal: Set when the object is gone.
        occurrences: How many records of the page were about this object (replays and slices of links).
        links: The link changes in the order received.
        links_complete: ``links`` then are all the links the object has in the part's relations; others are over. What
            Graph does not list proves nothing: a soft-deleted object keeps its links, and service principals are
            members without being listed.
        digest: Of the record's bytes, where an object that is there was told in one record with properties; else empty.
            A row that was made of a record with the same digest need not be compared with it.
    """

    object_id: str
    properties: Properties = field(default_factory=dict[str, Any])
    removal: Removal | None = None
    occurrences: int = 1
    links: list[LinkChange] = field(default_factory=list[LinkChange])
    links_complete: bool = False
    digest: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class BrokenRecord:
    """A record that cannot be read; nothing else that its page says about the object is applied either.

    Attributes:
        object_id: The key in the cache if the record has a usable id; otherwise ``unidentified-`` and a digest of the
            record, so that the same record has the same key every time it comes.
        error: What is wrong, in terms of the record's members, never of their values.
        raw: The record as JSON, its members sorted by name; it may hold personal data. ``null`` for a record that can
            be read but not written, being nested too deeply.
    """

    object_id: str
    error: SynchronizationError
    raw: bytes

    @property
    def graph_id(self) -> str:
        """The id by which Graph is asked for the object: as Graph wrote it, where the record has it."""
        record = json.loads(self.raw)
        if not isinstance(record, dict):
            return self.object_id
        properties = cast(dict[str, Any], record)
        identifier = composite_id(properties) or properties.get("id")
        return identifier if isinstance(identifier, str) else self.object_id


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its records by object, and the link behind it; a list that is no delta query ends without one.

    An object is in ``records`` or in ``broken``, never in both, and once in either.

    Attributes:
        resource_units: What Graph took for it from the organization's budget (graph.md §6); 0 where Graph did not tell.
    """

    records: Sequence[ObjectRecord]
    next_link: str | None
    delta_link: str | None
    broken: Sequence[BrokenRecord] = ()
    resource_units: int = 0
