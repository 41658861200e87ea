"""Leases on the parts of a run: take, get on, give back, end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from shared.cache import dirty_parts, organizations, part_states, runs, throttles, waiting_parts
from shared.cache.escrows import EscrowCounts
from shared.cache.fencing import update_leased
from shared.cache.selections import selected, selection_text
from shared.cache.tables import parts, run_parts
from shared.cache.tables import runs as runs_table
from shared.models.errors import NotFound, SharedWait
from shared.models.organizations import Organization
from shared.models.parts import Part, PartName
from shared.models.runs import Counts, RunStatus, RunType
from shared.models.slices import WITHOUT_DELTA, Slice, SliceMessage, Stage
from shared.models.synchronization import SynchronizationError


def take(
    connection: Connection,
    message: SliceMessage,
    now: datetime,
    lease: timedelta,
    relist_after: timedelta = timedelta.max,
    *,
    longest_throttling: timedelta = timedelta.max,
    heeds_waits: bool = True,
) -> Slice | None:
    """Leases the part to the caller; None when the message is a duplicate, comes too early, or too late.

    None as well when the part would ask Graph while its family has to wait; the planner wakes it when that is over.

    Args:
        connection: The transaction.
        message: The message that asks for the slice.
        now: The moment from which the lease lasts.
        lease: How long it lasts.
        relist_after: How long a complete listing is good enough of a part of which not every change is told.
        longest_throttling: How long a part may sleep through the waits of its family before it asks all the same.
        heeds_waits: False for a caller who asks Graph nothing.
    """
    key = message.organization_key
    try:
        organization = organizations.lock(connection, key)
    except NotFound:
        return None
    row = connection.execute(
        select(run_parts).where(
            run_parts.c.organization_id == key,
            run_parts.c.run_id == message.activity_identifier,
            run_parts.c.part == message.part,
            run_parts.c.status.in_(runs.UNFINISHED),
            or_(
                and_(run_parts.c.lease_until.is_(None), run_parts.c.fence == message.fence),
                run_parts.c.lease_until <= now,
            ),
        )
    ).one_or_none()
    if (
        row is None
        or waiting_parts.rests(connection, key, message.activity_identifier)
        or not _running(connection, key, message.activity_identifier, now)
    ):
        return None
    if row.status == RunStatus.QUEUED and row.part in waiting_parts.find_waiting(connection, key, row.run_id):
        return None
    state = connection.execute(select(parts).where(parts.c.organization_id == key, parts.c.part == message.part)).one()
    part = selected(PartName(row.part), state.wanted_selection)
    if heeds_waits and Stage(row.stage).asks_graph and not _waits_too_long(row.waits_since, now, longest_throttling):
        until = throttles.until(connection, key, part.family, now)
        if until is not None:
            _put_to_sleep(connection, row, SharedWait(part.family, until), now)
            return None
    begun: dict[str, Any] = {}
    if row.status == RunStatus.QUEUED:
        begun = _beginning(connection, row, state, part, now, relist_after)
        dirty_parts.forget(connection, key, [part.name])
    taken = connection.execute(
        update(run_parts)
        .where(_same_part(key, row.run_id, row.part))
        .values(
            fence=row.fence + 1,
            attempts=row.attempts + 1,
            lease_until=now + lease,
            wake_at=now + lease,
            **begun,
        )
        .returning(*run_parts.c)
    ).one()
    return Slice(
        organization=organization,
        run_id=taken.run_id,
        part=part,
        type=RunType(taken.type),
        stage=Stage(taken.stage),
        cursor=taken.cursor,
        delta_link=taken.delta_link,
        generation=taken.generation,
        attempts=taken.attempts,
        fence=taken.fence,
        total=taken.total,
        started_at=taken.started_at,
        last_error=runs.read_error(row),
        rebuild=state.rebuild,
        beside=taken.type == RunType.FULL and state.listed_at is not None,
        staged=taken.staged,
        checkpoint=taken.checkpoint,
    )


def outside_of_runs(connection: Connection, organization: Organization, part: Part, now: datetime) -> Slice:
    """Work on a part that belongs to no run, under no lease: what it writes counts as seen by the run under way."""
    query = select(parts.c.generation).where(parts.c.organization_id == organization.key, parts.c.part == part.name)
    return Slice(
        organization=organization,
        run_id="",
        part=part,
        type=RunType.INCREMENTAL,
        stage=Stage.LISTING,
        cursor=None,
        delta_link=None,
        generation=connection.execute(query).scalar_one(),
        attempts=0,
        fence=0,
        total=None,
        started_at=now,
    )


def advance(
    connection: Connection,
    work: Slice,
    counts: Counts,
    now: datetime,
    lease: timedelta,
    resource_units: int = 0,
) -> None:
    """Keeps how far the slice has come and renews its lease; part of the transaction that wrote the rows.

    Args:
        connection: The transaction.
        work: The slice as it is now.
        counts: What the step adds to the run's counts.
        now: The moment from which the lease lasts.
        lease: How long it lasts.
        resource_units: What Graph took for what the step wrote.

    Raises:
        StaleSlice: The lease is lost; the transaction must not be committed.
    """
    update_leased(
        connection,
        work,
        added={**counts.as_dict(), "resource_units": resource_units},
        type=work.type,
        stage=work.stage,
        cursor=work.cursor,
        checkpoint=work.checkpoint,
        delta_link=work.delta_link,
        generation=work.generation,
        total=work.total,
        staged=work.staged,
        attempts=0,
        waits_since=None,
        lease_until=now + lease,
        wake_at=now + lease,
    )


def restart_full(connection: Connection, work: Slice) -> Slice:
    """Begins the part again as a full listing of a new generation, in which every object counts as received anew.

    Raises:
        StaleSlice: The lease is lost.
    """
    generation = part_states.next_generation(connection, work.organization.key, work.part.name)
    part_states.change(connection, work.organization.key, work.part.name, full_run_required=True)
    update_leased(
        connection,
        work,
        added={"restarts": 1},
        type=RunType.FULL,
        stage=Stage.LISTING,
        cursor=None,
        checkpoint=None,
        delta_link=None,
        generation=generation,
        staged=0,
        imported=0,
        entitled=0,
        entitled_for_provisioning=0,
    )
    return replace(
        work,
        type=RunType.FULL,
        stage=Stage.LISTING,
        cursor=None,
        checkpoint=None,
        delta_link=None,
        generation=generation,
    )


def count_restarts(connection: Connection, work: Slice) -> int:
    """How often the part has begun again in this run."""
    return connection.execute(
        select(run_parts.c.restarts).where(_same_part(work.organization.key, work.run_id, work.part.name))
    ).scalar_one()


def beat(connection: Connection, work: Slice, now: datetime, lease: timedelta) -> None:
    """Renews the lease of a slice that is alive but has nothing to commit yet.

    Raises:
        StaleSlice: The lease is lost.
    """
    update_leased(connection, work, alive=True, lease_until=now + lease, wake_at=now + lease)


def give_back(
    connection: Connection, work: Slice, wake_at: datetime, error: SynchronizationError | None, *, blameless: bool
) -> SliceMessage:
    """Ends the slice with work left and returns the message that goes on with it, to be sent now or at ``wake_at``.

    Args:
        connection: The transaction.
        work: The slice.
        wake_at: When the planner sends the message, should nothing have come of it.
        error: What ended the slice, for people to see; None if nothing did.
        blameless: Whether the slice ended for no fault that repeats, so that its attempts start anew.
    """
    values: dict[str, Any] = {"lease_until": None, "wake_at": wake_at, **runs.error_columns(error)}
    if blameless:
        values["attempts"] = 0
    update_leased(connection, work, **values)
    return SliceMessage(
        organization_key=work.organization.key,
        activity_identifier=work.run_id,
        part=work.part.name,
        fence=work.fence,
    )


def count_attempts(connection: Connection, work: Slice) -> int:
    """Slices in a row since the part last got on, this one included unless it did."""
    return connection.execute(
        select(run_parts.c.attempts).where(_same_part(work.organization.key, work.run_id, work.part.name))
    ).scalar_one()


def abandon(connection: Connection, work: Slice, now: datetime) -> None:
    """Lets the lease lapse at once, so that the message's next delivery finds the part free."""
    update_leased(connection, work, lease_until=now)


def dead_letter(
    connection: Connection, message: SliceMessage, attempts: int, now: datetime, lease: timedelta
) -> Slice | None:
    """Leases a part whose message was given up by the queue; None when the part is over or somebody works on it, and
    when fewer than ``attempts`` slices in a row ended since it last got on."""
    row = connection.execute(
        select(run_parts.c.fence).where(
            _same_part(message.organization_key, message.activity_identifier, message.part),
            run_parts.c.attempts >= attempts,
            or_(run_parts.c.lease_until.is_(None), run_parts.c.lease_until <= now),
        )
    ).one_or_none()
    if row is None:
        return None
    return take(connection, message.model_copy(update={"fence": row.fence}), now, lease, heeds_waits=False)


def finish_part(
    connection: Connection,
    work: Slice,
    status: RunStatus,
    error: SynchronizationError | None,
    escrowed: EscrowCounts,
    now: datetime,
) -> None:
    """Ends the part's run; when it succeeded, its cursor becomes the part's.

    Raises:
        StaleSlice: The lease is lost.
    """
    key, name = work.organization.key, work.part.name
    update_leased(
        connection,
        work,
        status=status,
        ended_at=now,
        lease_until=None,
        wake_at=None,
        escrowed=escrowed.failed,
        escrowed_raw=escrowed.waiting,
        **runs.error_columns(error),
    )
    values: dict[str, Any] = {"last_run": work.run_id}
    if status in (RunStatus.SUCCEEDED, RunStatus.ENTRY_LEVEL_ERRORS):
        values |= {
            "delta_link": work.delta_link,
            # Another selection needs a cursor of its own (graph.md §4.2.5).
            "selection": selection_text(work.part.select),
            "full_run_required": parts.c.full_run_required_after >= work.generation,
            "rebuild": and_(parts.c.rebuild, parts.c.full_run_required_after >= work.generation),
            "last_successful_at": work.started_at,
        }
        if work.type is RunType.FULL:
            values["listed_at"] = work.started_at
    part_states.change(connection, key, name, **values)


def rest(
    connection: Connection, work: Slice, until: datetime, error: SynchronizationError, now: datetime, longest: timedelta
) -> bool:
    """Gives a throttled slice back until Graph may be asked again; False when it has not got on for too long."""
    since = connection.execute(
        select(run_parts.c.waits_since).where(_same_part(work.organization.key, work.run_id, work.part.name))
    ).scalar_one()
    if _waits_too_long(since, now, longest):
        return False
    give_back(connection, work, until, error, blameless=True)
    update_leased(connection, work, waits_since=since or now)
    return True


def _waits_too_long(since: datetime | None, now: datetime, longest: timedelta) -> bool:
    return since is not None and now - since >= longest


def _put_to_sleep(connection: Connection, row: Row[Any], wait: SharedWait, now: datetime) -> None:
    """Has the part woken when the wait is over; neither its attempts nor its fence count what it did not begin."""
    connection.execute(
        update(run_parts)
        .where(_same_part(row.organization_id, row.run_id, row.part))
        # A lease that has expired goes: the message that found it is used up, and the planner's needs no expired lease.
        .values(
            lease_until=None,
            wake_at=wait.until,
            waits_since=row.waits_since or now,
            **runs.error_columns(wait.told()),
        )
    )


def _running(connection: Connection, key: int, run_id: str, now: datetime) -> bool:
    status = connection.execute(
        select(runs_table.c.status).where(runs_table.c.organization_id == key, runs_table.c.run_id == run_id)
    ).scalar_one()
    return status == RunStatus.RUNNING or runs.start(connection, key, run_id, now)


def _is_outdated(part: Part, listed_at: datetime | None, now: datetime, relist_after: timedelta) -> bool:
    """Whether the last complete listing is too old for a part of which not every change is told."""
    if part.question is None or not part.question.relisted:
        return False
    return listed_at is None or now - listed_at >= relist_after


def _beginning(
    connection: Connection, row: Row[Any], state: Row[Any], part: Part, now: datetime, relist_after: timedelta
) -> dict[str, Any]:
    """The columns with which a part's run begins: a part without a usable cursor is read in full."""
    full = (
        row.type == RunType.FULL
        or state.full_run_required
        or state.delta_link == WITHOUT_DELTA
        or _is_outdated(part, state.listed_at, now, relist_after)
        or state.selection != selection_text(part.select)
    )
    return {
        "status": RunStatus.RUNNING,
        "started_at": now,
        "type": RunType.FULL if full else RunType.INCREMENTAL,
        "cursor": None if full else state.delta_link,
        "generation": part_states.next_generation(connection, row.organization_id, row.part),
    }


def _same_part(key: int, run_id: str, name: str) -> ColumnElement[bool]:
    return and_(run_parts.c.organization_id == key, run_parts.c.run_id == run_id, run_parts.c.part == name)
