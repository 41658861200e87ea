"""Escrows: objects that could not be written, put aside until they succeed or disappear (graph.md §3.2)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, func, select, update

from shared.cache import bulk
from shared.cache.derived import find_derived
from shared.cache.tables import escrows, links, objects, seen_links, seen_objects
from shared.models.escrows import UNIDENTIFIED, EscrowEntity
from shared.models.parts import PartName
from shared.models.records import BrokenRecord
from shared.models.retries import RetryPolicy
from shared.models.runs import RunType
from shared.models.slices import Slice
from shared.models.synchronization import SynchronizationError

_LONGEST_KEY = 1_000
"""Bytes; what Graph gives as an id has some hundred at most."""


@dataclass(frozen=True, slots=True)
class EscrowCounts:
    """A part's escrows at the end of its run.

    Attributes:
        failed: Objects that failed in this run.
        waiting: All, with those whose time for a retry had not come.
        commonest_error: What most of them failed with.
    """

    failed: int
    waiting: int
    commonest_error: str = ""


def put(
    connection: Connection, work: Slice, failures: Sequence[BrokenRecord], now: datetime, retry: RetryPolicy
) -> int:
    """Puts objects aside; what the cache holds of them stays, although the run could not read or write them.

    Returns:
        How many of them the run had not received before.
    """
    if not failures:
        return 0
    failures = [_with_usable_key(failure) for failure in failures]
    key, part = work.organization.key, work.part.name
    known = _find(connection, work, [failure.object_id for failure in failures])
    rows: list[bulk.Row] = []
    for failure in failures:
        earlier = known.get(failure.object_id)
        failures_so_far, first_failed_at = (earlier.failures, earlier.first_failed_at) if earlier else (0, now)
        # A large group comes in many records, which is no reason to try it the later.
        failed_here = earlier is not None and earlier.last_run == work.run_id
        count_now = failures_so_far + (not failed_here)
        rows.append(
            (
                key,
                part.value,
                failure.object_id,
                failure.error.code,
                failure.error.message,
                failure.error.tenant_actionable,
                count_now,
                first_failed_at,
                now,
                retry.next_attempt(count_now, now),
                work.run_id,
                work.generation,
                failure.raw,
            )
        )
    bulk.upsert(connection, escrows, rows)
    return _note_as_seen(connection, work, [failure.object_id for failure in failures])


def count_all(connection: Connection) -> Mapping[tuple[int, PartName], int]:
    """How many objects wait for a retry, by organization and part."""
    query = select(escrows.c.organization_id, escrows.c.part, func.count().label("number"))
    rows = connection.execute(query.group_by(escrows.c.organization_id, escrows.c.part))
    return {(row.organization_id, PartName(row.part)): row.number for row in rows}


def among(connection: Connection, work: Slice, ids: Collection[str]) -> set[str]:
    """Which of these objects have been put aside."""
    if not ids or not _any(connection, work.organization.key, work.part.name):
        return set()
    return set(_find(connection, work, ids))


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


def hasten(connection: Connection, work: Slice, ids: Collection[str], now: datetime) -> None:
    """Has the escrows of objects that changed again tried again at once: what came is no substitute for what failed."""
    if not ids or not _any(connection, work.organization.key, work.part.name):
        return
    given = bulk.keys(connection, [(object_id,) for object_id in ids], 1)
    connection.execute(
        update(escrows)
        .where(_of_part(work), escrows.c.object_id.in_(given), escrows.c.next_attempt_at > now)
        .values(next_attempt_at=now)
    )


def forget_unseen(connection: Connection, work: Slice) -> None:
    """After a complete full listing: forgets the escrows of objects that it did not name."""
    connection.execute(
        delete(escrows).where(_of_part(work), escrows.c.generation < work.generation),
    )


def clear(connection: Connection, key: int, part: PartName | None = None) -> None:
    """Forgets all of the organization's escrows, or those of one part."""
    condition = escrows.c.organization_id == key
    connection.execute(delete(escrows).where(condition if part is None else condition & (escrows.c.part == part)))


def list_due(connection: Connection, work: Slice, now: datetime, limit: int) -> Sequence[BrokenRecord]:
    """The next objects, by id, whose time to be tried again has come and that Graph can be asked for."""
    due = _due(work, now).where(escrows.c.object_id > (work.cursor or ""), ~_without_id())
    return _records(connection, due.order_by(escrows.c.object_id).limit(limit))


def list_due_without_id(connection: Connection, work: Slice, now: datetime) -> Sequence[BrokenRecord]:
    """The objects whose time has come that have no id to ask Graph by."""
    return _records(connection, _due(work, now).where(_without_id()))


def _due(work: Slice, now: datetime) -> Select[Any]:
    return select(escrows).where(_of_part(work), escrows.c.next_attempt_at <= now)


def _without_id() -> ColumnElement[bool]:
    return escrows.c.object_id.like(f"{UNIDENTIFIED}%")


def _records(connection: Connection, query: Select[Any]) -> Sequence[BrokenRecord]:
    return [BrokenRecord(row.object_id, _error(row), orjson.dumps(row.raw)) for row in connection.execute(query)]


def any_without_id(connection: Connection, work: Slice) -> bool:
    """Whether the run has put records aside that nobody can put a name to: perhaps what its listing seems to leave out.

    Those of earlier runs are in the listing under their names, or gone.
    """
    query = select(escrows.c.object_id).where(_of_part(work), _without_id(), escrows.c.generation >= work.generation)
    return connection.execute(query.limit(1)).first() is not None


def count(connection: Connection, work: Slice) -> EscrowCounts:
    """The part's escrows."""
    number = func.count()
    by_error = connection.execute(
        select(
            escrows.c.error_code,
            escrows.c.error_message,
            number.label("waiting"),
            number.filter(escrows.c.last_run == work.run_id).label("failed"),
        )
        .where(_of_part(work))
        .group_by(escrows.c.error_code, escrows.c.error_message)
        .order_by(number.desc(), escrows.c.error_code)
    ).all()
    if not by_error:
        return EscrowCounts(0, 0)
    commonest = f"{by_error[0].error_code}: {by_error[0].error_message}"
    return EscrowCounts(sum(row.failed for row in by_error), sum(row.waiting for row in by_error), commonest)


def list_all(connection: Connection, key: int, skip: int, top: int) -> Sequence[EscrowEntity]:
    """The organization's escrows from ``skip`` on, at most ``top`` of them, by part and id."""
    shown = [column for column in escrows.columns if column is not escrows.c.raw]
    rows = connection.execute(
        select(*shown)
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


def find_error(connection: Connection, work: Slice, object_id: str) -> SynchronizationError | None:
    """What an object of the part that was put aside failed with; None when it was not put aside."""
    row = connection.execute(select(escrows).where(_of_part(work), escrows.c.object_id == object_id)).one_or_none()
    return None if row is None else _error(row)


def count_waiting(connection: Connection, key: int) -> dict[PartName, int]:
    """The numbers of the organization's escrows by part, for parts that have any."""
    rows = connection.execute(
        select(escrows.c.part, func.count().label("number"))
        .where(escrows.c.organization_id == key)
        .group_by(escrows.c.part)
    )
    return {PartName(row.part): row.number for row in rows}


def _with_usable_key(failure: BrokenRecord) -> BrokenRecord:
    """The failure under a key that every database takes: PostgreSQL keeps no NUL, and its indexes no long text."""
    identifier = failure.object_id.encode()
    if b"\x00" not in identifier and len(identifier) <= _LONGEST_KEY:
        return failure
    return replace(failure, object_id=f"{UNIDENTIFIED}{blake2b(identifier, digest_size=8).hexdigest()}")


def _error(row: Row[Any]) -> SynchronizationError:
    return SynchronizationError(
        code=row.error_code, message=row.error_message, tenant_actionable=row.error_tenant_actionable
    )


def _find(connection: Connection, work: Slice, ids: Collection[str]) -> dict[str, Row[Any]]:
    columns = (escrows.c.object_id, escrows.c.failures, escrows.c.first_failed_at, escrows.c.last_run)
    query = select(*columns).where(_of_part(work))
    wanted = [(object_id,) for object_id in ids]
    rows = connection.execute(bulk.by_keys(connection, query, [escrows.c.object_id], wanted))
    return {row.object_id: row for row in rows}


def _note_as_seen(connection: Connection, work: Slice, ids: Sequence[str]) -> int:
    """So that no sweep takes the objects, their links, and what was derived from them, for absent."""
    key, part, given = work.organization.key, work.part, set(ids)
    if part.source is not None:
        ids = [*ids, *(object_id for object_id in find_derived(connection, key, part, ids) if object_id not in given)]
    mine = (seen_objects.c.organization_id == key, seen_objects.c.part == part.name)
    noted = select(seen_objects.c.object_id).where(
        *mine, seen_objects.c.generation == work.generation, seen_objects.c.noted
    )
    wanted = [(object_id,) for object_id in ids]
    seen = set(connection.execute(bulk.by_keys(connection, noted, [seen_objects.c.object_id], wanted)).scalars())
    written = select(objects.c.object_id).where(
        objects.c.organization_id == key, objects.c.part == part.name, objects.c.generation >= work.generation
    )
    seen |= set(connection.execute(bulk.by_keys(connection, written, [objects.c.object_id], wanted)).scalars())
    new = [object_id for object_id in ids if object_id not in seen]
    bulk.upsert(
        connection, seen_objects, [(key, part.name.value, work.generation, object_id, True, False) for object_id in new]
    )
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
    return sum(object_id in given for object_id in new)


def _any(connection: Connection, key: int, part: PartName) -> bool:
    query = select(escrows.c.object_id).where(escrows.c.organization_id == key, escrows.c.part == part).limit(1)
    return connection.execute(query).first() is not None


def _of_part(work: Slice) -> ColumnElement[bool]:
    return and_(escrows.c.organization_id == work.organization.key, escrows.c.part == work.part.name)
