"""What a page of Graph holds, once parsed: the records that the cache is brought in step with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from shared.models.parts import Relation


class Removal(StrEnum):
    """Why Graph says an object is gone: the reason in ``@removed`` (graph.md §4.4)."""

    SOFT_DELETED = "changed"
    HARD_DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class LinkChange:
    """One entry of ``members@delta`` or ``owners@delta``: ``target_id`` joined or left the object's relation."""

    relation: Relation
    target_id: str
    target_type: str | None
    removed: bool


@dataclass(slots=True)
class ObjectRecord:
    """All that one page says about one object.

    Attributes:
        object_id: The key in the cache: lower case, for sites the web's id alone.
        properties: The properties received; empty when the page only brings links.
        removal: Set when the object is gone.
        occurrences: How many records of the page were about this object (replays and slices of links).
        links: The link changes in the order received.
    """

    object_id: str
    properties: dict[str, Any] = field(default_factory=dict[str, Any])
    removal: Removal | None = None
    occurrences: int = 1
    links: list[LinkChange] = field(default_factory=list[LinkChange])


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its records by object, and the link behind it; a list that is no delta query ends without one."""

    records: Sequence[ObjectRecord]
    next_link: str | None
    delta_link: str | None
