"""What Graph's notifications set going: marks on parts, which one run takes for many, and a look at a subscription.

A notification is a hint and not believed: who proves to be Graph by the subscription's secret has a part read, or its
subscription renewed, and both at most once in a while, however often it is told. Whoever does not is told nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest

from sqlalchemy import Connection

from shared.cache import dirty_parts, runs, subscriptions
from shared.cache.subscriptions import Known
from shared.models.notifications import ChangeMessage, LifecycleEvent, Notification
from shared.models.parts import PartName
from shared.models.subscriptions import parts_of
from shared.services import Services
from shared.sync.planning import Plan, plan_for
from shared.sync.subscriptions import hash_of

_NOBODY = hash_of("")
_RENEWED_AT_MOST_EVERY = timedelta(minutes=1)


@dataclass(slots=True)
class Received:
    """What comes of notifications: the messages to send.

    Attributes:
        changes: For the organizations in which parts have been marked that are read later.
        planning: The numbers of the organizations in which parts have been marked that are due already.
        subscribing: The numbers of the organizations of which a subscription is due now.
    """

    changes: list[ChangeMessage] = field(default_factory=list[ChangeMessage])
    planning: list[int] = field(default_factory=list[int])
    subscribing: list[int] = field(default_factory=list[int])


def receive(services: Services, items: Iterable[object]) -> Received:
    """Takes in a delivery; items that are not Graph's, or not of one of our subscriptions, leave no trace.

    A delivery that tells nothing new, as most of a burst do, only reads.

    Raises:
        DatabaseFailure: Nothing is kept; Graph is to deliver it again.
    """
    told = [found for found in map(Notification.of, items) if found is not None]
    if not told:
        return Received()
    with services.database.read() as connection:
        known = subscriptions.find_known(connection, {one.subscription_id for one in told})
        genuine = {(one.subscription_id, one.event) for one in told if _is_genuine(one, known.get(one.subscription_id))}
        heard = [(known[subscription_id], event) for subscription_id, event in sorted(genuine, key=str)]
        marks = _new_marks(connection, services, heard)
    to_renew = [of for of, event in heard if event not in (None, LifecycleEvent.MISSED)]
    if not marks and not to_renew:
        return Received()
    return services.database.transact(lambda connection: _write(connection, services, marks, to_renew))


async def read_changes(
    services: Services, message: ChangeMessage, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> Plan:
    """Waits until the organization's changes are due, then has them read, with whatever else is due of it.

    A queue's output cannot delay a message, so its function waits. That holds up no other organization: all messages of
    this queue wait equally long, so that what stands behind one is due later, and none longer than the debounce,
    whatever its message says.
    """
    latest = services.now() + services.settings.notification_debounce
    while (remaining := (min(message.due, latest) - services.now()).total_seconds()) > 0:
        await sleep(remaining)
    return await asyncio.to_thread(plan_for, services, message.organization_key)


def _is_genuine(told: Notification, of: Known | None) -> bool:
    """Whether it is ours; of what is not, nothing but the database's time tells whether the subscription exists."""
    expected = _NOBODY if of is None else of.client_state_hash
    proven = compare_digest(hash_of(told.client_state), expected)
    return proven and of is not None and of.tenant_id == told.tenant_id


def _new_marks(
    connection: Connection, services: Services, heard: Sequence[tuple[Known, LifecycleEvent | None]]
) -> list[tuple[int, datetime, list[PartName]]]:
    """The parts to be marked, by organization, that are not yet, or are to be read sooner than was thought."""
    now = services.now()
    marked = dirty_parts.find(connection, {of.organization_key for of, _ in heard})
    wanted: dict[tuple[int, datetime], set[PartName]] = {}
    for of, event in heard:
        if event not in (None, LifecycleEvent.MISSED):
            continue
        due = now + services.settings.notification_debounce
        if event is LifecycleEvent.MISSED:
            due = _due_of_missed(connection, services, of.organization_key, now)
        new = {
            name
            for name in parts_of(of.collection, of.enabled)
            if marked.get((of.organization_key, name), datetime.max.replace(tzinfo=now.tzinfo)) > due
        }
        if new:
            wanted.setdefault((of.organization_key, due), set()).update(new)
    return [(key, due, sorted(names)) for (key, due), names in sorted(wanted.items())]


def _due_of_missed(connection: Connection, services: Services, key: int, now: datetime) -> datetime:
    """What was missed has happened some time ago already: there is nothing to wait for, but that the events of somebody
    who repeats them make no run after run."""
    began = runs.last_start(connection, key)
    return now if began is None else max(now, began + services.settings.notification_debounce)


def _write(
    connection: Connection,
    services: Services,
    marks: Sequence[tuple[int, datetime, Sequence[PartName]]],
    to_renew: Sequence[Known],
) -> Received:
    received, now = Received(), services.now()
    for key, due, names in marks:
        if not dirty_parts.mark(connection, key, names, due):
            continue
        if due > now:
            received.changes.append(ChangeMessage.at(key, due))
        else:
            # What is due must not stand behind messages that wait for their time.
            received.planning.append(key)
    for of in to_renew:
        at = max(now, of.granted_at + _RENEWED_AT_MOST_EVERY)
        if subscriptions.hurry(connection, of, at) and at <= now:
            received.subscribing.append(of.organization_key)
    return received
