"""Plans: finds what is due, starts runs, sends again what stalled. It reads nothing from Graph."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from shared.cache import jobs, organizations, purge, runs, slices
from shared.models.errors import BadRequest, Conflict, NotFound
from shared.models.organizations import AuthenticationType, Organization
from shared.models.parts import PartName
from shared.models.runs import Run, RunStatus, RunType
from shared.models.slices import SliceMessage
from shared.models.synchronization import ScheduleState, StatusCode
from shared.services import Services
from shared.sync.joining import Join, Queue, decide_start


@dataclass(frozen=True, slots=True)
class Plan:
    """The messages to send: for slices, and the numbers of removed organizations that have rows left."""

    slices: list[SliceMessage]
    purges: list[int]


def plan(services: Services) -> Plan:
    """What has to be done at this moment."""
    now = services.now()
    with services.database.read() as connection:
        due = jobs.list_due(connection, now)
        purges = list(purge.list_removed(connection))
    with services.database.write() as connection:
        messages = slices.wake(connection, now, services.settings.requeue_after)
    for key in due:
        # A transaction for each organization: none holds the row of one while it waits for another's.
        with services.database.write() as connection:
            messages += _start_due(connection, services, key)
    return Plan(messages, purges)


def _start_due(connection: Connection, services: Services, key: int) -> list[SliceMessage]:
    try:
        organization = organizations.lock(connection, key)
    except NotFound:
        return []
    next_run_time = jobs.read_job(connection, key).next_run_time
    if next_run_time is None or next_run_time > services.now():
        return []
    _, messages = _start(connection, services, organization, RunType.INCREMENTAL, organization.entity.parts)
    return messages


def start(
    services: Services, identifier: str, run_type: RunType, parts: Collection[PartName] | None
) -> tuple[Run, list[SliceMessage]]:
    """Starts a synchronization of an organization, or joins the one under way.

    Args:
        services: What to work with.
        identifier: The organization's tenant id or name.
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
        organization = organizations.lock(connection, organizations.find(connection, identifier).key)
        entity = organization.entity
        if entity.authentication_type is not AuthenticationType.APPLICATION_ONLY:
            raise Conflict(
                f"Only organizations with the authentication type ApplicationOnly synchronize; "
                f"{organization.name} has {entity.authentication_type}."
            )
        wanted = entity.parts if parts is None else parts
        if not wanted:
            raise BadRequest("parts: at least one part is needed.")
        if unknown := [name for name in wanted if name not in entity.parts]:
            raise BadRequest(f"parts: {organization.name} was registered without {', '.join(unknown)}.")
        return _start(connection, services, organization, run_type, wanted)


def _start(
    connection: Connection,
    services: Services,
    organization: Organization,
    run_type: RunType,
    wanted: Collection[PartName],
) -> tuple[Run, list[SliceMessage]]:
    key, now = organization.key, services.now()
    unfinished = runs.find_unfinished(connection, organization)
    running, queued = unfinished.get(RunStatus.RUNNING), unfinished.get(RunStatus.QUEUED)
    without_cursor = slices.parts_without_cursor(connection, key)
    decision = decide_start(run_type, wanted, without_cursor, running, queued)
    match decision:
        case Join():
            run_id = decision.activity_identifier
        case Queue():
            run_id = runs.create(connection, organization, decision.run_type, decision.parts, now)
        case _:
            run_id = decision.activity_identifier
            runs.widen(connection, key, run_id, decision.run_type, decision.in_full)
            runs.add_parts(connection, key, run_id, decision.added)
    job = jobs.read_job(connection, key)
    jobs.update_job(
        connection,
        key,
        schedule_state=ScheduleState.ACTIVE,
        status_code=StatusCode.NOT_RUN if job.status_code is StatusCode.NOT_CONFIGURED else job.status_code,
        next_run_at=None,
    )
    waits = running is not None or isinstance(decision, Join)
    messages = [] if waits else slices.enqueue(connection, key, run_id, now, services.settings.requeue_after)
    run = runs.find(connection, organization, run_id)
    assert run is not None
    return run, messages
