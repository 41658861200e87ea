"""Plans: finds what is due, queues runs, keeps cursors young, sends again what stalled. It reads nothing from Graph.

A tick only finds the organizations that something is due of. Each is then planned by itself, in a transaction that
holds its row, when a message is delivered (docs/decisions/0011-the-planner-finds-messages-do.md). Nothing depends on
such a message: what it did not do is still due at the next tick, and what another one did before is due no more.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sqlalchemy import Connection

from shared.cache import cursors, dirty_parts, due, jobs, organizations, parity, part_states, runs, waiting_parts
from shared.cache.due import Due
from shared.models.errors import DatabaseUnavailable, NotFound
from shared.models.organizations import Organization
from shared.models.parity import ParityMessage
from shared.models.parts import PartName
from shared.models.runs import RunStatus, RunType
from shared.models.slices import SliceMessage
from shared.models.subscriptions import with_derived
from shared.services import Services
from shared.sync.joining import Join, Queue, decide_start, still_to_begin
from shared.sync.lifecycle import Condition

_CURSOR_LIFE = timedelta(days=7)
"""For how long Graph promises to know a cursor of directory objects (graph.md §4.5)."""
_REFRESH_TRIES = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """The messages to send for an organization: for slices, and for a comparison whose finding has to be confirmed."""

    slices: list[SliceMessage] = field(default_factory=list[SliceMessage])
    parity_checks: list[ParityMessage] = field(default_factory=list[ParityMessage])


def find_due(services: Services) -> Due:
    """The organizations that something has to be done for at this moment: one query, and nothing is written."""
    with services.database.read() as connection:
        return due.find(connection, services.now())


def plan_for(services: Services, key: int) -> Plan:
    """Does what is due of an organization at this moment, which may be nothing any more.

    Cursors that have not been used for CURSOR_REFRESH_HOURS are refreshed by an incremental run of their parts, though
    nothing else is due and though the job is paused, for Graph forgets them. A run that a pause stopped in its middle
    is brought to its end first (graph.md §2.2): its links age as well. The job stays paused. When a refresh fails it is
    tried again after a quarter of the setting, or of what is left of the seven days if that is less. Jobs in quarantine
    are left out: their own attempts use the cursors daily, and one that was disabled reads in full what Graph has
    forgotten by then.
    """

    def write(connection: Connection) -> Plan:
        try:
            organization = organizations.lock(connection, key)
        except NotFound:
            return Plan()
        now, requeue_after = services.now(), services.settings.requeue_after
        messages = _start_due(connection, services, organization)
        messages += _read_changes(connection, services, organization)
        messages += _refresh_cursors(connection, services, organization)
        messages += waiting_parts.wake(connection, key, now, requeue_after)
        drifted = parity.take_due(connection, key, now, now + requeue_after)
        return Plan(messages, [ParityMessage(organization_key=key, second_look=True)] if drifted else [])

    try:
        return services.database.transact(write)
    except DatabaseUnavailable as failure:
        logger.error("organization %d was not planned and stays due: %s", key, failure.message)
        return Plan()


def _start_due(connection: Connection, services: Services, organization: Organization) -> list[SliceMessage]:
    next_run_time = jobs.read(connection, organization.key).next_run_time
    if next_run_time is None or next_run_time > services.now():
        return []
    _, messages = start_run(connection, services, organization, RunType.INCREMENTAL, organization.entity.parts)
    return messages


def _read_changes(connection: Connection, services: Services, organization: Organization) -> list[SliceMessage]:
    """Reads what notifications say has changed: once one part is due, all that wait, which spares a run for each.

    What a run that is queued or under way is still to begin waits for nothing else.
    """
    key, enabled = organization.key, organization.entity.parts
    marked = {name: due_at for (_, name), due_at in dirty_parts.find(connection, [key]).items()}
    if not marked:
        return []
    dirty_parts.forget(connection, key, marked.keys() - set(enabled))
    job = jobs.read(connection, key)
    is_going = Condition.of(job.schedule_state, job.status_code) is Condition.STARTED
    unfinished = runs.find_unfinished(connection, organization).values()
    awaited = {part.part for run in unfinished for part in run.parts if part.status is RunStatus.QUEUED}
    waiting = {name: due_at for name, due_at in marked.items() if name not in awaited}
    if not is_going or min(waiting.values(), default=services.now()) > services.now():
        return []
    changed = with_derived(waiting, enabled)
    if not changed:
        return []
    _, messages = start_run(connection, services, organization, RunType.INCREMENTAL, changed, notified=True)
    return messages


def _refresh_cursors(connection: Connection, services: Services, organization: Organization) -> list[SliceMessage]:
    key = organization.key
    job = jobs.read(connection, key)
    condition = Condition.of(job.schedule_state, job.status_code)
    if condition not in (Condition.STARTED, Condition.PAUSED):
        return []
    now, refresh_after = services.now(), services.settings.cursor_refresh
    next_try = now + min(refresh_after, _CURSOR_LIFE - refresh_after) / _REFRESH_TRIES
    old = cursors.take_due(connection, key, organization.entity.parts, now, next_try)
    messages: list[SliceMessage] = []
    if old.stored:
        _, messages = start_run(connection, services, organization, RunType.INCREMENTAL, old.stored, keeps_cursors=True)
    if condition is Condition.PAUSED and (old.stored or old.links_under_way):
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
    notified: bool = False,
) -> tuple[str, list[SliceMessage]]:
    """Queues a run of these parts, or joins the one under way; the organization's row is locked already.

    Args:
        keeps_cursors: As in ``Run``, for a run that is queued.
        notified: As in ``Run``; what a run has begun to read then does not count as read, for it may lack the change.

    Returns:
        The run's activityIdentifier, and the messages to send.
    """
    key, now = organization.key, services.now()
    unfinished = runs.find_unfinished(connection, organization)
    running, queued = unfinished.get(RunStatus.RUNNING), unfinished.get(RunStatus.QUEUED)
    without_cursor = part_states.parts_without_cursor(connection, key)
    to_join = still_to_begin(running) if running is not None and notified else running
    decision = decide_start(run_type, wanted, without_cursor, to_join, queued)
    match decision:
        case Join():
            run_id = decision.activity_identifier
        case Queue():
            run_id = runs.create(
                connection,
                organization,
                decision.run_type,
                decision.parts,
                now,
                keeps_cursors=keeps_cursors,
                notified=notified,
            )
        case _:
            run_id = decision.activity_identifier
            runs.widen(connection, key, run_id, decision.run_type, decision.in_full)
            runs.add_parts(connection, key, run_id, decision.added)
    if not notified and not keeps_cursors:
        runs.set_asked_for(connection, key, run_id)
    jobs.save(connection, key, replace(jobs.read(connection, key), next_run_time=None))
    waits = running is not None or isinstance(decision, Join)
    return run_id, [] if waits else waiting_parts.enqueue(connection, key, run_id, now, services.settings.requeue_after)
