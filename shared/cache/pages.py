"""Applies what a slice learned to the cache, within the caller's transaction, and counts it (graph.md §3.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from shared.cache import slices, sweep
from shared.cache.links import LINKED_PARTS, delete_links_of, write_links
from shared.cache.objects import write_objects
from shared.cache.organizations import next_change_number
from shared.models.parts import PartName
from shared.models.records import ObjectRecord
from shared.models.runs import Counts, RunType
from shared.models.slices import Slice


def apply_records(connection: Connection, work: Slice, records: Sequence[ObjectRecord], now: datetime) -> Counts:
    """Brings the cache in step with a page's records."""
    key = work.organization.key
    change_number = next_change_number(connection, key)
    written = write_objects(connection, work, records, change_number, now)
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
    """Makes tombstones of the next objects that a complete listing did not name.

    Returns:
        The counts, and where to go on; None at the end.
    """
    key = work.organization.key
    change_number = next_change_number(connection, key)
    ids, live, cursor = sweep.sweep_objects(
        connection, work, soft_deleted_too=soft_deleted_too, change_number=change_number, now=now
    )
    entries: Counter[PartName] = Counter({work.part.name: -live})
    rows = len(ids) + _take_links_along(connection, work, ids, change_number, now, entries)
    slices.add_entries(connection, key, entries.items())
    return Counts(exports=rows, exported=rows), cursor


def sweep_links(connection: Connection, work: Slice, now: datetime) -> tuple[Counts, str | None]:
    """Makes tombstones of the next links that a complete listing did not name.

    Returns:
        As ``sweep_objects``.
    """
    key = work.organization.key
    rows, entries, cursor = sweep.sweep_links(connection, work, next_change_number(connection, key), now)
    slices.add_entries(connection, key, entries.items())
    return Counts(exports=rows, exported=rows), cursor


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
