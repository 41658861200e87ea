"""What people do with a job: start, pause, restart, quarantine. Each may be asked for twice."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from shared.cache import (
    cursors,
    escrows,
    held_deletions,
    jobs,
    organizations,
    pages,
    part_states,
    runs,
    waiting_parts,
)
from shared.models.errors import BadRequest, Conflict
from shared.models.jobs import Restart
from shared.models.organizations import AuthenticationType, Organization
from shared.models.parts import PartName
from shared.models.restart import RestartScope
from shared.models.runs import Run, RunType
from shared.models.slices import SliceMessage
from shared.models.synchronization import QuarantineReason, ScheduleState, SynchronizationError
from shared.services import Services
from shared.sync.lifecycle import Condition, Event, after
from shared.sync.outcome import in_condition
from shared.sync.planning import start_run
from shared.sync.quarantine import QuarantineRules, impose

_SENT_AGAIN_WITHIN = timedelta(minutes=10)
"""Clients give up long before (graph.md §2.7)."""


def start(
    services: Services, key: int, run_type: RunType = RunType.INCREMENTAL, parts: Collection[PartName] | None = None
) -> tuple[Run, list[SliceMessage]]:
    """Starts a synchronization, or joins the one under way; a paused one goes on, a quarantine is lifted.

    Args:
        services: What to work with.
        key: The organization's number.
        run_type: Full or incremental; a part that was never read is read in full either way.
        parts: The parts to synchronize; None for all that the organization has.

    Returns:
        The run, and the messages to send.

    Raises:
        NotFound: The organization is not registered.
        Conflict: The organization does not authenticate as an application, or has no job.
        BadRequest: A part is not among the organization's.
    """
    with services.database.write() as connection:
        organization = organizations.lock(connection, key)
        refuse_to_run(organization)
        wanted = organization.entity.parts if parts is None else parts
        if not wanted:
            raise BadRequest("parts: at least one part is needed.")
        if unknown := [name for name in wanted if name not in organization.entity.parts]:
            raise BadRequest(f"parts: {organization.name} does not synchronize {', '.join(unknown)}.")
        resumed = _move(connection, services, key, Event.START)
        run_id, messages = start_run(connection, services, organization, run_type, wanted)
        run = runs.find(connection, organization, run_id)
        assert run is not None
        return run, resumed + messages


def start_job(services: Services, key: int) -> list[SliceMessage]:
    """Graph's start: sets a job going that is not; a job that is going is left alone (graph.md §2.7).

    Raises:
        As ``start``.
    """
    with services.database.read() as connection:
        job = jobs.read(connection, key)
    if Condition.of(job.schedule_state, job.status_code) is Condition.STARTED:
        return []
    return start(services, key)[1]


def pause(services: Services, key: int) -> None:
    """Stops the job for a while: a slice that is at work is finished, no further one begins, cursors are kept.

    What is being read goes on nevertheless before its links grow too old, as ``planning.plan_for`` says.

    Raises:
        NotFound: The organization is not registered.
    """
    with services.database.write() as connection:
        organizations.lock(connection, key)
        _move(connection, services, key, Event.PAUSE)
        runs.set_keeps_cursors(connection, key, keeps_cursors=False)
        cursors.refresh_links_under_way(connection, key, services.now() + services.settings.cursor_refresh)


def restart(services: Services, key: int, scope: RestartScope, *, sent_again: bool = False) -> list[SliceMessage]:
    """Begins anew, with the parts of the state that ``scope`` names thrown away; where it names none, starts the job.

    Args:
        services: What to work with.
        key: The organization's number.
        scope: What is thrown away, or carried out.
        sent_again: Whether the client says that it sends an earlier request again; what that began is left alone.

    Raises:
        NotFound: The organization is not registered.
        Conflict: The organization does not authenticate as an application, or has no job.
    """
    if scope == RestartScope.NONE:
        return start_job(services, key)
    with services.database.write() as connection:
        organization = organizations.lock(connection, key)
        refuse_to_run(organization)
        if _was_done(connection, organization, scope, services.now(), sent_again=sent_again):
            return []
        runs.cancel_unfinished(connection, key, services.now())
        if RestartScope.CONNECTOR_DATA_STORE in scope:
            pages.require_rebuild(connection, key, organization.entity.parts)
        elif RestartScope.WATERMARK in scope:
            part_states.require_full_run(connection, key, organization.entity.parts)
        if RestartScope.ESCROWS in scope:
            part_states.require_full_run(connection, key, held_deletions.forget_uncertain(connection, key))
            escrows.clear(connection, key)
        if RestartScope.FORCE_DELETES in scope:
            held_deletions.approve(connection, key)
        lifted = scope & (RestartScope.QUARANTINE_STATE | RestartScope.FORCE_DELETES)
        _move(connection, services, key, Event.RESTART if lifted else Event.RESTART_IN_QUARANTINE)
        run_id, messages = start_run(connection, services, organization, RunType.INCREMENTAL, organization.entity.parts)
        job = jobs.read(connection, key)
        job = replace(
            job,
            restarted=Restart(run_id, scope, services.now()),
            escrows_pruned=job.escrows_pruned and RestartScope.ESCROWS not in scope,
            initial_run_pending=job.initial_run_pending or RestartScope.WATERMARK in scope,
        )
        jobs.save(connection, key, job)
        return messages


def quarantine_on_demand(services: Services, key: int, error: SynchronizationError) -> None:
    """Holds the job back because somebody asks for it; what is under way is cancelled, cursors are kept.

    A job that is in quarantine already stays as it is.

    Raises:
        NotFound: The organization is not registered.
        Conflict: The job is not started, so that there is nothing to hold back.
    """
    with services.database.write() as connection:
        organizations.lock(connection, key)
        job = jobs.read(connection, key)
        condition = Condition.of(job.schedule_state, job.status_code)
        if condition in (Condition.QUARANTINED, Condition.EXPIRED):
            return
        if condition is not Condition.STARTED:
            raise Conflict("Only a job that is started can be put in quarantine.")
        runs.cancel_unfinished(connection, key, services.now())
        cause = QuarantineReason.QUARANTINED_ON_DEMAND, error
        imposed = impose(None, cause, services.now(), QuarantineRules.of(services.settings))
        held = replace(job, quarantine=imposed, next_run_time=imposed.next_attempt)
        jobs.save(connection, key, in_condition(held, after(condition, Event.QUARANTINE)))


def verified(services: Services, key: int) -> None:
    """Notes that the organization's credential and permissions have been seen to work; without a job there is nothing
    to note it on.

    Raises:
        NotFound: The organization is not registered.
    """
    with services.database.write() as connection:
        if organizations.lock(connection, key).entity.job_id is not None:
            _move(connection, services, key, Event.VERIFIED)


def refuse_to_run(organization: Organization) -> None:
    """Refuses to synchronize an organization that was not added as application-only, or that has no job.

    Raises:
        Conflict: It was not, or has none.
    """
    kind = organization.entity.authentication_type
    if kind is not AuthenticationType.APPLICATION_ONLY:
        raise Conflict(
            f"Only organizations with the authentication type ApplicationOnly synchronize; "
            f"{organization.name} has {kind}."
        )
    if organization.entity.job_id is None:
        raise Conflict(f"The synchronization job of {organization.name} was deleted; create one first.")


def _was_done(
    connection: Connection, organization: Organization, scope: RestartScope, now: datetime, *, sent_again: bool
) -> bool:
    """Whether this very restart was asked for a moment ago: the client says so, or its run has read nothing yet."""
    job = jobs.read(connection, organization.key)
    restarted = job.restarted
    if restarted is None or restarted.scope != scope or job.schedule_state is not ScheduleState.ACTIVE:
        return False
    if sent_again:
        return now - restarted.at < _SENT_AGAIN_WITHIN
    run = runs.find(connection, organization, restarted.run_id)
    return run is not None and not run.status.finished and all(part.completed == 0 for part in run.parts)


def _move(connection: Connection, services: Services, key: int, event: Event) -> list[SliceMessage]:
    """Lets something happen to the job; returns the messages that set its waiting slices going if it was paused."""
    job = jobs.read(connection, key)
    before = Condition.of(job.schedule_state, job.status_code)
    following = after(before, event)
    if following is before:
        return []
    jobs.save(connection, key, in_condition(job, following))
    if before is not Condition.PAUSED:
        return []
    runs.set_keeps_cursors(connection, key, keeps_cursors=False)
    return waiting_parts.resume(connection, key, services.now(), services.settings.requeue_after)
