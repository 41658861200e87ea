"""Escrows: objects that could not be written, put aside until they succeed or disappear (graph.md §3.2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, select

from shared.cache import bulk
from shared.cache.tables import escrows, links, objects, seen_links, seen_objects
from shared.models.escrows import UNIDENTIFIED, EscrowEntity, RetryPolicy
from shared.models.parts import PartName
from shared.models.records import BrokenRecord
from shared.models.runs import RunType
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError


@dataclass(frozen=True, slots=True)
class EscrowCounts:
    """A part's escrows at the end of its run.

    Attributes:
        failed: Objects that failed in this run.
        waiting: All, with those whose time for a retry had not come.
    """

    failed: int
    waiting: int


def put(
    connection: Connection, work: Slice, failures: Sequence[BrokenRecord], now: datetime, retry: RetryPolicy
) -> int:
    """Puts objects aside; what the cache holds of them stays, although the run could not read or write them.

    Returns:
        How many of them the run had not received before.
    """
    if not failures:
        return 0
    key, part = work.organization.key, work.part.name
    known = _find(connection, work, [failure.object_id for failure in failures])
    rows: list[bulk.Row] = []
    for failure in failures:
        earlier = known.get(failure.object_id)
        failed_before, first_failed_at = (earlier[0], earlier[1]) if earlier else (0, now)
        rows.append(
            (
                key,
                part.value,
                failure.object_id,
                failure.error.code,
                failure.error.message,
                failure.error.tenant_actionable,
                failed_before + 1,
                first_failed_at,
                now,
                retry.next_attempt(failed_before + 1, now),
                work.run_id,
                work.generation,
                failure.raw,
            )
        )
    bulk.upsert(connection, escrows, rows)
    return _note_as_seen(connection, work, [failure.object_id for failure in failures])


def forget(connection: Connection, key: int, part: PartName, ids: Collection[str]) -> None:
    """Forgets the escrows of objects that succeeded or disappeared."""
    if not ids or not _any(connection, key, part):
        return
    connection.execute(
        delete(escrows).where(
            escrows.c.organization_id == key,
            escrows.c.part == part,
            escrows.c.object_id.in_(bulk.keys(connection, [(object_id,) for object_id in ids], 1)),
        )
    )


def forget_unseen(connection: Connection, work: Slice) -> None:
    """After a complete full listing: forgets the escrows of objects that it did not name."""
    connection.execute(
        delete(escrows).where(_of_part(work), escrows.c.generation < work.generation),
    )


def clear(connection: Connection, key: int) -> None:
    """Forgets all of the organization's escrows."""
    connection.execute(delete(escrows).where(escrows.c.organization_id == key))


def list_due(connection: Connection, work: Slice, now: datetime, limit: int) -> Sequence[BrokenRecord]:
    """The next objects, by id, whose time to be tried again has come; those without an id cannot be asked for."""
    query = (
        select(escrows)
        .where(
            _of_part(work),
            escrows.c.object_id > (work.cursor or ""),
            escrows.c.next_attempt_at <= now,
            escrows.c.object_id.not_like(f"{UNIDENTIFIED}%"),
        )
        .order_by(escrows.c.object_id)
        .limit(limit)
    )
    return [BrokenRecord(row.object_id, _error(row), orjson.dumps(row.raw)) for row in connection.execute(query)]


def count(connection: Connection, work: Slice) -> EscrowCounts:
    """The part's escrows."""
    counted = connection.execute(
        select(func.count().filter(escrows.c.last_run == work.run_id).label("failed"), func.count().label("waiting"))
        .select_from(escrows)
        .where(_of_part(work))
    ).one()
    return EscrowCounts(counted.failed, counted.waiting)


def list_all(connection: Connection, key: int, skip: int, top: int) -> Sequence[EscrowEntity]:
    """The organization's escrows from ``skip`` on, at most ``top`` of them, by part and id."""
    rows = connection.execute(
        select(escrows)
        .where(escrows.c.organization_id == key)
        .order_by(escrows.c.part, escrows.c.object_id)
        .offset(skip)
        .limit(top)
    )
    return [
        EscrowEntity(
            part=PartName(row.part),
            object_id=row.object_id,
            error=_error(row),
            failures=row.failures,
            first_failed_date_time=row.first_failed_at,
            last_failed_date_time=row.last_failed_at,
            next_attempt_date_time=row.next_attempt_at,
        )
        for row in rows
    ]


def count_waiting(connection: Connection, key: int) -> dict[PartName, int]:
    """The numbers of the organization's escrows by part, for parts that have any."""
    rows = connection.execute(
        select(escrows.c.part, func.count().label("number"))
        .where(escrows.c.organization_id == key)
        .group_by(escrows.c.part)
    )
    return {PartName(row.part): row.number for row in rows}


def _error(row: Row[Any]) -> SynchronizationError:
    return SynchronizationError(
        code=row.error_code, message=row.error_message, tenant_actionable=row.error_tenant_actionable
    )


def _find(connection: Connection, work: Slice, ids: Sequence[str]) -> dict[str, tuple[int, datetime]]:
    query = select(escrows.c.object_id, escrows.c.failures, escrows.c.first_failed_at).where(_of_part(work))
    wanted = [(object_id,) for object_id in ids]
    rows = connection.execute(bulk.by_keys(connection, query, [escrows.c.object_id], wanted))
    return {row.object_id: (row.failures, row.first_failed_at) for row in rows}


def _note_as_seen(connection: Connection, work: Slice, ids: Sequence[str]) -> int:
    """So that no sweep takes the objects and their links for absent."""
    key, part = work.organization.key, work.part
    mine = (seen_objects.c.organization_id == key, seen_objects.c.part == part.name)
    noted = select(seen_objects.c.object_id).where(*mine, seen_objects.c.generation == work.generation)
    wanted = [(object_id,) for object_id in ids]
    seen = set(connection.execute(bulk.by_keys(connection, noted, [seen_objects.c.object_id], wanted)).scalars())
    written = select(objects.c.object_id).where(
        objects.c.organization_id == key, objects.c.part == part.name, objects.c.generation >= work.generation
    )
    seen |= set(connection.execute(bulk.by_keys(connection, written, [objects.c.object_id], wanted)).scalars())
    new = [object_id for object_id in ids if object_id not in seen]
    bulk.upsert(connection, seen_objects, [(key, part.name.value, work.generation, object_id) for object_id in new])
    if part.relations and work.type is RunType.FULL:
        kept = select(links.c.relation, links.c.source_id, links.c.target_id).where(
            links.c.organization_id == key, links.c.deleted_at.is_(None)
        )
        sources = [(relation, object_id) for relation in part.relations for object_id in ids]
        rows = connection.execute(bulk.by_keys(connection, kept, [links.c.relation, links.c.source_id], sources))
        bulk.upsert(
            connection,
            seen_links,
            [(key, row.relation, work.generation, row.source_id, row.target_id) for row in rows],
        )
    return len(new)


def _any(connection: Connection, key: int, part: PartName) -> bool:
    query = select(escrows.c.object_id).where(escrows.c.organization_id == key, escrows.c.part == part).limit(1)
    return connection.execute(query).first() is not None


def _of_part(work: Slice) -> ColumnElement[bool]:
    return and_(escrows.c.organization_id == work.organization.key, escrows.c.part == work.part.name)
