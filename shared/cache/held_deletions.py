"""Deletions that a run has learned of and that wait for its end: none is carried out before their number is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, update

from shared.cache import bulk
from shared.cache.derived import find_orphans
from shared.cache.runs import at_work_on
from shared.cache.tables import escrows, objects
from shared.cache.tables import held_deletions as held
from shared.models.escrows import UNIDENTIFIED, HeldDeletionEntity
from shared.models.parts import CATALOGUE, PartName
from shared.models.records import LinkKey, ObjectRecord, Removal
from shared.models.slices import Slice

ABSENT = "absent"
"""The reason of a deletion that no ``@removed`` announced: a complete listing did not name the object."""

ABSENT_LINK = "absentLink"
"""The reason of a link that a complete listing did not name, among too many others."""

_PART_OF_RELATION = {relation: part.name for part in CATALOGUE.values() for relation in part.relations}


def hold(connection: Connection, work: Slice, removals: Sequence[tuple[str, str]], now: datetime) -> None:
    """Keeps removals, each an object's id and the reason; what was approved stays so.

    What goes along with the object that it was derived from needs no approval beside that object's.
    """
    if not removals:
        return
    ids = [object_id for object_id, _ in removals]
    orphans = find_orphans(connection, work.organization.key, work.part, ids)
    query = select(held.c.object_id, held.c.reason, held.c.held_at, held.c.approved).where(_of_part(work))
    wanted = [(object_id,) for object_id in ids]
    rows = connection.execute(bulk.by_keys(connection, query, [held.c.object_id], wanted))
    earlier = {row.object_id: row for row in rows}
    key, part = work.organization.key, work.part.name.value
    kept: list[bulk.Row] = []
    for object_id, reason in removals:
        before = earlier.get(object_id)
        if before is None:
            kept.append((key, part, object_id, reason, now, object_id in orphans))
            continue
        # Graph promises no order: a soft deletion that is told after the one for good is the older of the two.
        for_good = before.reason == Removal.HARD_DELETED
        approved = before.approved or object_id in orphans
        kept.append((key, part, object_id, before.reason if for_good else reason, before.held_at, approved))
    bulk.upsert(connection, held, kept)


def release(connection: Connection, work: Slice, ids: Collection[str]) -> Mapping[str, str]:
    """Forgets the deletions of objects that are there again, or that have been carried out.

    Returns:
        The reasons of those that waited, by the object's id.
    """
    if not ids or not _any(connection, work):
        return {}
    given = bulk.keys(connection, [(object_id,) for object_id in ids], 1)
    released = (
        delete(held).where(_of_part(work), held.c.object_id.in_(given)).returning(held.c.object_id, held.c.reason)
    )
    return {row.object_id: row.reason for row in connection.execute(released)}


def among(connection: Connection, work: Slice, names: Collection[str]) -> set[str]:
    """Of which of these objects, and of links, each named as it is kept, a deletion waits."""
    if not names or not _any(connection, work):
        return set()
    query = select(held.c.object_id).where(_of_part(work))
    wanted = [(name,) for name in names]
    return set(connection.execute(bulk.by_keys(connection, query, [held.c.object_id], wanted)).scalars())


def hold_links(connection: Connection, work: Slice, links: Iterable[LinkKey], now: datetime) -> None:
    """Keeps the removals of links, each named by relation, source and target."""
    hold(connection, work, [("/".join(link), ABSENT_LINK) for link in links], now)


def release_links(connection: Connection, key: int, links: Iterable[LinkKey]) -> None:
    """Forgets the deletions of links that Graph has named since, or that are gone."""
    by_part: defaultdict[PartName, list[tuple[str]]] = defaultdict(list)
    for link in links:
        by_part[_PART_OF_RELATION[link[0]]].append(("/".join(link),))
    for part, ids in by_part.items():
        of_part = and_(held.c.organization_id == key, held.c.part == part)
        if connection.execute(select(held.c.object_id).where(of_part).limit(1)).first() is not None:
            connection.execute(delete(held).where(of_part, held.c.object_id.in_(bulk.keys(connection, ids, 1))))


def count(connection: Connection, work: Slice) -> int:
    """How many of the part's deletions wait without approval, and can be carried out."""
    return _count(connection, work)


def count_objects(connection: Connection, work: Slice) -> int:
    """As ``count``, without those of links."""
    return _count(connection, work, held.c.reason != ABSENT_LINK)


def are_held_back(connection: Connection, key: int) -> bool:
    """Whether any of the organization's deletions wait for approval."""
    some = select(held.c.object_id).where(held.c.organization_id == key, ~held.c.approved, _is_certain()).limit(1)
    return connection.execute(some).first() is not None


def count_held_back(connection: Connection) -> Mapping[tuple[int, PartName], int]:
    """How many deletions wait for approval, by organization and part; those of parts that a run is at work on are still
    being collected."""
    query = select(held.c.organization_id, held.c.part, func.count().label("number"))
    query = query.where(~held.c.approved, ~at_work_on(held), _is_certain())
    rows = connection.execute(query.group_by(held.c.organization_id, held.c.part))
    return {(row.organization_id, PartName(row.part)): row.number for row in rows}


def next_removals(connection: Connection, work: Slice, *, approved_only: bool, limit: int) -> Sequence[ObjectRecord]:
    """The next deletions to be carried out, as records."""
    query = select(held.c.object_id, held.c.reason).where(_of_part(work), held.c.reason != ABSENT_LINK, _is_certain())
    if approved_only:
        query = query.where(held.c.approved)
    rows = connection.execute(query.order_by(held.c.object_id).limit(limit))
    return [
        ObjectRecord(
            row.object_id,
            removal=Removal.SOFT_DELETED if row.reason == Removal.SOFT_DELETED else Removal.HARD_DELETED,
        )
        for row in rows
    ]


def next_links(connection: Connection, work: Slice, limit: int) -> Sequence[LinkKey]:
    """The next links whose deletion was approved."""
    query = select(held.c.object_id).where(_of_part(work), held.c.reason == ABSENT_LINK, held.c.approved)
    rows = connection.execute(query.order_by(held.c.object_id).limit(limit)).scalars()
    return [cast(LinkKey, tuple(name.split("/"))) for name in rows]


def approve(connection: Connection, key: int) -> None:
    """Has all of the organization's held deletions carried out by the next run."""
    connection.execute(update(held).where(held.c.organization_id == key).values(approved=True))


def clear(connection: Connection, key: int, part: PartName | None = None) -> None:
    """Forgets the organization's held deletions, or those of one part."""
    condition = held.c.organization_id == key
    connection.execute(delete(held).where(condition if part is None else condition & (held.c.part == part)))


def forget_uncertain(connection: Connection, key: int) -> Collection[PartName]:
    """Forgets the organization's deletions that escrows cast doubt on, before those are thrown away.

    Returns:
        The parts that had any: only a full run tells now what is gone.
    """
    forgotten = delete(held).where(held.c.organization_id == key, ~_is_certain()).returning(held.c.part)
    return {PartName(name) for name in connection.execute(forgotten).scalars()}


def list_all(connection: Connection, key: int, skip: int, top: int) -> Sequence[HeldDeletionEntity]:
    """The organization's held deletions from ``skip`` on, at most ``top`` of them, by part and id."""
    rows = connection.execute(
        select(held, objects.c.display_name)
        .outerjoin(
            objects,
            and_(
                objects.c.organization_id == held.c.organization_id,
                objects.c.part == held.c.part,
                objects.c.object_id == held.c.object_id,
            ),
        )
        .where(held.c.organization_id == key)
        .order_by(held.c.part, held.c.object_id)
        .offset(skip)
        .limit(top)
    )
    return [
        HeldDeletionEntity(
            part=PartName(row.part),
            object_id=row.object_id,
            display_name=row.display_name,
            reason=row.reason,
            held_date_time=row.held_at,
            approved=row.approved,
        )
        for row in rows
    ]


def _count(connection: Connection, work: Slice, *conditions: ColumnElement[bool]) -> int:
    waiting = select(func.count()).select_from(held).where(_of_part(work), ~held.c.approved, _is_certain(), *conditions)
    return connection.execute(waiting).scalar_one()


def _is_certain() -> ColumnElement[bool]:
    """Not where a record could not be read that perhaps says that the object is there: a later one of the object, or,
    of an object that is missing, one that nobody can put a name to."""
    unidentified = and_(held.c.reason == ABSENT, escrows.c.object_id.startswith(UNIDENTIFIED))
    put_aside = select(escrows.c.object_id).where(
        escrows.c.organization_id == held.c.organization_id,
        escrows.c.part == held.c.part,
        or_(escrows.c.object_id == held.c.object_id, unidentified),
    )
    return ~put_aside.correlate(held).exists()


def _any(connection: Connection, work: Slice) -> bool:
    return connection.execute(select(held.c.object_id).where(_of_part(work)).limit(1)).first() is not None


def _of_part(work: Slice) -> ColumnElement[bool]:
    return and_(held.c.organization_id == work.organization.key, held.c.part == work.part.name)
