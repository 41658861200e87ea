"""The numbers that are compared with Graph's, and what the comparisons found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from sys import maxsize
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Update, and_, case, func, select, update

from shared.cache import bulk, sweep
from shared.cache.links import UNLISTED_TYPE
from shared.cache.parity_columns import FOUND, read_parity
from shared.cache.runs import UNFINISHED, at_work_on
from shared.cache.tables import escrows, held_deletions, jobs, links, objects, parts, runs
from shared.models.parity import Parity
from shared.models.parts import CATALOGUE, PartName
from shared.models.synchronization import ScheduleState, StatusCode

_WITH_MEMBERS = (PartName.USERS, PartName.GROUPS)


@dataclass(frozen=True, slots=True)
class PartToCheck:
    """A part of which the cache has a complete listing, and that no run is reading.

    Attributes:
        generation: The number of its last run; another number later means that the cache has changed.
        entry_count: How many live entries it shows to people.
        first_look: What was found at first, when a drift has to be confirmed.
        explained: By how much the cache may differ from what Graph counts, because objects wait.
    """

    name: PartName
    generation: int
    entry_count: int
    first_look: Parity | None
    explained: int


def list_to_check(connection: Connection) -> Sequence[int]:
    """The numbers of the organizations whose jobs are going and are in no quarantine."""
    query = select(jobs.c.organization_id).where(_is_going())
    return connection.execute(query.order_by(jobs.c.organization_id)).scalars().all()


def due(now: ColumnElement[datetime]) -> Select[Any, Any]:
    """The numbers of the organizations with a drift that is to be confirmed and that no run is under way of, and since
    when."""
    return select(parts.c.organization_id, parts.c.parity_recheck_at.label("since")).where(_has_drift_to_confirm(now))


def take_due(connection: Connection, key: int, now: datetime, asked_again_at: datetime) -> bool:
    """Whether a drift of the organization is to be confirmed now.

    It is due again at ``asked_again_at``, should nothing come of it.
    """
    put_off = (
        update(parts)
        .where(parts.c.organization_id == key, _has_drift_to_confirm(now))
        .values(parity_recheck_at=asked_again_at)
    )
    return connection.execute(put_off).rowcount > 0


def is_going(connection: Connection, key: int) -> bool:
    """Whether the organization's job is going and in no quarantine."""
    mine = select(jobs.c.organization_id).where(jobs.c.organization_id == key, _is_going())
    return connection.execute(mine).first() is not None


def find_parts(
    connection: Connection, key: int, enabled: Collection[PartName], *, second_look: bool, due_until: datetime
) -> Sequence[PartToCheck]:
    """The parts to compare.

    Args:
        enabled: The organization's parts.
        second_look: Whether those whose drift has to be confirmed are wanted; else all others.
        due_until: Which second looks are wanted.
    """
    look = parts.c.parity_recheck_at <= due_until if second_look else parts.c.parity_recheck_at.is_(None)
    rows = connection.execute(
        select(parts).where(
            parts.c.organization_id == key,
            parts.c.part.in_(list(enabled)),
            ~parts.c.full_run_required,
            look,
            ~at_work_on(parts),
        )
    ).all()
    waiting = _waiting_objects(connection, key)
    return [
        PartToCheck(
            name=PartName(row.part),
            generation=row.generation,
            entry_count=row.entry_count,
            first_look=read_parity(*(getattr(row, column.name) for column in FOUND)) if second_look else None,
            explained=_explained(PartName(row.part), enabled, waiting),
        )
        for row in rows
    ]


def count_objects(connection: Connection, key: int, name: PartName) -> int:
    """How many live objects of the part the cache holds, whatever number it keeps of them."""
    return sweep.count_live(connection, key, name)


def list_live_groups(connection: Connection, key: int) -> Sequence[str]:
    """The ids of the groups that the cache takes for live."""
    query = select(objects.c.object_id).where(
        objects.c.organization_id == key,
        objects.c.part == PartName.GROUPS,
        objects.c.soft_deleted_at.is_(None),
        objects.c.deleted_at.is_(None),
    )
    return connection.execute(query).scalars().all()


def count_members(connection: Connection, key: int, groups: Sequence[str]) -> Mapping[str, int]:
    """How many members the cache holds of each of these groups, as Graph's ``members/$count`` would count them.

    Members that the cache knows as soft-deleted are left out, because Graph keeps their links but does not list them;
    those that it does not know (devices, for example) count. A group with a service principal among its members is left
    out: Graph's lists do not name those, and nothing tells whether its counts hold them.
    """
    rests = (
        select(objects.c.object_id)
        .where(
            objects.c.organization_id == links.c.organization_id,
            objects.c.part.in_(_WITH_MEMBERS),
            objects.c.object_id == links.c.target_id,
            objects.c.soft_deleted_at.is_not(None) | objects.c.deleted_at.is_not(None),
        )
        .exists()
    )
    unlisted = func.sum(case((links.c.target_type == UNLISTED_TYPE, 1), else_=0))
    members = func.sum(case((rests, 0), else_=1))
    query = (
        select(links.c.source_id, members.label("members"), unlisted.label("unlisted"))
        .where(links.c.organization_id == key, links.c.relation == "members", links.c.deleted_at.is_(None))
        .group_by(links.c.source_id)
    )
    rows = connection.execute(bulk.by_keys(connection, query, [links.c.source_id], [(group,) for group in groups]))
    counted = {row.source_id: None if row.unlisted else int(row.members) for row in rows}
    numbers = {group: counted.get(group, 0) for group in groups}
    return {group: number for group, number in numbers.items() if number is not None}


def save(connection: Connection, key: int, name: PartName, found: Parity, look_again_at: datetime | None) -> None:
    """Keeps what a comparison found, and when a drift has to be confirmed."""
    connection.execute(
        _update_part(key, name).values(
            parity_checked_at=found.checked,
            parity_expected=found.expected,
            parity_cached=found.cached,
            parity_recheck_at=look_again_at,
        )
    )


def forget_second_look(connection: Connection, key: int, names: Collection[PartName]) -> None:
    """Gives up the confirmation of a drift: the next night looks anew."""
    connection.execute(
        update(parts)
        .where(parts.c.organization_id == key, parts.c.part.in_(list(names)))
        .values(parity_recheck_at=None)
    )


def _has_drift_to_confirm(now: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    going = select(jobs.c.organization_id).where(jobs.c.organization_id == parts.c.organization_id, _is_going())
    busy = select(runs.c.run_id).where(runs.c.organization_id == parts.c.organization_id, runs.c.status.in_(UNFINISHED))
    return and_(parts.c.parity_recheck_at <= now, going.exists(), ~busy.exists())


def _is_going() -> ColumnElement[bool]:
    return and_(jobs.c.schedule_state == ScheduleState.ACTIVE, jobs.c.status_code == StatusCode.ACTIVE)


def _waiting_objects(connection: Connection, key: int) -> Counter[PartName]:
    waiting: Counter[PartName] = Counter()
    for table in (escrows, held_deletions):
        number = select(table.c.part, func.count()).where(table.c.organization_id == key).group_by(table.c.part)
        waiting.update({PartName(name): count for name, count in connection.execute(number)})
    return waiting


def _explained(name: PartName, enabled: Collection[PartName], waiting: Counter[PartName]) -> int:
    if CATALOGUE[name].keeps_objects:
        return waiting[name]
    # Of users that are not synchronized the cache does not know which are soft-deleted; and each object that waits may
    # be a member of any number of groups.
    unknown = PartName.USERS not in enabled or any(waiting[part] for part in (name, *_WITH_MEMBERS))
    return maxsize if unknown else 0


def _update_part(key: int, name: PartName) -> Update:
    return update(parts).where(parts.c.organization_id == key, parts.c.part == name)
