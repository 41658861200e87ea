"""Applies what a slice learned to the cache, within the caller's transaction, and counts it (graph.md §3.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DataError

from shared.cache import escrows, held_deletions, part_states, sweep
from shared.cache.bulk import RowsRefused
from shared.cache.links import LINKED_PARTS, delete_links, delete_links_of, find_live, write_links
from shared.cache.objects import write_objects
from shared.cache.organizations import next_change_number
from shared.models.documents import is_whole
from shared.models.parts import PartName
from shared.models.records import BrokenRecord, ObjectRecord, Page, Removal
from shared.models.retries import RetryPolicy
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError

_A_HANDFUL = 5


def apply_page(
    connection: Connection,
    work: Slice,
    page: Page,
    now: datetime,
    retry: RetryPolicy,
    *,
    holds_deletions: bool = True,
) -> Counts:
    """Brings the cache in step with a page; what cannot be read or written is put aside.

    Args:
        holds_deletions: As for ``apply_records``.
    """
    counts, refused = _apply_what_is_taken(
        connection, work, page.records, now, holds_deletions=holds_deletions, presumes_new=work.is_first_listing
    )
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
    presumes_new: bool = False,
) -> Counts:
    """Brings the cache in step with records.

    Args:
        holds_deletions: Whether removals of objects that people see wait for the run's end.
        presumes_new: As for ``write_objects``.

    Raises:
        RowsRefused: The database does not take one of them, or one was there that was presumed to be new; nothing of
            the transaction, or savepoint, may be kept.
    """
    key = work.organization.key
    change_number = next_change_number(connection, key)
    written = write_objects(
        connection, work, records, change_number, now, holds_deletions=holds_deletions, presumes_new=presumes_new
    )
    if written.links_unknown:
        part_states.require_full_run(connection, key, LINKED_PARTS)
    if written.incomplete and work.type is RunType.INCREMENTAL:
        part_states.require_full_run(connection, key, [work.part.name])
    entries: Counter[PartName] = Counter({work.part.name: written.added_entries})
    link_rows = _take_links_along(connection, work, written.hard_deleted, change_number, now, entries)
    if work.part.relations:
        rows, changed, unproven = write_links(connection, work, records, change_number, now)
        if unproven and work.run_id:
            # Work outside of runs makes up for nothing: the delta query still tells which links ended.
            part_states.require_full_run(connection, key, [work.part.name])
        link_rows += rows
        _add(entries, changed)
    part_states.add_entries(connection, key, entries.items())
    held_deletions.hold(connection, work, written.held, now)
    held = {object_id for object_id, _ in written.held}
    there = [record for record in records if record.object_id not in held]
    released = held_deletions.release(connection, work, [record.object_id for record in there])
    if released and any(_has_unknown_links(work, record, released) for record in there):
        part_states.require_full_run(connection, key, LINKED_PARTS)
    failed_before = escrows.among(connection, work, [record.object_id for record in records])
    if failed_before:
        whole = {record.object_id for record in records if _tells_everything(work, record)}
        escrows.forget(connection, key, work.part.name, failed_before & whole)
        if work.type is RunType.INCREMENTAL:
            escrows.hasten(connection, work, failed_before - whole, now)
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
    soft_deleted_too = soft_deleted_too and not escrows.any_without_id(connection, work)
    live, soft_deleted, cursor = sweep.find_unseen_objects(connection, work, soft_deleted_too=soft_deleted_too)
    held_deletions.hold(connection, work, [(object_id, held_deletions.ABSENT) for object_id in live], now)
    gone = [ObjectRecord(object_id, removal=Removal.HARD_DELETED) for object_id in soft_deleted]
    return _carry_out(connection, work, gone, now), cursor


def carry_out_deletions(
    connection: Connection, work: Slice, now: datetime, threshold: int | None, share: float = 1.0
) -> tuple[Counts, bool]:
    """Carries out the next of the part's deletions that wait: the approved ones, and all when they are not too many.

    Args:
        threshold: How many may be carried out without approval; None for any number.
        share: As which share of the part's live entries, where there is a threshold; a handful always may.

    Returns:
        The counts, and whether some are left that can be carried out.
    """
    waiting = held_deletions.count_objects(connection, work)
    too_many = threshold is not None and waiting > threshold
    if threshold is not None and work.part.keeps_objects and waiting > _A_HANDFUL:
        too_many |= waiting > share * part_states.count_entries(connection, work)
    removals = held_deletions.next_removals(connection, work, approved_only=too_many, limit=sweep.ROWS_PER_TRANSACTION)
    if removals:
        return _carry_out(connection, work, removals, now), True
    if approved := held_deletions.next_links(connection, work, sweep.ROWS_PER_TRANSACTION):
        change_number = next_change_number(connection, work.organization.key)
        rows = find_live(connection, work.organization.key, approved)
        counts = _delete_links(connection, work, rows, change_number, now)
        held_deletions.release_links(connection, work.organization.key, approved)
        return counts, True
    return Counts(exports=held_deletions.count(connection, work)), False


def holds_links_back(connection: Connection, work: Slice, threshold: int | None, share: float) -> bool:
    """Whether the complete listing left so many links out that they wait for approval.

    Memberships change by the thousand, so it takes both: more than the threshold, and more than the share of the links.
    """
    if threshold is None or not work.part.relations:
        return False
    unseen = sweep.count_unseen_links(connection, work)
    return unseen > threshold and unseen > share * sweep.count_live_links(connection, work)


def _carry_out(connection: Connection, work: Slice, removals: Sequence[ObjectRecord], now: datetime) -> Counts:
    """Applies removals that no page brings: nothing of them counts as received."""
    if not removals:
        return Counts()
    counts = apply_records(connection, work, removals, now, holds_deletions=False)
    return Counts(exports=counts.exports, exported=counts.exported)


def _apply_what_is_taken(
    connection: Connection,
    work: Slice,
    records: Sequence[ObjectRecord],
    now: datetime,
    *,
    holds_deletions: bool,
    presumes_new: bool,
) -> tuple[Counts, list[BrokenRecord]]:
    """Applies records and finds, by halves, those that the database does not take."""
    # A first listing brings what is new, but for records that come again; to look for a page's 999 takes 3 to 5 ms.
    for presumption in (True, False) if presumes_new else (False,):
        try:
            with connection.begin_nested():
                counts = apply_records(
                    connection, work, records, now, holds_deletions=holds_deletions, presumes_new=presumption
                )
                return counts, []
        except (RowsRefused, DataError):
            pass
    if len(records) == 1:
        return Counts(), [_refused(work, records[0])]
    middle = len(records) // 2
    counts, refused = Counts(), list[BrokenRecord]()
    for half in (records[:middle], records[middle:]):
        more, more_refused = _apply_what_is_taken(
            connection, work, half, now, holds_deletions=holds_deletions, presumes_new=False
        )
        counts, refused = counts + more, refused + more_refused
    return counts, refused


def _has_unknown_links(work: Slice, record: ObjectRecord, released: Mapping[str, str]) -> bool:
    """Whether the object was taken for gone, though it never went, and is there again: as ``links_unknown``."""
    reason = released.get(record.object_id)
    if reason is None or record.removal is not None or not work.part.takes_links_along:
        return False
    return bool(work.part.relations) or reason != Removal.SOFT_DELETED


def _tells_everything(work: Slice, record: ObjectRecord) -> bool:
    """Whether the record makes up for an earlier one of the object that could not be read or written.

    A slice of links does not: Graph tells each change of a link once. A full run's listing as a whole does.
    """
    if record.links_complete or record.removal is not None:
        return True
    return not work.part.relations and is_whole(work.part, record.properties)


def _refused(work: Slice, record: ObjectRecord) -> BrokenRecord:
    raw: dict[str, Any] = {"id": record.object_id, **record.properties}
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
    """Makes tombstones of the next links that a complete listing did not name; of none where it had records that nobody
    could put a name to, which may have been slices of any group's links.

    Returns:
        As ``sweep_objects``.
    """
    if escrows.any_without_id(connection, work):
        return Counts(), None
    change_number = next_change_number(connection, work.organization.key)
    unseen, cursor = sweep.find_unseen_links(connection, work)
    return _delete_links(connection, work, unseen, change_number, now), cursor


def hold_links(connection: Connection, work: Slice, now: datetime) -> tuple[Counts, str | None]:
    """Has the next links that a complete listing did not name wait for approval; else as ``sweep_links``.

    Returns:
        As ``sweep_objects``.
    """
    if escrows.any_without_id(connection, work):
        return Counts(), None
    unseen, cursor = sweep.find_unseen_links(connection, work)
    named = [(row.relation, row.source_id, row.target_id) for row in unseen]
    held_deletions.hold_links(connection, work, named, now)
    return Counts(), cursor


def require_rebuild(connection: Connection, key: int, names: Sequence[PartName]) -> None:
    """Has the next run of these parts write every row again.

    Their live entries are counted now and once more at that run's end: on a wrong number it could not even begin.
    """
    part_states.require_full_run(connection, key, names, rebuild=True)
    for name in names:
        recount_entries(connection, key, name)


def recount_entries(connection: Connection, key: int, name: PartName) -> None:
    """Counts a part's live entries in the cache, whatever was counted before."""
    part_states.set_entries(connection, key, name, sweep.count_live(connection, key, name))


def _delete_links(
    connection: Connection, work: Slice, gone: Sequence[Row[Any]], change_number: int, now: datetime
) -> Counts:
    """Ends links that were found under this change number: without it another part may end, and count, them too."""
    rows, entries = delete_links(connection, gone, change_number, now, work.generation)
    part_states.add_entries(connection, work.organization.key, entries.items())
    return Counts(exports=rows, exported=rows)


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
