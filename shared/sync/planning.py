"""Plans: finds what is due, queues runs, sends again what stalled. It reads nothing from Graph."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from shared.cache import jobs, organizations, purge, runs, slices
from shared.models.errors import DatabaseBlocked, NotFound
from shared.models.organizations import Organization
from shared.models.parts import PartName
from shared.models.runs import RunStatus, RunType
from shared.models.slices import SliceMessage
from shared.services import Services
from shared.sync.joining import Join, Queue, decide_start

logger = logging.getLogger(__name__)


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
        # A transaction for each organization: none holds the row of one while it waits for another's. What was found
        # so far is sent whatever becomes of the rest, which stays due.
        try:
            with services.database.write() as connection:
                messages += _start_due(connection, services, key)
        except DatabaseBlocked as failure:
            logger.error("planning ended early: %s", failure.message)
            break
        except Exception:
            logger.exception("organization %d could not be started", key)
    return Plan(messages, purges)


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


def start_run(
    connection: Connection,
    services: Services,
    organization: Organization,
    run_type: RunType,
    wanted: Collection[PartName],
) -> tuple[str, list[SliceMessage]]:
    """Queues a run of these parts, or joins the one under way; the organization's row is locked already.

    Returns:
        The run's activityIdentifier, and the messages to send.
    """
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
    jobs.save(connection, key, replace(jobs.read(connection, key), next_run_time=None))
    waits = running is not None or isinstance(decision, Join)
    return run_id, [] if waits else slices.enqueue(connection, key, run_id, now, services.settings.requeue_after)
