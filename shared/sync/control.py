"""What people do with a job: start, pause, restart. Each may be asked for twice."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from shared.cache import jobs, organizations, runs, slices
from shared.models.errors import BadRequest, Conflict
from shared.models.organizations import AuthenticationType, Organization
from shared.models.parts import PartName
from shared.models.restart import RestartScope
from shared.models.runs import Run, RunType
from shared.models.slices import SliceMessage
from shared.services import Services
from shared.sync.lifecycle import Condition, Event, after
from shared.sync.outcome import in_condition
from shared.sync.planning import start_run


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
        Conflict: The organization does not authenticate as an application.
        BadRequest: A part is not among the organization's.
    """
    with services.database.write() as connection:
        organization = organizations.lock(connection, key)
        refuse_other_authentication(organization)
        wanted = organization.entity.parts if parts is None else parts
        if not wanted:
            raise BadRequest("parts: at least one part is needed.")
        if unknown := [name for name in wanted if name not in organization.entity.parts]:
            raise BadRequest(f"parts: {organization.name} was registered without {', '.join(unknown)}.")
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
        job = jobs.read_job(connection, key)
    if Condition.of(job.schedule_state, job.status_code) is Condition.STARTED:
        return []
    return start(services, key)[1]


def pause(services: Services, key: int) -> None:
    """Stops the job for a while: a slice that is at work is finished, no further one begins, cursors are kept.

    Raises:
        NotFound: The organization is not registered.
    """
    with services.database.write() as connection:
        organizations.lock(connection, key)
        _move(connection, services, key, Event.PAUSE)


def restart(services: Services, key: int, scope: RestartScope) -> list[SliceMessage]:
    """Begins anew, with the parts of the state that ``scope`` names thrown away.

    Raises:
        NotFound: The organization is not registered.
        Conflict: The organization does not authenticate as an application.
    """
    with services.database.write() as connection:
        organization = organizations.lock(connection, key)
        refuse_other_authentication(organization)
        runs.cancel_unfinished(connection, key, services.now())
        if scope & RestartScope.WATERMARK:
            slices.require_full_run(connection, key, organization.entity.parts)
        lifted = scope == RestartScope.NONE or RestartScope.QUARANTINE_STATE in scope
        _move(connection, services, key, Event.RESTART if lifted else Event.RESTART_IN_QUARANTINE)
        _, messages = start_run(connection, services, organization, RunType.INCREMENTAL, organization.entity.parts)
        return messages


def refuse_other_authentication(organization: Organization) -> None:
    """Refuses to synchronize an organization that was not added as application-only.

    Raises:
        Conflict: It was not.
    """
    kind = organization.entity.authentication_type
    if kind is not AuthenticationType.APPLICATION_ONLY:
        raise Conflict(
            f"Only organizations with the authentication type ApplicationOnly synchronize; "
            f"{organization.name} has {kind}."
        )


def _move(connection: Connection, services: Services, key: int, event: Event) -> list[SliceMessage]:
    """Lets something happen to the job; returns the messages that set its waiting slices going if it was paused."""
    job = jobs.read_job(connection, key)
    before = Condition.of(job.schedule_state, job.status_code)
    following = after(before, event)
    if following is before:
        return []
    jobs.save_job(connection, key, in_condition(job, following))
    if before is not Condition.PAUSED:
        return []
    return slices.resume(connection, key, services.now(), services.settings.requeue_after)
