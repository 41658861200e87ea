"""Subscriptions to Graph's change notifications: which are wanted, and what is done so that Graph has just these.

What is wanted is written down at the end of a run; the planner finds what is due of it, and ``maintain`` asks Graph.
Nothing of it holds up a synchronization: what fails is kept for people to see and tried again, and the timer-run delta
queries find every change anyway (docs/decisions/0014-notifications-are-hints.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe

from sqlalchemy import Connection

from shared.cache import dirty_parts, organizations, subscriptions
from shared.graph.failures import in_time
from shared.graph.subscriptions import GraphSubscriptions
from shared.models.errors import GraphRefused, GraphThrottled, NotFound, PartFailure, SynchronizationFailure
from shared.models.jobs import Job
from shared.models.notifications import LIFECYCLE_NOTIFICATIONS, NOTIFICATIONS, ChangeMessage
from shared.models.organizations import Organization
from shared.models.subscriptions import LIFE, Granted, Subscription, collections_of, parts_of
from shared.services import Services
from shared.sync.lifecycle import Condition

_SECRET_BYTES = 32
_FIRST_RETRY = timedelta(minutes=1)
_LONGEST_RETRY = timedelta(hours=1)

logger = logging.getLogger(__name__)


def subscribe(connection: Connection, services: Services, organization: Organization, job: Job) -> None:
    """Writes down what is to be subscribed to, now that a run of the job has ended; the organization's row is locked.

    Nothing is before the first full run is through, and nothing is changed while the job does not go.
    """
    if Condition.of(job.schedule_state, job.status_code) is not Condition.STARTED or job.initial_run_pending:
        return
    root = services.settings.public_root
    wanted = () if root is None else collections_of(organization.entity.parts)
    url = None if root is None else f"{root}/{NOTIFICATIONS}"
    subscriptions.want(connection, organization.key, wanted, url, services.now())


async def maintain(services: Services, key: int) -> list[ChangeMessage]:
    """Creates, renews and removes what is due of an organization's subscriptions, which may be nothing any more.

    A renewal also reauthorizes. What Graph does not have any more is created anew.

    Returns:
        The messages that have those parts read whose changes nobody told before their subscription was created.
    """
    organization, due = await asyncio.to_thread(_take_due, services, key)
    messages: list[ChangeMessage] = []
    if organization is not None:
        for subscription in due:
            messages += await _maintain(services, organization, subscription)
    return messages


def _take_due(services: Services, key: int) -> tuple[Organization | None, Sequence[Subscription]]:
    with services.database.write() as connection:
        now = services.now()
        try:
            organization = organizations.find_by_key(connection, key)
        except NotFound:
            try:
                organization = organizations.find_removed(connection, key)
            except NotFound:
                return None, ()
        due = subscriptions.take_due(connection, key, now, now + services.settings.requeue_after)
        return organization, due


async def _maintain(services: Services, organization: Organization, due: Subscription) -> list[ChangeMessage]:
    root = services.settings.public_root
    try:
        client = services.graph.get(organization).subscriptions
        if not due.wanted or root is None:
            work = _remove(services, organization, due, client, root)
        elif due.granted is None or due.url != f"{root}/{NOTIFICATIONS}":
            work = _create(services, organization, due, client, root)
        else:
            work = _renew(services, organization, due, client, root)
        return await in_time(work, services.settings.graph_timeout_seconds)
    except SynchronizationFailure as failure:
        logger.warning(
            "the subscription to %s of organization %d: %s", due.collection, organization.key, failure.message
        )
        await asyncio.to_thread(_keep_failure, services, organization.key, due, failure)
        return []


async def _create(
    services: Services, organization: Organization, due: Subscription, client: GraphSubscriptions, root: str
) -> list[ChangeMessage]:
    url = f"{root}/{NOTIFICATIONS}"
    await _end_all(client, due, url)
    secret = token_urlsafe(_SECRET_BYTES)
    granted = await client.create(
        due.collection, url, f"{root}/{LIFECYCLE_NOTIFICATIONS}", secret, services.now() + LIFE
    )
    logger.info("subscribed to %s of organization %d", due.collection, organization.key)

    def keep(connection: Connection) -> list[ChangeMessage] | None:
        now, key = services.now(), organization.key
        proof, renewal = hash_of(secret), _half_life(granted, now)
        if not subscriptions.keep_granted(
            connection, key, due, granted, renewal, now, client_state_hash=proof, url=url
        ):
            return None
        # Nobody tells of what has changed between the last run and this moment.
        at = now + services.settings.notification_debounce
        marked = dirty_parts.mark(connection, key, parts_of(due.collection, organization.entity.parts), at)
        return [ChangeMessage.at(key, at)] if marked else []

    messages = await asyncio.to_thread(services.database.transact, keep)
    if messages is None:
        # Nobody here knows of it, so that nobody else would end it.
        await client.remove(due.collection, granted.subscription_id)
        return []
    return messages


async def _renew(
    services: Services, organization: Organization, due: Subscription, client: GraphSubscriptions, root: str
) -> list[ChangeMessage]:
    assert due.granted is not None
    try:
        granted = await client.renew(due.collection, due.granted.subscription_id, services.now() + LIFE)
    except GraphRefused as refusal:
        if refusal.status != 404:
            raise
        logger.warning("Graph has dropped the subscription to %s of organization %d", due.collection, organization.key)
        return await _create(services, organization, due, client, root)

    def keep(connection: Connection) -> None:
        now = services.now()
        subscriptions.keep_granted(connection, organization.key, due, granted, _half_life(granted, now), now)

    await asyncio.to_thread(services.database.transact, keep)
    return []


async def _remove(
    services: Services, organization: Organization, due: Subscription, client: GraphSubscriptions, root: str | None
) -> list[ChangeMessage]:
    await _end_all(client, due, due.url or (root and f"{root}/{NOTIFICATIONS}"))
    await asyncio.to_thread(_forget, services, organization.key, due)
    return []


async def _end_all(client: GraphSubscriptions, due: Subscription, url: str | None) -> None:
    """Ends what there is at Graph, also what was created though the answer that said so was lost."""
    ended: set[str] = set() if due.granted is None else {due.granted.subscription_id}
    if url is not None:
        ended.update(await client.find(due.collection, url))
    for subscription_id in sorted(ended):
        await client.remove(due.collection, subscription_id)


def _forget(services: Services, key: int, due: Subscription) -> None:
    with services.database.write() as connection:
        subscriptions.forget(connection, key, due)


def _keep_failure(services: Services, key: int, due: Subscription, failure: SynchronizationFailure) -> None:
    if not due.wanted and isinstance(failure, PartFailure):
        # Graph does not let us in any more: what is left there ends by itself.
        _forget(services, key, due)
        return
    now = services.now()
    wait = min(_FIRST_RETRY * 2 ** min(due.failures, 16), _LONGEST_RETRY)
    if isinstance(failure, GraphThrottled):
        wait = max(wait, timedelta(seconds=failure.retry_after))
    with services.database.write() as connection:
        subscriptions.keep_failure(connection, key, due, failure.told(), now + wait)


def _half_life(granted: Granted, now: datetime) -> datetime:
    return now + max((granted.expires - now) / 2, _FIRST_RETRY)


def hash_of(secret: str) -> bytes:
    """What is kept of a clientState: it is as long as a key and random, so one round of a hash tells nothing of it."""
    return sha256(secret.encode()).digest()
