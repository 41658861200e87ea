"""One slice: takes a part under a lease, works on it for its time, and says which messages come next."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection

from shared.cache import slices, throttles
from shared.models.errors import (
    CursorExpired,
    DatabaseBlocked,
    DatabaseFailure,
    GraphThrottled,
    GraphUnavailable,
    PartFailure,
    SharedWait,
    SynchronizationFailure,
)
from shared.models.slices import Slice, SliceMessage, StaleSlice
from shared.models.synchronization import SynchronizationError
from shared.services import Services
from shared.sync.completion import finish_part
from shared.sync.heartbeat import heartbeat
from shared.sync.stages import work_on
from shared.telemetry.labels import labels, message_labels
from shared.telemetry.spans import Outcome, SliceReport, slice_span

logger = logging.getLogger(__name__)

_FIRST_RETRY = timedelta(seconds=15)
_DATABASE_RETRY = timedelta(minutes=1)


async def run_slice(services: Services, message: SliceMessage) -> list[SliceMessage]:
    """Does the work that a message asks for and returns the messages to send.

    Raises:
        Exception: What nobody foresaw, a database that fails among it; the lease lapses, so that the queue's next
            delivery of the message, or the planner, can go on from the last commit.
    """
    work = await asyncio.to_thread(_take, services, message)
    if work is None:
        told = "slice dropped: outdated message, or a part that waits (%s, fence %d)"
        logger.info(told, message.part, message.fence, extra=message_labels(message))
        return []
    deadline = services.now() + timedelta(seconds=services.settings.slice_seconds)
    with slice_span(work) as report:
        try:
            if work.attempts > services.settings.slice_attempts:
                return await _end(services, work, _give_up(work), report)
            async with heartbeat(services, work):
                return await _work_until(services, work, deadline, report)
        except StaleSlice:
            report.ended(Outcome.LEASE_LOST)
            logger.warning("slice lost its lease (%s, fence %d)", work.part.name, work.fence, extra=labels(work))
            return []
        except Exception:
            report.ended(Outcome.ERROR)
            await asyncio.to_thread(_abandon, services, work)
            raise


def fail_dead_letter(services: Services, message: SliceMessage) -> list[SliceMessage]:
    """Fails the part whose message the queue gave up, and returns the messages to send.

    A part that has attempts left is for the planner: its message failed because the database was away, for example.
    """
    attempts = services.settings.slice_attempts
    with services.database.write() as connection:
        work = slices.dead_letter(connection, message, attempts, services.now(), services.settings.lease)
        if work is None:
            return []
        error = SynchronizationError(
            code="MessageDeadLettered", message="A slice of the part failed each time it was delivered."
        )
        return finish_part(connection, services, work, error)


async def _work_until(services: Services, work: Slice, deadline: datetime, report: SliceReport) -> list[SliceMessage]:
    about, name = labels(work), work.part.name
    try:
        finished = await work_on(services, work, deadline)
    except CursorExpired as failure:
        report.ended(Outcome.CURSOR_EXPIRED, failure.code)
        logger.info("%s: Graph no longer knows the cursor; a full run of the part begins", name, extra=about)
        return await asyncio.to_thread(_restart_full, services, work, failure)
    except GraphThrottled as failure:
        report.ended(Outcome.THROTTLED, failure.code)
        logger.info("%s: throttled for %.0f s", name, failure.retry_after, extra=about)
        return await asyncio.to_thread(_wait, services, work, failure)
    except SharedWait as failure:
        report.ended(Outcome.WAITS, failure.code)
        logger.info("%s: waits with the other parts of its family until %s", name, failure.until, extra=about)
        return await asyncio.to_thread(_wait_along, services, work, failure)
    except DatabaseBlocked as failure:
        report.ended(Outcome.DATABASE_BLOCKED, failure.code)
        logger.warning("%s: %s", name, failure.message, extra=about)
        return await asyncio.to_thread(_wait_for_database, services, work, failure)
    except (GraphUnavailable, DatabaseFailure) as failure:
        report.ended(Outcome.UNAVAILABLE, failure.code)
        logger.warning("%s: %s", name, failure.message, extra=about)
        return await asyncio.to_thread(_retry, services, work, failure)
    except SynchronizationFailure as failure:
        logger.error("%s: %s", name, failure.message, extra=about)
        return await _end(services, work, failure, report)
    if finished is not None:
        report.ended(Outcome.FINISHED)
        return await asyncio.to_thread(_succeed, services, finished)
    report.ended(Outcome.CONTINUES)
    return await asyncio.to_thread(_continue, services, work)


async def _end(
    services: Services, work: Slice, failure: SynchronizationFailure, report: SliceReport
) -> list[SliceMessage]:
    report.ended(Outcome.FAILED, failure.code)
    return await asyncio.to_thread(_fail, services, work, failure)


def _take(services: Services, message: SliceMessage) -> Slice | None:
    with services.database.write() as connection:
        own = services.settings
        throttling = own.longest_throttling
        return slices.take(
            connection, message, services.now(), own.lease, own.relist_after, longest_throttling=throttling
        )


def _continue(services: Services, work: Slice) -> list[SliceMessage]:
    with services.database.write() as connection:
        wake_at = services.now() + services.settings.requeue_after
        return [slices.give_back(connection, work, wake_at, None, blameless=True)]


def _wait(services: Services, work: Slice, failure: GraphThrottled) -> list[SliceMessage]:
    """Has the whole family of services wait, and the part with it."""
    now, key, family = services.now(), work.organization.key, work.part.family
    until = now + timedelta(seconds=failure.retry_after)
    with services.database.write() as connection:
        throttles.extend(connection, key, family, until)
        until = throttles.until(connection, key, family, now) or until
        return _rest(connection, services, work, failure, until)


def _wait_along(services: Services, work: Slice, wait: SharedWait) -> list[SliceMessage]:
    with services.database.write() as connection:
        return _rest(connection, services, work, wait, wait.until)


def _rest(
    connection: Connection, services: Services, work: Slice, reason: GraphUnavailable, until: datetime
) -> list[SliceMessage]:
    """The planner sends the message when the time has come: a queue output cannot be delayed.

    A part that is throttled for too long fails instead: as long as it waits, its run does not end, and all others wait
    with it for the next one.
    """
    if slices.rest(connection, work, until, reason.told(), services.now(), services.settings.longest_throttling):
        return []
    return finish_part(connection, services, work, reason.told())


def _wait_for_database(services: Services, work: Slice, failure: DatabaseBlocked) -> list[SliceMessage]:
    """No number of attempts is too many: the part is not what keeps the database from working."""
    with services.database.write() as connection:
        slices.give_back(connection, work, services.now() + _DATABASE_RETRY, failure.told(), blameless=True)
    return []


def _retry(services: Services, work: Slice, failure: GraphUnavailable | DatabaseFailure) -> list[SliceMessage]:
    with services.database.write() as connection:
        attempts = slices.count_attempts(connection, work)
        if attempts < services.settings.slice_attempts:
            wait = _FIRST_RETRY * 2 ** max(attempts - 1, 0)
            slices.give_back(connection, work, services.now() + wait, failure.told(), blameless=False)
            return []
    return _fail(services, work, failure)


def _restart_full(services: Services, work: Slice, failure: CursorExpired) -> list[SliceMessage]:
    with services.database.write() as connection:
        restarted = slices.restart_full(connection, work)
        if slices.count_restarts(connection, work) > services.settings.slice_attempts:
            return finish_part(connection, services, work, failure.told())
        wake_at = services.now() + services.settings.requeue_after
        return [slices.give_back(connection, restarted, wake_at, failure.told(), blameless=False)]


def _succeed(services: Services, work: Slice) -> list[SliceMessage]:
    with services.database.write() as connection:
        return finish_part(connection, services, work, None)


def _fail(services: Services, work: Slice, failure: SynchronizationFailure) -> list[SliceMessage]:
    with services.database.write() as connection:
        return finish_part(connection, services, work, failure.told())


def _give_up(work: Slice) -> PartFailure:
    last = work.last_error
    told = f" The last one ended with {last.code}: {last.message}" if last else ""
    return PartFailure("TooManyAttempts", f"The part's slices ended again and again without getting on.{told}")


def _abandon(services: Services, work: Slice) -> None:
    try:
        with services.database.write() as connection:
            slices.abandon(connection, work, services.now())
    except Exception:
        # The lease then lapses by itself; what went wrong first is what the caller has to see.
        logger.warning("the lease of %s could not be given up", work.part.name, exc_info=True, extra=labels(work))
