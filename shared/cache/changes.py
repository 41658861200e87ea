"""Decides what an object's record does to its row. Pure: no database.

Records are states, not events, so applying one twice, or an old one before a new one, ends in the same row
(graph.md §4.4: replays and disorder).
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from shared.models.documents import is_whole
from shared.models.parts import Part, Properties
from shared.models.records import ObjectRecord, Removal
from shared.models.sites import composite_id, is_composite


class Effect(Enum):
    """What became of a record.

    WRITE: The row is new or different.
    KEEP: The row is as the record says.
    IGNORE: The record is about nothing that the part keeps.
    """

    WRITE = "write"
    KEEP = "keep"
    IGNORE = "ignore"


class StoredObject(NamedTuple):
    """What the cache holds of an object; ``payload`` only where the decision needs it.

    Attributes:
        record_digest: Of the record that the payload was made of; empty where it was made of several.
    """

    record_digest: bytes
    generation: int
    soft_deleted_at: datetime | None
    deleted_at: datetime | None
    payload: Properties | None = None

    @property
    def live(self) -> bool:
        """Whether it counts as an entry: neither soft-deleted nor a tombstone."""
        return self.soft_deleted_at is None and self.deleted_at is None


class Decision(NamedTuple):
    """What to do with an object's row, and the row as it then is."""

    effect: Effect
    payload: Properties
    record_digest: bytes
    soft_deleted_at: datetime | None
    deleted_at: datetime | None

    @property
    def live(self) -> bool:
        """Whether the object then counts as an entry."""
        return self.soft_deleted_at is None and self.deleted_at is None


_IGNORE = Decision(Effect.IGNORE, {}, b"", None, None)


def needs_payload(record: ObjectRecord, stored: StoredObject, *, replaces: bool) -> bool:
    """Whether ``decide`` has to see the stored payload: not of what is gone, nor where the record replaces it with what
    it was made of."""
    return record.removal is not Removal.HARD_DELETED and not (replaces and _is_made_of(stored, record))


def stays_in_scope(part: Part, record: ObjectRecord, stored: StoredObject, *, replaces: bool) -> bool:
    """Whether a live object still belongs to the part with what the record says of it."""
    if part.in_scope({}):
        return True
    known = {} if replaces and record.properties else stored.payload or {}
    return part.in_scope({**known, **record.properties})


def decide(part: Part, record: ObjectRecord, stored: StoredObject | None, *, replaces: bool, now: datetime) -> Decision:
    """What the record does.

    Graph promises no more than the changed properties in an incremental record and may bring a large group's links in
    records with nothing but the id, so properties are laid over those that are known; a full run's first record of an
    object replaces them (``replaces``).
    """
    if record.removal is Removal.HARD_DELETED:
        # An unknown object gets a tombstone too: an older record of it may still come.
        new = part.in_scope({}) if stored is None else stored.deleted_at is None
        return _tombstone(stored, now) if new else _IGNORE
    gone = stored is not None and stored.deleted_at is not None
    if gone and not (record.properties and record.removal is None):
        return _IGNORE
    known = {} if stored is None or gone or (replaces and record.properties) else stored.payload or {}
    payload = _laid_over(part, record, known)
    # Where nothing is known, documents need not be decoded.
    digest = record.digest if not known or known.keys() <= record.properties.keys() else b""
    if part.collection == "sites":
        payload = {**payload, "id": _site_id(payload, stored)}
    live = stored is not None and stored.deleted_at is None
    if not part.in_scope(payload):
        return _tombstone(stored, now) if stored is not None and live else _IGNORE
    soft_deleted_at = None
    if record.removal is Removal.SOFT_DELETED:
        soft_deleted_at = (stored.soft_deleted_at if stored is not None else None) or now
    same = (
        stored is not None
        and live
        and stored.soft_deleted_at == soft_deleted_at
        and (_is_made_of(stored, record) or stored.payload == payload)
    )
    effect = Effect.KEEP if same else Effect.WRITE
    return Decision(effect, payload, digest, soft_deleted_at, None)


def _is_made_of(stored: StoredObject, record: ObjectRecord) -> bool:
    return bool(record.digest) and stored.record_digest == record.digest


def _laid_over(part: Part, record: ObjectRecord, known: Properties) -> Properties:
    if not known and is_whole(part, record.properties):
        return record.properties
    return {**part.nothing_known, "id": record.object_id, **known, **record.properties}


def _site_id(payload: Properties, stored: StoredObject | None) -> Any:
    """The id by which Graph finds the site, once it is known: a record may have no more than the web's id."""
    known = (stored.payload or {}).get("id") if stored is not None else None
    return composite_id(payload) or (known if is_composite(known) else payload["id"])


def _tombstone(stored: StoredObject | None, now: datetime) -> Decision:
    return Decision(Effect.WRITE, {}, b"", stored.soft_deleted_at if stored else None, now)
