"""The change log: what happened to the tenant, in order, and what of it matters to one delta round."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

TypeOfChange = Literal["created", "updated", "removed", "restored", "members", "owners"]


class Change(NamedTuple):
    """One entry: an object's state, some of its properties, or one of its links changed."""

    target: int
    what: TypeOfChange
    properties: tuple[str, ...] = ()
    ref: int = -1


@dataclass(slots=True)
class ChangedObject:
    """All that happened to one object between two moments; `properties` None means the whole object."""

    index: int
    properties: set[str] | None = field(default_factory=set)
    links: dict[str, dict[int, None]] = field(default_factory=dict)
    restored: bool = False


class ChangeLog:
    """The entries of one resource with their sequence numbers."""

    def __init__(self) -> None:
        self._sequences = array("Q")
        self._changes: list[Change] = []

    def append(self, sequence: int, change: Change) -> None:
        self._sequences.append(sequence)
        self._changes.append(change)

    def changed(self, since: int, until: int, tracked: Collection[str]) -> list[ChangedObject]:
        """The objects with a tracked change in (since, until], each once."""
        found: dict[int, ChangedObject] = {}
        first, last = bisect_right(self._sequences, since), bisect_right(self._sequences, until)
        for change in self._changes[first:last]:
            what = change.what
            if what == "updated" and not any(name in tracked for name in change.properties):
                continue
            if what in ("members", "owners") and what not in tracked:
                continue
            entry = found.get(change.target)
            if entry is None:
                entry = found[change.target] = ChangedObject(change.target)
            if what == "updated":
                if entry.properties is not None:
                    entry.properties.update(change.properties)
            elif what in ("members", "owners"):
                entry.links.setdefault(what, {})[change.ref] = None
            else:
                entry.properties = None
                entry.restored = entry.restored or what == "restored"
        return list(found.values())


class History:
    """The tenant's sequence number, and a fingerprint of all that led to each number.

    A token carries both: after a restart of the tenant the numbers begin again, and a token from
    before must not be taken for one of the new history that happens to have the same number.
    """

    def __init__(self, origin: str) -> None:
        self._fingerprints = array("Q", [self._digest(origin.encode())])

    @staticmethod
    def _digest(data: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(data, digest_size=6).digest(), "big")

    @property
    def sequence(self) -> int:
        return len(self._fingerprints) - 1

    def advance(self, *what: Any) -> int:
        self._fingerprints.append(self._digest(f"{self._fingerprints[-1]}{what!r}".encode()))
        return self.sequence

    def fingerprint(self, sequence: int) -> int | None:
        return self._fingerprints[sequence] if 0 <= sequence <= self.sequence else None
