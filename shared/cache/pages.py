"""Applies what a slice learned to the cache, within the caller's transaction, and counts it (graph.md §3.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection

from shared.cache import escrows, held_deletions, slices, sweep
from shared.cache.bulk import RowsRefused
from shared.cache.links import LINKED_PARTS, delete_links_of, write_links
from shared.cache.objects import write_objects
from shared.cache.organizations import next_change_number
from shared.models.escrows import RetryPolicy
from shared.models.parts import PartName
from shared.models.records import BrokenRecord, ObjectRecord, Page, Removal
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError


def apply_page(connection: Connection, work: Slice, page: Page, now: datetime, retry: RetryPolicy) -> Counts:
    """Brings the cache in step with a page; what cannot be read or written is put aside."""
    counts, refused = _apply_what_is_taken(connection, work, page.records, now)
    failures = [*page.broken, *refused]
    received = escrows.put(connection, work, failures, now, retry)
    return counts + Counts(imported=received, imported_deltas=len(failures))


def apply_records(
    connection: Connection,
    work: Slice,
    records: Sequence[ObjectRecord],
    now: datetime,
    *,
    holds_deletions: bool = True,
) -> Counts:
    """Brings the cache in step with records.

    Args:
        holds_deletions: Whether removals of objects that people see wait for the run's end.

    Raises:
        RowsRefused: The database does not take one of them; nothing of the transaction, or savepoint, may be kept.
    """
    key = work.organization.key
    change_number = next_change_number(connection, key)
    written = write_objects(connection, work, records, change_number, now, holds_deletions=holds_deletions)
    if written.links_unknown:
        slices.require_full_run(connection, key, LINKED_PARTS)
    if written.incomplete and work.type is RunType.INCREMENTAL:
        slices.require_full_run(connection, key, [work.part.name])
    entries: Counter[PartName] = Counter({work.part.name: written.added_entries})
    link_rows = _take_links_along(connection, work, written.hard_deleted, change_number, now, entries)
    if work.part.relations:
        rows, changed = write_links(connection, work, records, change_number, now)
        link_rows += rows
        _add(entries, changed)
    slices.add_entries(connection, key, entries.items())
    held_deletions.hold(connection, work, written.held, now)
    held = {object_id for object_id, _ in written.held}
    held_deletions.release(connection, work, [record.object_id for record in records if record.object_id not in held])
    escrows.forget(connection, key, work.part.name, [record.object_id for record in records])
    reference_deltas = sum(len(record.links) for record in records)
    return Counts(
        imported=written.imported,
        imported_deltas=sum(record.occurrences for record in records) + reference_deltas,
        imported_reference_deltas=reference_deltas,
        entitled=written.entitled,
        entitled_for_provisioning=written.entitled,
        exports=written.written + link_rows,
        exported=written.written + link_rows,
    )


def sweep_objects(
    connection: Connection, work: Slice, now: datetime, *, soft_deleted_too: bool
) -> tuple[Counts, str | None]:
    """Has the next objects that a complete listing did not name wait for deletion; those that were soft-deleted, and
    that nobody sees, go at once.

    Returns:
        The counts, and where to go on; None at the end.
    """
    live, soft_deleted, cursor = sweep.find_unseen_objects(connection, work, soft_deleted_too=soft_deleted_too)
    held_deletions.hold(connection, work, [(object_id, held_deletions.ABSENT) for object_id in live], now)
    gone = [ObjectRecord(object_id, removal=Removal.HARD_DELETED) for object_id in soft_deleted]
    return _carry_out(connection, work, gone, now), cursor


def carry_out_deletions(
    connection: Connection, work: Slice, now: datetime, threshold: int | None
) -> tuple[Counts, bool]:
    """Carries out the next of the part's deletions that wait: the approved ones, and all when they are not too many.

    Args:
        threshold: How many may be carried out without approval; None for any number.

    Returns:
        The counts, and whether some are left that can be carried out.
    """
    waiting = held_deletions.count(connection, work)
    too_many = threshold is not None and waiting > threshold
    removals = held_deletions.next_removals(connection, work, approved_only=too_many, limit=sweep.ROWS_PER_TRANSACTION)
    if removals:
        return _carry_out(connection, work, removals, now), True
    return Counts(exports=waiting), False


def _carry_out(connection: Connection, work: Slice, removals: Sequence[ObjectRecord], now: datetime) -> Counts:
    """Applies removals that no page brings: nothing of them counts as received."""
    if not removals:
        return Counts()
    counts = apply_records(connection, work, removals, now, holds_deletions=False)
    return Counts(exports=counts.exports, exported=counts.exported)


def _apply_what_is_taken(
    connection: Connection, work: Slice, records: Sequence[ObjectRecord], now: datetime
) -> tuple[Counts, list[BrokenRecord]]:
    """Applies records and finds, by halves, those that the database does not take."""
    try:
        with connection.begin_nested():
            return apply_records(connection, work, records, now), []
    except RowsRefused:
        if len(records) == 1:
            return Counts(), [_refused(work, records[0])]
    middle = len(records) // 2
    first, refused_first = _apply_what_is_taken(connection, work, records[:middle], now)
    second, refused_second = _apply_what_is_taken(connection, work, records[middle:], now)
    return first + second, refused_first + refused_second


def _refused(work: Slice, record: ObjectRecord) -> BrokenRecord:
    raw: dict[str, Any] = {"id": record.object_id} | record.properties
    for link in record.links:
        removed = {"@removed": {"reason": Removal.HARD_DELETED}} if link.removed else {}
        raw.setdefault(f"{link.relation}@delta", []).append({"id": link.target_id} | removed)
    if record.removal is not None:
        raw["@removed"] = {"reason": record.removal}
    error = SynchronizationError(
        code="ObjectRefused",
        message=f"The cache database does not take the object as Graph sent it ({work.part.name}).",
    )
    return BrokenRecord(record.object_id, error, orjson.dumps(raw))


def sweep_links(connection: Connection, work: Slice, now: datetime) -> tuple[Counts, str | None]:
    """Makes tombstones of the next links that a complete listing did not name.

    Returns:
        As ``sweep_objects``.
    """
    key = work.organization.key
    rows, entries, cursor = sweep.sweep_links(connection, work, next_change_number(connection, key), now)
    slices.add_entries(connection, key, entries.items())
    return Counts(exports=rows, exported=rows), cursor


def recount_entries(connection: Connection, work: Slice) -> None:
    """Counts the part's live entries in the cache, whatever was counted before."""
    slices.set_entries(connection, work.organization.key, work.part.name, sweep.count_live(connection, work))


def _take_links_along(
    connection: Connection,
    work: Slice,
    ids: Sequence[str],
    change_number: int,
    now: datetime,
    entries: Counter[PartName],
) -> int:
    # Teams and sites share no link with anything: a team's group takes its links along in the part groups.
    if not ids or not work.part.takes_links_along:
        return 0
    rows, changed = delete_links_of(connection, work.organization.key, ids, change_number, now)
    _add(entries, changed)
    return rows


def _add(entries: Counter[PartName], changed: Counter[PartName]) -> None:
    for name, number in changed.items():
        entries[name] += number
