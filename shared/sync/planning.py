"""Plans: finds what is due, queues runs, keeps cursors young, sends again what stalled. It reads nothing from Graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import Connection

from shared.cache import cursors, jobs, organizations, parity, part_states, purge, runs, waiting_parts
from shared.models.errors import DatabaseBlocked, NotFound
from shared.models.organizations import Organization
from shared.models.parity import ParityMessage
from shared.models.parts import PartName
from shared.models.runs import RunStatus, RunType
from shared.models.slices import SliceMessage
from shared.services import Services
from shared.sync.joining import Join, Queue, decide_start
from shared.sync.lifecycle import Condition

_CURSOR_LIFE = timedelta(days=7)
"""For how long Graph promises to know a cursor of directory objects (graph.md §4.5)."""
_REFRESH_TRIES = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """The messages to send: for slices, for comparisons whose findings have to be confirmed, and the numbers of removed
    organizations that have rows left."""

    slices: list[SliceMessage]
    purges: list[int]
    parity_checks: list[ParityMessage]


def plan(services: Services) -> Plan:
    """What has to be done at this moment.

    Cursors that have not been used for CURSOR_REFRESH_HOURS are refreshed by an incremental run of their parts, though
    nothing else is due and though the job is paused, for Graph forgets them. A run that a pause stopped in its middle
    is brought to its end first (graph.md §2.2): its links age as well. The job stays paused. When a refresh fails it is
    tried again after a quarter of the setting, or of what is left of the seven days if that is less. Jobs in quarantine
    are left out: their own attempts use the cursors daily, and one that was disabled reads in full what Graph has
    forgotten by then.
    """
    now = services.now()
    with services.database.read() as connection:
        due = jobs.list_due(connection, now)
        purges = list(purge.list_removed(connection))
    with services.database.write() as connection:
        messages = waiting_parts.wake(connection, now, services.settings.requeue_after)
    with services.database.write() as connection:
        drifted = parity.take_due(connection, now, now + services.settings.requeue_after)
    messages += _of_each(services, due, _start_due)
    with services.database.read() as connection:
        with_old_cursors = cursors.list_due(connection, now)
    messages += _of_each(services, with_old_cursors, _refresh_cursors)
    return Plan(messages, purges, [ParityMessage(organization_key=key, second_look=True) for key in drifted])


def _of_each(
    services: Services, keys: Sequence[int], begin: Callable[[Connection, Services, int], list[SliceMessage]]
) -> list[SliceMessage]:
    """The messages of what begins for each of these organizations.

    A transaction for each: none holds the row of one while it waits for another's. What was found so far is sent
    whatever becomes of the rest, which stays due.
    """
    messages: list[SliceMessage] = []
    for key in keys:
        try:
            with services.database.write() as connection:
                messages += begin(connection, services, key)
        except DatabaseBlocked as failure:
            logger.error("planning ended early: %s", failure.message)
            break
        except Exception:
            logger.exception("organization %d could not be started", key)
    return messages


def _start_due(connection: Connection, services: Services, key: int) -> list[SliceMessage]:
    try:
        organization = organizations.lock(connection, key)
    except NotFound:
        return []
    next_run_time = jobs.read(connection, key).next_run_time
    if next_run_time is None or next_run_time > services.now():
        return []
    _, messages = start_run(connection, services, organization, RunType.INCREMENTAL, organization.entity.parts)
    return messages


def _refresh_cursors(connection: Connection, services: Services, key: int) -> list[SliceMessage]:
    try:
        organization = organizations.lock(connection, key)
    except NotFound:
        return []
    job = jobs.read(connection, key)
    condition = Condition.of(job.schedule_state, job.status_code)
    if condition not in (Condition.STARTED, Condition.PAUSED):
        return []
    now, refresh_after = services.now(), services.settings.cursor_refresh
    next_try = now + min(refresh_after, _CURSOR_LIFE - refresh_after) / _REFRESH_TRIES
    due = cursors.take_due(connection, key, organization.entity.parts, now, next_try)
    messages: list[SliceMessage] = []
    if due.stored:
        _, messages = start_run(connection, services, organization, RunType.INCREMENTAL, due.stored, keeps_cursors=True)
    if condition is Condition.PAUSED and (due.stored or due.links_under_way):
        runs.set_keeps_cursors(connection, key, keeps_cursors=True)
        messages = waiting_parts.resume(connection, key, now, services.settings.requeue_after)
    return messages


def start_run(
    connection: Connection,
    services: Services,
    organization: Organization,
    run_type: RunType,
    wanted: Collection[PartName],
    *,
    keeps_cursors: bool = False,
) -> tuple[str, list[SliceMessage]]:
    """Queues a run of these parts, or joins the one under way; the organization's row is locked already.

    Args:
        keeps_cursors: As in ``Run``, for a run that is queued.

    Returns:
        The run's activityIdentifier, and the messages to send.
    """
    key, now = organization.key, services.now()
    unfinished = runs.find_unfinished(connection, organization)
    running, queued = unfinished.get(RunStatus.RUNNING), unfinished.get(RunStatus.QUEUED)
    without_cursor = part_states.parts_without_cursor(connection, key)
    decision = decide_start(run_type, wanted, without_cursor, running, queued)
    match decision:
        case Join():
            run_id = decision.activity_identifier
        case Queue():
            run_id = runs.create(
                connection, organization, decision.run_type, decision.parts, now, keeps_cursors=keeps_cursors
            )
        case _:
            run_id = decision.activity_identifier
            runs.widen(connection, key, run_id, decision.run_type, decision.in_full)
            runs.add_parts(connection, key, run_id, decision.added)
    jobs.save(connection, key, replace(jobs.read(connection, key), next_run_time=None))
    waits = running is not None or isinstance(decision, Join)
    return run_id, [] if waits else waiting_parts.enqueue(connection, key, run_id, now, services.settings.requeue_after)
